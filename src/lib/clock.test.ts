import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock, settle } from '../../test/support/manual-clock.ts';
import { type Clock, everyAligned } from './clock.ts';

test('beats stand on multiples of the period, from the next one on', async () => {
  const clock = new ManualClock(1_000_007);
  const beats: number[] = [];
  const timer = everyAligned(clock, 10, 3, at => void beats.push(at));
  await clock.advance(30);
  timer.cancel();
  await clock.advance(100);
  assert.deepEqual(beats, [1_000_013, 1_000_023, 1_000_033]);
  assert.equal(clock.timerCount, 0);
});

test('a round that overruns skips the beats it missed', async () => {
  const clock = new ManualClock(1_000_000);
  const beats: number[] = [];
  let finish = (): void => {};
  everyAligned(clock, 10, 0, at => {
    beats.push(at);
    return new Promise(done => {
      finish = done;
    });
  });
  await clock.advance(35);
  assert.deepEqual(beats, [1_000_010]);
  finish();
  await settle();
  await clock.advance(10);
  assert.deepEqual(beats, [1_000_010, 1_000_040]);
});

/** A clock whose timers fire early or late by a given error. */
function sloppy(inner: ManualClock, errorMs: number): Clock {
  return {
    now: () => inner.now(),
    monotonic: () => inner.monotonic(),
    after: (delayMs, fn) => inner.after(delayMs + errorMs, fn),
  };
}

test('a timer that fires a little early runs its beat once, with the time of the beat', async () => {
  const clock = new ManualClock(1_000_000);
  const beats: number[] = [];
  everyAligned(sloppy(clock, -0.6), 1000, 0, at => void beats.push(at));
  await clock.advance(3500);
  assert.deepEqual(beats, [1_001_000, 1_002_000, 1_003_000]);
});

test('a timer that fires far too late gives the time it is', async () => {
  const clock = new ManualClock(1_000_000);
  const beats: number[] = [];
  everyAligned(sloppy(clock, 200), 1000, 0, at => void beats.push(at));
  await clock.advance(2500);
  assert.deepEqual(beats, [1_001_200, 1_002_200]);
});
