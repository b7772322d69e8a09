/**
 * SeriesGate: who may make new series. The store asks it in the one place where a series comes into being, so that samples of
 * known series pay nothing; it tells the gate of every series made or gone, so that the counts are the store's own.
 *
 * Implemented by the pipeline (pipeline/admission/gate.ts). One per shard thread; calls are synchronous.
 */
import type { TenantId } from '../model/tenant.ts';

/** What a refused series is refused for: AppendResult's vocabulary, and a metric label. */
export type SeriesRefusal =
  | 'label_blocked'
  | 'too_many_labels'
  | 'label_name_too_long'
  | 'label_value_too_long'
  | 'too_many_series'
  | 'too_many_series_of_metric'
  | 'memory_pressure';

export interface SeriesGate {
  /**
   * Grows whenever a series that was refused might now be let in: a memory of refusals is then worth nothing. Starts at 0.
   */
  readonly epoch: number;
  /** Whether the series of these canonical labels may be made; where it may (null), it is counted from now on. */
  admit(tenant: TenantId, labels: Uint8Array, start: number, end: number): SeriesRefusal | null;
  /** The series of the last `admit` could not be made after all. */
  withdraw(): void;
  /** The refusal of the last `admit` in words: metric, label, limit and remedy. */
  explain(): string;
  /** Series of the tenant's metric were found at the start. */
  found(tenant: TenantId, metric: string, series: number): void;
  /** A series has left the index. */
  gone(tenant: TenantId, metric: string): void;
}
