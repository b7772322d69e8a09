/**
 * AdmissionSink: the SampleSink in front of one worker's exchange. It decides about whole batches (rate, memory), and keeps the
 * ledger of what became of them; single series are the gate's business, in the shard that owns them.
 *
 * A push that comes too fast is answered 429 before anything of it is stored. What this process fetches itself (scrapes, host,
 * own metrics) has nobody who could send it again: it has no rate limit, and what is lost of it is counted as dropped.
 */
import { RateLimitedError, type SampleSink } from '../../contracts/sample-sink.ts';
import type { SampleBatch } from '../../model/sample-batch.ts';
import { SELF_TENANT, type TenantId } from '../../model/tenant.ts';
import type { AdmissionBoard } from './board.ts';
import type { IngestLedger } from './ledger.ts';
import type { LimitsTable } from './limits.ts';
import type { Senders } from './senders.ts';

export interface AdmissionSinkDeps {
  sink: SampleSink;
  board: AdmissionBoard;
  limits: LimitsTable;
  ledger: IngestLedger;
  senders: Senders;
  /** ms since the epoch. */
  now(): number;
  /** pushed: someone waits for the answer and can send again. own: nobody can. */
  origin: 'pushed' | 'own';
}

const RETRY_AFTER_MAX_S = 60;
/** Memory comes back when series have left or the load has moved: not at once. */
const MEMORY_RETRY_AFTER_S = 15;

/** Of series that are known as refused, whose words are no longer remembered. */
const REFUSED_AGAIN =
  'series that were refused before; the first answer named them. See limits in the configuration and /sightline/api/v1/cardinality';

export function admissionSink(deps: AdmissionSinkDeps): SampleSink {
  const { sink, ledger, senders, origin } = deps;
  return {
    async append(tenant, batch, again) {
      const items = itemsOf(batch);
      const exemplars = batch.exemplars?.length ?? 0;
      try {
        admitBatch(deps, tenant, items);
        const result = await sink.append(tenant, batch, again);
        ledger.took(tenant, items, result);
        for (const rejection of result.rejected) if (rejection.example === '') rejection.example = REFUSED_AGAIN;
        ledger.exemplars(tenant, exemplars, result.exemplars);
        if ((result.newSeries ?? 0) > 0) senders.made(tenant, result.newSeries as number);
        return result;
      } catch (error) {
        const reason = reasonOf(error as Error);
        if (origin === 'own' || reason === 'internal_error') ledger.lost(tenant, items, reason);
        else ledger.deferred(tenant, items, reason);
        throw error;
      }
    },
  };
}

/** Throws a RateLimitedError. */
function admitBatch(deps: AdmissionSinkDeps, tenant: TenantId, items: number): void {
  const { board, limits, origin } = deps;
  const { samplesPerSecond, samplesBurst } = limits.of(tenant);
  const { pressure } = board;
  // Almost always.
  if (pressure < 2 && (samplesPerSecond === 0 || origin === 'own')) return;
  const row = board.row(tenant);
  if (pressure >= 2 && tenant !== SELF_TENANT && (pressure === 3 || board.isAboveShare(row))) {
    throw new RateLimitedError(
      `memory is short, and tenant ${JSON.stringify(tenant)} uses its fair share or more of it; send again in ` +
        `${MEMORY_RETRY_AFTER_S} s. See /sightline/api/v1/cardinality for what brings the series`,
      'memory_pressure',
      MEMORY_RETRY_AFTER_S,
    );
  }
  if (samplesPerSecond === 0 || origin === 'own') return;
  const burst = samplesBurst > 0 ? samplesBurst : samplesPerSecond;
  const wait = board.take(row, 'samples', items, samplesPerSecond, burst, deps.now());
  if (wait === 0) return;
  throw new RateLimitedError(
    `tenant ${JSON.stringify(tenant)} sends more than ${samplesPerSecond} samples/s (limits.samples_per_second, burst ${burst}); ` +
      'nothing of this request is stored, send it again later. Scrape less often, send fewer series, or raise the limit',
    'rate_limited',
    Math.min(RETRY_AFTER_MAX_S, Math.max(1, Math.ceil(wait))),
  );
}

function itemsOf(batch: SampleBatch): number {
  const n = batch.seriesCount;
  const floats = n === 0 ? 0 : (batch.sampleStart[n] as number) - (batch.sampleStart[0] as number);
  return floats + (batch.histograms?.length ?? 0);
}

/** By name: the error may have crossed a thread. */
function reasonOf(error: Error): string {
  switch (error.name) {
    case 'RateLimitedError':
      return (error as RateLimitedError).data.reason;
    case 'StorageFullError':
      return 'storage_full';
    case 'ShuttingDownError':
      return 'shutting_down';
    default:
      return 'internal_error';
  }
}
