/**
 * ConsulDiscoverer: instances of services in a Consul catalog, followed with blocking queries.
 *
 * The catalog is watched for services to follow (unless they are all named), then each service's instances by the health API. A blocking
 * query names the index of the state it has and is answered when there is a newer one, or after two minutes. An index that goes
 * backwards starts over from 0, and so do all others that wait, as servers that were restored need; one below 1 counts as 1.
 */
import {
  Backoff,
  type Discoverer,
  type DiscoveryContext,
  getJson,
  type SdHttp,
  type SdResponse,
  withDeadline,
} from './discoverer.ts';
import type { ConsulSection } from './sections.ts';
import { joinHostPort, labelName } from './target-group.ts';
import { items, num, record, text, texts } from './untrusted.ts';

const WAIT_MS = 120_000;
/** The server adds up to a sixteenth of the wait, and needs time for the answer. */
const ANSWER_MS = WAIT_MS + WAIT_MS / 16 + 15_000;
/** Least time between two queries of the same thing where the section says nothing: a busy catalog changes all the time. */
const GAP_MS = 10_000;
const RETRY_MAX_MS = 15_000;
/** Services that are followed at once; each holds a connection. */
const SERVICES_MAX = 5000;
const PREFIX = '__meta_consul_';

export class ConsulDiscoverer implements Discoverer {
  private readonly section: ConsulSection;
  /** Aborted when the server's index goes back; queries that wait then begin anew. */
  private epoch = new AbortController();

  constructor(section: ConsulSection) {
    this.section = section;
  }

  async run(context: DiscoveryContext): Promise<void> {
    const { httpClient, baseDir, services, tags } = this.section;
    const http = context.openHttp(httpClient, baseDir);
    try {
      if (services.length === 0 || tags.length > 0) await this.followCatalog(context, http);
      else await this.followNamed(context, http, services);
    } finally {
      http.close();
    }
  }

  private async followNamed(context: DiscoveryContext, http: SdHttp, names: readonly string[]): Promise<void> {
    const first: Promise<void>[] = [];
    const ends = names.map(
      name =>
        new Promise<void>((done, failed) => {
          first.push(
            new Promise(answered => {
              this.followService(context, context.signal, http, name, answered).then(done, failed);
            }),
          );
        }),
    );
    void Promise.all(first).then(() => context.synced());
    await Promise.all(ends);
  }

  private async followCatalog(context: DiscoveryContext, http: SdHttp): Promise<void> {
    const followed = new Map<string, AbortController>();
    const broken = new AbortController();
    context.signal.addEventListener('abort', () => broken.abort(), { once: true });
    let bug: unknown = null;
    try {
      await this.follow(context, broken.signal, http, '/v1/catalog/services', this.catalogQuery(), value => {
        const wanted = this.wantedServices(value);
        if (wanted.size > SERVICES_MAX) {
          throw new Error(`${wanted.size} services, the limit is ${SERVICES_MAX}: name the ones that are wanted`);
        }
        for (const [name, controller] of followed) {
          if (wanted.has(name)) continue;
          controller.abort();
          followed.delete(name);
          context.ok(pathOf(name));
          context.merge([{ source: name, labels: new Map(), targets: [] }]);
        }
        const answers: Promise<void>[] = [];
        for (const name of wanted) {
          if (followed.has(name)) continue;
          const controller = new AbortController();
          followed.set(name, controller);
          const signal = AbortSignal.any([controller.signal, broken.signal]);
          answers.push(
            new Promise(answered => {
              this.followService(context, signal, http, name, answered).catch(error => {
                bug ??= error;
                broken.abort();
              });
            }),
          );
        }
        void Promise.all(answers).then(() => context.synced());
      });
      if (bug !== null) throw bug;
    } finally {
      broken.abort();
    }
  }

  private wantedServices(value: unknown): Set<string> {
    const { services, tags } = this.section;
    const wanted = new Set<string>();
    for (const [name, has] of Object.entries(record(value))) {
      if (services.length > 0 && !services.includes(name)) continue;
      const all = texts(has);
      if (tags.every(tag => all.includes(tag))) wanted.add(name);
    }
    return wanted;
  }

  private async followService(
    context: DiscoveryContext,
    signal: AbortSignal,
    http: SdHttp,
    name: string,
    answered: () => void,
  ): Promise<void> {
    await this.follow(
      context,
      signal,
      http,
      pathOf(name),
      this.serviceQuery(),
      value => {
        const targets = items(value).map(entry => this.targetOf(name, entry));
        context.merge([{ source: name, labels: new Map([[`${PREFIX}service`, name]]), targets }]);
      },
      answered,
    );
    answered();
  }

  /** Asks for one thing until the signal is aborted; `take` gets each new state and may throw. */
  private async follow(
    context: DiscoveryContext,
    signal: AbortSignal,
    http: SdHttp,
    path: string,
    query: URLSearchParams,
    take: (value: unknown) => void,
    answered: () => void = () => {},
  ): Promise<void> {
    const gapMs = this.section.refreshIntervalMs || GAP_MS;
    const backoff = new Backoff(context, RETRY_MAX_MS);
    let index = 0;
    let last = 0;
    let { epoch } = this;
    while (!signal.aborted) {
      const beganMs = context.clock.monotonic();
      if (epoch !== this.epoch) index = 0;
      epoch = this.epoch;
      try {
        const { value, headers } = await withDeadline(context, ANSWER_MS, deadline =>
          getJson(http, {
            url: this.urlOf(path, query, index),
            headers: this.headers(),
            signal: AbortSignal.any([deadline, signal, epoch.signal]),
          }),
        );
        if (signal.aborted) return;
        const told = indexOf(headers);
        if (told !== index || index === 0) take(value);
        context.ok(path);
        index = told < index ? 0 : Math.max(1, told);
        if (told < last) this.startOver();
        last = told;
        backoff.reset();
      } catch (error) {
        if (signal.aborted) return;
        if (epoch.signal.aborted) continue;
        context.fail(error, path);
        index = 0;
        answered();
        await backoff.pause();
        continue;
      }
      answered();
      const leftMs = beganMs + gapMs - context.clock.monotonic();
      // With jitter, so that a thousand services are not asked in one moment.
      if (leftMs > 0) await context.sleep(leftMs * (0.9 + 0.1 * context.random()));
    }
  }

  /** The server has an older state than the one we know: whoever waits for a newer one would wait in vain. */
  private startOver(): void {
    const { epoch } = this;
    this.epoch = new AbortController();
    epoch.abort(new Error('the index went back'));
  }

  private headers(): Record<string, string> {
    return this.section.token === '' ? {} : { 'x-consul-token': this.section.token };
  }

  private urlOf(path: string, query: URLSearchParams, index: number): string {
    const { server, scheme, pathPrefix } = this.section;
    const base = /^https?:\/\//.test(server) ? server.replace(/\/+$/, '') : `${scheme}://${server}`;
    const prefix = pathPrefix === '' ? '' : `/${pathPrefix.replace(/^\/+|\/+$/g, '')}`;
    const all = new URLSearchParams(query);
    if (index > 0) {
      all.set('index', String(index));
      all.set('wait', `${WAIT_MS / 1000}s`);
    }
    return `${base}${prefix}${path}?${all}`;
  }

  private catalogQuery(): URLSearchParams {
    const query = this.commonQuery();
    if (this.section.filter !== '') query.set('filter', this.section.filter);
    return query;
  }

  private serviceQuery(): URLSearchParams {
    const query = this.commonQuery();
    for (const tag of this.section.tags) query.append('tag', tag);
    if (this.section.healthFilter !== '') query.set('filter', this.section.healthFilter);
    return query;
  }

  private commonQuery(): URLSearchParams {
    const { datacenter, namespace, partition, allowStale, nodeMeta } = this.section;
    const query = new URLSearchParams();
    if (datacenter !== '') query.set('dc', datacenter);
    if (namespace !== '') query.set('ns', namespace);
    if (partition !== '') query.set('partition', partition);
    if (allowStale) query.set('stale', '');
    for (const [key, value] of nodeMeta) query.append('node-meta', `${key}:${value}`);
    return query;
  }

  private targetOf(name: string, entry: unknown): Map<string, string> {
    const all = record(entry);
    const node = record(all.Node);
    const service = record(all.Service);
    const own = text(service.Address);
    const port = num(service.Port);
    const separator = this.section.tagSeparator;
    const labels = new Map([
      ['__address__', joinHostPort(own === '' ? text(node.Address) : own, port)],
      [`${PREFIX}address`, text(node.Address)],
      [`${PREFIX}node`, text(node.Node)],
      [`${PREFIX}dc`, text(node.Datacenter)],
      [`${PREFIX}namespace`, text(service.Namespace)],
      [`${PREFIX}partition`, text(service.Partition)],
      // Separators all around, so that rules need not care for the place of a tag.
      [`${PREFIX}tags`, `${separator}${texts(service.Tags).join(separator)}${separator}`],
      [`${PREFIX}service`, name],
      [`${PREFIX}service_address`, own],
      [`${PREFIX}service_port`, String(port)],
      [`${PREFIX}service_id`, text(service.ID)],
      [`${PREFIX}health`, healthOf(items(all.Checks))],
    ]);
    for (const [prefix, values] of [
      ['metadata_', node.Meta],
      ['service_metadata_', service.Meta],
      ['tagged_address_', node.TaggedAddresses],
    ] as const) {
      for (const [key, value] of Object.entries(record(values))) {
        labels.set(`${PREFIX}${prefix}${labelName(key)}`, text(value));
      }
    }
    return labels;
  }
}

function pathOf(service: string): string {
  return `/v1/health/service/${encodeURIComponent(service)}`;
}

function indexOf(headers: SdResponse['headers']): number {
  const index = Number(headers['x-consul-index']);
  return Number.isFinite(index) ? index : 0;
}

/** The worst of an instance's checks; maintenance is worse than anything. */
function healthOf(checks: readonly unknown[]): string {
  let worst = 'passing';
  for (const check of checks) {
    const { CheckID, Status } = record(check);
    const id = text(CheckID);
    if (id === '_node_maintenance' || id.startsWith('_service_maintenance:')) return 'maintenance';
    const status = text(Status);
    if (status === 'critical') worst = 'critical';
    else if (status === 'warning' && worst === 'passing') worst = 'warning';
    else if (status !== 'passing' && status !== 'warning') return '';
  }
  return worst;
}
