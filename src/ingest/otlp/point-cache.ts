/**
 * PointCache: which series a data point's attribute bytes stand for, so that a steady sender's points cost no label text, no
 * sorting and no identity hash.
 *
 * The key is a keyed hash of the attributes' bytes under the key of the metric they belong to (which in turn covers scope, resource,
 * tenant and settings), so nobody can make two points collide. A group is what one point becomes: one row for a number, `_count`,
 * `_sum` and a row per bucket for a histogram. Rows hold the canonical labels and their identity hash. Typed arrays only:
 * some 30 bytes a group and 24 a row, plus labels.
 *
 * Generations are stretches of time: when the cache is full, groups not seen in this stretch or the last one go first; if that
 * frees less than half, it starts empty.
 */
import { sipHash128, type TenantSeed } from '../../lib/identity-hash.ts';
import type { LabelSet } from '../label-set.ts';

const NONE = 0xffffffff;
/** Key (4), first row, number of rows, generation. */
const GROUP_WORDS = 7;
/** Identity hash (4), label start, label end. */
const ROW_WORDS = 6;

export class PointCache {
  private readonly maxRows: number;
  private readonly maxLabelBytes: number;
  private table = new Uint32Array(1024).fill(NONE);
  private groups = new Uint32Array(256 * GROUP_WORDS);
  private groupCount = 0;
  /** Row r's hash is at r * 6. */
  rows = new Uint32Array(512 * ROW_WORDS);
  private rowCount = 0;
  /** Canonical labels of all rows. */
  labelBytes = new Uint8Array(64 * 1024);
  private labelUsed = 0;
  private readonly probe = new Uint32Array(4);
  generation = 1;

  /** With both at their bounds, some 120 MB; senders of more series than that pay for their labels each time. */
  constructor(maxRows = 1 << 19, maxLabelBytes = 96 << 20) {
    this.maxRows = maxRows;
    this.maxLabelBytes = maxLabelBytes;
  }

  get size(): number {
    return this.groupCount;
  }

  /** Once per stretch of time. */
  nextStretch(): void {
    this.generation++;
  }

  /** The group of bytes[start, end) under the key, or -1. Remembers the hash for the `addGroup` that may follow. */
  find(key: TenantSeed, bytes: Uint8Array, start: number, end: number): number {
    const probe = this.probe;
    sipHash128(key, bytes, start, end, probe, 0);
    const mask = this.table.length - 1;
    const { groups, table } = this;
    for (let slot = (probe[0] as number) & mask; ; slot = (slot + 1) & mask) {
      const g = table[slot] as number;
      if (g === NONE) return -1;
      const at = g * GROUP_WORDS;
      if (
        groups[at] === probe[0] &&
        groups[at + 1] === probe[1] &&
        groups[at + 2] === probe[2] &&
        groups[at + 3] === probe[3]
      ) {
        groups[at + 6] = this.generation;
        return g;
      }
    }
  }

  /** A group without rows for the bytes last looked for. Groups found before may be gone after it. */
  addGroup(): number {
    if (this.rowCount >= this.maxRows || this.labelUsed >= this.maxLabelBytes) this.evict();
    const g = this.groupCount++;
    const at = g * GROUP_WORDS;
    if (at === this.groups.length) this.groups = grow(this.groups);
    this.groups.set(this.probe, at);
    this.groups[at + 4] = this.rowCount;
    this.groups[at + 5] = 0;
    this.groups[at + 6] = this.generation;
    if (this.groupCount * 2 > this.table.length) this.rehash(this.table.length * 2);
    else this.link(g);
    return g;
  }

  /** Adds a row to the group added last. `set` has been sorted and has no duplicates. */
  addRow(set: LabelSet, seed: TenantSeed): void {
    const start = this.labelUsed;
    const size = set.encodedSize();
    if (start + size > this.labelBytes.length) {
      const grown = new Uint8Array(Math.max(start + size, this.labelBytes.length * 2));
      grown.set(this.labelBytes.subarray(0, start));
      this.labelBytes = grown;
    }
    const end = set.encode(this.labelBytes, start);
    this.labelUsed = end;
    const r = this.rowCount++;
    if (r * ROW_WORDS === this.rows.length) this.rows = grow(this.rows);
    sipHash128(seed, this.labelBytes, start, end, this.rows, r * ROW_WORDS);
    this.rows[r * ROW_WORDS + 4] = start;
    this.rows[r * ROW_WORDS + 5] = end;
    const at = (this.groupCount - 1) * GROUP_WORDS + 5;
    this.groups[at] = (this.groups[at] as number) + 1;
  }

  firstRow(group: number): number {
    return this.groups[group * GROUP_WORDS + 4] as number;
  }

  hashAt(row: number): number {
    return row * ROW_WORDS;
  }

  labelStart(row: number): number {
    return this.rows[row * ROW_WORDS + 4] as number;
  }

  labelEnd(row: number): number {
    return this.rows[row * ROW_WORDS + 5] as number;
  }

  /** Bytes held. */
  get memoryBytes(): number {
    return this.table.byteLength + this.groups.byteLength + this.rows.byteLength + this.labelBytes.byteLength;
  }

  private link(g: number): void {
    const mask = this.table.length - 1;
    let slot = (this.groups[g * GROUP_WORDS] as number) & mask;
    while (this.table[slot] !== NONE) slot = (slot + 1) & mask;
    this.table[slot] = g;
  }

  private rehash(length: number): void {
    this.table = new Uint32Array(length).fill(NONE);
    for (let g = 0; g < this.groupCount; g++) this.link(g);
  }

  /** Keeps the groups seen of late, moved together in place. */
  private evict(): void {
    let groups = 0;
    let rows = 0;
    let labels = 0;
    for (let g = 0; g < this.groupCount; g++) {
      const at = g * GROUP_WORDS;
      if ((this.groups[at + 6] as number) < this.generation - 1) continue;
      const first = this.groups[at + 4] as number;
      const count = this.groups[at + 5] as number;
      this.groups.copyWithin(groups * GROUP_WORDS, at, at + GROUP_WORDS);
      this.groups[groups * GROUP_WORDS + 4] = rows;
      for (let r = first; r < first + count; r++) {
        const start = this.labelStart(r);
        const end = this.labelEnd(r);
        this.rows.copyWithin(rows * ROW_WORDS, r * ROW_WORDS, (r + 1) * ROW_WORDS);
        this.labelBytes.copyWithin(labels, start, end);
        this.rows[rows * ROW_WORDS + 4] = labels;
        labels += end - start;
        this.rows[rows * ROW_WORDS + 5] = labels;
        rows++;
      }
      groups++;
    }
    if (rows * 2 > this.maxRows || labels * 2 > this.maxLabelBytes) {
      this.clear();
      return;
    }
    this.groupCount = groups;
    this.rowCount = rows;
    this.labelUsed = labels;
    this.rehash(this.table.length);
  }

  private clear(): void {
    this.table = new Uint32Array(1024).fill(NONE);
    this.groups = new Uint32Array(256 * GROUP_WORDS);
    this.rows = new Uint32Array(512 * ROW_WORDS);
    this.labelBytes = new Uint8Array(64 * 1024);
    this.groupCount = 0;
    this.rowCount = 0;
    this.labelUsed = 0;
  }
}

function grow(from: Uint32Array<ArrayBuffer>): Uint32Array<ArrayBuffer> {
  const grown = new Uint32Array(from.length * 2);
  grown.set(from);
  return grown;
}
