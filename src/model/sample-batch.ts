/**
 * SampleBatch: samples of many series on their way in, as columns.
 *
 * Rows are grouped by series (CSR): the samples of series i are rows [sampleStart[i], sampleStart[i + 1]), in the
 * order in which they came. Nothing here is an object per sample. Histograms, exemplars and metadata are rarer and
 * travel as small objects, also grouped by series index.
 *
 * Lifetime: a batch and every array in it belong to the producer again as soon as the `append` call that got it has
 * resolved; a consumer copies what it keeps. The arrays may be longer than the counts say, and may be views on memory
 * that is reused (a Wasm kernel's, say).
 */
import type { FloatHistogram } from './histogram.ts';

/** In `labelStart`: the series is given by its hash alone; the receiver has seen its labels before. */
export const LABELS_OMITTED = 0xffffffff;

export interface SampleBatch {
  /** Number of series entries. The same series may stand in a batch more than once. */
  seriesCount: number;
  /** Canonical label encodings (model/labels.ts): series i is labelBytes[labelStart[i], labelEnd[i]). */
  labelBytes: Uint8Array;
  labelStart: Uint32Array;
  labelEnd: Uint32Array;
  /** Four words per series: the identity hash of tenant + canonical encoding (lib/identity-hash.ts). */
  hashes: Uint32Array;
  /** seriesCount + 1 entries. */
  sampleStart: Uint32Array;
  /** Milliseconds since the epoch, whole numbers, 0 and up. */
  timestamps: Float64Array;
  /** Any float64, staleness markers included. */
  values: Float64Array;
  /**
   * Start (created) timestamps in ms, 0 = unknown, parallel to `timestamps`; null where the sender gives none.
   */
  startTimestamps: Float64Array | null;
  histograms: readonly HistogramSample[] | null;
  exemplars: readonly ExemplarSample[] | null;
  metadata: readonly MetadataEntry[] | null;
}

export interface HistogramSample {
  /** Index of the series in the batch. */
  series: number;
  timestampMs: number;
  startTimestampMs: number;
  /** A stale histogram has sum = staleness marker, as Prometheus writes it. */
  histogram: FloatHistogram;
}

export interface ExemplarSample {
  series: number;
  timestampMs: number;
  value: number;
  /** Flat [name, value, ...] like Labels. */
  labels: readonly string[];
}

export interface MetadataEntry {
  metric: string;
  /** counter, gauge, histogram, gaugehistogram, summary, info, stateset, unknown */
  type: string;
  help: string;
  unit: string;
}
