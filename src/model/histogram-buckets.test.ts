import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bucketBound } from './histogram-buckets.ts';

test('bounds are those of Prometheus to the last digit', () => {
  const of = (schema: number): number[] =>
    Array.from({ length: 2 ** schema + 1 }, (_, i) => bucketBound(i - 2 ** schema, schema, []));
  assert.deepEqual(of(0), [0.5, 1]);
  assert.deepEqual(of(1), [0.5, 0.7071067811865475, 1]);
  assert.deepEqual(of(2), [0.5, 0.5946035575013605, 0.7071067811865475, 0.8408964152537144, 1]);
  assert.equal(String(bucketBound(1, 1, [])), '1.414213562373095');
  assert.equal(bucketBound(2, -1, []), 16);
});

test('bounds ascend, and are the powers they stand for but for the last digits', () => {
  for (let schema = -4; schema <= 8; schema++) {
    const last = 1024 * 2 ** schema;
    for (const at of [-Math.floor(1070 * 2 ** schema), -3 * 2 ** 8, -1, 0, 1, 100, last - 2]) {
      if (at * 2 ** -schema < -1070 || at > last) continue;
      for (let i = at; i < at + 300 && i < last; i++) {
        const exact = 2 ** (i * 2 ** -schema);
        const bound = bucketBound(i, schema, []);
        // Denormals are a whole step off at most.
        const slack = 5e-324 + exact * 1e-14;
        assert.ok(Math.abs(bound - exact) <= slack, `schema ${schema}, ${i}: ${bound}, ${exact}`);
        assert.ok(bound >= bucketBound(i - 1, schema, []), `schema ${schema}, ${i}`);
      }
    }
    assert.equal(bucketBound(last, schema, []), Number.MAX_VALUE);
    assert.equal(bucketBound(last + 1, schema, []), Number.POSITIVE_INFINITY);
  }
});
