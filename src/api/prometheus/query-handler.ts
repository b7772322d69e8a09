/**
 * createPrometheusQueryHandler: the QueryService that runs queries, in a worker or in process.
 *
 * It reads the parameters, admits the query (limits, fair queue, deadline), runs the engine or the index, encodes and
 * compresses the answer. Endpoints are one function each (queries.ts, series-endpoints.ts, remote-read/, federate.ts,
 * export.ts); this file holds what they share.
 */
import type { ActiveQuery, QueryRequest, QueryResponse, QueryService } from '../../contracts/query-service.ts';
import type { TenantId } from '../../model/tenant.ts';
import { ResultCache } from '../../query/cache/result-cache.ts';
import { ActiveQueries, type QueryStart, type RunningQuery } from '../../query/limits/active-queries.ts';
import { FairQueue } from '../../query/limits/fair-queue.ts';
import { parseKept } from '../../query/promql/parsed-queries.ts';
import { printExpr } from '../../query/promql/print.ts';
import { compressResponse } from '../compress.ts';
import { type ApiError, errorBody, toApiError } from '../errors.ts';
import { abandonable } from '../streams.ts';
import { exportSeries } from './export.ts';
import { federate } from './federate.ts';
import type { HandlerContext, QueryHandlerDeps, WorkResult } from './handler-context.ts';
import { Params } from './params.ts';
import { formatQuery, instantQuery, parseQuery, rangeQuery } from './queries.ts';
import { remoteRead } from './remote-read/remote-read.ts';
import { exemplars, labelNames, labelValues, metadata, series } from './series-endpoints.ts';

export type { QueryHandlerDeps } from './handler-context.ts';

/** An answer up to this size goes out whole, with its length, instead of as a stream. */
const WHOLE_BYTES_MAX = 256 * 1024;

const ENDPOINTS = {
  query: instantQuery,
  query_range: rangeQuery,
  query_exemplars: exemplars,
  series,
  labels: labelNames,
  label_values: labelValues,
  metadata,
  format_query: formatQuery,
  parse_query: parseQuery,
  read: remoteRead,
  federate,
  export: exportSeries,
} as const satisfies Record<string, (c: HandlerContext) => Promise<QueryResponse>>;

export interface PrometheusQueryHandler extends QueryService {
  /** null where caching is off. */
  readonly cache: ResultCache | null;
  /** For own metrics: how many run and wait. */
  queueCounts(): { running: number; waiting: number };
}

export function createPrometheusQueryHandler(deps: QueryHandlerDeps): PrometheusQueryHandler {
  const queue = new FairQueue(deps.concurrencyMax);
  const active = new ActiveQueries({
    queue,
    clock: deps.clock,
    idPrefix: deps.idPrefix,
    slowQueryMs: deps.slowQueryMs,
    onSlowQuery: deps.onSlowQuery,
  });
  const cache =
    deps.cache === null || deps.changes === null
      ? null
      : new ResultCache({
          engine: deps.engine,
          changes: deps.changes,
          now: () => deps.clock.now(),
          parse: query => {
            const expr = parseKept(query, deps.features);
            return { expr, canonical: printExpr(expr) };
          },
          lookbackMs: deps.lookbackMs,
          freshMs: deps.cache.freshMs,
          bytesMax: deps.cache.bytesMax,
        });

  return {
    cache,
    queueCounts: () => queue.counts(),
    async handle(request: QueryRequest, signal?: AbortSignal): Promise<QueryResponse> {
      try {
        const context = contextOf(deps, active, cache, request, signal);
        const response = await ENDPOINTS[request.endpoint](context);
        // Remote read has a compression of its own.
        return request.endpoint === 'read' ? response : compressResponse(response, request.acceptEncoding);
      } catch (error) {
        return failure(toApiError(error), request, deps);
      }
    },
    async activeQueries(tenant: TenantId | null): Promise<ActiveQuery[]> {
      return active.list(tenant);
    },
    async cancelQuery(tenant: TenantId | null, id: string): Promise<boolean> {
      return active.cancel(tenant, id);
    },
  };
}

function contextOf(
  deps: QueryHandlerDeps,
  active: ActiveQueries,
  cache: ResultCache | null,
  request: QueryRequest,
  client: AbortSignal | undefined,
): HandlerContext {
  const general = deps.limitsOf(request.tenant);
  const limits = request.longRange === false ? general : { ...general, rangeMaxMs: 0 };
  return {
    deps,
    cache,
    request,
    params: new Params(request.params),
    limits,
    async run(what, work) {
      const start: QueryStart = {
        tenant: request.tenant,
        endpoint: request.endpoint,
        query: what.query,
        startMs: what.startMs ?? 0,
        endMs: what.endMs ?? 0,
        stepMs: what.stepMs ?? 0,
        timeoutMs: Math.min(what.timeoutMs ?? limits.timeoutMs, what.timeoutMaxMs ?? limits.timeoutMs),
        origin: request.origin,
        bounds: limits,
      };
      const running = await active.begin(start, client);
      try {
        return await respond(running, await raceAbort(work(running.signal), running.signal));
      } catch (error) {
        // An abort shows as whatever the interrupted code threw: the reason is what the client should read.
        const apiError = toApiError(running.signal.aborted ? running.signal.reason : error);
        running.end({ status: apiError.status, samplesRead: 0, responseBytes: 0, error: apiError.message });
        throw apiError;
      }
    },
  };
}

/** The work's result, or the abort's reason as soon as it fires, even where the work takes longer to notice. */
async function raceAbort<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  let onAbort = () => {};
  const aborted = new Promise<never>((_resolve, reject) => {
    onAbort = () => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** Turns a result into a response, whole where it is small; the query ends with its last byte. */
async function respond(running: RunningQuery, result: WorkResult): Promise<QueryResponse> {
  const { status = 200, headers, samplesRead = 0 } = result;
  if (result.body instanceof Uint8Array) {
    running.end({ status, samplesRead, responseBytes: result.body.length, error: '' });
    return { status, headers, body: result.body };
  }
  if (!result.readsWhileSending) running.evaluated();
  const head: Uint8Array[] = [];
  let size = 0;
  const iterator = result.body[Symbol.asyncIterator]();
  while (size <= WHOLE_BYTES_MAX) {
    const next = await iterator.next();
    if (next.done) {
      running.end({ status, samplesRead, responseBytes: size, error: '' });
      return { status, headers, body: head.length === 1 ? (head[0] as Uint8Array) : Buffer.concat(head) };
    }
    head.push(next.value);
    size += next.value.length;
  }
  return { status, headers, body: remainder(running, head, iterator, { status, samplesRead }) };
}

/** The chunks taken already, then the rest. Ends the query however it goes, also where nobody ever reads. */
function remainder(
  running: RunningQuery,
  head: Uint8Array[],
  iterator: AsyncIterator<Uint8Array>,
  outcome: { status: number; samplesRead: number },
): AsyncIterable<Uint8Array> {
  let responseBytes = 0;
  const end = (error: string) => {
    running.end({ ...outcome, responseBytes, error });
    void iterator.return?.();
  };
  // Also where the one who should read never comes: at the deadline.
  running.signal.addEventListener('abort', () => end(String(running.signal.reason)));
  async function* chunks(): AsyncGenerator<Uint8Array> {
    let error = 'the client stopped reading';
    try {
      for (const chunk of head) {
        responseBytes += chunk.length;
        yield chunk;
      }
      for (;;) {
        running.signal.throwIfAborted();
        const next = await iterator.next();
        if (next.done) break;
        responseBytes += next.value.length;
        yield next.value;
      }
      error = '';
    } catch (cause) {
      error = cause instanceof Error ? cause.message : String(cause);
      throw cause;
    } finally {
      end(error);
    }
  }
  return abandonable(chunks(), () => end('nobody read the answer'));
}

function failure(error: ApiError, request: QueryRequest, deps: QueryHandlerDeps): QueryResponse {
  if (error.code === 'internal') deps.onInternalError?.(error, request);
  const headers: Record<string, string> = {};
  if (error.retryAfterS > 0) headers['retry-after'] = String(error.retryAfterS);
  // These answer errors as plain text, as Prometheus does.
  if (request.endpoint === 'read' || request.endpoint === 'federate') {
    headers['content-type'] = 'text/plain; charset=utf-8';
    return { status: error.status, headers, body: Buffer.from(`${error.message}\n`) };
  }
  headers['content-type'] = 'application/json';
  return { status: error.status, headers, body: errorBody(error) };
}
