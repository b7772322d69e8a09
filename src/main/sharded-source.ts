/**
 * ShardedSource: index questions (label names and values, series, exemplars, metadata) put to every shard and answered
 * as one. Samples are not read through it: those go shard by shard through leaves (contracts/leaf-source.ts).
 */
import type { ExemplarSeries, LabelRequest, LabelResult, SampleSource } from '../contracts/sample-source.ts';
import { compareStrings, type Labels, labelsKey } from '../model/labels.ts';
import type { MetadataEntry } from '../model/sample-batch.ts';
import type { TenantId } from '../model/tenant.ts';

export type IndexSource = Omit<SampleSource, 'select'>;

export class ShardedSource implements IndexSource {
  private readonly shards: readonly IndexSource[];

  constructor(shards: readonly IndexSource[]) {
    this.shards = shards;
  }

  async labelNames(tenant: TenantId, request: LabelRequest, signal?: AbortSignal): Promise<LabelResult> {
    return mergeValues(await Promise.all(this.shards.map(s => s.labelNames(tenant, request, signal))), request.limit);
  }

  async labelValues(tenant: TenantId, name: string, request: LabelRequest, signal?: AbortSignal): Promise<LabelResult> {
    const parts = await Promise.all(this.shards.map(s => s.labelValues(tenant, name, request, signal)));
    return mergeValues(parts, request.limit);
  }

  async series(
    tenant: TenantId,
    request: LabelRequest,
    signal?: AbortSignal,
  ): Promise<{ series: Labels[]; truncated: boolean }> {
    const parts = await Promise.all(this.shards.map(s => s.series(tenant, request, signal)));
    // A series lives in one shard, so there is nothing to de-duplicate.
    const series = parts.flatMap(p => p.series);
    const over = request.limit > 0 && series.length > request.limit;
    return { series: over ? series.slice(0, request.limit) : series, truncated: over || parts.some(p => p.truncated) };
  }

  async exemplars(tenant: TenantId, request: LabelRequest, signal?: AbortSignal): Promise<ExemplarSeries[]> {
    const parts = await Promise.all(this.shards.map(s => s.exemplars(tenant, request, signal)));
    const bySeries = new Map<string, ExemplarSeries>();
    for (const series of parts.flat()) {
      const key = labelsKey(series.labels);
      const known = bySeries.get(key);
      if (known === undefined) bySeries.set(key, series);
      else known.exemplars.push(...series.exemplars);
    }
    return [...bySeries.values()];
  }

  async metadata(tenant: TenantId, metric: string | null, limit: number): Promise<MetadataEntry[]> {
    const parts = await Promise.all(this.shards.map(s => s.metadata(tenant, metric, limit)));
    const seen = new Set<string>();
    return parts.flat().filter(entry => {
      const key = `${entry.metric}\0${entry.type}\0${entry.help}\0${entry.unit}`;
      if (seen.has(key)) return false;
      seen.add(key);
      return true;
    });
  }
}

function mergeValues(parts: readonly LabelResult[], limit: number): LabelResult {
  const first = parts[0];
  if (parts.length === 1 && first !== undefined) return first;
  const values = [...new Set(parts.flatMap(p => p.values))].sort(compareStrings);
  const over = limit > 0 && values.length > limit;
  return { values: over ? values.slice(0, limit) : values, truncated: over || parts.some(p => p.truncated) };
}
