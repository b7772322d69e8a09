import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newSampleBuffer } from '../../contracts/sample-source.ts';
import { isStale, putStale } from '../../model/stale.ts';
import { dedupInterval } from './dedup.ts';

function thinned(times: number[], intervalMs: number): string {
  const buffer = newSampleBuffer(times.length);
  times.forEach((t, i) => {
    buffer.timestamps[i] = t;
    buffer.values[i] = t;
  });
  buffer.length = times.length;
  dedupInterval(buffer, intervalMs);
  assert.deepEqual(buffer.values.slice(0, buffer.length), buffer.timestamps.slice(0, buffer.length));
  return [...buffer.timestamps.subarray(0, buffer.length)].join(' ');
}

test('the last sample of each interval stays, its right end included', () => {
  assert.equal(thinned([1, 8, 10, 11, 19, 20, 21], 10), '10 20 21');
});

test('two replicas become one; when one fails the other fills in', () => {
  const a = [0, 15, 30, 45, 60].map(s => s * 1000);
  const b = [7, 22, 37, 52, 67, 82, 97].map(s => s * 1000);
  const both = [...a, ...b].sort((x, y) => x - y);
  assert.equal(thinned(both, 15_000), '0 15000 30000 45000 60000 67000 82000 97000');
});

test('thinning twice is thinning once', () => {
  const times = [3, 4, 9, 12, 15, 16, 28, 30, 31];
  const once = thinned(times, 10);
  assert.equal(thinned(once.split(' ').map(Number), 10), once);
});

test('a staleness marker keeps its bits when it moves', () => {
  const buffer = newSampleBuffer(3);
  buffer.timestamps.set([1, 2, 15]);
  buffer.values.set([1, 2, 0]);
  putStale(buffer.values, 2);
  buffer.length = 3;
  dedupInterval(buffer, 10);
  assert.equal(buffer.length, 2);
  assert.ok(isStale(buffer.values, 1));
});
