import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { DurationError, formatDuration, parseDuration, parseSignedDuration } from './duration.ts';

test('units, largest first', () => {
  const cases: [string, number][] = [
    ['0', 0],
    ['0s', 0],
    ['5m', 300_000],
    ['1h30m', 5_400_000],
    ['250ms', 250],
    ['1d12h', 129_600_000],
    ['1y2w3d4h5m6s7ms', 365 * 86_400_000 + 17 * 86_400_000 + 14_706_007],
    ['292y', 292 * 365 * 86_400_000],
  ];
  for (const [text, ms] of cases) assert.equal(parseDuration(text), ms, text);
});

test('refusals say what is wrong', () => {
  const cases: [string, string][] = [
    ['', 'empty duration string'],
    ['5', 'not a valid duration string: "5"'],
    ['m', 'not a valid duration string: "m"'],
    ['-5m', 'not a valid duration string: "-5m"'],
    ['1.5h', 'unknown unit "." in duration "1.5h"'],
    ['5m1h', 'not a valid duration string: "5m1h"'],
    ['5m5m', 'not a valid duration string: "5m5m"'],
    ['5hs', 'unknown unit "hs" in duration "5hs"'],
    ['1 h', 'unknown unit " h" in duration "1 h"'],
    ['300y', 'duration out of range'],
    ['99999999999999999999999s', 'not a valid duration string: "99999999999999999999999s"'],
  ];
  for (const [text, message] of cases) {
    assert.throws(() => parseDuration(text), new DurationError(message), text);
  }
});

test('signs where they are allowed', () => {
  assert.equal(parseSignedDuration('-1h'), -3_600_000);
  assert.equal(parseSignedDuration('+1h'), 3_600_000);
  assert.ok(Object.is(parseSignedDuration('-0ms'), 0));
  assert.throws(() => parseSignedDuration('--1h'), DurationError);
});

test('formatting takes the usual units', () => {
  const cases: [number, string][] = [
    [0, '0s'],
    [0.4, '0s'],
    [1, '1ms'],
    [90 * 86_400_000, '90d'],
    [14 * 86_400_000, '2w'],
    [365 * 86_400_000, '1y'],
    [366 * 86_400_000, '366d'],
    [5_400_000, '1h30m'],
    [61_001, '1m1s1ms'],
    [-60_000, '-1m'],
  ];
  for (const [ms, text] of cases) assert.equal(formatDuration(ms), text);
});

test('what is formatted parses to the same', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 9_000_000_000_000 }), ms => {
      assert.equal(parseDuration(formatDuration(ms)), ms);
      assert.equal(parseSignedDuration(formatDuration(-ms)), ms === 0 ? 0 : -ms);
    }),
    { seed: 1, numRuns: 2000 },
  );
});
