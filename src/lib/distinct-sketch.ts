/**
 * DistinctSketch: how many different texts there are, also over several sketches put together: the smallest hashes that were
 * seen. Exact while there are fewer than it keeps, within about 3 % above.
 */

/** Hashes kept. */
const KEPT = 1024;
const BUFFER = KEPT * 4;

export class DistinctSketch {
  private readonly buffer = new Uint32Array(BUFFER);
  private length = 0;
  /** Larger hashes are none of the smallest. */
  private bound = 0xffffffff;

  add(hash: number): void {
    if (hash > this.bound) return;
    this.buffer[this.length++] = hash;
    if (this.length === BUFFER) this.cut();
  }

  addAll(hashes: Uint32Array): void {
    for (const hash of hashes) this.add(hash);
  }

  /** The smallest hashes, ascending: for `addAll` of another. */
  smallest(): Uint32Array {
    this.cut();
    return this.buffer.slice(0, this.length);
  }

  count(): number {
    this.cut();
    if (this.length < KEPT) return this.length;
    return Math.round((KEPT - 1) / (((this.buffer[KEPT - 1] as number) + 1) / 2 ** 32));
  }

  private cut(): void {
    const sorted = this.buffer.subarray(0, this.length).sort();
    let n = 0;
    for (const hash of sorted) if (n === 0 || hash !== this.buffer[n - 1]) this.buffer[n++] = hash;
    this.length = Math.min(n, KEPT);
    if (this.length === KEPT) this.bound = this.buffer[KEPT - 1] as number;
  }
}

/** 32 bits of a text, well mixed. */
export function hashText(text: string, seed = 0): number {
  let h = 0x811c9dc5 ^ seed;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
