/**
 * Tombstones: which samples of which series have been deleted while still in the head.
 *
 * A tombstone hides only what was there when it was made: in-order samples up to the series' newest one then, and
 * out-of-order rows below the row number then. What arrives in the same range afterwards is visible.
 */

/** Series looked at in one step of forgetting. */
const PER_STEP = 200;

export interface Tombstone {
  minT: number;
  /** Upper bound for in-order samples: the wanted bound, or the series' newest sample then if that is older. */
  maxInOrderT: number;
  /** Upper bound for out-of-order rows. */
  maxT: number;
  /** Only rows below this one are hidden. */
  oooMark: number;
}

export class Tombstones {
  private readonly bySeries = new Map<number, Tombstone[]>();

  add(ref: number, tombstone: Tombstone): void {
    const list = this.bySeries.get(ref);
    if (list === undefined) this.bySeries.set(ref, [tombstone]);
    else list.push(tombstone);
  }

  of(ref: number): readonly Tombstone[] {
    return this.bySeries.get(ref) ?? [];
  }

  remove(ref: number): void {
    this.bySeries.delete(ref);
  }

  entries(): IterableIterator<[number, Tombstone[]]> {
    return this.bySeries.entries();
  }

  /** Forgets tombstones that hide nothing any more, step by step; tells each series that has none left. */
  *drop(minT: number, oooFirst: number, onEmpty: (ref: number) => void): Generator<void, void, void> {
    let seen = 0;
    for (const [ref, list] of this.bySeries) {
      if (++seen % PER_STEP === 0) yield;
      const left = list.filter(t => t.maxInOrderT >= minT || t.oooMark > oooFirst);
      if (left.length > 0) {
        this.bySeries.set(ref, left);
      } else {
        this.bySeries.delete(ref);
        onEmpty(ref);
      }
    }
  }

  get size(): number {
    return this.bySeries.size;
  }
}

export function hidesInOrder(list: readonly Tombstone[], t: number): boolean {
  for (const s of list) if (t >= s.minT && t <= s.maxInOrderT) return true;
  return false;
}

export function hidesRow(list: readonly Tombstone[], row: number, t: number): boolean {
  for (const s of list) if (row < s.oooMark && t >= s.minT && t <= s.maxT) return true;
  return false;
}
