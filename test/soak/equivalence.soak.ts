/** Restart equivalence at length: thousands of random histories of a shard. SIGHTLINE_EQUIVALENCE_SEED repeats one. */
import { test } from 'node:test';
import { checkShardModel } from '../support/shard-model.ts';

const RUNS = Number(process.env.SIGHTLINE_EQUIVALENCE_RUNS ?? 1500);

test(`${RUNS} random histories leave what a Map holds`, async t => {
  const seed = Number(process.env.SIGHTLINE_EQUIVALENCE_SEED ?? Date.now() % 1e9);
  t.diagnostic(`seed ${seed}`);
  t.diagnostic(`${await checkShardModel(seed, RUNS)} samples compared`);
});
