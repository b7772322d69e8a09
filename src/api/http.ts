/**
 * Between fastify and the ports: the tenant of a request, its parameters as one form, a signal for a client that goes away, and sending
 * a QueryResponse.
 */
import { Readable } from 'node:stream';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Principal } from '../contracts/auth.ts';
import type { QueryResponse } from '../contracts/query-service.ts';
import { isValidTenant, type TenantId } from '../model/tenant.ts';
import { principalOf } from './auth/principals.ts';
import { compressResponse } from './compress.ts';
import { ApiError, badData, errorBody, toApiError } from './errors.ts';

/** The tenant it acts for: the principal's own, or the one it names and is entitled to; throws an ApiError otherwise. */
export function tenantOf(request: FastifyRequest): TenantId {
  return tenantFor(principalOf(request), headerOf(request, 'x-scope-orgid'));
}

/** The same by the header's value. */
export function tenantFor(principal: Principal, header: string): TenantId {
  if (header === '') return principal.tenant;
  if (!isValidTenant(header)) {
    throw badData(
      `invalid tenant in X-Scope-OrgID: ${JSON.stringify(header.slice(0, 200))}; a name has 1 to 150 letters, digits or any of !-_.*'()`,
    );
  }
  if (principal.tenants !== '*' && !principal.tenants.includes(header)) {
    throw new ApiError('forbidden', `${principal.name} may not act for tenant ${JSON.stringify(header)}`);
  }
  return header;
}

export function headerOf(request: FastifyRequest, name: string): string {
  const value = request.headers[name];
  return (Array.isArray(value) ? value.join(',') : value) ?? '';
}

/** The URL's query string without `?`. */
export function queryStringOf(request: FastifyRequest): string {
  const url = request.raw.url ?? '';
  const at = url.indexOf('?');
  return at === -1 ? '' : url.slice(at + 1);
}

/** Form body first, then the URL's query: where one value is wanted, the first counts. */
export function formOf(request: FastifyRequest): string {
  const query = queryStringOf(request);
  const body = typeof request.body === 'string' ? request.body : '';
  if (body === '' || query === '') return body + query;
  return `${body}&${query}`;
}

/** Fires when the connection closes before the answer is complete. */
export function disconnectSignal(reply: FastifyReply): AbortSignal {
  const abort = new AbortController();
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) abort.abort(new Error('the client closed the connection'));
  });
  return abort.signal;
}

/** Sends the response; a stream is read at the client's pace, and one that fails breaks the connection. */
export async function sendResponse(reply: FastifyReply, response: QueryResponse): Promise<FastifyReply> {
  reply.code(response.status);
  for (const [name, value] of Object.entries(response.headers)) reply.header(name, value);
  if (response.body instanceof Uint8Array) {
    if (response.body.length === 0 && response.headers['content-type'] === undefined) return reply.send();
    const { buffer, byteOffset, length } = response.body;
    return reply.send(Buffer.from(buffer as ArrayBuffer, byteOffset, length));
  }
  return reply.send(Readable.from(response.body, { objectMode: false }));
}

/** A small JSON answer made on this thread. */
export async function sendJson(
  request: FastifyRequest,
  reply: FastifyReply,
  status: number,
  body: Uint8Array,
): Promise<FastifyReply> {
  const response = { status, headers: { 'content-type': 'application/json' }, body };
  return sendResponse(reply, compressResponse(response, headerOf(request, 'accept-encoding')));
}

export async function sendError(request: FastifyRequest, reply: FastifyReply, error: unknown): Promise<FastifyReply> {
  const framing = framingStatus(error);
  if (framing !== 0) {
    // What is left of the body is not read: the connection cannot serve another request.
    reply.header('connection', 'close');
    return sendJson(request, reply, framing, errorBody(badData((error as Error).message)));
  }
  const apiError = toApiError(error);
  if (apiError.code === 'internal') request.log.error({ err: error }, 'request failed');
  if (apiError.retryAfterS > 0) reply.header('retry-after', String(apiError.retryAfterS));
  return sendJson(request, reply, apiError.status, errorBody(apiError));
}

/** Status of an error about the request's form (too large, malformed) that fastify or a body reader raised; else 0. */
function framingStatus(error: unknown): number {
  const status = error instanceof Error ? (error as Error & { statusCode?: unknown }).statusCode : 0;
  return typeof status === 'number' && status >= 400 && status < 500 ? status : 0;
}
