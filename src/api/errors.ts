/**
 * The API's errors: one table of codes, their HTTP status, and the JSON body clients of Prometheus expect.
 *
 * A handler throws an ApiError (or lets an error of the engine or storage through, which `toApiError` sorts by name: errors
 * that crossed a thread keep their name, not their class). Everything unknown is `internal` and a bug of ours.
 */
import type { RateLimitedError } from '../contracts/sample-sink.ts';

/** Code -> HTTP status, as Prometheus 3 has it; the last three are ours. */
export const ERROR_STATUS = {
  bad_data: 400,
  execution: 422,
  /** The client went away or an operator cancelled: nginx' 499. */
  canceled: 499,
  timeout: 503,
  internal: 500,
  not_found: 404,
  not_acceptable: 406,
  unavailable: 500,
  too_many_requests: 429,
  overloaded: 503,
  forbidden: 403,
} as const;

export type ErrorCode = keyof typeof ERROR_STATUS;

export class ApiError extends Error {
  override name = 'ApiError';
  readonly code: ErrorCode;
  /** Seconds for Retry-After; 0 = no such header. */
  readonly retryAfterS: number;
  constructor(code: ErrorCode, message: string, retryAfterS = 0) {
    super(message);
    this.code = code;
    this.retryAfterS = retryAfterS;
  }

  get status(): number {
    return ERROR_STATUS[this.code];
  }
}

export function badData(message: string): ApiError {
  return new ApiError('bad_data', message);
}

/** `invalid parameter "start": ...` */
export function invalidParam(parameter: string, message: string): ApiError {
  return new ApiError('bad_data', `invalid parameter "${parameter}": ${message}`);
}

/** What an error of the layers below means to a client. */
export function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  const e = error instanceof Error ? error : new Error(String(error));
  switch (e.name) {
    case 'PromqlParseError':
      return invalidParam('query', e.message);
    case 'QueryLimitError':
    case 'PromqlEvalError':
      return new ApiError('execution', e.message);
    case 'QueryTimeoutError':
      return new ApiError('timeout', e.message);
    case 'QueryCanceledError':
    case 'AbortError':
      return new ApiError('canceled', e.message);
    case 'QueueFullError':
      return new ApiError('too_many_requests', e.message, 5);
    case 'QueueTimeoutError':
      return new ApiError('overloaded', e.message, 5);
    case 'RateLimitedError':
      return new ApiError('too_many_requests', e.message, (e as Partial<RateLimitedError>).data?.retryAfterS ?? 5);
    case 'StorageFullError':
    case 'ShuttingDownError':
      return new ApiError('overloaded', e.message, 5);
    default:
      return new ApiError('internal', e.message);
  }
}

export function errorBody(error: ApiError): Uint8Array {
  return Buffer.from(JSON.stringify({ status: 'error', errorType: wireCode(error.code), error: error.message }));
}

/** Clients know Prometheus' codes only. */
function wireCode(code: ErrorCode): string {
  switch (code) {
    case 'too_many_requests':
      return 'unavailable';
    case 'overloaded':
      return 'unavailable';
    default:
      return code;
  }
}
