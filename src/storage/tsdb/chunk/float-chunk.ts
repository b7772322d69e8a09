/**
 * A float chunk: up to MAX_CHUNK_ROWS samples of one series, complete in itself. The head's sealed chunks are these;
 * a block stores the same columns but shares timestamp columns between series (block/chunks.ts).
 *
 *   flags u8 (bit 0: start timestamps)   row count (varint)   timestamps: integer column
 *   values: value column   [start timestamps: integer column]
 *
 * Encoding and decoding use module scratch and are not reentrant; they never yield.
 */
import { growSampleBuffer, type SampleBuffer } from '../../../contracts/sample-source.ts';
import { ByteCursor, putVarint } from './bytes.ts';
import { CorruptChunkError } from './corrupt.ts';
import { decodeInts, encodeInts, MAX_CHUNK_ROWS, maxIntsSize } from './int-column.ts';
import { decodeValues, encodeValues, maxValuesSize } from './value-column.ts';

const FLAG_STARTS = 1;

const cursor = new ByteCursor();

/** Upper bound of what encodeFloatChunk writes for n samples, start timestamps included. */
export function maxFloatChunkSize(n: number): number {
  return 4 + 2 * maxIntsSize(n) + maxValuesSize(n);
}

/**
 * Encodes rows [from, to), 1 to MAX_CHUNK_ROWS of them, at out[at...], which has room for maxFloatChunkSize(to - from).
 * Timestamps are whole ms from 0 to 2^53 - 1, ascending. `starts` is null, or parallel with 0 = unknown. Returns the end.
 */
export function encodeFloatChunk(
  timestamps: Float64Array,
  values: Float64Array,
  from: number,
  to: number,
  starts: Float64Array | null,
  out: Uint8Array,
  at: number,
): number {
  const n = to - from;
  if (!(n >= 1 && n <= MAX_CHUNK_ROWS)) throw new RangeError(`BUG: a chunk of ${n} samples (1 to ${MAX_CHUNK_ROWS})`);
  out[at] = starts === null ? 0 : FLAG_STARTS;
  let p = putVarint(out, at + 1, n);
  p = putTimes(timestamps, from, n, out, p);
  p = encodeValues(values, from, n, true, out, p);
  if (starts !== null) p = putTimes(starts, from, n, out, p);
  return p;
}

function putTimes(times: Float64Array, from: number, n: number, out: Uint8Array, at: number): number {
  const end = encodeInts(times, from, n, true, out, at);
  if (end < 0) throw new RangeError(`BUG: timestamps ${times[from]}..${times[from + n - 1]} are not whole ms`);
  return end;
}

/**
 * Appends the chunk at bytes[at...] to the float columns of `into` (grown as needed; its start column is made when the
 * chunk has one, and filled with 0 where this chunk has none). Returns the end of the chunk.
 * Throws CorruptChunkError, leaving `into` with its rows of before.
 */
export function decodeFloatChunk(bytes: Uint8Array, at: number, into: SampleBuffer): number {
  cursor.reset(bytes, at, bytes.length);
  const flags = cursor.u8();
  if (flags > FLAG_STARTS)
    throw new CorruptChunkError(`float chunk flags 0x${flags.toString(16)} are none of ours`, at);
  const n = cursor.bounded(MAX_CHUNK_ROWS, 'number of samples');
  if (n === 0) throw new CorruptChunkError('a chunk without samples', at);
  const row = into.length;
  growSampleBuffer(into, row + n);
  decodeInts(cursor, n, into.timestamps, row);
  decodeValues(cursor, n, into.values, row);
  if ((flags & FLAG_STARTS) !== 0) decodeInts(cursor, n, startColumn(into), row);
  else if (into.startTimestamps !== null) into.startTimestamps.fill(0, row, row + n);
  into.length = row + n;
  return cursor.at;
}

/** The start column of a buffer, made of zeros where it has none yet. */
export function startColumn(into: SampleBuffer): Float64Array {
  into.startTimestamps ??= new Float64Array(into.timestamps.length);
  return into.startTimestamps;
}

/** Number of samples in the chunk at bytes[at...], without decoding it. */
export function floatChunkCount(bytes: Uint8Array, at: number): number {
  cursor.reset(bytes, at, bytes.length);
  cursor.u8();
  return cursor.bounded(MAX_CHUNK_ROWS, 'number of samples');
}
