/**
 * Where the buckets of a native histogram lie: bounds by index and schema, spans to bucket indices and back, and the
 * walk over all buckets from the lowest to the highest.
 *
 * Schemas -4..8 are exponential: bucket i covers (2^((i-1) * 2^-schema), 2^(i * 2^-schema)], mirrored for negative
 * values. Schema -53 has custom upper bounds in `customValues`, the last bucket reaching to +Inf and the first one from
 * -Inf. Bucket lists here are sparse: ascending indices beside counts.
 */
import { CUSTOM_BUCKETS_SCHEMA, type FloatHistogram } from './histogram.ts';

export interface Bucket {
  lower: number;
  upper: number;
  count: number;
  lowerInclusive: boolean;
  upperInclusive: boolean;
}

export function isCustom(h: { schema: number }): boolean {
  return h.schema === CUSTOM_BUCKETS_SCHEMA;
}

/** Upper bound of a positive bucket. The lower bound is that of the bucket before. */
export function bucketBound(index: number, schema: number, customValues: readonly number[]): number {
  if (schema === CUSTOM_BUCKETS_SCHEMA) {
    if (index < 0) return Number.NEGATIVE_INFINITY;
    return index < customValues.length ? (customValues[index] as number) : Number.POSITIVE_INFINITY;
  }
  const exponent = index * 2 ** -schema;
  // The last regular bucket ends at the largest float; beyond it lies the overflow bucket of infinities.
  return exponent === 1024 ? Number.MAX_VALUE : 2 ** exponent;
}

/** Bucket indices of flat [offset, length, ...] spans. */
export function indicesOfSpans(spans: readonly number[]): number[] {
  const out: number[] = [];
  let at = 0;
  for (let s = 0; s < spans.length; s += 2) {
    at += spans[s] as number;
    for (let k = spans[s + 1] as number; k > 0; k--) out.push(at++);
  }
  return out;
}

/** Spans and counts of a sparse list, buckets with count 0 left out. */
export function spansOfIndices(
  indices: readonly number[],
  counts: readonly number[],
): { spans: number[]; counts: number[] } {
  const spans: number[] = [];
  const kept: number[] = [];
  let next = 0;
  for (let i = 0; i < indices.length; i++) {
    const count = counts[i] as number;
    if (count === 0) continue;
    const index = indices[i] as number;
    if (spans.length > 0 && index === next) spans[spans.length - 1] = (spans[spans.length - 1] as number) + 1;
    else spans.push(index - next, 1);
    kept.push(count);
    next = index + 1;
  }
  return { spans, counts: kept };
}

export function zeroBucket(h: FloatHistogram): Bucket {
  return {
    lower: -h.zeroThreshold,
    upper: h.zeroThreshold,
    count: h.zeroCount,
    lowerInclusive: true,
    upperInclusive: true,
  };
}

/** The positive buckets, ascending, empty ones included. */
export function positiveBuckets(h: FloatHistogram): Bucket[] {
  const custom = isCustom(h);
  return indicesOfSpans(h.positiveSpans).map((index, i) => {
    const lower = bucketBound(index - 1, h.schema, h.customValues);
    const upper = bucketBound(index, h.schema, h.customValues);
    return {
      lower,
      upper,
      count: h.positiveBuckets[i] as number,
      lowerInclusive: custom ? index === 0 : lower < 0,
      upperInclusive: custom || upper > 0,
    };
  });
}

/** The negative buckets in storage order: from zero downwards, empty ones included. */
export function negativeBuckets(h: FloatHistogram): Bucket[] {
  return indicesOfSpans(h.negativeSpans).map((index, i) => {
    const lower = -bucketBound(index, h.schema, h.customValues);
    const upper = -bucketBound(index - 1, h.schema, h.customValues);
    return {
      lower,
      upper,
      count: h.negativeBuckets[i] as number,
      lowerInclusive: lower < 0,
      upperInclusive: upper > 0,
    };
  });
}

/** Every bucket from the lowest to the highest; a populated zero bucket pushes its neighbours' bounds aside. */
export function allBuckets(h: FloatHistogram): Bucket[] {
  const out = negativeBuckets(h).reverse();
  for (const b of out) if (b.upper < 0 && b.upper > -h.zeroThreshold) b.upper = -h.zeroThreshold;
  if (h.zeroCount > 0) out.push(zeroBucket(h));
  for (const b of positiveBuckets(h)) {
    if (b.lower > 0 && b.lower < h.zeroThreshold) b.lower = h.zeroThreshold;
    out.push(b);
  }
  return out;
}
