/**
 * HeadFlush: what a flush to blocks reads: in-order samples up to a time and out-of-order rows up to a row number, neither of
 * which can change any more while the flush lasts.
 *
 * Series come in block order (metric name, then identity hash as unsigned words) in slices of a few thousand, sorted as they
 * are reached: grouping yields empty slices in between and a metric is split by the first byte of the hash before it is
 * sorted, so that the caller can give the event loop a turn every few milliseconds even with a million series.
 */
import type { SampleBuffer } from '../../../contracts/sample-source.ts';
import { compareStrings, type Labels, METRIC_NAME } from '../../../model/labels.ts';
import type { Tenant } from './label-index.ts';
import { NO_REF } from './ooo-log.ts';
import type { HeadReader, ReadBounds } from './reader.ts';
import { ALIVE, HAS_OOO, NO_PAGE, PAGE_MASK, PAGE_REFS, PAGE_SHIFT, type SeriesPage } from './series-table.ts';
import { type HeadStore, WINDOW_MS } from './store.ts';

export interface FlushTenant {
  tenant: string;
  /** Starts of the windows of WINDOW_MS in which the tenant has samples to flush, ascending, ms. */
  windows: number[];
}

/** A metric with more series is split before sorting. */
const SORT_MAX = 4096;
const GROUP_SLICE = 1 << 15;

export class HeadFlush {
  readonly maxT: number;
  readonly oooMark: number;
  private readonly store: HeadStore;
  private readonly reader: HeadReader;
  private readonly bounds: ReadBounds;

  constructor(store: HeadStore, reader: HeadReader, maxT: number) {
    this.store = store;
    this.reader = reader;
    this.maxT = maxT;
    this.oooMark = store.ooo.end;
    this.bounds = { floorT: store.floorT, ceilingT: maxT, oooFirst: store.oooFloor, oooEnd: this.oooMark };
  }

  /** Tenants that have something to flush. */
  tenants(): FlushTenant[] {
    const { store } = this;
    const windows = store.windows.map(set => {
      const own = new Set<number>();
      for (const w of set) if (w * WINDOW_MS <= this.maxT && (w + 1) * WINDOW_MS > store.floorT) own.add(w);
      return own;
    });
    this.addTails(windows);
    this.addRows(windows);
    const out: FlushTenant[] = [];
    for (let i = 0; i < windows.length; i++) {
      const own = windows[i] as Set<number>;
      if (own.size === 0) continue;
      const starts = [...own].map(w => w * WINDOW_MS).sort((a, b) => a - b);
      out.push({ tenant: (store.index.tenants[i] as Tenant).id, windows: starts });
    }
    return out;
  }

  private addTails(windows: readonly Set<number>[]): void {
    const { table, histogramTails, floorT } = this.store;
    for (let p = 0; p < table.pages.length; p++) {
      const page = table.pages[p] as SeriesPage;
      if (page === NO_PAGE) continue;
      const n = Math.min(PAGE_REFS, table.end - p * PAGE_REFS);
      for (let slot = 0; slot < n; slot++) {
        const count = page.count[slot] as number;
        if (count === 0 || (page.base[slot] as number) > this.maxT || (page.lastT[slot] as number) < floorT) continue;
        const own = windows[page.tenant[slot] as number] as Set<number>;
        for (let k = 0; k < count; k++) {
          const t = (page.base[slot] as number) + (page.deltas[k * PAGE_REFS + slot] as number);
          if (t >= floorT && t <= this.maxT) own.add(Math.floor(t / WINDOW_MS));
        }
      }
    }
    for (const [ref, tail] of histogramTails.entries()) {
      if (tail.minT > this.maxT || tail.maxT < floorT) continue;
      const own = windows[this.store.page(ref).tenant[ref & PAGE_MASK] as number] as Set<number>;
      const first = Math.floor(Math.max(tail.minT, floorT) / WINDOW_MS);
      const last = Math.floor(Math.min(tail.maxT, this.maxT) / WINDOW_MS);
      for (let w = first; w <= last; w++) own.add(w);
    }
  }

  private addRows(windows: readonly Set<number>[]): void {
    const { ooo, oooFloor, table } = this.store;
    for (let row = oooFloor; row < this.oooMark; row++) {
      const ref = ooo.refAt(row);
      if (ref === NO_REF || !table.isAlive(ref)) continue;
      const own = windows[this.store.page(ref).tenant[ref & PAGE_MASK] as number] as Set<number>;
      own.add(Math.floor(ooo.timestampAt(row) / WINDOW_MS));
    }
  }

  /** The tenant's series that may have samples in [minT, maxT], in block order, in slices; empty slices are pauses. */
  *series(tenant: string, minT: number, maxT: number): Generator<FlushSlice, void, void> {
    const { store } = this;
    const owner = store.index.tenant(tenant);
    if (owner === undefined) return;
    const name = store.index.findName(owner, METRIC_NAME);
    const refs = this.candidates(owner, minT);
    const groups = new Map<number, number[]>();
    for (let i = 0; i < refs.length; i++) {
      const ref = refs[i] as number;
      const list = store.page(ref).labels[ref & PAGE_MASK] as number;
      const pair = name < 0 ? -1 : store.index.pairOf(list, name);
      const group = groups.get(pair);
      if (group === undefined) groups.set(pair, [ref]);
      else group.push(ref);
      if (i % GROUP_SLICE === GROUP_SLICE - 1) yield this.slice([], minT, maxT);
    }
    const order = [...groups.keys()].map(pair => ({ pair, text: pair < 0 ? '' : store.index.valueText(pair) }));
    order.sort((a, b) => compareStrings(a.text, b.text));
    for (const { pair } of order) {
      for (const part of this.split(groups.get(pair) as number[])) {
        part.sort((a, b) => this.compare(a, b));
        yield this.slice(part, minT, maxT);
      }
    }
  }

  private slice(refs: readonly number[], minT: number, maxT: number): FlushSlice {
    return new FlushSlice(this.store, this.reader, this.bounds, refs, minT, maxT);
  }

  private candidates(tenant: Tenant, minT: number): Uint32Array {
    const { allSeries } = this.store.index;
    const { table, floorT } = this.store;
    const refs = new Uint32Array(allSeries.count(tenant.index));
    allSeries.copy(tenant.index, refs, 0);
    const from = Math.max(minT, floorT);
    let kept = 0;
    for (let i = 0; i < refs.length; i++) {
      const ref = refs[i] as number;
      const page = table.pages[ref >>> PAGE_SHIFT] as SeriesPage;
      const flags = page.flags[ref & PAGE_MASK] as number;
      if ((flags & ALIVE) === 0) continue;
      if ((flags & HAS_OOO) !== 0 || (page.lastT[ref & PAGE_MASK] as number) >= from) refs[kept++] = ref;
    }
    return refs.subarray(0, kept);
  }

  /** A large group, by the first byte of the hash. */
  private split(refs: number[]): number[][] {
    if (refs.length <= SORT_MAX) return [refs];
    const parts: number[][] = Array.from({ length: 256 }, () => []);
    for (const ref of refs) (parts[this.store.table.hashWord(ref, 0) >>> 24] as number[]).push(ref);
    return parts.filter(part => part.length > 0);
  }

  private compare(a: number, b: number): number {
    const { table } = this.store;
    for (let i = 0; i < 4; i++) {
      const d = table.hashWord(a, i) - table.hashWord(b, i);
      if (d !== 0) return d;
    }
    return 0;
  }
}

/** Some series of a flush, in block order. */
export class FlushSlice {
  readonly count: number;
  private readonly store: HeadStore;
  private readonly reader: HeadReader;
  private readonly bounds: ReadBounds;
  private readonly refs: readonly number[];
  private readonly minT: number;
  private readonly maxT: number;

  constructor(
    store: HeadStore,
    reader: HeadReader,
    bounds: ReadBounds,
    refs: readonly number[],
    minT: number,
    maxT: number,
  ) {
    this.store = store;
    this.reader = reader;
    this.bounds = bounds;
    this.refs = refs;
    this.count = refs.length;
    this.minT = minT;
    this.maxT = maxT;
  }

  /** Copies the four hash words of series i to out[at]. */
  hash(i: number, out: Uint32Array, at: number): void {
    for (let k = 0; k < 4; k++) out[at + k] = this.store.table.hashWord(this.refs[i] as number, k);
  }

  labels(i: number): Labels {
    const ref = this.refs[i] as number;
    return this.store.index.labels(this.store.page(ref).labels[ref & PAGE_MASK] as number);
  }

  /** Appends the samples of series i that belong to the flush and lie in the slice's window; may be none. */
  read(i: number, into: SampleBuffer): void {
    this.reader.read(this.refs[i] as number, this.minT, this.maxT, this.bounds, into);
  }
}
