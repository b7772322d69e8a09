/**
 * SeenHashes: which identity hashes have been sent to someone before, by their first two words, 8 bytes each.
 *
 * May say yes wrongly (two series with the same 64 bits; about 1 in 10^7 chances at a million series), so whoever relies on a
 * yes must be able to hear no from the receiver. Forgets everything when it is full: the next round then sends all again.
 */

const FIRST_CAPACITY = 1 << 12;

export class SeenHashes {
  private readonly capacityMax: number;
  /** Pairs of words; (0, 0) is empty. Open addressing. */
  private table = new Uint32Array(FIRST_CAPACITY * 2);
  private count = 0;

  /** @param max most hashes remembered; a power of two times 0.7 */
  constructor(max: number) {
    let capacity = FIRST_CAPACITY;
    while (capacity * 0.7 < max) capacity *= 2;
    this.capacityMax = capacity;
  }

  /** Whether the hash at words[at] was there; it is from now on. */
  seen(words: Uint32Array, at: number): boolean {
    const a = words[at] as number;
    const b = words[at + 1] as number;
    if ((a | b) === 0) return false;
    const mask = this.table.length / 2 - 1;
    let slot = a & mask;
    for (;;) {
      const x = this.table[slot * 2] as number;
      const y = this.table[slot * 2 + 1] as number;
      if (x === a && y === b) return true;
      if ((x | y) === 0) break;
      slot = (slot + 1) & mask;
    }
    this.table[slot * 2] = a;
    this.table[slot * 2 + 1] = b;
    if (++this.count > (this.table.length / 2) * 0.7) this.grow();
    return false;
  }

  clear(): void {
    this.table.fill(0);
    this.count = 0;
  }

  private grow(): void {
    const capacity = this.table.length / 2;
    if (capacity >= this.capacityMax) {
      this.clear();
      return;
    }
    const old = this.table;
    this.table = new Uint32Array(capacity * 4);
    this.count = 0;
    for (let i = 0; i < old.length; i += 2) if (((old[i] as number) | (old[i + 1] as number)) !== 0) this.seen(old, i);
  }
}
