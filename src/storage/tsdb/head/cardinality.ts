/** Where a tenant's series in the head come from: the lists of /api/v1/status/tsdb, from index counts alone. */
import type { LabelIndex } from './label-index.ts';

export interface NameCount {
  name: string;
  value: number;
}

export interface Cardinality {
  numSeries: number;
  numLabelPairs: number;
  seriesCountByMetricName: NameCount[];
  labelValueCountByLabelName: NameCount[];
  /** Bytes of the values' text, once per series that has them. */
  memoryInBytesByLabelName: NameCount[];
  seriesCountByLabelValuePair: NameCount[];
}

export function cardinality(index: LabelIndex, tenant: string, limit: number): Cardinality {
  const metrics = new Top(limit);
  const values = new Top(limit);
  const bytes = new Top(limit);
  const pairs = new Top(limit);
  let numLabelPairs = 0;
  const owner = index.tenant(tenant);
  if (owner !== undefined) {
    for (let n = owner.firstName - 1; n >= 0; n = index.nextName(n)) {
      const name = index.nameText(n);
      const count = index.pairCount(n);
      let size = 0;
      for (let p = index.firstPair(n); p >= 0; p = index.nextPair(p)) {
        const series = index.postings.count(p);
        const text = index.valueText(p);
        size += series * text.length;
        if (name === '__name__') metrics.offer(text, series);
        pairs.offer(`${name}=${text}`, series);
      }
      numLabelPairs += count;
      values.offer(name, count);
      bytes.offer(name, size);
    }
  }
  return {
    numSeries: owner?.seriesCount ?? 0,
    numLabelPairs,
    seriesCountByMetricName: metrics.list(),
    labelValueCountByLabelName: values.list(),
    memoryInBytesByLabelName: bytes.list(),
    seriesCountByLabelValuePair: pairs.list(),
  };
}

/** The largest few of many, without keeping the rest. */
class Top {
  private rows: NameCount[] = [];
  private readonly limit: number;
  private floor = -1;

  constructor(limit: number) {
    this.limit = limit;
  }

  offer(name: string, value: number): void {
    if (value <= this.floor) return;
    this.rows.push({ name, value });
    if (this.rows.length >= 2 * this.limit + 64) this.cut();
  }

  list(): NameCount[] {
    this.cut();
    return this.rows;
  }

  private cut(): void {
    this.rows.sort((a, b) => b.value - a.value || (a.name < b.name ? -1 : 1));
    if (this.rows.length <= this.limit) return;
    this.rows.length = this.limit;
    this.floor = (this.rows[this.limit - 1] as NameCount).value - 1;
  }
}
