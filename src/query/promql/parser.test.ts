/** The shape of trees and the bounds. What is accepted, refused and printed: test/promql/parser. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Expr } from './ast.ts';
import { PromqlParseError } from './errors.ts';
import { MAX_NESTING, MAX_QUERY_BYTES } from './parse-state.ts';
import { ALL_FEATURES, parseExpr, parseMetricSelector } from './parser.ts';
import { children, MAX_TREE_HEIGHT, typeOf } from './validate.ts';

const parse = (query: string): Expr => parseExpr(query, ALL_FEATURES);

function refused(body: () => unknown): PromqlParseError {
  try {
    body();
  } catch (error) {
    if (error instanceof PromqlParseError) return error;
    throw error;
  }
  throw new assert.AssertionError({ message: 'accepted' });
}

test('a selector carries its name as the last matcher, and its modifiers', () => {
  assert.deepEqual(parse('up{job=~"a.*"} @ 1.5 offset -5m'), {
    kind: 'selector',
    pos: { start: 0, end: 31 },
    name: 'up',
    matchers: [
      { name: 'job', op: '=~', value: 'a.*' },
      { name: '__name__', op: '=', value: 'up' },
    ],
    extended: null,
    offsetMs: -300_000,
    offsetExpr: null,
    atMs: 1500,
    atBound: null,
  });
});

test('a range keeps modifiers on its selector', () => {
  const expr = parse('up[5m] smoothed @ end() offset 1m');
  assert.equal(expr.kind, 'matrix');
  if (expr.kind !== 'matrix') return;
  assert.deepEqual([expr.rangeMs, expr.rangeExpr], [300_000, null]);
  const { extended, atBound, offsetMs } = expr.selector;
  assert.deepEqual([extended, atBound, offsetMs], ['smoothed', 'end', 60_000]);
});

test('modifiers stand behind the range, never before it', () => {
  const refused: [query: string, message: string][] = [
    ['x @ 5[5m]', '1:6: parse error: no @ modifiers allowed before range'],
    // Prometheus 2.42 lets these two through: its check knows fixed times only.
    ['x @ end()[5m]', '1:10: parse error: no @ modifiers allowed before range'],
    ['rate(x @ start()[5m])', '1:17: parse error: no @ modifiers allowed before range'],
    ['x offset 5m[5m]', '1:12: parse error: no offset modifiers allowed before range'],
    ['x @ end() offset 5m[5m]', '1:20: parse error: no offset modifiers allowed before range'],
    ['(x @ end())[5m]', '1:12: parse error: ranges only allowed for vector selectors'],
    ['x[5m] @ end() @ start()', '1:1: parse error: @ <timestamp> may not be set multiple times'],
  ];
  for (const [query, message] of refused) {
    assert.throws(
      () => parseExpr(query),
      (error: Error) => error.message === message,
      query,
    );
  }
  // A subquery is over any instant vector, modifiers included.
  for (const query of ['x[5m] @ end()', 'x[5m] offset 1m @ start()', 'x @ end()[5m:1m]', 'x offset 1m [5m:] @ 7'])
    parseExpr(query);
});

test('computed durations stand in the Expr fields', () => {
  const expr = parse('up[1h:step()*2] offset (5m)');
  assert.equal(expr.kind, 'subquery');
  if (expr.kind !== 'subquery') return;
  assert.deepEqual([expr.rangeMs, expr.stepMs, expr.offsetMs], [3_600_000, 0, 0]);
  assert.equal(expr.stepExpr?.kind === 'duration' && expr.stepExpr.op, '*');
  assert.equal(expr.offsetExpr?.kind === 'duration' && expr.offsetExpr.wrapped, true);
  // The nodes of a duration are reached like any other.
  assert.equal(children(expr).length, 3);
});

test('fractions of seconds become whole milliseconds', () => {
  const expr = parse('up[4.18]');
  assert.equal(expr.kind === 'matrix' && expr.rangeMs, 4180);
});

test('matching is there where two vectors meet, and only there', () => {
  const joined = parse('a * on (x) group_left (y) b');
  assert.deepEqual(joined.kind === 'binary' && joined.matching, {
    card: 'many-to-one',
    on: true,
    labels: ['x'],
    include: ['y'],
    fillLeft: null,
    fillRight: null,
  });
  const scaled = parse('a * 2');
  assert.equal(scaled.kind === 'binary' && scaled.matching, null);
  const set = parse('a and b');
  assert.equal(set.kind === 'binary' && set.matching?.card, 'many-to-many');
});

test('a sign in front of a number is part of it', () => {
  const negative = parse('-5m');
  assert.deepEqual(negative.kind === 'number' && [negative.value, negative.duration, negative.pos.start], [
    -300,
    true,
    0,
  ]);
  assert.equal(parse('-5 ^ 2').kind, 'unary');
});

test('types', () => {
  const cases: [string, string][] = [
    ['1 + 2 * 3', 'scalar'],
    ['1 + 2 * up', 'vector'],
    ['up + 1 + 2', 'vector'],
    ['-(1 > bool 2)', 'scalar'],
    ['scalar(up) + time()', 'scalar'],
    ['up[5m]', 'matrix'],
    ['up[5m:]', 'matrix'],
    ['"x"', 'string'],
    ['sum(up)', 'vector'],
  ];
  for (const [query, type] of cases) assert.equal(typeOf(parse(query)), type, query);
});

test('errors carry byte ranges, the message the first of them', () => {
  const error = refused(() => parse('{a="ü"} + foo("x") + sum({}, 1)'));
  assert.equal(error.message, '1:12: parse error: unknown function with name "foo"');
  assert.deepEqual(error.errors[0], { start: 11, end: 14, message: 'unknown function with name "foo"' });
  assert.equal(error.errors.length, 2);
});

test('nesting is bounded, long chains are not nesting', () => {
  const nested = (n: number) => `${'('.repeat(n)}1${')'.repeat(n)}`;
  assert.equal(parse(nested(MAX_NESTING - 1)).kind, 'paren');
  for (const deep of [
    nested(MAX_NESTING + 1),
    '('.repeat(100_000),
    '-'.repeat(100_000),
    `2${'^2'.repeat(100_000)}`,
    'sum('.repeat(100_000),
    `a[${'('.repeat(100_000)}`,
    `a offset ${'-'.repeat(100_000)}`,
  ]) {
    assert.match(refused(() => parse(deep)).message, /nested more than 400 levels deep$/);
  }
  assert.equal(parse(`a${' + a'.repeat(MAX_TREE_HEIGHT - 1)}`).kind, 'binary');
  const long = `a${' + a'.repeat(50_000)}`;
  assert.match(refused(() => parse(long)).message, /more than 1000 levels deep/);
});

test('length is bounded', () => {
  const error = refused(() => parse(`{a="${'x'.repeat(MAX_QUERY_BYTES)}"}`));
  assert.match(error.message, /^1:1: parse error: query of 1048582 bytes is too long, the limit is 1048576/);
});

test('hostile regular expressions are refused or compiled, never run wild', () => {
  for (const pattern of ['('.repeat(50_000), '(a*)*'.repeat(200), 'a{1000}{1000}', '[', '(?=x)', '\\8']) {
    try {
      parse(`up{a=~"${pattern.replaceAll('\\', '\\\\')}"}`);
    } catch (error) {
      assert.ok(error instanceof PromqlParseError);
    }
  }
});

test('match[] selectors', () => {
  assert.deepEqual(parseMetricSelector('up{a!="b"}'), [
    { name: 'a', op: '!=', value: 'b' },
    { name: '__name__', op: '=', value: 'up' },
  ]);
  assert.equal(parseMetricSelector('{"a b", __name__=~"x.+"}').length, 2);
  const cases: [string, string][] = [
    ['', '1:1'],
    ['{}', 'match[] must contain at least one non-empty matcher'],
    ['{a=~".*"}', 'match[] must contain at least one non-empty matcher'],
    ['up[5m]', '1:3: parse error: unexpected "["'],
    ['up + 1', '1:4: parse error: unexpected <op:+>'],
    ['sum(up)', '1:4: parse error: unexpected "("'],
    ['{a=~"("}', '1:2: parse error: error parsing regexp: missing closing ): `(`'],
  ];
  for (const [text, message] of cases) {
    const error = refused(() => parseMetricSelector(text));
    if (text === '') assert.equal(error.message, 'unknown position: parse error: unexpected end of input');
    else assert.equal(error.message, message, text);
  }
});
