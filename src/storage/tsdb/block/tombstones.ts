/**
 * Tombstones: what was deleted from a block, beside it in `<ulid>.tombstones`, until a merge drops it for good.
 *
 * Per series (by identity hash) a list of inclusive [minT, maxT] intervals, ascending, joined where they touch. The file is
 * small and rewritten as a whole: temporary name, sync, rename. docs/formats/block.md.
 */
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import type { SampleBuffer } from '../../../contracts/sample-source.ts';
import { crc32c } from '../../../lib/crc32c.ts';
import { lowerBound } from '../merge.ts';
import { CorruptBlockError } from './layout.ts';

const MAGIC = 0x424d4f54; // TOMB
const VERSION = 1;
const HEADER = 12;
const ENTRIES_MAX = 1 << 26;

export class Tombstones {
  /** Hash as a key -> flat [minT, maxT, ...]. */
  private readonly intervals = new Map<string, number[]>();

  get size(): number {
    return this.intervals.size;
  }

  /** Adds an interval to a series; hash is words[at, at + 4). */
  add(words: Uint32Array, at: number, minT: number, maxT: number): void {
    if (minT > maxT) return;
    const key = hashKey(words, at);
    const flat = this.intervals.get(key) ?? [];
    const joined: number[] = [];
    let from = minT;
    let to = maxT;
    let placed = false;
    for (let i = 0; i < flat.length; i += 2) {
      const a = flat[i] as number;
      const b = flat[i + 1] as number;
      if (b < from - 1) joined.push(a, b);
      else if (a > to + 1) {
        if (!placed) joined.push(from, to);
        placed = true;
        joined.push(a, b);
      } else {
        from = Math.min(from, a);
        to = Math.max(to, b);
      }
    }
    if (!placed) joined.push(from, to);
    this.intervals.set(key, joined);
  }

  /** Flat [minT, maxT, ...] of a series, or null. */
  of(words: Uint32Array, at: number): readonly number[] | null {
    return this.intervals.size === 0 ? null : (this.intervals.get(hashKey(words, at)) ?? null);
  }

  copy(): Tombstones {
    const copy = new Tombstones();
    for (const [key, flat] of this.intervals) copy.intervals.set(key, flat.slice());
    return copy;
  }

  /** Reads the file; none is as good as an empty one. Throws CorruptBlockError. */
  static load(path: string): Tombstones {
    const tombstones = new Tombstones();
    if (!existsSync(path)) return tombstones;
    const bytes = readFileSync(path);
    const bad = (at: number, what: string) => new CorruptBlockError(path, 'tombstones', at, what);
    if (bytes.length < HEADER + 4) throw bad(0, `${bytes.length} bytes are too few`);
    if (bytes.readUInt32LE(0) !== MAGIC) throw bad(0, 'this is not a tombstones file');
    if (bytes.readUInt32LE(4) !== VERSION)
      throw bad(4, `format version ${bytes.readUInt32LE(4)}; this program reads ${VERSION}`);
    const crc = crc32c(bytes, 0, bytes.length - 4);
    if (crc !== bytes.readUInt32LE(bytes.length - 4)) throw bad(bytes.length - 4, 'checksum is not the one noted');
    const count = bytes.readUInt32LE(8);
    if (count > ENTRIES_MAX) throw bad(8, `${count} series`);
    let p = HEADER;
    const end = bytes.length - 4;
    const words = new Uint32Array(4);
    for (let i = 0; i < count; i++) {
      if (p + 20 > end) throw bad(p, `series ${i} of ${count} is cut off`);
      for (let w = 0; w < 4; w++) words[w] = bytes.readUInt32LE(p + 4 * w);
      const n = bytes.readUInt32LE(p + 16);
      p += 20;
      if (n * 16 > end - p) throw bad(p, `${n} intervals do not fit`);
      for (let k = 0; k < n; k++, p += 16) tombstones.add(words, 0, bytes.readDoubleLE(p), bytes.readDoubleLE(p + 8));
    }
    if (p !== end) throw bad(p, `${end - p} bytes too many`);
    return tombstones;
  }

  /** Replaces the file; returns once it is on disk. */
  save(path: string): void {
    let size = HEADER + 4;
    for (const flat of this.intervals.values()) size += 20 + flat.length * 8;
    const bytes = Buffer.alloc(size);
    bytes.writeUInt32LE(MAGIC, 0);
    bytes.writeUInt32LE(VERSION, 4);
    bytes.writeUInt32LE(this.intervals.size, 8);
    let p = HEADER;
    for (const [key, flat] of this.intervals) {
      for (let w = 0; w < 4; w++) {
        bytes.writeUInt32LE(key.charCodeAt(2 * w) * 65536 + key.charCodeAt(2 * w + 1), p);
        p += 4;
      }
      bytes.writeUInt32LE(flat.length / 2, p);
      p += 4;
      for (const t of flat) p = bytes.writeDoubleLE(t, p);
    }
    bytes.writeUInt32LE(crc32c(bytes, 0, p), p);
    const temp = `${path}.tmp`;
    const fd = openSync(temp, 'w');
    try {
      for (let done = 0; done < size; ) done += writeSync(fd, bytes, done, size - done);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temp, path);
    const folder = openSync(dirname(path), 'r');
    try {
      fsyncSync(folder);
    } finally {
      closeSync(folder);
    }
  }
}

function hashKey(words: Uint32Array, at: number): string {
  let key = '';
  for (let w = 0; w < 4; w++) {
    const word = words[at + w] as number;
    key += String.fromCharCode(word >>> 16, word & 0xffff);
  }
  return key;
}

/** Takes the rows inside of the intervals out of both columns, from the given rows on. */
export function dropDeleted(
  into: SampleBuffer,
  floatFrom: number,
  histogramFrom: number,
  intervals: readonly number[],
): void {
  for (let i = 0; i < intervals.length; i += 2) {
    const minT = intervals[i] as number;
    const maxT = intervals[i + 1] as number;
    const low = lowerBound(into.timestamps, floatFrom, into.length, minT);
    const high = lowerBound(into.timestamps, low, into.length, maxT + 1);
    if (high > low) {
      into.timestamps.copyWithin(low, high, into.length);
      into.values.copyWithin(low, high, into.length);
      into.startTimestamps?.copyWithin(low, high, into.length);
      into.length -= high - low;
    }
    const from = lowerBound(into.histogramTimestamps, histogramFrom, into.histogramLength, minT);
    const to = lowerBound(into.histogramTimestamps, from, into.histogramLength, maxT + 1);
    if (to > from) {
      into.histogramTimestamps.splice(from, to - from);
      into.histograms.splice(from, to - from);
      into.histogramStartTimestamps?.splice(from, to - from);
      into.histogramLength -= to - from;
    }
  }
}
