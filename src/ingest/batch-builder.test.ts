import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { IdentityHasher } from '../lib/identity-hash.ts';
import { decodeLabels, encodeLabels, labelsFromPairs } from '../model/labels.ts';
import { isStale } from '../model/stale.ts';
import { BatchBuilder } from './batch-builder.ts';
import { LabelSet } from './label-set.ts';

const hasher = new IdentityHasher(new Uint8Array(16).fill(7));
const seed = hasher.tenantSeed('default');

test('series and samples come back as columns', () => {
  const builder = new BatchBuilder(hasher, seed);
  builder.addSeries(['__name__', 'up', 'job', 'a']);
  builder.addSample(1000, 1);
  builder.addStale(2000);
  const empty = builder.addSeries(['__name__', 'other']);
  const encoded = encodeLabels(['__name__', 'third', 'ü', 'x']);
  builder.addSeriesEncoded(encoded, 0, encoded.length);
  builder.addSample(3000, -0, 500);
  builder.addExemplar(3000, 2, ['trace_id', 'abc']);
  const batch = builder.finish();
  assert.equal(batch.seriesCount, 3);
  assert.equal(empty, 1);
  assert.deepEqual([...batch.sampleStart.subarray(0, 4)], [0, 2, 2, 3]);
  assert.deepEqual([...batch.timestamps.subarray(0, 3)], [1000, 2000, 3000]);
  assert.ok(Object.is(batch.values[2], -0));
  assert.ok(isStale(batch.values, 1));
  assert.deepEqual([...(batch.startTimestamps as Float64Array).subarray(0, 3)], [0, 0, 500]);
  assert.deepEqual(decodeLabels(batch.labelBytes, batch.labelStart[2], batch.labelEnd[2]), [
    '__name__',
    'third',
    'ü',
    'x',
  ]);
  const expected = new Uint32Array(4);
  hasher.hash(seed, encoded, 0, encoded.length, expected, 0);
  assert.deepEqual(batch.hashes.subarray(8, 12), expected);
  assert.equal(batch.exemplars?.[0]?.series, 2);
  assert.equal(batch.histograms, null);
  builder.reset();
  assert.equal(builder.finish().startTimestamps, null);
});

test('growing keeps everything', () => {
  const builder = new BatchBuilder(hasher, seed);
  const n = 3000;
  for (let round = 0; round < 2; round++) {
    builder.reset();
    for (let i = 0; i < n; i++) {
      builder.addSeries(['__name__', `metric_${i}`, 'l', 'x'.repeat(i % 100)].slice(0, i % 100 === 0 ? 2 : 4));
      builder.addSample(i, i * 2, i >= n / 2 ? 1 : 0);
      builder.addSample(i + 1, i * 3);
    }
  }
  const batch = builder.finish();
  for (let i = 0; i < n; i++) {
    const labels = decodeLabels(batch.labelBytes, batch.labelStart[i], batch.labelEnd[i]);
    assert.equal(labels[1], `metric_${i}`);
    assert.equal(batch.values[2 * i], i * 2);
    assert.equal(batch.timestamps[2 * i + 1], i + 1);
    assert.equal(batch.startTimestamps?.[2 * i], i >= n / 2 ? 1 : 0);
  }
});

test('a label set in any order encodes as the model does', () => {
  const set = new LabelSet();
  const text = fc.string({ unit: 'grapheme', maxLength: 60 });
  fc.assert(
    fc.property(fc.uniqueArray(fc.tuple(text, text), { maxLength: 40, selector: p => p[0] }), pairs => {
      set.clear();
      for (const [name, value] of pairs) set.addStrings(name, value);
      assert.equal(set.sort(), -1);
      const out = new Uint8Array(set.encodedSize());
      assert.equal(set.encode(out, 0), out.length);
      assert.deepEqual(out, encodeLabels(labelsFromPairs(pairs)));
    }),
    { seed: 42, numRuns: 500 },
  );
  set.clear();
  set.addStrings('b', '1');
  set.addStrings('a', '2');
  set.addStrings('b', '3');
  assert.equal(set.sort(), 2);
  assert.equal(set.nameText(2), 'b');
});

test('a set is bounded', () => {
  const set = new LabelSet();
  for (let i = 0; i < 1024; i++) set.addStrings(`l${i}`, 'v');
  assert.equal(set.tooLarge, false);
  set.addStrings('x', 'v');
  assert.equal(set.tooLarge, true);
  assert.equal(set.count, 1024);
  set.clear();
  assert.equal(set.tooLarge, false);
  set.addStrings('l', 'v'.repeat(2 << 20));
  assert.equal(set.tooLarge, true);
  assert.equal(set.count, 0);
});

test('columns that grow keep every hash and every marker', () => {
  const hasher = new IdentityHasher(new Uint8Array(32).fill(3));
  const seed = hasher.tenantSeed('t');
  const builder = new BatchBuilder(hasher, seed);
  builder.reset();
  const n = 1100; // Beyond two growths of the series columns and of the sample columns.
  for (let i = 0; i < n; i++) {
    if (i % 2 === 0) builder.addSeries(['__name__', `m${i}`]);
    else {
      const bytes = encodeLabels(['__name__', `m${i}`]);
      builder.addSeriesEncoded(bytes, 0, bytes.length);
    }
    builder.addStale(i);
  }
  const batch = builder.finish();
  const hash = new Uint32Array(4);
  for (let i = 0; i < n; i++) {
    hasher.hash(seed, batch.labelBytes, batch.labelStart[i] as number, batch.labelEnd[i] as number, hash, 0);
    assert.deepEqual(batch.hashes.slice(i * 4, i * 4 + 4), hash, `hash of series ${i}`);
    assert.ok(isStale(batch.values, i), `marker ${i}`);
  }
});
