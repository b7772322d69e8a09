/**
 * MemoryWatch: looks at the process' memory twice a second and sets the level at which tenants above their share are put off
 * (pipeline/admission/memory-pressure.ts). The limit is `limits.memory`, or the container's, or three quarters of the machine.
 */
import { readFileSync } from 'node:fs';
import { totalmem } from 'node:os';
import type { Clock, Timer } from '../lib/clock.ts';
import type { Logger } from '../lib/log.ts';
import type { MetricsRegistry } from '../lib/metrics.ts';
import type { AdmissionBoard } from '../pipeline/admission/board.ts';
import { MemoryPressure } from '../pipeline/admission/memory-pressure.ts';

const LOOK_EVERY_MS = 500;
/** Of the machine: other programs run there too. */
const MACHINE_SHARE = 0.75;
const CGROUP_FILES = ['/sys/fs/cgroup/memory.max', '/sys/fs/cgroup/memory/memory.limit_in_bytes'];

export interface MemoryWatchOptions {
  board: AdmissionBoard;
  /** `limits.memory`; null = to be found out. */
  limitBytes: number | null;
  clock: Clock;
  log: Logger;
  metrics: MetricsRegistry;
  /** Bytes; for tests. */
  resident?: () => number;
}

export class MemoryWatch {
  limitBytes: number;
  private readonly options: MemoryWatchOptions;
  private readonly pressure: MemoryPressure;
  private readonly resident: () => number;
  private level = 0;
  private timer: Timer | null = null;

  constructor(options: MemoryWatchOptions) {
    this.options = options;
    this.limitBytes = options.limitBytes ?? memoryLimit();
    this.resident = options.resident ?? (() => process.memoryUsage.rss());
    this.pressure = new MemoryPressure(options.board);
    const { metrics, board } = options;
    const limit = metrics.gauge('sightline_memory_limit_bytes', 'Resident memory that the process keeps below.');
    const level = metrics.gauge(
      'sightline_memory_pressure',
      '0: none. 1: tenants above their share get no new series. 2: their samples are put off. 3: everyone is.',
    );
    const fill = metrics.gauge('sightline_memory_fill_ratio', 'Resident memory, or the fullest heap, by its limit.');
    const head = metrics.gauge('sightline_memory_head_bytes', 'Memory of all heads by their own accounting.');
    metrics.onCollect(() => {
      limit.set(this.limitBytes);
      level.set(this.level);
      fill.set(this.pressure.fill);
      head.set(board.headBytes);
    });
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

  setLimit(limitBytes: number | null): void {
    this.limitBytes = limitBytes ?? memoryLimit();
  }

  look(): void {
    const level = this.pressure.look({ residentBytes: this.resident(), limitBytes: this.limitBytes });
    if (level === this.level) return;
    const facts = {
      level,
      fill: Math.round(this.pressure.fill * 100) / 100,
      limitBytes: this.limitBytes,
      shareSeries: Math.round(this.pressure.share),
    };
    if (level > this.level) this.options.log.warn(facts, 'memory is short: tenants above their share are put off');
    else this.options.log.info(facts, 'memory is less short than it was');
    this.level = level;
  }
}

/** Bytes. */
export function memoryLimit(): number {
  const machine = totalmem();
  for (const file of CGROUP_FILES) {
    try {
      const bytes = Number(readFileSync(file, 'utf8').trim());
      if (bytes > 0 && bytes < machine) return bytes;
    } catch {
      // Not in this kind of container.
    }
  }
  return Math.floor(machine * MACHINE_SHARE);
}
