/**
 * Parses what selects series: `name{label="value", "quoted name", ...}`, and label lists in parentheses.
 *
 * Almost every keyword may also be a metric name or a label name; which ones is listed here.
 */
import type { Matcher, MatchOp } from '../../model/matcher.ts';
import type { VectorSelector } from './ast.ts';
import { AGGREGATORS, T_ERROR, T_IDENTIFIER, T_METRIC_IDENTIFIER, T_STRING, type Token } from './lexer.ts';
import { regexProblem } from './matcher-check.ts';
import type { ErrorContext, ParseState } from './parse-state.ts';
import { quote, unquote } from './parse-text.ts';

const METRIC_WORDS: ReadonlySet<string> = new Set([
  ...AGGREGATORS,
  ...[T_IDENTIFIER, T_METRIC_IDENTIFIER, 'by', 'without', 'offset', 'and', 'or', 'unless'],
  ...['start', 'end', 'step', 'range', 'anchored', 'smoothed'],
]);
const LABEL_WORDS: ReadonlySet<string> = new Set([
  ...AGGREGATORS,
  ...[T_IDENTIFIER, T_METRIC_IDENTIFIER, 'by', 'offset', 'and', 'or', 'unless', 'atan2', 'bool', 'on', 'ignoring'],
  ...['group_left', 'group_right', 'start', 'end', 'step', 'range', 'anchored', 'smoothed'],
  ...['fill', 'fill_left', 'fill_right'],
]);
const MATCH_OPS: ReadonlySet<string> = new Set(['=', '!=', '=~', '!~']);

const inLabels = (expected: string): ErrorContext => ({ where: 'label matching', expected });
const WANT_NAME = inLabels('identifier or "}"');
const WANT_OP = inLabels('label matching operator');
const WANT_VALUE = inLabels('string');
const WANT_COMMA = inLabels('"," or "}"');
const inGrouping = (expected: string): ErrorContext => ({ where: 'grouping opts', expected });
const WANT_PAREN = inGrouping('"("');
const WANT_LABEL = inGrouping('label');
const WANT_GROUPING_COMMA = inGrouping('"," or ")"');

export function isMetricWord(token: Token): boolean {
  return METRIC_WORDS.has(token.type);
}

export function parseSelector(state: ParseState): VectorSelector {
  const first = state.peek();
  let name = '';
  let end = first.end;
  if (isMetricWord(first)) name = state.next().text;
  const matchers: Matcher[] = [];
  if (state.peek().type === '{') end = parseMatchers(state, matchers);
  else if (name === '') state.unexpected();
  if (name !== '') matchers.push({ name: '__name__', op: '=', value: name });
  return {
    kind: 'selector',
    pos: { start: first.start, end },
    name,
    matchers,
    extended: null,
    offsetMs: 0,
    offsetExpr: null,
    atMs: null,
    atBound: null,
  };
}

/** `{...}` into `out`; returns where it ends. */
function parseMatchers(state: ParseState, out: Matcher[]): number {
  state.next();
  const closedAtOnce = state.accept('}');
  if (closedAtOnce !== null) return closedAtOnce.end;
  for (;;) {
    parseMatcher(state, out);
    const comma = state.accept(',');
    const closed = state.accept('}');
    if (closed !== null) return closed.end;
    if (comma === null) state.unexpected(WANT_COMMA);
  }
}

function parseMatcher(state: ParseState, out: Matcher[]): void {
  const label = state.peek();
  if (label.type !== T_IDENTIFIER && label.type !== T_STRING) state.unexpected(WANT_NAME);
  state.next();
  const name = label.type === T_STRING ? unquote(label.text) : label.text;
  const op = state.peek();
  if (!MATCH_OPS.has(op.type)) {
    // A string alone is the metric's name.
    if (label.type !== T_STRING) state.unexpected(WANT_OP);
    if (op.type !== T_ERROR) out.push({ name: '__name__', op: '=', value: name });
    return;
  }
  state.next();
  if (state.peek().type !== T_STRING) state.unexpected(WANT_VALUE);
  const value = state.next();
  const matcher: Matcher = { name, op: op.type as MatchOp, value: unquote(value.text) };
  const problem = regexProblem(matcher);
  if (problem !== '') state.problem({ start: label.start, end: value.end }, problem);
  out.push(matcher);
}

/** `(a, "b", ...)` */
export function parseGrouping(state: ParseState): string[] {
  if (state.peek().type !== '(') state.unexpected(WANT_PAREN);
  state.next();
  const labels: string[] = [];
  if (state.accept(')') !== null) return labels;
  for (;;) {
    const token = state.peek();
    if (token.type !== T_STRING && !LABEL_WORDS.has(token.type)) state.unexpected(WANT_LABEL);
    state.next();
    const label = token.type === T_STRING ? unquote(token.text) : token.text;
    if (label === '') state.problem(token, `invalid label name for grouping: ${quote(label)}`);
    labels.push(label);
    const comma = state.accept(',');
    if (state.accept(')') !== null) return labels;
    if (comma === null) state.unexpected(WANT_GROUPING_COMMA);
  }
}
