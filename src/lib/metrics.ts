/**
 * Metrics: this process' own counters, gauges and histograms.
 *
 * Values lie in pages of float64; a child (one label combination) holds its page and slot, so that bumping one is an
 * add to a typed array. Children are made once and kept by whoever bumps them: `labels(...)` costs a Map lookup and is
 * not for hot loops. Registries of other threads are joined in as snapshots (plain data that can be cloned), under the
 * family of the same name.
 *
 * `gather` gives all families; `formatExposition` writes them in the text format 0.0.4.
 */

export type MetricType = 'counter' | 'gauge' | 'histogram';

/** One family at one time, as plain data. */
export interface FamilySnapshot {
  name: string;
  type: MetricType;
  help: string;
  samples: SampleSnapshot[];
}

export interface SampleSnapshot {
  /** Full name: the family's, or with _bucket, _sum, _count. */
  name: string;
  /** Flat [name, value, ...], sorted by name, without __name__. */
  labels: readonly string[];
  value: number;
}

export type SnapshotSource = () => FamilySnapshot[] | Promise<FamilySnapshot[]>;

const PAGE_SLOTS = 512;

/** Label combinations one family may have; more are counted under the label value "other". */
const CHILDREN_MAX = 2000;

/** Seconds: from a cache hit to a query's deadline. */
export const LATENCY_BUCKETS: readonly number[] = Object.freeze([
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
]);

export class MetricsRegistry {
  private readonly families = new Map<string, Family<Child>>();
  private readonly collectors: (() => void)[] = [];
  private readonly sources: { source: SnapshotSource; labels: readonly string[] }[] = [];
  private page = new Float64Array(PAGE_SLOTS);
  private used = 0;

  counter(name: string, help: string): Counter;
  counter<N extends string>(name: string, help: string, labelNames: readonly N[]): Family<Counter, N>;
  counter(name: string, help: string, labelNames: readonly string[] = []): Counter | Family<Counter> {
    const family = this.family(name, 'counter', help, labelNames, labels => new Counter(labels, ...this.slots(1)));
    return labelNames.length === 0 ? family.labels() : family;
  }

  gauge(name: string, help: string): Gauge;
  gauge<N extends string>(name: string, help: string, labelNames: readonly N[]): Family<Gauge, N>;
  gauge(name: string, help: string, labelNames: readonly string[] = []): Gauge | Family<Gauge> {
    const family = this.family(name, 'gauge', help, labelNames, labels => new Gauge(labels, ...this.slots(1)));
    return labelNames.length === 0 ? family.labels() : family;
  }

  histogram(name: string, help: string, bounds: readonly number[]): Histogram;
  histogram<N extends string>(
    name: string,
    help: string,
    bounds: readonly number[],
    labelNames: readonly N[],
  ): Family<Histogram, N>;
  histogram(
    name: string,
    help: string,
    bounds: readonly number[],
    labelNames: readonly string[] = [],
  ): Histogram | Family<Histogram> {
    const make = (labels: readonly string[]): Histogram =>
      new Histogram(labels, bounds, ...this.slots(bounds.length + 2));
    const family = this.family(name, 'histogram', help, labelNames, make);
    return labelNames.length === 0 ? family.labels() : family;
  }

  /** Called before each gathering, to set gauges that are cheaper to read than to keep. */
  onCollect(fn: () => void): void {
    this.collectors.push(fn);
  }

  /**
   * Joins in the families of another thread or part. `labels` (flat, [name, value]) are put on each of its samples: threads that
   * count the same thing must differ in one. A source that fails is left out this time.
   */
  addSource(source: SnapshotSource, labels: readonly string[] = []): void {
    this.sources.push({ source, labels });
  }

  /** This registry alone. */
  snapshot(): FamilySnapshot[] {
    for (const collect of this.collectors) collect();
    return [...this.families.values()].map(family => family.snapshot());
  }

  /** This registry and all sources, families of one name joined, ordered by name. */
  async gather(): Promise<FamilySnapshot[]> {
    const all = this.snapshot();
    const others = await Promise.allSettled(
      this.sources.map(async ({ source, labels }) => labelled(await source(), labels)),
    );
    for (const other of others) if (other.status === 'fulfilled') all.push(...other.value);
    const byName = new Map<string, FamilySnapshot>();
    for (const family of all) {
      const seen = byName.get(family.name);
      if (seen === undefined) byName.set(family.name, { ...family, samples: [...family.samples] });
      else for (const sample of family.samples) seen.samples.push(sample);
    }
    return [...byName.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  private family<C extends Child>(
    name: string,
    type: MetricType,
    help: string,
    labelNames: readonly string[],
    make: (labels: readonly string[]) => C,
  ): Family<C> {
    const known = this.families.get(name);
    if (known !== undefined) {
      if (known.type !== type || known.labelNames.join() !== labelNames.join()) {
        throw new Error(`BUG: metric ${name} is registered twice with different types or labels`);
      }
      return known as unknown as Family<C>;
    }
    const family = new Family<C>(name, type, help, labelNames, make);
    this.families.set(name, family as unknown as Family<Child>);
    return family;
  }

  private slots(count: number): [Float64Array, number] {
    if (count > PAGE_SLOTS) throw new Error(`BUG: a histogram has ${count - 2} buckets`);
    if (this.used + count > PAGE_SLOTS) {
      this.page = new Float64Array(PAGE_SLOTS);
      this.used = 0;
    }
    const at = this.used;
    this.used += count;
    return [this.page, at];
  }
}

interface Child {
  collect(name: string, into: SampleSnapshot[]): void;
}

export class Family<C extends Child, N extends string = string> {
  readonly name: string;
  readonly type: MetricType;
  readonly labelNames: readonly N[];
  private readonly help: string;
  private readonly make: (labels: readonly string[]) => C;
  private readonly children = new Map<string, C>();

  constructor(
    name: string,
    type: MetricType,
    help: string,
    labelNames: readonly N[],
    make: (labels: readonly string[]) => C,
  ) {
    this.name = name;
    this.type = type;
    this.help = help;
    this.labelNames = labelNames;
    this.make = make;
  }

  /** The child with these label values, in the order of the family's label names. */
  labels(...values: string[]): C {
    const key = values.join('\u0000');
    const known = this.children.get(key);
    if (known !== undefined) return known;
    if (values.length !== this.labelNames.length) {
      throw new Error(`BUG: metric ${this.name} has labels ${this.labelNames.join(', ')}, got ${values.length} values`);
    }
    if (this.children.size >= CHILDREN_MAX && values.some(value => value !== 'other')) {
      return this.labels(...values.map(() => 'other'));
    }
    const child = this.make(sortedPairs(this.labelNames, values));
    this.children.set(key, child);
    return child;
  }

  /** Forgets all children: for families that are set anew as a whole. */
  clear(): void {
    this.children.clear();
  }

  snapshot(): FamilySnapshot {
    const samples: SampleSnapshot[] = [];
    for (const child of this.children.values()) child.collect(this.name, samples);
    return { name: this.name, type: this.type, help: this.help, samples };
  }
}

export class Counter {
  private readonly labels: readonly string[];
  private readonly page: Float64Array;
  private readonly at: number;

  constructor(labels: readonly string[], page: Float64Array, at: number) {
    this.labels = labels;
    this.page = page;
    this.at = at;
  }

  get value(): number {
    return this.page[this.at] as number;
  }

  inc(by = 1): void {
    this.page[this.at] = (this.page[this.at] as number) + by;
  }

  /** For counters that something else counts (the kernel, the run time) and we mirror. */
  mirror(total: number): void {
    this.page[this.at] = total;
  }

  collect(name: string, into: SampleSnapshot[]): void {
    into.push({ name, labels: this.labels, value: this.value });
  }
}

export class Gauge {
  private readonly labels: readonly string[];
  private readonly page: Float64Array;
  private readonly at: number;

  constructor(labels: readonly string[], page: Float64Array, at: number) {
    this.labels = labels;
    this.page = page;
    this.at = at;
  }

  get value(): number {
    return this.page[this.at] as number;
  }

  set(value: number): void {
    this.page[this.at] = value;
  }

  add(by: number): void {
    this.page[this.at] = (this.page[this.at] as number) + by;
  }

  collect(name: string, into: SampleSnapshot[]): void {
    into.push({ name, labels: this.labels, value: this.value });
  }
}

/** Slots: one count per bucket (not cumulative), the overflow bucket, the sum. */
export class Histogram {
  private readonly labels: readonly string[];
  private readonly bounds: readonly number[];
  private readonly page: Float64Array;
  private readonly at: number;

  constructor(labels: readonly string[], bounds: readonly number[], page: Float64Array, at: number) {
    this.labels = labels;
    this.bounds = bounds;
    this.page = page;
    this.at = at;
  }

  observe(value: number): void {
    const bounds = this.bounds;
    let i = 0;
    while (i < bounds.length && value > (bounds[i] as number)) i++;
    this.page[this.at + i] = (this.page[this.at + i] as number) + 1;
    const sum = this.at + bounds.length + 1;
    this.page[sum] = (this.page[sum] as number) + value;
  }

  collect(name: string, into: SampleSnapshot[]): void {
    let total = 0;
    for (let i = 0; i <= this.bounds.length; i++) {
      total += this.page[this.at + i] as number;
      const bound = i < this.bounds.length ? formatValue(this.bounds[i] as number) : '+Inf';
      into.push({ name: `${name}_bucket`, labels: insertLabel(this.labels, 'le', bound), value: total });
    }
    into.push({
      name: `${name}_sum`,
      labels: this.labels,
      value: this.page[this.at + this.bounds.length + 1] as number,
    });
    into.push({ name: `${name}_count`, labels: this.labels, value: total });
  }
}

/** The text exposition format, version 0.0.4. */
export function formatExposition(families: readonly FamilySnapshot[]): string {
  let out = '';
  for (const family of families) {
    if (family.samples.length === 0) continue;
    out += `# HELP ${family.name} ${family.help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}\n`;
    out += `# TYPE ${family.name} ${family.type}\n`;
    for (const sample of family.samples)
      out += `${sample.name}${formatPairs(sample.labels)} ${formatValue(sample.value)}\n`;
  }
  return out;
}

function formatPairs(labels: readonly string[]): string {
  if (labels.length === 0) return '';
  let out = '{';
  for (let i = 0; i < labels.length; i += 2) {
    const value = (labels[i + 1] as string).replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
    out += `${i === 0 ? '' : ','}${labels[i]}="${value}"`;
  }
  return `${out}}`;
}

function formatValue(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return '+Inf';
  if (value === Number.NEGATIVE_INFINITY) return '-Inf';
  return String(value);
}

function sortedPairs(names: readonly string[], values: readonly string[]): readonly string[] {
  return names
    .map((name, i): [string, string] => [name, values[i] as string])
    .sort((a, b) => (a[0] < b[0] ? -1 : 1))
    .flat();
}

function labelled(families: FamilySnapshot[], labels: readonly string[]): FamilySnapshot[] {
  const [name, value] = labels;
  if (name === undefined || value === undefined) return families;
  return families.map(family => ({
    ...family,
    samples: family.samples.map(sample => ({ ...sample, labels: insertLabel(sample.labels, name, value) })),
  }));
}

function insertLabel(labels: readonly string[], name: string, value: string): readonly string[] {
  const out: string[] = [];
  let placed = false;
  for (let i = 0; i < labels.length; i += 2) {
    if (!placed && name < (labels[i] as string)) {
      out.push(name, value);
      placed = true;
    }
    out.push(labels[i] as string, labels[i + 1] as string);
  }
  if (!placed) out.push(name, value);
  return out;
}
