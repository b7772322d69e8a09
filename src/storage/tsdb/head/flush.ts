/**
 * HeadFlush: what a flush to blocks reads: in-order samples up to a time and out-of-order rows up to a row number, neither of
 * which can change any more while the flush lasts.
 *
 * The sealed chunks are not read along their chains, which would fetch a page per chunk and begin at the newest one for
 * every window: passes over the pages in the order in which they lie sort them by block and series into a bounded arena
 * (flush-gather.ts), and slices of series are served from there. Tails and late rows are read as queries read them.
 */
import type { SampleBuffer } from '../../../contracts/sample-source.ts';
import type { TimeSlice } from '../../../lib/yield.ts';
import type { Labels } from '../../../model/labels.ts';
import { FlushGather, type FlushPlan, type GatheredCell } from './flush-gather.ts';
import { blockOrder } from './flush-order.ts';
import type { Tenant } from './label-index.ts';
import { NO_REF } from './ooo-log.ts';
import type { HeadReader, ReadBounds } from './reader.ts';
import { NO_PAGE, PAGE_MASK, PAGE_REFS, type SeriesPage } from './series-table.ts';
import { type HeadStore, WINDOW_MS } from './store.ts';

export interface FlushTenant {
  tenant: string;
  /** Starts of the windows of WINDOW_MS in which the tenant has samples to flush, ascending, ms. */
  windows: number[];
}

/** The blocks to be made of a tenant: inclusive bounds, ascending, without overlap; all of its windows lie in them. */
export interface FlushCut {
  tenant: string;
  windows: readonly { start: number; end: number }[];
}

/** Out-of-order rows looked at between two looks at the clock. */
const ROWS_PER_LOOK = 1 << 14;

export class HeadFlush {
  readonly maxT: number;
  readonly oooMark: number;
  private readonly store: HeadStore;
  private readonly reader: HeadReader;
  private readonly bounds: ReadBounds;
  private readonly arenaBytesMax: number;

  /** @param arenaBytesMax bytes of chunks held in memory at a time */
  constructor(store: HeadStore, reader: HeadReader, maxT: number, arenaBytesMax: number) {
    this.store = store;
    this.reader = reader;
    this.maxT = maxT;
    this.arenaBytesMax = arenaBytesMax;
    this.oooMark = store.ooo.end;
    this.bounds = { floorT: store.floorT, ceilingT: maxT, oooFirst: store.oooFloor, oooEnd: this.oooMark };
  }

  /** Tenants that have something to flush. */
  async tenants(slice: TimeSlice): Promise<FlushTenant[]> {
    const { store } = this;
    const found = new Windows();
    await this.addTails(found, slice);
    await this.addRows(found, slice);
    // The sealed ones last: a tail that was sealed since its turn above is one of them.
    store.windows.forEach((set, tenant) => {
      for (const w of set) {
        if (w * WINDOW_MS <= this.maxT && (w + 1) * WINDOW_MS > this.bounds.floorT) found.add(tenant, w);
      }
    });
    const out: FlushTenant[] = [];
    for (const [tenant, own] of found.byTenant) {
      const windows = [...own].map(w => w * WINDOW_MS).sort((a, b) => a - b);
      out.push({ tenant: (store.index.tenants[tenant] as Tenant).id, windows });
    }
    return out;
  }

  private async addTails(found: Windows, slice: TimeSlice): Promise<void> {
    const { table, histogramTails } = this.store;
    for (let p = 0; p < table.pages.length; p++) {
      const page = table.pages[p] as SeriesPage;
      if (page !== NO_PAGE) this.addTailsOf(page, Math.min(PAGE_REFS, table.end - p * PAGE_REFS), found);
      if (slice.due()) await slice.pause();
    }
    const { floorT } = this.bounds;
    for (const [ref, tail] of histogramTails.entries()) {
      if (tail.minT > this.maxT || tail.maxT < floorT) continue;
      const tenant = this.store.page(ref).tenant[ref & PAGE_MASK] as number;
      const last = Math.floor(Math.min(tail.maxT, this.maxT) / WINDOW_MS);
      for (let w = Math.floor(Math.max(tail.minT, floorT) / WINDOW_MS); w <= last; w++) found.add(tenant, w);
    }
  }

  private addTailsOf(page: SeriesPage, slots: number, found: Windows): void {
    const { count, base, lastT, deltas, tenant } = page;
    const { floorT } = this.bounds;
    for (let slot = 0; slot < slots; slot++) {
      const n = count[slot] as number;
      const first = base[slot] as number;
      if (n === 0 || first > this.maxT || (lastT[slot] as number) < floorT) continue;
      const window = Math.floor(first / WINDOW_MS);
      const end = (window + 1) * WINDOW_MS;
      if (first >= floorT && Math.min(lastT[slot] as number, this.maxT) < end) {
        // Nearly every tail lies in one window.
        found.add(tenant[slot] as number, window);
        continue;
      }
      for (let k = 0; k < n; k++) {
        const t = first + (deltas[k * PAGE_REFS + slot] as number);
        if (t >= floorT && t <= this.maxT) found.add(tenant[slot] as number, Math.floor(t / WINDOW_MS));
      }
    }
  }

  private async addRows(found: Windows, slice: TimeSlice): Promise<void> {
    const { ooo, table } = this.store;
    for (let row = this.bounds.oooFirst; row < this.oooMark; row++) {
      const ref = ooo.refAt(row);
      if (ref !== NO_REF && table.isAlive(ref)) {
        const tenant = this.store.page(ref).tenant[ref & PAGE_MASK] as number;
        found.add(tenant, Math.floor(ooo.timestampAt(row) / WINDOW_MS));
      }
      if (row % ROWS_PER_LOOK === 0 && slice.due()) await slice.pause();
    }
  }

  /**
   * The series of every block: tenant by tenant, window by window, in block order (metric name, then identity hash as
   * unsigned words). A block's series may come in several slices; a slice is good until the next one is asked for.
   */
  async *slices(cuts: readonly FlushCut[], slice: TimeSlice): AsyncGenerator<FlushSlice, void, void> {
    const { store, bounds } = this;
    const plan: FlushPlan[] = [];
    for (const { tenant, windows } of cuts) {
      const owner = store.index.tenant(tenant);
      if (owner === undefined || windows.length === 0) continue;
      const refs = await blockOrder(store, owner, bounds.floorT, slice);
      if (refs.length > 0) plan.push({ tenant, index: owner.index, windows, refs });
    }
    const gather = new FlushGather(store, plan, bounds.floorT, this.maxT, this.arenaBytesMax);
    await gather.survey(slice);
    for (const group of gather.groups()) {
      await gather.fill(group, slice);
      for (const cell of group.cells) yield new FlushSlice(store, this.reader, bounds, gather, cell);
    }
  }
}

/** Windows (t / WINDOW_MS) by tenant index. Neighbouring samples mostly fall into the same one. */
class Windows {
  readonly byTenant = new Map<number, Set<number>>();
  private tenant = -1;
  private window = -1;

  add(tenant: number, window: number): void {
    if (window === this.window && tenant === this.tenant) return;
    this.tenant = tenant;
    this.window = window;
    const own = this.byTenant.get(tenant);
    if (own === undefined) this.byTenant.set(tenant, new Set([window]));
    else own.add(window);
  }
}

/** Some series of a block-to-be, in block order. */
export class FlushSlice {
  readonly tenant: string;
  /** The block's window, inclusive, ms. */
  readonly minT: number;
  readonly maxT: number;
  readonly count: number;
  private readonly store: HeadStore;
  private readonly reader: HeadReader;
  private readonly bounds: ReadBounds;
  private readonly gather: FlushGather;
  private readonly cell: GatheredCell;

  constructor(store: HeadStore, reader: HeadReader, bounds: ReadBounds, gather: FlushGather, cell: GatheredCell) {
    this.tenant = cell.tenant;
    this.minT = cell.start;
    this.maxT = cell.end;
    this.count = cell.refs.length;
    this.store = store;
    this.reader = reader;
    this.bounds = bounds;
    this.gather = gather;
    this.cell = cell;
  }

  /** Copies the four hash words of series i to out[at]. */
  hash(i: number, out: Uint32Array, at: number): void {
    for (let k = 0; k < 4; k++) out[at + k] = this.store.table.hashWord(this.cell.refs[i] as number, k);
  }

  labels(i: number): Labels {
    const ref = this.cell.refs[i] as number;
    return this.store.index.labels(this.store.page(ref).labels[ref & PAGE_MASK] as number);
  }

  /** Appends the samples of series i that belong to the flush and lie in the slice's window; often none. */
  read(i: number, into: SampleBuffer): void {
    this.gather.point(this.cell, i);
    this.reader.read(this.cell.refs[i] as number, this.minT, this.maxT, this.bounds, into, this.gather);
  }
}
