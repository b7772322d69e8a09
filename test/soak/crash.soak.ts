/**
 * Crash soak: fifty rounds of load and kill -9, of all kinds (test/support/crash-rounds.ts), in one folder that grows, and after each
 * all that was ever acknowledged compared bit by bit.
 *
 * SIGHTLINE_SOAK_ROUNDS bounds it (default 50, some ten minutes), SIGHTLINE_CRASH_SEED repeats a run.
 */
import { test } from 'node:test';
import { CrashRounds, KINDS } from '../support/crash-rounds.ts';
import { Random } from '../support/random.ts';

const ROUNDS = Number(process.env.SIGHTLINE_SOAK_ROUNDS ?? 50);

test(`${ROUNDS} rounds of load and kill -9 lose nothing acknowledged`, async t => {
  const seed = Number(process.env.SIGHTLINE_CRASH_SEED ?? Date.now() % 1e9);
  t.diagnostic(`seed ${seed}`);
  const random = new Random(seed);
  const rounds = await CrashRounds.start(t, { seed, writers: 8, loadMs: [200, 1500], shards: random.between(1, 3) });
  // Each kind once, then by chance.
  for (let n = 1; n <= ROUNDS; n++) await rounds.round(n, KINDS[n - 1] ?? random.pick(KINDS));
  await rounds.stop();
});
