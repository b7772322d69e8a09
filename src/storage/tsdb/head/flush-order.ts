/**
 * The order of a tenant's series in a block: metric name in UTF-8 order, then identity hash as unsigned words.
 *
 * Made once per flush, a few thousand series at a time: series are grouped by metric, and a metric with many is split by the
 * first byte of the hash before it is sorted, so that the event loop gets its turns even with a million series.
 */
import type { TimeSlice } from '../../../lib/yield.ts';
import { compareStrings, METRIC_NAME } from '../../../model/labels.ts';
import type { Tenant } from './label-index.ts';
import { ALIVE, HAS_OOO, PAGE_MASK, PAGE_SHIFT, type SeriesPage } from './series-table.ts';
import type { HeadStore } from './store.ts';

/** A metric with more series is split before sorting. */
const SORT_MAX = 4096;
const PER_LOOK = 1 << 12;

/** The tenant's series that may have samples from `fromT` on. */
export async function blockOrder(
  store: HeadStore,
  tenant: Tenant,
  fromT: number,
  slice: TimeSlice,
): Promise<Uint32Array> {
  const { index, table } = store;
  const name = index.findName(tenant, METRIC_NAME);
  const refs = new Uint32Array(index.allSeries.count(tenant.index));
  index.allSeries.copy(tenant.index, refs, 0);
  const groups = new Map<number, number[]>();
  let kept = 0;
  for (let i = 0; i < refs.length; i++) {
    if (i % PER_LOOK === 0 && slice.due()) await slice.pause();
    const ref = refs[i] as number;
    const page = table.pages[ref >>> PAGE_SHIFT] as SeriesPage;
    const flags = page.flags[ref & PAGE_MASK] as number;
    if ((flags & ALIVE) === 0) continue;
    if ((flags & HAS_OOO) === 0 && (page.lastT[ref & PAGE_MASK] as number) < fromT) continue;
    kept++;
    const pair = name < 0 ? -1 : index.pairOf(page.labels[ref & PAGE_MASK] as number, name);
    const group = groups.get(pair);
    if (group === undefined) groups.set(pair, [ref]);
    else group.push(ref);
  }
  const order = [...groups.keys()].map(pair => ({ pair, text: pair < 0 ? '' : index.valueText(pair) }));
  order.sort((a, b) => compareStrings(a.text, b.text));
  const out = new Uint32Array(kept);
  let at = 0;
  for (const { pair } of order) {
    for (const part of await split(store, groups.get(pair) as number[], slice)) {
      part.sort((a, b) => compareHashes(store, a, b));
      for (const ref of part) out[at++] = ref;
      if (slice.due()) await slice.pause();
    }
  }
  return out;
}

/** A large group, by the first byte of the hash. */
async function split({ table }: HeadStore, refs: number[], slice: TimeSlice): Promise<number[][]> {
  if (refs.length <= SORT_MAX) return [refs];
  const parts: number[][] = Array.from({ length: 256 }, () => []);
  for (let i = 0; i < refs.length; i++) {
    if (i % PER_LOOK === 0 && slice.due()) await slice.pause();
    const ref = refs[i] as number;
    (parts[table.hashWord(ref, 0) >>> 24] as number[]).push(ref);
  }
  return parts.filter(part => part.length > 0);
}

function compareHashes({ table }: HeadStore, a: number, b: number): number {
  for (let i = 0; i < 4; i++) {
    const d = table.hashWord(a, i) - table.hashWord(b, i);
    if (d !== 0) return d;
  }
  return 0;
}
