/**
 * Trimming a native histogram at a bound: `h </ b` keeps the observations below b, `h >/ b` those above.
 *
 * A bucket that contains the bound is split by interpolation, linear in custom and zero buckets, exponential elsewhere. Of
 * a bucket without an end nothing is known; what can be kept of it is taken to lie at its finite end or at the bound.
 * If anything was cut the sum is estimated anew, every kept part counting with the middle of its interval.
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

/** What stays of a bucket, and the middle of the interval it lies in. */
interface Part {
  kept: number;
  middle: number;
}

class Trim {
  readonly bound: number;
  readonly keepBelow: boolean;
  readonly custom: boolean;
  count = 0;
  sum = 0;
  cut = false;

  constructor(bound: number, keepBelow: boolean, custom: boolean) {
    this.bound = bound;
    this.keepBelow = keepBelow;
    this.custom = custom;
  }

  bucket(b: Bucket, positive: boolean): number {
    return b.count === 0 ? 0 : this.take(b.count, this.partOf(b, positive));
  }

  /** The zero bucket reaches to one side of zero only where all other observations are on that side. */
  zero(b: Bucket, hasPositive: boolean, hasNegative: boolean): number {
    const lower = hasPositive && !hasNegative ? 0 : b.lower;
    const upper = hasNegative && !hasPositive ? 0 : b.upper;
    const { bound, keepBelow } = this;
    if (bound <= lower || bound >= upper) {
      const whole = keepBelow ? bound >= upper && bound > lower : bound <= lower;
      return this.take(b.count, { kept: whole ? b.count : 0, middle: (lower + upper) / 2 });
    }
    const [from, to] = keepBelow ? [lower, bound] : [bound, upper];
    return this.take(b.count, { kept: (b.count * (to - from)) / (upper - lower), middle: (from + to) / 2 });
  }

  private take(count: number, part: Part): number {
    if (part.kept !== count) this.cut = true;
    this.count += part.kept;
    if (part.kept !== 0) this.sum += part.kept * part.middle;
    return part.kept;
  }

  private partOf(b: Bucket, positive: boolean): Part {
    const { bound, keepBelow } = this;
    if (keepBelow ? b.upper <= bound : b.lower >= bound) {
      return { kept: b.count, middle: this.middle(b.lower, b.upper, positive) };
    }
    if (keepBelow ? b.lower >= bound : b.upper <= bound) return { kept: 0, middle: 0 };
    if (b.lower === Number.NEGATIVE_INFINITY) return this.withoutLowerEnd(b);
    // Above the bound lies all of a bucket without an upper end, or nothing that is known.
    if (b.upper === Number.POSITIVE_INFINITY) return { kept: keepBelow ? 0 : b.count, middle: bound };
    const below = splitBelow(b, bound, positive, this.custom);
    return keepBelow
      ? { kept: below, middle: this.middle(b.lower, bound, positive) }
      : { kept: b.count - below, middle: this.middle(bound, b.upper, positive) };
  }

  private withoutLowerEnd(b: Bucket): Part {
    const { bound, keepBelow } = this;
    const finite = b.upper !== Number.POSITIVE_INFINITY;
    if (keepBelow) {
      // A first bucket with a positive bound is taken to start at 0.
      if (bound > 0 && b.upper > 0 && finite) return { kept: (b.count * bound) / b.upper, middle: bound / 2 };
      return b.upper <= 0 ? { kept: b.count, middle: bound } : { kept: 0, middle: 0 };
    }
    if (bound >= 0 && finite) return { kept: b.count * (1 - bound / b.upper), middle: (bound + b.upper) / 2 };
    return { kept: 0, middle: 0 };
  }

  private middle(lower: number, upper: number, positive: boolean): number {
    if (lower === Number.NEGATIVE_INFINITY) {
      if (upper === Number.POSITIVE_INFINITY) return 0;
      return upper > 0 ? upper / 2 : upper;
    }
    if (upper === Number.POSITIVE_INFINITY) return lower;
    if (this.custom) return (lower + upper) / 2;
    const mean = Math.sqrt(Math.abs(lower * upper));
    return positive ? mean : -mean;
  }
}

export function trimHistogram(h: FloatHistogram, bound: number, keepBelow: boolean): FloatHistogram {
  const custom = isCustom(h);
  const trim = new Trim(bound, keepBelow, custom);
  const positives = positiveBuckets(h);
  const negatives = negativeBuckets(h);
  const populated = (b: Bucket): boolean => b.count !== 0;
  const positive = positives.map(b => trim.bucket(b, true));
  const negative = negatives.map(b => trim.bucket(b, false));
  const zeroCount =
    h.zeroCount > 0 ? trim.zero(zeroBucket(h), positives.some(populated), negatives.some(populated)) : h.zeroCount;
  if (!trim.cut) return h;
  const p = spansOfIndices(indicesOfSpans(h.positiveSpans), positive);
  const n = spansOfIndices(indicesOfSpans(h.negativeSpans), negative);
  return {
    ...h,
    zeroCount,
    count: trim.count,
    sum: trim.sum,
    positiveSpans: p.spans,
    positiveBuckets: p.counts,
    negativeSpans: n.spans,
    negativeBuckets: n.counts,
    integer: false,
  };
}

/** How many of a bucket's observations are taken to lie at or below a bound inside of it. */
function splitBelow(b: Bucket, bound: number, positive: boolean, linear: boolean): number {
  if (linear) return (b.count * (bound - b.lower)) / (b.upper - b.lower);
  const lower = Math.log2(Math.abs(b.lower));
  const upper = Math.log2(Math.abs(b.upper));
  const at = Math.log2(Math.abs(bound));
  return b.count * (positive ? (at - lower) / (upper - lower) : 1 - (at - upper) / (lower - upper));
}
