/**
 * The keeper of push groups: what short-lived jobs left behind, held in memory and in the state store, written to the tsdb again at every
 * collection until it is deleted, as if a Pushgateway were scraped with honor_labels.
 *
 * A push is parsed in a worker (normalise.ts), then judged against all other groups, persisted, taken, and written once at once, so that
 * a job's result is there when its push returns. Series that a push or a delete takes away get a staleness marker. Changes go one after
 * the other. Everything is bounded by groups and bytes per tenant.
 */
import type { IngestService } from '../../contracts/ingest-service.ts';
import type { PushAnswer, PushGateway, PushGroupView, PushRequest } from '../../contracts/push-gateway.ts';
import { ShuttingDownError } from '../../contracts/sample-sink.ts';
import type { StateStore } from '../../contracts/state-store.ts';
import { type Clock, everyAligned, type Timer } from '../../lib/clock.ts';
import { errorText, type Logger } from '../../lib/log.ts';
import type { MetricsRegistry } from '../../lib/metrics.ts';
import type { TenantId } from '../../model/tenant.ts';
import { type PushFamily, type PushSample, seriesText } from './family.ts';
import { GroupPathError, groupLabels } from './group-path.ts';
import { type Group, groupId, type HeldFamily, isGroupDocument, TenantGroups } from './groups.ts';
import type { NormalisedPush } from './normalise.ts';

export interface GatewayOptions {
  ingest: IngestService;
  state: StateStore;
  clock: Clock;
  log: Logger;
  metrics: MetricsRegistry;
  /** ms between two writings of all groups. */
  intervalMs: number;
  /** Per tenant. */
  groupsMax: number;
  /** Of all groups of a tenant, as exposition text. */
  bytesMax: number;
}

const STATE_KIND = 'push_group';
const AUTHOR = 'pushgateway';

const INCONSISTENT = 'pushed metrics are invalid or inconsistent with existing metrics';

export class Gateway implements PushGateway {
  private readonly options: GatewayOptions;
  private readonly tenants = new Map<TenantId, TenantGroups>();
  private changing: Promise<unknown> = Promise.resolve();
  private timer: Timer | null = null;
  /** A staleness marker must come behind the last sample. ms. */
  private lastWriteMs = 0;
  private failing = false;
  /** What is stored has been read back. */
  private ready = false;
  private readonly pushes;
  private readonly failures;

  constructor(options: GatewayOptions) {
    this.options = options;
    const { metrics } = options;
    this.pushes = metrics.counter('sightline_push_gateway_pushes_total', 'Pushes to groups by result.', ['result']);
    this.failures = metrics.counter(
      'sightline_push_gateway_write_failures_total',
      'Collections of push groups that could not be stored.',
    );
    const groups = metrics.gauge('sightline_push_gateway_groups', 'Push groups held.');
    const bytes = metrics.gauge('sightline_push_gateway_bytes', 'Exposition text of all push groups held.');
    metrics.onCollect(() => {
      groups.set([...this.tenants.values()].reduce((sum, tenant) => sum + tenant.groups.size, 0));
      bytes.set([...this.tenants.values()].reduce((sum, tenant) => sum + tenant.bytes, 0));
    });
  }

  /** Reads back what is held; then writes it at once and at every interval. */
  async start(): Promise<void> {
    for (const object of await this.options.state.list(STATE_KIND, null)) {
      if (isGroupDocument(object.value)) this.groupsOf(object.tenant).set(object.id, object.value);
      else
        this.options.log.error(
          { tenant: object.tenant, id: object.id },
          'a stored push group cannot be read; it is left out',
        );
    }
    this.ready = true;
    this.setInterval(this.options.intervalMs);
  }

  setInterval(intervalMs: number): void {
    this.options.intervalMs = intervalMs;
    if (!this.ready) return;
    this.timer?.cancel();
    this.timer = everyAligned(this.options.clock, intervalMs, 0, timeMs => this.collect(timeMs));
  }

  stop(): void {
    this.ready = false;
    this.timer?.cancel();
    this.timer = null;
  }

  async push(request: PushRequest): Promise<PushAnswer> {
    let labels: [string, string][];
    try {
      labels = groupLabels(request.path);
    } catch (error) {
      if (!(error instanceof GroupPathError)) throw error;
      return this.answer('refused', 400, error.message);
    }
    const response = await this.options.ingest.ingest(
      {
        protocol: 'pushgateway',
        tenant: request.tenant,
        contentType: request.contentType,
        contentEncoding: request.contentEncoding,
        params: new URLSearchParams({ labels: JSON.stringify(labels) }).toString(),
        headers: {},
      },
      request.body,
    );
    if (![200, 400, 413].includes(response.status)) return { status: response.status, body: response.body };
    const pushed = JSON.parse(response.body) as NormalisedPush;
    return this.inTurn(() => this.take(request, labels, pushed, response.status));
  }

  delete(tenant: TenantId, path: string): Promise<PushAnswer> {
    let labels: [string, string][];
    try {
      labels = groupLabels(path);
    } catch (error) {
      if (!(error instanceof GroupPathError)) throw error;
      return Promise.resolve(this.answer('refused', 400, error.message));
    }
    return this.inTurn(async () => {
      await this.remove(tenant, [groupId(labels)]);
      return this.answer('deleted', 202, '');
    });
  }

  wipe(tenant: TenantId): Promise<void> {
    return this.inTurn(() => this.remove(tenant, [...this.groupsOf(tenant).groups.keys()]));
  }

  list(tenant: TenantId): PushGroupView[] {
    return [...this.groupsOf(tenant).groups.values()].map(viewOf);
  }

  expose(tenant: TenantId): string {
    return this.groupsOf(tenant).expose();
  }

  /** Writes all groups once; resolves when stored or given up. */
  async collect(timeMs: number): Promise<void> {
    for (const [tenant, groups] of this.tenants) {
      if (groups.groups.size > 0) await this.write(tenant, groups.expose(), timeMs);
    }
  }

  private async take(
    request: PushRequest,
    labels: readonly [string, string][],
    pushed: NormalisedPush,
    status: number,
  ): Promise<PushAnswer> {
    const { tenant } = request;
    const held = this.groupsOf(tenant);
    const id = groupId(labels);
    const before = held.groups.get(id) ?? null;
    const nowMs = Math.round(this.options.clock.now());
    if (pushed.error !== '' && !pushed.contentError) return this.answer('refused', status, pushed.error);
    const after = changed(before, labels, pushed.families, request.replace, nowMs);
    const problem = pushed.error !== '' ? inconsistent(pushed.error) : this.misfit(held, id, after, before === null);
    if (problem !== '') {
      const failed: Group = { ...(before ?? emptyGroup(labels)), failureTimeMs: nowMs };
      // A group that is only a failure must not be what brings a tenant over its bounds.
      if (before !== null || held.groups.size < this.options.groupsMax) await this.keep(tenant, id, failed);
      return this.answer('inconsistent', 400, problem);
    }
    const gone = held.seriesOf(id);
    await this.keep(tenant, id, after);
    for (const text of held.seriesOf(id).keys()) gone.delete(text);
    const writeMs = this.writeTime();
    await this.write(tenant, held.exposeGroup(id), writeMs);
    await this.markStale(tenant, held, [...gone.values()], writeMs);
    return this.answer('taken', 200, '');
  }

  /** Why the group cannot stand beside the others, or ''. */
  private misfit(held: TenantGroups, id: string, group: Group, isNew: boolean): string {
    const { groupsMax, bytesMax } = this.options;
    if (isNew && held.groups.size >= groupsMax) {
      return `there are ${groupsMax} groups already: delete some, or raise push.gateway.max_groups`;
    }
    if (held.bytesWith(id, group) > bytesMax) {
      return `all groups together would hold more than ${bytesMax} bytes: delete some, or raise push.gateway.max_bytes`;
    }
    const conflict = held.conflict(id, group);
    return conflict === '' ? '' : inconsistent(conflict);
  }

  private async keep(tenant: TenantId, id: string, group: Group): Promise<void> {
    await this.options.state.put({ kind: STATE_KIND, tenant, id, value: group, author: AUTHOR, keepHistory: false });
    this.groupsOf(tenant).set(id, group);
  }

  private async remove(tenant: TenantId, ids: readonly string[]): Promise<void> {
    const held = this.groupsOf(tenant);
    const gone: PushSample[] = [];
    for (const id of ids) {
      if (!held.groups.has(id)) continue;
      await this.options.state.delete({ kind: STATE_KIND, tenant, id }, { author: AUTHOR, keepHistory: false });
      gone.push(...held.seriesOf(id).values());
      held.delete(id);
    }
    if (gone.length > 0) await this.markStale(tenant, held, gone, this.writeTime());
  }

  /** Series that another group still gives out are not gone. */
  private async markStale(
    tenant: TenantId,
    held: TenantGroups,
    gone: readonly PushSample[],
    timeMs: number,
  ): Promise<void> {
    const lines: string[] = [];
    for (const sample of gone) {
      if (held.has(seriesText(sample))) continue;
      const metric: Record<string, string> = { __name__: sample[1] as string };
      for (let i = 2; i < sample.length; i += 2) metric[sample[i] as string] = sample[i + 1] as string;
      lines.push(JSON.stringify({ metric, values: ['StaleNaN'], timestamps: [timeMs] }));
    }
    if (lines.length > 0) await this.send('json-lines', tenant, `${lines.join('\n')}\n`, '');
  }

  private write(tenant: TenantId, text: string, timeMs: number): Promise<void> {
    this.lastWriteMs = Math.max(this.lastWriteMs, timeMs);
    return this.send('prometheus-text', tenant, text, `timestamp=${timeMs}`);
  }

  private async send(
    protocol: 'json-lines' | 'prometheus-text',
    tenant: TenantId,
    text: string,
    params: string,
  ): Promise<void> {
    try {
      const request = { protocol, tenant, contentType: '', contentEncoding: '', params, headers: {} };
      const response = await this.options.ingest.ingest(request, new TextEncoder().encode(text));
      if (response.status < 300) {
        this.failing = false;
        return;
      }
      throw new Error(response.body.slice(0, 500));
    } catch (error) {
      this.failures.inc();
      // Once per outage.
      if (!this.failing) this.options.log.warn({ tenant, error: errorText(error) }, 'push groups cannot be stored');
      this.failing = true;
    }
  }

  private writeTime(): number {
    return Math.max(Math.round(this.options.clock.now()), this.lastWriteMs + 1);
  }

  private groupsOf(tenant: TenantId): TenantGroups {
    let groups = this.tenants.get(tenant);
    if (groups === undefined) {
      groups = new TenantGroups();
      this.tenants.set(tenant, groups);
    }
    return groups;
  }

  private answer(result: string, status: number, body: string): PushAnswer {
    this.pushes.labels(result).inc();
    return { status, body };
  }

  /** One change at a time: each is judged against what the one before left. */
  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (!this.ready)
      return Promise.reject(new ShuttingDownError('push groups are not open: starting, or shutting down'));
    const result = this.changing.then(work);
    this.changing = result.catch(() => undefined);
    return result;
  }
}

function inconsistent(problem: string): string {
  return problem.startsWith(INCONSISTENT) ? problem : `${INCONSISTENT}: ${problem}`;
}

function emptyGroup(labels: readonly [string, string][]): Group {
  return { labels: [...labels], families: [], pushTimeMs: 0, failureTimeMs: 0 };
}

/** The group after the push. */
function changed(
  before: Group | null,
  labels: readonly [string, string][],
  pushed: readonly PushFamily[],
  replace: boolean,
  nowMs: number,
): Group {
  const families = pushed.map((family): HeldFamily => ({ ...family, pushTimeMs: nowMs }));
  const names = new Set(families.map(family => family.name));
  const kept = replace || before === null ? [] : before.families.filter(family => !names.has(family.name));
  return {
    labels: [...labels],
    families: [...kept, ...families],
    pushTimeMs: nowMs,
    failureTimeMs: before?.failureTimeMs ?? 0,
  };
}

function viewOf(group: Group): PushGroupView {
  return {
    labels: Object.fromEntries(group.labels),
    pushTimeMs: group.pushTimeMs,
    failureTimeMs: group.failureTimeMs,
    lastPushOk: group.pushTimeMs >= group.failureTimeMs && group.pushTimeMs > 0,
    families: group.families.map(({ name, type, help, pushTimeMs, samples }) => ({
      name,
      type,
      help,
      pushTimeMs,
      samples: samples.map(sample => {
        const labels: Record<string, string> = { __name__: sample[1] as string };
        for (let i = 2; i < sample.length; i += 2) labels[sample[i] as string] = sample[i + 1] as string;
        return { labels, value: sample[0] as string };
      }),
    })),
  };
}
