/** /query, /query_range, /format_query, /parse_query. */
import type { QueryResponse } from '../../contracts/query-service.ts';
import { dataReachMs } from '../../query/limits/data-reach.ts';
import { rangeError } from '../../query/limits/query-limits.ts';
import type { Expr } from '../../query/promql/ast.ts';
import { exprToJson } from '../../query/promql/ast-json.ts';
import { parseKept } from '../../query/promql/parsed-queries.ts';
import { prettyExpr } from '../../query/promql/pretty.ts';
import type { QueryResult } from '../../query/promql/result.ts';
import { documentedType, typeOf } from '../../query/promql/validate.ts';
import { ApiError, badData, invalidParam, toApiError } from '../errors.ts';
import { encodeQueryResult, encodeSuccess } from './encode-result.ts';
import { type HandlerContext, JSON_HEADERS, type WorkResult } from './handler-context.ts';
import { statsJson } from './stats-json.ts';

/** Points per series in one answer: enough for a week by the minute or a year by the hour. */
const POINTS_MAX = 11_000;

export async function instantQuery(c: HandlerContext): Promise<QueryResponse> {
  const { params, deps, request } = c;
  const limit = params.limit();
  const timeMs = params.timeOr('time', Math.floor(deps.clock.now()));
  const timeoutMs = params.durationOr('timeout', c.limits.timeoutMs);
  const lookbackMs = params.lookbackMs();
  const query = params.get('query');
  checkRange(c, parsed(c, query), timeMs, timeMs, lookbackMs);
  return c.run({ query, startMs: timeMs, endMs: timeMs, timeoutMs }, async signal => {
    const countSteps = params.get('stats') === 'all';
    const result = await deps.engine.instant({ tenant: request.tenant, query, timeMs, lookbackMs, countSteps, signal });
    return answer(c, result, limit, signal);
  });
}

export async function rangeQuery(c: HandlerContext): Promise<QueryResponse> {
  const { params, deps, request } = c;
  const limit = params.limit();
  const startMs = params.time('start');
  const endMs = params.time('end');
  if (endMs < startMs) throw invalidParam('end', 'end timestamp must not be before start time');
  const exactStepMs = params.duration('step');
  const stepMs = Math.floor(exactStepMs);
  if (stepMs <= 0) {
    const hint = 'zero or negative query resolution step widths are not accepted. Try a positive integer';
    throw invalidParam('step', hint);
  }
  if (Math.floor((endMs - startMs) / exactStepMs) > POINTS_MAX) {
    throw badData(
      'exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)',
    );
  }
  const timeoutMs = params.durationOr('timeout', c.limits.timeoutMs);
  const lookbackMs = params.lookbackMs();
  const query = params.get('query');
  const expr = parsed(c, query);
  const type = typeOf(expr);
  if (type !== 'scalar' && type !== 'vector') {
    const found = documentedType(type);
    throw invalidParam('query', `invalid expression type "${found}" for range query, must be Scalar or instant Vector`);
  }
  checkRange(c, expr, startMs, endMs, lookbackMs);
  return c.run({ query, startMs, endMs, stepMs, timeoutMs }, async signal => {
    const countSteps = params.get('stats') === 'all';
    const range = { tenant: request.tenant, query, startMs, endMs, stepMs, lookbackMs, countSteps, signal };
    // What the cache has was not counted.
    const cache = countSteps || params.get('nocache') === '1' || deps.uncached?.() === true ? null : c.cache;
    const result = await (cache ?? deps.engine).range(range);
    return answer(c, result, limit, signal);
  });
}

export async function formatQuery(c: HandlerContext): Promise<QueryResponse> {
  const text = prettyExpr(parsed(c, c.params.get('query')));
  return { status: 200, headers: { ...JSON_HEADERS }, body: encodeSuccess(text) };
}

export async function parseQuery(c: HandlerContext): Promise<QueryResponse> {
  const tree = exprToJson(parsed(c, c.params.get('query')));
  return { status: 200, headers: { ...JSON_HEADERS }, body: encodeSuccess(tree) };
}

function parsed(c: HandlerContext, query: string): Expr {
  try {
    return parseKept(query, c.deps.features);
  } catch (error) {
    // Sorted as the query's fault, with the parameter's name in front; anything else is a bug.
    throw toApiError(error);
  }
}

function checkRange(
  c: HandlerContext,
  expr: Expr,
  startMs: number,
  endMs: number,
  lookbackMs: number | undefined,
): void {
  const { rangeMaxMs } = c.limits;
  if (rangeMaxMs === 0) return;
  const rangeMs = endMs - startMs + dataReachMs(expr, startMs, lookbackMs ?? c.deps.lookbackMs);
  if (rangeMs > rangeMaxMs) throw new ApiError('execution', rangeError(rangeMs, rangeMaxMs));
}

function answer(c: HandlerContext, result: QueryResult, limit: number, signal: AbortSignal): WorkResult {
  const stats = c.params.get('stats');
  return {
    headers: { ...JSON_HEADERS },
    body: encodeQueryResult(result, { limit, stats: stats === '' ? '' : statsJson(result) }, signal),
    samplesRead: result.stats.samplesRead,
  };
}
