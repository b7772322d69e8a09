/**
 * KeyMap: values by 128-bit keyed hash, four words. The first 53 bits index a Map of numbers; the rest is compared.
 *
 * Bounded: when it is full it starts empty, since everything in it can be made again.
 */

interface Entry<T> {
  a: number;
  b: number;
  c: number;
  d: number;
  value: T;
  /** Others with the same 53 bits, which chance does not bring. */
  next: Entry<T> | null;
}

export class KeyMap<T> {
  private readonly entries = new Map<number, Entry<T>>();
  private readonly max: number;
  size = 0;

  constructor(max: number) {
    this.max = max;
  }

  get(words: Uint32Array, at = 0): T | undefined {
    let e: Entry<T> | null = this.entries.get(slot(words, at)) ?? null;
    for (; e !== null; e = e.next) {
      if (e.a === words[at] && e.b === words[at + 1] && e.c === words[at + 2] && e.d === words[at + 3]) return e.value;
    }
    return undefined;
  }

  /** Adds a value whose key is not in the map. */
  add(words: Uint32Array, at: number, value: T): void {
    if (this.size >= this.max) this.clear();
    const key = slot(words, at);
    this.entries.set(key, {
      a: words[at] as number,
      b: words[at + 1] as number,
      c: words[at + 2] as number,
      d: words[at + 3] as number,
      value,
      next: this.entries.get(key) ?? null,
    });
    this.size++;
  }

  /** Takes out what `gone` says yes to. */
  sweep(gone: (value: T) => boolean): void {
    for (const [key, first] of this.entries) {
      let kept: Entry<T> | null = null;
      for (let e: Entry<T> | null = first; e !== null; ) {
        const next: Entry<T> | null = e.next;
        if (gone(e.value)) this.size--;
        else {
          e.next = kept;
          kept = e;
        }
        e = next;
      }
      if (kept === null) this.entries.delete(key);
      else this.entries.set(key, kept);
    }
  }

  clear(): void {
    this.entries.clear();
    this.size = 0;
  }
}

function slot(words: Uint32Array, at: number): number {
  return (words[at] as number) * 0x200000 + ((words[at + 1] as number) >>> 11);
}
