/**
 * Loads a Prometheus configuration file, with the scrape config files it names: whatever Prometheus accepts loads, what it
 * refuses is refused with its reason, and what we do not act on is named.
 */
import { dirname, isAbsolute, join } from 'node:path';
import { expandGlob } from '../../lib/glob.ts';
import { ConfigError, YamlSource } from '../yaml-source.ts';
import { DecodeContext, int, list, no, resolve, str, struct, type UnsupportedKey, yes } from './decode.ts';
import { GLOBAL_DEFAULTS, type PrometheusConfig, type ScrapeConfig } from './model.ts';
import { toRemoteRead, toRemoteWrite } from './remote.ts';
import {
  type GlobalSection,
  globalSection,
  type ScrapeSection,
  scrapeSection,
  toGlobal,
  toScrapeConfig,
} from './scrape.ts';
import { alerting, otlp, remoteRead, remoteWrite, storage, tracing } from './sections.ts';

export type { PrometheusConfig, ScrapeConfig } from './model.ts';

export const EMPTY_PROMETHEUS: PrometheusConfig = Object.freeze({
  global: GLOBAL_DEFAULTS,
  scrapeConfigs: [],
  otlp: {},
  remoteWrite: [],
  remoteRead: [],
});

export interface LoadedPrometheus {
  config: PrometheusConfig;
  unsupported: UnsupportedKey[];
  /** Every file read, absolute where the first was. */
  files: string[];
}

const scrapeConfigs = list(scrapeSection, 'empty or null scrape config section');
const scrapeFile = struct('config.ScrapeConfigs', { scrape_configs: yes(scrapeConfigs) });

const root = struct('config.plain', {
  global: yes(globalSection),
  runtime: no(struct('config.plain', { gogc: yes(int) }, { lenient: true })),
  alerting: no(alerting),
  rule_files: no(list(str)),
  scrape_config_files: yes(list(str)),
  scrape_configs: yes(scrapeConfigs),
  storage: no(storage),
  tracing: no(tracing),
  remote_write: yes(list(remoteWrite, 'empty or null remote write config section')),
  remote_read: yes(list(remoteRead, 'empty or null remote read config section')),
  otlp: yes(otlp),
});

export function loadPrometheusFile(file: string): LoadedPrometheus {
  const source = YamlSource.read(file);
  const ctx = new DecodeContext(source);
  const value = root(ctx, resolve(ctx, source.doc?.contents ?? null), []) ?? {};
  const global = value.global ?? {};
  for (const pattern of value.rule_files ?? []) {
    if (!isPattern(pattern)) ctx.failAt(['rule_files'], `invalid rule file path ${JSON.stringify(pattern)}`);
  }
  for (const pattern of value.scrape_config_files ?? []) {
    if (!isPattern(pattern))
      ctx.failAt(['scrape_config_files'], `invalid scrape config file path ${JSON.stringify(pattern)}`);
  }
  checkNames(ctx, 'remote_write', 'remote write', value.remote_write ?? []);
  checkNames(ctx, 'remote_read', 'remote read', value.remote_read ?? []);
  const strategy = value.otlp?.translation_strategy ?? '';
  if (global.metric_name_validation_scheme === 'legacy' && /^No/.test(strategy)) {
    ctx.failAt(
      ['otlp', 'translation_strategy'],
      `OTLP translation strategy ${JSON.stringify(strategy)} is not allowed when UTF8 is disabled`,
    );
  }
  const jobs = new Jobs(global);
  jobs.add(ctx, value.scrape_configs ?? []);
  const files = [file];
  for (const pattern of value.scrape_config_files ?? []) {
    for (const path of isPattern(pattern)
      ? expandGlob(isAbsolute(pattern) ? pattern : join(dirname(file), pattern))
      : []) {
      files.push(path);
      jobs.addFile(ctx, path);
    }
  }
  if (ctx.problems.length > 0) throw new ConfigError(ctx.problems);
  const folder = dirname(file);
  const config: PrometheusConfig = {
    global: toGlobal(global),
    scrapeConfigs: jobs.configs,
    remoteWrite: (value.remote_write ?? []).map(section => toRemoteWrite(section, folder)),
    otlp: value.otlp ?? {},
    remoteRead: (value.remote_read ?? []).map(section => toRemoteRead(section, folder)),
  };
  return { config, unsupported: ctx.unsupported, files };
}

/** The `scrape_configs` of sightline.yaml, behind those of the Prometheus file. */
export function loadScrapeSection(source: YamlSource, before: PrometheusConfig): LoadedPrometheus {
  const ctx = new DecodeContext(source);
  const contents = source.doc?.contents as { get?: (key: string, keep: true) => unknown } | null;
  const node = resolve(ctx, contents?.get?.('scrape_configs', true) ?? null);
  const sections = scrapeConfigs(ctx, node, ['scrape_configs']) ?? [];
  const jobs = new Jobs({
    scrape_interval: before.global.scrapeIntervalMs,
    scrape_timeout: before.global.scrapeTimeoutMs,
  });
  for (const config of before.scrapeConfigs) jobs.reserve(config.jobName);
  jobs.add(ctx, sections);
  if (ctx.problems.length > 0) throw new ConfigError(ctx.problems);
  return {
    config: { ...before, scrapeConfigs: [...before.scrapeConfigs, ...jobs.configs] },
    unsupported: ctx.unsupported,
    files: [],
  };
}

/** Scrape configs of one or several files; job names are theirs alone. */
class Jobs {
  readonly configs: ScrapeConfig[] = [];
  private readonly names = new Set<string>();
  private readonly global: GlobalSection;

  constructor(global: GlobalSection) {
    this.global = global;
  }

  reserve(name: string): void {
    this.names.add(name);
  }

  add(ctx: DecodeContext, sections: readonly ScrapeSection[]): void {
    for (const [i, section] of sections.entries()) {
      const path = ['scrape_configs', i];
      const fail = (message: string, field?: string): void =>
        ctx.failAt(field === undefined ? path : [...path, field], message);
      const config = toScrapeConfig(section, this.global, dirname(ctx.source.file), fail);
      if (config.jobName !== '' && this.names.has(config.jobName)) {
        fail(`found multiple scrape configs with job name ${JSON.stringify(config.jobName)}`, 'job_name');
      }
      this.names.add(config.jobName);
      this.configs.push(config);
    }
  }

  addFile(ctx: DecodeContext, file: string): void {
    let source: YamlSource;
    try {
      source = YamlSource.read(file);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      ctx.problems.push(...error.problems);
      return;
    }
    const inner = new DecodeContext(source);
    const value = scrapeFile(inner, resolve(inner, source.doc?.contents ?? null), []);
    this.add(inner, value?.scrape_configs ?? []);
    ctx.problems.push(...inner.problems);
    ctx.unsupported.push(...inner.unsupported);
  }
}

/** Prometheus takes a glob only in the last part of a path. */
function isPattern(pattern: string): boolean {
  return /^[^*]*(\*[^/]*)?$/.test(pattern);
}

function checkNames(ctx: DecodeContext, field: string, what: string, sections: readonly { name?: string }[]): void {
  const seen = new Set<string>();
  for (const [i, { name }] of sections.entries()) {
    if (!name) continue;
    if (seen.has(name)) {
      ctx.failAt([field, i, 'name'], `found multiple ${what} configs with job name ${JSON.stringify(name)}`);
    }
    seen.add(name);
  }
}
