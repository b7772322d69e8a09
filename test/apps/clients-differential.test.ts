/**
 * Random queries over random data, answered by us and by a real Prometheus 2.42: the same values (1e-9), labels and errors.
 * What 3.x answers otherwise is listed in test/support/random-promql.ts. SIGHTLINE_DIFFERENTIAL_SEED repeats a run; the soak asks
 * thousands.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compareWithPrometheus } from '../support/differential.ts';
import { needs } from '../support/programs.ts';

test('random queries are answered as Prometheus answers them', { skip: needs('prometheus') }, async t => {
  const seed = Number(process.env.SIGHTLINE_DIFFERENTIAL_SEED ?? 20261122);
  const queries = Number(process.env.SIGHTLINE_DIFFERENTIAL_QUERIES ?? 400);
  const { asked, full, refused, known } = await compareWithPrometheus(t, { seed, queries, blocks: true });
  t.diagnostic(
    `seed ${seed}: ${asked} queries, ${full} with results, ${refused} refused by both, ${known} known differences`,
  );
  assert.ok(known <= asked / 50, 'known differences must stay rare');
  assert.ok(full > asked / 2, 'too few queries with results to tell anything');
});
