import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newSampleBuffer } from '../../../contracts/sample-source.ts';
import type { CounterResetHint, FloatHistogram } from '../../../model/histogram.ts';
import { CorruptChunkError } from './corrupt.ts';
import { decodeHistogramChunk, encodeHistogramChunk, maxHistogramChunkSize } from './histogram-chunk.ts';
import { seeded } from './shapes.ts';

function histogram(over: Partial<FloatHistogram> = {}): FloatHistogram {
  return {
    schema: 3,
    zeroThreshold: 2 ** -128,
    zeroCount: 1,
    count: 10,
    sum: 3.5,
    positiveSpans: [0, 2, 3, 1],
    positiveBuckets: [4, 3, 2],
    negativeSpans: [],
    negativeBuckets: [],
    customValues: [],
    counterResetHint: 0,
    integer: true,
    ...over,
  };
}

function encode(t: number[], h: FloatHistogram[], starts: number[] | null, dense = true): Uint8Array {
  const out = new Uint8Array(maxHistogramChunkSize(h, 0, h.length));
  const end = encodeHistogramChunk(t, h, 0, h.length, starts, out, 0, dense);
  assert.ok(end <= out.length);
  return out.slice(0, end);
}

function randomRun(r: () => number, n: number): FloatHistogram[] {
  const rows: FloatHistogram[] = [];
  let current = histogram();
  for (let i = 0; i < n; i++) {
    if (r() < 0.1) {
      const width = Math.floor(r() * 6);
      const integer = r() < 0.5;
      const value = () => (integer ? Math.floor(r() * 100) : r() * 100);
      current = histogram({
        schema: r() < 0.3 ? -53 : Math.floor(r() * 13) - 4,
        zeroThreshold: r() < 0.5 ? 0.001 : 2 ** -128,
        positiveSpans: width === 0 ? [] : [Math.floor(r() * 20) - 10, width],
        positiveBuckets: Array.from({ length: width }, value),
        negativeSpans: r() < 0.5 ? [] : [2, 1, 0, 1],
        negativeBuckets: [],
        customValues: r() < 0.3 ? [0.1, 0.5, 1, 2.5, Math.PI] : [],
        integer,
      });
      if (current.negativeSpans.length > 0) current.negativeBuckets = [value(), value()];
    } else {
      current = {
        ...current,
        count: current.count + Math.floor(r() * 9),
        sum: current.sum + r(),
        positiveBuckets: current.positiveBuckets.map(x => x + (current.integer ? Math.floor(r() * 3) : r())),
        counterResetHint: Math.floor(r() * 4) as CounterResetHint,
      };
    }
    rows.push(current);
  }
  return rows;
}

test('random runs come back as they were', () => {
  const r = seeded(5);
  for (let round = 0; round < 200; round++) {
    const n = 1 + Math.floor(r() * 60);
    const rows = randomRun(r, n);
    const t = rows.map((_, i) => 1000 + i * 15_000 + Math.floor(r() * 9));
    const starts = r() < 0.5 ? null : t.map(() => (r() < 0.5 ? 0 : 500));
    const into = newSampleBuffer();
    const bytes = encode(t, rows, starts, r() < 0.5);
    assert.equal(decodeHistogramChunk(bytes, 0, into), bytes.length, `round ${round}, seed 5`);
    assert.deepEqual(into.histograms, rows, `round ${round}, seed 5`);
    assert.deepEqual(into.histogramTimestamps, t);
    assert.deepEqual(into.histogramStartTimestamps, starts);
  }
});

test('a range is cut while decoding', () => {
  const rows = randomRun(seeded(6), 10);
  const t = rows.map((_, i) => i * 1000);
  const into = newSampleBuffer();
  decodeHistogramChunk(encode(t, rows, null), 0, into, 3000, 5999);
  assert.deepEqual(into.histogramTimestamps, [3000, 4000, 5000]);
  assert.deepEqual(into.histograms, rows.slice(3, 6));
});

test('start timestamps of 0 fill in for chunks without them', () => {
  const rows = [histogram(), histogram()];
  const into = newSampleBuffer();
  decodeHistogramChunk(encode([1, 2], rows, null), 0, into);
  decodeHistogramChunk(encode([3, 4], rows, [7, 7]), 0, into);
  decodeHistogramChunk(encode([5, 6], rows, null), 0, into);
  assert.deepEqual(into.histogramStartTimestamps, [0, 0, 7, 7, 0, 0]);
});

test('a golden chunk', () => {
  const bytes = encode([1000, 2000], [histogram(), histogram({ count: 12, positiveBuckets: [4, 5, 2] })], [500, 500]);
  assert.equal(Buffer.from(bytes).toString('hex'), GOLDEN);
});

const GOLDEN =
  '010201d00fd00f00e80702010604000000000000f03704000406020300000000000114140202000209010046000801140602020004';

test('damaged bytes are refused or give the promised number of rows', () => {
  const r = seeded(9);
  for (let round = 0; round < 3000; round++) {
    const rows = randomRun(r, 12);
    const bytes = encode(
      rows.map((_, i) => i),
      rows,
      null,
    );
    bytes[Math.floor(r() * bytes.length)] = r() * 256;
    const into = newSampleBuffer();
    try {
      decodeHistogramChunk(r() < 0.2 ? bytes.subarray(0, r() * bytes.length) : bytes, 0, into);
    } catch (error) {
      assert.ok(error instanceof CorruptChunkError, String(error));
      assert.equal(into.histogramLength, 0);
    }
  }
});
