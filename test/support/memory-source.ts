/**
 * MemorySource: the obvious SampleSource, one Map of series in plain arrays. It is the model that the real storage is
 * compared with, and what engine tests and the default promqltest run read from. Nothing here is clever: a sample at a
 * timestamp replaces the one that was there, whatever its kind.
 */
import { RE2JS } from 're2js';
import type {
  ExemplarSeries,
  LabelRequest,
  LabelResult,
  SampleBuffer,
  SampleSource,
  SelectRequest,
  SeriesSet,
} from '../../src/contracts/sample-source.ts';
import { growSampleBuffer } from '../../src/contracts/sample-source.ts';
import type { FloatHistogram } from '../../src/model/histogram.ts';
import { compareStrings, getLabel, type Labels, labelsKey } from '../../src/model/labels.ts';
import type { Matcher } from '../../src/model/matcher.ts';
import type { MetadataEntry } from '../../src/model/sample-batch.ts';
import { putStale } from '../../src/model/stale.ts';
import type { TenantId } from '../../src/model/tenant.ts';

export interface MemorySample {
  t: number;
  /** Staleness markers cannot travel as bare numbers. */
  stale?: boolean;
  value?: number;
  histogram?: FloatHistogram;
  startTimestamp?: number;
}

interface MemorySeries {
  labels: Labels;
  /** Ascending by time, one per timestamp. */
  samples: MemorySample[];
}

export class MemorySource implements SampleSource {
  private readonly tenants = new Map<TenantId, Map<string, MemorySeries>>();
  private readonly metadataEntries: MetadataEntry[] = [];

  append(tenant: TenantId, labels: Labels, samples: readonly MemorySample[]): void {
    let series = this.tenants.get(tenant);
    if (series === undefined) {
      series = new Map();
      this.tenants.set(tenant, series);
    }
    const key = labelsKey(labels);
    let entry = series.get(key);
    if (entry === undefined) {
      entry = { labels, samples: [] };
      series.set(key, entry);
    }
    for (const sample of samples) {
      const list = entry.samples;
      const last = list[list.length - 1];
      if (last === undefined || last.t < sample.t) {
        list.push(sample);
        continue;
      }
      const at = list.findIndex(s => s.t >= sample.t);
      if ((list[at] as MemorySample).t === sample.t) list[at] = sample;
      else list.splice(at, 0, sample);
    }
  }

  addMetadata(entry: MetadataEntry): void {
    this.metadataEntries.push(entry);
  }

  clear(): void {
    this.tenants.clear();
  }

  async select(tenant: TenantId, request: SelectRequest, signal?: AbortSignal): Promise<SeriesSet> {
    signal?.throwIfAborted();
    const found = this.matching(tenant, request.matchers).filter(s =>
      s.samples.some(p => p.t >= request.minT && p.t <= request.maxT),
    );
    return {
      count: found.length,
      labels: i => (found[i] as MemorySeries).labels,
      read: (i, into) => readInto((found[i] as MemorySeries).samples, request.minT, request.maxT, into),
      infos: [],
      close: () => {},
    };
  }

  async labelNames(tenant: TenantId, request: LabelRequest): Promise<LabelResult> {
    const names = new Set<string>();
    for (const s of this.alternatives(tenant, request)) {
      for (let i = 0; i < s.labels.length; i += 2) names.add(s.labels[i] as string);
    }
    return limited([...names], request.limit);
  }

  async labelValues(tenant: TenantId, name: string, request: LabelRequest): Promise<LabelResult> {
    const values = new Set<string>();
    for (const s of this.alternatives(tenant, request)) {
      const v = getLabel(s.labels, name);
      if (v !== '') values.add(v);
    }
    return limited([...values], request.limit);
  }

  async series(tenant: TenantId, request: LabelRequest): Promise<{ series: Labels[]; truncated: boolean }> {
    const all = this.alternatives(tenant, request).map(s => s.labels);
    const truncated = request.limit > 0 && all.length > request.limit;
    return { series: truncated ? all.slice(0, request.limit) : all, truncated };
  }

  async exemplars(): Promise<ExemplarSeries[]> {
    return [];
  }

  async metadata(_tenant: TenantId, metric: string | null, limit: number): Promise<MetadataEntry[]> {
    const found = this.metadataEntries.filter(e => metric === null || e.metric === metric);
    return limit > 0 ? found.slice(0, limit) : found;
  }

  private matching(tenant: TenantId, matchers: readonly Matcher[]): MemorySeries[] {
    const tests = matchers.map(m => ({ name: m.name, test: matcherTest(m) }));
    const out: MemorySeries[] = [];
    for (const s of this.tenants.get(tenant)?.values() ?? []) {
      if (tests.every(m => m.test(getLabel(s.labels, m.name)))) out.push(s);
    }
    return out;
  }

  private alternatives(tenant: TenantId, request: LabelRequest): MemorySeries[] {
    const sets = request.matcherSets.length === 0 ? [[]] : request.matcherSets;
    const found = new Set<MemorySeries>();
    for (const set of sets) for (const s of this.matching(tenant, set)) found.add(s);
    return [...found].filter(s => s.samples.some(p => p.t >= request.minT && p.t <= request.maxT));
  }
}

function limited(values: string[], limit: number): LabelResult {
  values.sort(compareStrings);
  const truncated = limit > 0 && values.length > limit;
  return { values: truncated ? values.slice(0, limit) : values, truncated };
}

export function matcherTest(matcher: Matcher): (value: string) => boolean {
  if (matcher.op === '=') return v => v === matcher.value;
  if (matcher.op === '!=') return v => v !== matcher.value;
  const pattern = RE2JS.compile(`^(?s:${matcher.value})$`);
  return matcher.op === '=~' ? v => pattern.test(v) : v => !pattern.test(v);
}

function readInto(samples: readonly MemorySample[], minT: number, maxT: number, into: SampleBuffer): void {
  into.length = 0;
  into.histogramLength = 0;
  const anyStart = samples.some(s => s.startTimestamp !== undefined && s.startTimestamp !== 0);
  growSampleBuffer(into, samples.length);
  into.startTimestamps = anyStart ? new Float64Array(into.timestamps.length) : null;
  into.histogramStartTimestamps = anyStart ? [] : null;
  for (const s of samples) {
    if (s.t < minT || s.t > maxT) continue;
    if (s.histogram !== undefined) {
      const i = into.histogramLength++;
      into.histogramTimestamps[i] = s.t;
      into.histograms[i] = s.histogram;
      if (into.histogramStartTimestamps !== null) into.histogramStartTimestamps[i] = s.startTimestamp ?? 0;
      continue;
    }
    const i = into.length++;
    into.timestamps[i] = s.t;
    if (s.stale === true) putStale(into.values, i);
    else into.values[i] = s.value ?? 0;
    if (into.startTimestamps !== null) into.startTimestamps[i] = s.startTimestamp ?? 0;
  }
}
