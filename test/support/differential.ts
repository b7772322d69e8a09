/** Asks our server and a real Prometheus the same random questions about the same random data, and compares the answers. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { Random } from './random.ts';
import { inSlices, randomMetrics } from './random-metrics.ts';
import { RandomPromql } from './random-promql.ts';
import { startPrometheus } from './real-prometheus.ts';
import { remoteWrite } from './remote-write.ts';
import { Sightline } from './sightline.ts';

export interface DifferentialOptions {
  seed: number;
  queries: number;
  /** Half of the questions are asked when our samples have left the head. */
  blocks: boolean;
}

/** The time of the data: 2023-11-14T22:13:20Z. Old data is downsampled by default: that is off here. */
const END_MS = 1_700_000_000_000;
const SPAN_MS = 2 * 3_600_000;
const CONFIG =
  'host: {enabled: false}\nself: {interval: 1h}\nstorage: {retention: {raw: 100y}, downsample: {1m: 0s, 1h: 0s}}\n';

export interface Reply {
  status: number;
  errorType?: string;
  error?: string;
  data?: { resultType: string; result: unknown };
}

interface Row {
  metric: Record<string, string>;
  value?: [number, string];
  values?: [number, string][];
  histogram?: [number, HistogramJson];
  histograms?: [number, HistogramJson][];
}

interface HistogramJson {
  count: string;
  sum: string;
  buckets?: [number, string, string, string][];
}

/** Differences that only the answers show, each with its reason. */
const KNOWN: readonly { reason: string; applies(query: string, want: Reply, got: Reply): boolean }[] = [
  {
    reason:
      'since 3.9 matching is checked before a comparison filters, so that an error does not come and go with the values',
    applies: (query, want, got) =>
      /[=<>]/.test(query) && want.status === 200 && /^multiple matches for labels/.test(got.error ?? ''),
  },
  {
    reason: 'the deviation of a single NaN or infinity is NaN since 3.0, no longer 0',
    applies: (query, want, got) =>
      /std(dev|var)/.test(query) && want.status === 200 && got.status === 200 && /"NaN"/.test(JSON.stringify(got.data)),
  },
];

export interface Outcome {
  /** Answers that differ for a known reason. */
  known: number;
  asked: number;
  /** Answers with at least one sample. */
  full: number;
  refused: number;
}

export async function compareWithPrometheus(t: TestContext, options: DifferentialOptions): Promise<Outcome> {
  const random = new Random(options.seed);
  const metrics = { startMs: END_MS - SPAN_MS, endMs: END_MS, stepMs: 15_000 };
  const series = randomMetrics(random, metrics);
  const theirs = await startPrometheus(t);
  const ours = await Sightline.start(t, { config: CONFIG, args: ['--admin-api', '--shards', '2'] });
  for (const slice of inSlices(series, metrics, 300_000)) {
    for (const url of [theirs.url, ours.url]) {
      const { status, body } = await remoteWrite(url, slice);
      assert.ok(status === 204 || status === 200, `${url}: ${status} ${body}`);
    }
  }
  const generator = new RandomPromql(random, metrics.startMs, metrics.endMs);
  const outcome = { known: 0, asked: 0, full: 0, refused: 0 };
  const wrong: string[] = [];
  for (let i = 0; i < options.queries; i++) {
    if (options.blocks && i === options.queries >> 1) await toBlocks(ours);
    const query = generator.next();
    const path = random.chance(0.5) ? instant(random, query) : range(random, query);
    const [want, got] = await Promise.all([ask(theirs.url, path), ask(ours.url, path)]);
    outcome.asked++;
    if (want.status !== 200) outcome.refused++;
    else if (((want.data?.result ?? []) as unknown[]).length > 0) outcome.full++;
    const difference = compare(want, got);
    if (difference === '') continue;
    if (KNOWN.some(k => k.applies(query, want, got))) outcome.known++;
    else wrong.push(`seed ${options.seed}, query ${i}: ${query}\n  ${path}\n  ${difference}`);
  }
  assert.equal(wrong.length, 0, `${wrong.length} of ${options.queries} differ:\n${wrong.slice(0, 15).join('\n')}`);
  return outcome;
}

async function toBlocks(server: Sightline): Promise<void> {
  const flush = await server.post('/api/v1/admin/tsdb/flush', '');
  if (flush.status === 204) return;
  const { status, body } = await server.post('/api/v1/admin/tsdb/snapshot', '');
  assert.equal(status, 200, body);
}

function instant(random: Random, query: string): string {
  const time = END_MS / 1000 - random.int(SPAN_MS / 1000) + 0.5;
  return `/api/v1/query?${new URLSearchParams({ query, time: String(time) })}`;
}

function range(random: Random, query: string): string {
  const step = random.pick([7, 15, 30, 60, 300]);
  const end = END_MS / 1000 - random.int(SPAN_MS / 2000) + 0.5;
  const start = end - random.between(0, 60) * step - random.int(5);
  return `/api/v1/query_range?${new URLSearchParams({ query, start: String(start), end: String(end), step: String(step) })}`;
}

async function ask(url: string, path: string): Promise<Reply> {
  const response = await fetch(url + path);
  return { ...((await response.json()) as Reply), status: response.status };
}

/** '' or what differs. */
export function compare(want: Reply, got: Reply): string {
  if (want.status !== got.status || want.errorType !== got.errorType) {
    const text = (r: Reply): string => `${r.status} ${r.errorType ?? ''} ${r.error ?? ''}`;
    return `theirs ${text(want)}, ours ${text(got)}`;
  }
  if (want.status !== 200) return '';
  const a = want.data as NonNullable<Reply['data']>;
  const b = got.data as NonNullable<Reply['data']>;
  if (a.resultType !== b.resultType) return `theirs is a ${a.resultType}, ours a ${b.resultType}`;
  if (a.resultType === 'scalar' || a.resultType === 'string') {
    return compareSamples([a.result as [number, string]], [b.result as [number, string]]);
  }
  const theirs = byLabels(a.result as Row[]);
  const ours = byLabels(b.result as Row[]);
  for (const key of theirs.keys()) if (!ours.has(key)) return `ours lacks ${key}`;
  for (const [key, row] of ours) {
    const other = theirs.get(key);
    if (other === undefined) return `ours alone has ${key}: ${JSON.stringify(row).slice(0, 200)}`;
    const difference =
      compareSamples(other.values ?? lone(other.value), row.values ?? lone(row.value)) ||
      compareHistograms(other.histograms ?? lone(other.histogram), row.histograms ?? lone(row.histogram));
    if (difference !== '') return `${key}: ${difference}`;
  }
  return '';
}

function lone<T>(value: T | undefined): T[] {
  return value === undefined ? [] : [value];
}

function byLabels(rows: readonly Row[]): Map<string, Row> {
  const key = (row: Row): string => JSON.stringify(Object.entries(row.metric).sort(([x], [y]) => (x < y ? -1 : 1)));
  return new Map(rows.map(row => [key(row), row]));
}

function compareSamples(want: readonly [number, string][], got: readonly [number, string][]): string {
  for (let i = 0; i < Math.max(want.length, got.length); i++) {
    const a = want[i];
    const b = got[i];
    if (a === undefined || b === undefined) return `theirs has ${want.length} points, ours ${got.length}`;
    if (a[0] !== b[0]) return `point ${i}: theirs at ${a[0]}, ours at ${b[0]}`;
    if (!near(a[1], b[1])) return `at ${a[0]}: theirs ${a[1]}, ours ${b[1]}`;
  }
  return '';
}

function compareHistograms(want: readonly [number, HistogramJson][], got: readonly [number, HistogramJson][]): string {
  for (let i = 0; i < Math.max(want.length, got.length); i++) {
    const a = want[i];
    const b = got[i];
    if (a === undefined || b === undefined) return `theirs has ${want.length} histograms, ours ${got.length}`;
    if (a[0] !== b[0]) return `histogram ${i}: theirs at ${a[0]}, ours at ${b[0]}`;
    const flat = (h: HistogramJson): string[] => [h.count, h.sum, ...(h.buckets ?? []).flat().map(String)];
    const [x, y] = [flat(a[1]), flat(b[1])];
    if (x.length !== y.length || !x.every((v, k) => near(v, y[k] as string))) {
      return `at ${a[0]}: theirs ${JSON.stringify(a[1])}, ours ${JSON.stringify(b[1])}`;
    }
  }
  return '';
}

/** 1e-9 of the larger, and of 1 for what is nothing but rounding around 0. */
export function near(a: string, b: string): boolean {
  if (a === b) return true;
  const [x, y] = [Number(a), Number(b)];
  if (!Number.isFinite(x) || !Number.isFinite(y)) return Object.is(x, y);
  return Math.abs(x - y) <= 1e-9 * Math.max(1, Math.abs(x), Math.abs(y));
}
