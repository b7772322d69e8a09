/**
 * Parses durations where they may be computed: in brackets (`[5m + step()]`) and behind `offset`.
 *
 *   sum     = product { ("+" | "-") product }
 *   product = signed { ("*" | "/" | "%") signed }
 *   signed  = ("+" | "-") signed | power           -2^2 is -(2^2)
 *   power   = primary [ "^" signed ]
 *   primary = number | "step" "(" ")" | "range" "(" ")" | ("min_of" | "max_of") "(" sum "," sum ")" | "(" sum ")"
 *
 * Behind `offset` stands a primary with signs only: `foo offset 5m - 3` subtracts 3 from foo. A plain number stays a
 * NumberLiteral, so that the usual case costs nothing later.
 */
import { DurationError, parseDuration } from '../../lib/duration.ts';
import type { DurationExpr, Expr, NumberLiteral, Position } from './ast.ts';
import { T_DURATION, T_IDENTIFIER, T_NUMBER, type Token } from './lexer.ts';
import type { ParseState } from './parse-state.ts';
import { parseNumber } from './parse-text.ts';

export type Duration = NumberLiteral | DurationExpr;

/** Seconds that fit 63 bits of nanoseconds. */
const MAX_SECONDS = 2 ** 63 / 1e9;
const FUNCTION_OPS: Readonly<Record<string, 'min' | 'max'>> = { min_of: 'min', max_of: 'max' };

/** A number or duration token, as an expression. */
export function parseNumberLiteral(state: ParseState): NumberLiteral {
  const token = state.next();
  return {
    kind: 'number',
    pos: { start: token.start, end: token.end },
    value: numberValue(state, token),
    duration: token.type === T_DURATION,
  };
}

/** The value of a number or duration token; seconds. */
export function numberValue(state: ParseState, token: Token): number {
  if (token.type === T_DURATION) {
    try {
      return parseDuration(token.text) / 1000;
    } catch (error) {
      if (!(error instanceof DurationError)) throw error;
      state.problem(token, error.message);
      return 0;
    }
  }
  const { value, reason } = parseNumber(token.text);
  if (reason !== '') state.problem(token, `error parsing number: ${reason}`);
  return value;
}

/** Milliseconds of a literal's seconds, by way of whole nanoseconds as Prometheus has them. */
export function literalMs(literal: NumberLiteral): number {
  return Math.trunc(roundAway(literal.value * 1e9) / 1e6) + 0;
}

/** In brackets: a literal must be above zero. Computed ones are checked when their value is known. */
export function parsePositiveDuration(state: ParseState): Duration {
  const duration = parseSum(state, 0);
  if (duration.kind === 'number' && duration.value <= 0) {
    state.problem(duration.pos, 'duration must be greater than 0');
    return zero();
  }
  return duration;
}

export function parseOffsetDuration(state: ParseState): Duration {
  const sign = state.peek();
  if (sign.type !== '+' && sign.type !== '-') return parsePrimary(state);
  state.enter();
  state.next();
  const { type } = state.peek();
  // The range of a signed number is checked once, and reported at its sign.
  const plain = type === T_NUMBER || type === T_DURATION;
  const operand = plain ? parseNumberLiteral(state) : parseOffsetDuration(state);
  state.leave();
  return applySign(state, sign, operand);
}

const PRECEDENCE: Readonly<Record<string, number>> = { '+': 1, '-': 1, '*': 2, '/': 2, '%': 2, '^': 3 };

function parseSum(state: ParseState, minPrecedence: number): Duration {
  state.enter();
  let left = parseSigned(state);
  for (;;) {
    const op = state.peek();
    const precedence = PRECEDENCE[op.type];
    if (precedence === undefined || precedence <= minPrecedence) break;
    state.next();
    // Powers group to the right.
    const right = parseSum(state, op.type === '^' ? precedence - 1 : precedence);
    left = combine(state, op, left, right);
  }
  state.leave();
  return left;
}

function parseSigned(state: ParseState): Duration {
  const sign = state.peek();
  if (sign.type !== '+' && sign.type !== '-') return parsePrimary(state);
  state.next();
  // Binds like a product: only a power is taken first.
  return applySign(state, sign, parseSum(state, 2));
}

function parsePrimary(state: ParseState): Duration {
  const token = state.peek();
  if (token.type === T_NUMBER || token.type === T_DURATION) {
    const literal = parseNumberLiteral(state);
    return inRange(state, literal, literal.pos);
  }
  if (token.type === '(') return parseWrapped(state);
  // Outside brackets min_of and max_of are ordinary words.
  const word = token.type === T_IDENTIFIER ? token.text.toLowerCase() : token.type;
  if (word === 'step' || word === 'range') {
    state.next();
    state.expect('(');
    const close = state.expect(')');
    return experimental(state, make(word, null, null, { start: token.start, end: close.end }));
  }
  const op = FUNCTION_OPS[word];
  if (op === undefined) return state.unexpected();
  state.next();
  state.expect('(');
  const left = parseSum(state, 0);
  state.expect(',');
  const right = parseSum(state, 0);
  const close = state.expect(')');
  return experimental(state, make(op, left, right, { start: token.start, end: close.end }));
}

function parseWrapped(state: ParseState): Duration {
  const open = state.next();
  const inner = parseSum(state, 0);
  const close = state.expect(')');
  experimental(state, inner);
  if (inner.kind === 'duration') {
    inner.wrapped = true;
    return inner;
  }
  const wrapped = make('+', null, inner, { start: open.start, end: close.end });
  wrapped.wrapped = true;
  return wrapped;
}

function applySign(state: ParseState, sign: Token, operand: Duration): Duration {
  if (operand.kind === 'duration') {
    if (sign.type === '+') return operand;
    return make('-', null, operand, { start: sign.start, end: operand.pos.end });
  }
  if (sign.type === '-') operand.value = -operand.value;
  operand.pos.start = sign.start;
  return inRange(state, operand, sign);
}

function combine(state: ParseState, op: Token, left: Duration, right: Duration): Duration {
  experimental(state, left);
  if ((op.type === '/' || op.type === '%') && right.kind === 'number' && right.value === 0) {
    state.problem(op, op.type === '/' ? 'division by zero' : 'modulo by zero');
    return zero();
  }
  return make(op.type as DurationExpr['op'], left, right, { start: left.pos.start, end: right.pos.end });
}

function inRange(state: ParseState, literal: NumberLiteral, at: Position): Duration {
  // NaN is not within any bounds.
  if (literal.value >= -MAX_SECONDS && literal.value <= MAX_SECONDS) return literal;
  state.problem(at, 'duration out of range');
  return zero();
}

function experimental<T extends Duration>(state: ParseState, duration: T): T {
  if (!state.features.durationExpressions) {
    state.problem(duration.pos, 'experimental duration expression is not enabled');
  }
  return duration;
}

function make(op: DurationExpr['op'], left: Expr | null, right: Expr | null, pos: Position): DurationExpr {
  return { kind: 'duration', pos, op, left, right, wrapped: false };
}

/** Stands for a duration that was refused; the finding is noted. */
function zero(): NumberLiteral {
  return { kind: 'number', pos: { start: 0, end: 0 }, value: 0, duration: false };
}

function roundAway(value: number): number {
  return value < 0 ? -Math.round(-value) : Math.round(value);
}
