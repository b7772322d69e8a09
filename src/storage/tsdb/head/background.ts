/**
 * Background: work on a head that takes longer than its thread may be held, in small steps with turns of the event loop between.
 * One job after the other; what a stop leaves undone, the next start does or finds out anew.
 */
import { TimeSlice } from '../../../lib/yield.ts';

/** Each yield stands for at most some 50 us of work, now and then for a few ms. */
export type Steps = Generator<void, void, void>;

/** Of a job that may begin at once: some 5 ms, so that with a small head it is done when its cause returns. */
const STEPS_AT_ONCE = 200;

export class Background {
  private readonly log: (message: string) => void;
  private readonly waiting: { steps: Steps; onDone: () => void }[] = [];
  private running: Promise<void> | null = null;
  private stopped = false;

  constructor(log: (message: string) => void) {
    this.log = log;
  }

  /** Does the job in later turns of the event loop; begins now where nothing else is under way and `atOnce` allows it. */
  add(steps: Steps, onDone: () => void, atOnce: boolean): void {
    if (this.stopped) return;
    this.waiting.push({ steps, onDone });
    if (this.running !== null) return;
    for (let i = 0; atOnce && i < STEPS_AT_ONCE && this.waiting.length > 0; i++) this.step();
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
    const { steps, onDone } = this.waiting[0] as { steps: Steps; onDone: () => void };
    try {
      if (steps.next().done !== true) return;
    } catch (error) {
      this.log(`work in the background was given up: ${(error as Error).message}`);
    }
    this.waiting.shift();
    onDone();
  }

  private async rest(): Promise<void> {
    const slice = new TimeSlice();
    // The first turn belongs to whoever brought the job.
    await slice.pause();
    while (this.waiting.length > 0 && !this.stopped) {
      this.step();
      if (slice.due()) await slice.pause();
    }
  }
}
