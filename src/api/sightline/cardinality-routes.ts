/**
 * The cardinality explorer: where a tenant's active series come from, how that has grown, and what relabel rules would save.
 * Described in cardinality-openapi.ts.
 *
 *     GET  /sightline/api/v1/cardinality[?metric=NAME][&label=NAME][&limit=N]
 *     GET  /sightline/api/v1/cardinality/tenants
 *     POST /sightline/api/v1/cardinality/relabel      (YAML rules as body)
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type {
  CardinalityExplorer,
  CardinalityHistory,
  CardinalitySnapshot,
  CardinalityView,
} from '../../contracts/cardinality.ts';
import type { TenantId } from '../../model/tenant.ts';
import { ApiError, badData, invalidParam } from '../errors.ts';
import { queryStringOf, sendError, sendJson, tenantOf } from '../http.ts';
import { collect } from '../prometheus/body.ts';

export interface CardinalityRouteDeps {
  explorer: CardinalityExplorer;
  history: CardinalityHistory;
  tenantOf?: (request: FastifyRequest) => TenantId;
  /** Whether the caller may see all tenants. Everyone where there is no sign-in. */
  mayAdminister?: (request: FastifyRequest) => boolean;
}

const BASE = '/sightline/api/v1/cardinality';
const LIMIT_DEFAULT = 20;
const LIMIT_MAX = 1000;
/** Rules are some hundred lines. */
const RULES_BYTES_MAX = 256 * 1024;
/** Series that no time was left for are estimated from the others. */
const BUDGET_MS = 15_000;
/** A label with more values than this is worth a word. */
const VALUES_ADVISED = 100;
/** Labels that say which of many like things it is: these have as many values as there are things. */
const IDENTITY_LABELS = new Set(['__name__', 'instance', 'pod', 'host', 'node']);

export function registerCardinalityRoutes(app: FastifyInstance, deps: CardinalityRouteDeps): void {
  const ownerOf = deps.tenantOf ?? tenantOf;
  const answer =
    (work: (request: FastifyRequest) => Promise<unknown>) =>
    async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
      try {
        return await sendJson(request, reply, 200, Buffer.from(JSON.stringify(await work(request))));
      } catch (error) {
        // What is wrong with the rules, by line.
        const shown = error instanceof Error && error.name === 'ConfigError' ? badData(error.message) : error;
        return sendError(request, reply, shown);
      }
    };
  app.register(async scope => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', (_request, payload, done) => done(null, payload));
    scope.setErrorHandler((error, request, reply) => sendError(request, reply, error));
    scope.get(
      BASE,
      answer(request => overview(deps, ownerOf(request), new URLSearchParams(queryStringOf(request)))),
    );
    scope.get(
      `${BASE}/tenants`,
      answer(async request => {
        if (!(deps.mayAdminister?.(request) ?? true)) {
          throw new ApiError('forbidden', 'only an administrator may see all tenants');
        }
        return { tenants: await deps.explorer.tenants() };
      }),
    );
    scope.post(
      `${BASE}/relabel`,
      { bodyLimit: RULES_BYTES_MAX },
      answer(async request => {
        const tenant = ownerOf(request);
        const yaml = new TextDecoder().decode(await collect(request.body, RULES_BYTES_MAX));
        return { tenant, ...(await deps.explorer.savings(tenant, yaml, BUDGET_MS)) };
      }),
    );
  });
}

async function overview(deps: CardinalityRouteDeps, tenant: TenantId, params: URLSearchParams): Promise<unknown> {
  const scope = { metric: params.get('metric') ?? '', label: params.get('label') ?? '', limit: limitOf(params) };
  const { explorer, history } = deps;
  const [view, before, senders, tenants] = await Promise.all([
    explorer.view(tenant, scope),
    history.before(tenant),
    explorer.senders(tenant),
    explorer.tenants(),
  ]);
  const whole = scope.metric === '' && scope.label === '';
  const { yesterday, lastWeek } = before;
  return {
    tenant,
    metric: scope.metric,
    label: scope.label,
    series: view.series,
    // 0: none.
    limit: tenants.find(t => t.tenant === tenant)?.limit ?? 0,
    growth: { yesterday: dayOf(yesterday), lastWeek: dayOf(lastWeek) },
    metrics: view.metrics.map(m => ({ ...m, growth: growthOf(m.name, m.series, yesterday, lastWeek, s => s.metrics) })),
    labels: view.labels.map(l => ({
      ...l,
      // The record of a day is of all metrics together.
      growth: whole ? growthOf(l.name, l.values, yesterday, lastWeek, s => s.labels) : NO_GROWTH,
    })),
    pairs: view.pairs,
    values: view.values,
    targets: view.targets,
    senders: senders.slice(0, scope.limit),
    advice: adviceOn(view, scope.metric),
  };
}

function limitOf(params: URLSearchParams): number {
  const text = params.get('limit');
  if (text === null || text === '') return LIMIT_DEFAULT;
  const limit = Number(text);
  if (!/^\d{1,4}$/.test(text) || limit < 1 || limit > LIMIT_MAX) {
    throw invalidParam('limit', `${JSON.stringify(text.slice(0, 50))} is not a whole number from 1 to ${LIMIT_MAX}`);
  }
  return limit;
}

function dayOf(snapshot: CardinalitySnapshot | null): { timeMs: number; series: number } | null {
  return snapshot === null ? null : { timeMs: snapshot.timeMs, series: snapshot.series };
}

interface Growth {
  /** More than then; null where it is not known. */
  sinceYesterday: number | null;
  sinceLastWeek: number | null;
}

const NO_GROWTH: Growth = { sinceYesterday: null, sinceLastWeek: null };

function growthOf(
  name: string,
  now: number,
  yesterday: CardinalitySnapshot | null,
  lastWeek: CardinalitySnapshot | null,
  rowsOf: (snapshot: CardinalitySnapshot) => [string, number][],
): Growth {
  const since = (snapshot: CardinalitySnapshot | null): number | null => {
    if (snapshot === null) return null;
    const rows = rowsOf(snapshot);
    const then = rows.find(row => row[0] === name);
    if (then !== undefined) return now - then[1];
    // Not among the largest of then: it had fewer than the last of those, unless all were recorded.
    return rows.length < ROWS_RECORDED ? now : null;
  };
  return { sinceYesterday: since(yesterday), sinceLastWeek: since(lastWeek) };
}

/** A snapshot has this many rows where there were more. */
const ROWS_RECORDED = 200;

function adviceOn(
  view: CardinalityView,
  metric: string,
): { label: string; values: number; advice: string; rule: string }[] {
  return view.labels
    .filter(l => l.values > VALUES_ADVISED && !IDENTITY_LABELS.has(l.name))
    .map(({ name, values, series }) => ({
      label: name,
      values,
      advice:
        `label ${JSON.stringify(name)} has ${values} values on ${series} series; a label should have fewer than ` +
        `${VALUES_ADVISED}. Put what tells single users or requests apart into exemplars, traces or logs; group the rest ` +
        '(a route in place of a path). Try the rule with POST /sightline/api/v1/cardinality/relabel before you use it',
      rule: ruleFor(name, metric),
    }));
}

/** Takes the label off; of one metric alone by emptying it. */
function ruleFor(label: string, metric: string): string {
  const quoted = (text: string): string => JSON.stringify(text);
  const escaped = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
  if (metric === '') return `- action: labeldrop\n  regex: ${quoted(escaped(label))}\n`;
  return (
    `- source_labels: [__name__]\n  regex: ${quoted(escaped(metric))}\n  target_label: ${quoted(label)}\n` +
    '  replacement: ""\n'
  );
}
