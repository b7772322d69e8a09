import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nearest } from './suggest.ts';
import { formatBytes, formatDuration, parseBytes, parseDuration } from './units.ts';

test('durations in Prometheus notation', () => {
  for (const [text, ms] of [
    ['0', 0],
    ['15s', 15_000],
    ['1h30m', 5_400_000],
    ['1d', 86_400_000],
    ['1y2w', 365 * 86_400_000 + 14 * 86_400_000],
    ['1m500ms', 60_500],
  ] as const) {
    assert.equal(parseDuration(text), ms, text);
  }
  for (const text of ['', '15', '-1h', '1.5h', '30m1h', '1h1h', '5 m', 'm']) {
    assert.throws(() => parseDuration(text), { name: 'DurationError' }, text);
  }
  assert.throws(() => parseDuration('300y'), /range/);
  for (const ms of [0, 1, 1500, 60_000, 86_400_000, 7 * 86_400_000, 5_400_000]) {
    assert.equal(parseDuration(formatDuration(ms)), ms);
  }
  assert.equal(formatDuration(400 * 86_400_000), '400d');
});

test('sizes are powers of 1024 and need a unit', () => {
  assert.equal(parseBytes('15MB'), 15 << 20);
  assert.equal(parseBytes('1.5GiB'), 1.5 * 2 ** 30);
  assert.equal(parseBytes('512B'), 512);
  assert.throws(() => parseBytes('100'), /unknown unit {2}in 100/);
  assert.throws(() => parseBytes('1XB'), RangeError);
  assert.equal(formatBytes(64 << 20), '64MiB');
});

test('the nearest word, or none', () => {
  assert.equal(nearest('intervall', ['interval', 'instance']), 'interval');
  assert.equal(nearest('htpp', ['http', 'host']), 'http');
  assert.equal(nearest('foo', ['interval']), '');
});
