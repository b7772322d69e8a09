/**
 * Loads the configuration: sightline.yaml (or none), the Prometheus file it names, and flags on top.
 *
 * The result names every file that was read, so that a watcher knows what to watch. Relative paths in a file are relative to
 * that file's folder; `data_dir` and paths given as flags are relative to the working folder.
 */
import { dirname, resolve } from 'node:path';
import type { core } from 'zod';
import type { UnsupportedKey } from './prometheus/decode.ts';
import { EMPTY_PROMETHEUS, loadPrometheusFile, loadScrapeSection, type PrometheusConfig } from './prometheus/load.ts';
import { type Config, configSchema } from './schema.ts';
import { suggestion } from './suggest.ts';
import { ConfigError, type ConfigProblem, type Path, YamlSource } from './yaml-source.ts';

export interface LoadedConfig {
  config: Config;
  /** From `prometheus.file` and the inline `scrape_configs`, joined. */
  prometheus: PrometheusConfig;
  unsupported: UnsupportedKey[];
  /** Absolute; what to watch. */
  files: string[];
  /** The main file as it stands, for the status page; '' where there is none. Not masked. */
  text: string;
}

/** Values from flags and the environment, by path: `http.listen`. They win over the file. */
export type Overrides = Readonly<Record<string, string | number | boolean>>;

/** What is wrong with a series selector, '' where nothing is. PromQL's parser is not for this folder to know. */
export type SelectorCheck = (selector: string) => string;

/** `file` '' = no file: defaults and overrides. Throws ConfigError. */
export function loadConfig(
  file: string,
  overrides: Overrides = {},
  selectorProblem: SelectorCheck = () => '',
): LoadedConfig {
  const source = file === '' ? YamlSource.parse('(defaults)', '') : YamlSource.read(resolve(file));
  const value = (source.value() ?? {}) as Record<string, unknown>;
  if (typeof value !== 'object' || Array.isArray(value)) {
    throw new ConfigError([source.problem([], 'must be a map of sections')]);
  }
  for (const [path, override] of Object.entries(overrides)) assign(value, path.split('.'), override);
  // A section that is there but empty means its defaults.
  for (const key of Object.keys(value)) if (value[key] === null) delete value[key];
  const parsed = configSchema.safeParse(value);
  if (!parsed.success) {
    const problems = parsed.error.issues.flatMap(issue => problemsOf(source, issue, overrides));
    throw new ConfigError(problems.sort((a, b) => a.line - b.line || a.column - b.column));
  }
  const badRules = parsed.data.storage.rules.flatMap(({ selector }, i) => {
    const problem = selectorProblem(selector);
    return problem === '' ? [] : [source.problem(['storage', 'rules', i, 'selector'], problem)];
  });
  if (badRules.length > 0) throw new ConfigError(badRules);
  const files = file === '' ? [] : [resolve(file)];
  const main = loadPrometheus(parsed.data, source, files);
  return { config: parsed.data, ...main, files, text: source.text };
}

function loadPrometheus(
  config: Config,
  source: YamlSource,
  files: string[],
): { prometheus: PrometheusConfig; unsupported: UnsupportedKey[] } {
  const unsupported: UnsupportedKey[] = [];
  let prometheus = EMPTY_PROMETHEUS;
  if (config.prometheus !== undefined) {
    const loaded = loadPrometheusFile(resolve(dirname(source.file), config.prometheus.file));
    prometheus = loaded.config;
    unsupported.push(...loaded.unsupported);
    files.push(...loaded.files);
  }
  if (config.scrape_configs !== undefined) {
    const loaded = loadScrapeSection(source, prometheus);
    prometheus = loaded.config;
    unsupported.push(...loaded.unsupported);
  }
  return { prometheus, unsupported };
}

function assign(target: Record<string, unknown>, path: readonly string[], value: unknown): void {
  let at = target;
  for (const key of path.slice(0, -1)) {
    if (typeof at[key] !== 'object' || at[key] === null) at[key] = {};
    at = at[key] as Record<string, unknown>;
  }
  at[path.at(-1) as string] = value;
}

function problemsOf(source: YamlSource, issue: core.$ZodIssue, overrides: Overrides): ConfigProblem[] {
  const path = issue.path as Path;
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map(key => source.problem([...path, key], unknownKey(path, key)));
  }
  const flag = Object.hasOwn(overrides, path.join('.'));
  return [
    flag
      ? { file: 'flag or environment', line: 0, column: 0, path: path.join('.'), message: issue.message }
      : source.problem(path, issue.message),
  ];
}

/** Sections that only a Prometheus file has. */
const PROMETHEUS_SECTIONS = ['global', 'alerting', 'rule_files', 'scrape_config_files', 'remote_write', 'remote_read'];

function unknownKey(path: Path, key: string): string {
  if (path.length === 0 && PROMETHEUS_SECTIONS.includes(key)) {
    return 'unknown key: this is a section of a Prometheus file; name that file here as "prometheus: {file: prometheus.yml}"';
  }
  return `unknown key${suggestion(key, knownKeys(path))}`;
}

/** Keys of the schema's section at `path`. */
function knownKeys(path: Path): string[] {
  let at: unknown = configSchema;
  for (const key of path) {
    const schema = unwrap(at);
    at = typeof key === 'number' ? schema?.element : schema?.shape?.[key];
  }
  return Object.keys(unwrap(at)?.shape ?? {});
}

interface SchemaPart {
  /** Of a map. */
  shape?: Record<string, unknown>;
  /** Of a list. */
  element?: unknown;
  def?: { innerType?: unknown };
}

function unwrap(schema: unknown): SchemaPart | undefined {
  let at = schema as SchemaPart | undefined;
  while (at !== undefined && at.shape === undefined && at.element === undefined) at = at.def?.innerType as typeof at;
  return at;
}
