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
 *
 * `fn` gets the time for its samples: the beat itself where the timer was on time (to within 1 % of the period), so that
 * timestamps have one constant distance, which costs nothing to store; else the time it is.
 */
export function everyAligned(
  clock: Clock,
  periodMs: number,
  offsetMs: number,
  fn: (timestampMs: number) => void | Promise<void>,
): Timer {
  let timer: Timer | null = null;
  let stopped = false;
  /** Number of the beat that ran last: a timer that fires a little early must not run its beat twice. */
  let lastBeat = Math.floor((clock.now() - offsetMs) / periodMs);
  const schedule = (): void => {
    const now = clock.now();
    const beat = Math.max(lastBeat, Math.floor((now - offsetMs) / periodMs)) + 1;
    // A wall clock that was set back must not stop the beats for hours.
    const delay = Math.min(beat * periodMs + offsetMs - now, 2 * periodMs);
    timer = clock.after(delay, () => {
      void run();
    });
  };
  const run = async (): Promise<void> => {
    const now = clock.now();
    lastBeat = Math.round((now - offsetMs) / periodMs);
    const beatMs = lastBeat * periodMs + offsetMs;
    try {
      await fn(Math.round(Math.abs(now - beatMs) <= periodMs / 100 ? beatMs : now));
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
