/**
 * SampleSource: where a query engine reads samples, one thread's worth.
 *
 * `select` pins what it found; `read` then decodes series by series into a buffer the caller owns. `read` is
 * synchronous so that the loop over series costs no promise each; callers with many series yield to the event loop
 * between slices (lib/yield.ts). All time bounds are milliseconds.
 */
import type { FloatHistogram } from '../model/histogram.ts';
import type { Labels } from '../model/labels.ts';
import type { Matcher } from '../model/matcher.ts';
import type { MetadataEntry } from '../model/sample-batch.ts';
import type { TenantId } from '../model/tenant.ts';

export interface SelectRequest {
  matchers: readonly Matcher[];
  /** Samples with minT <= t <= maxT are wanted; a source may return no others. */
  minT: number;
  maxT: number;
  /**
   * How the samples will be used, for choosing a resolution: `stepMs` 0 for instant; `rangeMs` the window of a range
   * selector, or 0; `func` the PromQL function or aggregate applied, or ''.
   */
  hints: { stepMs: number; rangeMs: number; func: string };
}

export interface SampleSource {
  /** Series in no particular order. Rejects with the signal's reason when aborted. */
  select(tenant: TenantId, request: SelectRequest, signal?: AbortSignal): Promise<SeriesSet>;
  /** Sorted, without duplicates; at most `limit` (0 = all), `truncated` says whether more were there. */
  labelNames(tenant: TenantId, request: LabelRequest, signal?: AbortSignal): Promise<LabelResult>;
  labelValues(tenant: TenantId, name: string, request: LabelRequest, signal?: AbortSignal): Promise<LabelResult>;
  /** Label sets of the series that have data in the range (index granularity: a block or the head). Unsorted. */
  series(
    tenant: TenantId,
    request: LabelRequest,
    signal?: AbortSignal,
  ): Promise<{ series: Labels[]; truncated: boolean }>;
  exemplars(tenant: TenantId, request: LabelRequest, signal?: AbortSignal): Promise<ExemplarSeries[]>;
  metadata(tenant: TenantId, metric: string | null, limit: number): Promise<MetadataEntry[]>;
}

export interface LabelRequest {
  /** Alternatives, each a conjunction; empty = everything. */
  matcherSets: readonly (readonly Matcher[])[];
  minT: number;
  maxT: number;
  limit: number;
}

export interface LabelResult {
  values: string[];
  truncated: boolean;
}

export interface ExemplarSeries {
  labels: Labels;
  exemplars: { labels: Labels; value: number; timestampMs: number }[];
}

export interface SeriesSet {
  readonly count: number;
  labels(i: number): Labels;
  /**
   * Appends nothing: replaces `into` with the samples of series i in [minT, maxT], ascending, one per timestamp.
   * Staleness markers are included (stale histograms as a float marker too). Valid until the next `read` into the same buffer.
   */
  read(i: number, into: SampleBuffer): void;
  /** Messages for the user, e.g. "answered from 1 min resolution". Complete after the last read. */
  readonly infos: readonly string[];
  /** Lets go of pinned blocks and pages. Must be called once. */
  close(): void;
}

/**
 * A caller-owned, growing buffer for one series. Floats and histograms stand in two columns pairs of their own, each
 * ascending; a timestamp is in at most one of them.
 */
export interface SampleBuffer {
  length: number;
  timestamps: Float64Array;
  values: Float64Array;
  /**
   * That many of the first floats are known to be no NaN, hence no staleness marker; a hint that spares readers a look.
   * Whoever takes rows out of the buffer or changes them lowers it to the rows before.
   */
  numbers: number;
  /** Start timestamps parallel to `timestamps`, 0 = unknown; null where the series has none. */
  startTimestamps: Float64Array | null;
  histogramLength: number;
  histogramTimestamps: number[];
  /** Shared with the store: never mutated by a reader. */
  histograms: FloatHistogram[];
  histogramStartTimestamps: number[] | null;
}

export function newSampleBuffer(capacity = 1024): SampleBuffer {
  return {
    length: 0,
    timestamps: new Float64Array(capacity),
    values: new Float64Array(capacity),
    numbers: 0,
    startTimestamps: null,
    histogramLength: 0,
    histogramTimestamps: [],
    histograms: [],
    histogramStartTimestamps: null,
  };
}

/** Makes room for `capacity` rows, keeping what is there. */
export function growSampleBuffer(buffer: SampleBuffer, capacity: number): void {
  if (buffer.timestamps.length >= capacity) return;
  const size = Math.max(capacity, buffer.timestamps.length * 2);
  const timestamps = new Float64Array(size);
  timestamps.set(buffer.timestamps.subarray(0, buffer.length));
  buffer.timestamps = timestamps;
  const values = new Float64Array(size);
  values.set(buffer.values.subarray(0, buffer.length));
  buffer.values = values;
  if (buffer.startTimestamps !== null) {
    const starts = new Float64Array(size);
    starts.set(buffer.startTimestamps.subarray(0, buffer.length));
    buffer.startTimestamps = starts;
  }
}
