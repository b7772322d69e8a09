/**
 * Holds the parser against Prometheus' own editor grammar: whatever we accept, the grammar accepts, except what is
 * named here. The other way round only errors of the token order are compared: the grammar knows neither types nor
 * flags, nor what stands inside strings and numbers.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parser as grammar } from '@prometheus-io/lezer-promql';
import { ALL_FEATURES, parseExpr } from '../../../src/query/promql/parser.ts';

/** Valid in Prometheus, refused by the grammar, and why. */
const GRAMMAR_REFUSES: readonly [RegExp, string][] = [
  [/(^|[^0-9])[0-9]+\.($|[^0-9])/, 'numbers that end in a dot'],
  [/0x_/, 'an underscore right behind 0x'],
  [/(^|[+(] ?)offset\b/, 'offset as a metric name: it is reserved in the grammar'],
  [/by \(by, on, group_left, bool/, 'reserved words as label names'],
  [/STEP \(/, 'step() in upper case'],
  [/^min_of\(/, 'min_of and max_of as functions of scalars'],
];

/** Syntax errors that the grammar lets pass, and why. */
const GRAMMAR_ACCEPTS: readonly [RegExp, string][] = [
  [/by \(without\)/, 'words that cannot be label names'],
  [/\[NaN\]/, 'Inf and NaN as durations'],
];

function grammarAccepts(query: string): boolean {
  let broken = false;
  grammar.parse(query).iterate({
    enter(node) {
      if (node.type.isError) broken = true;
    },
  });
  return !broken;
}

function ownQueries(): string[] {
  const text = readFileSync(new URL('query.txt', import.meta.url), 'utf8');
  return text
    .split('\n\n')
    .map(block => block.split('\n').filter(line => !line.startsWith('#') && !line.startsWith('features:')))
    .map(lines => lines.slice(0, -1).join('\n'))
    .filter(query => query !== '');
}

function weAccept(query: string): string | null {
  try {
    parseExpr(query, ALL_FEATURES);
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function compare(queries: readonly string[]): void {
  let compared = 0;
  for (const query of queries) {
    const refused = weAccept(query);
    if (refused === null) {
      if (GRAMMAR_REFUSES.some(([pattern]) => pattern.test(query))) continue;
      assert.ok(grammarAccepts(query), `valid, but the grammar refuses it: ${query}`);
      compared++;
    } else if (/: unexpected |unclosed/.test(refused)) {
      if (GRAMMAR_ACCEPTS.some(([pattern]) => pattern.test(query))) continue;
      assert.ok(!grammarAccepts(query), `the grammar accepts what we refuse (${refused}): ${query}`);
      compared++;
    }
  }
  assert.ok(compared > queries.length / 3, `only ${compared} of ${queries.length} queries were compared`);
}

test('own queries: as the editor grammar', () => compare(ownQueries()));

const suites = process.env.SIGHTLINE_SUITES;
test('suite queries: as the editor grammar', { skip: suites === undefined && 'needs SIGHTLINE_SUITES' }, () => {
  const read = (path: string) => JSON.parse(readFileSync(join(suites as string, path), 'utf8'));
  const cases = read('01-promqltest/parser/parse_cases.json') as { input: string | null }[];
  const compliance = read('02-compliance/promql/expanded_queries.json') as { query: string }[];
  compare([...cases.flatMap(c => c.input ?? []), ...compliance.map(c => c.query)]);
});
