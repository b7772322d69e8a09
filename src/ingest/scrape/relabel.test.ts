import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
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

const suite = join(process.env.SIGHTLINE_SUITES ?? '', '04-prom-rules-config', 'relabel', 'relabel_cases.json');

test('cases of the suite', { skip: existsSync(suite) ? false : 'needs SIGHTLINE_SUITES' }, t => {
  interface Case {
    input: Record<string, string>;
    relabel_configs: Record<string, unknown>[];
    dropped: boolean;
    output?: Record<string, string>;
  }
  const cases = JSON.parse(readFileSync(suite, 'utf8')) as Case[];
  for (const { input, relabel_configs, dropped, output } of cases) {
    const rules = relabel_configs.map(config => ({
      sourceLabels: (config.source_labels as string[] | undefined) ?? [],
      separator: (config.separator as string | undefined) ?? ';',
      regex: (config.regex as string | undefined) ?? '(.*)',
      modulus: (config.modulus as number | undefined) ?? 0,
      targetLabel: (config.target_label as string | undefined) ?? '',
      replacement: (config.replacement as string | undefined) ?? '$1',
      action: config.action as string,
    }));
    const result = run(input, ...rules);
    if (dropped) assert.equal(result, null, JSON.stringify(relabel_configs));
    else
      assert.deepEqual(
        result,
        Object.fromEntries(Object.entries(output ?? {}).sort()),
        JSON.stringify(relabel_configs),
      );
  }
  t.diagnostic(`relabel: ${cases.length} passed, 0 failed`);
});
