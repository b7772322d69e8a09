/**
 * The PromQL parser: text to syntax tree.
 *
 * Recursive descent over lexer.ts, with precedence climbing for binary operators (docs/decisions/0001 says why it is
 * ours). From weakest to strongest: or; and unless; comparisons and histogram trims; + -; * / % atan2 and signs; ^
 * (to the right); then what follows an operand: brackets, offset, @, anchored, smoothed.
 * Chains of operators of one level are built in a loop, so only real nesting costs stack, and that is bounded.
 */
import type { Matcher } from '../../model/matcher.ts';
import type {
  Aggregate,
  AggregateOp,
  Binary,
  BinaryOp,
  Call,
  Expr,
  MatrixSelector,
  Position,
  Subquery,
  VectorMatching,
  VectorSelector,
} from './ast.ts';
import { ParseAbort, PromqlParseError } from './errors.ts';
import { AGGREGATORS, T_DURATION, T_EOF, T_IDENTIFIER, T_NUMBER, T_STRING, type Token } from './lexer.ts';
import { matchesEmpty } from './matcher-check.ts';
import {
  type Duration,
  literalMs,
  numberValue,
  parseNumberLiteral,
  parseOffsetDuration,
  parsePositiveDuration,
} from './parse-duration.ts';
import { isMetricWord, parseGrouping, parseSelector } from './parse-selector.ts';
import { DEFAULT_FEATURES, type ErrorContext, type ParserFeatures, ParseState } from './parse-state.ts';
import { formatFixed6, quote, unquote } from './parse-text.ts';
import { FUNCTIONS } from './signatures.ts';
import { validate } from './validate.ts';

export { ALL_FEATURES, DEFAULT_FEATURES, type ParserFeatures } from './parse-state.ts';

const PRECEDENCE: Readonly<Record<string, number>> = {
  or: 1,
  and: 2,
  unless: 2,
  '==': 3,
  '!=': 3,
  '<': 3,
  '<=': 3,
  '>': 3,
  '>=': 3,
  '</': 3,
  '>/': 3,
  '+': 4,
  '-': 4,
  '*': 5,
  '/': 5,
  '%': 5,
  atan2: 5,
  '^': 6,
};
/** Signs bind like products: `-a ^ b` is -(a ^ b), `-a * b` is (-a) * b. */
const SIGN_PRECEDENCE = 5;
const WITH_PARAMETER = new Set(['topk', 'bottomk', 'count_values', 'quantile', 'limitk', 'limit_ratio']);
const EXPERIMENTAL_AGGREGATORS = new Set(['limitk', 'limit_ratio']);
/** Keywords that are functions where a parenthesis follows. */
const FUNCTION_WORDS = new Set([T_IDENTIFIER, 'start', 'end', 'step', 'range']);
const MAX_INT64 = 2 ** 63;

const DURATION_WANTED = 'number, duration, step(), or range()';
const IN_OFFSET: ErrorContext = { where: 'offset', expected: DURATION_WANTED };
const IN_AT: ErrorContext = { where: '@', expected: 'timestamp' };
const IN_RANGE: ErrorContext = { where: 'subquery or range selector', expected: DURATION_WANTED };
const BEHIND_RANGE: ErrorContext = { where: 'subquery or range', expected: '":" or "]"' };
const IN_STEP: ErrorContext = {
  where: 'subquery selector',
  expected: 'number, duration, step(), range(), or "]"',
};
const BEHIND_STEP: ErrorContext = { where: 'subquery selector', expected: '"]"' };

/** The tree of a query; throws PromqlParseError. Bytes instead of a string only where they may not be UTF-8. */
export function parseExpr(text: string | Uint8Array, features: ParserFeatures = DEFAULT_FEATURES): Expr {
  return run(text, features, state => {
    if (state.peek().type === T_EOF) {
      state.problem({ start: 0, end: 0 }, 'no expression found in input');
      throw new ParseAbort();
    }
    const expr = parseBinary(state, 0);
    if (state.peek().type !== T_EOF) state.unexpected();
    if (state.errors.length === 0) validate(expr, state);
    return expr;
  });
}

/** A series selector such as the API's `match[]` takes; at least one matcher must refuse the empty string. */
export function parseMetricSelector(text: string): Matcher[] {
  const selector = run(text, DEFAULT_FEATURES, state => {
    const parsed = parseSelector(state);
    if (state.peek().type !== T_EOF) state.unexpected();
    return parsed;
  });
  if (selector.matchers.every(matchesEmpty)) {
    throw new PromqlParseError(
      Buffer.from(text),
      [{ start: selector.pos.start, end: selector.pos.end, message: EMPTY_SELECTOR }],
      EMPTY_SELECTOR,
    );
  }
  return selector.matchers;
}

const EMPTY_SELECTOR = 'match[] must contain at least one non-empty matcher';

function run<T>(text: string | Uint8Array, features: ParserFeatures, body: (state: ParseState) => T): T {
  const state = new ParseState(text, features);
  let result: T | undefined;
  try {
    state.checkLength();
    result = body(state);
  } catch (error) {
    if (!(error instanceof ParseAbort)) throw error;
  }
  if (state.errors.length > 0) throw new PromqlParseError(state.input, state.errors);
  return result as T;
}

function parseBinary(state: ParseState, minPrecedence: number): Expr {
  state.enter();
  let left = parseUnary(state);
  for (;;) {
    const op = state.peek();
    const precedence = PRECEDENCE[op.type];
    if (precedence === undefined || precedence <= minPrecedence) break;
    state.next();
    const binary = parseModifiers(state, op.type as BinaryOp, left);
    binary.right = parseBinary(state, op.type === '^' ? precedence - 1 : precedence);
    binary.pos.end = binary.right.pos.end;
    const filled = binary.matching?.fillLeft != null || binary.matching?.fillRight != null;
    if (filled && !state.features.fillModifiers) {
      state.problem(binary.pos, 'binop fill modifiers are experimental and not enabled');
    }
    left = binary;
  }
  state.leave();
  return left;
}

/** `bool on(...) group_left(...) fill(...)` behind an operator. The right side is not known yet. */
function parseModifiers(state: ParseState, op: BinaryOp, left: Expr): Binary {
  const matching: VectorMatching = {
    card: 'one-to-one',
    on: false,
    labels: [],
    include: [],
    fillLeft: null,
    fillRight: null,
  };
  const returnBool = state.accept('bool') !== null;
  const scope = state.accept('on') ?? state.accept('ignoring');
  if (scope !== null) {
    matching.on = scope.type === 'on';
    matching.labels = parseGrouping(state);
    const group = state.accept('group_left') ?? state.accept('group_right');
    if (group !== null) {
      matching.card = group.type === 'group_left' ? 'many-to-one' : 'one-to-many';
      if (state.peek().type === '(') matching.include = parseGrouping(state);
    }
  }
  parseFills(state, matching);
  return {
    kind: 'binary',
    pos: { start: left.pos.start, end: left.pos.end },
    op,
    left,
    right: left,
    matching,
    returnBool,
  };
}

function parseFills(state: ParseState, matching: VectorMatching): void {
  if (state.accept('fill') !== null) {
    matching.fillLeft = parseFillValue(state);
    matching.fillRight = matching.fillLeft;
    return;
  }
  for (;;) {
    if (matching.fillLeft === null && state.accept('fill_left') !== null) matching.fillLeft = parseFillValue(state);
    else if (matching.fillRight === null && state.accept('fill_right') !== null) {
      matching.fillRight = parseFillValue(state);
    } else return;
  }
}

function parseFillValue(state: ParseState): number {
  state.expect('(');
  const value = parseSignedNumber(state);
  state.expect(')');
  return value;
}

function parseSignedNumber(state: ParseState): number {
  const sign = state.accept('+') ?? state.accept('-');
  const type = state.peek().type;
  if (type !== T_NUMBER && type !== T_DURATION) state.unexpected();
  const value = numberValue(state, state.next());
  return sign?.type === '-' ? -value : value;
}

function parseUnary(state: ParseState): Expr {
  const op = state.peek();
  if (op.type !== '+' && op.type !== '-') return parsePostfix(state, parsePrimary(state));
  state.enter();
  state.next();
  // Another sign is an operand like any other; powers bind tighter than a sign.
  const expr = applySign(op, parseBinary(state, SIGN_PRECEDENCE));
  state.leave();
  return expr;
}

function applySign(sign: Token, expr: Expr): Expr {
  if (expr.kind !== 'number') {
    return { kind: 'unary', pos: { start: sign.start, end: expr.pos.end }, op: sign.type as '+' | '-', expr };
  }
  if (sign.type === '-') expr.value = -expr.value;
  expr.pos.start = sign.start;
  return expr;
}

function parsePrimary(state: ParseState): Expr {
  const token = state.peek();
  const { type } = token;
  if (type === T_NUMBER || type === T_DURATION) return parseNumberLiteral(state);
  if (type === T_STRING) {
    state.next();
    return { kind: 'string', pos: { start: token.start, end: token.end }, value: unquote(token.text) };
  }
  if (type === '(') {
    state.next();
    const expr = parseBinary(state, 0);
    const close = state.expect(')');
    return { kind: 'paren', pos: { start: token.start, end: close.end }, expr };
  }
  if (type === '{') return parseSelector(state);
  if (!isMetricWord(token)) return state.unexpected();
  return parseWord(state, token);
}

/** A word may start a selector, a call or an aggregation: what follows it decides. */
function parseWord(state: ParseState, word: Token): Expr {
  const follows = state.peekSecond().type;
  if (AGGREGATORS.has(word.type) && (follows === '(' || follows === 'by' || follows === 'without')) {
    return parseAggregate(state);
  }
  if (FUNCTION_WORDS.has(word.type) && follows === '(') return parseCall(state);
  return parseSelector(state);
}

function parseAggregate(state: ParseState): Aggregate {
  const op = state.next();
  const { type } = op;
  const pos: Position = { start: op.start, end: op.end };
  const none = () => {
    state.problem({ start: op.start, end: state.lastClosing }, 'no arguments for aggregate expression provided');
  };
  let without = false;
  let grouping: string[] = [];
  const modifier = () => {
    const keyword = state.accept('by') ?? state.accept('without');
    if (keyword === null) return false;
    without = keyword.type === 'without';
    grouping = parseGrouping(state);
    return true;
  };
  const args: Expr[] = [];
  state.within({ where: 'aggregation', expected: '', afterwards: none }, () => {
    const before = modifier();
    pos.end = parseArguments(state, args);
    if (!before && modifier()) pos.end = state.lastClosing;
  });
  const aggregate: Aggregate = {
    kind: 'aggregate',
    pos,
    op: type as AggregateOp,
    expr: args.at(-1) as Expr,
    param: null,
    grouping,
    without,
  };
  if (args.length === 0) {
    state.problem(pos, 'no arguments for aggregate expression provided');
    return aggregate;
  }
  if (EXPERIMENTAL_AGGREGATORS.has(type) && !state.features.experimentalFunctions) {
    state.problem(
      pos,
      `${type}() is experimental and must be enabled with --enable-feature=promql-experimental-functions`,
    );
    return aggregate;
  }
  const wanted = WITH_PARAMETER.has(type) ? 2 : 1;
  if (args.length !== wanted) {
    state.problem(
      pos,
      `wrong number of arguments for aggregate expression provided, expected ${wanted}, got ${args.length}`,
    );
  }
  if (wanted === 2) aggregate.param = args[0] as Expr;
  return aggregate;
}

function parseCall(state: ParseState): Call {
  const name = state.next();
  const args: Expr[] = [];
  const end = parseArguments(state, args);
  const signature = FUNCTIONS.get(name.text);
  if (signature === undefined) state.problem(name, `unknown function with name ${quote(name.text)}`);
  else if (signature.experimental && !state.features.experimentalFunctions) {
    state.problem(name, `function ${quote(name.text)} is not enabled`);
  }
  return { kind: 'call', pos: { start: name.start, end }, func: name.text, args };
}

/** `(a, b)` into `out`; returns where it ends. */
function parseArguments(state: ParseState, out: Expr[]): number {
  state.expect('(');
  const empty = state.accept(')');
  if (empty !== null) return empty.end;
  out.push(parseBinary(state, 0));
  for (;;) {
    const comma = state.accept(',');
    if (comma === null) return state.expect(')').end;
    if (startsExpression(state.peek())) out.push(parseBinary(state, 0));
    else state.problem(comma, 'trailing commas not allowed in function call args');
  }
}

function startsExpression(token: Token): boolean {
  const { type } = token;
  if (type === T_NUMBER || type === T_DURATION || type === T_STRING) return true;
  return type === '(' || type === '{' || type === '+' || type === '-' || isMetricWord(token);
}

/** What follows an operand: `[5m]`, `[1h:5m]`, `offset 5m`, `@ 100`, `anchored`, `smoothed`, in any number. */
function parsePostfix(state: ParseState, operand: Expr): Expr {
  let expr = operand;
  for (;;) {
    switch (state.peek().type) {
      case '[':
        expr = parseBrackets(state, expr);
        break;
      case 'offset':
        state.next();
        setOffset(
          state,
          expr,
          state.within(IN_OFFSET, () => parseOffsetDuration(state)),
        );
        break;
      case '@':
        state.next();
        state.within(IN_AT, () => parseAt(state, expr));
        break;
      case 'anchored':
      case 'smoothed':
        setExtended(state, expr, state.next().type as 'anchored' | 'smoothed');
        break;
      default:
        return expr;
    }
  }
}

function parseBrackets(state: ParseState, expr: Expr): MatrixSelector | Subquery {
  const open = state.next();
  const range = state.within(IN_RANGE, () => parsePositiveDuration(state));
  const close = state.accept(']');
  if (close !== null) return makeMatrix(state, expr, range, { start: open.start, end: close.end });
  if (state.accept(':') === null) state.unexpected(BEHIND_RANGE);
  let step: Duration | null = null;
  if (state.peek().type !== ']') step = state.within(IN_STEP, () => parsePositiveDuration(state));
  const end = state.accept(']') ?? state.unexpected(BEHIND_STEP);
  return {
    kind: 'subquery',
    pos: { start: expr.pos.start, end: end.end },
    expr,
    rangeMs: durationMs(range),
    rangeExpr: range.kind === 'duration' ? range : null,
    stepMs: step === null ? 0 : durationMs(step),
    stepExpr: step?.kind === 'duration' ? step : null,
    offsetMs: 0,
    offsetExpr: null,
    atMs: null,
    atBound: null,
  };
}

function makeMatrix(state: ParseState, expr: Expr, range: Duration, brackets: Position): MatrixSelector {
  if (expr.kind !== 'selector') state.problem(brackets, 'ranges only allowed for vector selectors');
  else if (expr.offsetMs !== 0 || expr.offsetExpr !== null) {
    state.problem(brackets, 'no offset modifiers allowed before range');
  } else if (expr.atMs !== null || expr.atBound !== null) {
    state.problem(brackets, 'no @ modifiers allowed before range');
  }
  return {
    kind: 'matrix',
    pos: { start: expr.pos.start, end: brackets.end },
    // Where it is no selector, that is noted, and the tree will not be handed out.
    selector: expr as VectorSelector,
    rangeMs: durationMs(range),
    rangeExpr: range.kind === 'duration' ? range : null,
  };
}

function durationMs(duration: Duration): number {
  return duration.kind === 'number' ? literalMs(duration) : 0;
}

/** The node that carries time modifiers for `expr`; notes why there is none. */
function modifierTarget(state: ParseState, expr: Expr, what: string): VectorSelector | Subquery | null {
  if (expr.kind === 'selector' || expr.kind === 'subquery') return expr;
  if (expr.kind !== 'matrix') {
    state.problem(
      expr.pos,
      `${what} modifier must be preceded by an instant vector selector or range vector selector or a subquery`,
    );
    return null;
  }
  if (expr.selector.kind === 'selector') return expr.selector;
  state.problem(expr.pos, 'ranges only allowed for vector selectors');
  return null;
}

function setOffset(state: ParseState, expr: Expr, offset: Duration): void {
  const target = modifierTarget(state, expr, 'offset');
  if (target === null) return;
  if (target.offsetMs !== 0 || target.offsetExpr !== null) {
    state.problem(expr.pos, 'offset may not be set multiple times');
  } else if (offset.kind === 'number') target.offsetMs = literalMs(offset);
  else target.offsetExpr = offset;
  expr.pos.end = state.lastClosing;
}

function parseAt(state: ParseState, expr: Expr): void {
  const { type } = state.peek();
  if (type === 'start' || type === 'end') {
    state.next();
    state.expect('(');
    state.expect(')');
    const target = atTarget(state, expr);
    if (target === null) return;
    target.atBound = type;
  } else {
    const seconds = parseSignedNumber(state);
    if (!(seconds > -MAX_INT64 && seconds < MAX_INT64)) {
      state.problem(expr.pos, `timestamp out of bounds for @ modifier: ${formatFixed6(seconds)}`);
    }
    const target = atTarget(state, expr);
    if (target === null) return;
    // Halves away from zero, and no -0.
    target.atMs = (seconds < 0 ? -Math.round(-seconds * 1000) : Math.round(seconds * 1000)) + 0;
  }
  expr.pos.end = state.lastClosing;
}

function atTarget(state: ParseState, expr: Expr): VectorSelector | Subquery | null {
  const target = modifierTarget(state, expr, '@');
  if (target === null || (target.atMs === null && target.atBound === null)) return target;
  state.problem(expr.pos, '@ <timestamp> may not be set multiple times');
  return null;
}

function setExtended(state: ParseState, expr: Expr, kind: 'anchored' | 'smoothed'): void {
  if (!state.features.extendedRangeSelectors) {
    state.problem(expr.pos, `${kind} modifier is experimental and not enabled`);
    return;
  }
  if (expr.kind === 'subquery') {
    state.problem(expr.pos, `${kind} modifier is not supported for subqueries`);
    return;
  }
  const selector = expr.kind === 'matrix' ? expr.selector : expr;
  if (selector.kind !== 'selector') {
    // A range over something else has been noted already.
    if (expr.kind !== 'matrix') state.problem(expr.pos, `${kind} modifier not implemented`);
    return;
  }
  if (selector.extended !== null && selector.extended !== kind) {
    state.problem(expr.pos, 'anchored and smoothed modifiers cannot be used together');
  }
  selector.extended = kind;
}
