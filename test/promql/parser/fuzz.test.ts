/**
 * Fuzzes the parser with fixed seeds: whatever the text, it answers with a tree or a PromqlParseError, and a tree that
 * is printed and parsed again is the same tree.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { exprToJson } from '../../../src/query/promql/ast-json.ts';
import { PromqlParseError } from '../../../src/query/promql/errors.ts';
import { ALL_FEATURES, parseExpr, parseMetricSelector } from '../../../src/query/promql/parser.ts';
import { prettyExpr } from '../../../src/query/promql/pretty.ts';
import { printExpr } from '../../../src/query/promql/print.ts';
import {
  parseSeriesDescription,
  parseStartTimestampDescription,
} from '../../../src/query/promql/series-description.ts';

const TOKENS = [
  ...['a', 'b:c', 'sum', 'topk', 'count_values', 'rate', 'info', 'label_join', 'start', 'end', 'step', 'range'],
  ...['min_of', 'max_of', 'by', 'without', 'on', 'ignoring', 'group_left', 'group_right', 'bool', 'offset', 'fill'],
  ...['fill_left', 'fill_right', 'anchored', 'smoothed', 'and', 'or', 'unless', 'atan2', 'Inf', 'NaN'],
  ...['(', ')', '{', '}', '[', ']', ',', ':', '@', '=', '!=', '=~', '!~', '==', '<', '>=', '</', '>/'],
  ...['+', '-', '*', '/', '%', '^', '1', '2.5', '0x1f', '5m', '1h30m', '7', '"x"', "'y z'", '`q`', '"\\xff"', '#c\n'],
  ...['(a)', '{b="c"}', '[5m]', '[1h:5m]', 'a', 'a', '1', '()', '@ 5', 'offset 1m', ' ', '\n'],
];

function tree(query: string): unknown {
  return strip(parseExpr(query, ALL_FEATURES));
}

/** The tree without positions, matchers sorted: printing sorts them. */
function strip(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(strip);
  if (typeof value !== 'object' || value === null) return value;
  const out: Record<string, unknown> = {};
  for (const [key, part] of Object.entries(value)) {
    if (key === 'pos') continue;
    out[key] = key === 'matchers' ? (part as object[]).map(m => JSON.stringify(m)).sort() : strip(part);
  }
  return out;
}

/** Returns whether the text was a query. */
function check(query: string): boolean {
  let expr: ReturnType<typeof parseExpr>;
  try {
    expr = parseExpr(query, ALL_FEATURES);
  } catch (error) {
    assert.ok(error instanceof PromqlParseError, `${query}: ${error}`);
    assert.match(error.message, /^(\d+:\d+|unknown position): parse error: ./s);
    for (const { start, end } of error.errors) assert.ok(start >= 0 && end >= 0 && start <= Buffer.byteLength(query));
    return false;
  }
  const printed = printExpr(expr);
  assert.deepEqual(tree(printed), strip(expr), `${query} was printed as ${printed}`);
  assert.equal(printExpr(parseExpr(printed, ALL_FEATURES)), printed);
  assert.deepEqual(tree(prettyExpr(expr, 20)), strip(expr), `${query} was formatted differently`);
  JSON.stringify(exprToJson(expr));
  return true;
}

function run(property: fc.IProperty<[string]>, runs: number): void {
  fc.assert(property, { seed: 20_261_122, numRuns: runs });
}

test('token soup', () => {
  let valid = 0;
  const soup = fc.array(fc.constantFrom(...TOKENS), { maxLength: 14 }).map(tokens => tokens.join(' '));
  run(
    fc.property(soup, query => {
      if (check(query)) valid++;
    }),
    20_000,
  );
  assert.ok(valid > 50, `only ${valid} were queries`);
});

const corpus = readFileSync(new URL('query.txt', import.meta.url), 'utf8')
  .split('\n\n')
  .filter(block => /\n= ?.*$/.test(block.trimEnd()))
  .map(block => block.trimEnd().split('\n').slice(0, -1).join('\n'));

test('mutated queries', () => {
  let valid = 0;
  const mutation = fc.record({
    query: fc.constantFrom(...corpus),
    at: fc.nat(),
    length: fc.nat(4),
    insert: fc.oneof(fc.constantFrom(...TOKENS), fc.string({ maxLength: 3, unit: 'binary' })),
    tail: fc.constantFrom(...corpus, '', ''),
  });
  const mutated = mutation.map(({ query, at, length, insert, tail }) => {
    const cut = at % (query.length + 1);
    return `${query.slice(0, cut)}${insert}${query.slice(cut + length)} ${tail}`;
  });
  run(
    fc.property(mutated, query => {
      if (check(query)) valid++;
    }),
    20_000,
  );
  assert.ok(valid > 500, `only ${valid} were queries`);
});

test('generated expressions print and parse to the same tree', () => {
  const { expr } = fc.letrec<{ expr: string }>(tie => ({
    expr: fc.oneof(
      { maxDepth: 5, withCrossShrink: true },
      fc.constantFrom('a', 'b{c="d"}', '{"e f",g!~"h.*"}', '3', '-0.25', '1h', 'NaN', 'sum(a)', 'a @ end()', 'offset'),
      fc
        .tuple(tie('expr'), fc.constantFrom('+', '-', '*', '^', '/', 'atan2', '> bool', '%', '</'), tie('expr'))
        .map(p => p.join(' ')),
      tie('expr').map(e => `(${e})`),
      tie('expr').map(e => `-${e}`),
      tie('expr').map(e => `vector(scalar(sum by (x, "y z") (${e})))`),
      tie('expr').map(e => `max_over_time((${e})[1h:step() * 2] offset -5m)`),
      tie('expr').map(e => `a * on (i) group_left (j) fill (0) (${e})`),
      tie('expr').map(e => `rate(a[min_of(range(), 2m ^ 2 - -1)] smoothed) unless (${e})`),
    ),
  }));
  let valid = 0;
  run(
    fc.property(expr, query => {
      if (check(query)) valid++;
    }),
    5000,
  );
  assert.ok(valid > 1000, `only ${valid} were queries`);
});

test('bytes that are no text', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), bytes => {
      try {
        parseExpr(bytes, ALL_FEATURES);
      } catch (error) {
        assert.ok(error instanceof PromqlParseError, String(error));
      }
    }),
    { seed: 20_261_122, numRuns: 20_000 },
  );
});

const SERIES_TOKENS = [
  ...['up', '{', '}', 'a="b"', ',', ' ', ' ', ' ', '_', 'x', 'x3', '1', '2.5', '+', '-', 'stale', 'NaN', 'Inf', '1e9'],
  ...['{{', '}}', 'sum:1', 'schema:', 'buckets:', '[', ']', '-53', 'count', 'counter_reset_hint:gauge', '@st', '5m'],
  ...['{{buckets:[1 2]}}', '{{schema:-53 custom_values:[1] buckets:[1 2]}}', '"', 'é', '0x1'],
];

test('series lines and selectors', () => {
  const soup = fc.array(fc.constantFrom(...SERIES_TOKENS), { maxLength: 12 }).map(tokens => `up${tokens.join('')}`);
  let valid = 0;
  run(
    fc.property(soup, line => {
      for (const parse of [parseSeriesDescription, parseStartTimestampDescription, parseMetricSelector]) {
        try {
          parse(line);
          valid++;
        } catch (error) {
          assert.ok(error instanceof PromqlParseError, `${line}: ${error}`);
        }
      }
    }),
    20_000,
  );
  assert.ok(valid > 500, `only ${valid} were accepted`);
});
