/**
 * KubernetesDiscoverer: targets of one role, from copies of the collections that the role needs (list-watch.ts), built anew per object
 * as it or something it refers to changes (groups.ts).
 *
 * A few hundred lines over the shared HTTP client rather than the official client library: docs/decisions/0011-kubernetes-client.md.
 */
import type { Discoverer, DiscoveryContext, SdHttp } from '../discoverer.ts';
import type { KubernetesSection } from '../sections.ts';
import type { TargetGroup } from '../target-group.ts';
import { accessOf, namespacesOf, type PodEnvironment, podEnvironment } from './access.ts';
import { buildGroup, type Related, sourceOf } from './groups.ts';
import { ListWatch } from './list-watch.ts';
import { type Kind, type KubernetesObject, type ObjectOf, RESOURCES } from './objects.ts';

/** Collections beside the role's own that its targets draw on. */
const NEEDS: Readonly<Record<string, readonly Kind[]>> = {
  endpoints: ['service', 'pod'],
  endpointslice: ['service', 'pod'],
};
const WITH_NODE: readonly string[] = ['pod', 'endpoints', 'endpointslice'];
const WITH_NAMESPACE: readonly string[] = ['pod', 'endpoints', 'endpointslice', 'service', 'ingress'];
/** Changes that come together are told together. */
const GATHER_MS = 100;
/** Objects built before other work gets a turn. */
const SLICE = 200;

export class KubernetesDiscoverer implements Discoverer {
  private readonly section: KubernetesSection;
  private readonly environment: PodEnvironment;

  constructor(section: KubernetesSection, environment: PodEnvironment = podEnvironment) {
    this.section = section;
    this.environment = environment;
  }

  async run(context: DiscoveryContext): Promise<void> {
    const { server, settings, baseDir } = accessOf(this.section, this.environment);
    const namespaces = namespacesOf(this.section, this.environment);
    const http = context.openHttp(settings, baseDir);
    const copies = new Copies(context, this.section);
    try {
      const runs = this.watches(context, server, namespaces, http, copies).map(watch => watch.run());
      await Promise.all([...runs, copies.run()]);
    } finally {
      http.close();
    }
  }

  private watches(
    context: DiscoveryContext,
    server: string,
    namespaces: readonly string[],
    http: SdHttp,
    copies: Copies,
  ): ListWatch[] {
    const { role, selectors, attachNode, attachNamespace } = this.section;
    const kinds = new Set<Kind>([role as Kind, ...(NEEDS[role] ?? [])]);
    if (attachNode && WITH_NODE.includes(role)) kinds.add('node');
    if (attachNamespace && WITH_NAMESPACE.includes(role)) kinds.add('namespace');
    const out: ListWatch[] = [];
    for (const kind of kinds) {
      const { api, plural, namespaced } = RESOURCES[kind];
      const selector = selectors.find(candidate => candidate.role === kind);
      for (const namespace of namespaced ? namespaces : ['']) {
        const within = namespace === '' ? '' : `/namespaces/${encodeURIComponent(namespace)}`;
        const listed = copies.expect();
        out.push(
          new ListWatch(context, {
            kind,
            url: `${server}${api}${within}/${plural}`,
            labelSelector: selector?.label ?? '',
            fieldSelector: selector?.field ?? '',
            http,
            onChange: (key, object) => copies.change(kind, key, object),
            onListed: listed,
          }),
        );
      }
    }
    return out;
  }
}

/** The copies of all collections, who refers to whom, and what has to be built anew. */
class Copies implements Related {
  readonly attachNode: boolean;
  readonly attachNamespace: boolean;
  private readonly context: DiscoveryContext;
  private readonly role: Kind;
  private readonly objects = new Map<Kind, Map<string, KubernetesObject>>();
  /** `kind/key` of something referred to -> keys of the role's objects that did. */
  private readonly referrers = new Map<string, Set<string>>();
  /** What each of the role's objects refers to. */
  private readonly references = new Map<string, Set<string>>();
  private dirty = new Set<string>();
  private waitingFor = 0;
  private building = '';
  private wake: () => void = () => {};

  constructor(context: DiscoveryContext, section: KubernetesSection) {
    this.context = context;
    this.role = section.role as Kind;
    this.attachNode = section.attachNode && WITH_NODE.includes(section.role);
    this.attachNamespace = section.attachNamespace && WITH_NAMESPACE.includes(section.role);
  }

  /** One more list without which nothing can be built; gives what to call when it is there. */
  expect(): () => void {
    this.waitingFor++;
    let waited = true;
    return () => {
      if (waited) this.waitingFor--;
      waited = false;
      this.wake();
    };
  }

  change(kind: Kind, key: string, object: KubernetesObject | null): void {
    let all = this.objects.get(kind);
    if (all === undefined) {
      all = new Map();
      this.objects.set(kind, all);
    }
    if (object === null) all.delete(key);
    else all.set(key, object);
    if (kind === this.role) this.dirty.add(key);
    for (const referrer of this.referrers.get(`${kind}/${key}`) ?? []) this.dirty.add(referrer);
    this.wake();
  }

  find<K extends Kind>(kind: K, key: string): ObjectOf<K> | undefined {
    const reference = `${kind}/${key}`;
    this.references.get(this.building)?.add(reference);
    let referrers = this.referrers.get(reference);
    if (referrers === undefined) {
      referrers = new Set();
      this.referrers.set(reference, referrers);
    }
    referrers.add(this.building);
    return this.objects.get(kind)?.get(key) as ObjectOf<K> | undefined;
  }

  /** Builds what changed, from the first whole lists on. */
  async run(): Promise<void> {
    let first = true;
    while (!this.context.signal.aborted) {
      if (this.waitingFor > 0 || (this.dirty.size === 0 && !first)) {
        await Promise.race([
          new Promise<void>(done => {
            this.wake = done;
          }),
          this.context.sleep(60_000),
        ]);
        continue;
      }
      await this.context.sleep(GATHER_MS);
      const keys = this.dirty;
      this.dirty = new Set();
      await this.build(keys);
      if (first) this.context.synced();
      first = false;
    }
  }

  private async build(keys: ReadonlySet<string>): Promise<void> {
    let groups: TargetGroup[] = [];
    for (const key of keys) {
      groups.push(this.buildOne(key));
      if (groups.length < SLICE) continue;
      this.context.merge(groups);
      groups = [];
      await new Promise(setImmediate);
      if (this.context.signal.aborted) return;
    }
    if (groups.length > 0) this.context.merge(groups);
  }

  private buildOne(key: string): TargetGroup {
    for (const reference of this.references.get(key) ?? []) {
      const referrers = this.referrers.get(reference);
      referrers?.delete(key);
      if (referrers?.size === 0) this.referrers.delete(reference);
    }
    const object = this.objects.get(this.role)?.get(key);
    if (object === undefined) {
      this.references.delete(key);
      return { source: sourceOf(this.role, key), labels: new Map(), targets: [] };
    }
    this.references.set(key, new Set());
    this.building = key;
    return buildGroup(object, this);
  }
}
