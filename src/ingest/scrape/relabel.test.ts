import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compileRelabel, type RelabelRule } from './relabel.ts';

const DEFAULTS: RelabelRule = {
  sourceLabels: [],
  separator: ';',
  regex: '(.*)',
  modulus: 0,
  targetLabel: '',
  replacement: '$1',
  action: 'replace',
};

function run(labels: Record<string, string>, ...rules: Partial<RelabelRule>[]): Record<string, string> | null {
  const map = new Map(Object.entries(labels));
  const kept = compileRelabel(rules.map(rule => ({ ...DEFAULTS, ...rule })))(map);
  return kept ? Object.fromEntries([...map].sort()) : null;
}

test('actions', () => {
  assert.deepEqual(run({ a: 'x' }, { sourceLabels: ['a'], targetLabel: 'b' }), { a: 'x', b: 'x' });
  assert.deepEqual(run({ a: 'x', b: 'y' }, { sourceLabels: ['none'], targetLabel: 'b' }), { a: 'x' });
  assert.deepEqual(run({ a: 'x' }, { targetLabel: 'b', replacement: 'fixed' }), { a: 'x', b: 'fixed' });
  assert.equal(run({ a: 'x' }, { sourceLabels: ['a'], action: 'keep', regex: 'y' }), null);
  assert.equal(run({ a: 'xy' }, { sourceLabels: ['a'], action: 'keep', regex: 'x' }), null);
  assert.deepEqual(run({ a: 'AbC' }, { sourceLabels: ['a'], targetLabel: 'a', action: 'lowercase' }), { a: 'abc' });
  assert.deepEqual(run({ a_x: '1', b: '2' }, { regex: 'a_(.*)', action: 'labelmap' }), { a_x: '1', b: '2', x: '1' });
});

test('templates as Go expands them', () => {
  const rule = { sourceLabels: ['a'], regex: '(x)(?P<name>y)', targetLabel: 't' };
  for (const [replacement, want] of [
    ['$1-$2', 'x-y'],
    // biome-ignore lint/suspicious/noTemplateCurlyInString: Go's notation.
    ['${name}$name', 'yy'],
    ['$1x', undefined],
    ['$$1', '$1'],
    ['$9', undefined],
    ['a$', 'a$'],
    ['${1', '${1'],
  ] as const) {
    assert.equal(run({ a: 'xy' }, { ...rule, replacement })?.t, want, replacement);
  }
});

test('an invalid target name changes nothing', () => {
  assert.deepEqual(run({ a: 'x' }, { sourceLabels: ['a'], regex: '(y)?x', targetLabel: '$1', replacement: 'v' }), {
    a: 'x',
  });
});

test('a hostile expression takes linear time', () => {
  const labels = { a: `${'a'.repeat(20_000)}!` };
  assert.equal(run(labels, { sourceLabels: ['a'], regex: '(a+)+', action: 'keep' }), null);
});
