/**
 * Forgetting what has been flushed: tails, chunk pages and their files, out-of-order rows, tombstones.
 *
 * Readers look only at what lies above the floors, so it does not matter when this is done, nor in how many steps: with a million
 * series and gigabytes of files it takes longer than the shard's thread may be held. A part of it that a stop leaves undone is
 * done by the next start.
 */
import type { Steps } from './background.ts';
import { HAS_OOO, HAS_TOMBSTONE, NO_PAGE, PAGE_MASK } from './series-table.ts';
import type { HeadStore } from './store.ts';

export function* forget(store: HeadStore, floorT: number, oooFloor: number): Steps {
  yield* store.dropTails(floorT);
  store.droppedT = Math.max(store.droppedT, floorT);
  yield* store.chunks.drop(floorT);
  yield* store.ooo.drop(oooFloor, ref => clearFlag(store, ref, HAS_OOO));
  yield* store.tombstones.drop(floorT, oooFloor, ref => clearFlag(store, ref, HAS_TOMBSTONE));
  const { minT, maxT } = store.ooo.bounds();
  store.oooLowT = minT;
  store.oooHighT = maxT;
}

function clearFlag(store: HeadStore, ref: number, flag: number): void {
  const page = store.page(ref);
  if (page !== NO_PAGE) page.flags[ref & PAGE_MASK] = (page.flags[ref & PAGE_MASK] as number) & ~flag;
}
