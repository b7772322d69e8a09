/**
 * Upkeep: what a head does besides taking and giving samples, a slice at a time: background syncs, sweeping collected
 * series, sealing stragglers, removing WAL segments, rewriting series.log.
 */
import type { SyncPolicy, Wal } from '../wal/wal.ts';
import type { Limbo, Sweeper } from './gc.ts';
import type { Pins } from './pins.ts';
import type { SeriesLog } from './series-log.ts';
import { copyLive, REWRITE_SLICE_ROWS } from './series-log-rewrite.ts';
import type { HeadStore } from './store.ts';

export interface UpkeepOptions {
  sync?: SyncPolicy;
  walBytesMax?: number;
  rewriteDeadMin?: number;
  rewriteSliceRows?: number;
}

interface Parts {
  store: HeadStore;
  seriesLog: SeriesLog;
  wal: Wal;
  pins: Pins;
  limbo: Limbo;
  sweeper: Sweeper;
  /** Pairs may have been freed. */
  onSwept: () => void;
  log: (message: string) => void;
}

/** Tails sealed in one round. */
const LAGGARDS_PER_ROUND = 8192;
/** series.log is not rewritten for fewer dead series while the head runs. */
const REWRITE_DEAD_MIN = 10_000;

export class Upkeep {
  /** Rounds that failed. */
  errors = 0;
  private readonly parts: Parts;
  private readonly sync: SyncPolicy;
  private readonly walBytesMax: number;
  private readonly rewriteDeadMin: number;
  private readonly rewriteSliceRows: number;
  private rewrite: ReturnType<typeof copyLive> | null = null;
  /** Segment that was current when segments were last removed: it is not worth trying more often. */
  private truncatedAt = 0;
  private running: Promise<void> | null = null;
  private stopped = false;

  constructor(parts: Parts, options: UpkeepOptions) {
    this.parts = parts;
    this.sync = options.sync ?? 'interval';
    this.walBytesMax = options.walBytesMax ?? 512 << 20;
    this.rewriteDeadMin = options.rewriteDeadMin ?? REWRITE_DEAD_MIN;
    this.rewriteSliceRows = options.rewriteSliceRows ?? REWRITE_SLICE_ROWS;
  }

  /** One round; joins the one that is running. Never rejects. */
  run(): Promise<void> {
    this.running ??= this.round().finally(() => {
      this.running = null;
    });
    return this.running;
  }

  async stop(): Promise<void> {
    this.stopped = true;
    await this.running;
    this.parts.seriesLog.abortRewrite();
  }

  /** As `stop`, for an abandoned head: touches no file any more. */
  halt(): void {
    this.stopped = true;
  }

  truncateSoon(): void {
    this.truncatedAt = 0;
  }

  private async round(): Promise<void> {
    if (this.stopped) return;
    const { seriesLog, wal, store, log } = this.parts;
    try {
      this.sweep();
      this.sealLaggards();
      store.chunks.writeWaiting();
      await this.rewriteSeriesLog();
      if (this.sync === 'interval' && !this.stopped) {
        await seriesLog.syncInBackground();
        await wal.syncInBackground();
      }
      await this.truncate();
    } catch (error) {
      this.errors++;
      log(`upkeep of ${wal.dir} failed: ${(error as Error).message}`);
    }
  }

  private sweep(): void {
    const { sweeper, pins, limbo, wal, store, seriesLog } = this.parts;
    const swept = sweeper.slice(pins.oldest);
    if (swept === null) return;
    this.parts.onSwept();
    limbo.add(swept.refs, wal.segment, store.chunks.endPage - 1);
    seriesLog.addSwept(swept);
    seriesLog.commit();
    if (this.sync === 'always') seriesLog.sync();
  }

  /** Seals tails that hold back old segments, once the WAL has grown beyond its bound. */
  private sealLaggards(): void {
    const { wal, store } = this.parts;
    if (wal.bytes <= this.walBytesMax) return;
    // Up to here may go: what remains is the newer half.
    const before = wal.firstSegment + Math.ceil((wal.segment - wal.firstSegment) / 2);
    const sealed = store.sealLaggards(before, LAGGARDS_PER_ROUND);
    if (sealed > 0 && sealed < LAGGARDS_PER_ROUND) store.chunks.flush();
    this.truncatedAt = 0;
  }

  /** A slice of rewriting series.log, when more than half of it is about dead series. */
  private async rewriteSeriesLog(): Promise<void> {
    const { seriesLog, sweeper, store } = this.parts;
    if (this.rewrite === null) {
      if (sweeper.pending || seriesLog.dead < this.rewriteDeadMin || seriesLog.dead * 2 <= seriesLog.registered) return;
      this.rewrite = copyLive(store, seriesLog, this.rewriteSliceRows);
    }
    try {
      const step = this.rewrite.next();
      if (!step.done) return;
      await step.value.syncInBackground();
      if (step.value.failed) throw new Error(`the fresh ${seriesLog.path} could not be written`);
      if (!this.stopped) seriesLog.finishRewrite();
      this.rewrite = null;
    } catch (error) {
      seriesLog.abortRewrite();
      this.rewrite = null;
      throw error;
    }
  }

  /** Removes segments; the pages that make them superfluous are made durable first. */
  private async truncate(): Promise<void> {
    const { wal, store, limbo } = this.parts;
    if (!this.stopped && wal.segments > 1 && this.truncatedAt !== wal.segment) {
      this.truncatedAt = wal.segment;
      const first = store.firstSegment(wal.segment);
      if (first > wal.firstSegment) {
        if (this.sync !== 'never') await store.chunks.syncInBackground();
        if (!this.stopped) wal.truncate(first);
      }
    }
    limbo.advance(wal.firstSegment, store.chunks.firstPage);
  }
}
