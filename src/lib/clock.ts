/**
 * Clock: where logic gets the time and its timers from, so that tests can turn the hands themselves.
 *
 * `now` is wall-clock time (what a sample's timestamp is made of; may jump), `monotonic` only ever grows (what durations are
 * measured with). Both in milliseconds, fractions included. Timers of the system clock do not keep the process alive.
 */

export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** ms since the epoch. */
  now(): number;
  /** ms since some fixed point. */
  monotonic(): number;
  /** Calls `fn` once, `delayMs` from now or a little later. */
  after(delayMs: number, fn: () => void): Timer;
}

export const systemClock: Clock = Object.freeze({
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(delayMs: number, fn: () => void): Timer {
    const handle = setTimeout(fn, Math.max(0, delayMs));
    handle.unref();
    return { cancel: () => clearTimeout(handle) };
  },
});

/**
 * Calls `fn` at every whole multiple of `periodMs` (plus `offsetMs`) of the wall clock, so that samples of one series
 * keep an even distance however long a round took. A round that overruns its period skips the beats it missed. The next
 * round begins only after the promise of the one before has settled; `fn` must not reject.
 */
export function everyAligned(clock: Clock, periodMs: number, offsetMs: number, fn: () => void | Promise<void>): Timer {
  let timer: Timer | null = null;
  let stopped = false;
  const schedule = (): void => {
    const now = clock.now();
    const sinceBeat = (((now - offsetMs) % periodMs) + periodMs) % periodMs;
    timer = clock.after(periodMs - sinceBeat, () => {
      void run();
    });
  };
  const run = async (): Promise<void> => {
    try {
      await fn();
    } finally {
      if (!stopped) schedule();
    }
  };
  schedule();
  return {
    cancel() {
      stopped = true;
      timer?.cancel();
    },
  };
}
