/** What the index answers: /labels, /label/{name}/values, /series, /metadata, /query_exemplars. */
import type { QueryResponse } from '../../contracts/query-service.ts';
import type { ExemplarSeries, LabelRequest } from '../../contracts/sample-source.ts';
import { compareLabels, equalLabels, type Labels, labelsToRecord } from '../../model/labels.ts';
import type { Matcher } from '../../model/matcher.ts';
import type { Expr } from '../../query/promql/ast.ts';
import { parseExpr } from '../../query/promql/parser.ts';
import { formatFloat } from '../encoding/float.ts';
import { badData, invalidParam } from '../errors.ts';
import { encodeListResponse, encodeSuccess, writeLabels } from './encode-result.ts';
import { type HandlerContext, JSON_HEADERS } from './handler-context.ts';
import { unescapeName } from './label-name.ts';
import { parseMatcherSets } from './matchers.ts';
import { quote, TIME_MAX_MS, TIME_MIN_MS } from './params.ts';

const TRUNCATED = ['results truncated due to limit'];

export async function labelNames(c: HandlerContext): Promise<QueryResponse> {
  const limit = c.params.limit();
  const request = labelRequest(c, limit, badData);
  return c.run(describe(c, request), async signal => {
    const { values, truncated } = await c.deps.index.labelNames(c.request.tenant, request, signal);
    const body = encodeListResponse(values, (w, v) => w.jsonString(v), truncated ? TRUNCATED : [], signal);
    return { headers: { ...JSON_HEADERS }, body };
  });
}

export async function labelValues(c: HandlerContext): Promise<QueryResponse> {
  const name = unescapeName(c.request.name);
  if (name === '') throw badData(`invalid label name: ${quote(name)}`);
  const limit = c.params.limit();
  const request = labelRequest(c, limit, badData);
  return c.run(describe(c, request), async signal => {
    const { values, truncated } = await c.deps.index.labelValues(c.request.tenant, name, request, signal);
    const body = encodeListResponse(values, (w, v) => w.jsonString(v), truncated ? TRUNCATED : [], signal);
    return { headers: { ...JSON_HEADERS }, body };
  });
}

export async function series(c: HandlerContext): Promise<QueryResponse> {
  if (c.params.all('match[]').length === 0) throw badData('no match[] parameter provided');
  const limit = c.params.limit();
  const request = labelRequest(c, limit, message => invalidParam('match[]', message));
  return c.run(describe(c, request), async signal => {
    const found = await c.deps.index.series(c.request.tenant, request, signal);
    const unique = sortedUnique(found.series);
    const body = encodeListResponse(unique, writeLabels, found.truncated ? TRUNCATED : [], signal);
    return { headers: { ...JSON_HEADERS }, body };
  });
}

export async function metadata(c: HandlerContext): Promise<QueryResponse> {
  const limit = c.params.metadataLimit('limit');
  const perMetric = c.params.metadataLimit('limit_per_metric');
  const metric = c.params.get('metric');
  const entries = await c.deps.index.metadata(c.request.tenant, metric === '' ? null : metric, 0);
  const byMetric = new Map<string, { type: string; help: string; unit: string }[]>();
  for (const { metric: name, type, help, unit } of entries) {
    let list = byMetric.get(name);
    if (list === undefined) {
      list = [];
      byMetric.set(name, list);
    }
    if (perMetric > 0 && list.length >= perMetric) continue;
    if (!list.some(e => e.type === type && e.help === help && e.unit === unit)) list.push({ type, help, unit });
  }
  const names = [...byMetric.keys()].sort();
  const data = new Map(names.slice(0, limit < 0 ? names.length : limit).map(n => [n, byMetric.get(n)]));
  return { status: 200, headers: { ...JSON_HEADERS }, body: encodeSuccess(Object.fromEntries(data)) };
}

export async function exemplars(c: HandlerContext): Promise<QueryResponse> {
  const { params } = c;
  const minT = params.timeOr('start', TIME_MIN_MS);
  const maxT = params.timeOr('end', TIME_MAX_MS);
  if (maxT < minT) throw badData('end timestamp must not be before start timestamp');
  const query = params.get('query');
  const matcherSets = selectorsOf(parse(c, query));
  // As there: a query without selectors has nothing to say.
  if (matcherSets.length === 0) return { status: 204, headers: {}, body: new Uint8Array(0) };
  return c.run({ query, startMs: minT, endMs: maxT }, async signal => {
    const request = { matcherSets, minT, maxT, limit: 0 };
    const found = await c.deps.index.exemplars(c.request.tenant, request, signal);
    found.sort((a, b) => compareLabels(a.labels, b.labels));
    return { headers: { ...JSON_HEADERS }, body: encodeSuccess(found.map(exemplarsJson)) };
  });
}

function parse(c: HandlerContext, query: string): Expr {
  try {
    return parseExpr(query, c.deps.features);
  } catch (error) {
    throw badData(error instanceof Error ? error.message : String(error));
  }
}

function exemplarsJson(s: ExemplarSeries): unknown {
  return {
    seriesLabels: labelsToRecord(s.labels),
    exemplars: s.exemplars.map(e => ({
      labels: labelsToRecord(e.labels),
      value: formatFloat(e.value),
      timestamp: e.timestampMs / 1000,
    })),
  };
}

/** The matchers of every selector in the expression. */
function selectorsOf(expr: Expr): Matcher[][] {
  switch (expr.kind) {
    case 'selector':
      return [expr.matchers];
    case 'matrix':
      return [expr.selector.matchers];
    case 'subquery':
    case 'unary':
    case 'paren':
    case 'invariant':
      return selectorsOf(expr.expr);
    case 'call':
      return expr.args.flatMap(selectorsOf);
    case 'aggregate':
      return [...selectorsOf(expr.expr), ...(expr.param === null ? [] : selectorsOf(expr.param))];
    case 'binary':
      return [...selectorsOf(expr.left), ...selectorsOf(expr.right)];
    default:
      return [];
  }
}

function labelRequest(c: HandlerContext, limit: number, refuse: (message: string) => Error): LabelRequest {
  const minT = c.params.timeOr('start', TIME_MIN_MS);
  const maxT = c.params.timeOr('end', TIME_MAX_MS);
  try {
    return { matcherSets: parseMatcherSets(c.params.all('match[]')), minT, maxT, limit };
  } catch (error) {
    throw refuse(error instanceof Error ? error.message : String(error));
  }
}

function describe(c: HandlerContext, request: LabelRequest): { query: string; startMs: number; endMs: number } {
  return { query: c.params.all('match[]').join(' or '), startMs: request.minT, endMs: request.maxT };
}

function sortedUnique(all: Labels[]): Labels[] {
  const sorted = [...all].sort(compareLabels);
  return sorted.filter((labels, i) => i === 0 || !equalLabels(labels, sorted[i - 1] as Labels));
}
