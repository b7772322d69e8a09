/**
 * The cardinality explorer's walks over a head: over its series (counting pairs and targets), then over its pairs; and over all
 * label sets, to see what relabel rules would make of them.
 *
 * A walk is by number, refs and pair ids, in slices between which the head goes on: what comes or goes meanwhile is counted or
 * not, and nothing is held. Counts are a column by pair id: some 10 ns per label of a series.
 */
import type { CardinalityPart, CardinalityScope, SavingsPart } from '../../../contracts/cardinality.ts';
import { DistinctSketch, hashText } from '../../../lib/distinct-sketch.ts';
import { TimeSlice } from '../../../lib/yield.ts';
import { METRIC_NAME } from '../../../model/labels.ts';
import type { Tenant } from './label-index.ts';
import { ALIVE, NO_PAGE, PAGE_MASK, PAGE_SHIFT, type SeriesPage } from './series-table.ts';
import type { HeadStore } from './store.ts';

/** Steps between two looks at the clock. */
const STEPS = 256;
/** Shards keep more rows than are asked for, so that what is large in all together is not lost. */
const SPARE_ROWS = 200;
/** Targets that are told apart. */
const TARGETS_MAX = 200_000;
/** Pair ids are below this (label-index.ts). */
const PAIR_IDS = 2 ** 26;
/** Identities that one shard hands over: 4 MB. */
const IDENTITIES_MAX = 500_000;
/** Texts of pairs kept while label sets are made. */
const TEXTS_MAX = 200_000;

export async function explore(store: HeadStore, tenantId: string, scope: CardinalityScope): Promise<CardinalityPart> {
  const out: CardinalityPart = { series: 0, metrics: [], labels: [], pairs: [], values: [], targets: [] };
  const tenant = store.index.tenant(tenantId);
  if (tenant === undefined) return out;
  const counts = new Uint32Array(store.index.pairIdsEnd);
  const targets = await countSeries(store, tenant, scope, counts, out);
  const { index } = store;
  const rows = scope.limit + SPARE_ROWS;
  out.targets = largest([...targets], rows).map(([key, series]) => {
    const job = Math.floor(key / PAIR_IDS) - 1;
    const instance = (key % PAIR_IDS) - 1;
    const text = (pair: number): string => (pair >= 0 && index.isPairAlive(pair) ? index.valueText(pair) : '');
    return { job: text(job), instance: text(instance), series };
  });
  await listPairs(store, tenant, scope, counts, out, rows);
  return out;
}

/** Counts the scope's series by pair; returns them by target: (job pair + 1) * PAIR_IDS + instance pair + 1. */
async function countSeries(
  store: HeadStore,
  tenant: Tenant,
  scope: CardinalityScope,
  counts: Uint32Array,
  out: CardinalityPart,
): Promise<Map<number, number>> {
  const { index, table } = store;
  const job = index.findName(tenant, 'job');
  const instance = index.findName(tenant, 'instance');
  const label = scope.label === '' ? -1 : index.findName(tenant, scope.label);
  const metricName = scope.metric === '' ? -1 : index.findName(tenant, METRIC_NAME);
  const metric = metricName < 0 ? -1 : index.findPair(metricName, scope.metric);
  const targets = new Map<number, number>();
  if ((scope.label !== '' && label < 0) || (scope.metric !== '' && metric < 0)) return targets;
  const slice = new TimeSlice();
  for (let ref = 0; ref < table.end; ref++) {
    if (ref % STEPS === 0 && slice.due()) await slice.pause();
    const page = table.pages[ref >>> PAGE_SHIFT] as SeriesPage;
    if (page === NO_PAGE) {
      ref |= PAGE_MASK;
      continue;
    }
    const slot = ref & PAGE_MASK;
    if (((page.flags[slot] as number) & ALIVE) === 0 || page.tenant[slot] !== tenant.index) continue;
    const list = page.labels[slot] as number;
    if (metric >= 0 && !index.hasPair(list, metric)) continue;
    if (label >= 0 && index.pairOf(list, label) < 0) continue;
    out.series++;
    const n = index.lists.get(list);
    let jobPair = -1;
    let instancePair = -1;
    for (let i = 1; i <= n; i++) {
      const pair = index.lists.get(list + i);
      if (pair < counts.length) counts[pair] = (counts[pair] as number) + 1;
      const name = index.nameOfPair(pair);
      if (name === job) jobPair = pair;
      else if (name === instance) instancePair = pair;
    }
    const key = (jobPair + 1) * PAIR_IDS + instancePair + 1;
    const known = targets.get(key);
    if (known !== undefined) targets.set(key, known + 1);
    else if (targets.size < TARGETS_MAX) targets.set(key, 1);
  }
  return targets;
}

async function listPairs(
  store: HeadStore,
  tenant: Tenant,
  scope: CardinalityScope,
  counts: Uint32Array,
  out: CardinalityPart,
  rows: number,
): Promise<void> {
  const { index } = store;
  const pairs = new Largest<{ label: string; value: string; series: number }>(rows);
  const metrics = new Largest<{ name: string; series: number }>(rows);
  const values = new Largest<{ value: string; series: number }>(rows);
  const labels = new Map<string, { name: string; series: number; values: number; sketch: DistinctSketch }>();
  const slice = new TimeSlice();
  for (let pair = 0; pair < counts.length; pair++) {
    if (pair % STEPS === 0 && slice.due()) await slice.pause();
    const series = counts[pair] as number;
    if (series === 0 || !index.isPairAlive(pair) || index.tenantOfPair(pair) !== tenant.index) continue;
    const name = index.nameText(index.nameOfPair(pair));
    const value = index.valueText(pair);
    let label = labels.get(name);
    if (label === undefined) {
      label = { name, series: 0, values: 0, sketch: new DistinctSketch() };
      labels.set(name, label);
    }
    label.series += series;
    label.values++;
    label.sketch.add(hashText(value));
    if (name !== METRIC_NAME) pairs.offer(series, () => ({ label: name, value, series }));
    else metrics.offer(series, () => ({ name: value, series }));
    if (name === scope.label) values.offer(series, () => ({ value, series }));
  }
  out.pairs = pairs.list();
  out.metrics = metrics.list();
  out.values = values.list();
  out.labels = [...labels.values()]
    .sort((a, b) => b.values - a.values)
    .slice(0, rows)
    .map(({ name, series, values: n, sketch }) => ({ name, series, values: n, sketch: sketch.smallest() }));
}

/**
 * Puts every active series' labels through `relabel` (in place; false = dropped), in an order that makes a part of them a fair
 * sample, until `isOver`.
 */
export async function savings(
  store: HeadStore,
  tenantId: string,
  relabel: (labels: Map<string, string>) => boolean,
  isOver: () => boolean,
): Promise<SavingsPart> {
  const tenant = store.index.tenant(tenantId);
  const left = new Identities();
  const out: SavingsPart = {
    total: tenant?.seriesCount ?? 0,
    looked: 0,
    dropped: 0,
    changed: 0,
    identities: new Uint32Array(0),
    mask: 0,
    metrics: [],
  };
  if (tenant === undefined) return out;
  const metrics = new Map<string, SavingsPart['metrics'][number]>();
  const texts = new PairTexts(store);
  const { table } = store;
  const end = table.end;
  const step = strideFor(end);
  const labels = new Map<string, string>();
  const slice = new TimeSlice();
  for (let n = 0, ref = 0; n < end; n++, ref = (ref + step) % end) {
    if (n % 16 === 0 && slice.due()) {
      if (isOver()) break;
      await slice.pause();
      texts.forget();
    }
    const page = table.pages[ref >>> PAGE_SHIFT] as SeriesPage;
    const slot = ref & PAGE_MASK;
    if (((page.flags[slot] as number) & ALIVE) === 0 || page.tenant[slot] !== tenant.index) continue;
    labels.clear();
    texts.read(page.labels[slot] as number, labels);
    out.looked++;
    const metric = labels.get(METRIC_NAME) ?? '';
    let row = metrics.get(metric);
    if (row === undefined) {
      row = { name: metric, before: 0, dropped: 0, changed: 0 };
      metrics.set(metric, row);
    }
    row.before++;
    const before = identityOf(labels);
    if (!relabel(labels) || (labels.get(METRIC_NAME) ?? '') === '') {
      out.dropped++;
      row.dropped++;
      continue;
    }
    const after = identityOf(labels);
    if (before[0] !== after[0] || before[1] !== after[1]) {
      out.changed++;
      row.changed++;
    }
    left.add(after[0], after[1]);
  }
  out.identities = left.list();
  out.mask = left.mask;
  out.metrics = [...metrics.values()]
    .filter(m => m.dropped + m.changed > 0)
    .sort((a, b) => b.dropped + b.changed - a.dropped - a.changed)
    .slice(0, SPARE_ROWS);
  return out;
}

/** Of a label set in any order: the sum of its labels' hashes. */
function identityOf(labels: ReadonlyMap<string, string>): [number, number] {
  let a = 0;
  let b = 0;
  for (const [name, value] of labels) {
    const h = hashText(name);
    a = (a + hashText(value, h)) | 0;
    b = (b + hashText(value, h ^ 0x5bd1e995)) | 0;
  }
  return [a >>> 0, b >>> 0];
}

/** Identities, or where there are too many those with zeros in some bits. */
class Identities {
  mask = 0;
  private words = new Uint32Array(1 << 12);
  private length = 0;

  add(a: number, b: number): void {
    if ((a & this.mask) !== 0) return;
    if (this.length === this.words.length) this.makeRoom();
    if ((a & this.mask) !== 0) return;
    this.words[this.length++] = a;
    this.words[this.length++] = b;
  }

  list(): Uint32Array {
    return this.words.slice(0, this.length);
  }

  private makeRoom(): void {
    if (this.length < IDENTITIES_MAX * 2) {
      const words = new Uint32Array(this.words.length * 2);
      words.set(this.words);
      this.words = words;
      return;
    }
    this.mask = this.mask * 2 + 1;
    let to = 0;
    for (let i = 0; i < this.length; i += 2) {
      if (((this.words[i] as number) & this.mask) !== 0) continue;
      this.words[to++] = this.words[i] as number;
      this.words[to++] = this.words[i + 1] as number;
    }
    this.length = to;
  }
}

/** Label sets as text; pairs that many series share are read once. */
class PairTexts {
  private readonly store: HeadStore;
  private readonly known = new Map<number, readonly [string, string]>();

  constructor(store: HeadStore) {
    this.store = store;
  }

  /** Pairs may be others' when the head has gone on. */
  forget(): void {
    this.known.clear();
  }

  read(list: number, into: Map<string, string>): void {
    const { index } = this.store;
    const n = index.lists.get(list);
    for (let i = 1; i <= n; i++) {
      const pair = index.lists.get(list + i);
      let text = this.known.get(pair);
      if (text === undefined) {
        text = [index.nameText(index.nameOfPair(pair)), index.valueText(pair)];
        // A value of one series only will not be asked for again.
        if (this.known.size < TEXTS_MAX && index.postings.count(pair) > 1) this.known.set(pair, text);
      }
      into.set(text[0], text[1]);
    }
  }
}

/** A step that comes past every number below `end` once, in an order that follows nothing. */
function strideFor(end: number): number {
  let step = Math.max(1, Math.floor(end * 0.6180339887));
  while (gcd(step, end) !== 1) step++;
  return step;
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}

function largest(rows: [number, number][], n: number): [number, number][] {
  return rows.sort((a, b) => b[1] - a[1]).slice(0, n);
}

/** The rows of the largest few numbers. */
class Largest<T> {
  private rows: { n: number; row: T }[] = [];
  private floor = 0;
  private readonly max: number;

  constructor(max: number) {
    this.max = max;
  }

  offer(n: number, row: () => T): void {
    if (n <= this.floor) return;
    this.rows.push({ n, row: row() });
    if (this.rows.length >= this.max * 2 + 64) this.cut();
  }

  list(): T[] {
    this.cut();
    return this.rows.map(r => r.row);
  }

  private cut(): void {
    this.rows.sort((a, b) => b.n - a.n);
    if (this.rows.length < this.max) return;
    this.rows.length = this.max;
    this.floor = this.rows[this.max - 1]?.n ?? 0;
  }
}
