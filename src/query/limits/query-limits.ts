/**
 * The bounds every query runs under, with the reason beside each number, and the errors that say which one was met.
 *
 * Messages begin as Prometheus' do where it has the case, then say why and what to narrow.
 */

export interface QueryLimits {
  /** Deadline of a query, its wait in the queue included; a request's `timeout` can only shorten it. ms. */
  timeoutMs: number;
  /** Longest range of data an ad-hoc query reads, windows and offsets counted; 0 = any. ms. */
  rangeMaxMs: number;
  /** Queries of one tenant that run at once; more wait. */
  concurrency: number;
  /** Queries of one tenant that wait at once; more are refused with 429. */
  waitingMax: number;
}

export const DEFAULT_QUERY_LIMITS: Readonly<QueryLimits> = Object.freeze({
  // A dashboard nobody waits for longer; a heavy report raises it.
  timeoutMs: 30_000,
  // Off: only users without the long-range right get one, once there is sign-in.
  rangeMaxMs: 0,
  // A page of panels at once; evaluation is CPU-bound, so more would only add memory.
  concurrency: 12,
  waitingMax: 128,
});

/** The deadline passed. HTTP 503. */
export class QueryTimeoutError extends Error {
  override name = 'QueryTimeoutError';
}

/** Cancelled by the client going away or by an operator. HTTP 499. */
export class QueryCanceledError extends Error {
  override name = 'QueryCanceledError';
}

/** Too many queries of this tenant wait already. HTTP 429. */
export class QueueFullError extends Error {
  override name = 'QueueFullError';
}

/** Waited its whole share in the queue and did not get to run. HTTP 503. */
export class QueueTimeoutError extends Error {
  override name = 'QueueTimeoutError';
}

export function timeoutError(timeoutMs: number, where: 'queue' | 'evaluation'): Error {
  const seconds = `${Math.round(timeoutMs) / 1000}s`;
  if (where === 'queue') {
    return new QueueTimeoutError(
      `query timed out in query queue: it waited its whole deadline of ${seconds} behind other queries of this tenant; retry later, or run fewer queries at once`,
    );
  }
  return new QueryTimeoutError(
    `query timed out in expression evaluation: it ran into its deadline of ${seconds}; ask for a shorter time range, a larger step, or fewer series (more label matchers), or raise the timeout where this server's limit allows`,
  );
}

export function rangeError(rangeMs: number, rangeMaxMs: number): string {
  const hours = (ms: number) => `${Math.round(ms / 36_000) / 100} h`;
  return `the query's time range of ${hours(rangeMs)} exceeds the limit of ${hours(rangeMaxMs)} for ad-hoc queries: choose a shorter range, use a recording rule, or ask for the long-range right`;
}
