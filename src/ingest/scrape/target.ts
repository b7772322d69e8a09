/**
 * Targets: from a discovered group's labels to what is scraped, where and how often, through the job's relabel rules.
 *
 * The labels that steer a scrape (`__address__`, `__scheme__`, `__metrics_path__`, `__param_*`, `__scrape_interval__`,
 * `__scrape_timeout__`) may be changed by rules; all labels beginning with `__` are gone afterwards, and `instance` is the
 * address where no rule set it.
 */
import { createHash } from 'node:crypto';
import { formatDuration, parseDuration } from '../../lib/duration.ts';
import { type Labels, labelsFromMap, labelsKey } from '../../model/labels.ts';
import type { LabelMap, Relabel } from './relabel.ts';
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
  | { kind: 'dropped'; discovered: Labels }
  | { kind: 'failed'; discovered: Labels; reason: string };

/** The labels of one address of a group, before relabelling. */
export function discoveredLabels(job: ScrapeJob, address: string, groupLabels: ReadonlyMap<string, string>): LabelMap {
  const labels: LabelMap = new Map([
    ['job', job.jobName],
    ['__scrape_interval__', formatDuration(job.scrapeIntervalMs)],
    ['__scrape_timeout__', formatDuration(job.scrapeTimeoutMs)],
    ['__metrics_path__', job.metricsPath],
    ['__scheme__', job.scheme],
  ]);
  for (const [name, values] of job.params) if (values[0] !== undefined) labels.set(`__param_${name}`, values[0]);
  for (const [name, value] of groupLabels) labels.set(name, value);
  labels.set('__address__', address);
  return labels;
}

export function buildTarget(job: ScrapeJob, relabel: Relabel, labels: LabelMap): TargetResult {
  const discovered = labelsFromMap(labels);
  const map = new Map(labels);
  if (!relabel(map)) return { kind: 'dropped', discovered };
  const address = map.get('__address__') ?? '';
  if (address === '') return { kind: 'failed', discovered, reason: 'no address' };
  if (address.includes('/'))
    return { kind: 'failed', discovered, reason: `${JSON.stringify(address)} is not a valid hostname` };
  let intervalMs: number;
  let timeoutMs: number;
  try {
    intervalMs = parseDuration(map.get('__scrape_interval__') ?? '');
    timeoutMs = parseDuration(map.get('__scrape_timeout__') ?? '');
  } catch (error) {
    return { kind: 'failed', discovered, reason: `scrape interval or timeout: ${(error as Error).message}` };
  }
  if (intervalMs === 0 || timeoutMs === 0)
    return { kind: 'failed', discovered, reason: 'scrape interval and timeout cannot be 0' };
  if (timeoutMs > intervalMs) {
    return {
      kind: 'failed',
      discovered,
      reason: `scrape timeout cannot be greater than scrape interval (${timeoutMs} ms > ${intervalMs} ms)`,
    };
  }
  const url = urlOf(job, map, address);
  if (url === null)
    return { kind: 'failed', discovered, reason: `no URL can be made of address ${JSON.stringify(address)}` };
  if (!map.has('instance')) map.set('instance', address);
  for (const name of [...map.keys()]) if (name.startsWith('__')) map.delete(name);
  const public_ = labelsFromMap(map);
  const key = `${labelsKey(public_)} ${url}`;
  const phase = createHash('sha256').update(key).digest().readUIntBE(0, 6) / 2 ** 48;
  return { kind: 'target', target: { key, discovered, labels: public_, url, intervalMs, timeoutMs, phase } };
}

function urlOf(job: ScrapeJob, labels: LabelMap, address: string): string | null {
  const scheme = labels.get('__scheme__') ?? 'http';
  const path = labels.get('__metrics_path__') ?? '/metrics';
  const base = `${scheme}://${address}`;
  if (!/^https?$/.test(scheme) || !URL.canParse(base)) return null;
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
