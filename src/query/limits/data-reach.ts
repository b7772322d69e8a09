/** How far before a step's time a query reads: windows, offsets and look-back, added up through subqueries. For range limits. */
import type { Expr } from '../promql/ast.ts';

/**
 * Milliseconds before the earliest step; 0 for a query that reads nothing. A fixed `@` time counts from the window's start. Duration
 * expressions count as 0.
 */
export function dataReachMs(expr: Expr, startMs: number, lookbackMs: number): number {
  switch (expr.kind) {
    case 'number':
    case 'string':
    case 'duration':
      return 0;
    case 'selector':
      return lookbackMs + expr.offsetMs + anchorMs(expr.atMs, startMs);
    case 'matrix':
      return expr.rangeMs + expr.selector.offsetMs + anchorMs(expr.selector.atMs, startMs);
    case 'subquery': {
      const inner = dataReachMs(expr.expr, startMs, lookbackMs);
      return inner + expr.rangeMs + expr.offsetMs + anchorMs(expr.atMs, startMs);
    }
    case 'call':
      return Math.max(0, ...expr.args.map(a => dataReachMs(a, startMs, lookbackMs)));
    case 'aggregate': {
      const param = expr.param === null ? 0 : dataReachMs(expr.param, startMs, lookbackMs);
      return Math.max(param, dataReachMs(expr.expr, startMs, lookbackMs));
    }
    case 'binary':
      return Math.max(dataReachMs(expr.left, startMs, lookbackMs), dataReachMs(expr.right, startMs, lookbackMs));
    case 'unary':
    case 'paren':
    case 'invariant':
      return dataReachMs(expr.expr, startMs, lookbackMs);
  }
}

function anchorMs(atMs: number | null, startMs: number): number {
  return atMs === null ? 0 : Math.max(0, startMs - atMs);
}
