/** Random operations on a shard leave, after every reopening, what a Map holds, and answer PromQL as the Map's samples do. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkShardModel } from '../support/shard-model.ts';

test('random operations and reopenings leave what a Map holds', async t => {
  const compared = await checkShardModel(20261122, 40);
  t.diagnostic(`${compared} samples compared`);
  assert.ok(compared > 5000);
});
