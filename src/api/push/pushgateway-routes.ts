/**
 * Pushgateway's API: PUT, POST and DELETE on /metrics/job/..., the groups as JSON at /api/v1/metrics and as exposition text at
 * /pushgateway/metrics, wiping for administrators. /metrics itself stays this program's own.
 *
 * Everything also stands under /pushgateway, for clients that are given a base URL.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { PushAnswer, PushGateway, PushGroupView, PushSampleView } from '../../contracts/push-gateway.ts';
import { SELF_TENANT, type TenantId } from '../../model/tenant.ts';
import { ApiError } from '../errors.ts';
import { headerOf, tenantOf } from '../http.ts';
import { collect } from '../prometheus/body.ts';

export interface PushgatewayRouteDeps {
  tenantOf?: (request: FastifyRequest) => TenantId;
  bodyBytesMax: number;
  adminApiEnabled: boolean;
}

const PREFIXES = ['', '/pushgateway'] as const;

export function registerPushgatewayRoutes(
  scope: FastifyInstance,
  gateway: PushGateway,
  deps: PushgatewayRouteDeps,
): void {
  const tenant = (request: FastifyRequest): TenantId => {
    const id = (deps.tenantOf ?? tenantOf)(request);
    if (id === SELF_TENANT) throw new ApiError('bad_data', `tenant "${id}" cannot be written from outside`);
    return id;
  };
  for (const prefix of PREFIXES) {
    for (const job of ['job', 'job@base64']) {
      scope.route({
        method: ['PUT', 'POST'],
        url: `${prefix}/metrics/${job}/*`,
        bodyLimit: deps.bodyBytesMax,
        handler: async (request, reply) => {
          const answer = await gateway.push({
            tenant: tenant(request),
            path: groupPath(request, prefix),
            contentType: headerOf(request, 'content-type'),
            contentEncoding: headerOf(request, 'content-encoding').toLowerCase(),
            body: await collect(request.body, deps.bodyBytesMax),
            replace: request.method === 'PUT',
          });
          return send(reply, answer);
        },
      });
      scope.delete(`${prefix}/metrics/${job}/*`, async (request, reply) =>
        send(reply, await gateway.delete(tenant(request), groupPath(request, prefix))),
      );
    }
    scope.get(`${prefix}/api/v1/metrics`, async (request, reply) =>
      reply.send({ status: 'success', data: gateway.list(tenant(request)).map(groupJson) }),
    );
    scope.put(`${prefix}/api/v1/admin/wipe`, (request, reply) => wipe(gateway, deps, tenant(request), reply));
    scope.delete(`${prefix}/api/v1/admin/wipe`, (request, reply) => wipe(gateway, deps, tenant(request), reply));
  }
  scope.get('/pushgateway/metrics', async (request, reply) =>
    reply.type('text/plain; version=0.0.4; charset=utf-8').send(gateway.expose(tenant(request))),
  );
  for (const probe of ['/pushgateway/-/healthy', '/pushgateway/-/ready']) {
    scope.get(probe, async (_request, reply) => reply.type('text/plain; charset=utf-8').send('OK\n'));
  }
}

async function wipe(
  gateway: PushGateway,
  deps: PushgatewayRouteDeps,
  tenant: TenantId,
  reply: FastifyReply,
): Promise<FastifyReply> {
  if (!deps.adminApiEnabled) {
    return send(reply, { status: 404, body: 'the admin API is off: start with --admin-api or http.admin_api: true\n' });
  }
  await gateway.wipe(tenant);
  return send(reply, { status: 202, body: '' });
}

function groupPath(request: FastifyRequest, prefix: string): string {
  const path = (request.raw.url ?? '').split('?', 1)[0] as string;
  return path.slice(`${prefix}/metrics/`.length);
}

function send(reply: FastifyReply, answer: PushAnswer): FastifyReply {
  reply.code(answer.status);
  if (answer.body === '') return reply.send();
  return reply.type('text/plain; charset=utf-8').send(answer.body.endsWith('\n') ? answer.body : `${answer.body}\n`);
}

function groupJson(group: PushGroupView): Record<string, unknown> {
  const out: Record<string, unknown> = { labels: group.labels, last_push_successful: group.lastPushOk };
  const times = { push_time_seconds: group.pushTimeMs, push_failure_time_seconds: group.failureTimeMs };
  for (const [name, ms] of Object.entries(times)) {
    const metrics = [{ labels: group.labels, value: String(ms / 1000) }];
    out[name] = { time_stamp: iso(group.pushTimeMs), type: 'GAUGE', metrics };
  }
  for (const { name, type, help, pushTimeMs, samples } of group.families) {
    out[name] = {
      time_stamp: iso(pushTimeMs),
      type: type.toUpperCase(),
      ...(help === '' ? {} : { help }),
      metrics: type === 'histogram' || type === 'summary' ? compound(name, samples) : samples.map(simple),
    };
  }
  return out;
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}

function simple({ labels, value }: PushSampleView): Record<string, unknown> {
  const { __name__: _name, ...rest } = labels;
  return { labels: rest, value };
}

/** The samples of each histogram or summary put together. */
function compound(name: string, samples: readonly PushSampleView[]): Record<string, unknown>[] {
  const byLabels = new Map<string, Record<string, unknown>>();
  for (const { labels, value } of samples) {
    const { __name__: own, le, quantile, ...rest } = labels;
    const key = JSON.stringify(rest);
    let entry = byLabels.get(key);
    if (entry === undefined) {
      entry = { labels: rest };
      byLabels.set(key, entry);
    }
    if (own === `${name}_sum`) entry.sum = value;
    else if (own === `${name}_count`) entry.count = value;
    else if (le !== undefined) entry.buckets = { ...(entry.buckets as object | undefined), [le]: value };
    else if (quantile !== undefined)
      entry.quantiles = { ...(entry.quantiles as object | undefined), [quantile]: value };
  }
  return [...byLabels.values()];
}
