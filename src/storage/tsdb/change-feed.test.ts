import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { changeFeedBytes, SharedChangeFeed } from './change-feed.ts';

test('against the obvious model: never later than the truth, and exact while few changes stand', () => {
  const op = fc.record({ shard: fc.nat(1), tenant: fc.constantFrom('a', 'b'), t: fc.nat(1000) });
  fc.assert(
    fc.property(fc.array(op, { maxLength: 200 }), fc.nat(200), (ops, lookAt) => {
      const feed = new SharedChangeFeed(new SharedArrayBuffer(changeFeedBytes(2)), 2);
      let since = 0;
      const later: typeof ops = [];
      ops.forEach((o, i) => {
        if (i === lookAt) since = feed.current('a');
        feed.note(o.shard, o.tenant, o.t);
        if (i >= lookAt) later.push(o);
      });
      if (lookAt >= ops.length) since = feed.current('a');
      const truth = Math.min(...later.filter(o => o.tenant === 'a').map(o => o.t));
      const got = feed.oldestChangedSince('a', since);
      assert.ok(got <= truth, `${got} > ${truth}`);
      if (ops.length <= 32) assert.equal(got, truth);
    }),
    { seed: 7, numRuns: 500 },
  );
});

test('a tenant that changed wholesale is distrusted wholesale', () => {
  const feed = new SharedChangeFeed(new SharedArrayBuffer(changeFeedBytes(1)), 1);
  const before = feed.current('a');
  feed.noteAll(0, 'a');
  assert.equal(feed.oldestChangedSince('a', before), Number.NEGATIVE_INFINITY);
  assert.equal(feed.oldestChangedSince('a', feed.current('a')), Number.POSITIVE_INFINITY);
});
