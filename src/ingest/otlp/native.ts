/**
 * Native histograms out of OpenTelemetry's: exponential ones keep their buckets (their bucket i is Prometheus' bucket i + 1, since
 * that is the closed upper end), explicit ones become custom buckets.
 */
import { CUSTOM_BUCKETS_SCHEMA, type FloatHistogram, HINT_UNKNOWN } from '../../model/histogram.ts';
import { spansOfIndices } from '../../model/histogram-buckets.ts';

/** Finest and coarsest schema that is stored; finer scales are brought down. */
const SCHEMA_MAX = 8;
const SCHEMA_MIN = -4;
/** Scales that any sender has reason for: at 20 a bucket is a millionth wide. */
const SCALE_MAX = 52;
/** Zero bucket of a histogram that names none. */
const ZERO_THRESHOLD = 1e-128;

/** Dense bucket counts from index `offset` on. */
export interface DenseBuckets {
  offset: number;
  counts: number[];
}

export interface ExponentialPoint {
  count: number;
  sum: number;
  scale: number;
  zeroCount: number;
  zeroThreshold: number;
  positive: DenseBuckets;
  negative: DenseBuckets;
}

/** Why the scale cannot be kept, or ''. */
export function scaleProblem(scale: number): string {
  if (scale >= SCHEMA_MIN && scale <= SCALE_MAX) return '';
  return `scale ${scale} is not between ${SCHEMA_MIN} and ${SCALE_MAX}`;
}

export function exponentialHistogram(p: ExponentialPoint): FloatHistogram {
  const schema = Math.min(p.scale, SCHEMA_MAX);
  const positive = sparse(p.positive, p.scale - schema);
  const negative = sparse(p.negative, p.scale - schema);
  return {
    schema,
    zeroThreshold: p.zeroThreshold > 0 ? p.zeroThreshold : ZERO_THRESHOLD,
    zeroCount: p.zeroCount,
    count: p.count,
    sum: p.sum,
    positiveSpans: positive.spans,
    positiveBuckets: positive.counts,
    negativeSpans: negative.spans,
    negativeBuckets: negative.counts,
    customValues: [],
    counterResetHint: HINT_UNKNOWN,
    integer: true,
  };
}

/** Joins 2^`down` buckets to one and leaves out empty ones. */
function sparse(dense: DenseBuckets, down: number): { spans: number[]; counts: number[] } {
  const factor = 2 ** down;
  const indices: number[] = [];
  const counts: number[] = [];
  for (let i = 0; i < dense.counts.length; i++) {
    const count = dense.counts[i] as number;
    if (count === 0) continue;
    const index = Math.floor((dense.offset + i) / factor) + 1;
    const last = indices.length - 1;
    if (last >= 0 && indices[last] === index) counts[last] = (counts[last] as number) + count;
    else {
      indices.push(index);
      counts.push(count);
    }
  }
  return spansOfIndices(indices, counts);
}

/** `counts` has one more entry than `bounds`, not cumulated. */
export function customHistogram(
  bounds: readonly number[],
  counts: readonly number[],
  count: number,
  sum: number,
): FloatHistogram {
  const indices: number[] = [];
  const kept: number[] = [];
  for (let i = 0; i < counts.length; i++) {
    if (counts[i] === 0) continue;
    indices.push(i);
    kept.push(counts[i] as number);
  }
  const { spans, counts: buckets } = spansOfIndices(indices, kept);
  return {
    schema: CUSTOM_BUCKETS_SCHEMA,
    zeroThreshold: 0,
    zeroCount: 0,
    count,
    sum,
    positiveSpans: spans,
    positiveBuckets: buckets,
    negativeSpans: [],
    negativeBuckets: [],
    customValues: [...bounds],
    counterResetHint: HINT_UNKNOWN,
    integer: true,
  };
}
