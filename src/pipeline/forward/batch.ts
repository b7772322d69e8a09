/**
 * Batch: rows on their way into one request, as columns, chained by series, so that a request names each series once and its samples in
 * order. It knows which records of the queue it holds rows of: when it is done with, they are.
 */
import type { FloatHistogram } from '../../model/histogram.ts';
import type { OutSeries } from './out-series.ts';

/** A record of the queue that has been read and not yet wholly sent. */
export interface Ticket {
  segment: number;
  /** Behind the record. */
  offset: number;
  /** Batches that hold rows of it; and 1 while it is being read. */
  pending: number;
}

export interface HistogramOut {
  series: OutSeries;
  timestampMs: number;
  startMs: number;
  histogram: FloatHistogram;
}

export interface ExemplarOut {
  series: OutSeries;
  timestampMs: number;
  value: number;
  labels: readonly string[];
}

export class Batch {
  /** Distinct, of the samples. */
  readonly series: OutSeries[] = [];
  /** Chains of rows by place in `series`. */
  readonly first: number[] = [];
  private readonly last: number[] = [];
  readonly next: Int32Array;
  readonly timestamps: Float64Array;
  readonly values: Float64Array;
  readonly starts: Float64Array;
  samples = 0;
  readonly histograms: HistogramOut[] = [];
  readonly exemplars: ExemplarOut[] = [];
  readonly tickets: Ticket[] = [];
  private readonly capacity: number;
  /** Monotonic ms. */
  readonly madeAt: number;

  constructor(capacity: number, madeAt: number) {
    this.capacity = capacity;
    this.madeAt = madeAt;
    this.next = new Int32Array(capacity);
    this.timestamps = new Float64Array(capacity);
    this.values = new Float64Array(capacity);
    this.starts = new Float64Array(capacity);
  }

  get rows(): number {
    return this.samples + this.histograms.length + this.exemplars.length;
  }

  get full(): boolean {
    return this.rows >= this.capacity;
  }

  holds(ticket: Ticket): void {
    if (this.tickets.at(-1) === ticket) return;
    this.tickets.push(ticket);
    ticket.pending++;
  }

  /** values[row] by its bits: markers stay what they are in typed arrays. */
  addSample(series: OutSeries, timestampMs: number, values: Float64Array, row: number, startMs: number): void {
    const i = this.samples++;
    if (series.batch !== this) {
      series.batch = this;
      series.slot = this.series.length;
      this.series.push(series);
      this.first.push(i);
      this.last.push(i);
    } else {
      this.next[this.last[series.slot] as number] = i;
      this.last[series.slot] = i;
    }
    this.next[i] = -1;
    this.timestamps[i] = timestampMs;
    this.values[i] = values[row] as number;
    this.starts[i] = startMs;
  }

  /** Row numbers of a series in order of time, in `into`; those before `minT` left out. Returns how many. */
  rowsOf(slot: number, minT: number, into: number[]): number {
    let n = 0;
    let sorted = true;
    let previous = -1;
    for (let i = this.first[slot] as number; i >= 0; i = this.next[i] as number) {
      const t = this.timestamps[i] as number;
      if (t < minT) continue;
      if (t < previous) sorted = false;
      previous = t;
      into[n++] = i;
    }
    into.length = n;
    if (!sorted) into.sort((a, b) => (this.timestamps[a] as number) - (this.timestamps[b] as number));
    return n;
  }
}
