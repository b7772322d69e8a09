/** SampleSink: where accepted samples go. Implemented by storage, by the shard router, and by the pipeline in front. */
import type { SampleBatch } from '../model/sample-batch.ts';
import type { TenantId } from '../model/tenant.ts';

export interface SampleSink {
  /**
   * Stores a batch. Resolves once everything counted as stored survives kill -9 of this process. Rejects only if
   * nothing may be acknowledged (StorageFullError -> 503, ShuttingDownError -> 503, or a bug); then part of the batch
   * may still be present (a retry is harmless: equal samples settle to one).
   * The batch belongs to the caller again when the promise settles; or, where `again` is given, as soon as the call has
   * returned: `again` makes the same batch once more in the rare case that it is needed a second time.
   */
  append(tenant: TenantId, batch: SampleBatch, again?: () => SampleBatch): Promise<AppendResult>;
}

export interface AppendResult {
  samples: number;
  histograms: number;
  exemplars: number;
  /** Refused rows by reason; empty when all went in. */
  rejected: Rejection[];
  /** Series given by hash alone that the store does not know: their labels must be sent. Only between shards. */
  unknownSeries?: number;
  /** Of samples and histograms: exact duplicates of what was there, not stored again. */
  duplicates?: number;
  /** Series that were made for this batch. */
  newSeries?: number;
}

export interface Rejection {
  /** too_many_series, label_blocked (contracts/series-gate.ts), invalid, ... : a fixed vocabulary, used as a metric label. */
  reason: string;
  count: number;
  /** One example as text: metric, label, limit and remedy. */
  example: string;
}

/** The disk is full or failing: nothing is acknowledged until it recovers. HTTP 503. */
export class StorageFullError extends Error {
  override name = 'StorageFullError';
}

/** The tenant sends more than it may just now, or memory is short and it has its share: nothing of the batch is stored. HTTP 429. */
export class RateLimitedError extends Error {
  override name = 'RateLimitedError';
  /** Crosses threads as it is. */
  readonly data: { retryAfterS: number; reason: 'rate_limited' | 'memory_pressure' };
  constructor(message: string, reason: 'rate_limited' | 'memory_pressure', retryAfterS: number) {
    super(message);
    this.data = { retryAfterS, reason };
  }
}

/** The process is draining. HTTP 503 with Retry-After. */
export class ShuttingDownError extends Error {
  override name = 'ShuttingDownError';
}
