/**
 * kill -9 under load, in short: three rounds of different kinds. `npm run soak` runs fifty, of all kinds. SIGHTLINE_CRASH_SEED repeats
 * a run that failed (timing of the kill apart).
 */
import { test } from 'node:test';
import { CrashRounds } from '../support/crash-rounds.ts';

test('kill -9 under load, during a flush and during replay loses nothing acknowledged', async t => {
  const seed = Number(process.env.SIGHTLINE_CRASH_SEED ?? 20261122);
  const rounds = await CrashRounds.start(t, { seed, writers: 8, loadMs: [400, 900], shards: 2 });
  await rounds.round(1, 'flush');
  await rounds.round(2, 'replay');
  await rounds.round(3, 'torn');
  await rounds.stop();
});
