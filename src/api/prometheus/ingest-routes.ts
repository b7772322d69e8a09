/**
 * The write routes: /write, /import, /import/prometheus. They hand the body over as it came and relay the answer; decoding is behind the
 * IngestService.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { IngestProtocol, IngestRequest, IngestResponse, IngestService } from '../../contracts/ingest-service.ts';
import { SELF_TENANT, type TenantId } from '../../model/tenant.ts';
import { toApiError } from '../errors.ts';
import { headerOf, queryStringOf, tenantOf } from '../http.ts';
import { BodyTooLargeError, collect } from './body.ts';

export interface IngestRouteDeps {
  ingest: IngestService | null;
  tenantOf?: (request: FastifyRequest) => TenantId;
  writeBodyBytesMax?: number;
}

/** Remote write sends some hundred KB; 32 MB of snappy is a client gone wrong. */
const WRITE_BODY_BYTES_MAX = 32 * 1024 * 1024;
/** Of the headers, what protocols look at. */
const HEADERS = ['x-prometheus-remote-write-version', 'user-agent'];

const STREAMED: readonly [string, IngestProtocol][] = [
  ['/import', 'json-lines'],
  ['/import/prometheus', 'prometheus-text'],
  ['/import/native', 'victoria-native'],
];

export function registerIngestRoutes(scope: FastifyInstance, prefix: string, deps: IngestRouteDeps): void {
  const { ingest } = deps;
  if (ingest === null) return;
  const bytesMax = deps.writeBodyBytesMax ?? WRITE_BODY_BYTES_MAX;
  scope.post(`${prefix}/write`, { bodyLimit: bytesMax }, (request, reply) =>
    relay(reply, async () => {
      const head = describe(deps, 'remote-write', request);
      return ingest.ingest(head, await collect(request.body, bytesMax));
    }),
  );
  for (const [path, protocol] of STREAMED) {
    // A stream has no length that could be too much: the decoder bounds a line.
    scope.post(prefix + path, { bodyLimit: Number.MAX_SAFE_INTEGER }, (request, reply) =>
      relay(reply, async () => ingest.ingestStream(describe(deps, protocol, request), streamOf(request.body))),
    );
  }
}

export function describe(
  deps: Pick<IngestRouteDeps, 'tenantOf'>,
  protocol: IngestProtocol,
  request: FastifyRequest,
): IngestRequest {
  const tenant = (deps.tenantOf ?? tenantOf)(request);
  if (tenant === SELF_TENANT) throw new ForbiddenTenantError(tenant);
  const headers: Record<string, string> = {};
  for (const name of HEADERS) {
    const value = headerOf(request, name);
    if (value !== '') headers[name] = value;
  }
  return {
    protocol,
    tenant,
    contentType: headerOf(request, 'content-type'),
    contentEncoding: headerOf(request, 'content-encoding').toLowerCase(),
    params: queryStringOf(request),
    headers,
  };
}

export async function relay(reply: FastifyReply, work: () => Promise<IngestResponse>): Promise<FastifyReply> {
  const response = await work().catch(refused);
  reply.code(response.status);
  for (const [name, value] of Object.entries(response.headers)) reply.header(name, value);
  if (response.body === '') return reply.send();
  return reply
    .type(response.headers['content-type'] ?? 'text/plain; charset=utf-8')
    .send(response.body.endsWith('\n') ? response.body : `${response.body}\n`);
}

/** Writers read plain text. */
function refused(error: unknown): IngestResponse {
  if (error instanceof BodyTooLargeError) {
    return { status: 413, headers: { connection: 'close' }, body: error.message };
  }
  if (error instanceof ForbiddenTenantError) return { status: 403, headers: {}, body: error.message };
  const apiError = toApiError(error);
  const headers: Record<string, string> = {};
  if (apiError.retryAfterS > 0) headers['retry-after'] = String(apiError.retryAfterS);
  return { status: apiError.status, headers, body: apiError.message };
}

export async function* streamOf(body: unknown): AsyncGenerator<Uint8Array> {
  if (typeof body === 'string') yield Buffer.from(body);
  else if (body !== undefined && body !== null) yield* body as AsyncIterable<Uint8Array>;
}

class ForbiddenTenantError extends Error {
  constructor(tenant: TenantId) {
    super(`tenant "${tenant}" holds this server's own telemetry and cannot be written from outside`);
  }
}
