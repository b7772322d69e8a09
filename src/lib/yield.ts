/**
 * Giving the event loop a turn from long loops: no task holds a thread for more than about 20 ms (so that ingest and
 * other queries go on beside it).
 */
import { setImmediate } from 'node:timers/promises';

const SLICE_MS = 10;

/** Call `await slice.pause()` only when `slice.due()`: the check costs a clock read, the pause a turn of the loop. */
export class TimeSlice {
  private started = performance.now();

  due(): boolean {
    return performance.now() - this.started > SLICE_MS;
  }

  async pause(signal?: AbortSignal): Promise<void> {
    await setImmediate();
    signal?.throwIfAborted();
    this.started = performance.now();
  }
}
