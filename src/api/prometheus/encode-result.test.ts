import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FloatHistogram } from '../../model/histogram.ts';
import { type Labels, labelsFromRecord, labelsToRecord } from '../../model/labels.ts';
import { putStale } from '../../model/stale.ts';
import type { GridRow, QueryResult, QueryValue } from '../../query/promql/result.ts';
import { CHUNK_BYTES } from '../encoding/byte-writer.ts';
import { formatFloat } from '../encoding/float.ts';
import { encodeQueryResult, encodeSuccess } from './encode-result.ts';

const STATS = { samplesRead: 0, peakSamples: 0, parseMs: 0, evalMs: 0 };

function resultOf(value: QueryValue, warnings: string[] = [], infos: string[] = []): QueryResult {
  return { value, warnings, infos, stats: STATS };
}

async function encode(result: QueryResult, limit = 0, stats = ''): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of encodeQueryResult(result, { limit, stats })) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

function row(labels: Labels, values: (number | null)[], histograms: (FloatHistogram | null)[] | null = null): GridRow {
  return {
    labels,
    values: Float64Array.from(values, v => v ?? 0),
    present: Uint8Array.from(values, v => (v === null ? 0 : 1)),
    histograms,
  };
}

const HISTOGRAM: FloatHistogram = {
  schema: 0,
  zeroThreshold: 0.5,
  zeroCount: 2,
  count: 9,
  sum: 18.5,
  positiveSpans: [0, 2, 1, 1],
  positiveBuckets: [1, 2, 3],
  negativeSpans: [1, 1],
  negativeBuckets: [1],
  customValues: [],
  counterResetHint: 0,
  integer: false,
};

test('scalars, strings and vectors', async () => {
  assert.equal(
    await encode(resultOf({ type: 'scalar', timestampMs: 1500, value: -0 })),
    '{"status":"success","data":{"resultType":"scalar","result":[1.5,"-0"]}}',
  );
  assert.equal(
    await encode(resultOf({ type: 'string', timestampMs: 1000, value: 'a"b\n☃' })),
    '{"status":"success","data":{"resultType":"string","result":[1,"a\\"b\\n☃"]}}',
  );
  const samples = [
    { labels: labelsFromRecord({ __name__: 'up', job: 'ä"\\' }), value: Number.NaN, histogram: null },
    { labels: [], value: 1e-7, histogram: null },
  ];
  assert.equal(
    await encode(resultOf({ type: 'vector', timestampMs: 1, samples }, ['w'], ['i'])),
    '{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"up","job":"ä\\"\\\\"},"value":[0.001,"NaN"]},{"metric":{},"value":[0.001,"1e-07"]}]},"warnings":["w"],"infos":["i"]}',
  );
  assert.equal(
    await encode(resultOf({ type: 'vector', timestampMs: 1, samples }), 1),
    '{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"up","job":"ä\\"\\\\"},"value":[0.001,"NaN"]}]},"warnings":["results truncated due to limit"]}',
  );
  assert.equal(
    await encode(resultOf({ type: 'vector', timestampMs: 1, samples: [] }), 0, '{"x":1}'),
    '{"status":"success","data":{"resultType":"vector","result":[],"stats":{"x":1}}}',
  );
});

test('matrices: gaps, rows without points, repeated values, zeros of both signs', async () => {
  const rows = [
    row(['a', '1'], [null, null, null, null]),
    row(['a', '2'], [1, 1, null, 1]),
    row(['a', '3'], [0, -0, 0, 2.5]),
    row(['a', '4'], [null, null, null, null]),
  ];
  assert.equal(
    await encode(resultOf({ type: 'matrix', startMs: 10_000, stepMs: 500, steps: 4, rows })),
    '{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"a":"2"},"values":[[10,"1"],[10.500,"1"],[11.500,"1"]]},{"metric":{"a":"3"},"values":[[10,"0"],[10.500,"-0"],[11,"0"],[11.500,"2.5"]]}]}}',
  );
});

test('native histograms', async () => {
  const json =
    '{"count":"9","sum":"18.5","buckets":[[1,"-2","-1","1"],[3,"-0.5","0.5","2"],[0,"0.5","1","1"],[0,"1","2","2"],[0,"4","8","3"]]}';
  const value: QueryValue = {
    type: 'matrix',
    startMs: 0,
    stepMs: 1000,
    steps: 3,
    rows: [row(['a', '1'], [1, null, null], [null, null, HISTOGRAM])],
  };
  assert.equal(
    await encode(resultOf(value)),
    `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"a":"1"},"values":[[0,"1"]],"histograms":[[2,${json}]]}]}}`,
  );
  const samples = [{ labels: [], value: 0, histogram: HISTOGRAM }];
  assert.equal(
    await encode(resultOf({ type: 'vector', timestampMs: 0, samples })),
    `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"histogram":[0,${json}]}]}}`,
  );
  const custom: FloatHistogram = {
    ...HISTOGRAM,
    schema: -53,
    zeroCount: 0,
    zeroThreshold: 0,
    negativeSpans: [],
    negativeBuckets: [],
    positiveSpans: [0, 3],
    positiveBuckets: [1, 0, 4],
    customValues: [0.25, 5],
  };
  assert.match(
    await encode(resultOf({ type: 'vector', timestampMs: 0, samples: [{ labels: [], value: 0, histogram: custom }] })),
    /"buckets":\[\[3,"-Inf","0.25","1"\],\[0,"5","\+Inf","4"\]\]/,
  );
});

test('raw series leave staleness markers out', async () => {
  const values = new Float64Array([1, 2, 3]);
  putStale(values, 1);
  const series = [
    {
      labels: ['a', 'b'],
      timestamps: new Float64Array([1000, 2000, 3000]),
      values,
      startTimestamps: null,
      histogramTimestamps: [],
      histograms: [],
      histogramStartTimestamps: null,
    },
  ];
  assert.equal(
    await encode(resultOf({ type: 'raw', series })),
    '{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"a":"b"},"values":[[1,"1"],[3,"3"]]}]}}',
  );
});

test('a large matrix over many chunks equals JSON.stringify of objects', async () => {
  let state = 1;
  const random = () => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return state / 2 ** 32;
  };
  const rows: GridRow[] = [];
  for (let r = 0; r < 60; r++) {
    const values: (number | null)[] = [];
    for (let k = 0; k < 700; k++) {
      const kind = random();
      if (kind < 0.1) values.push(null);
      else if (kind < 0.3) values.push(values[k - 1] ?? 5);
      else if (kind < 0.5) values.push(Math.floor(random() * 1e6));
      else if (kind < 0.55) values.push(Number.POSITIVE_INFINITY);
      else values.push((random() - 0.5) * 10 ** Math.floor(random() * 30 - 10));
    }
    rows.push(row(labelsFromRecord({ i: String(r), text: 'x'.repeat(r * 100) }), values));
  }
  const text = await encode(resultOf({ type: 'matrix', startMs: 1_700_000_000_123, stepMs: 15_000, steps: 700, rows }));
  assert.ok(text.length > 4 * CHUNK_BYTES);
  const expected = rows.map(r => ({
    metric: labelsToRecord(r.labels),
    values: [...r.values]
      .map((v, k) => [(1_700_000_000_123 + k * 15_000) / 1000, formatFloat(v), r.present[k]] as const)
      .filter(p => p[2] === 1)
      .map(p => [p[0], p[1]]),
  }));
  assert.deepEqual(JSON.parse(text), { status: 'success', data: { resultType: 'matrix', result: expected } });
});

test('annotations are capped', () => {
  const many = Array.from({ length: 12 }, (_, i) => `w${i}`);
  const body = JSON.parse(Buffer.from(encodeSuccess([], many)).toString()) as { warnings: string[] };
  assert.equal(body.warnings.length, 11);
  assert.equal(body.warnings[10], '2 more warning annotations omitted');
});
