/**
 * ClassicHistogram: the `_bucket`, `_sum` and `_count` samples of one classic histogram being put together into a native one with
 * custom buckets: its upper bounds are the custom values, its counts those between two bounds.
 */
import { CUSTOM_BUCKETS_SCHEMA, type FloatHistogram, HINT_GAUGE, HINT_UNKNOWN } from '../../model/histogram.ts';
import { spansOfIndices } from '../../model/histogram-buckets.ts';

/** Far above what any client exposes: beyond it, the histogram cannot be converted. */
const BUCKETS_MAX = 10_000;

export class ClassicHistogram {
  private readonly bounds: number[] = [];
  /** Cumulative, beside `bounds`. */
  private readonly totals: number[] = [];
  private hasCount = false;
  private count = 0;
  private sum = 0;
  private broken = false;

  get empty(): boolean {
    return this.bounds.length === 0;
  }

  reset(): void {
    this.bounds.length = 0;
    this.totals.length = 0;
    this.hasCount = false;
    this.count = 0;
    this.sum = 0;
    this.broken = false;
  }

  addBucket(upper: number, cumulative: number): void {
    if (this.bounds.length >= BUCKETS_MAX || Number.isNaN(upper) || !(cumulative >= 0)) this.broken = true;
    else {
      this.bounds.push(upper);
      this.totals.push(cumulative);
    }
  }

  setCount(count: number): void {
    this.hasCount = true;
    this.count = count;
  }

  setSum(sum: number): void {
    this.sum = sum;
  }

  /** null where the buckets contradict each other or the count. */
  toNative(gauge = false): FloatHistogram | null {
    const { bounds, totals } = this;
    if (this.broken || bounds.length === 0 || !this.sort()) return null;
    const lastTotal = totals[totals.length - 1] as number;
    const last = bounds[bounds.length - 1] as number;
    const count = this.hasCount ? this.count : lastTotal;
    if (!(count >= lastTotal) || (last === Number.POSITIVE_INFINITY && count !== lastTotal)) return null;
    const finite = bounds.filter(b => b !== Number.POSITIVE_INFINITY);
    const counts: number[] = [];
    let before = 0;
    for (let i = 0; i <= finite.length; i++) {
      const total = i < finite.length ? (totals[i] as number) : count;
      if (!(total >= before)) return null;
      counts.push(total - before);
      before = total;
    }
    const positive = spansOfIndices([...counts.keys()], counts);
    return {
      schema: CUSTOM_BUCKETS_SCHEMA,
      zeroThreshold: 0,
      zeroCount: 0,
      count,
      sum: this.sum,
      positiveSpans: positive.spans,
      positiveBuckets: positive.counts,
      negativeSpans: [],
      negativeBuckets: [],
      customValues: finite,
      counterResetHint: gauge ? HINT_GAUGE : HINT_UNKNOWN,
      integer: Number.isSafeInteger(count) && counts.every(Number.isInteger),
    };
  }

  /** By bound, where they do not come so; false if one stands there twice with different counts. */
  private sort(): boolean {
    const { bounds, totals } = this;
    let ordered = true;
    for (let i = 1; i < bounds.length; i++) if (!((bounds[i] as number) > (bounds[i - 1] as number))) ordered = false;
    if (ordered) return true;
    const order = [...bounds.keys()].sort((a, b) => (bounds[a] as number) - (bounds[b] as number));
    const sorted = order.map(i => [bounds[i] as number, totals[i] as number] as const);
    bounds.length = 0;
    totals.length = 0;
    for (const [bound, total] of sorted) {
      if (bound === bounds[bounds.length - 1]) {
        if (total !== totals[totals.length - 1]) return false;
        continue;
      }
      bounds.push(bound);
      totals.push(total);
    }
    return true;
  }
}
