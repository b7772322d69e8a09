/**
 * Series without samples leave the index after 24 hours, and what they took is used again: a real shard whose clock the test moves,
 * a deployment a day that replaces every series but a few.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { BatchBuilder } from '../../src/ingest/batch-builder.ts';
import { IdentityHasher } from '../../src/lib/identity-hash.ts';
import { silentLogger } from '../../src/lib/log.ts';
import { MetricsRegistry } from '../../src/lib/metrics.ts';
import { AdmissionBoard } from '../../src/pipeline/admission/board.ts';
import { AdmissionGate } from '../../src/pipeline/admission/gate.ts';
import { LimitsTable, NO_LIMITS } from '../../src/pipeline/admission/limits.ts';
import { changeFeedBytes, SharedChangeFeed } from '../../src/storage/tsdb/change-feed.ts';
import { TsdbShard } from '../../src/storage/tsdb/shard.ts';
import { ManualClock } from '../support/manual-clock.ts';

const HOUR_MS = 3_600_000;
const PODS = 12_000;
const STEADY = 100;
const LIMIT = 16_000;
const hasher = new IdentityHasher(new Uint8Array(32).fill(9));

test('a day without samples, and a series leaves the index; its place is taken by the next', async t => {
  const dir = mkdtempSync(join(tmpdir(), 'sightline-stale-'));
  const clock = new ManualClock(Date.UTC(2026, 0, 1));
  const board = new AdmissionBoard();
  const gate = new AdmissionGate(
    board,
    new LimitsTable({ defaults: { ...NO_LIMITS, activeSeries: LIMIT }, tenants: {} }),
  );
  const shard = await TsdbShard.open({
    dir,
    shardIndex: 0,
    clock,
    log: silentLogger,
    metrics: new MetricsRegistry(),
    changes: new SharedChangeFeed(new SharedArrayBuffer(changeFeedBytes(1)), 1),
    walSync: 'never',
    walSyncIntervalMs: 1000,
    retention: { rawMs: 1e13, minuteMs: 1e13, hourMs: 1e13, maxBytes: 0 },
    downsample: { minuteAfterMs: null, hourAfterMs: null },
    gate,
  });
  t.after(async () => {
    await shard.close();
    rmSync(dir, { recursive: true, force: true });
  });
  const seed = hasher.tenantSeed('t');
  const builder = new BatchBuilder(hasher, seed);
  /** Returns how many were refused. */
  const write = (name: string, count: number): number => {
    builder.reset(seed);
    for (let i = 0; i < count; i++) {
      builder.addSeries(['__name__', 'requests_total', 'pod', `${name}-${i}`]);
      builder.addSample(clock.now(), i);
    }
    const batch = builder.finish();
    const { rejected } = shard.appendRows('t', batch, null, batch.seriesCount);
    return rejected.reduce((sum, r) => sum + r.count, 0);
  };
  const hours = async (n: number): Promise<void> => {
    for (let h = 0; h < n; h++) {
      await clock.advance(HOUR_MS);
      assert.equal(write('steady', STEADY), 0);
      await shard.upkeep.round();
      for (let k = 0; k < 3; k++) await shard.head.maintain();
    }
  };
  const row = board.row('t');
  let memory = 0;
  for (let day = 0; day < 6; day++) {
    assert.equal(write(`deployment-${day}`, PODS), 0, `day ${day}`);
    await hours(20);
    assert.equal(shard.head.stats().series, PODS + STEADY, 'a series is active for 24 hours');
    // Room for 3,900, and 4,000 come.
    if (day === 2) assert.equal(write('extra', 4000), 100);
    await hours(day === 2 ? 30 : 7);
    assert.equal(shard.head.stats().series, STEADY, `day ${day}`);
    assert.equal(board.series(row), STEADY);
    const { series, labels } = shard.head.stats().memory;
    if (day === 3) memory = series + labels;
    if (day > 3) assert.ok(series + labels <= memory * 1.1, `day ${day}: ${series + labels} bytes, ${memory} before`);
  }
  assert.deepEqual(
    (await shard.head.explore('t', { metric: '', label: '', limit: 5 })).metrics,
    [{ name: 'requests_total', series: STEADY }],
    'the explorer sees what is active',
  );
});
