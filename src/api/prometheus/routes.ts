/**
 * registerPrometheusRoutes: the Prometheus HTTP API under /api/v1 and /prometheus/api/v1, and /federate.
 *
 * Nothing here evaluates or encodes: each route turns HTTP into one call of a port (queries, ingest) or a few lines of JSON about the
 * process (status-routes.ts). The routes live in a fastify scope of their own, because they want bodies raw.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { IngestService } from '../../contracts/ingest-service.ts';
import type { QueryEndpoint, QueryService } from '../../contracts/query-service.ts';
import type { Labels } from '../../model/labels.ts';
import type { TenantId } from '../../model/tenant.ts';
import { principalOf } from '../auth/principals.ts';
import { ApiError } from '../errors.ts';
import { disconnectSignal, formOf, headerOf, sendError, sendResponse, tenantOf } from '../http.ts';
import { collect } from './body.ts';
import { registerIngestRoutes } from './ingest-routes.ts';
import { registerStatusRoutes, type StatusDeps } from './status-routes.ts';

export interface PrometheusRouteDeps extends StatusDeps {
  query: QueryService;
  /** null: the write routes answer 404. */
  ingest: IngestService | null;
  /** Whose request it is; by default from X-Scope-OrgID. Throws an ApiError to refuse. */
  tenantOf?: (request: FastifyRequest) => TenantId;
  /** What remote read and federation put on every series; asked for at each request. */
  externalLabels?: () => Labels;
  /** Longest body of one remote-write request, as sent. */
  writeBodyBytesMax?: number;
}

/** The paths all of it stands under. */
export const API_PREFIXES = ['/api/v1', '/prometheus/api/v1'] as const;

/** Queries come in form bodies because they may be longer than a URL; Go's own bound is the same. */
const FORM_BYTES_MAX = 10 * 1024 * 1024;
const READ_BODY_BYTES_MAX = 4 * 1024 * 1024;

const GET_POST: readonly [string, QueryEndpoint][] = [
  ['/query', 'query'],
  ['/query_range', 'query_range'],
  ['/query_exemplars', 'query_exemplars'],
  ['/series', 'series'],
  ['/labels', 'labels'],
  ['/format_query', 'format_query'],
  ['/parse_query', 'parse_query'],
  ['/export', 'export'],
];

const EXTERNAL: ReadonlySet<QueryEndpoint> = new Set(['read', 'federate']);

export async function registerPrometheusRoutes(app: FastifyInstance, deps: PrometheusRouteDeps): Promise<void> {
  await app.register(async scope => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser(
      'application/x-www-form-urlencoded',
      { parseAs: 'string', bodyLimit: FORM_BYTES_MAX },
      (_request, body, done) => done(null, body),
    );
    // Anything else is the business of the route: it gets the stream.
    scope.addContentTypeParser('*', (_request, payload, done) => done(null, payload));
    scope.setErrorHandler((error, request, reply) => sendError(request, reply, error));
    for (const prefix of API_PREFIXES) {
      registerQueryRoutes(scope, prefix, deps);
      registerStatusRoutes(scope, prefix, deps);
      registerIngestRoutes(scope, prefix, deps);
      scope.options(`${prefix}/*`, async (_request, reply) => reply.code(204).send());
    }
    for (const path of ['/federate', '/prometheus/federate']) {
      scope.get(path, (request, reply) => forward(deps, 'federate', request, reply));
    }
  });
}

function registerQueryRoutes(scope: FastifyInstance, prefix: string, deps: PrometheusRouteDeps): void {
  for (const [path, endpoint] of GET_POST) {
    scope.route({
      method: ['GET', 'POST'],
      url: prefix + path,
      handler: (request, reply) => forward(deps, endpoint, request, reply),
    });
  }
  // A wildcard: label names may be long (routers bound parameters) and may hold a slash.
  scope.get(`${prefix}/label/*`, (request, reply) => forward(deps, 'label_values', request, reply));
  scope.get(`${prefix}/metadata`, (request, reply) => forward(deps, 'metadata', request, reply));
  scope.post(`${prefix}/read`, { bodyLimit: READ_BODY_BYTES_MAX }, async (request, reply) => {
    const body = await collect(request.body, READ_BODY_BYTES_MAX);
    return forward(deps, 'read', request, reply, body);
  });
}

async function forward(
  deps: PrometheusRouteDeps,
  endpoint: QueryEndpoint,
  request: FastifyRequest,
  reply: FastifyReply,
  body: Uint8Array | null = null,
): Promise<FastifyReply> {
  const signal = disconnectSignal(reply);
  const tenant = (deps.tenantOf ?? tenantOf)(request);
  const principal = principalOf(request);
  const response = await deps.query.handle(
    {
      endpoint,
      tenant,
      params: formOf(request),
      name: endpoint === 'label_values' ? labelNameOf(request) : '',
      body,
      ...(EXTERNAL.has(endpoint) && deps.externalLabels !== undefined ? { externalLabels: deps.externalLabels() } : {}),
      accept: headerOf(request, 'accept'),
      acceptEncoding: headerOf(request, 'accept-encoding'),
      origin: principal.via === 'anonymous' ? request.ip : `${principal.name} (${request.ip})`,
      longRange: principal.rights.has('long-range'),
    },
    signal,
  );
  return sendResponse(reply, response);
}

function labelNameOf(request: FastifyRequest): string {
  const path = (request.params as { '*': string })['*'];
  if (!path.endsWith('/values')) throw new ApiError('not_found', 'the path is /label/{name}/values');
  return path.slice(0, -'/values'.length);
}
