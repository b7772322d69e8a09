/**
 * Arithmetic on native histograms, with compensated (Kahan-Neumaier) sums throughout, so that adding many histograms
 * in any order gives what exact addition would.
 *
 * HistogramWork is the mutable form: sparse buckets with a compensation term beside every count. Histograms themselves
 * stay immutable: they are shared with the store. Two histograms are brought to one layout before they meet: the lower
 * resolution of two exponential schemas, the wider zero bucket, the bounds that two custom layouts share. Exponential
 * and custom buckets never mix: IncompatibleHistogramsError.
 */

import { kahanError } from '../lib/kahan.ts';
import {
  type CounterResetHint,
  CUSTOM_BUCKETS_SCHEMA,
  type FloatHistogram,
  HINT_COUNTER_RESET,
  HINT_GAUGE,
  HINT_NOT_COUNTER_RESET,
  HINT_UNKNOWN,
} from './histogram.ts';
import { bucketBound, indicesOfSpans, isCustom, spansOfIndices } from './histogram-buckets.ts';

export class IncompatibleHistogramsError extends Error {
  override name = 'IncompatibleHistogramsError';
}

export interface AddOutcome {
  /** A known reset met a known non-reset: the sum's hint is a guess. */
  collision: boolean;
  /** Custom bounds differed and were reduced to the shared ones. */
  reconciled: boolean;
}

/** One side's buckets: ascending indices, counts, and what the counts lost to rounding so far. */
interface Side {
  index: number[];
  count: number[];
  lost: number[];
}

export class HistogramWork {
  schema: number;
  zeroThreshold: number;
  zeroCount: number;
  zeroLost = 0;
  count: number;
  countLost = 0;
  sum: number;
  sumLost = 0;
  positive: Side;
  negative: Side;
  customValues: readonly number[];
  hint: CounterResetHint;

  constructor(h: FloatHistogram) {
    this.schema = h.schema;
    this.zeroThreshold = h.zeroThreshold;
    this.zeroCount = h.zeroCount;
    this.count = h.count;
    this.sum = h.sum;
    this.positive = sideOf(h.positiveSpans, h.positiveBuckets);
    this.negative = sideOf(h.negativeSpans, h.negativeBuckets);
    this.customValues = h.customValues;
    this.hint = h.counterResetHint;
  }

  /** Adds `factor` (1 or -1) times `h`. Leaves this untouched when it throws. */
  add(h: FloatHistogram, factor: 1 | -1 = 1): AddOutcome {
    if (isCustom(this) !== isCustom(h)) {
      throw new IncompatibleHistogramsError('cannot combine histograms with exponential and with custom buckets');
    }
    const other = new HistogramWork(h);
    const collision = this.adjustHint(other.hint);
    let reconciled = false;
    if (isCustom(this)) reconciled = this.reconcileCustomBounds(other);
    else {
      this.reconcileZeroBuckets(other);
      const schema = Math.min(this.schema, other.schema);
      this.reduceTo(schema);
      other.reduceTo(schema);
      const zero = this.zeroCount;
      this.zeroCount += factor * other.zeroCount;
      this.zeroLost += kahanError(factor * other.zeroCount, zero, this.zeroCount);
    }
    const count = this.count;
    this.count += factor * other.count;
    this.countLost += kahanError(factor * other.count, count, this.count);
    const sum = this.sum;
    this.sum += factor * other.sum;
    this.sumLost += kahanError(factor * other.sum, sum, this.sum);
    addSide(this.positive, other.positive, factor);
    addSide(this.negative, other.negative, factor);
    return { collision, reconciled };
  }

  scale(factor: number): this {
    this.mapCounts(v => v * factor);
    if (factor < 0) this.hint = HINT_GAUGE;
    return this;
  }

  divide(divisor: number): this {
    this.mapCounts(v => v / divisor);
    if (divisor === 0) {
      // Nothing is left of the buckets; count, sum and zero count have become infinite or NaN.
      this.positive = { index: [], count: [], lost: [] };
      this.negative = { index: [], count: [], lost: [] };
    }
    if (divisor < 0) this.hint = HINT_GAUGE;
    return this;
  }

  /** Some total left the range of finite floats. */
  overflowed(): boolean {
    const infinite = (v: number): boolean => v === Number.POSITIVE_INFINITY || v === Number.NEGATIVE_INFINITY;
    return (
      infinite(this.zeroCount) ||
      infinite(this.count) ||
      infinite(this.sum) ||
      this.positive.count.some(infinite) ||
      this.negative.count.some(infinite)
    );
  }

  /** The immutable result, compensation folded in, empty buckets dropped. */
  finish(): FloatHistogram {
    const positive = spansOfIndices(this.positive.index, folded(this.positive));
    const negative = spansOfIndices(this.negative.index, folded(this.negative));
    return {
      schema: this.schema,
      zeroThreshold: this.zeroThreshold,
      zeroCount: this.zeroCount + this.zeroLost,
      count: this.count + this.countLost,
      sum: this.sum + this.sumLost,
      positiveSpans: positive.spans,
      positiveBuckets: positive.counts,
      negativeSpans: negative.spans,
      negativeBuckets: negative.counts,
      customValues: this.customValues,
      counterResetHint: this.hint,
      integer: false,
    };
  }

  /** Lowers the resolution. Only exponential schemas, and only downwards. */
  reduceTo(schema: number): void {
    if (schema >= this.schema) return;
    const shift = this.schema - schema;
    const target = (i: number): number => ((i - 1) >> shift) + 1;
    this.positive = remap(this.positive, target);
    this.negative = remap(this.negative, target);
    this.schema = schema;
  }

  /** What the zero bucket holds when it reaches at least to `threshold`; a populated bucket is never cut in two. */
  zeroBucketAt(threshold: number): { count: number; threshold: number } {
    let limit = threshold;
    if (limit === this.zeroThreshold) return { count: this.zeroCount, threshold: limit };
    for (;;) {
      let count = this.zeroCount;
      for (let i = 0; i < this.positive.index.length; i++) {
        const index = this.positive.index[i] as number;
        if (bucketBound(index - 1, this.schema, this.customValues) >= limit) break;
        count += this.positive.count[i] as number;
        const upper = bucketBound(index, this.schema, this.customValues);
        if (upper > limit) {
          if (this.positive.count[i] !== 0) limit = upper;
          break;
        }
      }
      let widened = false;
      for (let i = 0; i < this.negative.index.length; i++) {
        const index = this.negative.index[i] as number;
        if (bucketBound(index - 1, this.schema, this.customValues) >= limit) break;
        count += this.negative.count[i] as number;
        const bound = bucketBound(index, this.schema, this.customValues);
        if (bound > limit) {
          if (this.negative.count[i] !== 0) {
            limit = bound;
            widened = true;
          }
          break;
        }
      }
      if (!widened) return { count, threshold: limit };
    }
  }

  private widenZeroBucket(threshold: number): void {
    const wider = this.zeroBucketAt(threshold);
    this.zeroCount = wider.count;
    this.zeroThreshold = wider.threshold;
    for (const side of [this.positive, this.negative]) {
      let inside = 0;
      while (
        inside < side.index.length &&
        bucketBound((side.index[inside] as number) - 1, this.schema, this.customValues) < this.zeroThreshold
      ) {
        this.zeroLost += side.lost[inside] as number;
        inside++;
      }
      side.index.splice(0, inside);
      side.count.splice(0, inside);
      side.lost.splice(0, inside);
    }
  }

  private reconcileZeroBuckets(other: HistogramWork): void {
    while (this.zeroThreshold !== other.zeroThreshold) {
      if (this.zeroThreshold > other.zeroThreshold) other.widenZeroBucket(this.zeroThreshold);
      else this.widenZeroBucket(other.zeroThreshold);
    }
  }

  private reconcileCustomBounds(other: HistogramWork): boolean {
    if (sameNumbers(this.customValues, other.customValues)) return false;
    const shared = sharedBounds(this.customValues, other.customValues);
    for (const work of [this, other]) {
      const bounds = work.customValues;
      work.positive = remap(work.positive, i => targetOfBound(bounds, i, shared));
      work.customValues = shared;
    }
    return true;
  }

  private adjustHint(other: CounterResetHint): boolean {
    if (other === this.hint || this.hint === HINT_GAUGE) return false;
    if (other === HINT_GAUGE) {
      this.hint = HINT_GAUGE;
      return false;
    }
    if (this.hint === HINT_UNKNOWN) return false;
    this.hint = HINT_UNKNOWN;
    return other !== HINT_UNKNOWN;
  }

  private mapCounts(f: (v: number) => number): void {
    // Nothing lost stays nothing, also where f divides by zero or multiplies with infinity.
    const mapLost = (v: number): number => (v === 0 ? 0 : f(v));
    this.zeroCount = f(this.zeroCount);
    this.zeroLost = mapLost(this.zeroLost);
    this.count = f(this.count);
    this.countLost = mapLost(this.countLost);
    this.sum = f(this.sum);
    this.sumLost = mapLost(this.sumLost);
    for (const side of [this.positive, this.negative]) {
      for (let i = 0; i < side.count.length; i++) {
        side.count[i] = f(side.count[i] as number);
        side.lost[i] = mapLost(side.lost[i] as number);
      }
    }
  }
}

function sideOf(spans: readonly number[], counts: readonly number[]): Side {
  return { index: indicesOfSpans(spans), count: counts.slice(), lost: new Array<number>(counts.length).fill(0) };
}

function folded(side: Side): number[] {
  return side.count.map((v, i) => {
    const lost = side.lost[i] as number;
    return lost === 0 ? v : v + lost;
  });
}

/** Moves every bucket to another index; `target` must not decrease. */
function remap(side: Side, target: (index: number) => number): Side {
  const out: Side = { index: [], count: [], lost: [] };
  for (let i = 0; i < side.index.length; i++) {
    const to = target(side.index[i] as number);
    const last = out.index.length - 1;
    if (last >= 0 && out.index[last] === to) {
      const before = out.count[last] as number;
      const inc = side.count[i] as number;
      out.count[last] = before + inc;
      out.lost[last] =
        (out.lost[last] as number) + (side.lost[i] as number) + kahanError(inc, before, out.count[last] as number);
    } else {
      out.index.push(to);
      out.count.push(side.count[i] as number);
      out.lost.push(side.lost[i] as number);
    }
  }
  return out;
}

function addSide(a: Side, b: Side, factor: 1 | -1): void {
  const index: number[] = [];
  const count: number[] = [];
  const lost: number[] = [];
  let i = 0;
  let j = 0;
  while (i < a.index.length || j < b.index.length) {
    const x = i < a.index.length ? (a.index[i] as number) : Number.POSITIVE_INFINITY;
    const y = j < b.index.length ? (b.index[j] as number) : Number.POSITIVE_INFINITY;
    index.push(Math.min(x, y));
    const before = x <= y ? (a.count[i] as number) : 0;
    let c = x <= y ? (a.lost[i] as number) : 0;
    let v = before;
    if (y <= x) {
      const inc = factor * (b.count[j] as number);
      v = before + inc;
      c += kahanError(inc, before, v) + factor * (b.lost[j] as number);
      j++;
    }
    if (x <= y) i++;
    count.push(v);
    lost.push(c);
  }
  a.index = index;
  a.count = count;
  a.lost = lost;
}

function sameNumbers(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((v, i) => v === b[i]);
}

function sharedBounds(a: readonly number[], b: readonly number[]): number[] {
  const out: number[] = [];
  let j = 0;
  for (const v of a) {
    while (j < b.length && (b[j] as number) < v) j++;
    if (j < b.length && b[j] === v) out.push(v);
  }
  return out;
}

/** The bucket of `shared` that holds bucket `index` of `bounds`: the first shared bound at or above its own. */
function targetOfBound(bounds: readonly number[], index: number, shared: readonly number[]): number {
  if (index >= bounds.length) return shared.length;
  const bound = bounds[index] as number;
  let k = 0;
  while (k < shared.length && (shared[k] as number) < bound) k++;
  return k;
}

export function addHistograms(a: FloatHistogram, b: FloatHistogram): { result: FloatHistogram } & AddOutcome {
  const work = new HistogramWork(a);
  const outcome = work.add(b);
  return { result: work.finish(), ...outcome };
}

export function subHistograms(a: FloatHistogram, b: FloatHistogram): { result: FloatHistogram } & AddOutcome {
  const work = new HistogramWork(a);
  const outcome = work.add(b, -1);
  return { result: work.finish(), ...outcome };
}

export function scaleHistogram(h: FloatHistogram, factor: number): FloatHistogram {
  return new HistogramWork(h).scale(factor).finish();
}

export function divideHistogram(h: FloatHistogram, divisor: number): FloatHistogram {
  return new HistogramWork(h).divide(divisor).finish();
}

export function withHint(h: FloatHistogram, counterResetHint: CounterResetHint): FloatHistogram {
  return h.counterResetHint === counterResetHint ? h : { ...h, counterResetHint };
}

/** Same layout and counts; hints aside. A NaN sum equals a NaN sum. */
export function equalHistograms(a: FloatHistogram, b: FloatHistogram): boolean {
  const same = (x: number, y: number): boolean => x === y || (x !== x && y !== y);
  if (a.schema !== b.schema || !same(a.count, b.count) || !same(a.sum, b.sum)) return false;
  if (isCustom(a)) {
    if (!sameNumbers(a.customValues, b.customValues)) return false;
  } else if (a.zeroThreshold !== b.zeroThreshold || !same(a.zeroCount, b.zeroCount)) return false;
  return (
    sameBuckets(a.positiveSpans, a.positiveBuckets, b.positiveSpans, b.positiveBuckets) &&
    sameBuckets(a.negativeSpans, a.negativeBuckets, b.negativeSpans, b.negativeBuckets)
  );
}

function sameBuckets(
  spansA: readonly number[],
  a: readonly number[],
  spansB: readonly number[],
  b: readonly number[],
): boolean {
  const x = spansOfIndices(indicesOfSpans(spansA), a);
  const y = spansOfIndices(indicesOfSpans(spansB), b);
  return sameNumbers(x.spans, y.spans) && x.counts.every((v, i) => v === y.counts[i] || v !== v);
}

/** Whether a counter restarted between `previous` and `h`: by its hint where that says so, else by any count that fell. */
export function detectReset(h: FloatHistogram, previous: FloatHistogram): boolean {
  if (h.counterResetHint === HINT_COUNTER_RESET) return true;
  if (h.counterResetHint === HINT_NOT_COUNTER_RESET) return false;
  if (h.count < previous.count) return true;
  if (isCustom(h) !== isCustom(previous)) return true;
  const now = new HistogramWork(h);
  const before = new HistogramWork(previous);
  if (h.schema === CUSTOM_BUCKETS_SCHEMA) {
    if (!sameNumbers(h.customValues, previous.customValues)) {
      const shared = sharedBounds(h.customValues, previous.customValues);
      now.positive = remap(now.positive, i => targetOfBound(h.customValues, i, shared));
      before.positive = remap(before.positive, i => targetOfBound(previous.customValues, i, shared));
    }
    return anyBucketFell(now.positive, before.positive);
  }
  if (h.schema > previous.schema || h.zeroThreshold < previous.zeroThreshold) return true;
  const zero = before.zeroBucketAt(h.zeroThreshold);
  // The new zero bucket would cut a populated bucket of the old histogram in two.
  if (zero.threshold !== h.zeroThreshold || h.zeroCount < zero.count) return true;
  before.reduceTo(h.schema);
  const above = (index: number): boolean => bucketBound(index, h.schema, h.customValues) > h.zeroThreshold;
  return anyBucketFell(now.positive, before.positive, above) || anyBucketFell(now.negative, before.negative, above);
}

function anyBucketFell(now: Side, before: Side, counts: (index: number) => boolean = () => true): boolean {
  let j = 0;
  for (let i = 0; i < before.index.length; i++) {
    const index = before.index[i] as number;
    if (!counts(index)) continue;
    while (j < now.index.length && (now.index[j] as number) < index) j++;
    const value = j < now.index.length && now.index[j] === index ? (now.count[j] as number) : 0;
    if (value < (before.count[i] as number)) return true;
  }
  return false;
}

export interface CombinedHistograms extends AddOutcome {
  /** null where exponential and custom buckets met. */
  result: FloatHistogram | null;
}

/** Sum over at least one histogram. */
export function sumHistograms(list: readonly FloatHistogram[]): CombinedHistograms {
  const work = new HistogramWork(list[0] as FloatHistogram);
  const collision = hintsCollide(list);
  let reconciled = false;
  try {
    for (let i = 1; i < list.length; i++) {
      if (work.add(list[i] as FloatHistogram).reconciled) reconciled = true;
    }
  } catch (error) {
    if (error instanceof IncompatibleHistogramsError) return { result: null, collision, reconciled };
    throw error;
  }
  return { result: work.finish(), collision, reconciled };
}

/** Mean over at least one histogram; switches to a running mean where the sum would overflow. */
export function avgHistograms(list: readonly FloatHistogram[]): CombinedHistograms {
  const summed = sumHistograms(list);
  if (summed.result === null) return summed;
  const total = new HistogramWork(summed.result);
  if (!total.overflowed()) return { ...summed, result: total.divide(list.length).finish() };
  const mean = new HistogramWork(list[0] as FloatHistogram);
  for (let i = 1; i < list.length; i++) {
    const n = i + 1;
    mean.scale(i / n);
    mean.add(new HistogramWork(list[i] as FloatHistogram).divide(n).finish());
  }
  return { ...summed, result: mean.finish() };
}

/** A known reset and a known non-reset in one sum. */
function hintsCollide(list: readonly FloatHistogram[]): boolean {
  let reset = false;
  let notReset = false;
  for (const h of list) {
    if (h.counterResetHint === HINT_COUNTER_RESET) reset = true;
    if (h.counterResetHint === HINT_NOT_COUNTER_RESET) notReset = true;
  }
  return reset && notReset;
}
