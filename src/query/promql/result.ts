/** What a PromQL query gives back, in columns, ready for an encoder. */
import type { RawSeries } from '../../contracts/leaf-source.ts';
import type { FloatHistogram } from '../../model/histogram.ts';
import type { Labels } from '../../model/labels.ts';

export interface QueryResult {
  value: QueryValue;
  /** Texts as the HTTP API renders them, position included. */
  warnings: string[];
  infos: string[];
  stats: QueryStats;
}

export type QueryValue =
  | { type: 'scalar'; timestampMs: number; value: number }
  | { type: 'string'; timestampMs: number; value: string }
  | { type: 'vector'; timestampMs: number; samples: VectorSample[] }
  /** Of a range query: one row per series over the grid. Sorted by labels. */
  | { type: 'matrix'; startMs: number; stepMs: number; steps: number; rows: GridRow[] }
  /** Of an instant query whose expression is a range selector or subquery. */
  | { type: 'raw'; series: RawSeries[] };

export interface VectorSample {
  labels: Labels;
  value: number;
  histogram: FloatHistogram | null;
}

export interface GridRow {
  labels: Labels;
  values: Float64Array;
  /** 1 where `values` holds a float at the step. */
  present: Uint8Array;
  histograms: (FloatHistogram | null)[] | null;
}

/** How many samples the windows of each step held: a sample counts in every window that it is in. */
export interface StepCounts {
  startMs: number;
  stepMs: number;
  samples: Float64Array;
}

export interface QueryStats {
  samplesRead: number;
  peakSamples: number;
  /** Where it was asked for. */
  perStep?: StepCounts;
  /** Milliseconds. */
  parseMs: number;
  evalMs: number;
}
