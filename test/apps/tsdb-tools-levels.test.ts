/**
 * Retention and coarser levels on a real shard whose clock the test moves: a second's data becomes minutes after 7 days and hours
 * after 30, the finer data goes when its time is over, and queries answer from what there is. Answers are held against
 * those of a shard that keeps everything raw.
 */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { BatchBuilder } from '../../src/ingest/batch-builder.ts';
import { IdentityHasher } from '../../src/lib/identity-hash.ts';
import { silentLogger } from '../../src/lib/log.ts';
import { MetricsRegistry } from '../../src/lib/metrics.ts';
import { createPromqlEngine } from '../../src/query/promql/engine.ts';
import { createLocalLeafSource } from '../../src/query/promql/leaf.ts';
import { DEFAULT_FEATURES } from '../../src/query/promql/parser.ts';
import type { GridRow } from '../../src/query/promql/result.ts';
import { changeFeedBytes, SharedChangeFeed } from '../../src/storage/tsdb/change-feed.ts';
import { TsdbShard } from '../../src/storage/tsdb/shard.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { Random } from '../support/random.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** The start of a 72 h window. */
const START = Math.ceil(1_690_000_000_000 / (72 * HOUR_MS)) * 72 * HOUR_MS;
const END = START + 72 * HOUR_MS;
const RETENTION = { rawMs: 20 * DAY_MS, minuteMs: 60 * DAY_MS, hourMs: 400 * DAY_MS, maxBytes: 0 };
const FOREVER = { rawMs: 1e15, minuteMs: 1e15, hourMs: 1e15, maxBytes: 0 };
const LEVELS = { minuteAfterMs: 7 * DAY_MS, hourAfterMs: 30 * DAY_MS };
const RAW_ONLY = { minuteAfterMs: null, hourAfterMs: null };
const FEATURES = { ...DEFAULT_FEATURES, delayedNameRemoval: false, startTimestamps: false, typeAndUnitLabels: false };
const hasher = new IdentityHasher(new Uint8Array(32).fill(5));

async function openShard(
  t: TestContext,
  clock: ManualClock,
  retention: typeof RETENTION,
  downsample: { minuteAfterMs: number | null; hourAfterMs: number | null },
): Promise<{ shard: TsdbShard; dir: string }> {
  const dir = mkdtempSync(join(tmpdir(), 'sightline-levels-'));
  const shard = await TsdbShard.open({
    dir,
    shardIndex: 0,
    clock,
    log: silentLogger,
    metrics: new MetricsRegistry(),
    changes: new SharedChangeFeed(new SharedArrayBuffer(changeFeedBytes(1)), 1),
    walSync: 'never',
    walSyncIntervalMs: 1000,
    retention,
    downsample,
  });
  t.after(async () => {
    await shard.close();
    rmSync(dir, { recursive: true, force: true });
  });
  return { shard, dir };
}

/** A value for every series at every step, an hour a batch. */
function append(
  shards: readonly TsdbShard[],
  tenant: string,
  stepMs: number,
  series: Record<string, (i: number) => number>,
): void {
  const builder = new BatchBuilder(hasher, hasher.tenantSeed(tenant));
  let i = 0;
  for (let hour = START; hour < END; hour += HOUR_MS) {
    builder.reset();
    const from = i;
    for (const [name, next] of Object.entries(series)) {
      builder.addSeries(['__name__', name]);
      i = from;
      for (let at = hour; at < hour + HOUR_MS; at += stepMs) builder.addSample(at, next(i++));
    }
    const batch = builder.finish();
    for (const shard of shards) shard.appendRows(tenant, batch, null, batch.seriesCount);
  }
}

/** Resolutions of the blocks that begin before END. */
function levels(shard: TsdbShard, tenant: string): number[] {
  const blocks = shard.blockStatus(tenant).filter(b => b.minTimeMs < END);
  return [...new Set(blocks.map(b => b.resolutionMs))].sort((a, b) => a - b);
}

async function ask(shard: TsdbShard, tenant: string, query: string, stepMs: number) {
  const engine = createPromqlEngine({
    source: createLocalLeafSource(shard),
    lookbackMs: 300_000,
    defaultSubqueryStepMs: 60_000,
    maxSamples: 50_000_000,
    features: FEATURES,
  });
  const startMs = START + 12 * HOUR_MS;
  const result = await engine.range({ tenant, query, startMs, endMs: END - 6 * HOUR_MS, stepMs });
  assert.equal(result.value.type, 'matrix');
  const { rows } = result.value as { rows: GridRow[] };
  assert.equal(rows.length, 1, query);
  return { row: rows[0] as GridRow, infos: result.infos, samplesRead: result.stats.samplesRead };
}

/** Differences in relation to the raw answer, ascending; every step must have a value in both. */
function errors(got: GridRow, want: GridRow): number[] {
  const found: number[] = [];
  for (let i = 0; i < want.values.length; i++) {
    assert.equal(got.present[i], 1, `step ${i}`);
    assert.equal(want.present[i], 1, `step ${i}`);
    const w = want.values[i] as number;
    found.push(Math.abs((got.values[i] as number) - w) / Math.max(1e-9, Math.abs(w)));
  }
  return found.sort((a, b) => a - b);
}

/** By query of a window W: the relative errors that a level may bring, in the median and at worst. */
const QUERIES: readonly [query: string, median: number, worst: number][] = [
  // Windows begin and end up to a bucket beside the raw ones, and rate extrapolates to them: after a reset to about 0 it does
  // that for less than a bucket, as it would for samples of that distance: a bucket of the window's four at worst.
  ['rate(requests_total[W])', 0.005, 0.25],
  ['increase(requests_total[W])', 0.005, 0.25],
  // One bucket of a window may be a neighbour's.
  ['avg_over_time(load[W])', 0.001, 0.02],
  ['max_over_time(load[W])', 0, 0.05],
  ['min_over_time(load[W])', 0, 0.05],
  ['count_over_time(load[W])', 0, 0.001],
  // Of a bucket only the last sample is left: up to a bucket old.
  ['load', 0.02, 0.2],
];

async function compare(
  shard: TsdbShard,
  raw: TsdbShard,
  stepMs: number,
  window: string,
): Promise<{ infos: string[]; fewer: boolean }> {
  const infos = new Set<string>();
  let fewer = true;
  for (const [query, median, worst] of QUERIES) {
    const text = query.replace('W', window);
    const got = await ask(shard, 'busy', text, stepMs);
    const want = await ask(raw, 'busy', text, stepMs);
    const seen = errors(got.row, want.row);
    const middle = seen[seen.length >> 1] as number;
    const most = seen.at(-1) as number;
    const said = `${text} at ${stepMs / 1000} s is off by ${(middle * 100).toFixed(3)} %, at most ${(most * 100).toFixed(2)} %`;
    assert.ok(middle <= median && most <= worst, said);
    if (!query.startsWith('count')) fewer &&= got.samplesRead * 10 < want.samplesRead || query === 'load';
    // Plain look-ups want one sample a step at least: twice as fine as windows of two steps.
    if (query !== 'load') for (const info of got.infos) infos.add(info);
  }
  return { infos: [...infos], fewer };
}

test('a second becomes a minute, then an hour; finer data goes; answers stay right', async t => {
  const clock = new ManualClock(END);
  const still = new ManualClock(END);
  const { shard } = await openShard(t, clock, RETENTION, LEVELS);
  const { shard: raw } = await openShard(t, still, FOREVER, RAW_ONLY);
  const random = new Random(21);
  let total = 1000;
  let load = 50;
  append([shard, raw], 'busy', 1000, {
    requests_total: i => {
      total = i % 40_000 === 39_999 ? 3 : total + 5 + random.int(11);
      return total;
    },
    load: () => {
      load = Math.min(90, Math.max(20, load + (random.int(21) - 10) / 50));
      return Math.round(load * 100) / 100;
    },
  });
  await clock.advance(HOUR_MS);
  await still.advance(HOUR_MS);
  await shard.upkeep.round();
  await raw.upkeep.flushAll();
  assert.deepEqual(levels(shard, 'busy'), [0]);
  const fresh = await compare(shard, raw, 300_000, '10m');
  assert.deepEqual(fresh.infos, []);

  // 7 days after the window's end: minutes beside raw. Fine questions are still answered from raw.
  await clock.advance(7 * DAY_MS);
  await shard.upkeep.round();
  assert.deepEqual(levels(shard, 'busy'), [0, 60_000]);
  const minutes = await compare(shard, raw, 300_000, '10m');
  assert.deepEqual(minutes.infos, []);
  assert.ok(minutes.fewer, 'answered from the coarser level');
  const fine = await ask(shard, 'busy', 'load', 15_000);
  assert.equal(errors(fine.row, (await ask(raw, 'busy', 'load', 15_000)).row).at(-1), 0);
  assert.deepEqual(fine.infos, []);

  // Raw is past its retention: minutes answer everything, and say so where finer was wanted.
  await clock.advance(14 * DAY_MS);
  await shard.upkeep.round();
  assert.deepEqual(levels(shard, 'busy'), [60_000]);
  const onlyMinutes = await compare(shard, raw, 300_000, '10m');
  assert.deepEqual(onlyMinutes.infos, []);
  const wantedRaw = await ask(shard, 'busy', 'rate(requests_total[5m])', 15_000);
  assert.match(wantedRaw.infos.join(), /1 min resolution/);

  // 30 days: hours beside minutes.
  await clock.advance(10 * DAY_MS);
  await shard.upkeep.round();
  assert.deepEqual(levels(shard, 'busy'), [60_000, HOUR_MS]);
  const hours = await compare(shard, raw, HOUR_MS, '4h');
  assert.deepEqual(hours.infos, []);
  assert.ok(hours.fewer, 'answered from the coarser level');

  // 60 days: hours only. They last until their own retention.
  await clock.advance(40 * DAY_MS);
  await shard.upkeep.round();
  assert.deepEqual(levels(shard, 'busy'), [HOUR_MS]);
  assert.deepEqual((await compare(shard, raw, HOUR_MS, '4h')).infos, []);
  assert.match((await ask(shard, 'busy', 'rate(requests_total[4h])', 300_000)).infos.join(), /1 h resolution/);
  await clock.advance(400 * DAY_MS);
  await shard.upkeep.round();
  assert.deepEqual(levels(shard, 'busy'), []);
});

test('a level that would not be smaller is not written; the finer data stands in for it', async t => {
  const clock = new ManualClock(END);
  const { shard, dir } = await openShard(t, clock, RETENTION, { minuteAfterMs: 7 * DAY_MS, hourAfterMs: null });
  const random = new Random(22);
  // Two samples a minute make sum, least, largest, last and growth: more than there was.
  append([shard], 'sparse', 30_000, { noise: () => random.unit() * 1e9 });
  // Something newer, so that the window is complete and its blocks become one.
  const builder = new BatchBuilder(hasher, hasher.tenantSeed('sparse'));
  builder.reset();
  builder.addSeries(['__name__', 'newer']);
  builder.addSample(END + 60_000, 1);
  const batch = builder.finish();
  shard.appendRows('sparse', batch, null, batch.seriesCount);
  await clock.advance(HOUR_MS);
  await shard.upkeep.round();
  const before = await ask(shard, 'sparse', 'avg_over_time(noise[2h])', HOUR_MS);
  await clock.advance(25 * DAY_MS);
  await shard.upkeep.round();
  assert.ok(existsSync(join(dir, 'not-downsampled.json')));
  assert.deepEqual(levels(shard, 'sparse'), [0]);
  const after = await ask(shard, 'sparse', 'avg_over_time(noise[2h])', HOUR_MS);
  assert.deepEqual(after.infos, []);
  assert.deepEqual([...after.row.values], [...before.row.values]);
  // It goes when the level that it stands for would.
  await clock.advance(36 * DAY_MS);
  await shard.upkeep.round();
  assert.deepEqual(levels(shard, 'sparse'), []);
});

test('retention by time alone: what is past goes, what is not stays, and queries no longer see it', async t => {
  const clock = new ManualClock(START + HOUR_MS);
  const { shard } = await openShard(t, clock, { ...FOREVER, rawMs: 5 * DAY_MS }, RAW_ONLY);
  const builder = new BatchBuilder(hasher, hasher.tenantSeed('t'));
  for (let day = 0; day < 12; day++) {
    builder.reset();
    builder.addSeries(['__name__', 'daily']);
    for (let k = 0; k < 24; k++) builder.addSample(START + day * DAY_MS + k * HOUR_MS, day);
    const batch = builder.finish();
    shard.appendRows('t', batch, null, batch.seriesCount);
    await clock.advance(DAY_MS);
    await shard.upkeep.round();
  }
  const oldest = Math.min(...shard.blockStatus('t').map(b => b.minTimeMs));
  const now = clock.now();
  assert.ok(oldest > START, 'something has gone');
  // A block goes when all of it is past: at most the largest window longer than asked for.
  assert.ok(oldest >= now - 5 * DAY_MS - 72 * HOUR_MS, new Date(oldest).toISOString());
  assert.ok(oldest <= now - 5 * DAY_MS + DAY_MS, 'nothing went before its time');
  const engine = createPromqlEngine({
    source: createLocalLeafSource(shard),
    lookbackMs: 300_000,
    defaultSubqueryStepMs: 60_000,
    maxSamples: 1e6,
    features: FEATURES,
  });
  const gone = await engine.instant({ tenant: 't', query: 'daily', timeMs: START + 1000 });
  const kept = await engine.instant({ tenant: 't', query: 'daily', timeMs: START + 11 * DAY_MS + 1000 });
  assert.equal(gone.value.type === 'vector' && gone.value.samples.length, 0);
  assert.equal(kept.value.type === 'vector' && kept.value.samples[0]?.value, 11);
});
