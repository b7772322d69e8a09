/** Runs the data-driven cases of this folder (README.md says how they are written). */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { formatFloatF } from '../../../src/lib/go-float.ts';
import { formatLabels } from '../../../src/model/labels.ts';
import type { SequenceValue } from '../../../src/query/promql/ast.ts';
import { PromqlParseError } from '../../../src/query/promql/errors.ts';
import { ALL_FEATURES, DEFAULT_FEATURES, parseExpr } from '../../../src/query/promql/parser.ts';
import { prettyExpr } from '../../../src/query/promql/pretty.ts';
import { printExpr } from '../../../src/query/promql/print.ts';
import { parseSeriesDescription } from '../../../src/query/promql/series-description.ts';
import { printHistogramLiteral } from '../../../src/query/promql/series-histogram.ts';

interface Case {
  line: number;
  lines: string[];
}

function readCases(name: string): Case[] {
  const text = readFileSync(new URL(name, import.meta.url), 'utf8');
  const cases: Case[] = [];
  let open: Case | null = null;
  text.split('\n').forEach((line, i) => {
    if (line === '') open = null;
    else if (!line.startsWith('#')) {
      if (open === null) {
        open = { line: i + 1, lines: [] };
        cases.push(open);
      }
      open.lines.push(line);
    }
  });
  return cases;
}

/** The message of the refusal, or null; anything but a parse error is a crash. */
function refusal(body: () => void): string | null {
  try {
    body();
    return null;
  } catch (error) {
    if (error instanceof PromqlParseError) return error.message;
    throw error;
  }
}

test('query.txt: canonical text or message', () => {
  for (const { line, lines } of readCases('query.txt')) {
    const features = lines[0] === 'features: none' ? DEFAULT_FEATURES : ALL_FEATURES;
    if (lines[0] === 'features: none') lines.shift();
    const verdict = lines.pop() ?? '';
    const query = lines.join('\n');
    const where = `query.txt:${line}: ${query}`;
    const message = refusal(() => parseExpr(query, features));
    if (verdict.startsWith('! ')) {
      assert.equal(message, verdict.slice(2), where);
      continue;
    }
    assert.equal(message, null, where);
    const printed = printExpr(parseExpr(query, features));
    assert.equal(printed, verdict === '=' ? query : verdict.slice(2), where);
    assert.equal(printExpr(parseExpr(printed, features)), printed, where);
  }
});

function printValue(value: SequenceValue): string {
  if (value.omitted) return '_';
  if (value.stale) return 'stale';
  if (value.histogram === null) return formatFloatF(value.value);
  return printHistogramLiteral(value.histogram) + (value.hintSet ? '!' : '');
}

test('series.txt: labels and values or message', () => {
  for (const { line, lines } of readCases('series.txt')) {
    const [input = '', verdict = ''] = lines;
    const where = `series.txt:${line}: ${input}`;
    const message = refusal(() => parseSeriesDescription(input));
    if (verdict.startsWith('! ')) {
      assert.equal(message, verdict.slice(2), where);
      continue;
    }
    assert.equal(message, null, where);
    const { labels, values } = parseSeriesDescription(input);
    assert.equal(`${formatLabels(labels)} | ${values.map(printValue).join(' ')}`.trim(), verdict.slice(2), where);
  }
});

test('pretty.txt: layout at a width', () => {
  for (const { line, lines } of readCases('pretty.txt')) {
    const width = Number(/^width: (\d+)$/.exec(lines[0] ?? '')?.[1]);
    const split = lines.indexOf('=');
    const query = lines.slice(1, split).join('\n');
    const formatted = prettyExpr(parseExpr(query, ALL_FEATURES), width);
    assert.equal(formatted, lines.slice(split + 1).join('\n'), `pretty.txt:${line}: ${query}`);
    assert.equal(printExpr(parseExpr(formatted, ALL_FEATURES)), printExpr(parseExpr(query, ALL_FEATURES)));
  }
});
