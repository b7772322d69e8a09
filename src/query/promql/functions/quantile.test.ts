/** Quantiles of few and many values, NaN among them, against a plain sort. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { quantileOf } from './quantile.ts';

test('interpolates between neighbours, NaN below everything', () => {
  assert.equal(quantileOf(0.5, Float64Array.of(3, 1, 2)), 2);
  assert.equal(quantileOf(0.25, Float64Array.of(4, 1, 2, 3)), 1.75);
  assert.ok(Number.isNaN(quantileOf(0, Float64Array.of(1, Number.NaN))));
  assert.equal(quantileOf(1, Float64Array.of(1, Number.NaN, -5)), 1);
  assert.equal(quantileOf(-1, Float64Array.of(1)), Number.NEGATIVE_INFINITY);
  assert.equal(quantileOf(2, Float64Array.of(1)), Number.POSITIVE_INFINITY);
  assert.ok(Number.isNaN(quantileOf(0.5, new Float64Array(0))));
});

test('small and large inputs sort alike', () => {
  let seed = 42;
  const random = (): number => {
    seed ^= seed << 13;
    seed ^= seed >>> 17;
    seed ^= seed << 5;
    return (seed >>> 0) / 2 ** 32;
  };
  for (let round = 0; round < 500; round++) {
    const n = 1 + Math.floor(random() * 90);
    const values = Float64Array.from({ length: n }, () => (random() < 0.1 ? Number.NaN : Math.round(random() * 20)));
    const sorted = [...values].sort((a, b) => (a !== a ? (b !== b ? 0 : -1) : b !== b ? 1 : a - b));
    assert.equal(quantileOf(0, values.slice()), sorted[0], `round ${round}`);
    assert.equal(quantileOf(1, values.slice()), sorted[n - 1], `round ${round}`);
    if (n % 2 === 1) assert.equal(quantileOf(0.5, values.slice()), sorted[(n - 1) / 2], `round ${round}`);
  }
});
