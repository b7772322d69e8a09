import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ChangeFeed, FRESH_ZONE_MS } from '../../contracts/query-service.ts';
import { compareLabels, type Labels, labelsFromRecord } from '../../model/labels.ts';
import type { VectorSelector } from '../promql/ast.ts';
import type { PromqlEngine } from '../promql/engine.ts';
import { parseExpr } from '../promql/parser.ts';
import { printExpr } from '../promql/print.ts';
import type { GridRow, QueryResult } from '../promql/result.ts';
import { ResultCache } from './result-cache.ts';
import { reuseOf } from './reuse.ts';

const LOOKBACK_MS = 300_000;
const HOUR = 3_600_000;

/** Deterministic random numbers; the seed stands in the test's message. */
function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) >>> 0;
    return ((Math.imul(state ^ (state >>> 13), 0x297a2d39) ^ (state >>> 16)) >>> 0) / 2 ** 32;
  };
}

/** The obvious store and an engine that knows only selectors: what the cache must not differ from. */
class World implements ChangeFeed {
  now = 1_700_000_000_000;
  readonly series = new Map<string, { labels: Labels; samples: Map<number, number> }>();
  readonly log: { sequence: number; t: number }[] = [];
  private sequence = 0;
  evaluatedSteps = 0;

  write(name: string, i: number, t: number, value: number): void {
    const key = `${name}/${i}`;
    let s = this.series.get(key);
    if (s === undefined) {
      s = { labels: labelsFromRecord({ __name__: name, i: String(i) }), samples: new Map() };
      this.series.set(key, s);
    }
    s.samples.set(t, value);
    this.changed(t);
  }

  delete(from: number, to: number): void {
    for (const s of this.series.values()) {
      for (const t of [...s.samples.keys()]) if (t >= from && t <= to) s.samples.delete(t);
    }
    this.changed(from);
  }

  private changed(t: number): void {
    if (t >= this.now - FRESH_ZONE_MS) return;
    this.log.push({ sequence: ++this.sequence, t });
  }

  current(): number {
    return this.sequence;
  }

  oldestChangedSince(_tenant: string, sequence: number): number {
    return Math.min(...this.log.filter(e => e.sequence > sequence).map(e => e.t), Number.POSITIVE_INFINITY);
  }

  readonly engine: PromqlEngine = {
    instant: () => assert.fail('only ranges are cached'),
    range: async params => this.evaluate(params.query, params.startMs, params.endMs, params.stepMs),
  };

  private evaluate(query: string, startMs: number, endMs: number, stepMs: number): QueryResult {
    const selector = parseExpr(query) as VectorSelector;
    const steps = Math.floor((endMs - startMs) / stepMs) + 1;
    this.evaluatedSteps += steps;
    const rows: GridRow[] = [];
    const warnings = new Set<string>();
    for (const s of this.series.values()) {
      if (s.labels[1] !== selector.name) continue;
      const row: GridRow = {
        labels: s.labels,
        values: new Float64Array(steps),
        present: new Uint8Array(steps),
        histograms: null,
      };
      for (let k = 0; k < steps; k++) {
        const at = startMs + k * stepMs - selector.offsetMs;
        let best = Number.NEGATIVE_INFINITY;
        for (const t of s.samples.keys()) if (t <= at && t > at - LOOKBACK_MS && t > best) best = t;
        if (best === Number.NEGATIVE_INFINITY) continue;
        row.values[k] = s.samples.get(best) as number;
        row.present[k] = 1;
        if ((row.values[k] as number) < 0) warnings.add('negative');
      }
      if (row.present.includes(1)) rows.push(row);
    }
    rows.sort((a, b) => compareLabels(a.labels, b.labels));
    return {
      value: { type: 'matrix', startMs, stepMs, steps, rows },
      warnings: [...warnings],
      infos: [],
      stats: { samplesRead: steps, peakSamples: 1, parseMs: 0, evalMs: 0 },
    };
  }
}

function cacheOf(world: World, bytesMax = 10_000_000): ResultCache {
  return new ResultCache({
    engine: world.engine,
    changes: world,
    now: () => world.now,
    parse: query => {
      const expr = parseExpr(query);
      return { expr, canonical: printExpr(expr) };
    },
    lookbackMs: LOOKBACK_MS,
    freshMs: FRESH_ZONE_MS,
    bytesMax,
  });
}

/** Points by series and time, whatever the columns look like. */
function points(result: QueryResult): string[] {
  const { value } = result;
  assert.equal(value.type, 'matrix');
  const out: string[] = [];
  if (value.type !== 'matrix') return out;
  for (const row of value.rows) {
    assert.equal(row.values.length, value.steps);
    assert.equal(row.present.length, value.steps);
    for (let k = 0; k < value.steps; k++) {
      if (row.present[k] === 1) out.push(`${row.labels.join()}@${value.startMs + k * value.stepMs}=${row.values[k]}`);
    }
  }
  return out;
}

test('a moved window evaluates only what is missing', async () => {
  const world = new World();
  const start = world.now - 2 * HOUR;
  for (let t = start; t < world.now; t += 15_000) world.write('m', 1, t, t - start);
  const cache = cacheOf(world);
  const ask = (from: number, to: number) =>
    cache.range({ tenant: 't', query: 'm', startMs: from, endMs: to, stepMs: 60_000 });
  await ask(start, start + HOUR);
  assert.equal(world.evaluatedSteps, 61);
  world.evaluatedSteps = 0;
  await ask(start + 10 * 60_000, start + HOUR + 10 * 60_000);
  assert.equal(world.evaluatedSteps, 10);
  world.evaluatedSteps = 0;
  await ask(start - 5 * 60_000, start + HOUR);
  assert.equal(world.evaluatedSteps, 5);
  await ask(start, start + HOUR);
  assert.equal(world.evaluatedSteps, 5);
  // Spelled otherwise, it is the same query; another phase, step or look-back is not.
  await cache.range({ tenant: 't', query: '{__name__="m"}', startMs: start, endMs: start + HOUR, stepMs: 60_000 });
  const other = { tenant: 't', query: ' m ', startMs: start, endMs: start + HOUR, stepMs: 60_000 };
  world.evaluatedSteps = 0;
  await cache.range(other);
  assert.equal(world.evaluatedSteps, 0);
  await cache.range({ ...other, startMs: start + 1 });
  await cache.range({ ...other, stepMs: 120_000 });
  await cache.range({ ...other, lookbackMs: 1000 });
  await cache.range({ ...other, tenant: 'u' });
  assert.equal(world.evaluatedSteps, 60 + 31 + 61 + 61);
  const { hits, partial, misses } = cache.stats();
  assert.deepEqual([hits, partial], [2, 2]);
  assert.ok(misses >= 5);
});

test('the fresh end is evaluated every time', async () => {
  const world = new World();
  for (let t = world.now - HOUR; t <= world.now; t += 15_000) world.write('m', 1, t, 1);
  const cache = cacheOf(world);
  const query = { tenant: 't', query: 'm', startMs: world.now - HOUR, endMs: world.now, stepMs: 30_000 };
  await cache.range(query);
  world.evaluatedSteps = 0;
  await cache.range(query);
  // now - 30 s and now; the step at now - 60 s is finished.
  assert.equal(world.evaluatedSteps, 2);
  // A query that looks five minutes ahead has a longer fresh end.
  const ahead = { ...query, query: 'm offset -5m' };
  await cache.range(ahead);
  world.evaluatedSteps = 0;
  await cache.range(ahead);
  assert.equal(world.evaluatedSteps, 12);
});

test('late samples and deletes drop the steps from their time on', async () => {
  const world = new World();
  for (let t = world.now - HOUR; t < world.now; t += 60_000) world.write('m', 1, t, 1);
  const cache = cacheOf(world);
  const query = { tenant: 't', query: 'm', startMs: world.now - HOUR, endMs: world.now - 120_000, stepMs: 60_000 };
  await cache.range(query);
  world.write('m', 2, world.now - 30 * 60_000, 7);
  world.evaluatedSteps = 0;
  const after = await cache.range(query);
  assert.equal(world.evaluatedSteps, 29);
  assert.deepEqual(points(after), points(await world.engine.range(query)));
  world.delete(world.now - 45 * 60_000, world.now - 44 * 60_000);
  world.evaluatedSteps = 0;
  await cache.range(query);
  assert.equal(world.evaluatedSteps, 44);
});

test('cached and uncached answers agree under random windows, writes, late samples and deletes', async () => {
  for (let seed = 1; seed <= 12; seed++) {
    const random = randomOf(seed);
    const int = (n: number) => Math.floor(random() * n);
    const world = new World();
    // Small, so that eviction takes part; and one that keeps everything.
    const cache = cacheOf(world, seed % 3 === 0 ? 40_000 : 10_000_000);
    for (let t = world.now - 2 * HOUR; t < world.now; t += 30_000) {
      for (let i = 0; i < 3; i++) if (random() < 0.8) world.write('m', i, t, int(20) - 1);
    }
    for (let round = 0; round < 150; round++) {
      const what = random();
      if (what < 0.3) {
        world.now += int(4) * 15_000;
        for (let i = 0; i < 4; i++) world.write('m', i, world.now - int(FRESH_ZONE_MS), int(20) - 1);
      } else if (what < 0.38) world.write('m', int(6), world.now - int(2 * HOUR), int(20) - 1);
      else if (what < 0.41) {
        const from = world.now - int(2 * HOUR);
        world.delete(from, from + int(HOUR / 4));
      } else {
        const stepMs = [15_000, 60_000, 300_000][int(3)] as number;
        const phase = random() < 0.8 ? 0 : 1000;
        const endMs = Math.floor((world.now - int(HOUR) * int(2)) / stepMs) * stepMs + phase;
        const startMs = endMs - int(40) * stepMs;
        const query = ['m', 'm offset 10m', 'm offset -10m'][int(3)] as string;
        const params = { tenant: 't', query, startMs, endMs: endMs + int(stepMs), stepMs };
        const got = await cache.range(params);
        const want = await world.engine.range(params);
        const at = `seed ${seed} round ${round}`;
        assert.deepEqual(points(got), points(want), at);
        for (const w of want.warnings) assert.ok(got.warnings.includes(w), at);
        if (got.value.type !== 'matrix' || want.value.type !== 'matrix') assert.fail(at);
        assert.equal(got.value.steps, want.value.steps, at);
      }
    }
    const stats = cache.stats();
    assert.ok(stats.bytes <= (seed % 3 === 0 ? 40_000 : 10_000_000), `seed ${seed}: ${stats.bytes}`);
    if (seed % 3 !== 0) assert.ok(stats.hits + stats.partial > 10, `seed ${seed}: ${JSON.stringify(stats)}`);
  }
});

test('histograms and annotations are kept', async () => {
  const world = new World();
  for (let t = world.now - HOUR; t < world.now; t += 60_000) world.write('m', 1, t, -1);
  const histogram = { count: 1, positiveBuckets: [1], negativeBuckets: [], customValues: [] } as never;
  const base = world.engine.range;
  world.engine.range = async params => {
    const result = await base.call(world.engine, params);
    if (result.value.type !== 'matrix') assert.fail();
    for (const row of result.value.rows) row.histograms = new Array(result.value.steps).fill(histogram);
    return result;
  };
  const cache = cacheOf(world);
  const query = { tenant: 't', query: 'm', startMs: world.now - HOUR, endMs: world.now - 600_000, stepMs: 60_000 };
  await cache.range(query);
  const moved = { ...query, startMs: query.startMs + 60_000, endMs: query.endMs + 60_000 };
  const result = await cache.range(moved);
  assert.deepEqual(result.warnings, ['negative']);
  if (result.value.type !== 'matrix') assert.fail();
  assert.deepEqual(result.value.rows[0]?.histograms, new Array(result.value.steps).fill(histogram));
});

test('failures leave nothing, and a change during an evaluation is seen', async () => {
  const world = new World();
  for (let t = world.now - HOUR; t < world.now; t += 60_000) world.write('m', 1, t, 1);
  const cache = cacheOf(world);
  const query = { tenant: 't', query: 'm', startMs: world.now - HOUR, endMs: world.now - 600_000, stepMs: 60_000 };
  const base = world.engine.range;
  world.engine.range = () => Promise.reject(new Error('broken'));
  await assert.rejects(cache.range(query), /broken/);
  world.engine.range = async params => {
    const result = await base.call(world.engine, params);
    world.write('m', 9, world.now - HOUR + 60_000, 3);
    return result;
  };
  await cache.range(query);
  world.engine.range = base;
  assert.deepEqual(points(await cache.range(query)), points(await base.call(world.engine, query)));
  cache.clear('t');
  assert.deepEqual([cache.stats().entries, cache.stats().bytes], [0, 0]);
});

test('what depends on more than the step is not reused', () => {
  const forward = (query: string) => reuseOf(parseExpr(query), LOOKBACK_MS)?.forwardMs ?? null;
  assert.equal(forward('m'), 0);
  assert.equal(forward('rate(m[5m]) + on() group_left n offset 1h'), 0);
  assert.equal(forward('m offset -90s'), 90_000);
  assert.equal(forward('max_over_time(rate(m[1m] offset -2m)[10m:1m] offset -3m)'), 300_000);
  assert.equal(forward('max_over_time(rate(m[1m] offset -2m)[10m:1m] offset 1m)'), 60_000);
  assert.equal(forward('topk(3, m)'), 0);
  assert.equal(forward('m @ end()'), null);
  assert.equal(forward('sum(rate(m[5m] @ 100))'), null);
  assert.equal(forward('max_over_time(m[1h:1m] @ start())'), null);
  assert.equal(forward('1 + 1'), null);
  assert.equal(forward('vector(time())'), null);
});
