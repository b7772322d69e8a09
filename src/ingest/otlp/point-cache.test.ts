import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IdentityHasher } from '../../lib/identity-hash.ts';
import { decodeLabels } from '../../model/labels.ts';
import { LabelSet } from '../label-set.ts';
import { PointCache } from './point-cache.ts';

const seed = new IdentityHasher(new Uint8Array(16)).tenantSeed('t');
const key = Uint32Array.of(1, 2, 3, 4);
const encoder = new TextEncoder();
const set = new LabelSet();

function add(cache: PointCache, text: string, rows: number): void {
  const bytes = encoder.encode(text);
  assert.equal(cache.find(key, bytes, 0, bytes.length), -1);
  cache.addGroup();
  for (let i = 0; i < rows; i++) {
    set.setFlat(['__name__', text, 'row', String(i)]);
    set.sort();
    cache.addRow(set, seed);
  }
}

/** Texts of the group's rows, null where it is not there. */
function rowsOf(cache: PointCache, text: string, rows: number): string[] | null {
  const bytes = encoder.encode(text);
  const group = cache.find(key, bytes, 0, bytes.length);
  if (group < 0) return null;
  return Array.from({ length: rows }, (_, i) => {
    const row = cache.firstRow(group) + i;
    return decodeLabels(cache.labelBytes, cache.labelStart(row), cache.labelEnd(row)).join(' ');
  });
}

test('groups give their rows back, also after many others and under their own key only', () => {
  const cache = new PointCache();
  for (let i = 0; i < 5000; i++) add(cache, `g${i}`, 1 + (i % 3));
  for (const i of [0, 1, 2, 4999]) {
    const n = 1 + (i % 3);
    assert.deepEqual(
      rowsOf(cache, `g${i}`, n),
      Array.from({ length: n }, (_, r) => `__name__ g${i} row ${r}`),
    );
  }
  const bytes = encoder.encode('g0');
  assert.equal(cache.find(Uint32Array.of(1, 2, 3, 5), bytes, 0, bytes.length), -1);
});

test('a full cache forgets what was not seen of late, and all of it where that frees too little', () => {
  const cache = new PointCache(100);
  for (let i = 0; i < 60; i++) add(cache, `old${i}`, 1);
  cache.nextStretch();
  cache.nextStretch();
  for (let i = 0; i < 30; i++) add(cache, `new${i}`, 1);
  assert.deepEqual(rowsOf(cache, 'old7', 1), ['__name__ old7 row 0']);
  for (let i = 30; i < 60; i++) add(cache, `new${i}`, 1);
  assert.equal(rowsOf(cache, 'old3', 1), null);
  assert.deepEqual(rowsOf(cache, 'old7', 1), ['__name__ old7 row 0']);
  assert.deepEqual(rowsOf(cache, 'new3', 1), ['__name__ new3 row 0']);
  for (let i = 60; i < 130; i++) add(cache, `new${i}`, 1);
  assert.equal(rowsOf(cache, 'new3', 1), null);
  assert.deepEqual(rowsOf(cache, 'new129', 1), ['__name__ new129 row 0']);
});
