/**
 * Reloader: holds the running configuration and replaces it when its files change, on SIGHUP and on request.
 *
 * A file that cannot be used changes nothing: the old configuration keeps running, and the failure stands in the log, in
 * sightline_config_last_reload_successful and in the API until a good one comes. Changes are seen through fs.watch on the
 * folders (editors replace files, Kubernetes swaps symlinks: the file itself is the wrong thing to watch) and by polling,
 * for file systems that tell nothing; either way only a different content reloads.
 */
import { createHash } from 'node:crypto';
import { type FSWatcher, readFileSync, watch } from 'node:fs';
import { dirname } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { LoadedConfig } from '../config/load.ts';
import type { UnsupportedKey } from '../config/prometheus/decode.ts';
import { type Config, RELOADABLE } from '../config/schema.ts';
import { ConfigError, type ConfigProblem } from '../config/yaml-source.ts';
import type { Clock, Timer } from '../lib/clock.ts';
import { errorText, type Logger } from '../lib/log.ts';
import type { Family, Gauge, MetricsRegistry } from '../lib/metrics.ts';

const POLL_MS = 5000;
/** Editors write in several steps. */
const SETTLE_MS = 200;

export interface ConfigStatus {
  files: string[];
  /** ms since the epoch. */
  loadedAtMs: number;
  lastReload: { success: boolean; timeMs: number; problems: ConfigProblem[] };
  unsupported: UnsupportedKey[];
  /** Changed in the file, in effect after a restart. */
  needsRestart: string[];
}

export type ReloadResult = { ok: true } | { ok: false; problems: readonly ConfigProblem[] };

export class Reloader {
  current: LoadedConfig;
  private readonly started: LoadedConfig;
  private readonly load: () => LoadedConfig;
  private readonly clock: Clock;
  private readonly log: Logger;
  private readonly listeners: ((next: LoadedConfig) => void)[] = [];
  private readonly unsupportedGauge: Family<Gauge>;
  private loadedAtMs: number;
  private last: ConfigStatus['lastReload'];
  private fingerprint: string;
  private watchers: FSWatcher[] = [];
  private watchedFolders = '';
  private timer: Timer | null = null;
  private settling: Timer | null = null;

  /** `first` is running already; `load` reads the files again. */
  constructor(options: {
    first: LoadedConfig;
    load: () => LoadedConfig;
    clock: Clock;
    log: Logger;
    metrics: MetricsRegistry;
  }) {
    this.current = options.first;
    this.started = options.first;
    this.load = options.load;
    this.clock = options.clock;
    this.log = options.log;
    this.loadedAtMs = options.clock.now();
    this.last = { success: true, timeMs: this.loadedAtMs, problems: [] };
    this.fingerprint = fingerprint(this.current.files);
    this.unsupportedGauge = this.registerMetrics(options.metrics);
    this.nameUnsupported();
  }

  /** Called after each successful reload; must not throw. */
  onChange(listener: (next: LoadedConfig) => void): void {
    this.listeners.push(listener);
  }

  watch(): void {
    this.watchFolders();
    const poll = (): void => {
      this.reloadIfChanged();
      this.timer = this.clock.after(POLL_MS, poll);
    };
    this.timer = this.clock.after(POLL_MS, poll);
  }

  stop(): void {
    this.timer?.cancel();
    this.settling?.cancel();
    for (const watcher of this.watchers) watcher.close();
    this.watchers = [];
  }

  reload(reason: string): ReloadResult {
    this.fingerprint = fingerprint(this.current.files);
    try {
      const next = this.load();
      this.current = next;
      this.loadedAtMs = this.clock.now();
      this.last = { success: true, timeMs: this.loadedAtMs, problems: [] };
      this.fingerprint = fingerprint(next.files);
    } catch (error) {
      const problems =
        error instanceof ConfigError
          ? error.problems
          : [{ file: '', line: 0, column: 0, path: '', message: errorText(error) }];
      this.last = { success: false, timeMs: this.clock.now(), problems: [...problems] };
      this.log.error(
        { reason, error: errorText(error) },
        'the new configuration cannot be used; the old one keeps running',
      );
      return { ok: false, problems };
    }
    for (const listener of this.listeners) {
      try {
        listener(this.current);
      } catch (error) {
        this.log.error({ error: errorText(error) }, 'BUG: a part could not take the new configuration');
      }
    }
    this.log.info({ reason, files: this.current.files }, 'configuration reloaded');
    this.nameUnsupported();
    const later = this.needsRestart();
    if (later.length > 0) this.log.warn({ keys: later }, 'changed, in effect after a restart');
    if (this.timer !== null) this.watchFolders();
    return { ok: true };
  }

  status(): ConfigStatus {
    return {
      files: this.current.files,
      loadedAtMs: this.loadedAtMs,
      lastReload: this.last,
      unsupported: this.current.unsupported,
      needsRestart: this.needsRestart(),
    };
  }

  /** Keys of sections that only a restart applies and that differ from those the process started with. */
  private needsRestart(): string[] {
    const keys = Object.keys(this.current.config) as (keyof Config)[];
    return keys
      .filter(key => !RELOADABLE.includes(key))
      .filter(key => !isDeepStrictEqual(this.current.config[key], this.started.config[key]));
  }

  private reloadIfChanged(): void {
    if (fingerprint(this.current.files) !== this.fingerprint) this.reload('a file changed');
  }

  private watchFolders(): void {
    const folders = [...new Set(this.current.files.map(file => dirname(file)))];
    if (folders.join('\0') === this.watchedFolders) return;
    this.watchedFolders = folders.join('\0');
    for (const watcher of this.watchers) watcher.close();
    this.watchers = [];
    for (const folder of folders) {
      try {
        const watcher = watch(folder, { persistent: false }, () => this.settle());
        // A folder that goes away is left to the poll.
        watcher.on('error', () => watcher.close());
        this.watchers.push(watcher);
      } catch (error) {
        this.log.debug({ folder, error: errorText(error) }, 'cannot watch a folder; it is polled');
      }
    }
  }

  private settle(): void {
    this.settling?.cancel();
    this.settling = this.clock.after(SETTLE_MS, () => this.reloadIfChanged());
  }

  private nameUnsupported(): void {
    const all = this.current.unsupported;
    this.unsupportedGauge.clear();
    for (const { file, key } of all) this.unsupportedGauge.labels(file, key).add(1);
    if (all.length === 0) return;
    const keys = [...new Set(all.map(item => item.key))];
    const places = all.slice(0, 20).map(item => `${item.file}:${item.line} ${item.key}`);
    this.log.warn({ keys, places }, 'parts of the configuration are valid but have no effect in this version');
  }

  private registerMetrics(metrics: MetricsRegistry): Family<Gauge> {
    const success = metrics.gauge(
      'sightline_config_last_reload_successful',
      'Whether the last reload was taken (1) or refused (0).',
    );
    const time = metrics.gauge(
      'sightline_config_last_reload_success_timestamp_seconds',
      'When the running configuration was loaded, seconds since the epoch.',
    );
    const unsupported = metrics.gauge(
      'sightline_config_unsupported',
      'Settings of a Prometheus file that are valid but have no effect here; the value is how often they occur.',
      ['file', 'key'],
    );
    metrics.onCollect(() => {
      success.set(this.last.success ? 1 : 0);
      time.set(this.loadedAtMs / 1000);
    });
    return unsupported;
  }
}

/** Changes when a file's content does; a missing file counts as one content. */
function fingerprint(files: readonly string[]): string {
  const hash = createHash('sha256');
  for (const file of files) {
    try {
      hash.update(readFileSync(file)).update('\0');
    } catch {
      hash.update('missing\0');
    }
  }
  return hash.digest('hex');
}
