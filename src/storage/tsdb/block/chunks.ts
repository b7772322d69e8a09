/**
 * Chunks as a block stores them: the columns of chunk/, without a count (the chunk index has it), and with timestamp
 * columns that several series may share (every series of one scrape target has the same ones).
 *
 *   flags u8 (CHUNK_STARTS, CHUNK_SHARED_TIMES)
 *   times: frame and offset in the section "times" (varints), or an integer column
 *   values: value column   [start timestamps: integer column]
 */
import type { SampleBuffer } from '../../../contracts/sample-source.ts';
import { growSampleBuffer } from '../../../contracts/sample-source.ts';
import { type ByteCursor, putVarint } from '../chunk/bytes.ts';
import { CorruptChunkError } from '../chunk/corrupt.ts';
import { startColumn } from '../chunk/float-chunk.ts';
import { decodeInts, encodeInts, maxIntsSize } from '../chunk/int-column.ts';
import { decodeValues, encodeValues, holdsNumbers, maxValuesSize } from '../chunk/value-column.ts';
import { lowerBound } from '../merge.ts';
import type { Compression, FrameWriter } from './frames.ts';
import { CHUNK_SHARED_TIMES, CHUNK_STARTS, DATA_FRAME_BYTES, SECTION } from './layout.ts';

/** Rows of a chunk at rest: windows are chosen so that a full one has about this many. */
const ROWS_WANTED = 2000;
export const ROWS_MAX = 2048;
const MINUTE_MS = 60_000;
/** Columns shorter than this stay in the chunk. */
const SHARED_BYTES_MIN = 17;
const KNOWN_BYTES_MAX = 16 * 1024 * 1024;

/**
 * Length of the windows at which a series is cut into chunks: 7.5 minutes times a power of two. Cutting at aligned times
 * and not by count makes the chunks of all series of a target begin and end together, so that they share timestamps.
 */
export function chunkWindowMs(rows: number, minT: number, maxT: number): number {
  const interval = rows > 1 ? (maxT - minT) / (rows - 1) : MINUTE_MS;
  let window = 7.5 * MINUTE_MS;
  while (window * 2 <= interval * ROWS_WANTED && window < 2 ** 52) window *= 2;
  return window;
}

/** The row after `from` at which the chunk that begins there ends. */
export function chunkEnd(timestamps: Float64Array, from: number, length: number, windowMs: number): number {
  const edge = (Math.floor((timestamps[from] as number) / windowMs) + 1) * windowMs;
  return lowerBound(timestamps, from + 1, Math.min(length, from + ROWS_MAX), edge);
}

/** The section "times" while it is written: equal columns are stored once. */
export class TimesWriter {
  private readonly frames: FrameWriter;
  private readonly compression: Compression;
  private readonly frame = new Uint8Array(DATA_FRAME_BYTES + maxIntsSize(ROWS_MAX));
  private readonly view = Buffer.from(this.frame.buffer);
  private used = 0;
  /** Encoded column as a one-byte string -> frame * 2^24 + offset. Exact, and cheap for V8 to hash and hold. */
  private known = new Map<string, number>();
  private knownBytes = 0;

  constructor(frames: FrameWriter, compression: Compression) {
    this.frames = frames;
    this.compression = compression;
  }

  /** Writes the time part of a chunk at out[at...]. Returns the end; `shared` tells which form it took. */
  put(
    timestamps: Float64Array,
    from: number,
    n: number,
    out: Uint8Array,
    at: number,
  ): { end: number; shared: boolean } {
    const start = this.used;
    const end = encodeInts(timestamps, from, n, false, this.frame, start);
    if (end < 0) throw new RangeError(`BUG: timestamps from ${timestamps[from]} are not whole ms`);
    const size = end - start;
    if (size < SHARED_BYTES_MIN) {
      out.set(this.frame.subarray(start, end), at);
      return { end: at + size, shared: false };
    }
    const key = this.view.toString('latin1', start, end);
    let place = this.known.get(key);
    if (place === undefined) {
      place = this.frames.count(SECTION.times) * 2 ** 24 + start;
      this.remember(key, place);
      this.used = end;
      if (this.used >= DATA_FRAME_BYTES) this.flush();
    }
    const frame = Math.floor(place / 2 ** 24);
    return { end: putVarint(out, putVarint(out, at, frame), place - frame * 2 ** 24), shared: true };
  }

  flush(): void {
    if (this.used === 0) return;
    this.frames.append(SECTION.times, this.frame.subarray(0, this.used), this.compression);
    this.used = 0;
  }

  private remember(key: string, place: number): void {
    // Bounded: forgetting costs a column stored twice, nothing else.
    if (this.knownBytes > KNOWN_BYTES_MAX) {
      this.known = new Map();
      this.knownBytes = 0;
    }
    this.known.set(key, place);
    this.knownBytes += key.length + 64;
  }
}

export function maxBlockChunkSize(n: number): number {
  return 20 + 2 * maxIntsSize(n) + maxValuesSize(n);
}

/** Encodes float rows [from, from + n) at out[at...]; returns the end. */
export function putFloatChunk(
  data: SampleBuffer,
  from: number,
  n: number,
  times: TimesWriter,
  out: Uint8Array,
  at: number,
): number {
  const starts =
    data.startTimestamps !== null && anyNonZero(data.startTimestamps, from, n) ? data.startTimestamps : null;
  const { end, shared } = times.put(data.timestamps, from, n, out, at + 1);
  out[at] = (starts !== null ? CHUNK_STARTS : 0) | (shared ? CHUNK_SHARED_TIMES : 0);
  let p = encodeValues(data.values, from, n, false, out, end);
  if (starts !== null) p = encodeInts(starts, from, n, false, out, p);
  return p;
}

function anyNonZero(column: Float64Array, from: number, n: number): boolean {
  for (let i = from; i < from + n; i++) if (column[i] !== 0) return true;
  return false;
}

/** Finds a shared timestamp column of n rows. */
export type TimesLookup = (frame: number, offset: number, n: number) => Float64Array;

/** Puts the times of a chunk into out[at, at + n). */
export function readTimes(
  cursor: ByteCursor,
  flags: number,
  n: number,
  lookup: TimesLookup,
  out: Float64Array,
  at: number,
): void {
  if ((flags & CHUNK_SHARED_TIMES) === 0) {
    decodeInts(cursor, n, out, at);
    return;
  }
  const frame = cursor.bounded(2 ** 27, 'times frame');
  const column = lookup(frame, cursor.bounded(2 ** 24, 'times offset'), n);
  out.set(column, at);
}

/** Appends the rows with minT <= t <= maxT of the chunk at the cursor. */
export function readFloatChunk(
  cursor: ByteCursor,
  n: number,
  lookup: TimesLookup,
  minT: number,
  maxT: number,
  into: SampleBuffer,
): void {
  const flags = cursor.u8();
  if (flags > 3) throw new CorruptChunkError(`chunk flags 0x${flags.toString(16)} are none of ours`, cursor.at - 1);
  const row = into.length;
  growSampleBuffer(into, row + n);
  readTimes(cursor, flags, n, lookup, into.timestamps, row);
  const numbers = holdsNumbers(cursor);
  decodeValues(cursor, n, into.values, row);
  if ((flags & CHUNK_STARTS) !== 0) decodeInts(cursor, n, startColumn(into), row);
  else if (into.startTimestamps !== null) into.startTimestamps.fill(0, row, row + n);
  into.length = row + n;
  clipRows(into, row, minT, maxT);
  if (into.numbers > row) into.numbers = row;
  if (numbers && into.numbers === row) into.numbers = into.length;
}

/** Drops the rows from `from` on that are outside of [minT, maxT]. */
export function clipRows(into: SampleBuffer, from: number, minT: number, maxT: number): void {
  const t = into.timestamps;
  const end = into.length;
  if (end === from) return;
  const high = (t[end - 1] as number) <= maxT ? end : upperBound(t, from, end, maxT);
  const low = (t[from] as number) >= minT ? from : lowerBound(t, from, high, minT);
  if (low > from) {
    t.copyWithin(from, low, high);
    into.values.copyWithin(from, low, high);
    into.startTimestamps?.copyWithin(from, low, high);
  }
  into.length = from + Math.max(0, high - low);
}

/** First index whose value is > t. */
function upperBound(column: Float64Array, from: number, to: number, t: number): number {
  let low = from;
  let high = to;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((column[middle] as number) <= t) low = middle + 1;
    else high = middle;
  }
  return low;
}
