/** httpRoutes: what answers on the main port, in the order of registration. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { AUTH_OPENAPI } from '../api/auth/auth-routes.ts';
import { principalOf } from '../api/auth/principals.ts';
import { MAIN_OTLP_PATHS, registerOtlpRoutes } from '../api/otlp/routes.ts';
import { registerPrometheusRoutes } from '../api/prometheus/routes.ts';
import { registerPushRoutes } from '../api/push/routes.ts';
import { CARDINALITY_OPENAPI } from '../api/sightline/cardinality-openapi.ts';
import { registerCardinalityRoutes } from '../api/sightline/cardinality-routes.ts';
import { DISCOVERY_OPENAPI, registerDiscoveryRoutes } from '../api/sightline/discovery-routes.ts';
import { QUERIES_OPENAPI, registerOpenApiRoute } from '../api/sightline/openapi.ts';
import { registerSightlineQueryRoutes } from '../api/sightline/query-routes.ts';
import { labelsFromMap } from '../model/labels.ts';
import { baseRoutes, CONFIG_OPENAPI } from './base-routes.ts';
import type { Ground } from './ground.ts';
import type { Parts } from './parts.ts';
import { REMOTE_OPENAPI, remoteRoutes } from './remote-routes.ts';
import { uiRoutes } from './ui-static.ts';
import { VERSION } from './version.ts';

const OPENAPI = [QUERIES_OPENAPI, DISCOVERY_OPENAPI, CARDINALITY_OPENAPI, CONFIG_OPENAPI, AUTH_OPENAPI, REMOTE_OPENAPI];

/** @param notReady '' = ready, else why not */
export function httpRoutes(
  ground: Ground,
  parts: Parts,
  notReady: () => string,
): ((app: FastifyInstance) => void | Promise<void>)[] {
  const { clock, metrics, reloader } = ground;
  const { http, otlp } = ground.loaded.config;
  const { engine, push, scraper } = parts;
  return [
    baseRoutes({ notReady, readOnly: () => parts.space.problem, metrics, reloader }),
    remoteRoutes(() => parts.remoteWriter.status()),
    uiRoutes(parts.ui),
    parts.auth.routes(),
    app => registerSightlineQueryRoutes(app, { query: engine.query, mayAdminister: administersAll }),
    app => registerDiscoveryRoutes(app, { targets: scraper }),
    app =>
      registerCardinalityRoutes(app, {
        explorer: engine.cardinality,
        history: parts.recorder,
        mayAdminister: administersAll,
      }),
    app => registerOpenApiRoute(app, VERSION, OPENAPI),
    app => registerOtlpRoutes(app, { gate: parts.otlp, paths: MAIN_OTLP_PATHS, bodyBytesMax: otlp.max_body }),
    app =>
      registerPushRoutes(app, {
        ingest: engine.ingest,
        gateway: push.gateway,
        naming: () => push.naming(),
        bodyBytesMax: http.max_body,
        adminApiEnabled: http.admin_api,
        version: VERSION,
        onDropped: (protocol, reason) => push.drop(protocol, reason),
      }),
    app =>
      registerPrometheusRoutes(app, {
        query: engine.query,
        ingest: engine.ingest,
        status: parts.status,
        targets: scraper,
        rules: null,
        admin: engine.tsdb,
        adminApiEnabled: http.admin_api,
        clock,
        writeBodyBytesMax: http.max_body,
        externalLabels: () => labelsFromMap(reloader.current.prometheus.global.externalLabels),
      }),
  ];
}

/** Whether the caller may look beyond its own tenant. */
function administersAll(request: FastifyRequest): boolean {
  const { rights, tenants } = principalOf(request);
  return rights.has('admin') && tenants === '*';
}
