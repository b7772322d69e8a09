/**
 * The parser against the facts extracted from Prometheus' own parser tests (outside the repository, by
 * SIGHTLINE_SUITES): which queries are valid, every finding with its position and wording, canonical and formatted
 * text, series lines, histogram literals. Each part prints `N passed, M failed`.
 */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { FloatHistogram } from '../../../src/model/histogram.ts';
import { labelsToRecord } from '../../../src/model/labels.ts';
import { PromqlParseError } from '../../../src/query/promql/errors.ts';
import { ALL_FEATURES, parseExpr } from '../../../src/query/promql/parser.ts';
import { prettyExpr } from '../../../src/query/promql/pretty.ts';
import { printExpr } from '../../../src/query/promql/print.ts';
import { parseSeriesDescription } from '../../../src/query/promql/series-description.ts';
import { printHistogramLiteral } from '../../../src/query/promql/series-histogram.ts';

const suites = process.env.SIGHTLINE_SUITES;
const skip = suites === undefined && 'needs SIGHTLINE_SUITES';

function load<T>(path: string): T[] {
  return JSON.parse(readFileSync(join(suites as string, path), 'utf8')) as T[];
}

/** Runs `body` for each case; it returns '' or what is wrong. */
function score<T>(t: { diagnostic(message: string): void }, cases: readonly T[], body: (c: T) => string): void {
  const failures: string[] = [];
  for (const c of cases) {
    const wrong = body(c);
    if (wrong !== '') failures.push(`${JSON.stringify(c).slice(0, 200)}: ${wrong}`);
  }
  t.diagnostic(`${cases.length - failures.length} passed, ${failures.length} failed`);
  assert.ok(cases.length > 0);
  assert.deepEqual(failures, []);
}

function attempt<T>(body: () => T): { result: T | null; error: PromqlParseError | null } {
  try {
    return { result: body(), error: null };
  } catch (error) {
    if (error instanceof PromqlParseError) return { result: null, error };
    throw error;
  }
}

interface ParseCase {
  input: string | null;
  input_hex?: string;
  input_build?: string;
  valid: boolean;
  root_node?: string;
  error_count?: number;
  errors?: { start: number | null; end: number | null; msg: string | null; msg_contains?: string }[];
}

const KINDS: Readonly<Record<string, string>> = {
  NumberLiteral: 'number',
  BinaryExpr: 'binary',
  UnaryExpr: 'unary',
  VectorSelector: 'selector',
  MatrixSelector: 'matrix',
  SubqueryExpr: 'subquery',
  Call: 'call',
  AggregateExpr: 'aggregate',
  ParenExpr: 'paren',
  StringLiteral: 'string',
};

function inputOf(c: ParseCase): string | Uint8Array {
  if (c.input !== null) return c.input;
  if (c.input_hex !== undefined) return Buffer.from(c.input_hex, 'hex');
  // The one giant case; its recipe is given in words.
  return `(${'-{}-1'.repeat(10000)})${'[1m:]'.repeat(1000)}`;
}

test('parse_cases.json', { skip }, t => {
  score(t, load<ParseCase>('01-promqltest/parser/parse_cases.json'), c => {
    const { result, error } = attempt(() => parseExpr(inputOf(c), ALL_FEATURES));
    if (c.valid) return result?.kind === KINDS[c.root_node ?? ''] ? '' : `got ${result?.kind ?? error?.message}`;
    if (error === null) return 'accepted';
    if (c.error_count !== undefined)
      return error.errors.length === c.error_count ? '' : `${error.errors.length} errors`;
    const wanted = c.errors ?? [];
    const same = wanted.every((w, i) => {
      const got = error.errors[i];
      if (got === undefined) return false;
      if (w.start !== null && w.start !== got.start) return false;
      if (w.end !== null && w.end !== got.end) return false;
      return (w.msg === null || w.msg === got.message) && got.message.includes(w.msg_contains ?? '');
    });
    return same && wanted.length === error.errors.length ? '' : JSON.stringify(error.errors);
  });
});

interface PrintCase {
  input: string;
  canonical?: string;
  pretty?: string;
}

const canonical = '01-promqltest/parser/print_canonical_cases.json';
// Not every copy of the suite has these cases.
if (skip === false && existsSync(join(suites ?? '', canonical))) {
  test('print_canonical_cases.json', t => {
    score(t, load<PrintCase>(canonical), c => {
      const got = printExpr(parseExpr(c.input, ALL_FEATURES));
      return got === c.canonical ? '' : got;
    });
  });
}

test('pretty_print_cases.json', { skip }, t => {
  score(t, load<PrintCase>('01-promqltest/parser/pretty_print_cases.json'), c => {
    const got = prettyExpr(parseExpr(c.input, ALL_FEATURES), 10);
    return got === c.pretty ? '' : got;
  });
});

interface SeriesCase {
  input: string;
  valid: boolean;
  metric: Record<string, string> | null;
  values: (number | { id: 'none' })[] | null;
}

test('series_description_cases.json', { skip }, t => {
  score(t, load<SeriesCase>('01-promqltest/parser/series_description_cases.json'), c => {
    const { result, error } = attempt(() => parseSeriesDescription(c.input));
    if (!c.valid) return error === null ? 'accepted' : '';
    if (result === null) return error?.message ?? '';
    const values = result.values.map(v => (v.omitted ? { id: 'none' } : v.value));
    const got = JSON.stringify([labelsToRecord(result.labels), values]);
    return got === JSON.stringify([c.metric, c.values]) ? '' : got;
  });
});

interface HistogramFacts {
  Schema?: number;
  Sum?: number;
  Count?: number;
  ZeroCount?: number;
  ZeroThreshold?: number;
  PositiveBuckets?: number[];
  PositiveSpans?: { Offset: number; Length: number }[];
  NegativeBuckets?: number[];
  NegativeSpans?: { Offset: number; Length: number }[];
  CounterResetHint?: string;
}

interface HistogramCase {
  name: string;
  input?: string;
  valid: boolean;
  error?: string;
  histograms?: HistogramFacts[];
  histogram?: HistogramFacts;
  canonical?: string;
}

const HINTS = ['unknown', 'reset', 'not_reset', 'gauge'];

function toHistogram(facts: HistogramFacts): FloatHistogram {
  return {
    schema: facts.Schema ?? 0,
    zeroThreshold: facts.ZeroThreshold ?? 0,
    zeroCount: facts.ZeroCount ?? 0,
    count: facts.Count ?? 0,
    sum: facts.Sum ?? 0,
    positiveSpans: (facts.PositiveSpans ?? []).flatMap(span => [span.Offset, span.Length]),
    positiveBuckets: facts.PositiveBuckets ?? [],
    negativeSpans: (facts.NegativeSpans ?? []).flatMap(span => [span.Offset, span.Length]),
    negativeBuckets: facts.NegativeBuckets ?? [],
    customValues: [],
    counterResetHint: HINTS.indexOf(facts.CounterResetHint ?? 'unknown') as 0 | 1 | 2 | 3,
    integer: false,
  };
}

/** The upstream text holds a number that its parser generator gave to a token; ours names the token. */
const GENERATED_NAME = /"<Item \d+>" /;

test('histogram_series_cases.json', { skip }, t => {
  score(t, load<HistogramCase>('01-promqltest/parser/histogram_series_cases.json'), c => {
    if (c.histogram !== undefined) {
      const got = printHistogramLiteral(toHistogram(c.histogram));
      return got === c.canonical ? '' : got;
    }
    const { result, error } = attempt(() => parseSeriesDescription(c.input ?? ''));
    if (!c.valid) return error?.message === c.error?.replace(GENERATED_NAME, '') ? '' : (error?.message ?? 'accepted');
    const got = result?.values.map(v => v.histogram);
    try {
      assert.deepEqual(got, c.histograms?.map(toHistogram));
      return '';
    } catch {
      return JSON.stringify(got ?? error?.message);
    }
  });
});

/** Fail when they are evaluated, not when they are parsed: bad expressions and label names in label_replace. */
const FAILS_LATER = /^label_(replace|join)\(/;

test('compliance queries parse with default switches', { skip }, t => {
  score(t, load<{ query: string; should_fail: boolean }>('02-compliance/promql/expanded_queries.json'), c => {
    const { error } = attempt(() => parseExpr(c.query));
    if (!c.should_fail) return error?.message ?? '';
    return error !== null || FAILS_LATER.test(c.query) ? '' : 'accepted';
  });
});

const EVAL = /^eval(?:_\w+)?\s+(?:instant\s+at\s+\S+|range\s+from\s+\S+\s+to\s+\S+\s+step\s+\S+)\s+(.*)$/;

test('queries of the evaluation scripts parse, and their canonical text is stable', { skip }, t => {
  const folder = join(suites as string, '01-promqltest/testdata');
  const queries = readdirSync(folder)
    .flatMap(file => readFileSync(join(folder, file), 'utf8').split('\n'))
    .flatMap(line => EVAL.exec(line.trim())?.[1] ?? []);
  score(t, queries, query => {
    const { result, error } = attempt(() => printExpr(parseExpr(query, ALL_FEATURES)));
    if (result === null) return error?.message ?? '';
    const again = printExpr(parseExpr(result, ALL_FEATURES));
    return again === result ? '' : `${result} became ${again}`;
  });
});
