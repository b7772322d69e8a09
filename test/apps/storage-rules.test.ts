/**
 * Retention and downsampling by selector. On a real shard whose clock the test moves: four kinds of series under four policies,
 * written for weeks in order and late; after each day what can be read is held against a list of all that was ever written.
 * And through a whole process.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { newSampleBuffer } from '../../src/contracts/sample-source.ts';
import { BatchBuilder } from '../../src/ingest/batch-builder.ts';
import { IdentityHasher } from '../../src/lib/identity-hash.ts';
import { silentLogger } from '../../src/lib/log.ts';
import { MetricsRegistry } from '../../src/lib/metrics.ts';
import { getLabel } from '../../src/model/labels.ts';
import { parseMetricSelector } from '../../src/query/promql/parser.ts';
import { changeFeedBytes, SharedChangeFeed } from '../../src/storage/tsdb/change-feed.ts';
import type { PolicyRule } from '../../src/storage/tsdb/policies.ts';
import { TsdbShard } from '../../src/storage/tsdb/shard.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { Random } from '../support/random.ts';
import { Sightline } from '../support/sightline.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const START = Math.ceil(1_690_000_000_000 / (72 * HOUR_MS)) * 72 * HOUR_MS;
const FOREVER = 1e15;
const RETENTION = { rawMs: 6 * DAY_MS, minuteMs: FOREVER, hourMs: FOREVER, maxBytes: 0 };
const LEVELS = { minuteAfterMs: 4 * DAY_MS, hourAfterMs: null };
const OFF = { minuteAfterMs: null, hourAfterMs: null };
const hasher = new IdentityHasher(new Uint8Array(32).fill(9));

const rule = (
  selector: string,
  retention: PolicyRule['retention'],
  downsample: PolicyRule['downsample'],
): PolicyRule => ({
  tenant: null,
  selector,
  matchers: parseMetricSelector(selector),
  retention,
  downsample,
});
const RULES = [
  rule('{__name__=~"debug_.*"}', { rawMs: 2 * DAY_MS }, OFF),
  rule('audit', { rawMs: FOREVER }, OFF),
  rule('{__name__=~"slow|audit"}', { rawMs: 10 * DAY_MS }, { minuteAfterMs: 8 * DAY_MS }),
];

async function openShard(dir: string, clock: ManualClock, rules: readonly PolicyRule[]): Promise<TsdbShard> {
  return TsdbShard.open({
    dir,
    shardIndex: 0,
    clock,
    log: silentLogger,
    metrics: new MetricsRegistry(),
    changes: new SharedChangeFeed(new SharedArrayBuffer(changeFeedBytes(1)), 1),
    walSync: 'never',
    walSyncIntervalMs: 1000,
    retention: RETENTION,
    downsample: LEVELS,
    rules,
  });
}

const dirs: string[] = [];
after(() => {
  for (const dir of dirs) rmSync(dir, { recursive: true, force: true });
});

function temporaryDir(): string {
  const dir = mkdtempSync(join(tmpdir(), 'sightline-rules-'));
  dirs.push(dir);
  return dir;
}

/** Names of all series, and the timestamps of each, as a query of this step reads them. */
async function readAll(shard: TsdbShard, stepMs: number): Promise<Map<string, number[]>> {
  const set = await shard.select('t', {
    matchers: [{ name: '__name__', op: '=~', value: '.+' }],
    minT: 0,
    maxT: FOREVER,
    hints: { stepMs, rangeMs: stepMs * 2, func: 'max_over_time' },
  });
  const all = new Map<string, number[]>();
  const buffer = newSampleBuffer();
  for (let i = 0; i < set.count; i++) {
    set.read(i, buffer);
    if (buffer.length > 0)
      all.set(getLabel(set.labels(i), '__name__'), [...buffer.timestamps.subarray(0, buffer.length)]);
  }
  set.close();
  return all;
}

interface Written {
  t: number;
  arrivedMs: number;
}

/** Writes samples of all series every 20 s, now and then some of a past day again, and keeps the list of them. */
class Writer {
  readonly written = new Map<string, Written[]>();
  private readonly random = new Random(77);
  private readonly names: readonly string[];

  constructor(names: readonly string[]) {
    this.names = names;
    for (const name of names) this.written.set(name, []);
  }

  hours(shard: TsdbShard, fromMs: number, count: number, nowMs: number): void {
    this.write(shard, fromMs, count * 180, 20_000, nowMs);
  }

  late(shard: TsdbShard, nowMs: number): void {
    const back = (1 + this.random.int(12)) * DAY_MS;
    this.write(shard, Math.max(START, nowMs - back) + 7, 5, HOUR_MS / 2, nowMs);
  }

  write(shard: TsdbShard, fromMs: number, count: number, stepMs: number, nowMs: number): void {
    const builder = new BatchBuilder(hasher, hasher.tenantSeed('t'));
    builder.reset();
    for (const name of this.names) {
      builder.addSeries(['__name__', name]);
      for (let i = 0; i < count; i++) {
        const t = fromMs + i * stepMs;
        builder.addSample(t, 1 + (i % 7));
        (this.written.get(name) as Written[]).push({ t, arrivedMs: nowMs });
      }
    }
    const batch = builder.finish();
    shard.appendRows('t', batch, null, batch.seriesCount);
  }
}

test('each kind of series is kept and downsampled by its own rule, whatever arrives when', async t => {
  const dir = temporaryDir();
  const clock = new ManualClock(START);
  const shard = await openShard(dir, clock, RULES);
  t.after(() => shard.close());
  const writer = new Writer(['debug_a', 'audit', 'slow', 'plain']);
  const rawKeepDays = { debug_a: 2, audit: 1000, slow: 10, plain: 6 };
  for (let day = 1; day <= 16; day++) {
    for (let part = 0; part < 4; part++) {
      writer.hours(shard, clock.now(), 6, clock.now() + 6 * HOUR_MS);
      await clock.advance(6 * HOUR_MS);
      await shard.upkeep.round();
    }
    if (day % 3 === 0) writer.late(shard, clock.now());
    await clock.advance(HOUR_MS);
    await shard.upkeep.round();
    const now = clock.now();
    const fine = await readAll(shard, 15_000);
    for (const [name, days] of Object.entries(rawKeepDays)) {
      const seen = new Set(fine.get(name));
      const age = (w: Written): number => now - Math.max(w.t, w.arrivedMs);
      const lost = (writer.written.get(name) as Written[]).filter(w => age(w) < days * DAY_MS && !seen.has(w.t));
      assert.equal(lost.length, 0, `day ${day}: ${name} lacks ${JSON.stringify(lost[0])}`);
    }
    // A block goes when all of it is past: debug series have blocks of 12 h. What came late takes its block with it.
    const oldest = Math.min(...(fine.get('debug_a') ?? [now]));
    const lateFrom = (writer.written.get('debug_a') as Written[])
      .filter(w => now - w.arrivedMs <= 2 * DAY_MS + 15 * HOUR_MS && w.arrivedMs - w.t > 7 * HOUR_MS)
      .map(w => Math.floor(w.t / (12 * HOUR_MS)) * 12 * HOUR_MS);
    assert.ok(
      oldest >= Math.min(...lateFrom, now - 2 * DAY_MS - 15 * HOUR_MS),
      `day ${day}: debug_a from ${(now - oldest) / DAY_MS} days ago`,
    );
  }
  // A coarse question: the levels where they are, raw for what has none.
  const coarse = await readAll(shard, 60_000);
  const inWindow = (times: readonly number[] | undefined): number =>
    (times ?? []).filter(at => at >= START + DAY_MS && at < START + 2 * DAY_MS).length;
  assert.equal(inWindow(coarse.get('debug_a')), 0);
  assert.ok(inWindow(coarse.get('audit')) > 4000, 'raw');
  for (const name of ['slow', 'plain']) {
    const n = inWindow(coarse.get(name));
    assert.ok(n > 1300 && n < 3500, `${name}: ${n} points of 1 min`);
  }
  const levels = shard.blockStatus('t').filter(b => b.resolutionMs === 60_000);
  assert.ok(levels.length >= 2);
});

test('rules that come later apply to what is stored: blocks are split, and what is past its time leaves the disk', async t => {
  const dir = temporaryDir();
  const clock = new ManualClock(START);
  let shard = await openShard(dir, clock, []);
  t.after(() => shard.close());
  const writer = new Writer(['debug_a', 'audit', 'slow', 'plain']);
  for (let part = 0; part < 20; part++) {
    writer.hours(shard, clock.now(), 6, clock.now() + 6 * HOUR_MS);
    await clock.advance(6 * HOUR_MS);
    await shard.upkeep.round();
  }
  await shard.upkeep.flushAll();
  const before = await readAll(shard, 15_000);
  assert.equal(before.size, 4);
  await shard.close();

  shard = await openShard(dir, clock, RULES);
  // Nothing is missing while blocks are still mixed.
  for (const name of ['audit', 'slow', 'plain']) {
    assert.deepEqual((await readAll(shard, 15_000)).get(name), before.get(name));
  }
  await shard.upkeep.round();
  for (const block of shard.blocks.all()) {
    assert.equal(block.seriesCount, 1);
    assert.equal(block.meta.sources.length === 0 || block.meta.level > 1, true);
  }
  const after = await readAll(shard, 15_000);
  for (const name of ['audit', 'slow', 'plain']) assert.deepEqual(after.get(name), before.get(name));
  await clock.advance(3 * DAY_MS);
  await shard.upkeep.round();
  const names = await shard.labelValues('t', '__name__', { matcherSets: [], minT: 0, maxT: FOREVER, limit: 0 });
  assert.deepEqual(names.values, ['audit', 'plain', 'slow']);

  // And without rules all is as it was: blocks of all groups merge.
  await shard.close();
  shard = await openShard(dir, clock, []);
  const rest = await readAll(shard, 15_000);
  for (const name of ['audit', 'slow']) assert.deepEqual(rest.get(name), before.get(name));
  // Its first half is past its raw retention: there the level answers, though raw blocks of others stand at the same place.
  const plain = rest.get('plain') ?? [];
  const half = plain.filter(at => at < START + 36 * HOUR_MS);
  assert.equal(half.length, 36 * 60);
  assert.deepEqual(
    plain.filter(at => at >= START + 36 * HOUR_MS),
    before.get('plain')?.filter(at => at >= START + 36 * HOUR_MS),
  );
  const flushed = shard.blocks.bytes;
  await clock.advance(DAY_MS);
  await shard.upkeep.round();
  const merged = await readAll(shard, 15_000);
  assert.deepEqual(merged.get('audit')?.slice(0, 1), [START]);
  assert.ok((merged.get('plain')?.[0] as number) < START + 60_000);
  assert.ok(shard.blocks.bytes < flushed);
});

test('samples that come when their neighbours have become a level: nothing else of that time goes, or is hidden', async t => {
  const dir = temporaryDir();
  const clock = new ManualClock(START);
  const shard = await openShard(dir, clock, []);
  t.after(() => shard.close());
  const names = ['a', 'b'];
  const writer = new Writer(names);
  for (let part = 0; part < 56; part++) {
    writer.hours(shard, clock.now(), 6, clock.now() + 6 * HOUR_MS);
    await clock.advance(6 * HOUR_MS);
    await shard.upkeep.round();
  }
  const counts = async (stepMs: number): Promise<number[]> => {
    const all = await readAll(shard, stepMs);
    return names.map(name => (all.get(name) ?? []).filter(at => at < START + 3 * DAY_MS).length);
  };
  assert.deepEqual(await counts(60_000), [4320, 4320]);
  assert.deepEqual(await counts(15_000), [4320, 4320]);
  // Enough for a level of their own, then too few.
  for (const [count, hour] of [
    [9000, 30],
    [5, 10],
  ] as const) {
    new Writer(['a']).write(shard, START + hour * HOUR_MS + 7, count, 1000, clock.now());
    await shard.upkeep.flushAll();
    await clock.advance(HOUR_MS);
    await shard.upkeep.round();
    const [coarse = 0, coarseB] = await counts(60_000);
    const [fine = 0, fineB] = await counts(15_000);
    assert.deepEqual([coarseB, fineB], [4320, 4320], `${count}`);
    assert.ok(coarse >= 4320 - 5, `${count}: ${coarse}`);
    // The cells of 2 h that have late samples of the series show those.
    assert.ok(fine >= 4320 - (count === 5 ? 5 : 4) * 120 && fine !== 4320, `${count}: ${fine}`);
  }
  await clock.advance(2 * DAY_MS);
  await shard.upkeep.round();
  const [, level] = await counts(60_000);
  assert.equal(level, 4320);
});

test('a whole process: what a rule lets expire is gone from answers and files, its neighbours stay', async t => {
  const rules = JSON.stringify([{ selector: '{__name__=~"debug_.*"}', retention: '1s' }]);
  const server = await Sightline.start(t, {
    config: `http: {admin_api: true}\nhost: {enabled: false}\nself: {interval: 1h}\nstorage: {shards: 1, rules: ${rules}}\n`,
    args: ['--config', 'sightline.yaml'],
  });
  const at = Date.now() - 3 * DAY_MS;
  const post = (path: string, body: string) => fetch(`${server.url}${path}`, { method: 'POST', body });
  const imported = await post('/api/v1/import/prometheus', `debug_x 1 ${at}\nplain_x 2 ${at}\n`);
  assert.equal(imported.status, 204);
  const values = async (): Promise<string> => {
    const query = new URLSearchParams({ query: 'last_over_time({__name__=~".*_x"}[4d])' });
    const answer = await (await fetch(`${server.url}/api/v1/query?${query}`)).json();
    const result = (answer as { data: { result: { metric: { __name__: string } }[] } }).data.result;
    return result
      .map(r => r.metric.__name__)
      .sort()
      .join();
  };
  assert.equal(await values(), 'debug_x,plain_x');
  // A snapshot brings the head into blocks; upkeep comes by itself within 10 s.
  assert.equal((await post('/api/v1/admin/tsdb/snapshot', '')).status, 200);
  const until = Date.now() + 60_000;
  while ((await values()) !== 'plain_x' && Date.now() < until) await new Promise(done => setTimeout(done, 200));
  assert.equal(await values(), 'plain_x');
  const names = await (await fetch(`${server.url}/api/v1/label/__name__/values`)).json();
  assert.deepEqual(
    (names as { data: string[] }).data.filter(n => n.endsWith('_x')),
    ['plain_x'],
  );
});
