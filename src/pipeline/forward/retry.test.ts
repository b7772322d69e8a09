import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Backoff, retryAfterMs, verdictOf } from './retry.ts';

test('what answers mean', () => {
  for (const status of [200, 204, 299]) assert.equal(verdictOf(status, true, false), 'sent');
  for (const status of [500, 503, 599, 999]) assert.equal(verdictOf(status, true, false), 'retry');
  for (const status of [301, 400, 401, 404, 413, 429]) assert.equal(verdictOf(status, true, false), 'refused');
  assert.equal(verdictOf(429, false, true), 'retry');
  assert.equal(verdictOf(415, true, false), 'fall back');
  assert.equal(verdictOf(415, false, false), 'refused');
});

test('Retry-After in seconds and as a date, bounded', () => {
  const now = Date.parse('2026-01-01T00:00:00Z');
  assert.equal(retryAfterMs('7', now), 7000);
  assert.equal(retryAfterMs('Thu, 01 Jan 2026 00:00:30 GMT', now), 30_000);
  assert.equal(retryAfterMs('999999', now), 300_000);
  for (const text of ['', 'soon', '-5', 'Thu, 01 Jan 2020 00:00:00 GMT']) assert.equal(retryAfterMs(text, now), 0);
});

test('waits double up to the bound, with jitter, and never below what the receiver asked for', () => {
  const low = new Backoff(30, 5000, () => 0);
  assert.deepEqual(
    Array.from({ length: 10 }, () => low.next(0)),
    [22.5, 45, 90, 180, 360, 720, 1440, 2880, 3750, 3750],
  );
  const high = new Backoff(30, 100, () => 0.999);
  for (let i = 0; i < 5; i++) assert.ok(high.next(0) <= 100);
  assert.equal(high.next(60_000), 60_000);
  high.reset();
  assert.ok(high.next(0) <= 30);
});
