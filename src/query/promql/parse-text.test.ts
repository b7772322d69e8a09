import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { describeRune, formatFixed6, parseNumber, quote, quoteRune, unquote } from './parse-text.ts';

test('quoting', () => {
  assert.equal(
    quote('a"b\\c\n\t\x00\x7fé\u2028\u00a0\ufffd😀\u{10ffff}'),
    '"a\\"b\\\\c\\n\\t\\x00\\x7fé\\u2028\\u00a0\\ufffd😀\\U0010ffff"',
  );
  assert.equal(quoteRune(0x27), "'\\''");
  assert.equal(quoteRune(-1), "'\ufffd'");
  assert.equal(describeRune(0x63), "U+0063 'c'");
  assert.equal(describeRune(0x0a), 'U+000A');
});

test('unquoting', () => {
  assert.equal(unquote('`a\\n"`'), 'a\\n"');
  assert.equal(unquote("'\\'\"'"), '\'"');
  assert.equal(unquote('"\\xc3\\xa9\\303\\251"'), 'éé');
  assert.equal(unquote('"\\xff"'), '\ufffd');
});

test('what is quoted unquotes to the same', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 20 }), text => {
      assert.equal(unquote(quote(text)), text);
    }),
    { seed: 3, numRuns: 3000 },
  );
});

test('numbers', () => {
  const good: [string, number][] = [
    ['1_000', 1000],
    ['0755', 493],
    ['0_755', 493],
    ['0800', 800],
    ['0xFf', 255],
    ['0x_f', 15],
    ['.5e-1', 0.05],
    ['1.', 1],
    ['9223372036854775807', 2 ** 63],
    ['1e-400', 0],
    ['INF', Number.POSITIVE_INFINITY],
  ];
  for (const [text, value] of good) assert.deepEqual(parseNumber(text), { value, reason: '' }, text);
  assert.ok(Number.isNaN(parseNumber('nan').value));
  const bad: [string, RegExp][] = [
    ['1e309', /value out of range$/],
    ['1__0', /invalid syntax$/],
    ['1_', /invalid syntax$/],
    ['1_.5', /invalid syntax$/],
    ['0x', /invalid syntax$/],
    ['0x1e+5', /invalid syntax$/],
    ['.', /invalid syntax$/],
  ];
  for (const [text, reason] of bad) assert.match(parseNumber(text).reason, reason, text);
});

test('six decimals', () => {
  assert.equal(formatFixed6(2 ** 63), '9223372036854775808.000000');
  assert.equal(formatFixed6(1e22), '10000000000000000000000.000000');
  assert.equal(formatFixed6(Number.NaN), 'NaN');
});
