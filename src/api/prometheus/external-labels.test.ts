import assert from 'node:assert/strict';
import { test } from 'node:test';
import { labelsFromRecord } from '../../model/labels.ts';
import { withExternalLabels, withoutExternalMatchers } from './external-labels.ts';

test('external labels join those of a series, which keeps its own', () => {
  const external = labelsFromRecord({ a: '1', job: 'x', z: '2' });
  assert.deepEqual(withExternalLabels(labelsFromRecord({ __name__: 'up', job: 'api' }), external), [
    ...['__name__', 'up', 'a', '1'],
    ...['job', 'api', 'z', '2'],
  ]);
  assert.deepEqual(withExternalLabels([], external), external);
  assert.deepEqual(withExternalLabels(['b', 'c'], []), ['b', 'c']);
});

test('only the equality with an external label is taken off', () => {
  const external = labelsFromRecord({ cluster: 'eu' });
  const matchers = [
    { name: 'cluster', op: '=' as const, value: 'eu' },
    { name: 'cluster', op: '=' as const, value: 'us' },
    { name: 'cluster', op: '=~' as const, value: 'eu' },
    { name: 'other', op: '=' as const, value: '' },
  ];
  assert.deepEqual(withoutExternalMatchers(matchers, external), matchers.slice(1));
});
