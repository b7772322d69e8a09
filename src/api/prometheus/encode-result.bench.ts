/**
 * JSON of a range query's answer: the streaming encoder against JSON.stringify of Prometheus-shaped objects, over the shapes of values that
 * dashboards see. 1,000 series x 240 steps; medians of alternating runs.
 *
 *     node src/api/prometheus/encode-result.bench.ts
 */
import assert from 'node:assert/strict';
import { gzipSync } from 'node:zlib';
import { labelsFromRecord, labelsToRecord } from '../../model/labels.ts';
import type { GridRow, QueryResult } from '../../query/promql/result.ts';
import { compressResponse } from '../compress.ts';
import { formatFloat } from '../encoding/float.ts';
import { encodeQueryResult } from './encode-result.ts';

const SERIES = 1000;
const STEPS = 240;
const START = 1_700_000_000_000;
const STEP = 15_000;
const ROUNDS = 9;

let state = 1;
function random(): number {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state / 2 ** 32;
}

const SHAPES: Record<string, (k: number, before: number) => number> = {
  constant: () => 1,
  integers: k => 1_000_000 + k * 37,
  decimals: () => Math.round(random() * 1e5) / 100,
  doubles: () => random() * 100,
};

function resultOf(shape: (k: number, before: number) => number): QueryResult {
  const rows: GridRow[] = [];
  for (let i = 0; i < SERIES; i++) {
    const values = new Float64Array(STEPS);
    for (let k = 0; k < STEPS; k++) values[k] = shape(k, values[k - 1] ?? 0);
    const labels = labelsFromRecord({
      __name__: 'http_request_duration_seconds_count',
      job: 'api-server',
      instance: `10.0.${i >> 8}.${i & 255}:9090`,
      handler: '/api/v1/query_range',
      code: '200',
    });
    rows.push({ labels, values, present: new Uint8Array(STEPS).fill(1), histograms: null });
  }
  const value = { type: 'matrix' as const, startMs: START, stepMs: STEP, steps: STEPS, rows };
  return { value, warnings: [], infos: [], stats: { samplesRead: 0, peakSamples: 0, parseMs: 0, evalMs: 0 } };
}

async function encoded(result: QueryResult): Promise<Uint8Array[]> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of encodeQueryResult(result, { limit: 0, stats: '' })) chunks.push(chunk);
  return chunks;
}

function stringified(result: QueryResult): Buffer {
  const { value } = result;
  if (value.type !== 'matrix') throw new Error('BUG: not a matrix');
  const data = {
    resultType: 'matrix',
    result: value.rows.map(r => ({
      metric: labelsToRecord(r.labels),
      values: Array.from(r.values, (v, k) => [(value.startMs + k * value.stepMs) / 1000, formatFloat(v)]),
    })),
  };
  return Buffer.from(JSON.stringify({ status: 'success', data }));
}

function median(times: number[]): number {
  return times.sort((a, b) => a - b)[times.length >> 1] as number;
}

for (const [name, shape] of Object.entries(SHAPES)) {
  const result = resultOf(shape);
  const ours: number[] = [];
  const theirs: number[] = [];
  const gzip: number[] = [];
  let bytes = 0;
  for (let i = 0; i < ROUNDS; i++) {
    let t = performance.now();
    const chunks = await encoded(result);
    ours.push(performance.now() - t);
    const whole = Buffer.concat(chunks);
    bytes = whole.length;
    t = performance.now();
    const text = stringified(result);
    theirs.push(performance.now() - t);
    if (i === 0) assert.deepEqual(JSON.parse(whole.toString()), JSON.parse(text.toString()));
    t = performance.now();
    const { body } = compressResponse({ status: 200, headers: {}, body: whole }, 'gzip');
    let size = 0;
    for await (const chunk of body as AsyncIterable<Uint8Array>) size += chunk.length;
    gzip.push(performance.now() - t);
    if (i === 0) assert.ok(size <= gzipSync(whole, { level: 1 }).length * 1.05);
  }
  const [a, b] = [median(ours), median(theirs)];
  const points = SERIES * STEPS;
  console.log(
    `${name.padEnd(9)} ${(bytes / 1e6).toFixed(1)} MB  ours ${a.toFixed(1)} ms (${((a * 1e6) / points).toFixed(0)} ns/point)  JSON.stringify ${b.toFixed(1)} ms  ${(b / a).toFixed(1)}x  gzip -1 ${median(gzip).toFixed(0)} ms`,
  );
}
