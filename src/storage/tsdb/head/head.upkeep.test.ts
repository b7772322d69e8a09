/** Collecting, pinning, and rewriting series.log while the head goes on. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { compileMatcher } from '../matchers.ts';
import { batchOf, labels, type Row, readAll, temporaryDir } from './fixture.ts';
import { Head } from './head.ts';

const tiny = { pageBytes: 1000, segmentBytesMax: 1000, chunkFileBytesMax: 2000, rewriteDeadMin: 1 };

function all(head: Head): Map<string, string[]> {
  const set = head.select('default', [], 0, Infinity);
  try {
    return readAll(set);
  } finally {
    set.close();
  }
}

function rows(name: string, from: number, n: number): Row[] {
  const own = labels({ __name__: 'm', name, parity: String(name.length % 2) });
  return Array.from({ length: n }, (_, i) => ({ labels: own, t: from + i * 10, value: Math.sin(from + i) }));
}

test('an open selection keeps its samples and labels through flush, collection, sweep and reuse', async () => {
  const dir = temporaryDir();
  const head = new Head({ dir, ...tiny });
  for (let i = 0; i < 20; i++) head.append('default', batchOf('default', rows(`series-${i}`, 0, 100)));
  head.append('default', batchOf('default', rows('series-3', 5, 1)));
  const before = all(head);
  const set = head.select('default', [], 0, Infinity);
  head.commitFlush(head.beginFlush(5000));
  head.gcSeries(1e12);
  for (let i = 0; i < 5; i++) await head.maintain();
  for (let i = 0; i < 20; i++) head.append('default', batchOf('default', rows(`other-${i}`, 6000, 40)));
  await head.maintain();
  assert.deepEqual(readAll(set), before);
  set.close();
  assert.equal(head.stats().openSelections, 0);
  assert.equal(all(head).size, 20, 'the flushed ones are gone');
  assert.equal(head.gcSeries(1e12), 20);
  for (let i = 0; i < 5; i++) await head.maintain();
  assert.equal(head.stats().series, 20);
  assert.equal(head.labelValues('default', 'name', [], 0, Infinity).size, 20);
  head.abandon();
  fs.rmSync(dir, { recursive: true });
});

test('memory and files of collected series come back', async () => {
  const dir = temporaryDir();
  const head = new Head({ dir, segmentBytesMax: 10_000 });
  let bytes = 0;
  for (let life = 0; life < 12; life++) {
    const own: Row[] = [];
    for (let i = 0; i < 3000; i++) own.push(...rows(`life-${life}-series-${i}`, life * 1000, 2));
    head.append('default', batchOf('default', own));
    head.append('default', batchOf('default', rows('late', 1, 1)));
    assert.equal(head.stats().oooRows > 0, life > 0);
    head.commitFlush(head.beginFlush(life * 1000 + 999));
    assert.equal(head.stats().oooRows, 0);
    head.gcSeries(life * 1000 + 999);
    for (let i = 0; i < 4; i++) await head.maintain();
    const { memory } = head.stats();
    const used = memory.series + memory.labels + memory.outOfOrder;
    if (life === 3) bytes = used;
    if (life > 3) assert.ok(used <= bytes * 1.2, `life ${life}: ${used} bytes, ${bytes} before`);
  }
  const { walSegments, chunkPages, seriesLogBytes } = head.stats();
  assert.ok(walSegments <= 2 && chunkPages <= 1, `${walSegments} segments, ${chunkPages} pages`);
  assert.ok(seriesLogBytes < 2_000_000);
  head.abandon();
  fs.rmSync(dir, { recursive: true });
});

test('series.log is rewritten while series come and go, and replays to the same head at any time', async () => {
  const dir = temporaryDir();
  const log = path.join(dir, 'series.log');
  const head = new Head({ dir, ...tiny, rewriteSliceRows: 7 });
  let state = 42;
  const random = (n: number) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 8) % n;
  };
  let now = 0;
  let rewrites = 0;
  let inode = fs.statSync(log).ino;
  for (let step = 0; step < 600; step++) {
    now += 100;
    switch (random(8)) {
      case 0:
        head.commitFlush(head.beginFlush(now - random(1000)));
        break;
      case 1:
        head.gcSeries(now - random(2000));
        break;
      case 2:
        head.deleteSamples(
          'default',
          [compileMatcher({ name: 'parity', op: '=', value: String(random(2)) })],
          now - 500,
          now,
        );
        break;
      default:
        for (let i = 0; i < 3; i++) {
          head.append(
            'default',
            batchOf('default', rows(`${'x'.repeat(random(2))}s${random(60)}`, now - random(300), 3)),
          );
        }
    }
    await head.maintain();
    assert.equal(head.stats().syncErrors, 0);
    const ino = fs.statSync(log).ino;
    if (ino !== inode) rewrites++;
    inode = ino;
    if (step % 12 !== 0) continue;
    const copy = temporaryDir();
    fs.cpSync(dir, copy, { recursive: true });
    const again = new Head({ dir: copy, ...tiny });
    assert.deepEqual(again.report.damage, [], `step ${step}`);
    assert.deepEqual(all(again), all(head), `step ${step}`);
    again.abandon();
    fs.rmSync(copy, { recursive: true });
  }
  assert.ok(rewrites > 3, `${rewrites} rewrites`);
  head.abandon();
  fs.rmSync(dir, { recursive: true });
});
