/**
 * LeafSource: evaluates the leaves of a PromQL plan over a whole step grid, wherever the samples are.
 *
 * A leaf is a selector, what is applied to its window (a range function, or plain instant lookup), and optionally a
 * grouped aggregate on top, computed partially per shard. The engine asks a LeafSource and never a SampleSource: in one
 * thread it is the local executor (query/promql/leaf.ts over a SampleSource); in the server it fans the plan out to the
 * shards, each of which runs the local executor over its own series, and merges.
 *
 * Everything here is plain data that structured clone can carry between threads.
 */
import type { FloatHistogram } from '../model/histogram.ts';
import type { Labels } from '../model/labels.ts';
import type { Matcher } from '../model/matcher.ts';
import type { TenantId } from '../model/tenant.ts';

export interface LeafPlan {
  matchers: readonly Matcher[];
  /** The output grid: start, start + step, ..., <= end. step 0 means one instant at `start`. ms. */
  startMs: number;
  endMs: number;
  stepMs: number;
  /** Subtracted from each step's time before looking; includes `offset`. ms. */
  offsetMs: number;
  /** `@`: all steps look at this time (minus offset); null where not given. ms. */
  atMs: number | null;
  /**
   * 0 for an instant selector (looks back `lookbackMs`), else the length of the window. Windows are left-open, right-closed.
   */
  rangeMs: number;
  lookbackMs: number;
  /** Name of the range function (rate, sum_over_time, ...), or 'instant' where rangeMs is 0. */
  func: string;
  /** Scalar arguments of the function, each one value per step (quantile_over_time's q, predict_linear's t, ...). */
  args: readonly Float64Array[];
  /** Drop the metric name from the result's labels (the function decides). */
  dropName: boolean;
  aggregate: LeafAggregate | null;
  /** Selector modifier of extended range selectors. */
  extended: 'anchored' | 'smoothed' | null;
  /** Bounds for the whole query; counted where samples are read. */
  maxSamples: number;
  /** Start timestamps count as counter resets. Off where absent. */
  startTimestamps?: boolean;
  /**
   * Only counts and sums of histograms are asked for. Unknown reset hints are then resolved against the sample before, so that
   * conflicting resets can be noted. Off where absent.
   */
  histogramStats?: boolean;
  /** The result says how many samples each step looked at. Off where absent. */
  countSteps?: boolean;
  /** `__type__` rather than the name's suffix says whether a metric is a counter. Off where absent. */
  typeAndUnitLabels?: boolean;
}

export interface LeafAggregate {
  /** Only aggregates that merge exactly enough from partial states. */
  op: 'sum' | 'avg' | 'count' | 'min' | 'max' | 'group';
  without: boolean;
  labels: readonly string[];
}

/** One output row: labels and a value (or none) per step. */
export interface LeafRow {
  labels: Labels;
  /** One float per step; meaningful where present. */
  values: Float64Array;
  /** 1 where a float is present at the step. */
  present: Uint8Array;
  /** Histograms by step, null where none; the array is null where the row has none at all. */
  histograms: (FloatHistogram | null)[] | null;
  /**
   * Second column for partial aggregates: for sum and avg the Kahan compensation, for avg `counts` too.
   */
  compensation: Float64Array | null;
  counts: Float64Array | null;
  /**
   * Of a partial avg: 1 where `values` and `compensation` already hold a mean, since the sum would have overflowed. Absent where
   * that is so at no step.
   */
  means?: Uint8Array | null;
}

export interface LeafResult {
  rows: LeafRow[];
  /** Annotations without positions; the engine adds the position of the expression. */
  warnings: LeafNote[];
  infos: LeafNote[];
  /** Samples decoded, for limits and statistics. */
  samplesRead: number;
  peakSamples: number;
  /** Where asked for: samples in the window of each step, over all series. */
  samplesPerStep?: Float64Array;
  /**
   * The plan asked for an aggregate, but the rows are those of the series, not aggregated: native histograms were met, whose
   * partial sums cannot be merged. All parts of one plan must agree (query/promql/leaf-merge.ts sees to it).
   */
  declined?: boolean;
}

/** An annotation: its text, for a metric where it concerns one. The engine appends the position. */
export interface LeafNote {
  message: string;
  /** What it is about, which decides the position: the function (where absent), the aggregate on top, or the data (no position). */
  of?: 'function' | 'aggregate' | 'source';
}

export interface LeafSource {
  evalLeaf(tenant: TenantId, plan: LeafPlan, signal?: AbortSignal): Promise<LeafResult>;
  /**
   * Raw samples, for what cannot be a leaf (matrix results, functions over subqueries of selectors, remote read):
   * at most `maxSamples` in all, else rejects with a QueryLimitError.
   */
  selectRaw(
    tenant: TenantId,
    request: {
      matchers: readonly Matcher[];
      minT: number;
      maxT: number;
      stepMs: number;
      rangeMs: number;
      func: string;
      maxSamples: number;
      /** Staleness markers stay in, for readers that look back themselves (remote read, federation); else they are left out. */
      keepStale?: boolean;
      /** Where given, warnings about the samples are added to it. */
      notes?: LeafNote[];
    },
    signal?: AbortSignal,
  ): Promise<RawSeries[]>;
}

export interface RawSeries {
  labels: Labels;
  timestamps: Float64Array;
  values: Float64Array;
  startTimestamps: Float64Array | null;
  histogramTimestamps: number[];
  histograms: FloatHistogram[];
  histogramStartTimestamps: number[] | null;
}

/** A query went over one of its bounds. The message says which, the limit, and what to narrow. HTTP 422. */
export class QueryLimitError extends Error {
  override name = 'QueryLimitError';
}

/** The query cannot be evaluated on this data: duplicate series, a parameter out of range. HTTP 422. */
export class PromqlEvalError extends Error {
  override name = 'PromqlEvalError';
}
