/**
 * The composition root: builds every part, starts them in order, stops them in the reverse.
 *
 * Start: configuration, data folder (lock, format), state, sockets (so that a taken port ends the start at once, and health is
 * answered during replay), engine, collectors. Stop: readiness off, collectors, sockets (running requests finish), engine
 * (everything acknowledged to disk), state, and last the folder's lock.
 */
import { availableParallelism, hostname } from 'node:os';
import { join } from 'node:path';
import { AUTH_OPENAPI } from '../api/auth/auth-routes.ts';
import { principalOf } from '../api/auth/principals.ts';
import { OtlpGate } from '../api/otlp/gate.ts';
import { MAIN_OTLP_PATHS, registerOtlpRoutes } from '../api/otlp/routes.ts';
import { registerPrometheusRoutes } from '../api/prometheus/routes.ts';
import { registerPushRoutes } from '../api/push/routes.ts';
import { CARDINALITY_OPENAPI } from '../api/sightline/cardinality-openapi.ts';
import { registerCardinalityRoutes } from '../api/sightline/cardinality-routes.ts';
import { DISCOVERY_OPENAPI, registerDiscoveryRoutes } from '../api/sightline/discovery-routes.ts';
import { QUERIES_OPENAPI, registerOpenApiRoute } from '../api/sightline/openapi.ts';
import { registerSightlineQueryRoutes } from '../api/sightline/query-routes.ts';
import { type LoadedConfig, loadConfig } from '../config/load.ts';
import { type Config, parseHostPort } from '../config/schema.ts';
import type { StateStore } from '../contracts/state-store.ts';
import { DiscoveryManager } from '../ingest/discovery/discovery-manager.ts';
import { HttpScrapeFetcher } from '../ingest/scrape/http-fetcher.ts';
import { ScrapeManager } from '../ingest/scrape/scrape-manager.ts';
import { SelfCollector } from '../ingest/self/self-collector.ts';
import { type Clock, systemClock } from '../lib/clock.ts';
import { HttpClient } from '../lib/http-client/http-client.ts';
import { IdentityHasher } from '../lib/identity-hash.ts';
import { createLogger, errorText, type Logger, type LogLevel } from '../lib/log.ts';
import { MetricsRegistry } from '../lib/metrics.ts';
import { labelsFromMap } from '../model/labels.ts';
import { DEFAULT_TENANT } from '../model/tenant.ts';
import { ADMISSION_BYTES, AdmissionBoard } from '../pipeline/admission/board.ts';
import { DataDir } from '../storage/data-dir.ts';
import { SqliteStateStore } from '../storage/state/sqlite-state-store.ts';
import { CardinalityRecorder } from './admission-history.ts';
import { MemoryWatch } from './admission-memory.ts';
import { AuthPart } from './auth-part.ts';
import { baseRoutes, CONFIG_OPENAPI } from './base-routes.ts';
import { HostPart } from './host-part.ts';
import { HttpServer, isLoopback } from './http-server.ts';
import { LateEngine } from './late-engine.ts';
import { type ServeOptions, UsageError } from './options.ts';
import { OtlpDoors } from './otlp-doors.ts';
import { otlpSettingsText } from './otlp-settings.ts';
import type { OpenEngine } from './ports.ts';
import { registerProcessMetrics } from './process-metrics.ts';
import { PushPart } from './push-part.ts';
import { Reloader } from './reloader.ts';
import { REMOTE_OPENAPI, remoteRoutes } from './remote-routes.ts';
import { RemoteWriter } from './remote-writer.ts';
import { ReplayProgress } from './replay-progress.ts';
import { SpaceWatch } from './space-watch.ts';
import { ProcessStatus } from './status.ts';
import { selectorProblem } from './storage-rules.ts';
import { TlsFiles } from './tls-files.ts';
import { UiStatic, uiRoutes } from './ui-static.ts';
import { VERSION } from './version.ts';

/** What a start may be given instead of the real thing. */
export interface ServerParts {
  openEngine: OpenEngine;
  clock?: Clock;
  log?: Logger;
}

interface ServerFacts {
  http: HttpServer;
  otlpDoors: OtlpDoors;
  dataDir: string;
  startMs: number;
  reloader: Reloader;
  state: StateStore;
  stops: Stop[];
}

/** Of OTLP bodies being worked on at once: above it senders are told to come back. */
const OTLP_IN_FLIGHT_BYTES = 128 * 1024 * 1024;

type Stop = () => void | Promise<void>;

/** A running server; `start` makes it. */
export class SightlineServer {
  readonly url: string;
  readonly dataDir: string;
  /** Milliseconds from the call of `start` to readiness. */
  readonly startMs: number;
  readonly reloader: Reloader;
  readonly state: StateStore;
  private readonly stops: Stop[];
  private readonly http: HttpServer;
  private readonly otlpDoors: OtlpDoors;
  private closing: Promise<void> | null = null;

  constructor(facts: ServerFacts) {
    this.http = facts.http;
    this.otlpDoors = facts.otlpDoors;
    this.url = facts.http.url;
    this.dataDir = facts.dataDir;
    this.startMs = facts.startMs;
    this.reloader = facts.reloader;
    this.state = facts.state;
    this.stops = facts.stops;
  }

  /** Where OpenTelemetry may send, `host:port` for gRPC and a URL for HTTP; '' where that door is shut. */
  get otlp(): { grpc: string; http: string } {
    return { grpc: this.otlpDoors.url('grpc'), http: this.otlpDoors.url('http') };
  }

  /** Throws ConfigError, UsageError, DataDirError or ListenError with messages for people; nothing is left behind then. */
  static async start(options: ServeOptions, parts: ServerParts): Promise<SightlineServer> {
    const stops: Stop[] = [];
    try {
      return await build(options, parts, stops);
    } catch (error) {
      await runAll(stops);
      throw error;
    }
  }

  /** Idempotent. */
  close(): Promise<void> {
    this.closing ??= runAll(this.stops);
    return this.closing;
  }

  /** For the second signal: connections break now. */
  abort(): void {
    this.http.abort();
  }
}

/** In reverse order of their making; one that fails does not keep the others from stopping. */
async function runAll(stops: Stop[]): Promise<void> {
  let first: unknown;
  for (const stop of stops.splice(0).reverse()) {
    try {
      await stop();
    } catch (error) {
      first ??= error;
    }
  }
  if (first !== undefined) throw first;
}

async function build(options: ServeOptions, parts: ServerParts, stops: Stop[]): Promise<SightlineServer> {
  const began = performance.now();
  const clock = parts.clock ?? systemClock;
  const load = (): LoadedConfig => loadConfig(options.config, options.overrides, selectorProblem);
  const loaded = load();
  const { config } = loaded;
  const listen = parseHostPort(config.http.listen);
  if (!isLoopback(listen.host) && !options.insecure && !asksForSignIn(config.auth)) {
    throw new UsageError(
      `${config.http.listen} can be reached from other machines, and nobody has to sign in: whoever reaches it can read and ` +
        'change everything. Give out tokens (auth: in the configuration file; docs/security.md), listen on 127.0.0.1, or say ' +
        '--insecure where the network is trusted.',
    );
  }
  const logLevel = config.log.level as LogLevel;
  const ownLog = createLogger({ level: logLevel });
  const log = parts.log ?? ownLog;
  if (options.strangers.length > 0)
    log.warn({ variables: options.strangers }, 'environment variables that mean nothing here');

  const metrics = new MetricsRegistry();
  const processMetrics = registerProcessMetrics(metrics, VERSION);
  stops.push(() => processMetrics.stop());

  const shards = config.storage.shards === 0 ? Math.min(64, availableParallelism()) : config.storage.shards;
  const dataDir = DataDir.open({ path: config.data_dir, shards, version: VERSION, now: () => clock.now() });
  stops.push(() => dataDir.close());
  if (dataDir.created) log.info({ path: dataDir.path, shards }, 'made a new data folder');
  if (dataDir.shards !== shards && config.storage.shards !== 0) {
    log.warn({ shards: dataDir.shards }, 'the data folder keeps the shard count it was made with');
  }
  const state = new SqliteStateStore(join(dataDir.folder('state'), 'state.sqlite'), () => clock.now());
  stops.push(() => state.close());
  const hasher = new IdentityHasher(dataDir.identitySecret);

  const reloader = new Reloader({ first: loaded, load, clock, log: log.child({ part: 'config' }), metrics });
  const replay = new ReplayProgress(dataDir.shards);
  const engine = new LateEngine(replay);
  const admissionMemory = new SharedArrayBuffer(ADMISSION_BYTES);
  const board = new AdmissionBoard(admissionMemory);
  const space = new SpaceWatch({
    dataDir: dataDir.path,
    full: () => board.full,
    settle: () => state.settle(),
    clock,
    log: log.child({ part: 'storage' }),
    metrics,
  });
  const memory = new MemoryWatch({
    board,
    limitBytes: config.limits.memory,
    clock,
    log: log.child({ part: 'memory' }),
    metrics,
  });
  const recorder = new CardinalityRecorder({
    state,
    explorer: engine.cardinality,
    clock,
    log: log.child({ part: 'cardinality' }),
  });
  memory.start();
  stops.push(() => memory.stop());
  space.start();
  stops.push(() => space.stop());
  const status = new ProcessStatus(reloader, engine, options.flags);
  const fetcher = new HttpScrapeFetcher(`Sightline/${VERSION}`);
  fetcher.register(metrics);
  stops.push(() => fetcher.close());
  const scraper = new ScrapeManager({
    store: engine.scrapes,
    clock,
    log: log.child({ part: 'scrape' }),
    metrics,
    tenant: DEFAULT_TENANT,
    fetcher,
    discovery: new DiscoveryManager({
      clock,
      log: log.child({ part: 'discovery' }),
      metrics,
      openHttp: (settings, baseDir) => new HttpClient(settings, { baseDir, userAgent: `Sightline/${VERSION}`, clock }),
    }),
  });
  const auth = new AuthPart({
    loaded,
    state,
    folder: dataDir.folder('state'),
    clock,
    log: log.child({ part: 'auth' }),
    metrics,
  });
  const tls = config.http.tls === undefined ? null : new TlsFiles(config.http.tls, clock, log.child({ part: 'tls' }));
  if (tls === null && !isLoopback(listen.host) && asksForSignIn(config.auth)) {
    log.warn('tokens and passwords travel unencrypted: set http.tls, or put a proxy that speaks TLS in front');
  }
  let otlpSettings = otlpSettingsText(loaded);
  const otlp = new OtlpGate({
    ingest: engine.ingest,
    metrics,
    settings: () => otlpSettings,
    inFlightBytesMax: OTLP_IN_FLIGHT_BYTES,
  });
  const remoteWriter = new RemoteWriter({
    dataDir: dataDir.path,
    shards: dataDir.shards,
    userAgent: `Sightline/${VERSION}`,
    clock,
    log: log.child({ part: 'remote-write' }),
    logLevel,
    metrics,
  });
  stops.push(() => remoteWriter.close());
  const push = new PushPart({
    config: config.push,
    configFile: options.config,
    ingest: engine.ingest,
    sink: engine.sink,
    state,
    hasher,
    clock,
    log: log.child({ part: 'push' }),
    metrics,
    insecure: options.insecure,
  });
  const ui = new UiStatic();
  if (ui.problem !== null) log.warn(ui.problem);
  let notReady = 'starting';
  stops.push(() => push.stop());
  await push.openDoors();
  const http = await HttpServer.listen({
    ...listen,
    prefix: pathPrefix(config.http.external_url),
    maxBodyBytes: config.http.max_body,
    log: log.child({ part: 'http' }),
    raw: [],
    tls: tls?.settings ?? null,
    trustedProxies: config.http.trusted_proxies,
    guard: auth.guard(),
    routes: [
      baseRoutes({ notReady: () => notReady, readOnly: () => space.problem, metrics, reloader }),
      remoteRoutes(() => remoteWriter.status()),
      uiRoutes(ui),
      auth.routes(),
      app =>
        registerSightlineQueryRoutes(app, {
          query: engine.query,
          mayAdminister: request => principalOf(request).rights.has('admin') && principalOf(request).tenants === '*',
        }),
      app => registerDiscoveryRoutes(app, { targets: scraper }),
      app =>
        registerCardinalityRoutes(app, {
          explorer: engine.cardinality,
          history: recorder,
          mayAdminister: request => principalOf(request).rights.has('admin') && principalOf(request).tenants === '*',
        }),
      app =>
        registerOpenApiRoute(app, VERSION, [
          QUERIES_OPENAPI,
          DISCOVERY_OPENAPI,
          CARDINALITY_OPENAPI,
          CONFIG_OPENAPI,
          AUTH_OPENAPI,
          REMOTE_OPENAPI,
        ]),
      app => registerOtlpRoutes(app, { gate: otlp, paths: MAIN_OTLP_PATHS, bodyBytesMax: config.otlp.max_body }),
      app =>
        registerPushRoutes(app, {
          ingest: engine.ingest,
          gateway: push.gateway,
          naming: () => push.naming(),
          bodyBytesMax: config.http.max_body,
          adminApiEnabled: config.http.admin_api,
          version: VERSION,
          onDropped: (protocol, reason) => push.drop(protocol, reason),
        }),
      app =>
        registerPrometheusRoutes(app, {
          query: engine.query,
          ingest: engine.ingest,
          status,
          targets: scraper,
          rules: null,
          admin: engine.tsdb,
          adminApiEnabled: config.http.admin_api,
          clock,
          writeBodyBytesMax: config.http.max_body,
          externalLabels: () => labelsFromMap(reloader.current.prometheus.global.externalLabels),
        }),
    ],
  });
  stops.push(() => tls?.stop());
  stops.push(() => http.close(config.http.shutdown_grace));
  const otlpDoors = new OtlpDoors({
    gate: otlp,
    log: log.child({ part: 'otlp' }),
    authenticator: auth.authenticator,
    guard: auth.guard(),
    tls: tls?.settings ?? null,
    openToAll: address => !options.insecure && !isLoopback(address) && !asksForSignIn(reloader.current.config.auth),
    graceMs: config.http.shutdown_grace,
  });
  stops.push(() => otlpDoors.close());
  tls?.watch(settings => {
    http.setTls(settings);
    void otlpDoors.setTls(settings);
  });
  await otlpDoors.apply(config.otlp);
  log.info({ url: http.url, data: dataDir.path }, 'listening; reading back what was stored');

  const opened = await parts.openEngine({
    dataDir: dataDir.path,
    shards: dataDir.shards,
    identitySecret: dataDir.identitySecret,
    hasher,
    storage: config.storage,
    query: config.query,
    limits: config.limits,
    admissionMemory,
    clock,
    log: log.child({ part: 'engine' }),
    logLevel,
    replay,
    metrics,
  });
  await remoteWriter.open(opened, loaded);
  engine.attach(opened);
  // Behind the sockets in the order of stopping: requests that run may still finish.
  stops.splice(stops.length - 2, 0, () => engine.close());

  const self = new SelfCollector({
    registry: metrics,
    sink: engine.sink,
    hasher,
    clock,
    log: log.child({ part: 'self' }),
    intervalMs: config.self.interval,
    instance: `${hostname()}:${http.port}`,
  });
  self.start();
  stops.push(() => self.stop());

  const host = new HostPart({ sink: engine.sink, hasher, clock, log: log.child({ part: 'host' }), metrics });
  // A reload may have come while the engine was opening.
  host.apply(reloader.current.config.host);
  stops.push(() => host.stop());

  scraper.apply(reloader.current.prometheus.scrapeConfigs);
  await push.start();
  // Again, in front of the engine: what the doors took must still find it.
  stops.push(() => push.stop());

  scraper.apply(loaded.prometheus.scrapeConfigs);
  stops.push(() => scraper.stop());

  const setLogLevel = (level: LogLevel): void => {
    ownLog.setLevel(level);
    engine.setLogLevel(level);
  };
  setLogLevel(reloader.current.config.log.level as LogLevel);
  reloader.onChange(next => {
    auth.apply(next);
    scraper.apply(next.prometheus.scrapeConfigs);
    host.apply(next.config.host);
    memory.setLimit(next.config.limits.memory);
    engine.setLimits(next.config.limits).catch(error => log.error({ error: errorText(error) }, 'limits not applied'));
    otlpSettings = otlpSettingsText(next);
    void otlpDoors.apply(next.config.otlp);
    push.apply(next.config.push);
    self.setInterval(next.config.self.interval);
    setLogLevel(next.config.log.level as LogLevel);
    remoteWriter.apply(next);
  });
  recorder.start();
  stops.push(() => recorder.stop());
  reloader.watch();
  stops.push(() => reloader.stop());
  stops.push(() => {
    notReady = 'shutting down';
  });
  notReady = '';
  return new SightlineServer({
    http,
    otlpDoors,
    dataDir: dataDir.path,
    startMs: performance.now() - began,
    reloader,
    state,
    stops,
  });
}

/** `https://example.org/a/b/` -> `/a/b` */
function pathPrefix(externalUrl: string): string {
  return externalUrl === '' ? '' : new URL(externalUrl).pathname.replace(/\/+$/, '');
}

function asksForSignIn(auth: Config['auth']): boolean {
  return auth.required || auth.tokens.length > 0 || auth.users.length > 0 || auth.certificates.length > 0;
}
