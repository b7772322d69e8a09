/**
 * Rewriting series.log: copies what is alive into a fresh log and puts it in the old one's place.
 *
 * In slices, so that a million series stop nothing: in between the head goes on registering and collecting, and those
 * changes are written to both logs (SeriesLog.beginRewrite). So a thing may stand twice in the fresh log, which its
 * replay accepts, but never out of order: pairs come before the series that use them.
 */
import { REWRITE_ALL, REWRITE_SERIES, type SeriesLog } from './series-log.ts';
import type { HeadStore } from './store.ts';

/** Pairs or series copied in one slice. */
export const REWRITE_SLICE_ROWS = 10_000;

/** Each `next` does a slice; the last one leaves the fresh log complete, but neither synced nor in place. */
export function* copyLive(store: HeadStore, log: SeriesLog, sliceRows: number): Generator<void, SeriesLog, void> {
  const { index, table, tombstones } = store;
  const fresh = log.beginRewrite();
  for (const tenant of index.tenants) fresh.addTenant(tenant);
  fresh.commit();
  // Pairs made meanwhile are written by the log itself; ids may also be used again behind the copy's back.
  const pairs = index.pairIdsEnd;
  for (let pair = 0; pair < pairs; pair++) {
    if (index.isPairAlive(pair)) fresh.addPair(index.tenantOfPair(pair), pair, index);
    if (pair % sliceRows !== sliceRows - 1) continue;
    fresh.commit();
    yield;
  }
  fresh.commit();
  log.rewritten(REWRITE_SERIES);
  const refs = table.end;
  for (let ref = 0; ref < refs; ref++) {
    if (table.isAlive(ref)) fresh.addSeries(ref, table, index);
    if (ref % sliceRows !== sliceRows - 1) continue;
    fresh.commit();
    yield;
  }
  fresh.commit();
  for (const [ref, list] of tombstones.entries()) {
    for (const t of list) fresh.addTombstones([ref], [t.maxInOrderT], t);
  }
  fresh.addFlushed(store.floorT, store.oooFloor);
  fresh.commit();
  log.rewritten(REWRITE_ALL);
  return fresh;
}

/** All of a rewrite at once: at start, where nobody waits for a slice. */
export function rewriteNow(store: HeadStore, log: SeriesLog): void {
  const copy = copyLive(store, log, REWRITE_SLICE_ROWS);
  try {
    let step = copy.next();
    while (!step.done) step = copy.next();
    step.value.sync();
    log.finishRewrite();
  } catch (error) {
    log.abortRewrite();
    throw error;
  }
}
