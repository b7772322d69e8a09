/**
 * IdTable: from a 32-bit hash to ids, by open addressing in 64 segments.
 *
 * Each segment grows by itself, so that no growth copies more than a 64th of the table (0.5 ms at a million ids). A slot
 * holds id + 1, 0 is empty; the owner of the ids tells hashes and equality. The low 6 bits of a hash choose the segment,
 * the others the slot. Filled to 3/4 at most; removal shifts later entries back, so there are no graves.
 */

export const SEGMENT_MASK = 63;
export const SEGMENT_BITS = 6;

export class IdTable {
  /** Public for the series table's own probe loop. Lengths are powers of two. */
  readonly segments: Uint32Array[] = [];
  private readonly counts = new Uint32Array(SEGMENT_MASK + 1);
  private readonly hashOf: (id: number) => number;

  constructor(hashOf: (id: number) => number) {
    this.hashOf = hashOf;
    for (let i = 0; i <= SEGMENT_MASK; i++) this.segments.push(new Uint32Array(8));
  }

  /** The id with this hash for which `same` holds, or -1. */
  find(hash: number, same: (id: number) => boolean): number {
    const slots = this.segments[hash & SEGMENT_MASK] as Uint32Array;
    const mask = slots.length - 1;
    for (let i = (hash >>> SEGMENT_BITS) & mask; ; i = (i + 1) & mask) {
      const entry = slots[i] as number;
      if (entry === 0) return -1;
      if (same(entry - 1)) return entry - 1;
    }
  }

  /** Adds an id that is not in the table. */
  add(hash: number, id: number): void {
    const segment = hash & SEGMENT_MASK;
    let slots = this.segments[segment] as Uint32Array;
    const count = (this.counts[segment] as number) + 1;
    this.counts[segment] = count;
    if (count * 4 > slots.length * 3) slots = this.grow(segment);
    place(slots, hash, id);
  }

  remove(hash: number, id: number): void {
    const segment = hash & SEGMENT_MASK;
    const slots = this.segments[segment] as Uint32Array;
    const mask = slots.length - 1;
    let hole = (hash >>> SEGMENT_BITS) & mask;
    while (slots[hole] !== id + 1) {
      if (slots[hole] === 0) return;
      hole = (hole + 1) & mask;
    }
    for (let i = (hole + 1) & mask; ; i = (i + 1) & mask) {
      const entry = slots[i] as number;
      if (entry === 0) break;
      const home = (this.hashOf(entry - 1) >>> SEGMENT_BITS) & mask;
      // The entry may move into the hole only if its home is not behind the hole.
      if (((i - home) & mask) < ((i - hole) & mask)) continue;
      slots[hole] = entry;
      hole = i;
    }
    slots[hole] = 0;
    this.counts[segment] = (this.counts[segment] as number) - 1;
  }

  get bytes(): number {
    let total = 0;
    for (const slots of this.segments) total += slots.byteLength;
    return total;
  }

  private grow(segment: number): Uint32Array {
    const old = this.segments[segment] as Uint32Array;
    const slots = new Uint32Array(old.length * 2);
    for (let i = 0; i < old.length; i++) {
      const entry = old[i] as number;
      if (entry !== 0) place(slots, this.hashOf(entry - 1), entry - 1);
    }
    this.segments[segment] = slots;
    return slots;
  }
}

function place(slots: Uint32Array, hash: number, id: number): void {
  const mask = slots.length - 1;
  let i = (hash >>> SEGMENT_BITS) & mask;
  while (slots[i] !== 0) i = (i + 1) & mask;
  slots[i] = id + 1;
}
