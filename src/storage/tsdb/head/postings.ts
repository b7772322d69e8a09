/**
 * Postings: per label pair the refs of the series that have it, as chained blocks in a word slab.
 *
 * A list of one ref holds it in place of an address. Blocks are [previous block, size in words, refs ...], newest first,
 * sized by what the list already holds (an eighth to a quarter waste, at most 1024 words). Lists are not sorted: a selection
 * drives from the shortest and checks the others on the series' own labels, which needs no order. Refs of collected
 * series stay until `compact`; a ref is not given out again before (head/gc.ts).
 */
import { U32Column, WordSlab } from './slab.ts';

const HEADER_WORDS = 2;
const BLOCK_WORDS_MIN = 4;
const BLOCK_WORDS_MAX = 1024;

export class Postings {
  private readonly slab = new WordSlab();
  private readonly heads = new U32Column();
  private readonly counts = new U32Column();
  /** Free words in the newest block. */
  private readonly room = new U32Column();

  /** Makes list `id` exist, empty. */
  open(id: number): void {
    this.heads.reserve(id);
    this.counts.reserve(id);
    this.room.reserve(id);
    this.heads.set(id, 0);
    this.counts.set(id, 0);
    this.room.set(id, 0);
  }

  count(id: number): number {
    return this.counts.get(id);
  }

  push(id: number, ref: number): void {
    const count = this.counts.get(id);
    this.counts.set(id, count + 1);
    if (count === 0) {
      this.heads.set(id, ref);
      return;
    }
    if (count === 1) {
      const first = this.heads.get(id);
      this.addBlock(id, 0, BLOCK_WORDS_MIN);
      this.put(id, first);
    } else if (this.room.get(id) === 0) {
      this.addBlock(id, this.heads.get(id), blockWords(count));
    }
    this.put(id, ref);
  }

  /** Copies the list to out[at]; returns the end. `out` must have room for `count(id)`. */
  copy(id: number, out: Uint32Array, at: number): number {
    const count = this.counts.get(id);
    if (count === 0) return at;
    const end = at + count;
    if (count === 1) {
      out[at] = this.heads.get(id);
      return end;
    }
    // Newest block first: fill from the back, so that the refs come out in the order in which they were added.
    let address = this.heads.get(id);
    let skip = this.room.get(id);
    let to = end;
    while (address !== 0) {
      const page = this.slab.page(address);
      const from = this.slab.offset(address);
      const n = (page[from + 1] as number) - HEADER_WORDS - skip;
      to -= n;
      for (let i = 0; i < n; i++) out[to + i] = page[from + HEADER_WORDS + i] as number;
      skip = 0;
      address = page[from] as number;
    }
    return end;
  }

  /** Drops the refs for which `keep` is false. */
  compact(id: number, keep: (ref: number) => boolean): void {
    const count = this.counts.get(id);
    const refs = new Uint32Array(count);
    this.copy(id, refs, 0);
    this.clear(id);
    for (let i = 0; i < count; i++) if (keep(refs[i] as number)) this.push(id, refs[i] as number);
  }

  clear(id: number): void {
    let address = this.counts.get(id) > 1 ? this.heads.get(id) : 0;
    while (address !== 0) {
      const previous = this.slab.get(address);
      this.slab.release(address, this.slab.get(address + 1));
      address = previous;
    }
    this.open(id);
  }

  get bytes(): number {
    return this.slab.bytes + this.heads.bytes + this.counts.bytes + this.room.bytes;
  }

  private put(id: number, ref: number): void {
    const address = this.heads.get(id);
    const room = this.room.get(id);
    this.slab.set(address + this.slab.get(address + 1) - room, ref);
    this.room.set(id, room - 1);
  }

  private addBlock(id: number, previous: number, words: number): void {
    const address = this.slab.alloc(words);
    this.slab.set(address, previous);
    this.slab.set(address + 1, words);
    this.heads.set(id, address);
    this.room.set(id, words - HEADER_WORDS);
  }
}

function blockWords(count: number): number {
  let words = BLOCK_WORDS_MIN;
  while (words * 4 <= count && words < BLOCK_WORDS_MAX) words *= 2;
  return words;
}
