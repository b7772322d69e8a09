/**
 * ByteLru: things read from blocks, by number, least recently used out first, bounded in bytes.
 *
 * All blocks of a thread share two: one for index pages, one for inflated data frames and time columns; so that a
 * heavy scan over samples does not push the index out.
 */
import type { Section } from './layout.ts';

interface Entry {
  value: object;
  bytes: number;
}

/** What the bookkeeping of one entry takes, roughly. */
const ENTRY_BYTES = 100;

export class ByteLru {
  readonly maxBytes: number;
  bytes = 0;
  hits = 0;
  misses = 0;
  /** In order of last use. */
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
    this.entries.delete(key);
    this.entries.set(key, entry);
    return entry.value;
  }

  /** Things larger than a quarter of the cache are not kept. */
  put(key: number, value: object, bytes: number): void {
    const size = bytes + ENTRY_BYTES;
    if (size * 4 > this.maxBytes) return;
    this.delete(key);
    this.entries.set(key, { value, bytes: size });
    this.bytes += size;
    for (const [oldest, entry] of this.entries) {
      if (this.bytes <= this.maxBytes) break;
      this.entries.delete(oldest);
      this.bytes -= entry.bytes;
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
