/**
 * registerPushRoutes: the ways in for whatever does not speak Prometheus: Influx line protocol, Graphite's lines, Datadog's series,
 * Pushgateway.
 *
 * They hand bodies over as they came and relay the answer; decoding is behind the IngestService. Beside the writes stand the few answers
 * that those protocols' clients want before they write: ping, `show databases`, validate.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { IngestProtocol, IngestService, PushNaming } from '../../contracts/ingest-service.ts';
import type { PushGateway } from '../../contracts/push-gateway.ts';
import type { TenantId } from '../../model/tenant.ts';
import { sendError } from '../http.ts';
import { collect } from '../prometheus/body.ts';
import { describe, relay, streamOf } from '../prometheus/ingest-routes.ts';
import { registerPushgatewayRoutes } from './pushgateway-routes.ts';

export interface PushRouteDeps {
  ingest: IngestService;
  /** null: no Pushgateway here. */
  gateway: PushGateway | null;
  /** Whose request it is; by default from X-Scope-OrgID. Throws an ApiError to refuse. */
  tenantOf?: (request: FastifyRequest) => TenantId;
  /** Asked for at each request. */
  naming: () => PushNaming;
  /** Longest body that is taken whole (Datadog, Pushgateway), as sent. */
  bodyBytesMax: number;
  /** Wiping all groups of the gateway. */
  adminApiEnabled: boolean;
  version: string;
  /** Accepted for the client's peace and thrown away: to be counted. */
  onDropped: (protocol: string, reason: string) => void;
}

const FORM_BYTES_MAX = 64 * 1024;
/** With and without the prefix under which VictoriaMetrics has them. */
const INFLUX_PREFIXES = ['', '/influx'] as const;

export async function registerPushRoutes(app: FastifyInstance, deps: PushRouteDeps): Promise<void> {
  await app.register(async scope => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', (_request, payload, done) => done(null, payload));
    scope.setErrorHandler((error, request, reply) => sendError(request, reply, error));
    for (const prefix of INFLUX_PREFIXES) registerInflux(scope, prefix, deps);
    streamed(scope, deps, '/api/v1/import/graphite', 'graphite');
    registerDatadog(scope, deps);
    if (deps.gateway !== null) registerPushgatewayRoutes(scope, deps.gateway, deps);
  });
}

function streamed(scope: FastifyInstance, deps: PushRouteDeps, path: string, protocol: IngestProtocol): void {
  // A stream has no length that could be too much: the decoder bounds a line.
  scope.post(path, { bodyLimit: Number.MAX_SAFE_INTEGER }, (request, reply) =>
    relay(reply, async () => {
      const head = { ...describe(deps, protocol, request), push: deps.naming() };
      return deps.ingest.ingestStream(head, streamOf(request.body));
    }),
  );
}

function registerInflux(scope: FastifyInstance, prefix: string, deps: PushRouteDeps): void {
  streamed(scope, deps, `${prefix}/write`, 'influx');
  streamed(scope, deps, `${prefix}/api/v2/write`, 'influx');
  scope.route({
    method: ['GET', 'HEAD'],
    url: `${prefix}/ping`,
    handler: (request, reply) => ping(deps, request, reply),
  });
  scope.get(`${prefix}/health`, async (_request, reply) =>
    reply.send({ name: 'sightline', status: 'pass', message: 'ready for queries and writes', version: deps.version }),
  );
  scope.route({ method: ['GET', 'POST'], url: `${prefix}/query`, handler: influxQuery });
}

/** Clients read a version from the header: one of the 1.x line, whose writes these are. */
async function ping(deps: PushRouteDeps, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  reply.header('x-influxdb-version', '1.8.10').header('x-influxdb-build', 'OSS');
  const verbose = (request.query as Record<string, unknown>).verbose;
  if (verbose === undefined || verbose === 'false' || verbose === '0') return reply.code(204).send();
  return reply.send({ version: '1.8.10', server: `sightline ${deps.version}` });
}

/** Enough for clients that look for, or make, their database before they write. */
async function influxQuery(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const form =
    request.method === 'POST' ? Buffer.from(await collect(request.body, FORM_BYTES_MAX)).toString('utf8') : '';
  const given = (request.query as Record<string, unknown>).q ?? new URLSearchParams(form).get('q') ?? '';
  const statement = String(given).trim().toLowerCase().replace(/\s+/g, ' ').replace(/;$/, '');
  if (statement === 'show databases') {
    const series = [{ name: 'databases', columns: ['name'], values: [['_internal']] }];
    return reply.send({ results: [{ statement_id: 0, series }] });
  }
  if (/^create (database|retention policy) /.test(statement)) return reply.send({ results: [{ statement_id: 0 }] });
  return reply
    .code(400)
    .send({ error: 'InfluxQL is not answered here: write by line protocol, query with PromQL at /api/v1/query' });
}

function registerDatadog(scope: FastifyInstance, deps: PushRouteDeps): void {
  const whole = (path: string, protocol: IngestProtocol): void => {
    scope.post(path, { bodyLimit: deps.bodyBytesMax }, (request, reply) =>
      relay(reply, async () => {
        const head = { ...describe(deps, protocol, request), push: deps.naming() };
        return deps.ingest.ingest(head, await collect(request.body, deps.bodyBytesMax));
      }),
    );
  };
  whole('/datadog/api/v1/series', 'datadog-v1');
  whole('/datadog/api/v2/series', 'datadog-v2');
  scope.get('/datadog/api/v1/validate', async (_request, reply) => reply.send({ valid: true }));
  // An agent that gets an error here repeats it for ever, with all it has gathered meanwhile.
  for (const [path, reason, status, answer] of [
    ['/datadog/api/v1/check_run', 'check_run', 202, { status: 'ok' }],
    ['/datadog/api/v1/metadata', 'metadata', 202, {}],
    ['/datadog/api/v2/host_metadata', 'metadata', 202, {}],
    ['/datadog/intake', 'intake', 202, {}],
    ['/datadog/intake/', 'intake', 202, {}],
  ] as const) {
    scope.post(path, async (_request, reply) => {
      deps.onDropped('datadog', reason);
      return reply.code(status).send(answer);
    });
  }
  scope.post('/datadog/api/beta/sketches', async (_request, reply) => {
    deps.onDropped('datadog', 'sketches');
    const message =
      'sketches (distribution metrics) are not taken: send histograms, or distributions over OTLP or remote write';
    return reply.code(400).send({ errors: [message] });
  });
}
