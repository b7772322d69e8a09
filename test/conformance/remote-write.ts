/**
 * Suite 02, remote write: a receiver of version 2.0 (and 1.0, which it may take), asked over HTTP. The suite's tables are data; its
 * groups without a table are descriptions, and the requests for them are made here. The rules are the suite's: what is taken is
 * answered with 2xx and the counts that were sent, what is refused with 400 exactly (415 for types and encodings) and no more
 * written than sent.
 */
import { encodeWriteRequest, encodeWriteRequestV2 } from '../../src/ingest/remote-write/encode.ts';
import { snappyCompress } from '../../src/lib/snappy.ts';
import { CUSTOM_BUCKETS_SCHEMA, type FloatHistogram, HINT_UNKNOWN } from '../../src/model/histogram.ts';
import { putStale } from '../../src/model/stale.ts';
import { type Answer, postWrite, remoteWrite, type WriteSeries } from '../support/remote-write.ts';
import { Sightline } from '../support/sightline.ts';
import { suiteJson, suiteNumber } from './read-suite.ts';
import type { Score, SuiteContext } from './score.ts';

const FOLDER = '02-compliance/remotewrite';

/** Of Metadata.MetricType. */
const METRIC_TYPES = [
  'UNSPECIFIED',
  'COUNTER',
  'GAUGE',
  'HISTOGRAM',
  'GAUGEHISTOGRAM',
  'SUMMARY',
  'INFO',
  'STATESET',
] as const;

type LabelMap = Readonly<Record<string, string>>;

/** One line of receiver_table_cases.json; which fields it has depends on its group. */
interface TableCase {
  group: string;
  name: string;
  labels?: LabelMap;
  success?: boolean;
  value?: number | string | { call: string };
  exemplarLabels?: LabelMap & { call?: string; args?: string[] };
  metric?: { Labels: LabelMap };
  metrics?: { Labels: LabelMap }[];
  validSamples?: number;
  includePositive?: boolean;
  includeNegative?: boolean;
  includeZero?: boolean;
  useCustomBuckets?: boolean;
  badCount?: boolean;
  expectSuccess?: boolean;
  metricType?: string;
  help?: string;
  unit?: string;
  expectedParams?: { samples?: number; exemplars?: number; success: boolean };
}

/** A request, and what must become of it. */
interface Case {
  name: string;
  series: WriteSeries[];
  success: boolean;
  /** Samples that must be written although the request is refused; what was sent where it is not. */
  validSamples?: number;
}

/** Each value of a sample that a table case is sent with. */
const VALUES: readonly [string, number | 'stale'][] = [
  ['1', 1],
  ['stale', 'stale'],
  ['NaN', Number.NaN],
  ['+Inf', Number.POSITIVE_INFINITY],
  ['-Inf', Number.NEGATIVE_INFINITY],
];

/** Every request gets a time of its own, so that none repeats a sample of another. */
class Times {
  private last = Date.now() - 1_800_000;

  next(): number {
    this.last += 100;
    return this.last;
  }
}

const times = new Times();

function flat(labels: LabelMap): string[] {
  return Object.entries(labels).flat();
}

function sample(labels: LabelMap, value: number | 'stale' = 1, more: Partial<WriteSeries> = {}): WriteSeries {
  const values = new Float64Array(1);
  if (value === 'stale') putStale(values, 0);
  else values[0] = value;
  return { labels: flat(labels), timestamps: [times.next()], values, ...more };
}

/** Without samples. */
function bare(labels: LabelMap, more: Partial<WriteSeries>): WriteSeries {
  return { labels: flat(labels), timestamps: [], values: new Float64Array(0), ...more };
}

function exemplar(labels: LabelMap, value = 1, timestampMs: number = times.next()) {
  return { labels: flat(labels), value, timestampMs };
}

interface HistogramShape {
  positive?: boolean;
  negative?: boolean;
  zero?: boolean;
  custom?: boolean;
  badCount?: boolean;
}

function histogram(shape: HistogramShape, startTimestampMs = 0) {
  const { positive = false, negative = false, zero = false, custom = false, badCount = false } = shape;
  const count = (positive ? 6 : 0) + (negative ? 3 : 0) + (zero ? 2 : 0) + (badCount ? 5 : 0);
  const value: FloatHistogram = {
    schema: custom ? CUSTOM_BUCKETS_SCHEMA : 0,
    zeroThreshold: zero ? 0.001 : 0,
    zeroCount: zero ? 2 : 0,
    count,
    sum: 18.4,
    positiveSpans: positive ? [0, 3] : [],
    positiveBuckets: positive ? [1, 2, 3] : [],
    negativeSpans: negative ? [0, 2] : [],
    negativeBuckets: negative ? [1, 2] : [],
    customValues: custom ? [0.1, 1] : [],
    counterResetHint: HINT_UNKNOWN,
    integer: true,
  };
  return { timestampMs: times.next(), startTimestampMs, histogram: value };
}

const COUNTER_METADATA = { type: 1, help: 'Requests.', unit: 'requests' };
const GAUGE_METADATA = { type: 2, help: 'Used.', unit: 'bytes' };
const HISTOGRAM_METADATA = { type: 3, help: 'Durations.', unit: 'seconds' };
const SHAPE: HistogramShape = { positive: true, zero: true };
const TRACE: LabelMap = { trace_id: 'abc123def456' };

/** The groups that the suite only describes. */
const DESCRIBED: Readonly<Record<string, () => WriteSeries[]>> = {
  TestSamplesWithMetadataAndExemplars: () => [
    sample({ __name__: 'http_requests_total' }, 100, { metadata: COUNTER_METADATA, exemplars: [exemplar(TRACE)] }),
  ],
  TestHistogramsWithMetadataAndExemplars: () => [
    bare(
      { __name__: 'request_duration_seconds' },
      {
        histograms: [histogram(SHAPE)],
        metadata: HISTOGRAM_METADATA,
        exemplars: [exemplar(TRACE, 0.5)],
      },
    ),
  ],
  TestComplexSamplesRequest: () => [
    sample({ __name__: 'api_requests_total', method: 'GET' }, 1000, {
      metadata: COUNTER_METADATA,
      exemplars: [exemplar(TRACE), exemplar({ trace_id: 'xyz789', span_id: 'span123' })],
    }),
    sample({ __name__: 'memory_usage_bytes', host: 'a' }, 1e9, { metadata: GAUGE_METADATA }),
    { labels: ['__name__', 'twice'], timestamps: [times.next(), times.next()], values: Float64Array.of(1, 2) },
  ],
  TestComplexHistogramsRequest: () => [
    bare(
      { __name__: 'latency_seconds', service: 'a' },
      {
        histograms: [histogram(SHAPE), histogram({ ...SHAPE, negative: true })],
        metadata: HISTOGRAM_METADATA,
        exemplars: [exemplar(TRACE, 0.1), exemplar({ trace_id: 'two' }, 0.2)],
      },
    ),
    bare({ __name__: 'latency_seconds', service: 'b' }, { histograms: [histogram({ zero: true })] }),
  ],
  TestMultipleMetricFamiliesSamples: () => [
    sample({ __name__: 'families_requests_total' }, 5, { metadata: COUNTER_METADATA }),
    sample({ __name__: 'families_memory_bytes' }, 6, { metadata: GAUGE_METADATA }),
    sample({ __name__: 'families_info', version: '1' }, 1, { metadata: { type: 6, help: 'Build.', unit: '' } }),
  ],
  TestMultipleMetricFamiliesHistograms: () => [
    bare({ __name__: 'families_duration_seconds' }, { histograms: [histogram(SHAPE)], metadata: HISTOGRAM_METADATA }),
    bare({ __name__: 'families_size_bytes' }, { histograms: [histogram({ positive: true, custom: true })] }),
  ],
  TestManySamples: () =>
    Array.from({ length: 1000 }, (_, i) => sample({ __name__: 'many_samples', instance: String(i) }, i)),
  TestManyHistograms: () =>
    Array.from({ length: 200 }, (_, i) =>
      bare({ __name__: 'many_histograms', instance: String(i) }, { histograms: [histogram(SHAPE)] }),
    ),
  TestSpecialCharactersCombined: () => [
    sample({ __name__: 'special.métrique/total', 'läbel with spaces': 'line\nbreak "quoted" \\ 🌍' }, 1, {
      metadata: { type: 1, help: 'Tab\t, newline\n, "quotes", \\ and 🌍.', unit: '°C' },
      exemplars: [exemplar({ 'trace.id': 'ünïcode 测试' })],
    }),
  ],
  TestCustomBucketsHistogramWithExemplar: () => [
    bare(
      { __name__: 'custom_buckets' },
      {
        histograms: [histogram({ positive: true, custom: true })],
        exemplars: [exemplar(TRACE, 0.05)],
      },
    ),
  ],
  TestExemplarWithCreatedTimestamp: () => [
    sample({ __name__: 'created_with_exemplar_total' }, 7, {
      startTimestamps: [times.next() - 60_000],
      exemplars: [exemplar(TRACE)],
    }),
  ],
  TestMultipleExemplars: () => [
    sample({ __name__: 'multiple_exemplars_total' }, 7, {
      exemplars: ['one', 'two', 'three'].map(id => exemplar({ trace_id: id })),
    }),
  ],
  TestExemplarTimestamps: () => [
    sample({ __name__: 'exemplar_times_total' }, 7, {
      exemplars: [exemplar({ trace_id: 'before' }, 1, times.next() - 5000), exemplar({ trace_id: 'now' })],
    }),
  ],
  TestHistogramWithCreatedTimestamp: () => [
    bare({ __name__: 'created_histogram' }, { histograms: [histogram(SHAPE, times.next() - 60_000)] }),
  ],
  TestMultipleHistograms: () =>
    ['a', 'b', 'c'].map(job => bare({ __name__: 'multiple_histograms', job }, { histograms: [histogram(SHAPE)] })),
  TestEmptyHistogram: () => [bare({ __name__: 'empty_histogram' }, { histograms: [histogram({})] })],
  TestHistogramWithMetadata: () => [
    bare({ __name__: 'metadata_histogram' }, { histograms: [histogram(SHAPE)], metadata: HISTOGRAM_METADATA }),
  ],
  TestHistogramWithExemplar: () => [
    bare({ __name__: 'exemplar_histogram' }, { histograms: [histogram(SHAPE)], exemplars: [exemplar(TRACE, 2)] }),
  ],
  TestHistogramWithMetadataAndExemplar: () => [
    bare(
      { __name__: 'both_histogram' },
      {
        histograms: [histogram(SHAPE)],
        metadata: HISTOGRAM_METADATA,
        exemplars: [exemplar(TRACE, 2)],
      },
    ),
  ],
  TestMultipleHistogramsWithMetadata: () =>
    ['a', 'b'].map(job =>
      bare(
        { __name__: 'several_with_metadata', job },
        {
          histograms: [histogram(SHAPE)],
          metadata: HISTOGRAM_METADATA,
        },
      ),
    ),
  TestCounterMetadataWithCreatedTimestamp: () => [
    sample({ __name__: 'created_counter_total' }, 3, {
      startTimestamps: [times.next() - 60_000],
      metadata: COUNTER_METADATA,
    }),
  ],
  TestMetadataWithSamples: () => [sample({ __name__: 'with_metadata_total' }, 3, { metadata: COUNTER_METADATA })],
  TestMultipleMetadata: () => [
    sample({ __name__: 'first_total' }, 3, { metadata: COUNTER_METADATA }),
    sample({ __name__: 'second_bytes' }, 3, { metadata: GAUGE_METADATA }),
  ],
  TestMetadataWithComplexLabels: () => [
    sample({ __name__: 'complex_total', a: 'x', 'b.c': 'ü', d_e: '{"json":1}' }, 3, { metadata: COUNTER_METADATA }),
  ],
  TestCounterWithCreatedTimestamp: () => [
    sample({ __name__: 'started_total' }, 3, { startTimestamps: [times.next() - 3_600_000] }),
  ],
};

export async function runReceiver(context: SuiteContext, score: Score): Promise<void> {
  // Two shards, so that requests are taken apart and their answers put together.
  const server = await Sightline.start(context, { args: ['--shards', '2'] });
  const table = suiteJson<TableCase[]>(context.suites, FOLDER, 'receiver_table_cases.json');
  for (const c of table) {
    for (const request of requestsOf(c)) await judgeV2(server.url, request, score);
  }
  const inTable = new Set(table.map(c => c.group));
  for (const { group } of suiteJson<{ group: string }[]>(context.suites, FOLDER, 'receiver_groups.json')) {
    if (inTable.has(group)) continue;
    const series = DESCRIBED[group];
    if (series !== undefined) await judgeV2(server.url, { name: group, series: series(), success: true }, score);
    else if (group === 'TestBadContentTypes') await badTypes(server.url, score);
    else if (group === 'TestBadContentEncodings') await badEncodings(server.url, score);
    else if (group === 'TestCorruptRequestBody') await corruptBodies(server.url, group, true, score);
    else if (group === 'TestRW1ErrorHandling') await corruptBodies(server.url, group, false, score);
    else if (group === 'TestRW1BasicCompatibility') await version1(server.url, group, table, score);
    else score.judge(`remotewrite/${group}`, 'no request is made for this group');
  }
}

/** The requests that a line of the table stands for. */
function requestsOf(c: TableCase): Case[] {
  const name = `${c.group}/${c.name}`;
  const labels = c.labels ?? { __name__: 'test_metric' };
  switch (c.group) {
    case 'TestSingleMetric':
    case 'TestMultipleMetrics': {
      const sets = c.metrics?.map(m => m.Labels) ?? [c.metric?.Labels ?? labels];
      return VALUES.map(([text, value]) => ({
        name: `${name} ${text}`,
        series: sets.map(set => sample(set, value)),
        success: c.success === true,
        validSamples: c.validSamples ?? (c.success === true ? sets.length : 0),
      }));
    }
    case 'TestExemplars':
    case 'TestExemplarValidation':
    case 'TestExemplarSpecialValues': {
      const { call, args, ...given } = c.exemplarLabels ?? TRACE;
      const marks = call === undefined ? (given as LabelMap) : { trace_id: args?.[0] ?? '' };
      const exemplars = [exemplar(marks, typeof c.value === 'object' ? Number.NaN : suiteNumber(c.value ?? 1))];
      return [{ name, series: [sample(labels, 1, { exemplars })], success: c.success ?? true }];
    }
    case 'TestHistograms': {
      const shape = {
        positive: c.includePositive === true,
        negative: c.includeNegative === true,
        zero: c.includeZero === true,
        custom: c.useCustomBuckets === true,
        badCount: c.badCount === true,
      };
      return [{ name, series: [bare(labels, { histograms: [histogram(shape)] })], success: c.expectSuccess === true }];
    }
    case 'TestMetadata':
    case 'TestMetadataValidation': {
      const type = METRIC_TYPES.findIndex(text => c.metricType?.endsWith(`_TYPE_${text}`));
      const metadata = { type, help: c.help ?? '', unit: c.unit ?? '' };
      return [{ name, series: [sample(labels, 1, { metadata })], success: c.success === true }];
    }
    case 'TestEdgeCaseCombinations':
      return [{ name, series: edgeCase(c.name), success: c.expectedParams?.success === true }];
    default:
      throw new Error(`the runner does not know the group ${c.group} of the table`);
  }
}

function edgeCase(name: string): WriteSeries[] {
  const labels = { __name__: `edge_${name}` };
  if (name === 'metadata_without_data') return [bare(labels, { metadata: COUNTER_METADATA })];
  if (name === 'exemplars_without_data') return [bare(labels, { exemplars: [exemplar(TRACE)] })];
  const [early, late] = [times.next(), times.next()];
  return [
    {
      labels: flat(labels),
      timestamps: [early, late],
      values: Float64Array.of(1, 2),
      exemplars: [exemplar(TRACE, 1, early)],
    },
  ];
}

interface Counts {
  samples: number;
  histograms: number;
  exemplars: number;
}

function sent(series: readonly WriteSeries[]): Counts {
  const total = (count: (s: WriteSeries) => number): number => series.reduce((sum, s) => sum + count(s), 0);
  return {
    samples: total(s => s.timestamps.length),
    histograms: total(s => s.histograms?.length ?? 0),
    exemplars: total(s => s.exemplars?.length ?? 0),
  };
}

/** A missing header means 0. */
function written(answer: Answer): Counts {
  const count = (what: string): number => Number(answer.headers.get(`x-prometheus-remote-write-${what}-written`) ?? 0);
  return { samples: count('samples'), histograms: count('histograms'), exemplars: count('exemplars') };
}

async function judgeV2(url: string, c: Case, score: Score): Promise<void> {
  const answer = await remoteWrite(url, c.series, { v2: true });
  score.judge(`remotewrite/${c.name}`, problemOf(c, answer));
}

function problemOf(c: Case, answer: Answer): string {
  const had = sent(c.series);
  const got = written(answer);
  const told = `${answer.status} ${answer.body.trim()} ${JSON.stringify(got)}`;
  if (c.success) {
    if (answer.status !== 204) return `must be 204: ${told}`;
    return JSON.stringify(got) === JSON.stringify(had) ? '' : `${told}, sent were ${JSON.stringify(had)}`;
  }
  if (answer.status !== 400) return `must be 400: ${told}`;
  if (c.validSamples !== undefined && got.samples !== c.validSamples)
    return `${told}, samples to be written were ${c.validSamples}`;
  const more = got.samples > had.samples || got.histograms > had.histograms || got.exemplars > had.exemplars;
  return more ? `more written than sent: ${told}` : '';
}

async function badTypes(url: string, score: Score): Promise<void> {
  const body = snappyCompress(encodeWriteRequestV2([sample({ __name__: 'up' })]));
  for (const type of ['application/json', 'image/png', 'application/x-protobuf;proto=io.prometheus.write.v3.Request']) {
    const { status } = await postWrite(url, body, { v2: true, headers: { 'content-type': type } });
    score.judge(`remotewrite/TestBadContentTypes/${type}`, status === 415 ? '' : `must be 415, is ${status}`);
  }
}

async function badEncodings(url: string, score: Score): Promise<void> {
  const body = snappyCompress(encodeWriteRequestV2([sample({ __name__: 'up' })]));
  for (const encoding of ['gzip', 'deflate']) {
    const { status } = await postWrite(url, body, { v2: true, headers: { 'content-encoding': encoding } });
    score.judge(`remotewrite/TestBadContentEncodings/${encoding}`, status === 415 ? '' : `must be 415, is ${status}`);
  }
}

async function corruptBodies(url: string, group: string, v2: boolean, score: Score): Promise<void> {
  const rows = [sample({ __name__: 'up' })];
  const whole = v2 ? encodeWriteRequestV2(rows) : encodeWriteRequest(rows);
  for (const [name, body] of [
    ['no snappy', Buffer.from('this is no snappy')],
    ['no protobuf', snappyCompress(Buffer.from('invalid protobuf data'))],
    ['cut in the message', snappyCompress(whole.subarray(0, whole.length - 3))],
    ['cut in the block', snappyCompress(whole).subarray(0, 10)],
    ['not compressed', whole],
  ] as const) {
    const answer = await postWrite(url, body, { v2 });
    const text = `${answer.status} ${answer.body.trim()}`;
    score.judge(`remotewrite/${group}/${name}`, answer.status === 400 ? '' : `must be 400: ${text}`);
  }
}

/** The samples of the table, in the older message. */
async function version1(url: string, group: string, table: readonly TableCase[], score: Score): Promise<void> {
  for (const c of table) {
    if (c.metric === undefined) continue;
    const answer = await remoteWrite(url, [sample(c.metric.Labels)]);
    const status = c.success === true ? 204 : 400;
    const text = `${answer.status} ${answer.body.trim()}`;
    score.judge(`remotewrite/${group}/${c.name}`, answer.status === status ? '' : `must be ${status}: ${text}`);
  }
}
