/**
 * How StatsD names become metrics: rules in the form of statsd_exporter's mapping file, and what holds where no rule does.
 *
 * A glob matches names part by part (`*` is one part between dots); globs are asked first, in their order, then regular expressions
 * (linear time). `$1` or `${1}` in name and labels stand for what the stars or groups matched. Results are remembered by name, so rules
 * cost a new name once.
 */
import { RE2JS } from 're2js';

export type ObserverType = 'summary' | 'histogram';

export interface ObserverOptions {
  type: ObserverType;
  /** Upper bounds of a histogram, ascending, without +Inf. */
  buckets: readonly number[];
  /** Ascending. */
  quantiles: readonly number[];
  /** Quantiles are those of so long. ms. */
  windowMs: number;
}

/** What becomes of a name; null: it is dropped. */
export interface Mapped {
  name: string;
  /** Flat [name, value, ...]: set by the rule, over the tags unless `honorTags`. */
  labels: readonly string[];
  honorTags: boolean;
  observer: ObserverOptions;
  /** Idle series go after so long; 0: never. ms. */
  ttlMs: number;
  scale: number;
  help: string;
}

export type MetricClass = 'counter' | 'gauge' | 'observer';

export interface MappingDefaults {
  observer: ObserverOptions;
  ttlMs: number;
}

interface Rule {
  /** Of a glob. */
  parts: readonly string[] | null;
  regex: RE2JS | null;
  metricClass: MetricClass | '';
  drop: boolean;
  name: string;
  labels: readonly string[];
  honorTags: boolean;
  observer: ObserverOptions;
  ttlMs: number;
  scale: number;
  help: string;
}

/** What is wrong with a mapping; `path` like `mappings[3].match`. */
export class MappingError extends Error {
  override name = 'MappingError';
}

const RULES_MAX = 10_000;
const REMEMBERED_MAX = 20_000;
const BUCKETS_MAX = 200;

export class Mapping {
  private readonly globs: Rule[] = [];
  private readonly regexes: Rule[] = [];
  private readonly defaults: MappingDefaults;
  private readonly remembered = new Map<string, Mapped | null>();

  /** `document` is the parsed YAML, or null for no rules. `parseDuration` gives ms. Throws MappingError. */
  constructor(document: unknown, defaults: MappingDefaults, parseDuration: (text: string) => number) {
    const root = mapIn(document ?? {}, 'the mapping');
    const reader = new RuleReader(parseDuration);
    const own = mapIn(root.defaults ?? {}, 'defaults');
    this.defaults = {
      observer: reader.observer(own, 'defaults', defaults.observer),
      ttlMs: own.ttl === undefined ? defaults.ttlMs : reader.duration(own.ttl, 'defaults.ttl'),
    };
    const matchType = own.match_type ?? 'glob';
    const list = root.mappings ?? [];
    if (!Array.isArray(list)) throw new MappingError('mappings: must be a list');
    if (list.length > RULES_MAX) throw new MappingError(`mappings: more than ${RULES_MAX} rules`);
    for (const [i, item] of list.entries()) {
      const rule = reader.rule(mapIn(item, `mappings[${i}]`), `mappings[${i}]`, this.defaults, matchType);
      (rule.parts === null ? this.regexes : this.globs).push(rule);
    }
  }

  map(name: string, metricClass: MetricClass): Mapped | null {
    const key = `${metricClass} ${name}`;
    const known = this.remembered.get(key);
    if (known !== undefined) return known;
    if (this.remembered.size >= REMEMBERED_MAX) this.remembered.clear();
    const mapped = this.apply(name, metricClass);
    this.remembered.set(key, mapped);
    return mapped;
  }

  private apply(name: string, metricClass: MetricClass): Mapped | null {
    const parts = name.split('.');
    for (const rule of this.globs) {
      if (rule.metricClass !== '' && rule.metricClass !== metricClass) continue;
      const captures = globCaptures(rule.parts as readonly string[], parts);
      if (captures !== null) return mapped(rule, text => expand(text, n => captures[Number(n) - 1] ?? ''));
    }
    for (const rule of this.regexes) {
      if (rule.metricClass !== '' && rule.metricClass !== metricClass) continue;
      const matcher = (rule.regex as RE2JS).matcher(name);
      if (!matcher.find()) continue;
      return mapped(rule, text => expand(text, n => groupOf(matcher, n)));
    }
    const { observer, ttlMs } = this.defaults;
    return { name: metricName(name), labels: [], honorTags: false, observer, ttlMs, scale: 1, help: '' };
  }
}

function mapped(rule: Rule, fill: (text: string) => string): Mapped | null {
  if (rule.drop) return null;
  const labels = rule.labels.map((text, i) => (i % 2 === 0 ? text : fill(text)));
  const { honorTags, observer, ttlMs, scale, help } = rule;
  return { name: metricName(fill(rule.name)), labels, honorTags, observer, ttlMs, scale, help };
}

function globCaptures(pattern: readonly string[], parts: readonly string[]): string[] | null {
  if (pattern.length !== parts.length) return null;
  const captures: string[] = [];
  for (let i = 0; i < parts.length; i++) {
    const want = pattern[i] as string;
    const part = parts[i] as string;
    if (want === '*') captures.push(part);
    else if (want !== part) return null;
  }
  return captures;
}

function expand(text: string, capture: (name: string) => string): string {
  return text.replace(
    /\$(?:\{([^}]*)\}|([A-Za-z0-9_]+))/g,
    (_all, braced: string | undefined, bare: string | undefined) => capture(braced ?? bare ?? ''),
  );
}

function groupOf(matcher: { group(n?: number | string): string | null }, name: string): string {
  try {
    return matcher.group(/^\d+$/.test(name) ? Number(name) : name) ?? '';
  } catch {
    // A group that the expression does not have.
    return '';
  }
}

/** `a.b-c` -> `a_b_c`; a digit in front gets an underscore before it. */
export function metricName(name: string): string {
  const plain = name.replace(/[^a-zA-Z0-9_:]/g, '_');
  return /^\d/.test(plain) ? `_${plain}` : plain;
}

export function labelName(name: string): string {
  return metricName(name).replaceAll(':', '_');
}

type YamlMap = Record<string, unknown>;

function mapIn(value: unknown, path: string): YamlMap {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new MappingError(`${path}: must be a map`);
  return value as YamlMap;
}

class RuleReader {
  private readonly parseDuration: (text: string) => number;

  constructor(parseDuration: (text: string) => number) {
    this.parseDuration = parseDuration;
  }

  rule(item: YamlMap, path: string, defaults: MappingDefaults, matchType: unknown): Rule {
    const match = textIn(item.match, `${path}.match`);
    const type = item.match_type ?? matchType;
    if (type !== 'glob' && type !== 'regex') throw new MappingError(`${path}.match_type: must be glob or regex`);
    const action = item.action ?? 'map';
    if (action !== 'map' && action !== 'drop') throw new MappingError(`${path}.action: must be map or drop`);
    const labels: string[] = [];
    for (const [name, value] of Object.entries(mapIn(item.labels ?? {}, `${path}.labels`))) {
      labels.push(labelName(name), textIn(value, `${path}.labels.${name}`));
    }
    const drop = action === 'drop';
    return {
      parts: type === 'glob' ? globParts(match, `${path}.match`) : null,
      regex: type === 'regex' ? regexOf(match, `${path}.match`) : null,
      metricClass: classOf(item.match_metric_type, `${path}.match_metric_type`),
      drop,
      name: drop ? '' : textIn(item.name, `${path}.name`),
      labels,
      honorTags: item.honor_labels === true,
      observer: this.observer(item, path, defaults.observer),
      ttlMs: item.ttl === undefined ? defaults.ttlMs : this.duration(item.ttl, `${path}.ttl`),
      scale: item.scale === undefined ? 1 : numberIn(item.scale, `${path}.scale`),
      help: item.help === undefined ? '' : textIn(item.help, `${path}.help`),
    };
  }

  observer(item: YamlMap, path: string, defaults: ObserverOptions): ObserverOptions {
    const type = item.observer_type ?? item.timer_type ?? defaults.type;
    if (type !== 'summary' && type !== 'histogram') {
      throw new MappingError(`${path}.observer_type: must be summary or histogram`);
    }
    const histogram = mapIn(item.histogram_options ?? {}, `${path}.histogram_options`);
    const summary = mapIn(item.summary_options ?? {}, `${path}.summary_options`);
    const buckets = histogram.buckets ?? item.buckets;
    const quantiles = summary.quantiles ?? item.quantiles;
    return {
      type,
      buckets: buckets === undefined ? defaults.buckets : ascending(buckets, `${path}.buckets`),
      quantiles: quantiles === undefined ? defaults.quantiles : quantilesIn(quantiles, `${path}.quantiles`),
      windowMs:
        summary.max_age === undefined
          ? defaults.windowMs
          : this.duration(summary.max_age, `${path}.summary_options.max_age`),
    };
  }

  duration(value: unknown, path: string): number {
    try {
      return this.parseDuration(String(value));
    } catch (error) {
      throw new MappingError(`${path}: must be a duration like 10m: ${(error as Error).message}`);
    }
  }
}

function globParts(match: string, path: string): string[] {
  if (match.includes('**') || /[^.]\*|\*[^.]/.test(match)) {
    throw new MappingError(`${path}: a star stands for a whole part between dots; use match_type: regex for less`);
  }
  return match.split('.');
}

function regexOf(match: string, path: string): RE2JS {
  try {
    return RE2JS.compile(match);
  } catch (error) {
    throw new MappingError(`${path}: ${(error as Error).message}`);
  }
}

function classOf(value: unknown, path: string): MetricClass | '' {
  if (value === undefined || value === '') return '';
  if (value === 'timer') return 'observer';
  if (value === 'counter' || value === 'gauge' || value === 'observer') return value;
  throw new MappingError(`${path}: must be counter, gauge, observer or timer`);
}

function ascending(value: unknown, path: string): number[] {
  if (!Array.isArray(value) || value.length > BUCKETS_MAX) {
    throw new MappingError(`${path}: must be a list of at most ${BUCKETS_MAX} numbers`);
  }
  const numbers = value.map((item, i) => numberIn(item, `${path}[${i}]`)).filter(n => n !== Number.POSITIVE_INFINITY);
  for (let i = 1; i < numbers.length; i++) {
    if ((numbers[i] as number) <= (numbers[i - 1] as number)) throw new MappingError(`${path}: must be ascending`);
  }
  return numbers;
}

/** `{quantile: 0.99, error: 0.001}`, whose error is ours in any case, or bare numbers. */
function quantilesIn(value: unknown, path: string): number[] {
  if (!Array.isArray(value)) throw new MappingError(`${path}: must be a list`);
  const bare = value.map((item, i) => (typeof item === 'object' ? mapIn(item, `${path}[${i}]`).quantile : item));
  const numbers = ascending(bare, path);
  if (numbers.some(q => q < 0 || q > 1)) throw new MappingError(`${path}: must be between 0 and 1`);
  return numbers;
}

function textIn(value: unknown, path: string): string {
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (typeof value !== 'string' || value === '') throw new MappingError(`${path}: must be a text`);
  return value;
}

function numberIn(value: unknown, path: string): number {
  if (typeof value !== 'number' || Number.isNaN(value)) throw new MappingError(`${path}: must be a number`);
  return value;
}
