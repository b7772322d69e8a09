/** Aggregates merged from shards against the same aggregate over one store. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemorySource } from '../../../test/support/memory-source.ts';
import type { LeafAggregate, LeafPlan, LeafResult } from '../../contracts/leaf-source.ts';
import { labelsFromRecord, labelsKey } from '../../model/labels.ts';
import { createLocalLeafSource } from './leaf.ts';
import { finishPartial } from './leaf-aggregate.ts';
import { createShardedLeafSource, mergeLeafResults } from './leaf-merge.ts';

const OPS: LeafAggregate['op'][] = ['sum', 'avg', 'count', 'min', 'max', 'group'];

function plan(aggregate: LeafPlan['aggregate'], maxSamples = 1e6): LeafPlan {
  return {
    matchers: [],
    startMs: 0,
    endMs: 600_000,
    stepMs: 60_000,
    offsetMs: 0,
    atMs: null,
    rangeMs: 0,
    lookbackMs: 300_000,
    func: 'instant',
    args: [],
    dropName: false,
    aggregate,
    extended: null,
    maxSamples,
  };
}

function fill(random: () => number, values: readonly number[] | null): { all: MemorySource; parts: MemorySource[] } {
  const all = new MemorySource();
  const parts = [new MemorySource(), new MemorySource(), new MemorySource()];
  for (let s = 0; s < 40; s++) {
    const labels = labelsFromRecord({ __name__: 'm', g: String(s % 3), s: String(s) });
    const samples = [];
    for (let t = 0; t <= 600_000; t += 60_000) {
      if (random() < 0.2) continue;
      const value =
        values === null ? (random() - 0.5) * 10 ** Math.floor(random() * 20) : (values[s % values.length] as number);
      samples.push({ t, value });
    }
    all.append('t', labels, samples);
    (parts[Math.floor(random() * 3)] as MemorySource).append('t', labels, samples);
  }
  return { all, parts };
}

function finished(op: LeafAggregate['op'], result: LeafResult): Map<string, number[]> {
  const out = new Map<string, number[]>();
  for (const row of result.rows) {
    finishPartial(op, row);
    out.set(
      labelsKey(row.labels),
      Array.from(row.values, (v, i) => (row.present[i] === 1 ? v : Number.NaN)),
    );
  }
  return out;
}

function generator(seed: number): () => number {
  let s = seed;
  return () => {
    s ^= s << 13;
    s ^= s >>> 17;
    s ^= s << 5;
    return (s >>> 0) / 2 ** 32;
  };
}

for (const op of OPS) {
  test(`${op} of three shards is ${op} of the whole`, async () => {
    const random = generator(77);
    for (const values of [null, [1.7e308, 1.6e308, 1.5e308], [1e100, 1, -1e100]]) {
      for (const labels of [[], ['g']]) {
        const { all, parts } = fill(random, values);
        const p = plan({ op, without: false, labels });
        const whole = finished(op, await createLocalLeafSource(all).evalLeaf('t', p));
        const shards = createShardedLeafSource(parts.map(createLocalLeafSource));
        const merged = finished(op, structuredClone(await shards.evalLeaf('t', p)));
        assert.deepEqual([...merged.keys()].sort(), [...whole.keys()].sort());
        for (const [key, expected] of whole) {
          const got = merged.get(key) as number[];
          expected.forEach((v, i) => {
            const near = Object.is(v, got[i]) || Math.abs(v - (got[i] as number)) <= 1e-9 * Math.max(1, Math.abs(v));
            assert.ok(near, `${op} by (${labels}) step ${i}: whole ${v}, merged ${got[i]}`);
          });
        }
      }
    }
  });
}

test('one shard with histograms makes all of them answer with plain rows', async () => {
  const parts = [new MemorySource(), new MemorySource()];
  parts[0]?.append('t', labelsFromRecord({ __name__: 'm', s: '1' }), [{ t: 0, value: 1 }]);
  const histogram = {
    schema: 0,
    zeroThreshold: 0,
    zeroCount: 0,
    count: 1,
    sum: 1,
    positiveSpans: [0, 1],
    positiveBuckets: [1],
    negativeSpans: [],
    negativeBuckets: [],
    customValues: [],
    counterResetHint: 0 as const,
    integer: false,
  };
  parts[1]?.append('t', labelsFromRecord({ __name__: 'm', s: '2' }), [{ t: 0, histogram }]);
  const p = plan({ op: 'sum', without: false, labels: [] });
  const result = await createShardedLeafSource(parts.map(createLocalLeafSource)).evalLeaf('t', p);
  assert.equal(result.declined, true);
  assert.equal(result.rows.length, 2);
  const mixed = await Promise.all(parts.map(s => createLocalLeafSource(s).evalLeaf('t', p)));
  assert.throws(() => mergeLeafResults(p, mixed), /BUG/);
});

test('limits hold for a shard and for all of them together', async () => {
  const { all, parts } = fill(generator(5), null);
  await assert.rejects(createLocalLeafSource(all).evalLeaf('t', plan(null, 100)), { name: 'QueryLimitError' });
  const shards = createShardedLeafSource(parts.map(createLocalLeafSource));
  await assert.rejects(shards.evalLeaf('t', plan(null, 250)), { name: 'QueryLimitError' });
});
