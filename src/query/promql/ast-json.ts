/** A syntax tree as `/api/v1/parse_query` answers it: the shape that Prometheus' own page draws as a tree. */
import { formatFloatF } from '../../lib/go-float.ts';
import type { Matcher } from '../../model/matcher.ts';
import type { Expr, VectorMatching, VectorSelector } from './ast.ts';
import { FUNCTIONS } from './signatures.ts';

export type JsonNode = Record<string, unknown>;

/** Keys in the order in which Prometheus' encoder writes them: by name. */
export function exprToJson(expr: Expr): JsonNode {
  switch (expr.kind) {
    case 'invariant':
      return exprToJson(expr.expr);
    case 'number':
    case 'duration':
      return { type: 'numberLiteral', val: formatFloatF(expr.kind === 'number' ? expr.value : 0) };
    case 'string':
      return { type: 'stringLiteral', val: expr.value };
    case 'paren':
      return { expr: exprToJson(expr.expr), type: 'parenExpr' };
    case 'unary':
      return { expr: exprToJson(expr.expr), op: expr.op, type: 'unaryExpr' };
    case 'aggregate':
      return {
        expr: exprToJson(expr.expr),
        grouping: expr.grouping,
        op: expr.op,
        param: expr.param === null ? null : exprToJson(expr.param),
        type: 'aggregation',
        without: expr.without,
      };
    case 'binary':
      return {
        bool: expr.returnBool,
        lhs: exprToJson(expr.left),
        matching: expr.matching === null ? null : matchingToJson(expr.matching),
        op: expr.op,
        rhs: exprToJson(expr.right),
        type: 'binaryExpr',
      };
    case 'call': {
      const signature = FUNCTIONS.get(expr.func);
      return {
        args: expr.args.map(exprToJson),
        func: {
          argTypes: signature?.argTypes ?? [],
          name: expr.func,
          returnType: signature?.returnType ?? 'none',
          variadic: signature?.variadic ?? 0,
        },
        type: 'call',
      };
    }
    case 'selector':
      return selectorToJson(expr, null);
    case 'matrix':
      return selectorToJson(expr.selector, expr.rangeMs);
    case 'subquery':
      return {
        expr: exprToJson(expr.expr),
        offset: expr.offsetMs,
        range: expr.rangeMs,
        startOrEnd: expr.atBound,
        step: expr.stepMs,
        timestamp: expr.atMs,
        type: 'subquery',
      };
  }
}

/** `rangeMs` is null for an instant selector. */
function selectorToJson(selector: VectorSelector, rangeMs: number | null): JsonNode {
  return {
    anchored: selector.extended === 'anchored',
    matchers: selector.matchers.map(matcherToJson),
    name: selector.name,
    offset: selector.offsetMs,
    ...(rangeMs === null ? {} : { range: rangeMs }),
    smoothed: selector.extended === 'smoothed',
    startOrEnd: selector.atBound,
    timestamp: selector.atMs,
    type: rangeMs === null ? 'vectorSelector' : 'matrixSelector',
  };
}

function matcherToJson(matcher: Matcher): JsonNode {
  return { name: matcher.name, type: matcher.op, value: matcher.value };
}

function matchingToJson(matching: VectorMatching): JsonNode {
  return {
    card: matching.card,
    fillValues: { lhs: matching.fillLeft, rhs: matching.fillRight },
    include: matching.include,
    labels: matching.labels,
    on: matching.on,
  };
}
