import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isStale, putStale } from './stale.ts';

test('a marker is known in every tier of the compiler', () => {
  const column = new Float64Array(16).fill(1);
  putStale(column, 3);
  column[4] = Number.NaN;
  for (let round = 0; round < 50_000; round++) {
    assert.equal(isStale(column, 3), true, `round ${round}`);
    assert.equal(isStale(column, 4), false, `round ${round}`);
    assert.equal(isStale(column, 5), false, `round ${round}`);
  }
});

test('a marker is known in a view that starts inside of its buffer, and after the buffer changed', () => {
  const a = new Float64Array(8);
  const b = new Float64Array(8);
  const inner = a.subarray(2, 6);
  putStale(inner, 1);
  putStale(b, 0);
  assert.equal(isStale(inner, 1), true);
  assert.equal(isStale(b, 0), true);
  assert.equal(isStale(a, 3), true);
  assert.equal(isStale(inner, 0), false);
});

test('a marker survives moves as bytes', () => {
  const a = new Float64Array(4);
  putStale(a, 0);
  for (let round = 0; round < 20_000; round++) {
    const b = new Float64Array(4);
    b.set(a.subarray(0, 1), 1);
    b.copyWithin(2, 1, 2);
    assert.ok(isStale(b, 1) && isStale(b.slice(2), 0), `round ${round}`);
  }
});
