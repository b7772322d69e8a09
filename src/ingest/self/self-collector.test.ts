import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../../test/support/manual-clock.ts';
import { RecordingSink } from '../../../test/support/recording-sink.ts';
import { IdentityHasher } from '../../lib/identity-hash.ts';
import { silentLogger } from '../../lib/log.ts';
import { MetricsRegistry } from '../../lib/metrics.ts';
import { SelfCollector } from './self-collector.ts';

function rig(): { clock: ManualClock; sink: RecordingSink; registry: MetricsRegistry; collector: SelfCollector } {
  const clock = new ManualClock(1_700_000_004_000);
  const sink = new RecordingSink();
  const registry = new MetricsRegistry();
  const collector = new SelfCollector({
    registry,
    sink,
    hasher: new IdentityHasher(new Uint8Array(16)),
    clock,
    log: silentLogger,
    intervalMs: 15_000,
    instance: 'box:7070',
  });
  return { clock, sink, registry, collector };
}

test('own metrics go to _self at once, then in step with the clock', async t => {
  const { clock, sink, registry, collector } = rig();
  t.after(() => collector.stop());
  registry.counter('things_total', 'Things.', ['kind']).labels('a').inc(3);
  collector.start();
  await clock.advance(22_000);
  const times = [...new Set(sink.samples.map(sample => sample.timestampMs))];
  assert.deepEqual(times, [1_700_000_004_000, 1_700_000_010_000, 1_700_000_025_000]);
  assert.ok(sink.samples.every(sample => sample.tenant === '_self'));
  assert.deepEqual(
    sink.lines(1_700_000_010_000).filter(line => line.startsWith('things')),
    ['things_total{instance="box:7070", job="sightline", kind="a"} 3'],
  );
  assert.deepEqual(
    sink.metadata.find(entry => entry.metric === 'things_total'),
    {
      metric: 'things_total',
      type: 'counter',
      help: 'Things.',
      unit: '',
    },
  );
});

test('a store that refuses is counted; a new interval takes effect', async t => {
  const { clock, sink, registry, collector } = rig();
  t.after(() => collector.stop());
  sink.failWith = new Error('disk full');
  collector.start();
  await clock.advance(1000);
  sink.failWith = null;
  collector.setInterval(5000);
  await clock.advance(10_000);
  const times = [...new Set(sink.samples.map(sample => sample.timestampMs))];
  assert.deepEqual(times, [1_700_000_010_000, 1_700_000_015_000]);
  const failures = registry.snapshot().find(family => family.name === 'sightline_self_append_failures_total');
  assert.equal(failures?.samples[0]?.value, 1);
});
