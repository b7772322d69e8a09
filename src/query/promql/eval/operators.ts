/**
 * Binary operators on single samples. Comparisons as filters keep the left value; arithmetic on incompatible kinds gives
 * nothing and says so by a note.
 */
import type { FloatHistogram } from '../../../model/histogram.ts';
import { HINT_GAUGE } from '../../../model/histogram.ts';
import {
  addHistograms,
  divideHistogram,
  equalHistograms,
  IncompatibleHistogramsError,
  scaleHistogram,
  subHistograms,
  withHint,
} from '../../../model/histogram-math.ts';
import { trimHistogram } from '../../../model/histogram-trim.ts';
import type { Annotations } from '../annotations.ts';
import type { BinaryOp, Position } from '../ast.ts';
import { NOTES } from '../functions/notes.ts';

export function isComparison(op: BinaryOp): boolean {
  return op === '==' || op === '!=' || op === '<' || op === '<=' || op === '>' || op === '>=';
}

export function isSetOperator(op: BinaryOp): boolean {
  return op === 'and' || op === 'or' || op === 'unless';
}

/** The result is another quantity, so that the metric's name does not fit any more. */
export function changesMetric(op: BinaryOp): boolean {
  return op === '+' || op === '-' || op === '*' || op === '/' || op === '%' || op === '^' || op === 'atan2';
}

export function compare(op: BinaryOp, a: number, b: number): boolean {
  switch (op) {
    case '==':
      return a === b;
    case '!=':
      return a !== b;
    case '<':
      return a < b;
    case '<=':
      return a <= b;
    case '>':
      return a > b;
    default:
      return a >= b;
  }
}

export function arithmetic(op: BinaryOp, a: number, b: number): number {
  switch (op) {
    case '+':
      return a + b;
    case '-':
      return a - b;
    case '*':
      return a * b;
    case '/':
      return a / b;
    case '%':
      return a % b;
    case '^':
      return power(a, b);
    case 'atan2':
      return Math.atan2(a, b);
    default:
      throw new Error(`BUG: ${op} is no arithmetic operator`);
  }
}

/** As IEEE 754 and Go have it: JavaScript alone calls 1^NaN and 1^Inf NaN. */
export function power(a: number, b: number): number {
  if (a === 1) return 1;
  if (a === -1 && Math.abs(b) === Number.POSITIVE_INFINITY) return 1;
  return a ** b;
}

/** Result of the last call of `binarySample`. */
export interface SampleResult {
  value: number;
  histogram: FloatHistogram | null;
  keep: boolean;
}

/**
 * One sample against another; `hl`/`hr` null where the side is a float. Writes to `out`; false where there is no result at
 * all (incompatible kinds), which is noted.
 */
export function binarySample(
  op: BinaryOp,
  l: number,
  hl: FloatHistogram | null,
  r: number,
  hr: FloatHistogram | null,
  out: SampleResult,
  notes: Annotations,
  pos: Position,
): boolean {
  out.histogram = null;
  out.keep = true;
  if (hl === null && hr === null && op !== '</' && op !== '>/') {
    if (isComparison(op)) {
      out.value = l;
      out.keep = compare(op, l, r);
    } else out.value = arithmetic(op, l, r);
    return true;
  }
  out.value = 0;
  const h = withHistogram(op, l, hl, r, hr, out, notes, pos);
  if (h === null) return false;
  out.histogram = h;
  return true;
}

function withHistogram(
  op: BinaryOp,
  l: number,
  hl: FloatHistogram | null,
  r: number,
  hr: FloatHistogram | null,
  out: SampleResult,
  notes: Annotations,
  pos: Position,
): FloatHistogram | null {
  if (hl !== null && hr === null) {
    if (op === '*') return scaleHistogram(hl, r);
    if (op === '/') return divideHistogram(hl, r);
    if (op === '</' || op === '>/') return trimHistogram(hl, r, op === '</');
  } else if (hl === null && hr !== null) {
    if (op === '*') return scaleHistogram(hr, l);
  } else if (hl !== null && hr !== null) {
    if (op === '+' || op === '-') return sumOrDifference(op, hl, hr, notes, pos);
    if (op === '==' || op === '!=') {
      out.keep = equalHistograms(hl, hr) === (op === '==');
      return hl;
    }
  }
  const kind = (h: FloatHistogram | null): string => (h === null ? 'float' : 'histogram');
  notes.info(NOTES.incompatibleTypes(kind(hl), op, kind(hr)), pos);
  return null;
}

function sumOrDifference(
  op: '+' | '-',
  a: FloatHistogram,
  b: FloatHistogram,
  notes: Annotations,
  pos: Position,
): FloatHistogram | null {
  const operation = op === '+' ? 'addition' : 'subtraction';
  try {
    const { result, collision, reconciled } = op === '+' ? addHistograms(a, b) : subHistograms(a, b);
    if (collision) notes.warn(NOTES.counterResetCollision(operation), pos);
    if (reconciled) notes.info(NOTES.mismatchedCustomBuckets(operation), pos);
    return op === '-' ? withHint(result, HINT_GAUGE) : result;
  } catch (error) {
    if (!(error instanceof IncompatibleHistogramsError)) throw error;
    notes.warn(NOTES.incompatibleBucketLayout(op), pos);
    return null;
  }
}
