import assert from 'node:assert/strict';
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { newSampleBuffer } from '../../../contracts/sample-source.ts';
import type { FloatHistogram } from '../../../model/histogram.ts';
import { seeded } from '../chunk/shapes.ts';
import { type AggregateColumn, columnFor } from './aggregates.ts';
import { downsampleBlock } from './downsample.ts';
import type { BlockMeta } from './layout.ts';
import { mergeBlocks } from './merge-blocks.ts';
import { BlockReader } from './reader.ts';
import { caches, contents, openBlock, type Row, rowsOf, series, tempDir, testHistogram } from './testing.ts';
import { verifyBlock } from './verify.ts';

const dir = tempDir();
after(() => rmSync(dir, { recursive: true }));
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const T0 = 500_000 * HOUR;

let ids = 0;
const newUlid = () => `D${String(++ids).padStart(4, '0')}`;

async function downsample(blocks: BlockReader[], resolutionMs: number): Promise<BlockReader> {
  const ulid = newUlid();
  const result = await downsampleBlock(blocks, resolutionMs, { dir, ulid, createdAtMs: 1, onlyIfSmaller: false });
  assert.equal(result.meta?.resolutionMs, resolutionMs);
  const block = new BlockReader(join(dir, `${ulid}.block`), caches());
  assert.equal(result.bytes, block.bytes);
  assert.deepEqual((await verifyBlock(block.path)).findings, []);
  return block;
}

const KEY = '["__name__","m"]';
const read = (block: BlockReader, column: AggregateColumn) => contents(block, column).get(KEY) ?? [];

/** What increase() counts over samples: differences, and after a fall the value itself. */
function growth(rows: readonly Row[]): number {
  let sum = 0;
  let previous: number | null = null;
  for (const [, v] of rows) {
    if (typeof v !== 'number') continue;
    if (previous !== null) sum += v >= previous ? v - previous : v;
    previous = v;
  }
  return sum;
}

test('columns of a row are those of its samples', async () => {
  const rows: Row[] = [];
  const r = seeded(41);
  for (let i = 0; i < 400; i++) rows.push([T0 + i * 15_000 + 3, Math.round(r() * 1000) / 10]);
  const raw = await openBlock(dir, newUlid(), [series({ __name__: 'm' }, rows)]);
  const fine = await downsample([raw], MINUTE);
  const buckets = new Map<number, Row[]>();
  for (const row of rows)
    buckets.set(Math.floor(row[0] / MINUTE), [...(buckets.get(Math.floor(row[0] / MINUTE)) ?? []), row]);
  const expected = [...buckets.values()].map(b => {
    const values = b.map(x => x[1] as number);
    const t = (b[b.length - 1] as Row)[0];
    return {
      t,
      count: b.length,
      min: Math.min(...values),
      max: Math.max(...values),
      last: values[values.length - 1],
      values,
    };
  });
  for (const column of ['count', 'min', 'max', 'last'] as const) {
    assert.deepEqual(
      read(fine, column),
      expected.map(e => [e.t, e[column]]),
      column,
    );
  }
  const exact = (values: number[]) => Math.round(values.reduce((a, b) => a + b * 10, 0)) / 10;
  assert.deepEqual(
    read(fine, 'sum'),
    expected.map(e => [e.t, exact(e.values)]),
  );
  assert.deepEqual(
    read(fine, 'avg'),
    expected.map(e => [e.t, exact(e.values) / e.count]),
  );
  fine.close();
  raw.close();
});

test('growth is right whatever resets happen, within a bucket, across buckets, blocks and resolutions', async () => {
  const r = seeded(42);
  for (let round = 0; round < 60; round++) {
    const rows: Row[] = [];
    let c = Math.floor(r() * 1000);
    for (let i = 0; i < 480; i++) {
      c = r() < 0.06 ? Math.floor(r() * 300) : c + Math.floor(r() * 100);
      if (r() < 0.02) rows.push([T0 + i * 15_000, 'stale']);
      else if (r() < 0.9) rows.push([T0 + i * 15_000, c]);
    }
    const cut = 50 + Math.floor(r() * 300);
    const first = await openBlock(dir, newUlid(), [series({ __name__: 'm' }, rows.slice(0, cut))]);
    const second = await openBlock(dir, newUlid(), [series({ __name__: 'm' }, rows.slice(cut))]);
    const what = `round ${round}, seed 42`;
    const a = await downsample([first], MINUTE);
    const b = await downsample([second], MINUTE);
    assert.equal(growth([...read(a, 'counter'), ...read(b, 'counter')]), growth(rows), what);
    assert.equal(
      growth([...read(first, 'counter'), ...read(b, 'counter')]),
      growth(rows),
      `${what}: raw, then minutes`,
    );
    assert.equal(
      growth([...read(a, 'counter'), ...read(second, 'counter')]),
      growth(rows),
      `${what}: minutes, then raw`,
    );
    const both = await downsample([first, second], MINUTE);
    assert.equal(growth(read(both, 'counter')), growth(rows), `${what}: both`);
    const hours = await downsample([both], HOUR);
    assert.equal(growth(read(hours, 'counter')), growth(rows), `${what}: hours`);
    const increases = read(both, 'increase').reduce((sum, [, v]) => sum + (v as number), 0);
    if (!rows.some(([, v]) => v === 'stale')) assert.equal(increases, growth(rows), `${what}: increases`);
    const times = read(both, 'counter').map(([t]) => t);
    assert.deepEqual(
      times,
      [...new Set(times)].sort((x, y) => x - y),
      `${what}: times ascend`,
    );
    const [merged] = await mergeBlocks(round % 2 === 0 ? [a, b] : [b, a], { dir, newUlid, createdAtMs: 1 });
    const joined = new BlockReader(join(dir, `${(merged as BlockMeta).ulid}.block`), caches());
    const straddles = Math.floor(a.maxT / MINUTE) === Math.floor(b.minT / MINUTE);
    if (!straddles) assert.equal(growth(read(joined, 'counter')), growth(rows), `${what}: merged`);
    for (const block of [first, second, a, b, both, hours, joined]) block.close();
  }
});

test('rows over several chunks: growth and any range of them', async () => {
  const r = seeded(44);
  const rows: Row[] = [];
  let c = 0;
  for (let i = 0; i < 20_000; i++) {
    c = r() < 0.01 ? 0 : c + Math.floor(r() * 100);
    rows.push([T0 + i * 20_000 + Math.floor(r() * 500), r() < 0.01 ? 'stale' : c]);
  }
  const raw = await openBlock(dir, newUlid(), [series({ __name__: 'm' }, rows)]);
  const fine = await downsample([raw], MINUTE);
  assert.ok(fine.meta.chunks > 3);
  assert.equal(growth(read(fine, 'counter')), growth(rows));
  const set = fine.select('acme', [], fine.minT, fine.maxT);
  for (const column of ['last', 'sum', 'max'] as const) {
    const all = read(fine, column);
    for (let round = 0; round < 50; round++) {
      const from = T0 + Math.floor(r() * 2e8);
      const to = from + Math.floor(r() * 1e8);
      const into = newSampleBuffer();
      set.readAggregate(0, from, to, column, into);
      const expected = all.filter(([t]) => t >= from && t <= to);
      assert.deepEqual(rowsOf(into), expected, `${column}, round ${round}, seed 44`);
    }
  }
  set.close();
  const pieces = await mergeBlocks([fine], { dir, newUlid, createdAtMs: 1, windowMs: 12 * HOUR });
  const parts = pieces.map(m => new BlockReader(join(dir, `${m.ulid}.block`), caches()));
  assert.equal(growth(parts.flatMap(p => read(p, 'counter'))), growth(rows), 'cut into windows');
  const [whole] = await mergeBlocks(parts, { dir, newUlid, createdAtMs: 1 });
  const again = new BlockReader(join(dir, `${(whole as BlockMeta).ulid}.block`), caches());
  assert.deepEqual(read(again, 'counter'), read(fine, 'counter'), 'and joined again');
  for (const block of [raw, fine, again, ...parts]) block.close();
});

test('hours from minutes are hours from raw', async () => {
  const r = seeded(43);
  const rows: Row[] = [];
  for (let i = 0; i < 2000; i++) rows.push([T0 + i * 15_000, i % 97 === 0 ? 'stale' : Math.floor(r() * 1000)]);
  const raw = await openBlock(dir, newUlid(), [series({ __name__: 'm' }, rows)]);
  const minutes = await downsample([raw], MINUTE);
  const direct = await downsample([raw], HOUR);
  const twice = await downsample([minutes], HOUR);
  for (const column of ['count', 'sum', 'min', 'max', 'last', 'counter'] as const) {
    assert.deepEqual(read(twice, column), read(direct, column), column);
  }
  for (const block of [raw, minutes, direct, twice]) block.close();
});

test('markers: the last sample of a bucket stays one, and counts for nothing', async () => {
  const raw = await openBlock(dir, newUlid(), [
    series({ __name__: 'm' }, [
      [T0, 4],
      [T0 + 15_000, 6],
      [T0 + 30_000, 'stale'],
      [T0 + 5 * MINUTE, 'stale'],
      [T0 + 9 * MINUTE, 7],
    ]),
  ]);
  const fine = await downsample([raw], MINUTE);
  assert.deepEqual(read(fine, 'last'), [
    [T0 + 15_000, 6],
    [T0 + 30_000, 'stale'],
    [T0 + 5 * MINUTE, 'stale'],
    [T0 + 9 * MINUTE, 7],
  ]);
  assert.deepEqual(read(fine, 'sum'), [
    [T0 + 15_000, 10],
    [T0 + 9 * MINUTE, 7],
  ]);
  assert.equal(growth(read(fine, 'counter')), 3);
  fine.close();
  raw.close();
});

test('histograms: the last of each bucket; a hidden reset shows in its hint', async () => {
  const raw = await openBlock(dir, newUlid(), [
    series({ __name__: 'm' }, [
      [T0, testHistogram(5)],
      [T0 + 15_000, testHistogram(9)],
      [T0 + MINUTE, testHistogram(2)],
      [T0 + MINUTE + 15_000, testHistogram(12)],
      [T0 + 2 * MINUTE, testHistogram(14)],
    ]),
  ]);
  const fine = await downsample([raw], MINUTE);
  assert.deepEqual(
    read(fine, 'last').map(([t, h]) => [t - T0, (h as FloatHistogram).count, (h as FloatHistogram).counterResetHint]),
    [
      [15_000, 9, 0],
      [75_000, 12, 1],
      [120_000, 14, 0],
    ],
  );
  fine.close();
  raw.close();
});

test('a level that is not smaller is not kept', async () => {
  const raw = await openBlock(dir, newUlid(), [
    series(
      { __name__: 'm' },
      Array.from({ length: 5 }, (_, i): Row => [T0 + i * MINUTE, i]),
    ),
  ]);
  const ulid = newUlid();
  const result = await downsampleBlock([raw], MINUTE, { dir, ulid, createdAtMs: 1 });
  assert.equal(result.meta, null);
  assert.ok(result.bytes >= result.inputBytes && result.inputBytes === raw.bytes);
  assert.equal(existsSync(join(dir, `${ulid}.block`)), false);
  raw.close();
});

test('which column a function reads', () => {
  assert.equal(columnFor('rate'), 'counter');
  assert.equal(columnFor('count_over_time'), 'each');
  assert.equal(columnFor('quantile_over_time'), 'last');
});
