/**
 * The composition root: builds every part, starts them in order, stops them in the reverse.
 *
 * Start: configuration, data folder (lock, format), state, sockets (so that a taken port ends the start at once, and health is
 * answered during replay), engine, collectors. Stop: readiness off, collectors, sockets (running requests finish), engine
 * (everything acknowledged to disk), state, and last the folder's lock.
 */
import type { LoadedConfig } from '../config/load.ts';
import type { StateStore } from '../contracts/state-store.ts';
import type { SelfCollector } from '../ingest/self/self-collector.ts';
import type { Clock } from '../lib/clock.ts';
import { errorText, type Logger, type LogLevel } from '../lib/log.ts';
import { asksForSignIn, type Ground, layGround, type Stop } from './ground.ts';
import { HttpServer, isLoopback } from './http-server.ts';
import type { ServeOptions } from './options.ts';
import { OtlpDoors } from './otlp-doors.ts';
import { makeParts, type Parts } from './parts.ts';
import type { OpenEngine } from './ports.ts';
import type { Reloader } from './reloader.ts';
import { httpRoutes } from './routes.ts';
import { TlsFiles } from './tls-files.ts';

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

async function build(options: ServeOptions, given: ServerParts, stops: Stop[]): Promise<SightlineServer> {
  const began = performance.now();
  const ground = layGround(options, given, stops);
  const { reloader, dataDir, log } = ground;
  const parts = makeParts(ground);
  for (const part of [parts.memory, parts.space]) {
    part.start();
    stops.push(() => part.stop());
  }
  let notReady = 'starting';
  const doors = await openDoors(ground, parts, () => notReady);
  log.info({ url: doors.http.url, data: dataDir.path }, 'listening; reading back what was stored');
  await openEngine(ground, parts, given.openEngine);
  await startCollectors(ground, parts, doors);
  reloader.watch();
  stops.push(() => reloader.stop());
  stops.push(() => {
    notReady = 'shutting down';
  });
  notReady = '';
  return new SightlineServer({
    ...doors,
    dataDir: dataDir.path,
    startMs: performance.now() - began,
    reloader,
    state: ground.state,
    stops,
  });
}

interface Doors {
  http: HttpServer;
  otlpDoors: OtlpDoors;
}

/** Sockets. What they hand on before the engine is there is refused with "starting". */
async function openDoors(ground: Ground, parts: Parts, notReady: () => string): Promise<Doors> {
  const { options, clock, log, listen, reloader, stops } = ground;
  const { config } = ground.loaded;
  const { auth, push, engine } = parts;
  const tls = config.http.tls === undefined ? null : new TlsFiles(config.http.tls, clock, log.child({ part: 'tls' }));
  stops.push(() => tls?.stop());
  if (tls === null && !isLoopback(listen.host) && asksForSignIn(config.auth)) {
    log.warn('tokens and passwords travel unencrypted: set http.tls, or put a proxy that speaks TLS in front');
  }
  stops.push(() => push.stop());
  await push.openDoors();
  // Behind the sockets in the order of stopping: requests that run may still finish.
  stops.push(() => engine.close());
  const http = await HttpServer.listen({
    ...listen,
    prefix: pathPrefix(config.http.external_url),
    maxBodyBytes: config.http.max_body,
    log: log.child({ part: 'http' }),
    raw: [],
    tls: tls?.settings ?? null,
    trustedProxies: config.http.trusted_proxies,
    guard: auth.guard(),
    routes: httpRoutes(ground, parts, notReady),
  });
  stops.push(() => http.close(config.http.shutdown_grace));
  const otlpDoors = new OtlpDoors({
    gate: parts.otlp,
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
  return { http, otlpDoors };
}

/** Returns when everything acknowledged before is readable again. */
async function openEngine(ground: Ground, parts: Parts, open: OpenEngine): Promise<void> {
  const { dataDir, hasher, clock, log, logLevel, metrics, loaded } = ground;
  const { config } = loaded;
  const opened = await open({
    dataDir: dataDir.path,
    shards: dataDir.shards,
    identitySecret: dataDir.identitySecret,
    hasher,
    storage: config.storage,
    query: config.query,
    limits: config.limits,
    admissionMemory: parts.admissionMemory,
    clock,
    log: log.child({ part: 'engine' }),
    logLevel,
    replay: parts.replay,
    metrics,
  });
  try {
    await parts.remoteWriter.open(opened, loaded);
  } finally {
    // Also where it failed: stopping then closes the engine.
    parts.engine.attach(opened);
  }
}

/** What brings samples in by itself, and what a reload changes from now on. */
async function startCollectors(ground: Ground, parts: Parts, doors: Doors): Promise<void> {
  const { reloader, stops } = ground;
  const { host, push, recorder, scraper } = parts;
  const self = parts.selfCollector(doors.http.port);
  self.start();
  stops.push(() => self.stop());
  stops.push(() => host.stop());
  await push.start();
  // Again, in front of the engine: what the doors took must still find it.
  stops.push(() => push.stop());
  stops.push(() => scraper.stop());
  recorder.start();
  stops.push(() => recorder.stop());
  const apply = (next: LoadedConfig): void => applyConfig(ground, parts, doors, self, next);
  // A reload may have come while the engine was opening.
  apply(reloader.current);
  reloader.onChange(apply);
}

function applyConfig(ground: Ground, parts: Parts, doors: Doors, self: SelfCollector, next: LoadedConfig): void {
  const { config, prometheus } = next;
  const level = config.log.level as LogLevel;
  ground.setLogLevel(level);
  parts.engine.setLogLevel(level);
  parts.auth.apply(next);
  parts.scraper.apply(prometheus.scrapeConfigs);
  parts.host.apply(config.host);
  parts.memory.setLimit(config.limits.memory);
  parts.engine
    .setLimits(config.limits)
    .catch(error => ground.log.error({ error: errorText(error) }, 'limits not applied'));
  parts.applyOtlp(next);
  void doors.otlpDoors.apply(config.otlp);
  parts.push.apply(config.push);
  parts.remoteWriter.apply(next);
  self.setInterval(config.self.interval);
}

/** `https://example.org/a/b/` -> `/a/b` */
function pathPrefix(externalUrl: string): string {
  return externalUrl === '' ? '' : new URL(externalUrl).pathname.replace(/\/+$/, '');
}
