/**
 * The notation of test scripts and rule tests for a series and its samples: `name{label="v"} 1 2+3x4 _ stale {{sum:1}}`.
 *
 *   values = { blank value }
 *   value  = number | number "x" N            N more times the same
 *          | number ("+" | "-") number "x" N  N more, each larger or smaller by that much
 *          | "_" | "_x" N                     one or N gaps
 *          | "stale"                          the series ends here
 *          | histogram | histogram "x" N | histogram ("+" | "-") histogram "x" N
 *
 * and, on lines of their own whose series ends in `@st`, of start timestamps: durations before or after each sample.
 * Histogram literals are in series-histogram.ts. Positions in errors are byte offsets, as for queries.
 */
import { parseSignedDuration } from '../../lib/duration.ts';
import type { FloatHistogram } from '../../model/histogram.ts';
import { addHistograms, IncompatibleHistogramsError, subHistograms } from '../../model/histogram-math.ts';
import { type Labels, labelsFromPairs } from '../../model/labels.ts';
import type { Position, SequenceValue } from './ast.ts';
import { ParseAbort, type ParseProblem, PromqlParseError } from './errors.ts';
import { T_IDENTIFIER, T_STRING } from './lexer.ts';
import { isMetricWord } from './parse-selector.ts';
import { ALL_FEATURES, type ErrorContext, ParseState } from './parse-state.ts';
import { parseNumber, quote, unquote } from './parse-text.ts';
import { parseHistogramLiteral } from './series-histogram.ts';
import { ValueScanner } from './series-scanner.ts';

/** Values of one line; a repetition count may not ask for more. */
const MAX_VALUES = 1_000_000;

export interface SeriesDescription {
  labels: Labels;
  values: SequenceValue[];
}

export interface StartTimestampDescription {
  labels: Labels;
  /** For each sample: ms from its own time to its start time (usually negative), or null where it has none. */
  offsetsMs: (number | null)[];
}

/** Throws PromqlParseError. */
export function parseSeriesDescription(line: string): SeriesDescription {
  return run(line, (state, errors) => {
    const labels = parseLabels(state);
    const scanner = new ValueScanner(state.input, state.offset, errors);
    const values: SequenceValue[] = [];
    while (scanner.peek().type !== 'end') {
      if (scanner.accept('blank') === null) scanner.unexpected('series values');
      const { type } = scanner.peek();
      if (type !== 'blank' && type !== 'end') parseValue(scanner, values);
    }
    return { labels, values };
  });
}

/** A line `name{...}@st offsets`. Throws PromqlParseError. */
export function parseStartTimestampDescription(line: string): StartTimestampDescription {
  return run(line, (state, errors) => {
    const labels = parseLabels(state);
    const at = state.offset;
    const rest = state.input.toString('utf8', at);
    const fail = (message: string): never => {
      errors.push({ start: at, end: state.input.length, message });
      throw new ParseAbort();
    };
    const [mark, ...items] = rest.split(/[ \t]+/);
    if (mark !== '@st') fail(`expected @st behind the series, got ${quote(mark ?? '')}`);
    const offsetsMs: (number | null)[] = [];
    for (const item of items) if (item !== '') parseStartItem(item, offsetsMs, fail);
    return { labels, offsetsMs };
  });
}

function run<T>(line: string, body: (state: ParseState, errors: ParseProblem[]) => T): T {
  const state = new ParseState(line, ALL_FEATURES);
  let result: T | undefined;
  try {
    state.checkLength();
    result = body(state, state.errors);
  } catch (error) {
    if (!(error instanceof ParseAbort)) throw error;
  }
  if (state.errors.length > 0) throw new PromqlParseError(state.input, state.errors);
  return result as T;
}

const inSet = (expected: string): ErrorContext => ({ where: 'label set', expected });
const WANT_NAME = inSet('identifier or "}"');
const WANT_EQUALS = inSet('"="');
const WANT_VALUE = inSet('string');
const WANT_COMMA = inSet('"," or "}"');

/** Leaves the state right behind the labels, with nothing peeked at. */
function parseLabels(state: ParseState): Labels {
  const pairs: [string, string][] = [];
  const first = state.peek();
  let braces = first.type === '{';
  if (!braces) {
    if (!isMetricWord(first)) state.unexpected();
    pairs.push(['__name__', state.next().text]);
    // A brace belongs to the series only where it follows at once.
    braces = state.input[state.offset] === 0x7b;
  }
  if (!braces) return labelsFromPairs(pairs);
  state.next();
  if (state.accept('}') !== null) return labelsFromPairs(pairs);
  for (;;) {
    pairs.push(parseLabel(state));
    const comma = state.accept(',');
    if (state.accept('}') !== null) return labelsFromPairs(pairs);
    if (comma === null) state.unexpected(WANT_COMMA);
  }
}

function parseLabel(state: ParseState): [string, string] {
  const label = state.peek();
  if (label.type !== T_IDENTIFIER && label.type !== T_STRING) state.unexpected(WANT_NAME);
  state.next();
  const name = label.type === T_STRING ? unquote(label.text) : label.text;
  if (state.accept('=') === null) {
    if (label.type === T_STRING) return ['__name__', name];
    state.unexpected(WANT_EQUALS);
  }
  if (state.peek().type !== T_STRING) state.unexpected(WANT_VALUE);
  return [name, unquote(state.next().text)];
}

function parseValue(scanner: ValueScanner, out: SequenceValue[]): void {
  if (scanner.accept('_') !== null) {
    const gaps = scanner.accept('x') === null ? 1 : parseCount(scanner, out);
    for (let i = 0; i < gaps; i++) out.push(sample(0, { omitted: true }));
    return;
  }
  if (scanner.peek().type === '{{') {
    parseHistograms(scanner, out);
    return;
  }
  const word = scanner.accept('word');
  const stale = word !== null;
  if (word !== null && word.text !== 'stale') {
    scanner.problem(word, `unexpected identifier ${quote(word.text)} in series values, expected number or "stale"`);
  }
  let value = stale ? Number.NaN : parseSigned(scanner);
  const sign = scanner.accept('+') ?? scanner.accept('-');
  const step = sign === null ? 0 : parseUnsigned(scanner);
  // A step makes sense only with a count.
  if (sign !== null || scanner.peek().type === 'x') {
    if (scanner.accept('x') === null) scanner.unexpected('series values');
    const more = parseCount(scanner, out);
    for (let i = 0; i < more; i++) {
      out.push(sample(value, { stale }));
      value += sign?.type === '-' ? -step : step;
    }
  }
  out.push(sample(value, { stale }));
}

function sample(value: number, more: Partial<SequenceValue>): SequenceValue {
  return { omitted: false, stale: false, value, histogram: null, hintSet: false, ...more };
}

function parseSigned(scanner: ValueScanner): number {
  const sign = scanner.accept('+') ?? scanner.accept('-');
  const value = parseUnsigned(scanner);
  return sign?.type === '-' ? -value : value;
}

function parseUnsigned(scanner: ValueScanner): number {
  const token = scanner.accept('number') ?? scanner.unexpected('series values');
  const { value, reason } = parseNumber(token.text);
  if (reason !== '') scanner.problem(token, `error parsing number: ${reason}`);
  return value;
}

/** N of `xN`, given that the line already has `out`. */
function parseCount(scanner: ValueScanner, out: readonly SequenceValue[]): number {
  const token = scanner.accept('number') ?? scanner.unexpected('series values');
  if (!/^[0-9]+$/.test(token.text)) {
    const why = `strconv.ParseUint: parsing ${quote(token.text)}: invalid syntax`;
    scanner.fail(token, `invalid repetition in series values: ${why}`);
  }
  const count = Number(token.text);
  if (count + out.length > MAX_VALUES) {
    scanner.fail(token, `series of more than ${MAX_VALUES} values: use a smaller repetition, or several lines`);
  }
  return count;
}

function parseHistograms(scanner: ValueScanner, out: SequenceValue[]): void {
  const first = parseHistogramLiteral(scanner);
  const op = scanner.accept('+') ?? scanner.accept('-');
  const second = op === null ? null : parseHistogramLiteral(scanner);
  let more = 0;
  let at: Position = scanner.peek();
  if (second !== null || scanner.peek().type === 'x') {
    if (scanner.accept('x') === null) scanner.unexpected('series values');
    // Findings about the sums stand at the count.
    at = scanner.peek();
    more = parseCount(scanner, out);
  }
  const hintSet = (second ?? first).hintSet;
  let histogram = first.histogram;
  out.push(sample(0, { histogram, hintSet }));
  for (let i = 0; i < more; i++) {
    if (second !== null)
      histogram = combine(histogram, second.histogram, op?.type === '-', message => scanner.fail(at, message));
    out.push(sample(0, { histogram, hintSet }));
  }
}

function combine(
  a: FloatHistogram,
  b: FloatHistogram,
  subtract: boolean,
  fail: (message: string) => never,
): FloatHistogram {
  if (a.schema > b.schema) {
    return fail(`error combining histograms: cannot merge from schema ${b.schema} to ${a.schema}`);
  }
  try {
    return (subtract ? subHistograms(a, b) : addHistograms(a, b)).result;
  } catch (error) {
    if (!(error instanceof IncompatibleHistogramsError)) throw error;
    return fail(error.message);
  }
}

const START_ITEM = /^([+-]?)((?:[0-9]+[a-z]+)+?|0)(?:([+-])((?:[0-9]+[a-z]+)+?|0))?(?:x([0-9]+))?$/;

/** `_`, `_x3`, `-1m`, `-1mx3`, `-1m+5sx3`. */
function parseStartItem(item: string, out: (number | null)[], fail: (message: string) => never): void {
  const gaps = /^_(?:x([0-9]+))?$/.exec(item);
  const steps = gaps === null ? START_ITEM.exec(item) : null;
  const repeat = Number((gaps ?? steps)?.[gaps === null ? 5 : 1] ?? (gaps === null ? 0 : 1));
  if (repeat + out.length > MAX_VALUES) fail(`series of more than ${MAX_VALUES} values`);
  if (gaps !== null) {
    for (let i = 0; i < repeat; i++) out.push(null);
    return;
  }
  if (steps === null || (steps[3] !== undefined && steps[5] === undefined)) {
    fail(`${quote(item)} is no start timestamp: expected _, a duration, or duration+durationxN`);
    return;
  }
  const duration = (text: string): number => {
    try {
      return parseSignedDuration(text);
    } catch (error) {
      return fail(error instanceof Error ? error.message : String(error));
    }
  };
  let offset = duration(`${steps[1]}${steps[2]}`);
  const step = steps[3] === undefined ? 0 : duration(`${steps[3]}${steps[4]}`);
  for (let i = 0; i <= repeat; i++) {
    out.push(offset);
    offset += step;
  }
}
