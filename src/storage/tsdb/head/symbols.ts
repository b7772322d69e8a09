/**
 * SymbolTable: every distinct label name and value once, as UTF-8 bytes in a slab, by a u32 id.
 *
 * Symbols are counted references (one per pair or name that uses them) and go when the last one does: pod names of last
 * week must not stay for ever. Strings are made when a reader asks, through a bounded cache.
 */
import { randomInt } from 'node:crypto';
import { IdTable } from './id-table.ts';
import { ByteSlab, U32Column } from './slab.ts';

const CACHED_STRINGS_MAX = 1 << 15;
/** Longer strings are not cached: the cache is bounded in entries and so in bytes. */
const CACHED_LENGTH_MAX = 256;
const encoder = new TextEncoder();

export class SymbolTable {
  private readonly slab = new ByteSlab();
  private readonly address = new U32Column();
  private readonly length = new U32Column();
  private readonly hash = new U32Column();
  /** References; in a free slot the next free one + 1. */
  private readonly uses = new U32Column();
  private readonly table = new IdTable(id => this.hash.get(id));
  private freeHead = 0;
  private size = 0;
  private readonly seed = randomInt(2 ** 32);
  private readonly strings = new Map<number, string>();
  private wanted: Uint8Array = new Uint8Array(0);
  private wantedStart = 0;
  private wantedEnd = 0;
  private wantedHash = 0;

  /** The id of bytes[start, end), made if need be; the caller then owns one use of it. */
  acquire(bytes: Uint8Array, start: number, end: number): number {
    const found = this.find(bytes, start, end);
    if (found >= 0) {
      this.uses.set(found, this.uses.get(found) + 1);
      return found;
    }
    const id = this.newId();
    const length = end - start;
    const address = this.slab.alloc(length);
    const page = this.slab.page(address);
    const at = this.slab.offset(address);
    for (let i = 0; i < length; i++) page[at + i] = bytes[start + i] as number;
    this.address.set(id, address);
    this.length.set(id, length);
    this.hash.set(id, this.wantedHash);
    this.uses.set(id, 1);
    this.table.add(this.wantedHash, id);
    return id;
  }

  /** Adds a use to an id that is alive. */
  retain(id: number): void {
    this.uses.set(id, this.uses.get(id) + 1);
  }

  release(id: number): void {
    const uses = this.uses.get(id) - 1;
    if (uses > 0) {
      this.uses.set(id, uses);
      return;
    }
    this.table.remove(this.hash.get(id), id);
    this.slab.release(this.address.get(id), this.length.get(id));
    this.strings.delete(id);
    this.uses.set(id, this.freeHead);
    this.freeHead = id + 1;
  }

  find(bytes: Uint8Array, start: number, end: number): number {
    this.wanted = bytes;
    this.wantedStart = start;
    this.wantedEnd = end;
    this.wantedHash = hashBytes(this.seed, bytes, start, end);
    return this.table.find(this.wantedHash, this.isWanted);
  }

  findString(text: string): number {
    const bytes = encoder.encode(text);
    return this.find(bytes, 0, bytes.length);
  }

  string(id: number): string {
    const cached = this.strings.get(id);
    if (cached !== undefined) return cached;
    const address = this.address.get(id);
    const page = this.slab.page(address);
    const at = this.slab.offset(address);
    const length = this.length.get(id);
    const text = Buffer.from(page.buffer, at, length).toString('utf8');
    if (length <= CACHED_LENGTH_MAX) {
      if (this.strings.size >= CACHED_STRINGS_MAX) this.strings.clear();
      this.strings.set(id, text);
    }
    return text;
  }

  /** Whether the symbol starts with these bytes. */
  startsWith(id: number, prefix: Uint8Array): boolean {
    if (this.length.get(id) < prefix.length) return false;
    const page = this.slab.page(this.address.get(id));
    const at = this.slab.offset(this.address.get(id));
    for (let i = 0; i < prefix.length; i++) if (page[at + i] !== prefix[i]) return false;
    return true;
  }

  byteLength(id: number): number {
    return this.length.get(id);
  }

  /** Copies the symbol's bytes to out[at]; returns the end. */
  copy(id: number, out: Uint8Array, at: number): number {
    const page = this.slab.page(this.address.get(id));
    const from = this.slab.offset(this.address.get(id));
    const length = this.length.get(id);
    for (let i = 0; i < length; i++) out[at + i] = page[from + i] as number;
    return at + length;
  }

  get bytes(): number {
    return (
      this.slab.bytes + this.address.bytes + this.length.bytes + this.hash.bytes + this.uses.bytes + this.table.bytes
    );
  }

  private newId(): number {
    if (this.freeHead !== 0) {
      const id = this.freeHead - 1;
      this.freeHead = this.uses.get(id);
      return id;
    }
    const id = this.size++;
    this.address.reserve(id);
    this.length.reserve(id);
    this.hash.reserve(id);
    this.uses.reserve(id);
    return id;
  }

  private readonly isWanted = (id: number): boolean => {
    if (this.hash.get(id) !== this.wantedHash) return false;
    const length = this.wantedEnd - this.wantedStart;
    if (this.length.get(id) !== length) return false;
    const page = this.slab.page(this.address.get(id));
    const at = this.slab.offset(this.address.get(id));
    for (let i = 0; i < length; i++) if (page[at + i] !== this.wanted[this.wantedStart + i]) return false;
    return true;
  };
}

/**
 * A seeded 32-bit hash for the in-memory table only (never stored). Its seed is new in each process; who still finds
 * collisions makes lookups of new series slower, not wrong.
 */
export function hashBytes(seed: number, bytes: Uint8Array, start: number, end: number): number {
  let h = seed ^ (end - start);
  let p = start;
  for (; p + 4 <= end; p += 4) {
    const word =
      (bytes[p] as number) |
      ((bytes[p + 1] as number) << 8) |
      ((bytes[p + 2] as number) << 16) |
      ((bytes[p + 3] as number) << 24);
    h = Math.imul(h ^ word, 0x9e3779b1);
    h ^= h >>> 15;
  }
  for (; p < end; p++) {
    h = Math.imul(h ^ (bytes[p] as number), 0x85ebca6b);
    h ^= h >>> 13;
  }
  h = Math.imul(h ^ (h >>> 16), 0xc2b2ae35);
  return (h ^ (h >>> 15)) >>> 0;
}

/** Mixes two ids into a hash; for tables of small integers. */
export function hashIds(a: number, b: number): number {
  let h = Math.imul(a, 0x9e3779b1) ^ Math.imul(b + 0x7f4a7c15, 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 15), 0xc2b2ae35);
  return (h ^ (h >>> 14)) >>> 0;
}
