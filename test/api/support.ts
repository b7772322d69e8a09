/** A server with the Prometheus API over the memory source, for tests that speak HTTP to it. */

import Fastify, { type FastifyInstance } from 'fastify';
import { notePrincipal } from '../../src/api/auth/principals.ts';
import { DEFAULT_HANDLER_OPTIONS, type QueryHandlerDeps } from '../../src/api/prometheus/handler-context.ts';
import { createPrometheusQueryHandler, type PrometheusQueryHandler } from '../../src/api/prometheus/query-handler.ts';
import { rawStreamOfSampleSource } from '../../src/api/prometheus/raw-stream.ts';
import { type PrometheusRouteDeps, registerPrometheusRoutes } from '../../src/api/prometheus/routes.ts';
import { QUERIES_OPENAPI, registerOpenApiRoute } from '../../src/api/sightline/openapi.ts';
import { registerSightlineQueryRoutes } from '../../src/api/sightline/query-routes.ts';
import type { TsdbAdmin } from '../../src/contracts/admin.ts';
import { ANONYMOUS, type Principal } from '../../src/contracts/auth.ts';
import type { SampleSource } from '../../src/contracts/sample-source.ts';
import { type Clock, systemClock } from '../../src/lib/clock.ts';
import { labelsFromRecord } from '../../src/model/labels.ts';
import { DEFAULT_QUERY_LIMITS } from '../../src/query/limits/query-limits.ts';
import { createPromqlEngine } from '../../src/query/promql/engine.ts';
import { createLocalLeafSource } from '../../src/query/promql/leaf.ts';
import { DEFAULT_FEATURES } from '../../src/query/promql/parser.ts';
import { MemorySource } from '../support/memory-source.ts';

/** Samples end here. */
export const NOW = 1_700_000_000_000;
export const STEP = 15_000;

/** An hour of three counters and `up`, and what odd cases need. */
export function sampleData(): MemorySource {
  const source = new MemorySource();
  for (let i = 0; i < 3; i++) {
    const samples = [];
    for (let t = NOW - 3_600_000; t <= NOW; t += STEP) samples.push({ t, value: ((t - NOW) / 1000 + 3600) * (i + 1) });
    source.append('default', labelsFromRecord({ __name__: 'requests_total', code: `${i + 2}00`, job: 'api' }), samples);
    const up = samples.map(s => ({ t: s.t, value: i === 2 ? 0 : 1 }));
    source.append('default', labelsFromRecord({ __name__: 'up', instance: `host-${i}:80`, job: 'api' }), up);
  }
  source.append('default', labelsFromRecord({ __name__: 'odd', 'service.name': 'ä"\\' }), [{ t: NOW, value: 0.1 }]);
  source.append('other', labelsFromRecord({ __name__: 'secret' }), [{ t: NOW, value: 1 }]);
  source.addMetadata({ metric: 'up', type: 'gauge', help: 'Up?', unit: '' });
  source.addMetadata({ metric: 'requests_total', type: 'counter', help: 'Requests.', unit: '' });
  return source;
}

export interface TestServer {
  url: string;
  app: FastifyInstance;
  handler: PrometheusQueryHandler;
  close(): Promise<void>;
}

export function clockAt(ms: number): Clock {
  return { ...systemClock, now: () => ms };
}

export async function startServer(
  source: SampleSource = sampleData(),
  handlerOptions: Partial<QueryHandlerDeps> = {},
  routeOptions: Partial<PrometheusRouteDeps> = {},
  principal: Principal = ANONYMOUS,
): Promise<TestServer> {
  const engine = createPromqlEngine({
    source: createLocalLeafSource(source),
    lookbackMs: 300_000,
    defaultSubqueryStepMs: 60_000,
    maxSamples: 1_000_000,
    features: { ...DEFAULT_FEATURES, delayedNameRemoval: false, startTimestamps: false, typeAndUnitLabels: false },
  });
  const handler = createPrometheusQueryHandler({
    ...DEFAULT_HANDLER_OPTIONS,
    engine,
    index: source,
    raw: rawStreamOfSampleSource(source),
    changes: null,
    cache: null,
    clock: clockAt(NOW),
    features: DEFAULT_FEATURES,
    lookbackMs: 300_000,
    limitsOf: () => DEFAULT_QUERY_LIMITS,
    idPrefix: 'q',
    onSlowQuery: null,
    onInternalError: null,
    ...handlerOptions,
  });
  const app = Fastify();
  app.addHook('onRequest', async request => notePrincipal(request, principal));
  await registerPrometheusRoutes(app, {
    query: handler,
    ingest: null,
    status: {
      buildInfo: () => ({ version: '0.1.0', revision: 'abc', branch: 'main', buildUser: '', buildDate: '' }),
      runtimeInfo: () => ({
        startTimeMs: NOW,
        cwd: '/',
        hostname: 'here',
        reloadConfigSuccess: true,
        lastConfigTimeMs: 0,
        corruptionCount: 0,
        threads: 3,
        cpuCores: 2,
        memoryLimitBytes: 0,
        storageRetention: '15d',
      }),
      configYaml: () => 'scrape_configs: []\n',
      flags: () => ({ 'http.listen': '127.0.0.1:7070' }),
    },
    targets: null,
    rules: null,
    admin: noAdmin(),
    adminApiEnabled: false,
    clock: clockAt(NOW),
    ...routeOptions,
  });
  registerSightlineQueryRoutes(app, { query: handler });
  registerOpenApiRoute(app, '0.1.0', [QUERIES_OPENAPI]);
  const url = await app.listen({ host: '127.0.0.1', port: 0 });
  return { url, app, handler, close: () => app.close() };
}

export function noAdmin(): TsdbAdmin {
  return {
    status: async () => ({
      numSeries: 7,
      numLabelPairs: 9,
      chunkCount: 14,
      minTimeMs: NOW - 3_600_000,
      maxTimeMs: NOW,
      seriesCountByMetricName: [{ name: 'up', value: 3 }],
      labelValueCountByLabelName: [],
      memoryInBytesByLabelName: [],
      seriesCountByLabelValuePair: [],
    }),
    blocks: async () => [],
    replay: () => ({ first: 1, last: 2, current: 2, state: 'done' }),
    deleteSeries: async () => {},
    cleanTombstones: async () => {},
    flush: async () => {},
    snapshot: async () => 'snap',
  };
}
