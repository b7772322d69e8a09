/**
 * Lane: one of an endpoint's parallel senders. Batches leave one after the other, so the samples of a series, which all go through the same
 * lane, arrive in order. A batch leaves when it is full or has waited long enough.
 */
import type { Clock, Timer } from '../../lib/clock.ts';
import { Batch, type Ticket } from './batch.ts';

export interface LaneOptions {
  clock: Clock;
  /** Rows of a request. */
  batchRows: number;
  deadlineMs: number;
  send(batch: Batch): Promise<boolean>;
  /** The rows of these records that this batch held are done with. */
  done(batch: Batch): void;
}

export class Lane {
  /** Rows not yet answered. */
  rows = 0;
  private readonly options: LaneOptions;
  private open: Batch | null = null;
  private readonly full: Batch[] = [];
  private sending = false;
  private stopped = false;
  private timer: Timer | null = null;

  constructor(options: LaneOptions) {
    this.options = options;
  }

  /** The batch that takes the next row. */
  batchFor(ticket: Ticket): Batch {
    if (this.open?.full === true) this.close();
    const { clock, batchRows, deadlineMs } = this.options;
    if (this.open === null) {
      this.open = new Batch(batchRows, clock.monotonic());
      this.timer?.cancel();
      this.timer = clock.after(deadlineMs, () => this.close());
    }
    this.open.holds(ticket);
    this.rows++;
    return this.open;
  }

  /** Sends what there is, full or not. */
  close(): void {
    this.timer?.cancel();
    this.timer = null;
    if (this.open === null) return;
    this.full.push(this.open);
    this.open = null;
    void this.run();
  }

  stop(): void {
    this.stopped = true;
    this.timer?.cancel();
  }

  private async run(): Promise<void> {
    if (this.sending) return;
    this.sending = true;
    while (!this.stopped) {
      const batch = this.full.shift();
      if (batch === undefined) break;
      if (!(await this.options.send(batch))) break;
      this.rows -= batch.rows;
      this.options.done(batch);
    }
    this.sending = false;
  }
}
