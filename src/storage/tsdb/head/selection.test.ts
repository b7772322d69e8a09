/** Selections, label names and values of the head against a plain evaluation over label sets. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { getLabel, type Labels, labelsKey } from '../../../model/labels.ts';
import type { Matcher, MatchOp } from '../../../model/matcher.ts';
import { compileMatcher, compileMatchers } from '../matchers.ts';
import { batchOf, labels, temporaryDir } from './fixture.ts';
import { Head } from './head.ts';

const dir = temporaryDir();
const head = new Head({ dir });
const sets: Labels[] = [];
for (let i = 0; i < 300; i++) {
  sets.push(
    labels({
      __name__: `metric_${i % 7}`,
      id: String(i),
      ...(i % 3 === 0 ? { zone: `z${i % 5}` } : {}),
      ...(i % 2 === 0 ? { 'weird name ü': `v\n${i % 4}` } : {}),
    }),
  );
}
sets.push(labels({}));
head.append(
  'default',
  batchOf(
    'default',
    sets.map(l => ({ labels: l, t: 10, value: 1 })),
  ),
);
head.append('other', batchOf('other', [{ labels: labels({ __name__: 'metric_1', foreign: 'x' }), t: 10, value: 1 }]));
after(() => {
  head.abandon();
  fs.rmSync(dir, { recursive: true });
});

const name = fc.constantFrom('__name__', 'id', 'zone', 'weird name ü', 'absent');
const op = fc.constantFrom<MatchOp>('=', '!=', '=~', '!~');
const value = fc.constantFrom(
  '',
  'metric_1',
  'metric_.',
  'metric_(1|2)',
  'z0',
  'z.*',
  'z0|z1|nothing',
  '.*',
  '.+',
  '1.*',
  '7',
  'v\n2',
  'v.[0-2]',
  'z0|',
);
const matcher = fc.record({ name, op, value });

function expected(matchers: readonly Matcher[]): Labels[] {
  const compiled = compileMatchers(matchers);
  return sets.filter(l => compiled.every(m => m.matches(getLabel(l, m.name))));
}

test('any combination of matchers selects what a plain filter does', () => {
  fc.assert(
    fc.property(fc.array(matcher, { maxLength: 4 }), matchers => {
      const set = head.select('default', compileMatchers(matchers), 0, 100);
      const found: string[] = [];
      for (let i = 0; i < set.count; i++) found.push(labelsKey(set.labels(i)));
      set.close();
      const wanted = expected(matchers).map(labelsKey);
      assert.deepEqual(found.sort(), wanted.sort());
    }),
    { seed: 7, numRuns: 3000 },
  );
});

test('label names and values follow the matchers', () => {
  fc.assert(
    fc.property(fc.array(matcher, { maxLength: 2 }), name, (matchers, wanted) => {
      const compiled = compileMatchers(matchers);
      const names = new Set<string>();
      const values = new Set<string>();
      for (const l of expected(matchers)) {
        for (let i = 0; i < l.length; i += 2) names.add(l[i] as string);
        if (getLabel(l, wanted) !== '') values.add(getLabel(l, wanted));
      }
      assert.deepEqual([...head.labelNames('default', compiled, 0, 100)].sort(), [...names].sort());
      assert.deepEqual([...head.labelValues('default', wanted, compiled, 0, 100)].sort(), [...values].sort());
    }),
    { seed: 8, numRuns: 1000 },
  );
});

test('tenants do not see each other; unknown ones and other times see nothing', () => {
  assert.deepEqual([...head.labelNames('other', [], 0, 100)].sort(), ['__name__', 'foreign']);
  assert.equal(head.select('nobody', [], 0, 100).count, 0);
  assert.equal(head.select('default', [], 11, 100).count, 0);
  assert.equal(head.labelNames('default', [], 11, 100).size, 0);
  assert.deepEqual(
    [...head.labelValues('other', '__name__', [compileMatcher({ name: 'foreign', op: '=', value: 'x' })], 0, 100)],
    ['metric_1'],
  );
  assert.equal(head.seriesCount('other'), 1);
  assert.equal(head.seriesCount('nobody'), 0);
});
