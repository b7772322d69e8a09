import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newSampleBuffer, type SampleBuffer } from '../../contracts/sample-source.ts';
import type { FloatHistogram } from '../../model/histogram.ts';
import { isStale, putStale } from '../../model/stale.ts';
import { seeded } from './chunk/shapes.ts';
import { compareFloats, compareHistograms, mergeRuns } from './merge.ts';

function histogram(count: number, sum: number, bucket = count): FloatHistogram {
  return {
    schema: 0,
    zeroThreshold: 0,
    zeroCount: 0,
    count,
    sum,
    positiveSpans: [0, 1],
    positiveBuckets: [bucket],
    negativeSpans: [],
    negativeBuckets: [],
    customValues: [],
    counterResetHint: 0,
    integer: true,
  };
}

function run(rows: [number, number | 'stale'][], histograms: [number, FloatHistogram][] = []): SampleBuffer {
  const b = newSampleBuffer(Math.max(1, rows.length));
  rows.forEach(([t, v], i) => {
    b.timestamps[i] = t;
    if (v === 'stale') putStale(b.values, i);
    else b.values[i] = v;
  });
  b.length = rows.length;
  for (const [t, h] of histograms) {
    b.histogramTimestamps.push(t);
    b.histograms.push(h);
  }
  b.histogramLength = histograms.length;
  return b;
}

function merged(runs: SampleBuffer[]): SampleBuffer {
  const into = newSampleBuffer(1);
  mergeRuns(runs, into);
  return into;
}

test('the order of floats', () => {
  const column = new Float64Array(8);
  putStale(column, 0);
  column.set([Number.NaN, Number.NEGATIVE_INFINITY, -1, -0, 0, 1, Number.POSITIVE_INFINITY], 1);
  for (let i = 0; i < 8; i++) {
    for (let j = 0; j < 8; j++) {
      assert.equal(Math.sign(compareFloats(column, i, column, j)), Math.sign(i - j), `${i} against ${j}`);
    }
  }
});

test('the order of histograms', () => {
  const ascending = [
    histogram(1, Number.NaN),
    histogram(1, 1),
    histogram(1, 2, 3),
    histogram(1, 2, 4),
    histogram(2, 0),
  ];
  ascending.forEach((a, i) => {
    ascending.forEach((b, j) => {
      assert.equal(Math.sign(compareHistograms(a, b)), Math.sign(i - j), `${i} against ${j}`);
    });
  });
});

test('any order of runs and any grouping gives the same samples as the obvious way', () => {
  const r = seeded(21);
  for (let round = 0; round < 400; round++) {
    const runs: SampleBuffer[] = [];
    const truth = new Map<number, { t: number; v: Float64Array; h: FloatHistogram | null }>();
    for (let k = 0; k < 1 + Math.floor(r() * 5); k++) {
      const rows: [number, number | 'stale'][] = [];
      const hists: [number, FloatHistogram][] = [];
      for (let t = Math.floor(r() * 30); t < 60; t += 1 + Math.floor(r() * 12)) {
        if (r() < 0.2) hists.push([t, histogram(Math.floor(r() * 3), Math.floor(r() * 3))]);
        else rows.push([t, r() < 0.1 ? 'stale' : r() < 0.1 ? Number.NaN : Math.floor(r() * 4) - 2]);
      }
      const b = run(rows, hists);
      runs.push(b);
      for (let i = 0; i < b.length; i++) {
        const t = b.timestamps[i] as number;
        const known = truth.get(t);
        if (known === undefined) truth.set(t, { t, v: b.values.slice(i, i + 1), h: null });
        else if (known.h === null && compareFloats(b.values, i, known.v, 0) > 0) known.v = b.values.slice(i, i + 1);
      }
      for (const [t, h] of hists) {
        const known = truth.get(t);
        if (known?.h == null || compareHistograms(h, known.h) > 0) truth.set(t, { t, v: new Float64Array(1), h });
      }
    }
    const sorted = [...truth.values()].sort((a, b) => a.t - b.t);
    const floats = sorted.filter(x => x.h === null);
    const hists = sorted.filter(x => x.h !== null);
    const groupings = [
      merged(runs),
      merged([...runs].reverse()),
      merged([merged(runs.slice(0, 2)), merged(runs.slice(2))]),
    ];
    for (const got of groupings) {
      const what = `round ${round}, seed 21`;
      assert.deepEqual(
        [...got.timestamps.subarray(0, got.length)],
        floats.map(x => x.t),
        what,
      );
      floats.forEach((x, i) => {
        assert.equal(compareFloats(got.values, i, x.v, 0), 0, `${what}, t ${x.t}`);
      });
      assert.deepEqual(
        got.histogramTimestamps.slice(0, got.histogramLength),
        hists.map(x => x.t),
        what,
      );
      assert.deepEqual(
        got.histograms.slice(0, got.histogramLength),
        hists.map(x => x.h),
        what,
      );
    }
  }
});

test('start timestamps follow the winner; equal samples take the later one', () => {
  const a = run([
    [1, 5],
    [2, 5],
    [3, 7],
  ]);
  a.startTimestamps = Float64Array.from([1, 1, 1]);
  const b = run([
    [2, 5],
    [3, 6],
    [4, 6],
  ]);
  b.startTimestamps = Float64Array.from([2, 2, 2]);
  for (const got of [merged([a, b]), merged([b, a])]) {
    assert.deepEqual([...(got.startTimestamps as Float64Array).subarray(0, got.length)], [1, 2, 1, 2]);
  }
  const c = run([[9, 1]]);
  assert.deepEqual([...(merged([a, c]).startTimestamps as Float64Array).subarray(0, 4)], [1, 1, 1, 0]);
});

test('a lone marker survives', () => {
  const got = merged([run([[1, 2]]), run([[2, 'stale']])]);
  assert.ok(isStale(got.values, 1));
});
