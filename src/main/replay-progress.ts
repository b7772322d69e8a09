/**
 * ReplayProgress: how far the shards are in reading their logs back, written by them and read by the main thread.
 *
 * Shared memory, since a shard's thread is busy with nothing but the replay and answers no call. Four words a shard: first segment,
 * last, the one at hand, state.
 */
import type { ReplayStatus } from '../contracts/admin.ts';

const WORDS = 4;
const STATES = ['waiting', 'in progress', 'done'] as const;
const DONE = 2;

export class ReplayProgress {
  readonly memory: SharedArrayBuffer;
  private readonly words: Int32Array;

  /** @param shards their number, or the memory of the same on another thread */
  constructor(shards: number | SharedArrayBuffer) {
    this.memory = typeof shards === 'number' ? new SharedArrayBuffer(shards * WORDS * 4) : shards;
    this.words = new Int32Array(this.memory);
  }

  begin(shard: number): void {
    Atomics.store(this.words, shard * WORDS + 3, 1);
  }

  /** The shard reads segment `current` of those from first to last. */
  at(shard: number, first: number, last: number, current: number): void {
    [first, last, current].forEach((n, i) => {
      Atomics.store(this.words, shard * WORDS + i, n);
    });
  }

  end(shard: number): void {
    Atomics.store(this.words, shard * WORDS + 3, DONE);
  }

  /** Of the shard that has the most segments left; of several, the one with the newest segment. */
  status(): ReplayStatus {
    let status: ReplayStatus = { first: 0, last: 0, current: 0, state: 'waiting' };
    let least = DONE;
    let most = 0;
    for (let at = 0; at < this.words.length; at += WORDS) {
      const [first, last, current, state] = [0, 1, 2, 3].map(i => Atomics.load(this.words, at + i)) as [
        number,
        number,
        number,
        number,
      ];
      least = Math.min(least, state);
      most = Math.max(most, state);
      const left = last - current - (status.last - status.current);
      if (at === 0 || left > 0 || (left === 0 && last > status.last))
        status = { first, last, current, state: 'waiting' };
    }
    // Some are done and some not yet begun: that is under way.
    status.state = STATES[least === 0 && most > 0 ? 1 : least] as ReplayStatus['state'];
    return status;
  }
}
