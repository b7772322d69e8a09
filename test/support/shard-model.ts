/**
 * ShardModel: one storage shard under random operations, beside a Map that does the same the obvious way.
 *
 * Appends in and out of order, deletes, flushes, upkeep rounds (merges), garbage collection, rewrites of deleted data, snapshots,
 * and reopening with and without a close. After each reopening, and of each snapshot, all contents are compared bit by bit,
 * and PromQL is evaluated over the shard and over the Map's samples.
 */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { newSampleBuffer } from '../../src/contracts/sample-source.ts';
import type { Clock } from '../../src/lib/clock.ts';
import { silentLogger } from '../../src/lib/log.ts';
import { MetricsRegistry } from '../../src/lib/metrics.ts';
import { getLabel, type Labels, labelsKey } from '../../src/model/labels.ts';
import { createPromqlEngine, type PromqlEngine } from '../../src/query/promql/engine.ts';
import { createLocalLeafSource } from '../../src/query/promql/leaf.ts';
import { DEFAULT_FEATURES } from '../../src/query/promql/parser.ts';
import type { QueryResult } from '../../src/query/promql/result.ts';
import { changeFeedBytes, SharedChangeFeed } from '../../src/storage/tsdb/change-feed.ts';
import { batchOf, histogramOf, labels, Model, type Row, textsOf } from '../../src/storage/tsdb/head/fixture.ts';
import type { PolicyRule } from '../../src/storage/tsdb/policies.ts';
import { TsdbShard } from '../../src/storage/tsdb/shard.ts';
import { MemorySource } from './memory-source.ts';

const TENANTS = ['default', 'acme'] as const;
const SERIES: readonly Labels[] = Array.from({ length: 9 }, (_, i) =>
  labels({ __name__: `m${i % 3}`, job: `j${i % 2}`, n: String(i), ...(i % 4 === 0 ? { extra: 'ü"\\' } : {}) }),
);
const BASE_MS = 1_700_000_000_000;
const HOUR_MS = 3_600_000;
const STALE_BITS = 0x7ff0000000000002n;
/** After the small integers: a marker, a NaN with a payload, -0, infinity. */
const ODD = [STALE_BITS, 0x7ff8000000000abcn, 0x8000000000000000n, 0x7ff0000000000000n];

const QUERIES = [
  'sum by (job) (m0)',
  'count_over_time({__name__=~"m."}[3h])',
  'rate(m1[2h])',
  'max_over_time(m2[1h]) or m0',
  'histogram_count(m1)',
  'last_over_time(m0{job="j0"}[90m] offset 30m)',
  'absent(m2{n="5"})',
];

export type Op =
  | { kind: 'append'; tenant: number; s: number; t: number; n: number; stepMs: number; v: number; histogram: boolean }
  | { kind: 'delete'; tenant: number; job: number; t: number; spanMs: number }
  | { kind: 'tick'; hours: number }
  | { kind: 'flush' | 'round' | 'gc' | 'clean' | 'snapshot' | 'close' | 'crash' };

const tenant = fc.integer({ min: 0, max: TENANTS.length - 1 });
/** From 60 h before the clock's start to 6 h after it. */
const time = fc.integer({ min: -60 * HOUR_MS, max: 6 * HOUR_MS });

export const operations: fc.Arbitrary<Op[]> = fc.array(
  fc.oneof(
    {
      weight: 9,
      arbitrary: fc.record({
        kind: fc.constant('append' as const),
        tenant,
        s: fc.integer({ min: 0, max: SERIES.length - 1 }),
        t: time,
        n: fc.integer({ min: 1, max: 150 }),
        stepMs: fc.constantFrom(1, 15_000, 60_000, 600_000),
        v: fc.integer({ min: 0, max: 12 }),
        histogram: fc.boolean(),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant('delete' as const),
        tenant,
        job: fc.integer({ min: 0, max: 1 }),
        t: time,
        spanMs: fc.constantFrom(0, 1000, HOUR_MS, 50 * HOUR_MS),
      }),
    },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('tick' as const), hours: fc.integer({ min: 0, max: 30 }) }) },
    {
      weight: 6,
      arbitrary: fc.record({ kind: fc.constantFrom('flush', 'round', 'gc', 'clean', 'snapshot', 'close', 'crash') }),
    },
  ),
  { minLength: 4, maxLength: 40, size: 'max' },
) as fc.Arbitrary<Op[]>;

export class ShardModel {
  private readonly root = mkdtempSync(join(tmpdir(), 'sightline-shard-'));
  private readonly model = new Model();
  private nowMs = BASE_MS;
  private snapshots = 0;
  private shard: TsdbShard | null = null;
  compared = 0;
  private readonly rules: readonly PolicyRule[];

  /** @param rules make groups of series, which upkeep keeps in blocks of their own */
  constructor(rules: readonly PolicyRule[] = []) {
    this.rules = rules;
  }

  async open(): Promise<void> {
    this.shard = await this.openAt(join(this.root, 'shard'));
    assert.deepEqual(this.shard.head.report.damage, []);
  }

  private openAt(dir: string): Promise<TsdbShard> {
    mkdirSync(dir, { recursive: true });
    // Timers never fire: upkeep comes as an operation.
    const clock: Clock = { now: () => this.nowMs, monotonic: () => this.nowMs, after: () => ({ cancel: () => {} }) };
    return TsdbShard.open({
      dir,
      shardIndex: 0,
      clock,
      log: silentLogger,
      metrics: new MetricsRegistry(),
      changes: new SharedChangeFeed(new SharedArrayBuffer(changeFeedBytes(1)), 1),
      walSync: 'never',
      walSyncIntervalMs: 100,
      retention: { rawMs: Infinity, minuteMs: Infinity, hourMs: Infinity, maxBytes: 0 },
      downsample: { minuteAfterMs: null, hourAfterMs: null },
      rules: this.rules,
      blockCacheBytes: 1024 * 1024,
      chunkCacheBytes: 16 * 1024,
    });
  }

  async apply(op: Op): Promise<void> {
    const shard = this.shard as TsdbShard;
    switch (op.kind) {
      case 'append': {
        const name = TENANTS[op.tenant] as string;
        const rows = rowsOf(op);
        const batch = batchOf(name, rows);
        const { samples, histograms, rejected } = shard.appendRows(name, batch, null, batch.seriesCount);
        assert.deepEqual(rejected, []);
        assert.equal(samples + histograms, rows.length);
        for (const row of rows) this.model.add(name, row);
        return;
      }
      case 'delete': {
        const name = TENANTS[op.tenant] as string;
        const value = `j${op.job}`;
        const minT = BASE_MS + op.t;
        const maxT = minT + op.spanMs;
        await shard.deleteSeries(name, [[{ name: 'job', op: '=', value }]], minT, maxT);
        this.model.delete(name, l => getLabel(l, 'job') === value, minT, maxT);
        return;
      }
      case 'tick':
        this.nowMs += op.hours * HOUR_MS;
        return;
      case 'flush':
        return shard.upkeep.flushAll();
      case 'round':
        return shard.upkeep.round();
      case 'gc':
        shard.head.gcSeries(this.nowMs - HOUR_MS);
        return shard.head.maintain();
      case 'clean':
        return shard.cleanTombstones();
      case 'snapshot':
        return this.snapshot();
      case 'close':
      case 'crash':
        return this.reopen(op.kind === 'close');
    }
  }

  /** As after a stop, or as after kill -9. */
  async reopen(clean: boolean): Promise<void> {
    const shard = this.shard as TsdbShard;
    if (clean) await shard.close();
    else crash(shard);
    await this.open();
    await this.check(this.shard as TsdbShard, clean ? 'after a close' : 'after a crash');
  }

  private async snapshot(): Promise<void> {
    const dir = join(this.root, `snapshot-${this.snapshots++}`);
    mkdirSync(dir, { recursive: true });
    await (this.shard as TsdbShard).snapshot(dir, false);
    const copy = await this.openAt(dir);
    // What is stamped over an hour ahead of the clock stays in the head, and out of snapshots.
    await this.contents(copy, 'of a snapshot', this.nowMs + HOUR_MS);
    await copy.close();
    rmSync(dir, { recursive: true });
  }

  async check(shard: TsdbShard, what: string): Promise<void> {
    await this.contents(shard, what, Infinity);
    const leaves = engineOver(createLocalLeafSource(shard));
    for (const name of TENANTS) {
      const memory = engineOver(createLocalLeafSource(this.memory(name)));
      for (const query of QUERIES) {
        const span = { tenant: name, query, startMs: BASE_MS - 6 * HOUR_MS, endMs: BASE_MS + 6 * HOUR_MS };
        const params = { ...span, stepMs: 7 * 60_000 };
        const [got, want] = [await leaves.range(params), await memory.range(params)];
        assert.deepEqual(textOf(got), textOf(want), `${query} ${what}, tenant ${name}`);
      }
    }
  }

  /** Samples up to `settledMs` must be there; later ones may be. */
  private async contents(shard: TsdbShard, what: string, settledMs: number): Promise<void> {
    for (const name of TENANTS) {
      const request = { matchers: [], minT: 0, maxT: settledMs, hints: { stepMs: 0, rangeMs: 0, func: '' } };
      const set = await shard.select(name, request);
      const found = new Map<string, string[]>();
      const buffer = newSampleBuffer(4);
      for (let i = 0; i < set.count; i++) {
        set.read(i, buffer);
        const texts = textsOf(buffer);
        this.compared += texts.length;
        if (texts.length > 0) found.set(labelsKey(set.labels(i)), texts);
      }
      set.close();
      assert.deepEqual(ordered(found), ordered(this.model.texts(name, 0, settledMs)), `contents ${what}`);
    }
  }

  private memory(name: string): MemorySource {
    const source = new MemorySource();
    for (const series of this.model.tenants.get(name)?.values() ?? []) {
      const held = [...series.samples.values()].sort((a, b) => a.t - b.t);
      source.append(
        name,
        series.labels,
        held.map(h => {
          if (h.value === null) return { t: h.t, histogram: h.histogram as NonNullable<typeof h.histogram> };
          const stale = new BigUint64Array(h.value.buffer)[0] === STALE_BITS;
          return stale ? { t: h.t, stale } : { t: h.t, value: h.value[0] as number };
        }),
      );
    }
    return source;
  }

  dispose(): void {
    if (this.shard !== null) crash(this.shard);
    rmSync(this.root, { recursive: true, force: true });
  }
}

/** Closing these files writes nothing, and thousands of histories must not use up the descriptors. */
function crash(shard: TsdbShard): void {
  shard.head.abandon();
  shard.exemplarStore.close();
  shard.metadataStore.close();
  shard.blocks.close();
}

function rowsOf(op: Extract<Op, { kind: 'append' }>): Row[] {
  const own = SERIES[op.s] as Labels;
  return Array.from({ length: op.n }, (_, i): Row => {
    const t = BASE_MS + op.t + i * op.stepMs;
    if (op.histogram && op.s % 3 === 1) return { labels: own, t, histogram: histogramOf(op.v + i, op.v % 2 === 0) };
    const bits = ODD[((op.v + i) % 60) - 50];
    return bits === undefined ? { labels: own, t, value: (op.v * 7 + i * 3) % 101 } : { labels: own, t, bits };
  });
}

function engineOver(source: ReturnType<typeof createLocalLeafSource>): PromqlEngine {
  return createPromqlEngine({
    source,
    lookbackMs: 300_000,
    defaultSubqueryStepMs: 60_000,
    maxSamples: 10_000_000,
    features: { ...DEFAULT_FEATURES, delayedNameRemoval: false, startTimestamps: false, typeAndUnitLabels: false },
  });
}

/** A result as texts; NaNs are all alike in arithmetic. */
function textOf(result: QueryResult): string[] {
  assert.equal(result.value.type, 'matrix');
  if (result.value.type !== 'matrix') return [];
  return result.value.rows
    .map(row => {
      const points: string[] = [];
      for (let i = 0; i < row.values.length; i++) {
        const h = row.histograms?.[i] ?? null;
        if (h !== null) points.push(`${i}:h${h.count}/${h.sum}`);
        else if (row.present[i] === 1) points.push(`${i}:${row.values[i]}`);
      }
      return `${labelsKey(row.labels)} ${points.join(' ')}`;
    })
    .sort();
}

function ordered(map: Map<string, string[]>): [string, string[]][] {
  return [...map].sort((a, b) => (a[0] < b[0] ? -1 : 1));
}

/** `runs` random histories, each ended by a crash. */
export async function checkShardModel(seed: number, runs: number, rules: readonly PolicyRule[] = []): Promise<number> {
  let compared = 0;
  await fc.assert(
    fc.asyncProperty(operations, async ops => {
      const subject = new ShardModel(rules);
      try {
        await subject.open();
        for (const op of ops) await subject.apply(op);
        await subject.reopen(false);
        compared += subject.compared;
      } finally {
        subject.dispose();
      }
    }),
    { seed, numRuns: runs },
  );
  return compared;
}
