/**
 * QueryService: one read request of the Prometheus API in, an encoded answer out.
 *
 * The thread that owns the sockets only frames HTTP. Everything that costs (parsing parameters, evaluating, encoding JSON,
 * compressing) happens behind this port, wherever its implementation runs: in the same thread, or in a worker behind a
 * MessagePort (main/query-link.ts carries the port between threads). So a request is plain data and a response
 * is a head plus byte chunks in order.
 */
import type { Labels } from '../model/labels.ts';
import type { TenantId } from '../model/tenant.ts';

export type QueryEndpoint =
  | 'query'
  | 'query_range'
  | 'query_exemplars'
  | 'series'
  | 'labels'
  | 'label_values'
  | 'metadata'
  | 'format_query'
  | 'parse_query'
  | 'read'
  | 'federate'
  | 'export';

export interface QueryRequest {
  endpoint: QueryEndpoint;
  tenant: TenantId;
  /**
   * `application/x-www-form-urlencoded` text: the form body of a POST first, then the URL's query, joined by `&`. Where a
   * single value is wanted the first one counts.
   */
  params: string;
  /** `label_values`: the label name as it stands in the path, percent-decoded. Else ''. */
  name: string;
  /** `read`: the request body, still compressed. Else null. */
  body: Uint8Array | null;
  /** `read`, `federate`: labels that every series leaves with unless it has them. None where absent. */
  externalLabels?: Labels;
  /** Value of Accept, or ''. */
  accept: string;
  /** Value of Accept-Encoding, or ''. */
  acceptEncoding: string;
  /** May ask for any range; else query.adhoc_range_max bounds it. Absent = may. */
  longRange?: boolean;
  /** Who asks, for the list of active queries and the slow-query log: address, or user once there is sign-in. */
  origin: string;
}

export interface QueryResponse {
  status: number;
  /** Content-Type, Content-Encoding, Retry-After ... in lower case. Content-Length only where `body` is bytes. */
  headers: Record<string, string>;
  /**
   * Chunks belong to the receiver. A stream must be read to its end or `return`ed, else its query keeps running until its deadline.
   * A stream that throws must make the transport break the connection, so that no client takes half an answer for a whole one.
   */
  body: Uint8Array | AsyncIterable<Uint8Array>;
}

export interface QueryService {
  /**
   * Never rejects for a caller's mistake or a failed query: those are responses with a status. Aborting the signal (the
   * client went away) cancels the query.
   */
  handle(request: QueryRequest, signal?: AbortSignal): Promise<QueryResponse>;
  /** Queries waiting or running here, oldest first; of one tenant, or of all where null. */
  activeQueries(tenant: TenantId | null): Promise<ActiveQuery[]>;
  /** Cancels one; false where there is none of that id (or it is another tenant's). */
  cancelQuery(tenant: TenantId | null, id: string): Promise<boolean>;
}

export interface ActiveQuery {
  /** Unique in the process while it runs and for long after. */
  id: string;
  tenant: TenantId;
  endpoint: QueryEndpoint;
  /** The query or selectors as sent, cut to a few KB. */
  query: string;
  /** ms since the epoch. Range of a range query; both 0 where it has none. */
  startMs: number;
  endMs: number;
  stepMs: number;
  state: 'waiting' | 'running' | 'cancelling';
  receivedAtMs: number;
  /** Milliseconds since it was received, and of those in the queue. */
  elapsedMs: number;
  waitedMs: number;
  deadlineAtMs: number;
  origin: string;
}

/** One finished query over the slow-query threshold, as plain data for the log. */
export interface SlowQuery extends ActiveQuery {
  status: number;
  samplesRead: number;
  responseBytes: number;
  error: string;
}

/**
 * Answers about the last minute are never cached, so storage need not report what arrives for it. ms before the wall clock of the
 * arrival.
 */
export const FRESH_ZONE_MS = 60_000;

/**
 * What a result cache asks of storage, to stay right under late arrivals and deletes.
 *
 * Every accepted change that touches a time older than `now - FRESH_ZONE_MS` raises the tenant's sequence: any sample that old
 * (in order for its series or not, backfill included), a delete, an expiry, a downsampled level that replaces raw data.
 * The smallest timestamp of a batch is enough. The order that must hold: the sequence rises before the change is acknowledged; whoever reads
 * `current` and then queries sees all that was acknowledged under it.
 */
export interface ChangeFeed {
  /** The tenant's present sequence; never falls within a process. */
  current(tenant: TenantId): number;
  /**
   * The smallest timestamp (ms) altered after `sequence`; +Infinity where nothing was. -Infinity (everything may differ)
   * where the feed no longer remembers that far back.
   */
  oldestChangedSince(tenant: TenantId, sequence: number): number;
}
