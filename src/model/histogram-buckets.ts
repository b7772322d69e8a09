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
  // The last regular bucket ends at the largest float; beyond it lies the overflow bucket of infinities.
  if (index === 1024 * 2 ** schema) return Number.MAX_VALUE;
  if (schema <= 0) return 2 ** (index * 2 ** -schema);
  const perOctave = 2 ** schema;
  const octave = Math.floor(index / perOctave);
  return (FRACTIONS[schema]?.[index - octave * perOctave] as number) * 2 ** octave;
}

/**
 * By schema, the bounds in [1, 2). Prometheus has them in a table that is a last digit away from the nearest floats here and
 * there; bounds show in answers and decide quantiles, so they are made here by the steps that its table was made by: every other bound
 * is that of the schema before, the others follow by multiplication.
 */
const FRACTIONS: readonly (readonly number[])[] = fractions();

function fractions(): number[][] {
  const out: number[][] = [];
  for (let schema = 0; schema <= 8; schema++) {
    const factor = exp2(exp2(-schema));
    const bounds = [1];
    for (let i = 1; i < 2 ** schema; i++) {
      bounds.push(i % 2 === 0 ? (out[schema - 1]?.[i / 2] as number) : (bounds[i - 1] as number) * factor);
    }
    out.push(bounds);
  }
  return out;
}

/** 2 ** x for -9 < x < 2 by the classic reduction and polynomial of fdlibm's exp, which is not always the nearest float. */
function exp2(x: number): number {
  const k = Math.trunc(x + (x < 0 ? -0.5 : 0.5));
  const high = (x - k) * 0.6931471803691238;
  const low = -(x - k) * 1.9082149292705877e-10;
  const r = high - low;
  const t = r * r;
  let p = 4.1381367970572385e-8;
  p = -1.6533902205465252e-6 + t * p;
  p = 6.613756321437934e-5 + t * p;
  p = -0.0027777777777015593 + t * p;
  p = 0.16666666666666666 + t * p;
  const c = r - t * p;
  return (1 - (low - (r * c) / (2 - c) - high)) * 2 ** k;
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
