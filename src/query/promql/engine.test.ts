/** The engine's edges: kinds of results, limits, cancelling, default features. What queries mean is tested by scripts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemorySource } from '../../../test/support/memory-source.ts';
import { labelsFromRecord } from '../../model/labels.ts';
import { createPromqlEngine, type EngineFeatures, type PromqlEngine } from './engine.ts';
import { createLocalLeafSource } from './leaf.ts';
import { createShardedLeafSource } from './leaf-merge.ts';

const OFF: EngineFeatures = {
  experimentalFunctions: false,
  durationExpressions: false,
  extendedRangeSelectors: false,
  fillModifiers: false,
  delayedNameRemoval: false,
  startTimestamps: false,
  typeAndUnitLabels: false,
};

function engineOver(source: MemorySource, maxSamples = 1e6, features: EngineFeatures = OFF): PromqlEngine {
  return createPromqlEngine({
    source: createLocalLeafSource(source),
    lookbackMs: 300_000,
    defaultSubqueryStepMs: 60_000,
    maxSamples,
    features,
  });
}

function sample(): MemorySource {
  const source = new MemorySource();
  for (const name of ['a_total', 'b_total']) {
    for (const i of ['1', '2']) {
      const samples = Array.from({ length: 41 }, (_, k) => ({ t: k * 15_000, value: k * Number(i) }));
      source.append('t', labelsFromRecord({ __name__: name, i }), samples);
    }
  }
  return source;
}

test('samples by step, where they are asked for: each window counts all that it holds', async () => {
  const source = sample();
  const shards = [createLocalLeafSource(source), createLocalLeafSource(new MemorySource())];
  const engines = [
    engineOver(source),
    createPromqlEngine({
      source: createShardedLeafSource(shards),
      lookbackMs: 300_000,
      defaultSubqueryStepMs: 60_000,
      maxSamples: 1e6,
      features: OFF,
    }),
  ];
  // Samples every 15 s from 0 to 600 s; steps at 0, 300, 600 and 900 s.
  const range = { tenant: 't', startMs: 0, endMs: 900_000, stepMs: 300_000 };
  const cases: [query: string, counts: number[]][] = [
    ['a_total', [2, 2, 2, 0]],
    ['a_total + b_total', [4, 4, 4, 0]],
    ['rate(a_total[1m])', [2, 8, 8, 0]],
    ['sum(rate(a_total[1m]))', [2, 8, 8, 0]],
    ['sum by (i) (a_total) + time()', [2, 2, 2, 0]],
    // Evaluated once, counted at each step.
    ['sum(rate(a_total[1m] @ 300))', [8, 8, 8, 8]],
    ['a_total{i="1"} @ 300 + a_total{i="1"}', [2, 2, 2, 1]],
    // What the function sees of the subquery, not what that reads: 5 points in (0, 5 min] and at 0.
    ['max_over_time(a_total{i="1"}[5m:1m])', [1, 5, 5, 4]],
    ['1 + 2', [0, 0, 0, 0]],
  ];
  for (const engine of engines) {
    for (const [query, counts] of cases) {
      const { stats } = await engine.range({ ...range, query, countSteps: true });
      assert.deepEqual([...(stats.perStep?.samples ?? [])], counts, query);
    }
    const { stats } = await engine.instant({ tenant: 't', timeMs: 600_000, query: 'a_total[1m]', countSteps: true });
    assert.deepEqual([...(stats.perStep?.samples ?? [])], [8]);
    assert.equal((await engine.range({ ...range, query: 'a_total' })).stats.perStep, undefined);
  }
});

test('each kind of expression has its kind of result', async () => {
  const engine = engineOver(sample());
  const at = { tenant: 't', timeMs: 600_000 };
  assert.deepEqual((await engine.instant({ ...at, query: '1 + 2' })).value, {
    type: 'scalar',
    timestampMs: 600_000,
    value: 3,
  });
  assert.deepEqual((await engine.instant({ ...at, query: '"x"' })).value, {
    type: 'string',
    timestampMs: 600_000,
    value: 'x',
  });
  const vector = (await engine.instant({ ...at, query: 'a_total' })).value;
  assert.equal(vector.type, 'vector');
  const raw = (await engine.instant({ ...at, query: 'a_total[1m]' })).value;
  assert.ok(raw.type === 'raw' && raw.series[0]?.timestamps.length === 4);
  const sub = (await engine.instant({ ...at, query: 'rate(a_total[1m])[2m:30s]' })).value;
  assert.ok(sub.type === 'raw' && sub.series[0]?.timestamps.length === 4);
  const range = { tenant: 't', startMs: 0, endMs: 60_000, stepMs: 30_000 };
  const scalar = (await engine.range({ ...range, query: 'time()' })).value;
  assert.ok(scalar.type === 'matrix' && scalar.steps === 3);
  assert.deepEqual(Array.from(scalar.rows[0]?.values ?? []), [0, 30, 60]);
});

test('range queries refuse what has no value per step', async () => {
  const engine = engineOver(sample());
  const range = { tenant: 't', startMs: 0, endMs: 60_000, stepMs: 30_000 };
  await assert.rejects(engine.range({ ...range, query: 'a_total[1m]' }), {
    message: 'invalid expression type "range vector" for range query, must be Scalar or instant Vector',
  });
  await assert.rejects(engine.range({ ...range, query: '"x"' }), /invalid expression type "string"/);
  await assert.rejects(engine.range({ ...range, stepMs: 0, query: '1' }), /step must be above 0/);
});

test('without delayed removal names go at once, and make series the same', async () => {
  const engine = engineOver(sample());
  const at = { tenant: 't', timeMs: 600_000 };
  const query = 'rate({__name__=~"[ab]_total"}[1m])';
  const message = 'vector cannot contain metrics with the same labelset';
  await assert.rejects(engine.instant({ ...at, query }), { message });
  await assert.rejects(engine.instant({ ...at, query: `sum(${query})` }), { message });
  const one = (await engine.instant({ ...at, query: 'sum by (__name__) (rate(a_total[1m]))' })).value;
  assert.ok(one.type === 'vector');
  assert.deepEqual(
    one.samples.map(s => s.labels),
    [[]],
  );
});

test('experimental parts are refused unless switched on', async () => {
  const engine = engineOver(sample());
  const at = { tenant: 't', timeMs: 600_000 };
  for (const query of [
    'limitk(1, a_total)',
    'mad_over_time(a_total[1m])',
    'a_total[1m + 1m]',
    'rate(a_total[1m] smoothed)',
  ]) {
    await assert.rejects(engine.instant({ ...at, query }), { name: 'PromqlParseError' }, query);
  }
});

test('the sample limit stops wide and deep queries', async () => {
  const at = { tenant: 't', timeMs: 600_000 };
  await assert.rejects(engineOver(sample(), 50).instant({ ...at, query: 'a_total[10m]' }), { name: 'QueryLimitError' });
  const range = { tenant: 't', startMs: 0, endMs: 600_000, stepMs: 1000 };
  const narrow = engineOver(sample(), 2000);
  await assert.rejects(narrow.range({ ...range, query: 'a_total + b_total' }), /too many samples/);
  assert.equal((await narrow.range({ ...range, query: 'sum(a_total)' })).value.type, 'matrix');
});

test('grids beyond all measure are refused before room is made for them', async () => {
  const engine = engineOver(sample());
  const at = { tenant: 't', timeMs: 600_000 };
  await assert.rejects(engine.instant({ ...at, query: 'max_over_time(a_total[10y:1ms])' }), {
    name: 'QueryLimitError',
  });
  const range = { tenant: 't', startMs: 0, endMs: 1e12, stepMs: 1 };
  await assert.rejects(engine.range({ ...range, query: 'a_total' }), { name: 'QueryLimitError' });
  await assert.rejects(engine.range({ ...range, endMs: 900_000, query: 'a_total @ 60' }), { name: 'QueryLimitError' });
});

test('an aborted query stops', async () => {
  const controller = new AbortController();
  controller.abort(new Error('gone'));
  const engine = engineOver(sample());
  await assert.rejects(engine.instant({ tenant: 't', timeMs: 0, query: 'a_total', signal: controller.signal }), /gone/);
});

test('notes carry their place, also behind line breaks and other letters', async () => {
  const source = new MemorySource();
  source.append(
    't',
    labelsFromRecord({ __name__: 'gauge', l: 'ä' }),
    [0, 15_000, 30_000].map(t => ({ t, value: t })),
  );
  const engine = engineOver(source);
  const result = await engine.instant({ tenant: 't', timeMs: 30_000, query: '# ä\n1 + rate(gauge{l="ä"}[1m])' });
  assert.deepEqual(result.infos, [
    'PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "gauge" (2:10)',
  ]);
});

test('types rather than names can say what a counter is', async () => {
  const source = new MemorySource();
  source.append(
    't',
    labelsFromRecord({ __name__: 'x', __type__: 'counter' }),
    [0, 15_000].map(t => ({ t, value: t })),
  );
  source.append(
    't',
    labelsFromRecord({ __name__: 'y_total', __type__: 'gauge' }),
    [0, 15_000].map(t => ({ t, value: t })),
  );
  const engine = engineOver(source, 1e6, { ...OFF, typeAndUnitLabels: true });
  const infos = async (query: string) => (await engine.instant({ tenant: 't', timeMs: 15_000, query })).infos;
  assert.deepEqual(await infos('rate(x[1m])'), []);
  assert.deepEqual(await infos('rate(y_total[1m])'), [
    'PromQL info: metric might not be a counter, __type__ label is not set to "counter" or "histogram", got "gauge": "y_total" (1:6)',
  ]);
});

test('instant results come in the order of their labels unless the query orders them', async () => {
  const source = new MemorySource();
  for (const i of ['c', 'a', 'b'])
    source.append('t', labelsFromRecord({ __name__: 'm', i }), [{ t: 0, value: i.charCodeAt(0) }]);
  const engine = engineOver(source);
  const order = async (query: string) => {
    const { value } = await engine.instant({ tenant: 't', timeMs: 0, query });
    return value.type === 'vector' ? value.samples.map(s => s.labels.at(-1)).join('') : '';
  };
  assert.equal(await order('m'), 'abc');
  assert.equal(await order('sort_desc(m)'), 'cba');
  assert.equal(await order('topk(2, m) * 1'), 'cb');
});
