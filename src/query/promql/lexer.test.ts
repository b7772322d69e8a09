import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeToken, Lexer, T_EOF, T_ERROR } from './lexer.ts';

function types(text: string): string {
  const lexer = new Lexer(Buffer.from(text));
  const out: string[] = [];
  for (;;) {
    const token = lexer.next();
    if (token.type === T_EOF) return out.join(' ');
    if (token.type === T_ERROR) return [...out, `!${token.start}:${token.end} ${token.text}`].join(' ');
    out.push(token.type);
  }
}

test('what a word is depends on where it stands', () => {
  assert.equal(types('sum SUM sum:x'), 'sum sum metric identifier');
  assert.equal(types('a{sum="x"}'), 'identifier { identifier = string }');
  assert.equal(types('a[step()]'), 'identifier [ step ( ) ]');
  assert.equal(types('min_of a[min_of(1)]'), 'identifier identifier [ min_of ( number ) ]');
  assert.equal(
    types('fill fill (1) fill_left\n('),
    'identifier fill ( number ) fill_left ( !25:25 unclosed left parenthesis',
  );
  assert.equal(types('inf NaN'), 'number number');
});

test('numbers, durations and operators', () => {
  assert.equal(types('1 1e3 1h30m .5 0x1F 5.'), 'number number duration number number number');
  assert.equal(types('a</b>/c<=d'), 'identifier </ identifier >/ identifier <= identifier');
  assert.equal(types('1hh'), '!0:3 bad number or duration syntax: "1hh"');
});

test('comments and space', () => {
  assert.equal(types('a # b\n{ # c\n}'), 'identifier { }');
  assert.equal(types('# only'), '');
});

test('positions count bytes', () => {
  const lexer = new Lexer(Buffer.from('{ä="é"}'));
  lexer.next();
  assert.equal(lexer.next().text, "unexpected character inside braces: 'ä'");
  const other = new Lexer(Buffer.from('"é" x'));
  assert.deepEqual(other.next(), { type: 'string', start: 0, end: 4, text: '"é"' });
  assert.equal(other.next().start, 5);
});

test('broken UTF-8 is found where it stands', () => {
  for (const bytes of [[0xff], [0xc3], [0xed, 0xa0, 0x80], [0xf8, 0x88, 0x80, 0x80], [0xef, 0xbf, 0xbd]]) {
    const token = new Lexer(Buffer.from([0x22, ...bytes, 0x22])).next();
    assert.deepEqual([token.type, token.text, token.start], [T_ERROR, 'invalid UTF-8 rune', 0]);
  }
});

test('tokens in messages', () => {
  const first = (text: string) => describeToken(new Lexer(Buffer.from(text)).next());
  const cases: [string, string][] = [
    ['', 'end of input'],
    ['foo', 'identifier "foo"'],
    ['a:b', 'metric identifier "a:b"'],
    ['+', '<op:+>'],
    ['AND', '<op:AND>'],
    ['sum', '<aggr:sum>'],
    ['offset', '<offset>'],
    ['(', '"("'],
    ['start', '"start"'],
    ['12345678901', 'number "1234567890"...'],
    ['"ab"', 'string "\\"ab\\""'],
    ['5m', 'duration "5m"'],
  ];
  for (const [text, wanted] of cases) assert.equal(first(text), wanted);
});
