/**
 * Prints a syntax tree as canonical PromQL on one line; parsing that gives the same tree.
 *
 * The notation is Prometheus' (rule files and dashboards are compared with it): one space around operators, matchers
 * sorted, `@` times with three decimals, modifiers in the order @, anchored or smoothed, offset.
 */
import { formatDuration } from '../../lib/duration.ts';
import { formatFloatF, formatFloatG } from '../../lib/go-float.ts';
import { compareStrings } from '../../model/labels.ts';
import type { Matcher } from '../../model/matcher.ts';
import type {
  Aggregate,
  Binary,
  DurationExpr,
  Expr,
  MatrixSelector,
  NumberLiteral,
  Subquery,
  TimeModifiers,
  VectorSelector,
} from './ast.ts';
import { quote } from './parse-text.ts';

const CLASSIC_LABEL = /^[a-zA-Z_][a-zA-Z0-9_]*$/;
const DURATION_FUNCTIONS: Readonly<Record<string, string>> = { min: 'min_of', max: 'max_of' };

export function printExpr(expr: Expr): string {
  switch (expr.kind) {
    case 'number':
      return printNumber(expr);
    case 'string':
      return quote(expr.value);
    case 'selector':
      return printSelector(expr);
    case 'matrix':
      return printMatrix(expr);
    case 'subquery':
      return printExpr(expr.expr) + printSubquerySuffix(expr);
    case 'call':
      return `${expr.func}(${expr.args.map(printExpr).join(', ')})`;
    case 'aggregate': {
      const param = expr.param === null ? '' : `${printExpr(expr.param)}, `;
      return `${printAggregateHead(expr)}(${param}${printExpr(expr.expr)})`;
    }
    case 'binary':
      return printBinary(expr);
    case 'unary':
      return expr.op + printExpr(expr.expr);
    case 'paren':
      return `(${printExpr(expr.expr)})`;
    case 'invariant':
      return printExpr(expr.expr);
    case 'duration':
      return printDurationExpr(expr);
  }
}

/** `sum by (a, b) ` with its space, or `sum`. */
export function printAggregateHead(node: Aggregate): string {
  if (node.without) return `${node.op} without (${printLabels(node.grouping)}) `;
  return node.grouping.length === 0 ? node.op : `${node.op} by (${printLabels(node.grouping)}) `;
}

/** The operator with everything between the operands: `+ on (a) group_left (b)`. */
export function printOperator(node: Binary): string {
  let out = node.op + (node.returnBool ? ' bool' : '');
  const matching = node.matching;
  if (matching === null) return out;
  const grouped = matching.card === 'many-to-one' || matching.card === 'one-to-many';
  if (matching.labels.length > 0 || matching.on || grouped) {
    out += ` ${matching.on ? 'on' : 'ignoring'} (${printLabels(matching.labels)})`;
  }
  if (grouped) {
    out += ` group_${matching.card === 'many-to-one' ? 'left' : 'right'} (${printLabels(matching.include)})`;
  }
  const { fillLeft, fillRight } = matching;
  if (fillLeft !== null && Object.is(fillLeft, fillRight)) return `${out} fill (${formatFloatG(fillLeft)})`;
  if (fillLeft !== null) out += ` fill_left (${formatFloatG(fillLeft)})`;
  if (fillRight !== null) out += ` fill_right (${formatFloatG(fillRight)})`;
  return out;
}

/** `[5m:1m] @ 1.000 offset 1m` */
export function printSubquerySuffix(node: Subquery): string {
  const range = node.rangeExpr === null ? formatDuration(node.rangeMs) : printExpr(node.rangeExpr);
  let step = '';
  if (node.stepExpr !== null) step = printExpr(node.stepExpr);
  else if (node.stepMs !== 0) step = formatDuration(node.stepMs);
  return `[${range}:${step}]${printAt(node)}${printOffset(node)}`;
}

/** Left-leaning chains are printed in a loop: they may be long. */
function printBinary(node: Binary): string {
  const tails: string[] = [];
  let left: Expr = node;
  let op = '';
  while (left.kind === 'binary') {
    tails.push(` ${printOperator(left)} ${printExpr(left.right)}`);
    op = left.op;
    left = left.left;
  }
  // `+Inf ^ 2` would read back as +(Inf ^ 2).
  const base = op === '^' && left.kind === 'number' && left.value === Number.POSITIVE_INFINITY;
  return (base ? 'Inf' : printExpr(left)) + tails.reverse().join('');
}

function printNumber(node: NumberLiteral): string {
  if (!node.duration) return formatFloatF(node.value);
  return formatDuration(Math.round(node.value * 1000));
}

function printMatrix(node: MatrixSelector): string {
  const { selector } = node;
  const range = node.rangeExpr === null ? formatDuration(node.rangeMs) : printExpr(node.rangeExpr);
  const extended = selector.extended === null ? '' : ` ${selector.extended}`;
  return `${printSeries(selector)}[${range}]${extended}${printAt(selector)}${printOffset(selector)}`;
}

function printSelector(node: VectorSelector): string {
  const extended = node.extended === null ? '' : ` ${node.extended}`;
  return printSeries(node) + printAt(node) + extended + printOffset(node);
}

/** Name and matchers. */
function printSeries(node: VectorSelector): string {
  const matchers: string[] = [];
  for (const m of node.matchers) {
    if (node.name !== '' && m.name === '__name__' && m.op === '=' && m.value === node.name) continue;
    matchers.push(printMatcher(m));
  }
  if (matchers.length === 0) return node.name === '' ? '{}' : node.name;
  return `${node.name}{${matchers.sort(compareStrings).join(',')}}`;
}

export function printMatcher(matcher: Matcher): string {
  return printLabelName(matcher.name) + matcher.op + quote(matcher.value);
}

function printLabels(names: readonly string[]): string {
  return names.map(printLabelName).join(', ');
}

function printLabelName(name: string): string {
  return CLASSIC_LABEL.test(name) ? name : quote(name);
}

function printAt(node: TimeModifiers): string {
  if (node.atMs !== null) return ` @ ${(node.atMs / 1000).toFixed(3)}`;
  return node.atBound === null ? '' : ` @ ${node.atBound}()`;
}

function printOffset(node: TimeModifiers): string {
  if (node.offsetExpr !== null) return ` offset ${printExpr(node.offsetExpr)}`;
  return node.offsetMs === 0 ? '' : ` offset ${formatDuration(node.offsetMs)}`;
}

function printDurationExpr(node: DurationExpr): string {
  const inner = printDurationBody(node);
  return node.wrapped ? `(${inner})` : inner;
}

function printDurationBody(node: DurationExpr): string {
  const { op } = node;
  if (op === 'step' || op === 'range') return `${op}()`;
  const right = node.right === null ? '' : printExpr(node.right);
  if (node.left === null) return op === '-' ? `-${right}` : right;
  const left = printExpr(node.left);
  const func = DURATION_FUNCTIONS[op];
  return func === undefined ? `${left} ${op} ${right}` : `${func}(${left}, ${right})`;
}
