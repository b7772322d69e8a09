/**
 * The collector: takes series without data out of the head and makes their memory and refs usable again.
 *
 * In three steps, so that nothing stops for long and no reader meets a ref that has changed its owner:
 * `bury` takes series out of the table (they are found no more; their label lists and postings stay), `sweep` later
 * compacts the postings, a slice at a time, once every selection made before is closed, and at last the refs wait in
 * limbo until no WAL segment and no chunk page of their former life is left.
 */
import {
  ALIVE,
  HAS_HISTOGRAM_TAIL,
  HAS_OOO,
  NO_PAGE,
  PAGE_MASK,
  PAGE_REFS,
  PAGE_SHIFT,
  type SeriesPage,
} from './series-table.ts';
import type { HeadStore } from './store.ts';

/** Postings looked at in one slice of a sweep. */
const SLICE_POSTINGS = 200_000;

/** Series without data in the head since `olderThan` (ms), at most `max`. */
export function staleRefs(store: HeadStore, olderThan: number, max: number): number[] {
  const refs: number[] = [];
  const bound = Math.min(olderThan, store.droppedT);
  const { pages, end } = store.table;
  for (let p = 0; p < pages.length; p++) {
    const page = pages[p] as SeriesPage;
    if (page === NO_PAGE) continue;
    const n = Math.min(PAGE_REFS, end - p * PAGE_REFS);
    for (let slot = 0; slot < n; slot++) {
      const flags = page.flags[slot] as number;
      if ((flags & ALIVE) === 0 || (flags & HAS_OOO) !== 0) continue;
      if ((page.lastT[slot] as number) >= bound) continue;
      refs.push(p * PAGE_REFS + slot);
      if (refs.length === max) return refs;
    }
  }
  return refs;
}

/** Takes a series out of the table. */
export function bury(store: HeadStore, ref: number): void {
  const page = store.page(ref);
  const slot = ref & PAGE_MASK;
  if (((page.flags[slot] as number) & HAS_HISTOGRAM_TAIL) !== 0) store.histogramTails.remove(ref);
  const tenant = store.index.tenants[page.tenant[slot] as number];
  if (tenant !== undefined) tenant.seriesCount--;
  store.tombstones.remove(ref);
  store.table.remove(ref);
}

interface Grave {
  refs: readonly number[];
  /** Selections of this epoch and before may still read the labels. */
  epoch: number;
}

/** What a slice has done: to be written to series.log, so that a replay gives out the same ids. */
export interface Swept {
  /** Pairs that have been freed. */
  pairs: number[];
  /** Refs that are in no list any more. */
  refs: readonly number[];
}

/** Sweeps graves in slices. */
export class Sweeper {
  private readonly store: HeadStore;
  private readonly graves: Grave[] = [];
  private pairs: number[] = [];
  private current: Grave | null = null;

  constructor(store: HeadStore) {
    this.store = store;
  }

  add(refs: readonly number[], epoch: number): void {
    if (refs.length > 0) this.graves.push({ refs, epoch });
  }

  get pending(): boolean {
    return this.current !== null || this.graves.length > 0;
  }

  /**
   * Does one slice; null where there is nothing that may be done.
   * @param openEpoch the oldest epoch of which a selection is open
   */
  slice(openEpoch: number): Swept | null {
    if (this.current === null) {
      const next = this.graves[0];
      if (next === undefined || next.epoch >= openEpoch) return null;
      this.graves.shift();
      this.current = next;
      this.pairs = affectedPairs(this.store, next.refs);
    }
    const { index, table } = this.store;
    const keep = (ref: number) => table.isAlive(ref);
    const swept: Swept = { pairs: [], refs: [] };
    let budget = SLICE_POSTINGS;
    while (budget > 0) {
      const pair = this.pairs.pop();
      if (pair === undefined) {
        swept.refs = this.current.refs;
        this.current = null;
        release(this.store, swept.refs);
        break;
      }
      if (!index.isPairAlive(pair)) continue;
      budget -= index.postings.count(pair);
      if (index.compactPair(pair, keep)) swept.pairs.push(pair);
    }
    return swept;
  }
}

/** Replay of what a slice has done. False where that cannot be. */
export function replaySwept(store: HeadStore, swept: Swept): boolean {
  const { index, table } = store;
  const keep = (ref: number) => table.isAlive(ref);
  let sound = true;
  for (const pair of swept.pairs) if (index.isPairAlive(pair) && !index.compactPair(pair, keep)) sound = false;
  const refs = swept.refs.filter(
    ref => ref < table.end && !table.isAlive(ref) && store.page(ref).labels[ref & PAGE_MASK] !== 0,
  );
  for (const pair of affectedPairs(store, refs)) if (index.isPairAlive(pair)) index.postings.compact(pair, keep);
  release(store, refs);
  return sound;
}

function affectedPairs(store: HeadStore, refs: readonly number[]): number[] {
  const pairs = new Set<number>();
  const { lists } = store.index;
  for (const ref of refs) {
    const list = store.page(ref).labels[ref & PAGE_MASK] as number;
    const count = lists.get(list);
    for (let i = 1; i <= count; i++) pairs.add(lists.get(list + i));
  }
  return [...pairs];
}

/** After the pairs: the tenants' lists of all series, label lists, and pages that have become empty. */
function release(store: HeadStore, refs: readonly number[]): void {
  const { index, table } = store;
  const tenants = new Set<number>();
  const pages = new Set<number>();
  for (const ref of refs) {
    const page = store.page(ref);
    tenants.add(page.tenant[ref & PAGE_MASK] as number);
    index.freeList(page.labels[ref & PAGE_MASK] as number);
    page.labels[ref & PAGE_MASK] = 0;
    pages.add(ref >>> PAGE_SHIFT);
  }
  for (const tenant of tenants) index.allSeries.compact(tenant, ref => table.isAlive(ref));
  for (const number of pages) {
    const page = table.pages[number] as SeriesPage;
    // A page may go only when none of its refs is alive or still waits to be swept (then it has a label list).
    if (page.labels.every(list => list === 0)) table.freePage(number);
  }
}

/** Refs that may not be given out before all files of their former life are gone. */
export class Limbo {
  private readonly waiting: { refs: readonly number[]; segment: number; page: number }[] = [];
  /** Free refs, descending, so that `pop` gives ascending ones. */
  private free: number[] = [];

  add(refs: readonly number[], segment: number, page: number): void {
    if (refs.length > 0) this.waiting.push({ refs, segment, page });
  }

  /** Frees what no segment up to the given first one, and no page below the given first one, can mention. */
  advance(firstSegment: number, firstPage: number): void {
    let changed = false;
    while (this.waiting.length > 0) {
      const next = this.waiting[0] as { refs: readonly number[]; segment: number; page: number };
      if (next.segment >= firstSegment || next.page >= firstPage) break;
      this.waiting.shift();
      for (const ref of next.refs) this.free.push(ref);
      changed = true;
    }
    if (changed) this.free.sort((a, b) => b - a);
  }

  take(): number | undefined {
    return this.free.pop();
  }

  get freeCount(): number {
    return this.free.length;
  }
}
