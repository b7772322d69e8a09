import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { test } from 'node:test';
import { batchOf, labels, type Row, temporaryDir } from '../storage/tsdb/head/fixture.ts';
import { Head } from '../storage/tsdb/head/head.ts';
import { ReplayProgress } from './replay-progress.ts';

test('the shard that is furthest behind is shown; done when all are', () => {
  const main = new ReplayProgress(2);
  // As a worker has it.
  const worker = new ReplayProgress(main.memory);
  assert.deepEqual(main.status(), { first: 0, last: 0, current: 0, state: 'waiting' });
  worker.begin(0);
  worker.at(0, 3, 9, 4);
  assert.deepEqual(main.status(), { first: 3, last: 9, current: 4, state: 'in progress' });
  worker.begin(1);
  worker.at(1, 1, 12, 12);
  worker.end(1);
  assert.deepEqual(main.status(), { first: 3, last: 9, current: 4, state: 'in progress' });
  worker.at(0, 3, 9, 9);
  worker.end(0);
  assert.deepEqual(main.status(), { first: 1, last: 12, current: 12, state: 'done' });
});

test('a head tells each segment that it reads back', () => {
  const dir = temporaryDir();
  const small = { dir, segmentBytesMax: 2000 };
  const head = new Head(small);
  for (let i = 0; i < 40; i++) {
    const own = labels({ __name__: 'm', i: String(i) });
    const rows = Array.from({ length: 30 }, (_, k): Row => ({ labels: own, t: 1000 * k, value: Math.sin(i + k) }));
    head.append('default', batchOf('default', rows));
  }
  head.abandon();
  const told: number[][] = [];
  const again = new Head({ ...small, onReplay: (...segment) => told.push(segment) });
  assert.ok(told.length > 3, String(told.length));
  const [first, last] = told[0] as [number, number, number];
  assert.deepEqual(
    told,
    Array.from({ length: last - first + 1 }, (_, i) => [first, last, first + i]),
  );
  assert.equal(again.report.walSegments, told.length);
  again.abandon();
  rmSync(dir, { recursive: true });
});
