/**
 * Trimming a native histogram at a bound: `h </ b` keeps the observations below b, `h >/ b` those above. A bucket that
 * contains the bound is split by interpolation (linear in custom and zero buckets, exponential elsewhere); an infinite
 * bucket that contains it is dropped, since nothing is known of where its observations lie. The sum is corrected by an
 * estimate of what was removed.
 */
import type { FloatHistogram } from './histogram.ts';
import {
  type Bucket,
  indicesOfSpans,
  isCustom,
  negativeBuckets,
  positiveBuckets,
  spansOfIndices,
  zeroBucket,
} from './histogram-buckets.ts';

interface TrimTotals {
  kept: number;
  removedSum: number;
  hasPositive: boolean;
  hasNegative: boolean;
}

export function trimHistogram(h: FloatHistogram, bound: number, keepBelow: boolean): FloatHistogram {
  const totals: TrimTotals = { kept: 0, removedSum: 0, hasPositive: false, hasNegative: false };
  const custom = isCustom(h);
  const positive = positiveBuckets(h).map(b => {
    if (b.count !== 0) notePositive(b, custom, totals);
    return trimBucket(b, bound, keepBelow, true, custom, totals);
  });
  const negative = negativeBuckets(h).map(b => {
    if (b.count !== 0) totals.hasNegative = true;
    return trimBucket(b, bound, keepBelow, false, custom, totals);
  });
  let zeroCount = h.zeroCount;
  if (zeroCount > 0) {
    const below = splitBelow(zeroBucket(h), bound, true, true);
    zeroCount = keepBelow ? below : zeroCount - below;
    totals.kept += zeroCount;
  }
  const p = spansOfIndices(indicesOfSpans(h.positiveSpans), positive);
  const n = spansOfIndices(indicesOfSpans(h.negativeSpans), negative);
  return {
    ...h,
    zeroCount,
    count: totals.kept,
    sum: trimmedSum(h.sum, totals),
    positiveSpans: p.spans,
    positiveBuckets: p.counts,
    negativeSpans: n.spans,
    negativeBuckets: n.counts,
    integer: false,
  };
}

function notePositive(b: Bucket, custom: boolean, totals: TrimTotals): void {
  if (custom && b.lower < 0) totals.hasNegative = true;
  if (!custom || b.upper > 0) totals.hasPositive = true;
  else totals.hasNegative = true;
}

function trimmedSum(sum: number, totals: TrimTotals): number {
  if (totals.kept === 0) return 0;
  const rest = sum - totals.removedSum;
  // The estimate must not give a sum of a sign that no observation has.
  if (!totals.hasNegative && rest < 0) return 0;
  if (!totals.hasPositive && rest > 0) return 0;
  return rest;
}

/** The count that stays of one bucket; what goes is added to the totals. */
function trimBucket(
  b: Bucket,
  bound: number,
  keepBelow: boolean,
  positive: boolean,
  custom: boolean,
  totals: TrimTotals,
): number {
  if (b.count === 0) return 0;
  const keptWhole = keepBelow ? b.upper <= bound : b.lower >= bound;
  if (keptWhole) {
    totals.kept += b.count;
    return b.count;
  }
  const cut = partialTrim(b, bound, keepBelow, positive, custom);
  const contains = keepBelow ? b.lower < bound : b.upper > bound;
  if (contains) {
    totals.removedSum += (b.count - cut.kept) * cut.middle;
    totals.kept += cut.kept;
    return cut.kept;
  }
  const middle = custom ? cut.middle : Math.sqrt(b.lower * b.upper);
  totals.removedSum += b.count * middle;
  return 0;
}

/** What stays of a bucket around the bound, and the middle of what goes. */
function partialTrim(
  b: Bucket,
  bound: number,
  keepBelow: boolean,
  positive: boolean,
  custom: boolean,
): { kept: number; middle: number } {
  if (b.lower === Number.NEGATIVE_INFINITY || b.upper === Number.POSITIVE_INFINITY) {
    return trimInfinite(b, bound, keepBelow);
  }
  const below = splitBelow(b, bound, positive, custom);
  const product = keepBelow ? Math.abs(b.lower) * Math.abs(bound) : Math.abs(bound) * Math.abs(b.upper);
  let middle = Math.sqrt(product);
  if (custom) middle = (b.lower + b.upper) / 2;
  else if (!positive) middle = -middle;
  return { kept: keepBelow ? below : b.count - below, middle };
}

function trimInfinite(b: Bucket, bound: number, keepBelow: boolean): { kept: number; middle: number } {
  if (b.lower === Number.NEGATIVE_INFINITY) {
    if (keepBelow && bound >= b.upper) return { kept: b.count, middle: 0 };
    if (!keepBelow && bound <= b.lower) return { kept: b.count, middle: 0 };
    // A first custom bucket with a positive bound is taken to start at 0.
    if (bound >= 0 && b.upper > bound && b.upper !== Number.POSITIVE_INFINITY) {
      return keepBelow
        ? { kept: (b.count * bound) / b.upper, middle: (bound + b.upper) / 2 }
        : { kept: b.count * (1 - bound / b.upper), middle: bound / 2 };
    }
    return { kept: 0, middle: b.upper };
  }
  if (!keepBelow && bound <= b.lower) return { kept: b.count, middle: 0 };
  return { kept: 0, middle: b.lower };
}

/** How many of a bucket's observations are taken to lie at or below the bound. */
function splitBelow(b: Bucket, bound: number, positive: boolean, linear: boolean): number {
  if (bound <= b.lower) return 0;
  if (bound >= b.upper) return b.count;
  if (linear) return (b.count * (bound - b.lower)) / (b.upper - b.lower);
  const lower = Math.log2(Math.abs(b.lower));
  const upper = Math.log2(Math.abs(b.upper));
  const at = Math.log2(Math.abs(bound));
  return b.count * (positive ? (at - lower) / (upper - lower) : 1 - (at - upper) / (lower - upper));
}
