/** What is known of metrics that go out: type, help and unit by metric name; bounded. */
import type { MetadataEntry } from '../../model/sample-batch.ts';

const ENTRIES_MAX = 100_000;
/** Series of a family carry its name and one of these. */
const SUFFIXES = ['_bucket', '_count', '_sum', '_total', '_created', '_info', '_gcount', '_gsum'];

/** Numbers of the types on the wire, 1.0 and 2.0 alike. */
const TYPES = ['unknown', 'counter', 'gauge', 'histogram', 'gaugehistogram', 'summary', 'info', 'stateset'];

export function metadataTypeNumber(type: string): number {
  return Math.max(0, TYPES.indexOf(type));
}

export class MetadataBook {
  private readonly byMetric = new Map<string, MetadataEntry>();

  get size(): number {
    return this.byMetric.size;
  }

  put(entry: MetadataEntry): void {
    if (this.byMetric.size < ENTRIES_MAX || this.byMetric.has(entry.metric)) this.byMetric.set(entry.metric, entry);
  }

  /** Of a series' metric name: its own, or its family's. */
  of(name: string): MetadataEntry | undefined {
    const own = this.byMetric.get(name);
    if (own !== undefined) return own;
    const suffix = SUFFIXES.find(s => name.endsWith(s));
    return suffix === undefined ? undefined : this.byMetric.get(name.slice(0, -suffix.length));
  }

  all(): MetadataEntry[] {
    return [...this.byMetric.values()];
  }
}
