/**
 * Quantiles, fractions and variance of native histograms. Within a bucket observations are taken to be spread evenly on a
 * logarithmic scale (exponential buckets) or a linear one (custom and zero buckets). A zero bucket of a histogram with
 * observations on one side only ends at zero.
 */
import { kahanError } from '../../../lib/kahan.ts';
import type { FloatHistogram } from '../../../model/histogram.ts';
import { allBuckets, type Bucket, isCustom } from '../../../model/histogram-buckets.ts';

export interface QuantileResult {
  value: number;
  /** The histogram has NaN observations: 'result' made the result NaN, 'skew' moved it up. */
  nan: 'none' | 'result' | 'skew';
}

export function nativeQuantile(q: number, h: FloatHistogram): QuantileResult {
  if (q < 0) return { value: Number.NEGATIVE_INFINITY, nan: 'none' };
  if (q > 1) return { value: Number.POSITIVE_INFINITY, nan: 'none' };
  if (h.count === 0 || q !== q) return { value: Number.NaN, nan: 'none' };
  const hasNaN = h.sum !== h.sum;
  // From the nearer end; with NaN observations, which no bucket counts, only from below.
  const forward = hasNaN || q < 0.5;
  const buckets = allBuckets(h);
  if (!forward) buckets.reverse();
  let rank = (forward ? q : 1 - q) * h.count;
  let count = 0;
  let bucket: Bucket = { lower: 0, upper: 0, count: 0, lowerInclusive: false, upperInclusive: false };
  for (const b of buckets) {
    if (b.count === 0) continue;
    bucket = b;
    count += b.count;
    if (count >= rank) break;
  }
  if (isCustom(h)) {
    if (bucket.lower === Number.NEGATIVE_INFINITY) {
      if (bucket.upper <= 0) return { value: bucket.upper, nan: hasNaN ? 'skew' : 'none' };
      bucket.lower = 0;
    } else if (bucket.upper === Number.POSITIVE_INFINITY) {
      return { value: bucket.lower, nan: hasNaN ? 'skew' : 'none' };
    }
  } else narrowZeroBucket(bucket, h);
  count = Math.min(count, h.count);
  if (count < rank) {
    return hasNaN ? { value: Number.NaN, nan: 'result' } : { value: bucket.upper, nan: 'none' };
  }
  rank = forward ? rank - (count - bucket.count) : count - rank;
  return { value: inBucket(bucket, rank / bucket.count, isCustom(h)), nan: hasNaN ? 'skew' : 'none' };
}

function narrowZeroBucket(b: Bucket, h: FloatHistogram): void {
  if (!(b.lower < 0 && b.upper > 0)) return;
  if (h.negativeBuckets.length === 0 && h.positiveBuckets.length > 0) b.lower = 0;
  else if (h.positiveBuckets.length === 0 && h.negativeBuckets.length > 0) b.upper = 0;
}

/** The value below which `fraction` of a bucket's observations lie. */
function inBucket(b: Bucket, fraction: number, custom: boolean): number {
  if (custom || (b.lower <= 0 && b.upper >= 0)) return b.lower + (b.upper - b.lower) * fraction;
  const lower = Math.log2(Math.abs(b.lower));
  const upper = Math.log2(Math.abs(b.upper));
  if (b.lower > 0) return 2 ** (lower + (upper - lower) * fraction);
  return -(2 ** (upper + (lower - upper) * (1 - fraction)));
}

export function nativeFraction(lower: number, upper: number, h: FloatHistogram): number {
  if (h.count === 0 || lower !== lower || upper !== upper) return Number.NaN;
  if (lower >= upper) return 0;
  const custom = isCustom(h);
  const buckets = allBuckets(h);
  // NaN observations are in the count alone, and belong to no fraction below +Inf.
  let total = 0;
  for (const b of buckets) {
    if (custom) {
      if (b.lower === Number.NEGATIVE_INFINITY && b.upper > 0) b.lower = 0;
    } else narrowZeroBucket(b, h);
    total += b.count;
  }
  const limit = h.sum !== h.sum ? total : h.count;
  const from = Math.min(rankOf(lower, buckets, custom), limit);
  const to = Math.min(rankOf(upper, buckets, custom), limit);
  return (to - from) / h.count;
}

/** How many observations lie below `v`; Infinity where all buckets do. */
function rankOf(v: number, buckets: readonly Bucket[], custom: boolean): number {
  let rank = 0;
  for (const b of buckets) {
    if (b.lower >= v) return rank;
    if (b.lower < v && b.upper > v) {
      if (b.lower === Number.NEGATIVE_INFINITY) return rank + b.count;
      if (b.upper === Number.POSITIVE_INFINITY) return rank;
      return rank + b.count * fractionBelow(b, v, custom);
    }
    rank += b.count;
  }
  return Number.POSITIVE_INFINITY;
}

function fractionBelow(b: Bucket, v: number, custom: boolean): number {
  if (custom || (b.lower <= 0 && b.upper >= 0)) return (v - b.lower) / (b.upper - b.lower);
  const lower = Math.log2(Math.abs(b.lower));
  const upper = Math.log2(Math.abs(b.upper));
  const at = Math.log2(Math.abs(v));
  return v > 0 ? (at - lower) / (upper - lower) : 1 - (at - upper) / (lower - upper);
}

/** Estimated variance: every observation at the middle of its bucket. */
export function histogramVariance(h: FloatHistogram): number {
  const custom = isCustom(h);
  const mean = h.sum / h.count;
  let sum = 0;
  let lost = 0;
  for (const b of allBuckets(h)) {
    if (b.count === 0) continue;
    let middle: number;
    if (custom) middle = (b.upper + b.lower) / 2;
    else if (b.lower <= 0 && b.upper >= 0) middle = 0;
    else middle = b.upper < 0 ? -Math.sqrt(b.upper * b.lower) : Math.sqrt(b.upper * b.lower);
    const inc = b.count * (middle - mean) * (middle - mean);
    const t = sum + inc;
    lost += kahanError(inc, sum, t);
    sum = t;
  }
  return (sum + lost) / h.count;
}
