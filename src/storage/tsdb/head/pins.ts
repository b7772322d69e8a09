/**
 * Pins: which selections are open, by epoch, so that files and memory that they may still read are let go only after they
 * have been closed. An epoch ends whenever something is to be let go.
 */
export class Pins {
  private epoch = 0;
  private readonly open = new Map<number, number>();
  private readonly waiting: { epoch: number; action: () => void }[] = [];

  /** Registers a selection; the returned function must be called once. */
  pin(): () => void {
    const { epoch } = this;
    this.open.set(epoch, (this.open.get(epoch) ?? 0) + 1);
    return () => {
      const left = (this.open.get(epoch) as number) - 1;
      if (left > 0) {
        this.open.set(epoch, left);
        return;
      }
      this.open.delete(epoch);
      this.run();
    };
  }

  /** Ends the epoch; returns its number: selections up to it may know of what goes. */
  next(): number {
    return this.epoch++;
  }

  /** Runs `action` when all selections that are open now are closed; at once where there are none. */
  after(action: () => void): void {
    this.waiting.push({ epoch: this.next(), action });
    this.run();
  }

  /** Oldest epoch with an open selection; Infinity where there is none. */
  get oldest(): number {
    let oldest = Infinity;
    for (const epoch of this.open.keys()) if (epoch < oldest) oldest = epoch;
    return oldest;
  }

  get count(): number {
    let total = 0;
    for (const n of this.open.values()) total += n;
    return total;
  }

  private run(): void {
    while (this.waiting.length > 0 && (this.waiting[0] as { epoch: number }).epoch < this.oldest) {
      (this.waiting.shift() as { action: () => void }).action();
    }
  }
}
