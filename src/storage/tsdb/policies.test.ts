import assert from 'node:assert/strict';
import { test } from 'node:test';
import { labelsFromRecord } from '../../model/labels.ts';
import type { Matcher } from '../../model/matcher.ts';
import { DAY_MS } from './plan.ts';
import { type PolicyRule, StoragePolicies, settled } from './policies.ts';

const RETENTION = { rawMs: 15 * DAY_MS, minuteMs: 90 * DAY_MS, hourMs: 400 * DAY_MS, maxBytes: 0 };
const LEVELS = { minuteAfterMs: 7 * DAY_MS, hourAfterMs: 30 * DAY_MS };
const DEFAULTS = { retention: RETENTION, downsample: LEVELS };

function rule(selector: string, matcher: Matcher, more: Partial<PolicyRule> = {}): PolicyRule {
  return { tenant: null, selector, matchers: [matcher], retention: {}, downsample: {}, ...more };
}

const debug = rule(
  '{__name__=~"debug_.*"}',
  { name: '__name__', op: '=~', value: 'debug_.*' },
  {
    retention: { rawMs: 2 * DAY_MS },
  },
);
const team = rule('{team="a"}', { name: 'team', op: '=', value: 'a' }, { downsample: { minuteAfterMs: null } });

test('the first rule that matches a series counts, of those that are for its tenant', () => {
  const policies = new StoragePolicies(DEFAULTS, new Map(), [{ ...team, tenant: 'acme' }, debug, team]);
  const both = labelsFromRecord({ __name__: 'debug_x', team: 'a' });
  const other = labelsFromRecord({ __name__: 'up', team: 'b' });
  assert.deepEqual(
    ['acme', 'default'].map(tenant => [policies.groupOfSeries(tenant, both), policies.groupOfSeries(tenant, other)]),
    [
      [1, 0],
      [1, 0],
    ],
  );
  assert.notEqual(policies.scope('acme', 1), policies.scope('default', 1));
  assert.equal(policies.of(policies.scope('acme', 1)).retention.rawMs, 15 * DAY_MS);
  assert.equal(policies.of(policies.scope('acme', 1)).downsample.minuteAfterMs, null);
  assert.equal(policies.of(policies.scope('default', 1)).retention.rawMs, 2 * DAY_MS);
  assert.deepEqual(policies.of(policies.scope('default', 0)), settled(DEFAULTS));
});

test('what a rule leaves out is as the tenant has it', () => {
  const own = { retention: { ...RETENTION, hourMs: 9 * DAY_MS }, downsample: LEVELS };
  const policies = new StoragePolicies(DEFAULTS, new Map([['acme', own]]), [debug]);
  const { retention } = policies.of(policies.scope('acme', 1));
  assert.deepEqual([retention.rawMs, retention.hourMs], [2 * DAY_MS, 9 * DAY_MS]);
});

test('a level that would be over when it is written is not; raw data that ends early is not held back by its level', () => {
  const ages = (raw: number, minute: number, hour: number) => {
    const { downsample } = settled({
      retention: { rawMs: raw * DAY_MS, minuteMs: minute * DAY_MS, hourMs: hour * DAY_MS, maxBytes: 0 },
      downsample: LEVELS,
    });
    return [downsample.minuteAfterMs, downsample.hourAfterMs].map(ms => (ms === null ? null : ms / DAY_MS));
  };
  assert.deepEqual(ages(15, 90, 400), [7, 30]);
  assert.deepEqual(ages(2, 2, 2), [null, null]);
  assert.deepEqual(ages(2, 90, 400), [2, 30]);
  assert.deepEqual(ages(2, 10, 400), [2, 10]);
  assert.deepEqual(ages(2, 1, 400), [null, 2]);
});
