/** Whose series a head's are, for the gate that counts them: at the start all at once, then one by one as they leave. */
import type { SeriesGate } from '../../../contracts/series-gate.ts';
import { METRIC_NAME } from '../../../model/labels.ts';
import { PAGE_MASK } from './series-table.ts';
import type { HeadStore } from './store.ts';

/** Tells the gate of all live series. `unswept` are refs of dead ones that still stand in postings. */
export function tellFound(store: HeadStore, unswept: readonly number[], gate: SeriesGate): void {
  const { index } = store;
  const dead = new Map<number, number>();
  for (const ref of unswept) {
    const pair = metricPair(store, ref);
    dead.set(pair, (dead.get(pair) ?? 0) + 1);
  }
  for (const tenant of index.tenants) {
    const name = index.findName(tenant, METRIC_NAME);
    let unnamed = tenant.seriesCount;
    if (name >= 0) {
      for (let p = index.firstPair(name); p >= 0; p = index.nextPair(p)) {
        const live = index.postings.count(p) - (dead.get(p) ?? 0);
        if (live > 0) gate.found(tenant.id, index.valueText(p), live);
        unnamed -= live;
      }
    }
    if (unnamed > 0) gate.found(tenant.id, '', unnamed);
  }
}

export function tenantOf(store: HeadStore, ref: number): string {
  return store.index.tenants[store.page(ref).tenant[ref & PAGE_MASK] as number]?.id ?? '';
}

/** '' where the series has none. */
export function metricOf(store: HeadStore, ref: number): string {
  const pair = metricPair(store, ref);
  return pair < 0 ? '' : store.index.valueText(pair);
}

function metricPair(store: HeadStore, ref: number): number {
  const { index } = store;
  const page = store.page(ref);
  const tenant = index.tenants[page.tenant[ref & PAGE_MASK] as number];
  const name = tenant === undefined ? -1 : index.findName(tenant, METRIC_NAME);
  return name < 0 ? -1 : index.pairOf(page.labels[ref & PAGE_MASK] as number, name);
}
