/**
 * IngestLedger: what became of every item that came in, by signal and tenant: the figures of the objective "of all that was sent,
 * 99.9 % is stored" (docs/metrics.md has the formula).
 *
 *     received = stored + duplicate + refused + dropped
 *
 * Refused is what policy or the sender's own mistake keeps out: it does not count against the objective. Dropped is what we
 * should have kept. Deferred is what was answered 429 or 503: the sender still has it, so it is none of the others.
 */
import type { AppendResult, Rejection } from '../../contracts/sample-sink.ts';
import type { Counter, Family, MetricsRegistry } from '../../lib/metrics.ts';
import type { TenantId } from '../../model/tenant.ts';

export type Signal = 'metrics' | 'exemplars';

/** Rejections that are our failure, not the sender's. */
const OURS: ReadonlySet<string> = new Set(['memory_pressure', 'storage_full', 'shutting_down', 'internal_error']);

export class IngestLedger {
  private readonly receivedItems: Family<Counter>;
  private readonly storedItems: Family<Counter>;
  private readonly duplicateItems: Family<Counter>;
  private readonly refusedItems: Family<Counter>;
  private readonly droppedItems: Family<Counter>;
  private readonly deferredItems: Family<Counter>;
  private readonly usual = new Map<TenantId, { received: Counter; stored: Counter }>();

  constructor(registry: MetricsRegistry) {
    const owner = ['signal', 'tenant'] as const;
    const why = [...owner, 'reason'] as const;
    this.receivedItems = registry.counter(
      'sightline_ingest_received_items_total',
      'Samples and exemplars that were taken in, whatever became of them.',
      owner,
    );
    this.storedItems = registry.counter('sightline_ingest_stored_items_total', 'Of those, stored.', owner);
    this.duplicateItems = registry.counter(
      'sightline_ingest_duplicate_items_total',
      'Of those, there already and not stored again.',
      owner,
    );
    this.refusedItems = registry.counter(
      'sightline_ingest_refused_items_total',
      "Of those, kept out by a limit or by the sender's mistake. Does not count against the objective.",
      why,
    );
    this.droppedItems = registry.counter(
      'sightline_ingest_dropped_items_total',
      'Of those, lost through our failure. Counts against the objective.',
      why,
    );
    this.deferredItems = registry.counter(
      'sightline_ingest_deferred_items_total',
      'Not taken in: answered 429 or 503, the sender is to send them again.',
      why,
    );
  }

  /** A batch of `received` samples was taken in. */
  took(tenant: TenantId, received: number, result: AppendResult): void {
    let usual = this.usual.get(tenant);
    if (usual === undefined) {
      usual = {
        received: this.receivedItems.labels('metrics', tenant),
        stored: this.storedItems.labels('metrics', tenant),
      };
      if (this.usual.size < USUAL_MAX) this.usual.set(tenant, usual);
    }
    const duplicates = result.duplicates ?? 0;
    usual.received.inc(received);
    usual.stored.inc(result.samples + result.histograms - duplicates);
    if (duplicates > 0) this.duplicateItems.labels('metrics', tenant).inc(duplicates);
    if (result.rejected.length > 0) this.count(tenant, result.rejected);
  }

  /** Rows that never became part of a batch. */
  rejected(tenant: TenantId, rejected: readonly Rejection[]): void {
    this.receivedItems.labels('metrics', tenant).inc(rejected.reduce((sum, r) => sum + r.count, 0));
    this.count(tenant, rejected);
  }

  /** A batch is lost: nobody will send it again. */
  lost(tenant: TenantId, items: number, reason: string): void {
    if (items === 0) return;
    this.receivedItems.labels('metrics', tenant).inc(items);
    this.droppedItems.labels('metrics', tenant, reason).inc(items);
  }

  deferred(tenant: TenantId, items: number, reason: string): void {
    if (items > 0) this.deferredItems.labels('metrics', tenant, reason).inc(items);
  }

  /** Exemplars of one batch. Those that sampling leaves out are among the accepted: that is policy, and nobody's loss. */
  exemplars(tenant: TenantId, received: number, accepted: number): void {
    if (received === 0) return;
    this.receivedItems.labels('exemplars', tenant).inc(received);
    this.storedItems.labels('exemplars', tenant).inc(Math.min(received, accepted));
    if (accepted < received) this.refusedItems.labels('exemplars', tenant, 'not_kept').inc(received - accepted);
  }

  private count(tenant: TenantId, rejected: readonly Rejection[]): void {
    for (const { reason, count } of rejected) {
      const family = OURS.has(reason) ? this.droppedItems : this.refusedItems;
      family.labels('metrics', tenant, reason).inc(count);
    }
  }
}

const USUAL_MAX = 10_000;
