import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatExposition, MetricsRegistry } from './metrics.ts';

test('counters, gauges and histograms come out in the text format', async () => {
  const registry = new MetricsRegistry();
  registry.counter('a_total', 'Things.').inc(2);
  const family = registry.gauge('b', 'With "labels"\nand a line.', ['z', 'c']);
  family.labels('1', 'x"y\\').set(Number.POSITIVE_INFINITY);
  const histogram = registry.histogram('h', 'Seconds.', [0.1, 1], ['le_free']);
  histogram.labels('v').observe(0.1);
  histogram.labels('v').observe(0.5);
  histogram.labels('v').observe(9);
  assert.equal(
    formatExposition(await registry.gather()),
    [
      '# HELP a_total Things.',
      '# TYPE a_total counter',
      'a_total 2',
      '# HELP b With "labels"\\nand a line.',
      '# TYPE b gauge',
      'b{c="x\\"y\\\\",z="1"} +Inf',
      '# HELP h Seconds.',
      '# TYPE h histogram',
      'h_bucket{le="0.1",le_free="v"} 1',
      'h_bucket{le="1",le_free="v"} 2',
      'h_bucket{le="+Inf",le_free="v"} 3',
      'h_sum{le_free="v"} 9.6',
      'h_count{le_free="v"} 3',
      '',
    ].join('\n'),
  );
});

test('snapshots of other threads join the family of the same name; a failing one is left out', async () => {
  const registry = new MetricsRegistry();
  const other = new MetricsRegistry();
  registry.counter('x_total', 'X.', ['shard']).labels('0').inc();
  other.counter('x_total', 'X.', ['shard']).labels('1').inc(5);
  registry.addSource(() => structuredClone(other.snapshot()));
  registry.addSource(() => structuredClone(other.snapshot()), ['part', 'b']);
  registry.addSource(() => Promise.reject(new Error('gone')));
  const families = await registry.gather();
  assert.deepEqual(
    families.map(f => f.samples.map(s => [s.labels, s.value])),
    [
      [
        [['shard', '0'], 1],
        [['shard', '1'], 5],
        [['part', 'b', 'shard', '1'], 5],
      ],
    ],
  );
});

test('a family with too many children counts the rest under "other"', () => {
  const registry = new MetricsRegistry();
  const family = registry.counter('t_total', 'T.', ['tenant']);
  for (let i = 0; i < 3000; i++) family.labels(`t${i}`).inc();
  const samples = family.snapshot().samples;
  assert.equal(samples.length, 2001);
  assert.equal(family.labels('other').value, 1000);
});

test('values keep their pages when many children are made', () => {
  const registry = new MetricsRegistry();
  const family = registry.gauge('g', 'G.', ['i']);
  for (let i = 0; i < 1500; i++) family.labels(String(i)).set(i);
  for (let i = 0; i < 1500; i++) assert.equal(family.labels(String(i)).value, i);
});

test('the same name with other labels is a bug', () => {
  const registry = new MetricsRegistry();
  registry.counter('n_total', 'N.');
  assert.throws(() => registry.gauge('n_total', 'N.'), /BUG/);
});
