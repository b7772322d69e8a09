/** Administration over all shards: each is asked, and the answers become one. */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { backup, DatabaseSync } from 'node:sqlite';
import type { NamedCount, TsdbAdmin, TsdbStatus } from '../contracts/admin.ts';
import { FORMAT_FILE } from '../storage/data-dir.ts';
import type { EngineOptions } from './ports.ts';
import type { ShardHandle } from './shard-link.ts';

export interface ClusterAdmin {
  tsdb: TsdbAdmin;
}

export function clusterAdmin(shards: readonly ShardHandle[], options: EngineOptions): ClusterAdmin {
  const all = <T>(ask: (shard: ShardHandle['admin']) => Promise<T>): Promise<T[]> =>
    Promise.all(shards.map(s => ask(s.admin)));
  return {
    tsdb: {
      status: async (tenant, limit) => mergeStatus(await all(a => a.status(tenant, limit)), limit),
      blocks: async tenant => (await all(a => a.blocks(tenant))).flat().sort((a, b) => a.minTimeMs - b.minTimeMs),
      replay: () => options.replay.status(),
      deleteSeries: async (tenant, matcherSets, minT, maxT) => {
        await all(a => a.deleteSeries({ tenant, matcherSets, minT, maxT }));
      },
      cleanTombstones: async () => {
        await all(a => a.cleanTombstones());
      },
      snapshot: ({ skipHead }) => snapshot(shards, options, skipHead),
      flush: async () => {
        await all(a => a.flush());
      },
    },
  };
}

/** A folder that can be started from as it is: `--data-dir snapshots/NAME`. Holds the identity secret and the state, too. */
async function snapshot(shards: readonly ShardHandle[], options: EngineOptions, skipHead: boolean): Promise<string> {
  const stamp = new Date(options.clock.now()).toISOString().replace(/[-:]/g, '').replace(/\.\d+/, '');
  const name = `${stamp}-${randomBytes(4).toString('hex')}`;
  const folder = join(options.dataDir, 'snapshots', name);
  const unfinished = `${folder}.tmp`;
  try {
    for (let i = 0; i < shards.length; i++) {
      await mkdir(join(unfinished, 'tsdb', `shard-${String(i).padStart(3, '0')}`), { recursive: true });
    }
    await copyFile(join(options.dataDir, FORMAT_FILE), join(unfinished, FORMAT_FILE));
    await Promise.all(
      shards.map((s, i) => s.admin.snapshot(join(unfinished, 'tsdb', `shard-${String(i).padStart(3, '0')}`), skipHead)),
    );
    await copyState(options.dataDir, unfinished);
    await rename(unfinished, folder);
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true });
    throw error;
  }
  return name;
}

/** What people edit, as it is at one moment, by SQLite's own means: the file alone lacks what is still in its log. */
async function copyState(dataDir: string, to: string): Promise<void> {
  const file = join(dataDir, 'state', 'state.sqlite');
  if (!existsSync(file)) return;
  await mkdir(join(to, 'state'), { recursive: true });
  const state = new DatabaseSync(file, { readOnly: true, timeout: 5000 });
  try {
    await backup(state, join(to, 'state', 'state.sqlite'));
  } finally {
    state.close();
  }
}

/** Series live in one shard each, so counts add up; a label's values may stand in several, so theirs are at least the largest. */
function mergeStatus(parts: readonly TsdbStatus[], limit: number): TsdbStatus {
  const sum = (pick: (s: TsdbStatus) => number): number => parts.reduce((total, s) => total + pick(s), 0);
  return {
    numSeries: sum(s => s.numSeries),
    numLabelPairs: Math.max(...parts.map(s => s.numLabelPairs)),
    chunkCount: sum(s => s.chunkCount),
    minTimeMs: Math.min(...parts.map(s => s.minTimeMs)),
    maxTimeMs: Math.max(...parts.map(s => s.maxTimeMs)),
    seriesCountByMetricName: top(
      parts.map(s => s.seriesCountByMetricName),
      limit,
      (a, b) => a + b,
    ),
    labelValueCountByLabelName: top(
      parts.map(s => s.labelValueCountByLabelName),
      limit,
      Math.max,
    ),
    memoryInBytesByLabelName: top(
      parts.map(s => s.memoryInBytesByLabelName),
      limit,
      (a, b) => a + b,
    ),
    seriesCountByLabelValuePair: top(
      parts.map(s => s.seriesCountByLabelValuePair),
      limit,
      (a, b) => a + b,
    ),
  };
}

function top(lists: readonly NamedCount[][], limit: number, combine: (a: number, b: number) => number): NamedCount[] {
  const byName = new Map<string, number>();
  for (const { name, value } of lists.flat()) {
    const known = byName.get(name);
    byName.set(name, known === undefined ? value : combine(known, value));
  }
  return [...byName]
    .map(([name, value]) => ({ name, value }))
    .sort((a, b) => b.value - a.value || (a.name < b.name ? -1 : 1))
    .slice(0, limit);
}
