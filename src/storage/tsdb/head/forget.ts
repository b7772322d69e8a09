/**
 * Forgetting what has been flushed: tails, chunk pages and their files, out-of-order rows, tombstones.
 *
 * Readers look only at what lies above the floors, so it does not matter when this is done, nor in how many steps: with a million
 * series and gigabytes of files it takes longer than the shard's thread may be held. A part of it that a stop leaves undone is
 * done by the next start.
 */
import { TimeSlice } from '../../../lib/yield.ts';
import { HAS_OOO, HAS_TOMBSTONE, NO_PAGE, PAGE_MASK } from './series-table.ts';
import type { HeadStore } from './store.ts';

/** What is done at once, so that a small head is tidy when a commit returns: some 5 ms. */
const STEPS_AT_ONCE = 200;

/** Each yield stands for at most some 50 us of work, files apart. */
function* forget(store: HeadStore, floorT: number, oooFloor: number): Generator<void, void, void> {
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

/** Does it in the order in which flushes were committed, a slice at a time. */
export class Forgetting {
  private readonly store: HeadStore;
  /** Told after each flush that is forgotten: files may have become superfluous. */
  private readonly onDone: () => void;
  private readonly onError: (error: unknown) => void;
  private readonly waiting: Generator<void, void, void>[] = [];
  private running: Promise<void> | null = null;
  private stopped = false;

  constructor(store: HeadStore, onDone: () => void, onError: (error: unknown) => void) {
    this.store = store;
    this.onDone = onDone;
    this.onError = onError;
  }

  add(floorT: number, oooFloor: number): void {
    if (this.stopped) return;
    this.waiting.push(forget(this.store, floorT, oooFloor));
    if (this.running !== null) return;
    for (let i = 0; i < STEPS_AT_ONCE && this.waiting.length > 0; i++) this.step();
    if (this.waiting.length === 0) return;
    this.running = this.rest().finally(() => {
      this.running = null;
    });
  }

  /** Does no more; resolves when the slice under way has ended. */
  async stop(): Promise<void> {
    this.stopped = true;
    await this.running;
  }

  /** As `stop`, for who does not wait. */
  halt(): void {
    this.stopped = true;
  }

  private step(): void {
    try {
      if ((this.waiting[0] as Generator).next().done !== true) return;
    } catch (error) {
      this.onError(error);
    }
    this.waiting.shift();
    this.onDone();
  }

  private async rest(): Promise<void> {
    const slice = new TimeSlice();
    // The first turn belongs to whoever committed.
    await slice.pause();
    while (this.waiting.length > 0 && !this.stopped) {
      this.step();
      if (slice.due()) await slice.pause();
    }
  }
}
