import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { newSampleBuffer } from '../../../contracts/sample-source.ts';
import { getLabel } from '../../../model/labels.ts';
import type { MatchOp } from '../../../model/matcher.ts';
import { seeded } from '../chunk/shapes.ts';
import { compileMatcher } from '../matchers.ts';
import { BlockCaches } from './cache.ts';
import { CorruptBlockError } from './layout.ts';
import { BlockReader, removeBlock } from './reader.ts';
import {
  bufferOf,
  caches,
  contents,
  openBlock,
  type Row,
  rowsOf,
  series,
  type TestSeries,
  tempDir,
  testHistogram,
  writeBlock,
} from './testing.ts';
import { verifyBlock } from './verify.ts';
import { BlockWriter } from './writer.ts';

const dir = tempDir();
after(() => rmSync(dir, { recursive: true }));
const T0 = 1_763_769_600_000;

function randomSeries(r: () => number, count: number): TestSeries[] {
  const all: TestSeries[] = [];
  for (let s = 0; s < count; s++) {
    const rows: Row[] = [];
    const n = 1 + Math.floor(r() * 900);
    let t = T0 + Math.floor(r() * 10_000);
    let c = 0;
    for (let i = 0; i < n; i++) {
      t += 15_000 + (s % 3 === 0 ? 0 : Math.floor(r() * 30));
      c += Math.floor(r() * 100);
      rows.push([t, s % 10 === 7 ? testHistogram(c) : r() < 0.01 ? 'stale' : s % 4 === 0 ? r() : c]);
    }
    const labels: Record<string, string> = { __name__: `m${s % 13}`, i: `${s}`, job: s % 2 === 0 ? 'even' : 'odd' };
    if (s % 5 === 0) labels['é€😀'] = `v${s % 7}`;
    all.push(series(labels, rows));
  }
  return all;
}

test('a block gives back what was put in, and verifies', async () => {
  const all = randomSeries(seeded(1), 700);
  const block = await openBlock(dir, 'A', all);
  assert.equal(block.seriesCount, 700);
  const got = contents(block);
  for (const s of all) assert.deepEqual(got.get(JSON.stringify(s.labels)), rowsOf(s.data), JSON.stringify(s.labels));
  const report = await verifyBlock(block.path);
  assert.deepEqual(report.findings, []);
  assert.equal(
    report.samples,
    all.reduce((sum, s) => sum + s.data.length + s.data.histogramLength, 0),
  );
  block.close();
});

test('ranges are cut exactly', async () => {
  const r = seeded(2);
  const all = randomSeries(r, 20);
  const block = await openBlock(dir, 'B', all);
  for (let round = 0; round < 200; round++) {
    const minT = T0 + Math.floor(r() * 12e6);
    const maxT = minT + Math.floor(r() * 5e6);
    const set = block.select('acme', [], minT, maxT);
    const into = newSampleBuffer();
    for (let i = 0; i < set.count; i++) {
      into.length = 0;
      into.histogramLength = 0;
      set.read(i, minT, maxT, into);
      const s = all.find(x => JSON.stringify(x.labels) === JSON.stringify(set.labels(i))) as TestSeries;
      assert.deepEqual(
        rowsOf(into),
        rowsOf(s.data).filter(([t]) => t >= minT && t <= maxT),
        `round ${round}, seed 2`,
      );
    }
    set.close();
  }
  assert.equal(block.select('other', [], 0, 1e15).count, 0);
  assert.equal(block.select('acme', [], 0, T0 - 1).count, 0);
  block.close();
});

test('matchers select as Prometheus does, against the obvious way', async () => {
  const r = seeded(3);
  const all = randomSeries(r, 400);
  const block = await openBlock(dir, 'C', all);
  const names = ['__name__', 'i', 'job', 'é€😀', 'absent'];
  const values: Record<string, string[]> = {
    '=': ['m1', '', 'even', '12', 'v3'],
    '=~': ['m1.*', '', '.*', '.+', 'even|odd', 'm(1|2)', '1[0-9]', 'v?.?', 'odd|'],
  };
  for (let round = 0; round < 500; round++) {
    const matchers = Array.from({ length: 1 + Math.floor(r() * 3) }, () => {
      const op = ['=', '!=', '=~', '!~'][Math.floor(r() * 4)] as MatchOp;
      const pool = values[op.includes('~') ? '=~' : '='] as string[];
      return {
        name: names[Math.floor(r() * names.length)] as string,
        op,
        value: pool[Math.floor(r() * pool.length)] as string,
      };
    });
    const compiled = matchers.map(compileMatcher);
    const expected = all.filter(s => compiled.every(m => m.matches(getLabel(s.labels, m.name))));
    const set = block.select('acme', compiled, T0, T0 + 1e9);
    const got = Array.from({ length: set.count }, (_, i) => JSON.stringify(set.labels(i)));
    set.close();
    const what = `${JSON.stringify(matchers)}, seed 3`;
    assert.deepEqual(got.sort(), expected.map(s => JSON.stringify(s.labels)).sort(), what);
    const values2 = block.labelValues('acme', 'job', compiled, T0, T0 + 1e9);
    assert.deepEqual([...values2].sort(), [...new Set(expected.map(s => getLabel(s.labels, 'job')))].sort(), what);
    const labelNames = new Set(expected.flatMap(s => s.labels.filter((_, i) => i % 2 === 0)));
    assert.deepEqual([...block.labelNames('acme', compiled, T0, T0 + 1e9)].sort(), [...labelNames].sort(), what);
  }
  assert.equal(block.labelValues('acme', 'i', [], T0, T0 + 1e9).size, 400);
  block.close();
});

test('start timestamps come back, and 0 where a series has none', async () => {
  const a = series({ __name__: 'a' }, [
    [T0, 1],
    [T0 + 1, 2],
  ]);
  a.data.startTimestamps = Float64Array.from([T0 - 5, T0 - 5]);
  const block = await openBlock(dir, 'D', [a, series({ __name__: 'b' }, [[T0, 3]])]);
  const set = block.select('acme', [], T0, T0 + 9);
  const into = newSampleBuffer();
  set.read(0, T0, T0 + 9, into);
  set.read(1, T0, T0 + 9, into);
  assert.deepEqual([...(into.startTimestamps as Float64Array).subarray(0, 3)], [T0 - 5, T0 - 5, 0]);
  set.close();
  block.close();
});

test('series of one target share their jittered timestamps', async () => {
  const r = seeded(4);
  const times = Array.from({ length: 480 }, (_, i) => T0 + i * 15_000 + Math.floor(r() * 50));
  const make = (i: number) =>
    series(
      { __name__: 'm', i: `${i}` },
      times.map((t, k): Row => [t, (k * 7 + i) % 5]),
    );
  const one = await openBlock(dir, 'E1', [make(0)]);
  const many = await openBlock(
    dir,
    'E2',
    Array.from({ length: 100 }, (_, i) => make(i)),
  );
  assert.equal(many.file.rawBytes(2), one.file.rawBytes(2));
  one.close();
  many.close();
});

test('deleted samples are gone, also after reopening; a series with nothing left is not listed', async () => {
  const rows = Array.from({ length: 100 }, (_, i): Row => [T0 + i * 1000, i]);
  const histograms = Array.from({ length: 100 }, (_, i): Row => [T0 + i * 1000, testHistogram(i)]);
  const path = await writeBlock(dir, 'F', [
    series({ __name__: 'a' }, rows),
    series({ __name__: 'b' }, rows),
    series({ __name__: 'h' }, histograms),
  ]);
  let block = new BlockReader(path, caches());
  const before = block.select('acme', [], T0, T0 + 1e6);
  const matcher = (value: string) => [compileMatcher({ name: '__name__', op: '=~', value })];
  assert.equal(block.delete('acme', matcher('a|h'), T0 + 10_000, T0 + 19_999), 2);
  assert.equal(block.delete('acme', matcher('b'), 0, T0 + 1e9), 1);
  const into = newSampleBuffer();
  before.read(1, T0, T0 + 1e6, into);
  assert.equal(into.length, 100, 'a selection made before sees what it saw');
  before.close();
  block.close();
  block = new BlockReader(path, caches());
  const got = contents(block);
  assert.equal(got.size, 2);
  assert.deepEqual(
    got.get('["__name__","a"]'),
    rows.filter((_, i) => i < 10 || i > 19),
  );
  assert.deepEqual(
    got.get('["__name__","h"]'),
    histograms.filter((_, i) => i < 10 || i > 19),
  );
  assert.deepEqual([...block.labelValues('acme', '__name__', [], T0, T0 + 1e6)], ['a', 'h']);
  const file = path.replace('.block', '.tombstones');
  const bytes = readFileSync(file);
  bytes[20] = (bytes[20] as number) ^ 1;
  writeFileSync(file, bytes);
  assert.throws(() => new BlockReader(path, caches()), /F\.tombstones: tombstones at byte \d+: checksum/);
  removeBlock(path);
  assert.equal(existsSync(file), false);
  block.close();
});

test('a closed block serves the selections that hold it', async () => {
  const block = await openBlock(dir, 'G', [series({ __name__: 'a' }, [[T0, 1]])]);
  const set = block.select('acme', [], T0, T0);
  block.close();
  removeBlock(block.path);
  const into = newSampleBuffer();
  set.read(0, T0, T0, into);
  assert.equal(into.values[0], 1);
  set.close();
});

test('no series, no file; series out of order are a bug; abort leaves nothing', async () => {
  const sub = tempDir();
  const options = { ulid: 'H', tenant: 'acme', createdAtMs: 0, arrivedMs: 0 };
  assert.equal(await new BlockWriter(sub, options).finish(), null);
  const writer = new BlockWriter(sub, options);
  writer.addSeries(new Uint32Array([2, 0, 0, 0]), ['__name__', 'b'], bufferOf([[1, 1]]));
  assert.throws(() => writer.addSeries(new Uint32Array([1, 0, 0, 0]), ['__name__', 'b'], bufferOf([[1, 1]])), /BUG/);
  assert.throws(() => writer.addSeries(new Uint32Array([3, 0, 0, 0]), ['__name__', 'a'], bufferOf([[1, 1]])), /BUG/);
  writer.abort();
  assert.deepEqual(readdirSync(sub), []);
  rmSync(sub, { recursive: true });
});

test('every flipped byte is found, and named with file, section and offset; reading never crashes', async () => {
  const path = await writeBlock(dir, 'J', randomSeries(seeded(5), 60));
  const sound = readFileSync(path);
  const r = seeded(6);
  const victim = join(dir, 'K.block');
  for (let round = 0; round < 250; round++) {
    const bytes = Buffer.from(sound);
    // The small sections at the end get their share.
    const at =
      round % 2 === 0
        ? Math.floor(r() * bytes.length)
        : bytes.length - 1 - Math.floor(r() * Math.min(bytes.length, 3000));
    bytes[at] = (bytes[at] as number) ^ (1 << Math.floor(r() * 8));
    writeFileSync(victim, bytes);
    const what = `byte ${at} of ${bytes.length}, seed 6`;
    const report = await verifyBlock(victim);
    assert.ok(report.findings.length > 0, what);
    for (const finding of report.findings) assert.match(finding, /K\.block: \w+ at byte \d+: /, what);
    try {
      const block = new BlockReader(victim, caches());
      try {
        contents(block);
      } finally {
        block.close();
      }
    } catch (error) {
      assert.ok(error instanceof CorruptBlockError, `${what}: ${error}`);
    }
  }
});

test('a file cut short is refused', async () => {
  const path = await writeBlock(dir, 'L', randomSeries(seeded(7), 10));
  const bytes = readFileSync(path);
  const victim = join(dir, 'M.block');
  for (let size = 0; size < bytes.length; size += 997) {
    writeFileSync(victim, bytes.subarray(0, size));
    assert.throws(() => new BlockReader(victim, caches()), CorruptBlockError);
  }
});

test('caches stay within their bounds', async () => {
  const path = await writeBlock(dir, 'N', randomSeries(seeded(8), 600));
  const small = new BlockCaches({ indexBytesMax: 100_000, dataBytesMax: 600_000 });
  const block = new BlockReader(path, small);
  assert.equal(contents(block).size, 600);
  assert.ok(small.index.bytes <= 100_000 && small.data.bytes <= 600_000 && small.data.bytes > 0);
  block.close();
  assert.equal(small.index.bytes + small.data.bytes, 0);
});
