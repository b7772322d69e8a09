/**
 * The storages that `sightline promqltest` runs on: a real shard in a temporary folder.
 *
 * head: as loaded; blocks: everything flushed to blocks before an evaluation; restart: the folder closed and opened again.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BatchBuilder } from '../ingest/batch-builder.ts';
import type { Clock } from '../lib/clock.ts';
import { IdentityHasher } from '../lib/identity-hash.ts';
import { silentLogger } from '../lib/log.ts';
import { MetricsRegistry } from '../lib/metrics.ts';
import { createLocalLeafSource } from '../query/promql/leaf.ts';
import { runPromqlTest, type StorageFactory, TEST_TENANT, type TestStorage } from '../query/promqltest/runner.ts';
import { changeFeedBytes, SharedChangeFeed } from '../storage/tsdb/change-feed.ts';
import { TsdbShard } from '../storage/tsdb/shard.ts';
import type { RunScript, StorageMode } from './commands/promqltest.ts';

export const runScript: RunScript = async (file, mode) => {
  const { passed, failures } = await runPromqlTest([file], { storage: shardStorage(mode) });
  return { passed, failures: failures.map(f => ({ ...f, message: `${f.query}: ${f.message}` })) };
};

/** Scripts count from the epoch; a clock that is far ahead makes all their samples old, and never fires. */
const TEST_CLOCK: Clock = Object.freeze({
  now: () => 2e12,
  monotonic: () => performance.now(),
  after: () => ({ cancel: () => {} }),
});

export function shardStorage(mode: StorageMode): StorageFactory {
  return async () => {
    const dir = await mkdtemp(join(tmpdir(), 'sightline-promqltest-'));
    const hasher = new IdentityHasher(new Uint8Array(32).fill(7));
    const builder = new BatchBuilder(hasher, hasher.tenantSeed(TEST_TENANT));
    let shard = await openShard(dir);
    const storage: TestStorage = {
      async append(labels, samples) {
        builder.reset();
        builder.addSeries(labels);
        for (const s of samples) {
          if (s.histogram !== undefined) builder.addHistogram(s.t, s.histogram, s.startTimestamp ?? 0);
          else if (s.stale === true) builder.addStale(s.t);
          else builder.addSample(s.t, s.value as number, s.startTimestamp ?? 0);
        }
        const batch = builder.finish();
        const { rejected } = shard.appendRows(TEST_TENANT, batch, null, batch.seriesCount);
        if (rejected.length > 0) throw new Error(`the store refused samples: ${JSON.stringify(rejected)}`);
      },
      async settle() {
        if (mode === 'blocks') await shard.upkeep.flushAll();
        if (mode === 'restart') {
          await shard.close();
          shard = await openShard(dir);
        }
        return createLocalLeafSource(shard);
      },
      async close() {
        await shard.close();
        await rm(dir, { recursive: true, force: true });
      },
    };
    return storage;
  };
}

function openShard(dir: string): Promise<TsdbShard> {
  return TsdbShard.open({
    dir,
    shardIndex: 0,
    clock: TEST_CLOCK,
    log: silentLogger,
    metrics: new MetricsRegistry(),
    changes: new SharedChangeFeed(new SharedArrayBuffer(changeFeedBytes(1)), 1),
    walSync: 'never',
    walSyncIntervalMs: 100,
    retention: { rawMs: Infinity, minuteMs: Infinity, hourMs: Infinity, maxBytes: 0 },
    downsample: { minuteAfterMs: null, hourAfterMs: null },
    blockCacheBytes: 16 * 1024 * 1024,
  });
}
