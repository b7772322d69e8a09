/**
 * ActiveQueries: every query from its arrival to the last byte of its answer, so that it can be listed, cancelled, stopped at its
 * deadline, and logged when it was slow.
 *
 * `begin` admits a query through the FairQueue. The AbortSignal it gives out fires for three reasons, told apart by the error in
 * `signal.reason`: the deadline, the client going away, an operator.
 */
import type { ActiveQuery, QueryEndpoint, SlowQuery } from '../../contracts/query-service.ts';
import type { Clock, Timer } from '../../lib/clock.ts';
import type { TenantId } from '../../model/tenant.ts';
import type { FairQueue, TenantBounds } from './fair-queue.ts';
import { QueryCanceledError, timeoutError } from './query-limits.ts';

/** Query text kept per entry; a longer one is cut. */
const QUERY_TEXT_MAX = 4096;

export interface ActiveQueriesOptions {
  queue: FairQueue;
  clock: Clock;
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

export interface RunningQuery {
  readonly signal: AbortSignal;
  /**
   * The answer is known and only sending is left: gives the slot to the next query and replaces the deadline by the one for slow
   * clients.
   */
  evaluated(): void;
  /** Must be called once, when the answer has been sent or given up. */
  end(outcome: QueryEnd): void;
}

interface Entry {
  info: ActiveQuery;
  abort: AbortController;
  /** Monotonic ms. */
  startedAt: number;
}

/** Sending an answer may take this long: what a client that stalls can hold. ms. */
const SEND_TIMEOUT_MS = 10 * 60_000;

export class ActiveQueries {
  private readonly options: ActiveQueriesOptions;
  private readonly entries = new Map<string, Entry>();
  private nextId = 1;

  constructor(options: ActiveQueriesOptions) {
    this.options = options;
  }

  /** Rejects with the reason where the query did not get to run. `client` fires when the client goes away. */
  async begin(start: QueryStart, client?: AbortSignal): Promise<RunningQuery> {
    const { clock, queue } = this.options;
    const receivedAtMs = clock.now();
    const startedAt = clock.monotonic();
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
    const entry: Entry = { info, abort, startedAt };
    this.entries.set(id, entry);

    const onClient = () => abort.abort(new QueryCanceledError('query was canceled: the client closed the connection'));
    client?.addEventListener('abort', onClient, { once: true });
    if (client?.aborted) onClient();
    const onDeadline = () =>
      abort.abort(timeoutError(start.timeoutMs, info.state === 'waiting' ? 'queue' : 'evaluation'));
    let timer: Timer | null = null;
    if (start.timeoutMs > 0) timer = clock.after(start.timeoutMs, onDeadline);
    else abort.abort(timeoutError(start.timeoutMs, 'evaluation'));
    const forget = () => {
      timer?.cancel();
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
    info.waitedMs = clock.monotonic() - startedAt;
    info.state = 'running';
    let ended = false;
    return {
      signal: abort.signal,
      evaluated: () => {
        if (ended) return;
        release();
        timer?.cancel();
        timer = clock.after(SEND_TIMEOUT_MS, onDeadline);
      },
      end: outcome => {
        if (ended) return;
        ended = true;
        release();
        forget();
        this.reportSlow(entry, outcome);
      },
    };
  }

  /** Oldest first. */
  list(tenant: TenantId | null): ActiveQuery[] {
    const at = this.options.clock.monotonic();
    const out: ActiveQuery[] = [];
    for (const { info, startedAt } of this.entries.values()) {
      if (tenant !== null && info.tenant !== tenant) continue;
      const elapsedMs = at - startedAt;
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

  private reportSlow({ info, startedAt }: Entry, outcome: QueryEnd): void {
    const { onSlowQuery, slowQueryMs } = this.options;
    if (onSlowQuery === null) return;
    const elapsedMs = this.options.clock.monotonic() - startedAt;
    if (elapsedMs < slowQueryMs) return;
    onSlowQuery({ ...info, ...outcome, elapsedMs });
  }
}
