/**
 * RawStream: raw samples of many series in bounded batches, for what hands data out whole: remote read, export, federation.
 *
 * A SampleSource needs its caller on the same thread and a LeafSource answers all at once; this is the port for an answer of any size
 * from any number of threads. api/prometheus/raw-stream.ts adapts both.
 */
import type { Matcher } from '../model/matcher.ts';
import type { TenantId } from '../model/tenant.ts';
import type { RawSeries } from './leaf-source.ts';

export interface RawRequest {
  matchers: readonly Matcher[];
  /** Inclusive, ms. */
  minT: number;
  maxT: number;
  /** Series in label order over the whole answer (compareLabels); else in any order. */
  sorted: boolean;
  /**
   * Each series comes whole and once; else it may come in several pieces, each later than the one before, which lets an answer of any
   * size through in bounded memory. `sorted` answers are always whole.
   */
  whole: boolean;
  /** Samples over all series; one more rejects with a QueryLimitError. 0 = no bound. */
  maxSamples: number;
}

export interface RawStream {
  /**
   * Batches of series. A batch belongs to the receiver. Staleness markers are included.
   * The iterator rejects with the signal's reason when aborted; leaving the loop early releases what it pinned.
   */
  read(tenant: TenantId, request: RawRequest, signal?: AbortSignal): AsyncIterable<RawSeries[]>;
}
