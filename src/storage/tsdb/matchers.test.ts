import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RE2JS } from 're2js';
import type { MatchOp } from '../../model/matcher.ts';
import { seeded } from './chunk/shapes.ts';
import { compileMatcher, InvalidMatcherError } from './matchers.ts';

const compile = (op: MatchOp, value: string) => compileMatcher({ name: 'l', op, value });

test('lists of literals become sets', () => {
  const sets: [string, string[] | null][] = [
    ['', ['']],
    ['a', ['a']],
    ['a|b|c', ['a', 'b', 'c']],
    ['a||b', ['a', '', 'b']],
    ['node-(1|2)', ['node-1', 'node-2']],
    ['(?:x|y)(1|2)', ['x1', 'x2', 'y1', 'y2']],
    ['a\\.b', ['a.b']],
    ['10\\.0\\.0\\.1:9100', ['10.0.0.1:9100']],
    ['a.b', null],
    ['a*', null],
    ['(a)?', null],
    ['(?i)a', null],
    ['[ab]', null],
    ['a|b.*', null],
    ['\\d', null],
    ['^a$', null],
  ];
  for (const [pattern, expected] of sets) assert.deepEqual(compile('=~', pattern).set, expected, pattern);
});

test('prefixes', () => {
  const prefixes: [string, string][] = [
    ['abc.*', 'abc'],
    ['abc[0-9]', 'abc'],
    ['ab+', 'ab'],
    ['ab*', 'a'],
    ['ab?c', 'a'],
    ['node\\.x(1|2).?', 'node.x'],
    ['abc|abd.*', ''],
    ['abc|abd', 'ab'],
    ['.*x', ''],
  ];
  for (const [pattern, expected] of prefixes) assert.equal(compile('=~', pattern).prefix, expected, pattern);
});

test('matching is that of the machine, whatever shortcut is taken', () => {
  const r = seeded(11);
  const atoms = [
    'a',
    'b',
    'ab',
    '.',
    '.*',
    '.+',
    '(a|b)',
    '(?:a|)',
    'a?',
    'b*',
    '\\.',
    '|',
    '\n',
    '[ab]',
    '😀',
    '(?i:A)',
    'a{2}',
    '^',
    '$',
  ];
  const letters = ['a', 'b', '.', '\n', '😀', 'A'];
  for (let round = 0; round < 4000; round++) {
    const pattern = Array.from({ length: 1 + Math.floor(r() * 5) }, () => atoms[Math.floor(r() * atoms.length)]).join(
      '',
    );
    let machine: RE2JS;
    try {
      machine = RE2JS.compile(pattern, RE2JS.DOTALL);
    } catch {
      assert.throws(() => compile('=~', pattern), InvalidMatcherError);
      continue;
    }
    const yes = compile('=~', pattern);
    const no = compile('!~', pattern);
    for (let k = 0; k < 20; k++) {
      const value = Array.from({ length: Math.floor(r() * 5) }, () => letters[Math.floor(r() * letters.length)]).join(
        '',
      );
      const expected = machine.testExact(value);
      const what = `${JSON.stringify(pattern)} on ${JSON.stringify(value)}`;
      assert.equal(yes.matches(value), expected, what);
      assert.equal(no.matches(value), !expected, what);
      if (expected) assert.ok(value.startsWith(yes.prefix), `${what}: prefix ${yes.prefix}`);
      if (yes.set !== null) assert.equal(yes.set.includes(value), expected, what);
    }
  }
});

test('matching takes linear time', () => {
  assert.equal(compile('=~', '(a*)*b').matches('a'.repeat(20_000)), false);
  assert.equal(compile('=~', `${'.*a'.repeat(30)}b`).matches('a'.repeat(20_000)), false);
});

test('a broken expression is refused with its text', () => {
  assert.throws(() => compile('=~', 'a('), /regular expression "a\("/);
});
