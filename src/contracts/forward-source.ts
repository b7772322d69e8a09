/**
 * ForwardSource: the outgoing queue of one shard as one reader sees it: what was stored, in the order in which it was stored, from a
 * position on. The queue outlives the process; a reader that says where it stands gets everything behind that place again
 * after a crash.
 */
import type { FloatHistogram } from '../model/histogram.ts';
import type { MetadataEntry } from '../model/sample-batch.ts';

/** Behind everything before it. Ordered by segment, then offset. */
export interface ForwardPosition {
  segment: number;
  offset: number;
}

/** Columns of samples; valid during the call that gives them. */
export interface ForwardSamples {
  n: number;
  /** Of series told before. */
  refs: Uint32Array;
  timestamps: Float64Array;
  values: Float64Array;
  /** Start timestamps in ms, 0 = unknown; null where the record has none. */
  starts: Float64Array | null;
}

/** Takes what a reader finds. Called synchronously; nothing given may be kept but by copy. */
export interface ForwardRows {
  /** `ref` now means this series: the canonical label encoding. The same may be told again. */
  series(ref: number, labels: Uint8Array): void;
  samples(samples: ForwardSamples): void;
  histogram(ref: number, timestampMs: number, startTimestampMs: number, histogram: FloatHistogram): void;
  /** `series` is the canonical label encoding, `labels` flat. */
  exemplar(series: Uint8Array, timestampMs: number, value: number, labels: readonly string[]): void;
  metadata(entry: MetadataEntry): void;
}

export interface ForwardSource {
  /** Behind the record read last. */
  readonly position: ForwardPosition;
  /** Reads one record; false where there is none yet. */
  next(into: ForwardRows): boolean;
  /** Goes on at the beginning of a later segment. */
  skipTo(segment: number): void;
  close(): void;
}
