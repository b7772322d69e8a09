import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FLOAT_BYTES_MAX, formatFloat, formatFloatE, formatTimestamp, writeFloat } from './float.ts';

function written(v: number): string {
  const out = new Uint8Array(FLOAT_BYTES_MAX);
  return Buffer.from(out.subarray(0, writeFloat(out, 0, v))).toString('latin1');
}

test('floats are written as Go writes them', () => {
  const cases: [number, string][] = [
    [0, '0'],
    [-0, '-0'],
    [1, '1'],
    [-1, '-1'],
    [0.5, '0.5'],
    [-0.25, '-0.25'],
    [12.345, '12.345'],
    [0.001, '0.001'],
    [0.1 + 0.2, '0.30000000000000004'],
    [1e-6, '0.000001'],
    [9.99e-7, '9.99e-07'],
    [1e-7, '1e-07'],
    [1.5e-10, '1.5e-10'],
    [5e-324, '5e-324'],
    [1e20, '100000000000000000000'],
    [1e21, '1e+21'],
    [-1.5e300, '-1.5e+300'],
    [1.7976931348623157e308, '1.7976931348623157e+308'],
    [123456789012345, '123456789012345'],
    [9007199254740991, '9007199254740991'],
    [2 ** 53, '9007199254740992'],
    [1000000000, '1000000000'],
    [999999999, '999999999'],
    [1000000001.5, '1000000001.5'],
    [Number.NaN, 'NaN'],
    [Number.POSITIVE_INFINITY, '+Inf'],
    [Number.NEGATIVE_INFINITY, '-Inf'],
  ];
  for (const [value, text] of cases) {
    assert.equal(formatFloat(value), text);
    assert.equal(written(value), text);
  }
});

test('the fast paths agree with the general one', () => {
  let state = 12345;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  for (let i = 0; i < 200_000; i++) {
    const kind = i % 4;
    const magnitude = 10 ** Math.floor(next() * 18 - 6);
    let v = (next() - 0.5) * magnitude;
    if (kind === 0) v = Math.round(v);
    if (kind === 1) v = Math.round(v * 1000) / 1000;
    if (kind === 2) v = Math.round(v * 100) / 100;
    assert.equal(written(v), formatFloat(v));
    assert.ok(Object.is(Number(written(v)), v));
  }
});

test('exponent notation has two digits', () => {
  assert.equal(formatFloatE(1), '1e+00');
  assert.equal(formatFloatE(0), '0e+00');
  assert.equal(formatFloatE(0.25), '2.5e-01');
  assert.equal(formatFloatE(1e100), '1e+100');
});

test('timestamps have three decimals or none', () => {
  assert.equal(formatTimestamp(0), '0');
  assert.equal(formatTimestamp(1000), '1');
  assert.equal(formatTimestamp(1500), '1.500');
  assert.equal(formatTimestamp(1001), '1.001');
  assert.equal(formatTimestamp(1435781451781), '1435781451.781');
  assert.equal(formatTimestamp(-1), '-0.001');
  assert.equal(formatTimestamp(-62135596800000), '-62135596800');
});
