/**
 * ActiveQueries: every query from its arrival to the last byte of its answer, so that it can be listed, cancelled, stopped at its
 * deadline, and logged when it was slow.
 *
 * `begin` admits a query through the FairQueue. The AbortSignal it gives out fires for three reasons, told apart by the error in
 * `signal.reason`: the deadline, the client going away, an operator.
 */
import type { ActiveQuery, QueryEndpoint, SlowQuery } from '../../contracts/query-service.ts';
import type { TenantId } from '../../model/tenant.ts';
import type { FairQueue, TenantBounds } from './fair-queue.ts';
import { QueryCanceledError, timeoutError } from './query-limits.ts';

/** Query text kept per entry; a longer one is cut. */
const QUERY_TEXT_MAX = 4096;

export interface ActiveQueriesOptions {
  queue: FairQueue;
  now(): number;
  /** Starts a timer, returns what stops it. Tests give their own. */
  setTimer(ms: number, run: () => void): () => void;
  /** Makes ids unique between several instances in one process. */
  idPrefix: string;
  slowQueryMs: number;
  onSlowQuery: ((query: SlowQuery) => void) | null;
}

export interface QueryStart {
  tenant: TenantId;
  endpoint: QueryEndpoint;
  query: string;
  startMs: number;
  endMs: number;
  stepMs: number;
  timeoutMs: number;
  origin: string;
  bounds: TenantBounds;
}

/** What a finished query leaves behind, for the slow-query log. */
export interface QueryEnd {
  status: number;
  samplesRead: number;
  responseBytes: number;
  error: string;
}

interface Entry {
  info: ActiveQuery;
  abort: AbortController;
}

export interface RunningQuery {
  readonly signal: AbortSignal;
  /** Must be called exactly once, when the answer has been sent or given up. */
  end(outcome: QueryEnd): void;
}

export class ActiveQueries {
  private readonly options: ActiveQueriesOptions;
  private readonly entries = new Map<string, Entry>();
  private nextId = 1;

  constructor(options: ActiveQueriesOptions) {
    this.options = options;
  }

  /** Rejects with the reason where the query did not get to run. `client` fires when the client goes away. */
  async begin(start: QueryStart, client?: AbortSignal): Promise<RunningQuery> {
    const { now, queue } = this.options;
    const receivedAtMs = now();
    const id = `${this.options.idPrefix}${this.nextId++}`;
    const abort = new AbortController();
    const info: ActiveQuery = {
      id,
      tenant: start.tenant,
      endpoint: start.endpoint,
      query: start.query.length > QUERY_TEXT_MAX ? `${start.query.slice(0, QUERY_TEXT_MAX)}...` : start.query,
      startMs: start.startMs,
      endMs: start.endMs,
      stepMs: start.stepMs,
      state: 'waiting',
      receivedAtMs,
      elapsedMs: 0,
      waitedMs: 0,
      deadlineAtMs: receivedAtMs + start.timeoutMs,
      origin: start.origin,
    };
    this.entries.set(id, { info, abort });

    const onClient = () => abort.abort(new QueryCanceledError('query was canceled: the client closed the connection'));
    client?.addEventListener('abort', onClient, { once: true });
    if (client?.aborted) onClient();
    const onDeadline = () =>
      abort.abort(timeoutError(start.timeoutMs, info.state === 'waiting' ? 'queue' : 'evaluation'));
    let stopTimer = () => {};
    if (start.timeoutMs > 0) stopTimer = this.options.setTimer(start.timeoutMs, onDeadline);
    else abort.abort(timeoutError(start.timeoutMs, 'evaluation'));
    const forget = () => {
      stopTimer();
      client?.removeEventListener('abort', onClient);
      this.entries.delete(id);
    };

    let release: () => void;
    try {
      release = await queue.acquire(start.tenant, start.bounds, abort.signal);
    } catch (error) {
      forget();
      throw error;
    }
    info.waitedMs = now() - receivedAtMs;
    info.state = 'running';
    let ended = false;
    return {
      signal: abort.signal,
      end: outcome => {
        if (ended) return;
        ended = true;
        release();
        forget();
        this.reportSlow(info, outcome);
      },
    };
  }

  /** Oldest first. */
  list(tenant: TenantId | null): ActiveQuery[] {
    const at = this.options.now();
    const out: ActiveQuery[] = [];
    for (const { info } of this.entries.values()) {
      if (tenant !== null && info.tenant !== tenant) continue;
      const elapsedMs = at - info.receivedAtMs;
      out.push({ ...info, elapsedMs, waitedMs: info.state === 'waiting' ? elapsedMs : info.waitedMs });
    }
    return out;
  }

  cancel(tenant: TenantId | null, id: string): boolean {
    const entry = this.entries.get(id);
    if (entry === undefined || (tenant !== null && entry.info.tenant !== tenant)) return false;
    entry.info.state = 'cancelling';
    entry.abort.abort(new QueryCanceledError('query was canceled: an operator cancelled it'));
    return true;
  }

  private reportSlow(info: ActiveQuery, outcome: QueryEnd): void {
    const { onSlowQuery, slowQueryMs } = this.options;
    if (onSlowQuery === null) return;
    const elapsedMs = this.options.now() - info.receivedAtMs;
    if (elapsedMs < slowQueryMs) return;
    onSlowQuery({ ...info, ...outcome, elapsedMs });
  }
}
