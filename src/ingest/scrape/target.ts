/**
 * Targets: from a discovered group's labels to what is scraped, where and how often, through the job's relabel rules.
 *
 * The labels that steer a scrape (`__address__`, `__scheme__`, `__metrics_path__`, `__param_*`, `__scrape_interval__`,
 * `__scrape_timeout__`) may be changed by rules; all labels beginning with `__` are gone afterwards, and `instance` is the
 * address where no rule set it.
 */
import { createHash } from 'node:crypto';
import type { RelabelRule } from '../../contracts/scrape-store.ts';
import { formatDuration, parseDuration } from '../../lib/duration.ts';
import { type Labels, labelsFromMap, labelsKey } from '../../model/labels.ts';
import type { TargetGroup } from '../discovery/target-group.ts';
import { compileRelabel, type LabelMap, type Relabel } from './relabel.ts';
import type { ScrapeJob } from './scrape-job.ts';

export interface Target {
  /** Equal for equal targets: labels and URL. */
  key: string;
  discovered: Labels;
  /** What its series carry, `job` and `instance` among them. */
  labels: Labels;
  url: string;
  intervalMs: number;
  timeoutMs: number;
  /** 0 ... 1: where in the interval it is scraped. */
  phase: number;
}

export type TargetResult =
  | { kind: 'target'; target: Target }
  | {
      kind: 'dropped';
      discovered: Labels;
      reason: string;
      /** Place of the rule that dropped it in `relabel_configs`, from 0; null where none did. */
      rule: number | null;
    };

/** Makes targets of a job's discovered ones; rules are compiled once. */
export class TargetMaker {
  private readonly job: ScrapeJob;
  private readonly rules: readonly { rule: RelabelRule; apply: Relabel }[];

  constructor(job: ScrapeJob) {
    this.job = job;
    // One by one, to know which of them dropped a target.
    this.rules = job.relabelConfigs.map(rule => ({
      rule,
      apply: compileRelabel([rule], job.nameValidation === 'legacy'),
    }));
  }

  make(group: TargetGroup, own: ReadonlyMap<string, string>): TargetResult {
    const labels = discoveredLabels(this.job, group.labels, own);
    const discovered = labelsFromMap(labels);
    for (const [index, { rule, apply }] of this.rules.entries()) {
      if (!apply(labels)) return { kind: 'dropped', discovered, reason: describeRule(rule, index), rule: index };
    }
    try {
      return { kind: 'target', target: targetOf(this.job, labels, discovered) };
    } catch (error) {
      return { kind: 'dropped', discovered, reason: (error as Error).message, rule: null };
    }
  }
}

function describeRule({ action, sourceLabels, targetLabel, regex }: RelabelRule, index: number): string {
  const source = sourceLabels.length === 0 ? '' : ` of [${sourceLabels.join(', ')}]`;
  const what = action.endsWith('equal') ? `target_label ${targetLabel}` : `regex ${JSON.stringify(regex)}`;
  return `relabel_configs[${index}]: ${action}${source} by ${what}`;
}

/** The labels of one target of a group, before relabelling; its own win over the group's, both over the job's. */
function discoveredLabels(
  job: ScrapeJob,
  groupLabels: ReadonlyMap<string, string>,
  own: ReadonlyMap<string, string>,
): LabelMap {
  const labels: LabelMap = new Map([...groupLabels, ...own]);
  const preset = (name: string, value: string): void => {
    if ((labels.get(name) ?? '') === '') labels.set(name, value);
  };
  preset('job', job.jobName);
  preset('__scrape_interval__', formatDuration(job.scrapeIntervalMs));
  preset('__scrape_timeout__', formatDuration(job.scrapeTimeoutMs));
  preset('__metrics_path__', job.metricsPath);
  preset('__scheme__', job.scheme);
  for (const [name, values] of job.params) if (values[0] !== undefined) preset(`__param_${name}`, values[0]);
  return labels;
}

/** Throws where it cannot be scraped. */
function targetOf(job: ScrapeJob, map: LabelMap, discovered: Labels): Target {
  const address = map.get('__address__') ?? '';
  if (address === '') throw new Error('no address');
  if (address.includes('/')) throw new Error(`${JSON.stringify(address)} is not a valid hostname`);
  const { intervalMs, timeoutMs } = timesOf(map);
  const url = urlOf(job, map, address);
  if (!map.has('instance')) map.set('instance', address);
  for (const name of [...map.keys()]) if (name.startsWith('__')) map.delete(name);
  const labels = labelsFromMap(map);
  for (const label of labels) if (!label.isWellFormed()) throw new Error('a label is no valid UTF-8');
  const key = `${labelsKey(labels)} ${url}`;
  const phase = createHash('sha256').update(key).digest().readUIntBE(0, 6) / 2 ** 48;
  return { key, discovered, labels, url, intervalMs, timeoutMs, phase };
}

function timesOf(map: LabelMap): { intervalMs: number; timeoutMs: number } {
  let intervalMs: number;
  let timeoutMs: number;
  try {
    intervalMs = parseDuration(map.get('__scrape_interval__') ?? '');
    timeoutMs = parseDuration(map.get('__scrape_timeout__') ?? '');
  } catch (error) {
    throw new Error(`scrape interval or timeout: ${(error as Error).message}`);
  }
  if (intervalMs === 0 || timeoutMs === 0) throw new Error('scrape interval and timeout cannot be 0');
  if (timeoutMs > intervalMs) {
    throw new Error(`scrape timeout cannot be greater than scrape interval (${timeoutMs} ms > ${intervalMs} ms)`);
  }
  return { intervalMs, timeoutMs };
}

function urlOf(job: ScrapeJob, labels: LabelMap, address: string): string {
  const scheme = labels.get('__scheme__') ?? 'http';
  const path = labels.get('__metrics_path__') ?? '/metrics';
  const base = `${scheme}://${address}`;
  if (!/^https?$/.test(scheme) || !URL.canParse(base)) {
    throw new Error(`no URL can be made of address ${JSON.stringify(address)}`);
  }
  const query = new URLSearchParams();
  for (const [name, values] of job.params) for (const value of values.slice(1)) query.append(name, value);
  const first: [string, string][] = [];
  for (const [name, value] of labels)
    if (name.startsWith('__param_')) first.push([name.slice('__param_'.length), value]);
  // A rule may have changed the first value of a parameter; the others follow it.
  const all = new URLSearchParams([...first, ...query]);
  all.sort();
  const text = all.toString();
  return `${base}${path.startsWith('/') ? '' : '/'}${path}${text === '' ? '' : `?${text}`}`;
}
