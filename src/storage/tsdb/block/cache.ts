/**
 * ByteLru: things read from blocks, by number, bounded in bytes. What was used since it was last considered gets a second
 * chance, the rest goes out oldest first: a hit costs one look-up and a flag (25 ns; moving the entry to the end of the map takes 150).
 *
 * All blocks of a thread share two: one for index pages, one for inflated data frames and time columns; so that a
 * heavy scan over samples does not push the index out.
 */
import type { Section } from './layout.ts';

interface Entry {
  value: object;
  bytes: number;
  used: boolean;
}

/** What the bookkeeping of one entry takes, roughly. */
const ENTRY_BYTES = 100;

export class ByteLru {
  readonly maxBytes: number;
  bytes = 0;
  hits = 0;
  misses = 0;
  /** In the order in which they are considered for going. */
  private readonly entries = new Map<number, Entry>();

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes;
  }

  get(key: number): object | undefined {
    const entry = this.entries.get(key);
    if (entry === undefined) {
      this.misses++;
      return undefined;
    }
    this.hits++;
    entry.used = true;
    return entry.value;
  }

  /** Things larger than a quarter of the cache are not kept. */
  put(key: number, value: object, bytes: number): void {
    const size = bytes + ENTRY_BYTES;
    if (size * 4 > this.maxBytes) return;
    this.delete(key);
    this.entries.set(key, { value, bytes: size, used: false });
    this.bytes += size;
    for (const [oldest, entry] of this.entries) {
      if (this.bytes <= this.maxBytes) break;
      this.entries.delete(oldest);
      if (entry.used) {
        entry.used = false;
        this.entries.set(oldest, entry);
      } else this.bytes -= entry.bytes;
    }
  }

  delete(key: number): void {
    const entry = this.entries.get(key);
    if (entry === undefined) return;
    this.entries.delete(key);
    this.bytes -= entry.bytes;
  }

  /** Drops what a closed block left behind. */
  deleteBlock(block: number): void {
    for (const key of this.entries.keys()) if (Math.floor(key / BLOCK_KEYS) === block) this.delete(key);
  }
}

/** Keys: block number x 2^31 + section x 2^27 + frame; exact for four million blocks opened in one life of a thread. */
const SECTION_KEYS = 2 ** 27;
const BLOCK_KEYS = SECTION_KEYS * 16;

export function frameKey(block: number, section: Section, frame: number): number {
  return block * BLOCK_KEYS + section * SECTION_KEYS + frame;
}

const COLUMN_SECTION = 10;
const COLUMN_PLACES = (16 - COLUMN_SECTION) * SECTION_KEYS;
/** Above every offset in a frame of times. */
const OFFSETS = 2 ** 18;

/** Key of a decoded time column; -1 for the rare one that is not cached (beyond 400 MB of time columns in a block). */
export function columnKey(block: number, frame: number, offset: number): number {
  const place = frame * OFFSETS + offset;
  return offset < OFFSETS && place < COLUMN_PLACES ? block * BLOCK_KEYS + COLUMN_SECTION * SECTION_KEYS + place : -1;
}

/** What the readers of a thread share. */
export class BlockCaches {
  readonly index: ByteLru;
  readonly data: ByteLru;
  private opened = 0;

  constructor(options: { indexBytesMax: number; dataBytesMax: number }) {
    this.index = new ByteLru(options.indexBytesMax);
    this.data = new ByteLru(options.dataBytesMax);
  }

  /** A number of its own for each block opened. */
  nextBlock(): number {
    return ++this.opened;
  }
}
