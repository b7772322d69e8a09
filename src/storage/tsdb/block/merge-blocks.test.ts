import assert from 'node:assert/strict';
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { newSampleBuffer } from '../../../contracts/sample-source.ts';
import { seeded } from '../chunk/shapes.ts';
import { compileMatcher } from '../matchers.ts';
import { mergeRuns } from '../merge.ts';
import type { BlockMeta } from './layout.ts';
import { mergeBlocks } from './merge-blocks.ts';
import { BlockReader } from './reader.ts';
import {
  caches,
  contents,
  openBlock,
  type Row,
  rowsOf,
  series,
  type TestSeries,
  tempDir,
  testHistogram,
} from './testing.ts';
import { verifyBlock } from './verify.ts';

const dir = tempDir();
after(() => rmSync(dir, { recursive: true }));
const HOUR = 3_600_000;
const T0 = 500_000 * HOUR;

let ids = 0;
const newUlid = () => `M${String(++ids).padStart(4, '0')}`;
const open = (meta: BlockMeta) => new BlockReader(join(dir, `${meta.ulid}.block`), caches());

/** One row list per label set, of random pieces of the same series. */
function randomPieces(r: () => number): TestSeries[] {
  const all: TestSeries[] = [];
  for (let s = 0; s < 40; s++) {
    if (r() < 0.3) continue;
    const rows: Row[] = [];
    for (let t = T0 + Math.floor(r() * 3 * HOUR); t < T0 + 6 * HOUR; t += 60_000 * (1 + Math.floor(r() * 5))) {
      const aligned = Math.floor(t / 60_000) * 60_000;
      if (rows.length > 0 && aligned <= (rows[rows.length - 1] as Row)[0]) continue;
      const kind = r();
      rows.push([
        aligned,
        kind < 0.05 ? 'stale' : kind < 0.2 ? testHistogram(Math.floor(r() * 4)) : Math.floor(r() * 5),
      ]);
    }
    if (rows.length > 0) all.push(series({ __name__: `m${s % 5}`, s: `${s}` }, rows));
  }
  return all;
}

function expectedOf(groups: readonly TestSeries[][]): Map<string, Row[]> {
  const byLabels = new Map<string, TestSeries[]>();
  for (const s of groups.flat()) {
    const key = JSON.stringify(s.labels);
    byLabels.set(key, [...(byLabels.get(key) ?? []), s]);
  }
  const out = new Map<string, Row[]>();
  for (const [key, list] of byLabels) {
    const into = newSampleBuffer();
    mergeRuns(
      list.map(s => s.data),
      into,
    );
    out.set(key, rowsOf(into));
  }
  return out;
}

test('overlapping blocks merge into the union, in any order, split or not', async () => {
  const r = seeded(31);
  for (let round = 0; round < 8; round++) {
    const groups = Array.from({ length: 1 + Math.floor(r() * 4) }, () => randomPieces(r));
    const blocks = await Promise.all(groups.map(g => openBlock(dir, newUlid(), g)));
    const expected = expectedOf(groups);
    const whole = await mergeBlocks(blocks, { dir, newUlid, createdAtMs: 9 });
    assert.equal(whole.length, 1);
    const meta = whole[0] as BlockMeta;
    assert.equal(meta.level, 2);
    assert.deepEqual(
      meta.sources,
      blocks.map(b => b.meta.ulid),
    );
    const one = open(meta);
    assert.deepEqual(contents(one), new Map([...contents(one)].map(([k]) => [k, expected.get(k) as Row[]])));
    assert.equal(contents(one).size, expected.size, `round ${round}, seed 31`);
    assert.deepEqual((await verifyBlock(one.path)).findings, []);
    const split = await mergeBlocks([...blocks].reverse(), { dir, newUlid, createdAtMs: 9, windowMs: 2 * HOUR });
    const joined = new Map<string, Row[]>();
    for (const m of split) {
      assert.equal(Math.floor(m.minT / (2 * HOUR)), Math.floor(m.maxT / (2 * HOUR)));
      const part = open(m);
      for (const [key, rows] of contents(part)) joined.set(key, [...(joined.get(key) ?? []), ...rows]);
      part.close();
    }
    assert.deepEqual(joined, new Map([...joined.keys()].map(k => [k, expected.get(k) as Row[]])));
    assert.equal(joined.size, expected.size);
    one.close();
    for (const b of blocks) b.close();
  }
});

test('deleted samples are dropped for good; bounds cut; nothing left, nothing written', async () => {
  const rows = Array.from({ length: 50 }, (_, i): Row => [T0 + i * 1000, i]);
  const block = await openBlock(dir, newUlid(), [series({ __name__: 'a' }, rows), series({ __name__: 'b' }, rows)]);
  block.delete('acme', [compileMatcher({ name: '__name__', op: '=', value: 'a' })], T0, T0 + 9999);
  const [meta] = await mergeBlocks([block], { dir, newUlid, createdAtMs: 1, maxT: T0 + 19_999 });
  const merged = open(meta as BlockMeta);
  assert.deepEqual(contents(merged).get('["__name__","a"]'), rows.slice(10, 20));
  assert.deepEqual(contents(merged).get('["__name__","b"]'), rows.slice(0, 20));
  assert.equal((meta as BlockMeta).floatSamples, 30);
  merged.delete('acme', [], 0, T0 + 1e9);
  assert.deepEqual(await mergeBlocks([merged], { dir, newUlid, createdAtMs: 1 }), []);
  assert.deepEqual(
    readdirSync(dir).filter(f => f.endsWith('.tmp')),
    [],
  );
  merged.close();
  block.close();
});

test('an aborted merge leaves no file', async () => {
  const rows = Array.from({ length: 2000 }, (_, i): Row => [T0 + i * 1000, Math.sin(i)]);
  const block = await openBlock(
    dir,
    newUlid(),
    Array.from({ length: 300 }, (_, i) => series({ __name__: 'a', i: `${i}` }, rows)),
  );
  const controller = new AbortController();
  setImmediate(() => controller.abort(new Error('enough')));
  await assert.rejects(mergeBlocks([block], { dir, newUlid, createdAtMs: 1, signal: controller.signal }), /enough/);
  assert.deepEqual(
    readdirSync(dir).filter(f => f.endsWith('.tmp')),
    [],
  );
  block.close();
});

test('blocks of different tenants do not merge', async () => {
  const a = await openBlock(dir, newUlid(), [series({ __name__: 'a' }, [[T0, 1]])]);
  const b = await openBlock(dir, newUlid(), [series({ __name__: 'a' }, [[T0, 1]])], { tenant: 'other' });
  await assert.rejects(mergeBlocks([a, b], { dir, newUlid, createdAtMs: 1 }), /BUG/);
  a.close();
  b.close();
});
