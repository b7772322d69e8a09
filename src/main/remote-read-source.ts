/**
 * RemoteReadSource: a LeafSource that also asks other servers (`remote_read` of a Prometheus file).
 *
 * Where nobody else is to be asked, leaves go to the shards as ever. Else the own samples are fetched as they are, joined with the others', and
 * the leaf is evaluated here: slower, and exactly what one store with all of them would say. Of two samples at one time the own one stays.
 * A server that fails is a warning; the query goes on without it.
 */
import type { RemoteReadConfig } from '../config/prometheus/model.ts';
import type { LeafNote, LeafSource, RawSeries } from '../contracts/leaf-source.ts';
import type { SampleBuffer, SampleSource, SeriesSet } from '../contracts/sample-source.ts';
import { growSampleBuffer, newSampleBuffer } from '../contracts/sample-source.ts';
import { dropLabels, type Labels, labelsKey } from '../model/labels.ts';
import type { Matcher } from '../model/matcher.ts';
import { DEFAULT_TENANT, type TenantId } from '../model/tenant.ts';
import { spanOfWindows, windowsOfPlan } from '../query/promql/functions/window.ts';
import { createLocalLeafSource } from '../query/promql/leaf.ts';
import { tooManySamples } from '../query/promql/leaf-merge.ts';
import { RemoteReadClient, type RemoteSeries } from './remote-read-client.ts';

export interface RemoteReadSettings {
  endpoints: readonly RemoteReadConfig[];
  externalLabels: ReadonlyMap<string, string>;
}

export interface RemoteReadDeps {
  inner: LeafSource;
  userAgent: string;
  /** Oldest sample of the own storage, ms; Infinity where there is none. */
  oldest(tenant: TenantId): Promise<number>;
  /** Monotonic ms. */
  now(): number;
}

/** How long the oldest sample's time is taken for the same. */
const OLDEST_KEPT_MS = 1000;

interface Fetched {
  series: Map<string, { labels: Labels; buffer: SampleBuffer }>;
  warnings: LeafNote[];
}

type RawRequest = Parameters<LeafSource['selectRaw']>[1];

export class RemoteReadSource implements LeafSource {
  private readonly deps: RemoteReadDeps;
  private clients: RemoteReadClient[] = [];
  private externalLabels: ReadonlyMap<string, string> = new Map();
  private oldestKnown = Infinity;
  private oldestAt = -Infinity;

  constructor(deps: RemoteReadDeps) {
    this.deps = deps;
  }

  configure(settings: RemoteReadSettings): void {
    for (const client of this.clients) client.close();
    this.clients = settings.endpoints.map(config => new RemoteReadClient(config, this.deps.userAgent));
    this.externalLabels = settings.externalLabels;
  }

  /** Whether answers may hold what no change of the own storage tells of. */
  get active(): boolean {
    return this.clients.length > 0;
  }

  async evalLeaf(...[tenant, plan, signal]: Parameters<LeafSource['evalLeaf']>): ReturnType<LeafSource['evalLeaf']> {
    const { inner } = this.deps;
    const windows = windowsOfPlan(plan);
    if (!this.active || windows.steps === 0) return inner.evalLeaf(tenant, plan, signal);
    const { minT, maxT } = spanOfWindows(windows);
    const fetched = await this.fetch(tenant, plan.matchers, minT, maxT, plan.maxSamples, signal);
    if (fetched === null || fetched.series.size === 0) {
      const result = await inner.evalLeaf(tenant, plan, signal);
      return { ...result, warnings: [...result.warnings, ...(fetched?.warnings ?? [])] };
    }
    const request: RawRequest = {
      matchers: plan.matchers,
      minT,
      maxT,
      stepMs: plan.stepMs,
      rangeMs: plan.rangeMs,
      func: plan.func === 'instant' ? '' : plan.func,
      maxSamples: plan.maxSamples,
      keepStale: true,
    };
    const own = await inner.selectRaw(tenant, request, signal);
    const result = await createLocalLeafSource(joined(own, fetched)).evalLeaf(tenant, plan, signal);
    return { ...result, warnings: [...result.warnings, ...fetched.warnings] };
  }

  async selectRaw(...[tenant, request, signal]: Parameters<LeafSource['selectRaw']>): Promise<RawSeries[]> {
    const { inner } = this.deps;
    if (!this.active) return inner.selectRaw(tenant, request, signal);
    const { matchers, minT, maxT, maxSamples, notes, ...rest } = request;
    const fetched = await this.fetch(tenant, matchers, minT, maxT, maxSamples, signal);
    notes?.push(...(fetched?.warnings ?? []));
    const plain: RawRequest = { ...rest, matchers, minT, maxT, maxSamples };
    if (fetched === null || fetched.series.size === 0) return inner.selectRaw(tenant, plain, signal);
    const own = await inner.selectRaw(tenant, { ...plain, keepStale: true }, signal);
    return createLocalLeafSource(joined(own, fetched)).selectRaw(tenant, plain, signal);
  }

  /** null where nobody is to be asked. */
  private async fetch(
    tenant: TenantId,
    matchers: readonly Matcher[],
    minT: number,
    maxT: number,
    maxSamples: number,
    signal?: AbortSignal,
  ): Promise<Fetched | null> {
    if (tenant !== DEFAULT_TENANT) return null;
    const oldest = await this.oldest(tenant);
    const asked = this.clients.filter(({ config }) => isAsked(config, matchers, minT, oldest));
    if (asked.length === 0) return null;
    const fetched: Fetched = { series: new Map(), warnings: [] };
    let samples = 0;
    const answers = asked.map(client => this.ask(client, matchers, minT, untilOf(client.config, maxT, oldest), signal));
    for (const [i, answer] of (await Promise.allSettled(answers)).entries()) {
      signal?.throwIfAborted();
      if (answer.status === 'rejected') {
        const { name, url } = (asked[i] as RemoteReadClient).config;
        const why = answer.reason instanceof Error ? answer.reason.message : String(answer.reason);
        const message = `remote read from ${name === '' ? new URL(url).host : name} failed: ${why}`;
        fetched.warnings.push({ message, of: 'source' });
        continue;
      }
      for (const { labels, buffer } of answer.value) {
        samples += buffer.length + buffer.histogramLength;
        if (samples > maxSamples) throw tooManySamples(maxSamples);
        const key = labelsKey(labels);
        const before = fetched.series.get(key);
        if (before === undefined) fetched.series.set(key, { labels, buffer });
        else before.buffer = union(before.buffer, buffer);
      }
    }
    return fetched;
  }

  private async oldest(tenant: TenantId): Promise<number> {
    const now = this.deps.now();
    if (now - this.oldestAt > OLDEST_KEPT_MS) {
      this.oldestKnown = await this.deps.oldest(tenant);
      this.oldestAt = now;
    }
    return this.oldestKnown;
  }

  private async ask(
    client: RemoteReadClient,
    matchers: readonly Matcher[],
    minT: number,
    maxT: number,
    signal?: AbortSignal,
  ): Promise<RemoteSeries[]> {
    const added = client.config.filterExternalLabels
      ? [...this.externalLabels].filter(([name]) => !matchers.some(m => m.name === name))
      : [];
    const all: Matcher[] = [...matchers, ...added.map(([name, value]): Matcher => ({ name, op: '=', value }))];
    const series = await client.read(all, minT, maxT, signal);
    const names = new Set(added.map(([name]) => name));
    return series.map(s => ({ labels: names.size === 0 ? s.labels : dropLabels(s.labels, names), buffer: s.buffer }));
  }
}

function isAsked(config: RemoteReadConfig, matchers: readonly Matcher[], minT: number, oldest: number): boolean {
  for (const [name, value] of config.requiredMatchers) {
    if (!matchers.some(m => m.op === '=' && m.name === name && m.value === value)) return false;
  }
  return config.readRecent || minT < oldest;
}

/** Without read_recent only what is older than the own storage. */
function untilOf(config: RemoteReadConfig, maxT: number, oldest: number): number {
  return config.readRecent ? maxT : Math.min(maxT, oldest - 1);
}

function joined(own: readonly RawSeries[], { series }: Fetched): SampleSource {
  const all = new Map(series);
  for (const s of own) {
    const key = labelsKey(s.labels);
    const other = all.get(key);
    const buffer = bufferOf(s);
    all.set(key, { labels: s.labels, buffer: other === undefined ? buffer : union(buffer, other.buffer) });
  }
  const list = [...all.values()].map(s => ({ labels: s.labels, buffer: union(s.buffer, newSampleBuffer(0)) }));
  const select = async (_tenant: TenantId, request: { minT: number; maxT: number }): Promise<SeriesSet> => ({
    count: list.length,
    labels: i => (list[i] as (typeof list)[number]).labels,
    read: (i, into) => copyRange((list[i] as (typeof list)[number]).buffer, request.minT, request.maxT, into),
    infos: [],
    close: () => {},
  });
  // Leaves only select.
  return { select } as unknown as SampleSource;
}

function bufferOf(s: RawSeries): SampleBuffer {
  return {
    length: s.timestamps.length,
    timestamps: s.timestamps,
    values: s.values,
    numbers: 0,
    startTimestamps: s.startTimestamps,
    histogramLength: s.histogramTimestamps.length,
    histogramTimestamps: s.histogramTimestamps,
    histograms: s.histograms,
    histogramStartTimestamps: s.histogramStartTimestamps,
  };
}

/** Ascending, one sample per time: of `a` where both have one. Start timestamps are left out. */
export function union(a: SampleBuffer, b: SampleBuffer): SampleBuffer {
  const floats: [SampleBuffer, number][] = [];
  for (const buffer of [a, b]) for (let i = 0; i < buffer.length; i++) floats.push([buffer, i]);
  floats.sort(([x, i], [y, k]) => (x.timestamps[i] as number) - (y.timestamps[k] as number));
  const histograms: [SampleBuffer, number][] = [];
  for (const buffer of [a, b]) for (let i = 0; i < buffer.histogramLength; i++) histograms.push([buffer, i]);
  histograms.sort(([x, i], [y, k]) => (x.histogramTimestamps[i] as number) - (y.histogramTimestamps[k] as number));
  const out = newSampleBuffer(floats.length);
  const taken = new Set<number>();
  for (const [buffer, i] of histograms) {
    const t = buffer.histogramTimestamps[i] as number;
    if (taken.has(t)) continue;
    taken.add(t);
    out.histogramTimestamps[out.histogramLength] = t;
    out.histograms[out.histogramLength++] = buffer.histograms[i] as SampleBuffer['histograms'][number];
  }
  let last = -1;
  for (const [buffer, i] of floats) {
    const t = buffer.timestamps[i] as number;
    if (t === last || taken.has(t)) continue;
    last = t;
    out.timestamps[out.length] = t;
    out.values[out.length++] = buffer.values[i] as number;
  }
  return out;
}

function copyRange(from: SampleBuffer, minT: number, maxT: number, into: SampleBuffer): void {
  growSampleBuffer(into, from.length);
  into.length = into.numbers = into.histogramLength = 0;
  into.startTimestamps = into.histogramStartTimestamps = null;
  for (let i = 0; i < from.length; i++) {
    const t = from.timestamps[i] as number;
    if (t < minT || t > maxT) continue;
    into.timestamps[into.length] = t;
    into.values[into.length++] = from.values[i] as number;
  }
  for (let i = 0; i < from.histogramLength; i++) {
    const t = from.histogramTimestamps[i] as number;
    if (t < minT || t > maxT) continue;
    into.histogramTimestamps[into.histogramLength] = t;
    into.histograms[into.histogramLength++] = from.histograms[i] as SampleBuffer['histograms'][number];
  }
}
