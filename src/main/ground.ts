/**
 * Ground: what every part stands on: the configuration, log, metrics, the data folder with its lock, state, the reloader.
 * Laid first, taken away last.
 */
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { type LoadedConfig, loadConfig } from '../config/load.ts';
import { type Config, parseHostPort } from '../config/schema.ts';
import { type Clock, systemClock } from '../lib/clock.ts';
import { IdentityHasher } from '../lib/identity-hash.ts';
import { createLogger, type Logger, type LogLevel } from '../lib/log.ts';
import { MetricsRegistry } from '../lib/metrics.ts';
import { DataDir } from '../storage/data-dir.ts';
import { SqliteStateStore } from '../storage/state/sqlite-state-store.ts';
import { isLoopback } from './http-server.ts';
import { type ServeOptions, UsageError } from './options.ts';
import { registerProcessMetrics } from './process-metrics.ts';
import { Reloader } from './reloader.ts';
import { selectorProblem } from './storage-rules.ts';
import { VERSION } from './version.ts';

export type Stop = () => void | Promise<void>;

export interface Ground {
  options: ServeOptions;
  clock: Clock;
  /** As of the start; `reloader.current` is what holds now. */
  loaded: LoadedConfig;
  listen: { host: string; port: number };
  log: Logger;
  logLevel: LogLevel;
  setLogLevel: (level: LogLevel) => void;
  metrics: MetricsRegistry;
  dataDir: DataDir;
  state: SqliteStateStore;
  hasher: IdentityHasher;
  reloader: Reloader;
  /** Run in reverse. */
  stops: Stop[];
}

/** Throws ConfigError, UsageError, DataDirError with messages for people. */
export function layGround(options: ServeOptions, given: { clock?: Clock; log?: Logger }, stops: Stop[]): Ground {
  const clock = given.clock ?? systemClock;
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
  const log = given.log ?? ownLog;
  if (options.strangers.length > 0)
    log.warn({ variables: options.strangers }, 'environment variables that mean nothing here');

  const metrics = new MetricsRegistry();
  const processMetrics = registerProcessMetrics(metrics, VERSION);
  stops.push(() => processMetrics.stop());
  const dataDir = openFolder(config, clock, log);
  stops.push(() => dataDir.close());
  const state = new SqliteStateStore(join(dataDir.folder('state'), 'state.sqlite'), () => clock.now());
  stops.push(() => state.close());
  return {
    options,
    clock,
    loaded,
    listen,
    log,
    logLevel,
    setLogLevel: level => ownLog.setLevel(level),
    metrics,
    dataDir,
    state,
    hasher: new IdentityHasher(dataDir.identitySecret),
    reloader: new Reloader({ first: loaded, load, clock, log: log.child({ part: 'config' }), metrics }),
    stops,
  };
}

function openFolder(config: Config, clock: Clock, log: Logger): DataDir {
  const shards = config.storage.shards === 0 ? Math.min(64, availableParallelism()) : config.storage.shards;
  const dataDir = DataDir.open({ path: config.data_dir, shards, version: VERSION, now: () => clock.now() });
  if (dataDir.created) log.info({ path: dataDir.path, shards }, 'made a new data folder');
  if (dataDir.shards !== shards && config.storage.shards !== 0) {
    log.warn({ shards: dataDir.shards }, 'the data folder keeps the shard count it was made with');
  }
  return dataDir;
}

/** Whether anyone who comes from elsewhere has to say who they are. */
export function asksForSignIn(auth: Config['auth']): boolean {
  return auth.required || auth.tokens.length > 0 || auth.users.length > 0 || auth.certificates.length > 0;
}
