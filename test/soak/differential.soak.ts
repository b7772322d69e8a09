/**
 * Differential soak: thousands of random queries to us and to a real Prometheus, over several sets of random data.
 *
 * SIGHTLINE_DIFFERENTIAL_SEED names the first seed, else the clock does; SIGHTLINE_DIFFERENTIAL_QUERIES are asked of each of the sets.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compareWithPrometheus } from '../support/differential.ts';
import { needs } from '../support/programs.ts';

const FIRST = Number(process.env.SIGHTLINE_DIFFERENTIAL_SEED ?? Date.now() % 1e9);
const QUERIES = Number(process.env.SIGHTLINE_DIFFERENTIAL_QUERIES ?? 4000);
const SETS = 5;

for (let k = 0; k < SETS; k++) {
  const seed = FIRST + k;
  test(`random queries, seed ${seed}`, { skip: needs('prometheus') }, async t => {
    const outcome = await compareWithPrometheus(t, { seed, queries: QUERIES, blocks: true });
    t.diagnostic(`seed ${seed}: ${JSON.stringify(outcome)}`);
    assert.ok(outcome.known <= QUERIES / 50, 'known differences must stay rare');
    assert.ok(outcome.full > QUERIES / 2);
  });
}
