/**
 * FloatHistogram: one native histogram, with absolute (not delta-coded) bucket counts as floats.
 *
 * Plain data, so that it can be cloned between threads. Integer histograms are held the same way with `integer` set:
 * every count is then a whole number below 2^53, and storage and remote read give back what was sent.
 * Source: Prometheus model/histogram (schemas -4..8 exponential, -53 custom buckets).
 */

export const CUSTOM_BUCKETS_SCHEMA = -53;

export const HINT_UNKNOWN = 0;
export const HINT_COUNTER_RESET = 1;
export const HINT_NOT_COUNTER_RESET = 2;
export const HINT_GAUGE = 3;
export type CounterResetHint = 0 | 1 | 2 | 3;

export interface FloatHistogram {
  schema: number;
  zeroThreshold: number;
  zeroCount: number;
  count: number;
  sum: number;
  /** Flat [offset0, length0, offset1, length1, ...]; the first offset is absolute, later ones are gaps. */
  positiveSpans: readonly number[];
  positiveBuckets: readonly number[];
  negativeSpans: readonly number[];
  negativeBuckets: readonly number[];
  /** Upper bounds, ascending, without +Inf; empty unless schema is -53. */
  customValues: readonly number[];
  counterResetHint: CounterResetHint;
  integer: boolean;
}
