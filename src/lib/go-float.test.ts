import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatFloatF, formatFloatFixed, formatFloatG, formatFloatPrecision, parseFloatGo } from './go-float.ts';

test('shortest form', () => {
  const cases: [number, string][] = [
    [0, '0'],
    [-0, '-0'],
    [1, '1'],
    [-2.5, '-2.5'],
    [100000, '100000'],
    [1e6, '1e+06'],
    [123456789, '1.23456789e+08'],
    [0.0001, '0.0001'],
    [0.00001, '1e-05'],
    [Number.NaN, 'NaN'],
    [Number.POSITIVE_INFINITY, '+Inf'],
    [Number.NEGATIVE_INFINITY, '-Inf'],
  ];
  for (const [v, text] of cases) assert.equal(formatFloatG(v), text);
});

test('plain decimals have no exponent and read back', () => {
  assert.equal(formatFloatF(1e22), '10000000000000000000000');
  assert.equal(formatFloatF(1e-9), '0.000000001');
  let seed = 12345;
  for (let i = 0; i < 2000; i++) {
    seed = (seed * 1103515245 + 12345) & 0x7fffffff;
    const v = (seed / 2 ** 31 - 0.5) * 10 ** ((seed % 60) - 30);
    const text = formatFloatF(v);
    assert.doesNotMatch(text, /e/);
    assert.equal(Number(text), v);
    assert.equal(Number(formatFloatG(v)), v);
  }
});

test('limited precision', () => {
  assert.equal(formatFloatPrecision(10, 2), '10');
  assert.equal(formatFloatPrecision(0.0123, 2), '0.012');
  assert.equal(formatFloatPrecision(123, 2), '1.2e+02');
  assert.equal(formatFloatFixed(1.5), '1.500000');
  assert.equal(formatFloatFixed(Number.NaN), 'NaN');
});

test('reading', () => {
  const cases: [string, number | null][] = [
    ['1', 1],
    ['-.5e3', -500],
    ['+Inf', Number.POSITIVE_INFINITY],
    ['-infinity', Number.NEGATIVE_INFINITY],
    ['nan', Number.NaN],
    ['', null],
    [' 1', null],
    ['1x', null],
    ['0x10', null],
    ['e5', null],
  ];
  for (const [text, v] of cases) assert.deepEqual(parseFloatGo(text), v, text);
});
