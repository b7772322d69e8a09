/** What the golden data folder holds, and what is asked of it. Written by tools/make-golden.ts, read by test/golden. */
import { createHash } from 'node:crypto';
import type { FloatHistogram } from '../../src/model/histogram.ts';
import { readContents } from './read-all.ts';
import type { WriteMetadata, WriteSeries } from './remote-write.ts';

/** 2023-11-14T20:00:00Z, a whole window of blocks. */
export const GOLDEN_BASE_MS = 1_699_992_000_000;

/** Old samples neither expire nor are downsampled: what was written is what is read. */
export const GOLDEN_CONFIG =
  'host: {enabled: false}\nself: {interval: 1h}\nlog: {level: warn}\nstorage: {retention: {raw: 100y}, downsample: {1m: 0s, 1h: 0s}}\n';

const STEP_MS = 15_000;
const SAMPLES = 720;
const REQUESTS = 12;

interface Write {
  tenant: string;
  series: WriteSeries[];
  metadata: WriteMetadata[];
}

/** Three hours in requests of a quarter of an hour each, two tenants. */
export function goldenWrites(): Write[] {
  const out: Write[] = [];
  const per = SAMPLES / REQUESTS;
  for (let r = 0; r < REQUESTS; r++) {
    for (const tenant of ['default', 'acme']) {
      const times = Array.from({ length: per }, (_, k) => GOLDEN_BASE_MS + (r * per + k) * STEP_MS);
      out.push({ tenant, series: seriesAt(times, r), metadata: r === 0 ? METADATA : [] });
    }
  }
  return out;
}

const METADATA: WriteMetadata[] = [
  { type: 1, metric: 'counter_total', help: 'Counts.', unit: '' },
  { type: 2, metric: 'gauge', help: 'Goes up and down: "ä\\n".', unit: 'seconds' },
];

function seriesAt(times: readonly number[], request: number): WriteSeries[] {
  const first = times[0] as number;
  const step = (t: number): number => (t - GOLDEN_BASE_MS) / STEP_MS;
  const of = (labels: string[], value: (n: number) => number): WriteSeries => ({
    labels,
    timestamps: times,
    values: Float64Array.from(times, t => value(step(t))),
  });
  const odd = new Float64Array(times.length);
  const words = new BigUint64Array(odd.buffer);
  const bits = [0x7ff0000000000002n, 0x8000000000000000n, 0x7ff0000000000000n, 0x7ff8000000000123n, 1n];
  for (let k = 0; k < times.length; k++) words[k] = bits[k % bits.length] as bigint;
  const rows = Array.from({ length: 4 }, (_, i) =>
    of(['__name__', 'counter_total', 'i', String(i), 'job', 'golden'], n => n * (i + 1) - (n > 400 ? 400 : 0)),
  );
  rows[0] = {
    ...(rows[0] as WriteSeries),
    exemplars: [{ labels: ['trace_id', `abc${request}`], value: request, timestampMs: first }],
  };
  return [
    ...rows,
    of(['__name__', 'gauge', 'service.name', 'ä"\\'], n => Math.sin(n) * 100),
    of(['__name__', 'deleted', 'job', 'golden'], n => n),
    of(['__name__', 'request', 'n', String(request)], n => n),
    { labels: ['__name__', 'odd'], timestamps: times, values: odd },
    // Late ones, in a series of their own.
    {
      labels: ['__name__', 'late'],
      timestamps: [GOLDEN_BASE_MS + 100_000_000 - request * 1_000_000],
      values: Float64Array.of(request),
    },
    ...(['int', 'float', 'custom'] as const).map(kind => ({
      labels: ['__name__', 'sizes', 'kind', kind],
      timestamps: [],
      values: new Float64Array(0),
      histograms: times.map(t => ({ timestampMs: t, histogram: histogram(kind, step(t)) })),
    })),
  ];
}

function histogram(kind: 'int' | 'float' | 'custom', n: number): FloatHistogram {
  const custom = kind === 'custom';
  const scale = kind === 'float' ? 1.5 : 1;
  const buckets = [n * scale, 2 * n * scale, 5 * scale];
  return {
    schema: custom ? -53 : 1,
    zeroThreshold: custom ? 0 : 0.001,
    zeroCount: custom ? 0 : scale,
    count: buckets.reduce((a, b) => a + b, custom ? 0 : scale),
    sum: n * 2.5,
    positiveSpans: custom ? [0, 3] : [-1, 2, 4, 1],
    positiveBuckets: buckets,
    negativeSpans: [],
    negativeBuckets: [],
    customValues: custom ? [0.5, 1.5] : [],
    counterResetHint: 0,
    integer: kind !== 'float',
  };
}

const START = GOLDEN_BASE_MS / 1000;
const END = START + (SAMPLES * STEP_MS) / 1000;
const q = encodeURIComponent;

const PATHS = [
  `query_range?query=${q('sum by (i) (rate(counter_total[5m]))')}&start=${START}&end=${END}&step=300`,
  `query_range?query=${q('gauge')}&start=${START}&end=${END}&step=600`,
  `query_range?query=${q('histogram_count(sizes)')}&start=${START}&end=${END}&step=900`,
  `query_range?query=${q('count({__name__=~".+"})')}&start=${START}&end=${END}&step=900`,
  `query?query=${q('count(last_over_time(request[4h]))')}&time=${END}`,
  `query?query=${q('sum_over_time(late[30h])')}&time=${START + 100_001}`,
  `query?query=deleted&time=${START + 60}`,
  `query_exemplars?query=counter_total&start=${START}&end=${END}`,
  'metadata',
  `label/__name__/values?match[]=${q('{__name__=~"counter_total|gauge|late|request|sizes"}')}`,
  `label/n/values?match[]=request`,
  `series?match[]=${q('{__name__=~"gauge|sizes"}')}&start=${START}&end=${END}`,
];

/** Answers by tenant and path, and a digest of every sample's bits. */
export async function goldenAnswers(server: { url: string }): Promise<Record<string, unknown>> {
  const out: Record<string, unknown> = {};
  for (const tenant of ['default', 'acme']) {
    for (const path of PATHS) {
      const response = await fetch(`${server.url}/api/v1/${path}`, { headers: { 'x-scope-orgid': tenant } });
      if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
      const { data } = (await response.json()) as { data: unknown };
      out[`${tenant} ${path}`] = Array.isArray(data) ? data.map(row => JSON.stringify(row)).sort() : data;
    }
    const contents = await readContents(server, tenant);
    for (const key of [...contents.keys()].sort()) {
      const samples = [...(contents.get(key) as Map<number, string>)].sort(([a], [b]) => a - b);
      const digest = createHash('sha256').update(JSON.stringify(samples)).digest('hex').slice(0, 16);
      out[`${tenant} samples ${key}`] = `${samples.length} ${digest}`;
    }
  }
  return out;
}
