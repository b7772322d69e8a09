/** What is packed, sent and unpacked is what was there. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LeafResult, LeafRow } from '../../contracts/leaf-source.ts';
import { packLeafResult, unpackLeafResult } from './leaf-pack.ts';

function sent(result: LeafResult): LeafResult {
  const { packed, transfer } = packLeafResult(result);
  return unpackLeafResult(structuredClone(packed, { transfer }));
}

function row(labels: string[], extra: Partial<LeafRow> = {}): LeafRow {
  return {
    labels,
    values: Float64Array.of(1, Number.NaN, -0),
    present: Uint8Array.of(1, 1, 0),
    histograms: null,
    compensation: null,
    counts: null,
    ...extra,
  };
}

const rest = {
  warnings: [{ message: 'w' }],
  infos: [{ message: 'i', of: 'source' as const }],
  samplesRead: 5,
  peakSamples: 4,
};

test('plain rows, partial aggregates, histograms, nothing', () => {
  const histogram = {
    schema: 0,
    zeroThreshold: 0,
    zeroCount: 0,
    count: 1,
    sum: 2,
    positiveSpans: [0, 1],
    positiveBuckets: [1],
    negativeSpans: [],
    negativeBuckets: [],
    customValues: [],
    counterResetHint: 0 as const,
    integer: false,
  };
  const plain: LeafResult = { rows: [row(['a', 'b', 'c', 'd']), row([]), row(['a', 'd'])], ...rest };
  assert.deepEqual(sent(plain), plain);
  const counted: LeafResult = { ...plain, samplesPerStep: Float64Array.of(3, 2, 0) };
  assert.deepEqual(sent(counted), counted);
  const partial: LeafResult = {
    rows: [
      row(['g', '1'], {
        compensation: Float64Array.of(1, 2, 3),
        counts: Float64Array.of(4, 5, 6),
        means: Uint8Array.of(0, 1, 0),
      }),
    ],
    ...rest,
  };
  assert.deepEqual(sent(partial), partial);
  const mixed: LeafResult = {
    rows: [row(['a', 'b']), row(['a', 'c'], { histograms: [null, null, histogram] })],
    ...rest,
    declined: true,
  };
  assert.deepEqual(sent(mixed), mixed);
  assert.deepEqual(sent({ rows: [], ...rest }), { rows: [], ...rest });
});

test('rows can be changed one by one afterwards', () => {
  const [a, b] = sent({ rows: [row(['x', '1']), row(['x', '2'])], ...rest }).rows as [LeafRow, LeafRow];
  a.values.fill(9);
  assert.equal(b.values[0], 1);
});
