/** Mutex: one holder at a time, in order of asking. For sections that span awaits. */

export class Mutex {
  private tail: Promise<void> = Promise.resolve();

  /** Runs `work` when everyone who asked before is done. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    const before = this.tail;
    let release: () => void = () => {};
    this.tail = new Promise(resolve => {
      release = resolve;
    });
    await before;
    try {
      return await work();
    } finally {
      release();
    }
  }
}
