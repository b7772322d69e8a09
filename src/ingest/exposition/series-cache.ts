/**
 * SeriesCache: what a series text became, so that a steady scrape reads no labels, sorts nothing and hashes no identity.
 *
 * Keyed by a 128-bit keyed hash (lib/identity-hash.ts) of the text's bytes: a target can change what it sends but cannot
 * make two texts collide. An entry holds the canonical labels and their identity hash, or the fact that the series is
 * dropped. Generations count scrapes: what was seen in the one before and not in this one has gone stale.
 *
 * A target sends its series in the same order each time: so the next text is first compared with that of the entry behind the last
 * one found (`match`), which costs less than finding its end and hashing it.
 *
 * Open addressing over typed arrays, about 70 bytes an entry plus its labels and text; no object per series. When it is full,
 * entries not seen of late go first; if that frees too little it starts empty.
 */
import { sipHash128, type TenantSeed } from '../../lib/identity-hash.ts';

const NONE = 0xffffffff;
/** Text hash (4), identity hash (4), label start, label end, last generation, flags, the generation before the last, text start, end. */
const WORDS = 15;
const DROPPED = 1;
/** Ended series that a cache bears before it looks at their share. */
const ENDED_KEPT = 1000;

export class SeriesCache {
  private readonly key: TenantSeed;
  private readonly maxEntries: number;
  private table = new Uint32Array(512).fill(NONE);
  private entries = new Uint32Array(256 * WORDS);
  /** Canonical labels of all entries; those of `entry` lie at [labelStart, labelEnd). */
  labelBytes = new Uint8Array(16 * 1024);
  private labelUsed = 0;
  /** Labels that are no entry's stand before all others and stay. */
  private pinned = 0;
  private texts = new Uint8Array(0);
  private textView = new DataView(this.texts.buffer);
  private textUsed = 0;
  /** Whether texts are kept for `match`. */
  private keepTexts = false;
  /** The text last looked for. */
  private soughtBytes: Uint8Array = this.texts;
  private soughtStart = 0;
  private soughtEnd = 0;
  /** The entry that comes next if the order is that of before. */
  private expected = 0;
  /** What `match` found, for the `find` that follows; -1 for nothing. */
  private matched = -1;
  private readonly probe = new Uint32Array(4);
  size = 0;
  /** Entries seen in the current scrape. */
  private touched = 0;
  /** Whether series that ended are forgotten once they outnumber the living: for caches that live long. */
  dropsEnded = false;
  /** Number of the current scrape. */
  generation = 0;

  /** `key`: any four secret words, such as the tenant's seed. */
  constructor(key: TenantSeed, maxEntries: number) {
    this.key = key;
    this.maxEntries = maxEntries;
  }

  /** Begins a scrape. */
  begin(): void {
    this.generation++;
    this.expected = 0;
    this.matched = -1;
    // Where nothing was seen, the scrape failed: its series will be back.
    const ended = this.dropsEnded && this.touched > 0 && this.size > 2 * this.touched + ENDED_KEPT;
    if (this.size >= this.maxEntries || ended) this.evict();
    this.touched = 0;
  }

  /** Lets go of the bytes last looked into. */
  forgetSought(): void {
    this.soughtBytes = this.texts;
  }

  /** Texts are exposition lines' from here on, and may be matched. */
  keepTextsForMatch(): void {
    this.keepTexts = true;
  }

  /**
   * The end of the series text that begins at `start`, if it is the one that is expected there; else -1. `view` is over `bytes`. A
   * text that ends in `}` is whole whatever follows; a bare name must be followed by a blank and then a value.
   */
  match(bytes: Uint8Array, view: DataView, start: number, end: number): number {
    this.matched = -1;
    const e = this.expected;
    if (e >= this.size) return -1;
    const from = this.entries[e * WORDS + 13] as number;
    const n = (this.entries[e * WORDS + 14] as number) - from;
    const stop = start + n;
    if (n === 0 || stop + 1 >= end) return -1;
    if (bytes[stop - 1] !== 0x7d) {
      const next = bytes[stop + 1];
      if (bytes[stop] !== 0x20 || next === 0x20 || next === 0x09 || next === 0x7b) return -1;
    }
    // From the end, where neighbours differ.
    const { textView, texts } = this;
    let i = n - 4;
    for (; i >= 0; i -= 4) {
      if (view.getUint32(start + i, true) !== textView.getUint32(from + i, true)) return -1;
    }
    for (i += 3; i >= 0; i--) if (bytes[start + i] !== texts[from + i]) return -1;
    this.matched = e;
    return stop;
  }

  /** The entry of the text bytes[start, end), or -1. Remembers the text for the `add` that may follow. */
  find(bytes: Uint8Array, start: number, end: number): number {
    const { matched } = this;
    if (matched >= 0) {
      this.matched = -1;
      this.expected = matched + 1;
      return matched;
    }
    const found = this.lookUp(bytes, start, end);
    // Behind a new one, there is nothing to expect.
    this.expected = found < 0 ? this.size + 1 : found + 1;
    this.soughtBytes = bytes;
    this.soughtStart = start;
    this.soughtEnd = end;
    return found;
  }

  /** As `find`, for a key that stands in no text: what `match` found stays for the text that it found. */
  findKey(bytes: Uint8Array, start: number, end: number): number {
    this.soughtBytes = bytes;
    this.soughtStart = start;
    this.soughtEnd = end;
    return this.lookUp(bytes, start, end);
  }

  private lookUp(bytes: Uint8Array, start: number, end: number): number {
    const probe = this.probe;
    sipHash128(this.key, bytes, start, end, probe, 0);
    const mask = this.table.length - 1;
    for (let slot = (probe[0] as number) & mask; ; slot = (slot + 1) & mask) {
      const e = this.table[slot] as number;
      if (e === NONE) return -1;
      const at = e * WORDS;
      if (
        this.entries[at] === probe[0] &&
        this.entries[at + 1] === probe[1] &&
        this.entries[at + 2] === probe[2] &&
        this.entries[at + 3] === probe[3]
      ) {
        return e;
      }
    }
  }

  /** Keeps labels that are no entry's, before any entry is added; returns where they begin. */
  pin(labels: Uint8Array, start: number, end: number): number {
    if (this.size > 0) throw new Error('BUG: labels are pinned before series are added');
    this.reserveLabels(end - start);
    const at = this.labelUsed;
    this.labelBytes.set(labels.subarray(start, end), at);
    this.labelUsed += end - start;
    this.pinned = this.labelUsed;
    return at;
  }

  /** Adds the text last looked for. `labels[start, end)` is canonical, `hashes[hashAt..]` its identity. */
  add(labels: Uint8Array, start: number, end: number, hashes: Uint32Array, hashAt: number): number {
    const e = this.append(0);
    const at = e * WORDS;
    this.reserveLabels(end - start);
    this.labelBytes.set(labels.subarray(start, end), this.labelUsed);
    for (let i = 0; i < 4; i++) this.entries[at + 4 + i] = hashes[hashAt + i] as number;
    this.entries[at + 8] = this.labelUsed;
    this.labelUsed += end - start;
    this.entries[at + 9] = this.labelUsed;
    return e;
  }

  /** Adds the text last looked for as one whose samples are not wanted. */
  addDropped(): number {
    return this.append(DROPPED);
  }

  /** Notes that the entry is in this scrape. Returns false if it had been already. */
  touch(e: number): boolean {
    const at = e * WORDS + 10;
    if (this.entries[at] === this.generation) return false;
    this.touched++;
    this.entries[at + 2] = this.entries[at] as number;
    this.entries[at] = this.generation;
    return true;
  }

  isDropped(e: number): boolean {
    return (this.entries[e * WORDS + 11] as number) === DROPPED;
  }

  labelStart(e: number): number {
    return this.entries[e * WORDS + 8] as number;
  }

  labelEnd(e: number): number {
    return this.entries[e * WORDS + 9] as number;
  }

  /** Identity hashes: four words from `hashOffset(e)` on. */
  get hashes(): Uint32Array {
    return this.entries;
  }

  hashOffset(e: number): number {
    return e * WORDS + 4;
  }

  /** Calls back for every kept series that was in the scrape before this one and is not in this one. */
  forEachGone(visit: (entry: number) => void): void {
    for (let e = 0; e < this.size; e++) {
      if (this.entries[e * WORDS + 10] === this.generation - 1 && !this.isDropped(e)) visit(e);
    }
  }

  /** Calls back for every kept series of this scrape, which all go stale when the target goes away. */
  forEachCurrent(visit: (entry: number) => void): void {
    for (let e = 0; e < this.size; e++) {
      if (this.entries[e * WORDS + 10] === this.generation && !this.isDropped(e)) visit(e);
    }
  }

  /**
   * Gives up the current scrape, none of which is stored: calls back for every kept series of the scrape before it,
   * whether seen again or not, for they all go stale.
   */
  fail(visit: (entry: number) => void): void {
    const before = this.generation - 1;
    for (let e = 0; e < this.size; e++) {
      const at = e * WORDS + 10;
      const last = this.entries[at] === this.generation ? this.entries[at + 2] : this.entries[at];
      if (last === before && !this.isDropped(e)) visit(e);
    }
    // What was touched must not count as the previous scrape.
    this.generation++;
  }

  clear(): void {
    this.table = new Uint32Array(512).fill(NONE);
    this.size = 0;
    this.labelUsed = this.pinned;
    this.textUsed = 0;
    this.expected = 0;
    this.matched = -1;
  }

  /** Bytes held. */
  get memoryBytes(): number {
    return this.table.byteLength + this.entries.byteLength + this.labelBytes.byteLength + this.texts.byteLength;
  }

  private append(flags: number): number {
    const e = this.size++;
    const at = e * WORDS;
    if (at === this.entries.length) {
      const grown = new Uint32Array(at * 2);
      grown.set(this.entries);
      this.entries = grown;
    }
    this.entries.set(this.probe, at);
    this.entries.fill(0, at + 4, at + 10);
    // No generation yet: `touch` sets it.
    this.entries[at + 10] = NONE;
    this.entries[at + 11] = flags;
    this.entries[at + 12] = NONE;
    this.entries[at + 13] = this.textUsed;
    if (this.keepTexts) this.addText();
    this.entries[at + 14] = this.textUsed;
    if (this.size * 2 > this.table.length) this.rehash(this.table.length * 2);
    else this.link(e);
    return e;
  }

  private link(e: number): void {
    const mask = this.table.length - 1;
    let slot = (this.entries[e * WORDS] as number) & mask;
    while (this.table[slot] !== NONE) slot = (slot + 1) & mask;
    this.table[slot] = e;
  }

  private rehash(length: number): void {
    this.table = new Uint32Array(length).fill(NONE);
    for (let e = 0; e < this.size; e++) this.link(e);
  }

  private reserveLabels(more: number): void {
    if (this.labelUsed + more <= this.labelBytes.length) return;
    const grown = new Uint8Array(Math.max(this.labelUsed + more, this.labelBytes.length * 2));
    grown.set(this.labelBytes.subarray(0, this.labelUsed));
    this.labelBytes = grown;
  }

  private addText(): void {
    const { soughtBytes, soughtStart, soughtEnd, textUsed } = this;
    const used = textUsed + soughtEnd - soughtStart;
    if (used > this.texts.length) {
      const grown = new Uint8Array(Math.max(used, this.texts.length * 2, 4096));
      grown.set(this.texts.subarray(0, textUsed));
      this.texts = grown;
      this.textView = new DataView(grown.buffer);
    }
    this.texts.set(soughtBytes.subarray(soughtStart, soughtEnd), textUsed);
    this.textUsed = used;
  }

  /** Keeps what the scrape before this one had, in place. */
  private evict(): void {
    let kept = 0;
    let labelUsed = this.pinned;
    let textUsed = 0;
    for (let e = 0; e < this.size; e++) {
      const at = e * WORDS;
      if ((this.entries[at + 10] as number) !== this.generation - 1) continue;
      const start = this.entries[at + 8] as number;
      const end = this.entries[at + 9] as number;
      this.entries.copyWithin(kept * WORDS, at, at + WORDS);
      this.labelBytes.copyWithin(labelUsed, start, end);
      this.entries[kept * WORDS + 8] = labelUsed;
      labelUsed += end - start;
      this.entries[kept * WORDS + 9] = labelUsed;
      const textStart = this.entries[kept * WORDS + 13] as number;
      const textEnd = this.entries[kept * WORDS + 14] as number;
      this.texts.copyWithin(textUsed, textStart, textEnd);
      this.entries[kept * WORDS + 13] = textUsed;
      textUsed += textEnd - textStart;
      this.entries[kept * WORDS + 14] = textUsed;
      kept++;
    }
    this.size = kept;
    this.labelUsed = labelUsed;
    this.textUsed = textUsed;
    this.rehash(this.table.length);
  }
}
