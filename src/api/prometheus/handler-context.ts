/** What the query handler is made of, and what it hands each endpoint. */
import type { ChangeFeed, QueryRequest, QueryResponse, SlowQuery } from '../../contracts/query-service.ts';
import type { RawStream } from '../../contracts/raw-stream.ts';
import type { SampleSource } from '../../contracts/sample-source.ts';
import type { Clock } from '../../lib/clock.ts';
import type { TenantId } from '../../model/tenant.ts';
import type { ResultCache } from '../../query/cache/result-cache.ts';
import type { QueryLimits } from '../../query/limits/query-limits.ts';
import type { PromqlEngine } from '../../query/promql/engine.ts';
import type { ParserFeatures } from '../../query/promql/parser.ts';
import type { ApiError } from '../errors.ts';
import type { Params } from './params.ts';

export interface QueryHandlerDeps {
  engine: PromqlEngine;
  /** Names, values, series, exemplars, metadata. */
  index: Omit<SampleSource, 'select'>;
  /** Raw samples for remote read, federation and export. */
  raw: RawStream;
  /** null: no result cache. */
  changes: ChangeFeed | null;
  /** null: no result cache. */
  cache: { bytesMax: number; freshMs: number } | null;
  /** Whether results must not be cached now: they come from elsewhere too. */
  uncached?(): boolean;
  clock: Clock;
  /** The same as the engine's. */
  features: ParserFeatures;
  lookbackMs: number;
  limitsOf(tenant: TenantId): QueryLimits;
  /** Queries of all tenants that run at once in this handler. */
  concurrencyMax: number;
  /** Samples one remote-read or federation answer may hold. */
  rawSamplesMax: number;
  /** Longest time an export or streamed read may take; it goes at the client's pace. ms. */
  exportTimeoutMs: number;
  /** Makes ids unique between several handlers of one process. */
  idPrefix: string;
  slowQueryMs: number;
  onSlowQuery: ((query: SlowQuery) => void) | null;
  /** An error that no client caused: to be logged. */
  onInternalError: ((error: ApiError, request: QueryRequest) => void) | null;
}

/** The bounds of a handler by default; the reasons stand at their use. */
export const DEFAULT_HANDLER_OPTIONS = Object.freeze({
  concurrencyMax: 20,
  // About 250 MB while a remote-read answer of samples is put together.
  rawSamplesMax: 10_000_000,
  exportTimeoutMs: 3_600_000,
  slowQueryMs: 10_000,
});

export interface WorkResult {
  /** 200 where not given. */
  status?: number;
  headers: Record<string, string>;
  body: Uint8Array | AsyncIterable<Uint8Array>;
  samplesRead?: number;
  /** The stream goes on reading from storage: the query keeps its slot and deadline until the end. */
  readsWhileSending?: boolean;
}

export interface QueryDescription {
  query: string;
  startMs?: number;
  endMs?: number;
  stepMs?: number;
  /** As the client asked. */
  timeoutMs?: number;
  /** What caps it, where that is not the tenant's limit. */
  timeoutMaxMs?: number;
}

export interface HandlerContext {
  deps: QueryHandlerDeps;
  cache: ResultCache | null;
  request: QueryRequest;
  params: Params;
  limits: QueryLimits;
  /**
   * Runs the work as a listed, limited, cancellable query. The work must stop soon after the signal fires, whose reason then is what the
   * client is told.
   */
  run(what: QueryDescription, work: (signal: AbortSignal) => Promise<WorkResult>): Promise<QueryResponse>;
}

export const JSON_HEADERS: Readonly<Record<string, string>> = Object.freeze({ 'content-type': 'application/json' });
