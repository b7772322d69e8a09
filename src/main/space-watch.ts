/**
 * SpaceWatch: tells people that the disk of the data folder is full: in the log, in metrics, and where readiness is asked for. What is
 * refused then and for how long is the shards' own finding (storage/tsdb/shard.ts); this only looks at what they say.
 */
import type { Clock, Timer } from '../lib/clock.ts';
import { freeBytes, spaceText } from '../lib/disk-space.ts';
import type { Logger } from '../lib/log.ts';
import type { MetricsRegistry } from '../lib/metrics.ts';

const LOOK_EVERY_MS = 1000;
/** A disk at its limit takes some writes and refuses others: that it is full is over when nothing is refused for this long. */
const CALM_MS = 3000;

export interface SpaceWatchOptions {
  dataDir: string;
  /** Whether any shard refuses writes at the moment. */
  full: () => boolean;
  /** Another part that a full disk may have cut back tries to be whole again; true where it is. */
  settle: () => boolean;
  clock: Clock;
  log: Logger;
  metrics: MetricsRegistry;
}

export class SpaceWatch {
  private readonly options: SpaceWatchOptions;
  private timer: Timer | null = null;
  private told = false;
  private fullAtMs = 0;

  constructor(options: SpaceWatchOptions) {
    this.options = options;
    const { metrics, dataDir, full } = options;
    const free = metrics.gauge('sightline_storage_free_bytes', 'Bytes free on the disk of the data folder.');
    const isFull = metrics.gauge(
      'sightline_storage_full',
      '1: the disk is full and writes are refused; queries go on.',
    );
    metrics.onCollect(() => {
      free.set(freeBytes(dataDir) ?? Number.NaN);
      isFull.set(full() ? 1 : 0);
    });
  }

  /** '' where writes are taken; else why they are not. */
  get problem(): string {
    const { full, dataDir } = this.options;
    return full()
      ? `ready for queries only: the disk is full, writes are refused until there is room; ${spaceText(dataDir)}`
      : '';
  }

  start(): void {
    const round = (): void => {
      this.look();
      this.timer = this.options.clock.after(LOOK_EVERY_MS, round);
    };
    round();
  }

  stop(): void {
    this.timer?.cancel();
  }

  look(): void {
    const { full, settle, clock, log, dataDir } = this.options;
    const facts = (): Record<string, unknown> => ({ path: dataDir, freeBytes: freeBytes(dataDir) });
    if (full()) {
      this.fullAtMs = clock.monotonic();
      if (this.told) return;
      this.told = true;
      log.error(facts(), 'the disk is full: writes are refused with 503, queries go on; free disk space');
      return;
    }
    if (!settle() || !this.told || clock.monotonic() - this.fullAtMs < CALM_MS) return;
    this.told = false;
    log.warn(facts(), 'there is room again: writes are taken');
  }
}
