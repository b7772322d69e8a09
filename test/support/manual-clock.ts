/**
 * ManualClock: a Clock whose time stands still until a test moves it. Timers that fall due fire in order of their time;
 * between two of them the event loop gets turns, so that promises of the code under test settle.
 */
import { setImmediate } from 'node:timers/promises';
import type { Clock, Timer } from '../../src/lib/clock.ts';

export class ManualClock implements Clock {
  private timeMs: number;
  private readonly startMs: number;
  private pending: { at: number; fn: () => void }[] = [];

  constructor(startMs = 1_700_000_000_000) {
    this.timeMs = startMs;
    this.startMs = startMs;
  }

  now(): number {
    return this.timeMs;
  }

  monotonic(): number {
    return this.timeMs - this.startMs;
  }

  after(delayMs: number, fn: () => void): Timer {
    const entry = { at: this.timeMs + Math.max(0, delayMs), fn };
    this.pending.push(entry);
    return {
      cancel: () => {
        this.pending = this.pending.filter(other => other !== entry);
      },
    };
  }

  get timerCount(): number {
    return this.pending.length;
  }

  /** Moves time forward, firing what falls due on the way. */
  async advance(ms: number): Promise<void> {
    const end = this.timeMs + ms;
    for (;;) {
      await settle();
      let next: { at: number; fn: () => void } | null = null;
      for (const entry of this.pending) if (entry.at <= end && (next === null || entry.at < next.at)) next = entry;
      if (next === null) break;
      this.timeMs = Math.max(this.timeMs, next.at);
      this.pending = this.pending.filter(other => other !== next);
      next.fn();
    }
    this.timeMs = end;
    await settle();
  }
}

/** A few turns of the event loop. */
export async function settle(turns = 4): Promise<void> {
  for (let i = 0; i < turns; i++) await setImmediate();
}
