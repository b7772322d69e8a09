/** Bounds of the formatter; its layout is in test/promql/parser/pretty.txt. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ALL_FEATURES, parseExpr } from './parser.ts';
import { FormatError, prettyExpr } from './pretty.ts';
import { printExpr } from './print.ts';

test('fits exactly or is split', () => {
  const expr = parseExpr('sum(ab + cd)');
  assert.equal(printExpr(expr).length, 12);
  assert.equal(prettyExpr(expr, 12), 'sum(ab + cd)');
  assert.equal(prettyExpr(expr, 11), 'sum(\n  ab + cd\n)');
});

test('measures what it would print', () => {
  for (const query of [
    'topk by ("a b", c) (2, up{d="é"} @ 5 offset 1m)',
    'a * on (x) group_left (y) fill (0) -(b ^ 2)',
    'max_over_time(rate(up[5m])[1h:step() * 2] offset -1m)',
    'label_join(up, "a", ",", "b")',
    '"string" == bool 1'.replace('"string" == bool 1', '1 == bool 2'),
  ]) {
    const expr = parseExpr(query, ALL_FEATURES);
    const bytes = Buffer.byteLength(printExpr(expr));
    assert.equal(prettyExpr(expr, bytes), printExpr(expr), query);
    assert.notEqual(prettyExpr(expr, bytes - 1), printExpr(expr), query);
  }
});

test('refuses to indent without end', () => {
  const wide = `label_join(up, "a", ","${', "b"'.repeat(100_000)})`;
  const deep = `${'abs('.repeat(300)}${wide}${')'.repeat(300)}`;
  assert.throws(() => prettyExpr(parseExpr(deep)), FormatError);
});
