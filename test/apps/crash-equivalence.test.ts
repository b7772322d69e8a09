/** Random operations on a shard leave, after every reopening, what a Map holds, and answer PromQL as the Map's samples do. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkShardModel } from '../support/shard-model.ts';

test('random operations and reopenings leave what a Map holds', async t => {
  const compared = await checkShardModel(20261122, 40);
  t.diagnostic(`${compared} samples compared`);
  assert.ok(compared > 5000);
});

test('the same with rules that keep some series in blocks of their own', async t => {
  const common = { retention: {}, downsample: {} };
  const compared = await checkShardModel(77, 30, [
    { tenant: null, selector: 'm1', matchers: [{ name: '__name__', op: '=', value: 'm1' }], ...common },
    { tenant: 'acme', selector: '{job=~"j[0]"}', matchers: [{ name: 'job', op: '=~', value: 'j[0]' }], ...common },
  ]);
  t.diagnostic(`${compared} samples compared`);
  assert.ok(compared > 5000);
});
