/**
 * Parts: everything the server is made of beside its ground and its doors, built and not yet started. The engine opens late
 * (replay takes its time), so parts hold a LateEngine, which says "starting" until then.
 */
import { hostname } from 'node:os';
import { OtlpGate } from '../api/otlp/gate.ts';
import type { LoadedConfig } from '../config/load.ts';
import { DiscoveryManager } from '../ingest/discovery/discovery-manager.ts';
import { HttpScrapeFetcher } from '../ingest/scrape/http-fetcher.ts';
import { ScrapeManager } from '../ingest/scrape/scrape-manager.ts';
import { SelfCollector } from '../ingest/self/self-collector.ts';
import { HttpClient } from '../lib/http-client/http-client.ts';
import { DEFAULT_TENANT } from '../model/tenant.ts';
import { ADMISSION_BYTES, AdmissionBoard } from '../pipeline/admission/board.ts';
import { CardinalityRecorder } from './admission-history.ts';
import { MemoryWatch } from './admission-memory.ts';
import { AuthPart } from './auth-part.ts';
import type { Ground } from './ground.ts';
import { HostPart } from './host-part.ts';
import { LateEngine } from './late-engine.ts';
import { otlpSettingsText } from './otlp-settings.ts';
import { PushPart } from './push-part.ts';
import { RemoteWriter } from './remote-writer.ts';
import { ReplayProgress } from './replay-progress.ts';
import { SpaceWatch } from './space-watch.ts';
import { ProcessStatus } from './status.ts';
import { UiStatic } from './ui-static.ts';
import { VERSION } from './version.ts';

/** Of OTLP bodies being worked on at once: above it senders are told to come back. */
const OTLP_IN_FLIGHT_BYTES = 128 * 1024 * 1024;

export type Parts = ReturnType<typeof makeParts>;

export function makeParts(ground: Ground) {
  const { options, clock, log, logLevel, metrics, dataDir, state, hasher, reloader, loaded, stops } = ground;
  const { config } = loaded;
  const userAgent = `Sightline/${VERSION}`;
  const replay = new ReplayProgress(dataDir.shards);
  const engine = new LateEngine(replay);
  const admissionMemory = new SharedArrayBuffer(ADMISSION_BYTES);
  const board = new AdmissionBoard(admissionMemory);
  const fetcher = new HttpScrapeFetcher(userAgent);
  fetcher.register(metrics);
  stops.push(() => fetcher.close());
  const remoteWriter = new RemoteWriter({
    dataDir: dataDir.path,
    shards: dataDir.shards,
    userAgent,
    clock,
    log: log.child({ part: 'remote-write' }),
    logLevel,
    metrics,
  });
  stops.push(() => remoteWriter.close());
  const ui = new UiStatic();
  if (ui.problem !== null) log.warn(ui.problem);
  let otlpSettings = otlpSettingsText(loaded);
  return {
    replay,
    engine,
    admissionMemory,
    remoteWriter,
    ui,
    status: new ProcessStatus(reloader, engine, options.flags),
    memory: new MemoryWatch({
      board,
      limitBytes: config.limits.memory,
      clock,
      log: log.child({ part: 'memory' }),
      metrics,
    }),
    space: new SpaceWatch({
      dataDir: dataDir.path,
      full: () => board.full,
      settle: () => state.settle(),
      clock,
      log: log.child({ part: 'storage' }),
      metrics,
    }),
    recorder: new CardinalityRecorder({
      state,
      explorer: engine.cardinality,
      clock,
      log: log.child({ part: 'cardinality' }),
    }),
    scraper: new ScrapeManager({
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
        openHttp: (settings, baseDir) => new HttpClient(settings, { baseDir, userAgent, clock }),
      }),
    }),
    auth: new AuthPart({
      loaded,
      state,
      folder: dataDir.folder('state'),
      clock,
      log: log.child({ part: 'auth' }),
      metrics,
    }),
    otlp: new OtlpGate({
      ingest: engine.ingest,
      metrics,
      settings: () => otlpSettings,
      inFlightBytesMax: OTLP_IN_FLIGHT_BYTES,
    }),
    applyOtlp: (next: LoadedConfig): void => {
      otlpSettings = otlpSettingsText(next);
    },
    push: new PushPart({
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
    }),
    host: new HostPart({ sink: engine.sink, hasher, clock, log: log.child({ part: 'host' }), metrics }),
    /** Own metrics; the port is known once the door is open. */
    selfCollector: (port: number) =>
      new SelfCollector({
        registry: metrics,
        sink: engine.sink,
        hasher,
        clock,
        log: log.child({ part: 'self' }),
        intervalMs: config.self.interval,
        instance: `${hostname()}:${port}`,
      }),
  };
}
