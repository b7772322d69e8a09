/**
 * Whether the steps of a query's answer may be reused in another window, and how far into the future of a step it looks.
 *
 * A step's value may be reused where it depends on nothing but the data up to that step (plus a known reach): so not where the query
 * is anchored to the window (`@ start()`, `range()`) or to a fixed time (`@ 1234`: a late sample there alters steps before it), and
 * not where the choice of series is not settled (`limitk`). Prometheus' semantics are otherwise step by step.
 */
import type { Expr, TimeModifiers } from '../promql/ast.ts';

export interface Reuse {
  /**
   * Data up to this much after a step's time can alter it, ms (from negative offsets); 0 where none. Look-back not counted.
   */
  forwardMs: number;
}

/** Functions of the window, or whose result depends on more than the step. */
const NOT_STEPWISE = new Set(['start', 'end', 'range', 'step', 'now', 'info']);

/** null where answers must not be cached, or where caching gains nothing. */
export function reuseOf(expr: Expr, lookbackMs: number): Reuse | null {
  const reach = reachOf(expr, lookbackMs);
  // -Infinity: reads no series at all; cheaper to compute than to keep.
  if (reach === null || reach === Number.NEGATIVE_INFINITY) return null;
  return { forwardMs: Math.max(0, reach) };
}

/** The largest (data time - step time) the expression can read, -Infinity where it reads nothing; null: not reusable. */
function reachOf(expr: Expr, lookbackMs: number): number | null {
  switch (expr.kind) {
    case 'number':
    case 'string':
      return Number.NEGATIVE_INFINITY;
    case 'selector':
      if (isAnchored(expr)) return null;
      // A smoothed selector interpolates to the sample after the window.
      return -expr.offsetMs + (expr.extended === 'smoothed' ? lookbackMs : 0);
    case 'matrix':
      return expr.rangeExpr !== null ? null : reachOf(expr.selector, lookbackMs);
    case 'subquery': {
      if (isAnchored(expr) || expr.rangeExpr !== null || expr.stepExpr !== null) return null;
      const inner = reachOf(expr.expr, lookbackMs);
      return inner === null ? null : inner - expr.offsetMs;
    }
    case 'call':
      return NOT_STEPWISE.has(expr.func) ? null : reachOfAll(expr.args, lookbackMs);
    case 'aggregate':
      if (expr.op === 'limitk') return null;
      return reachOfAll(expr.param === null ? [expr.expr] : [expr.expr, expr.param], lookbackMs);
    case 'binary':
      return reachOfAll([expr.left, expr.right], lookbackMs);
    case 'unary':
    case 'paren':
    case 'invariant':
      return reachOf(expr.expr, lookbackMs);
    case 'duration':
      return null;
  }
}

function reachOfAll(exprs: readonly Expr[], lookbackMs: number): number | null {
  let reach = Number.NEGATIVE_INFINITY;
  for (const expr of exprs) {
    const r = reachOf(expr, lookbackMs);
    if (r === null) return null;
    reach = Math.max(reach, r);
  }
  return reach;
}

function isAnchored(modifiers: TimeModifiers): boolean {
  return modifiers.atMs !== null || modifiers.atBound !== null || modifiers.offsetExpr !== null;
}
