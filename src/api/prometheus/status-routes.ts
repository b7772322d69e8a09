/**
 * What the API says about the process: targets, rules, alerts, build, configuration, flags, storage; and the admin calls on storage.
 * Small JSON, made on this thread from the ports.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { RulesDirectory, RuntimeInfo, StatusSource, TsdbAdmin } from '../../contracts/admin.ts';
import type { TargetDirectory } from '../../contracts/targets.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Matcher } from '../../model/matcher.ts';
import type { TenantId } from '../../model/tenant.ts';
import { ApiError, badData, invalidParam } from '../errors.ts';
import { formOf, queryStringOf, sendError, sendJson, tenantOf } from '../http.ts';
import { encodeSuccess } from './encode-result.ts';
import { parseMatcherSets } from './matchers.ts';
import { Params, TIME_MAX_MS, TIME_MIN_MS } from './params.ts';
import { alertsJson, goTime, groupsJson } from './rules-json.ts';
import { targetMetadataJson, targetsJson } from './targets-json.ts';

export interface StatusDeps {
  status: StatusSource;
  /** null: no scraper, no targets. */
  targets: TargetDirectory | null;
  /** null: no rule engine, no rules. */
  rules: RulesDirectory | null;
  admin: TsdbAdmin;
  /** Deletes and snapshots; off unless the operator turned them on. */
  adminApiEnabled: boolean;
  clock: Clock;
  tenantOf?: (request: FastifyRequest) => TenantId;
}

/**
 * The version that clients compare to find out what the API can do; ours stands beside it. Grafana, for one, drops features for
 * anything older.
 */
export const PROMETHEUS_API_VERSION = '3.8.0';

const TSDB_LIMIT_DEFAULT = 10;
const TSDB_LIMIT_MAX = 10_000;

/** Data for the answer; undefined is a bare success, null no content. */
type Answer = (params: Params, tenant: TenantId) => unknown;

export function registerStatusRoutes(scope: FastifyInstance, prefix: string, deps: StatusDeps): void {
  const get = (path: string, answer: Answer) => {
    scope.get(prefix + path, (request, reply) => respond(deps, request, reply, queryStringOf(request), answer));
  };
  get('/targets', (params, tenant) => targetsJson(deps.targets, params, tenant));
  get('/targets/metadata', (params, tenant) => targetMetadataJson(deps.targets, params, tenant));
  get('/scrape_pools', (_params, tenant) => ({ scrapePools: deps.targets?.scrapePools(tenant) ?? [] }));
  get('/rules', (params, tenant) => groupsJson(deps.rules?.groups(tenant) ?? [], params));
  get('/alerts', (_params, tenant) => ({ alerts: alertsJson(deps.rules?.groups(tenant) ?? []) }));
  get('/alertmanagers', (_params, tenant) => alertmanagersJson(deps.rules, tenant));
  get('/notifications', () => []);
  get('/status/buildinfo', () => buildInfoJson(deps.status));
  get('/status/config', async () => ({ yaml: await deps.status.configYaml() }));
  get('/status/flags', () => deps.status.flags());
  get('/status/runtimeinfo', async () => runtimeInfoJson(await deps.status.runtimeInfo(), deps.clock.now()));
  get('/status/tsdb', async (params, tenant) => tsdbJson(deps.admin, params, tenant));
  get('/status/tsdb/blocks', async (_params, tenant) => blocksJson(deps.admin, tenant));
  get('/status/walreplay', () => {
    const { first, last, current, state } = deps.admin.replay();
    return { min: first, max: last, current, state };
  });
  registerAdminRoutes(scope, `${prefix}/admin/tsdb`, deps);
}

function registerAdminRoutes(scope: FastifyInstance, prefix: string, deps: StatusDeps): void {
  const call = (path: string, answer: Answer) => {
    scope.route({
      method: ['POST', 'PUT'],
      url: prefix + path,
      handler: (request, reply) =>
        respond(deps, request, reply, formOf(request), (params, tenant) => {
          if (!deps.adminApiEnabled) throw new ApiError('unavailable', 'admin APIs disabled');
          return answer(params, tenant);
        }),
    });
  };
  call('/delete_series', async (params, tenant) => {
    const selectors = params.all('match[]');
    if (selectors.length === 0) throw badData('no match[] parameter provided');
    const minT = params.timeOr('start', TIME_MIN_MS);
    const maxT = params.timeOr('end', TIME_MAX_MS);
    let sets: Matcher[][];
    try {
      sets = parseMatcherSets(selectors);
    } catch (error) {
      throw invalidParam('match[]', error instanceof Error ? error.message : String(error));
    }
    await deps.admin.deleteSeries(tenant, sets, minT, maxT);
    return null;
  });
  call('/clean_tombstones', async () => {
    await deps.admin.cleanTombstones();
    return null;
  });
  call('/flush', async () => {
    await deps.admin.flush();
    return null;
  });
  call('/snapshot', async params => ({
    name: await deps.admin.snapshot({ skipHead: params.bool('skip_head', false) }),
  }));
}

async function respond(
  deps: StatusDeps,
  request: FastifyRequest,
  reply: FastifyReply,
  form: string,
  answer: Answer,
): Promise<FastifyReply> {
  try {
    const data = await answer(new Params(form), (deps.tenantOf ?? tenantOf)(request));
    if (data === null) return reply.code(204).send();
    return await sendJson(request, reply, 200, encodeSuccess(data));
  } catch (error) {
    return sendError(request, reply, error);
  }
}

function alertmanagersJson(rules: RulesDirectory | null, tenant: TenantId): unknown {
  const { active, dropped } = rules?.alertmanagers(tenant) ?? { active: [], dropped: [] };
  return {
    activeAlertmanagers: active.map(url => ({ url })),
    droppedAlertmanagers: dropped.map(url => ({ url })),
  };
}

function buildInfoJson(status: StatusSource): unknown {
  const { version, revision, branch, buildUser, buildDate } = status.buildInfo();
  return {
    version: PROMETHEUS_API_VERSION,
    revision,
    branch,
    buildUser,
    buildDate,
    goVersion: '',
    application: 'Sightline',
    applicationVersion: version,
  };
}

function runtimeInfoJson(info: RuntimeInfo, nowMs: number): unknown {
  return {
    startTime: goTime(info.startTimeMs),
    CWD: info.cwd,
    hostname: info.hostname,
    serverTime: goTime(nowMs),
    reloadConfigSuccess: info.reloadConfigSuccess,
    lastConfigTime: goTime(info.lastConfigTimeMs),
    corruptionCount: info.corruptionCount,
    goroutineCount: info.threads,
    GOMAXPROCS: info.cpuCores,
    GOMEMLIMIT: info.memoryLimitBytes,
    GOGC: '',
    GODEBUG: '',
    storageRetention: info.storageRetention,
  };
}

async function tsdbJson(admin: TsdbAdmin, params: Params, tenant: TenantId): Promise<unknown> {
  const text = params.get('limit');
  const limit = text === '' ? TSDB_LIMIT_DEFAULT : Number(text);
  if (!Number.isInteger(limit) || limit < 1) throw badData('limit must be a positive number');
  if (limit > TSDB_LIMIT_MAX) throw badData(`limit must not exceed ${TSDB_LIMIT_MAX}`);
  const s = await admin.status(tenant, limit);
  return {
    headStats: {
      numSeries: s.numSeries,
      numLabelPairs: s.numLabelPairs,
      chunkCount: s.chunkCount,
      minTime: s.minTimeMs,
      maxTime: s.maxTimeMs,
    },
    seriesCountByMetricName: s.seriesCountByMetricName,
    labelValueCountByLabelName: s.labelValueCountByLabelName,
    memoryInBytesByLabelName: s.memoryInBytesByLabelName,
    seriesCountByLabelValuePair: s.seriesCountByLabelValuePair,
  };
}

async function blocksJson(admin: TsdbAdmin, tenant: TenantId): Promise<unknown> {
  const blocks = (await admin.blocks(tenant)).map(b => ({
    ulid: b.id,
    minTime: b.minTimeMs,
    maxTime: b.maxTimeMs,
    stats: { numSamples: b.samples, numSeries: b.series, numChunks: b.chunks },
    compaction: { level: b.level },
    version: 1,
    // Ours beside theirs.
    bytes: b.bytes,
    resolutionMs: b.resolutionMs,
  }));
  return { blocks };
}
