/**
 * Aggregate chunks: the rows of a downsampled series.
 *
 * A row stands for the samples of one bucket [k x resolution, (k + 1) x resolution) and carries the timestamp of the last
 * of them, so an instant query sees the true time, rows never cross a block's border, and `rate` extrapolates from where
 * samples really were. Columns: count, sum, min, max, last, increase. A column that equals another one (max of a counter is its
 * last; of a constant all are) is stored as a flag.
 *
 * The increase of a row is what a counter grew since the row before (since the first sample, for row 0), resets taken out. It
 * nearly always follows from the last values alone; only what does not is stored.
 *
 *   flags u8   times as in chunks.ts   first timestamp (signed, against row 0)   first value (value column of 1)
 *   last   column flags u8   [count] [sum] [min] [max] [increase]: value columns
 */
import { type ByteCursor, putSigned } from '../chunk/bytes.ts';
import { CorruptChunkError } from '../chunk/corrupt.ts';
import { maxIntsSize } from '../chunk/int-column.ts';
import { decodeValues, encodeValues, maxValuesSize } from '../chunk/value-column.ts';
import { readTimes, type TimesLookup, type TimesWriter } from './chunks.ts';
import { CHUNK_SHARED_TIMES } from './layout.ts';

const COUNT_ONE = 1;
const SUM_IS_PRODUCT = 2;
const MIN_IS_LAST = 4;
const MAX_IS_LAST = 8;
const INCREASE_IMPLIED = 16;

/**
 * Rows as columns, parallel. Where the last sample of a bucket is a staleness marker, it is a row of its own behind the
 * bucket's row, with count 0 and the marker as `last`.
 */
export interface AggregateBuffer {
  length: number;
  timestamps: Float64Array;
  count: Float64Array;
  sum: Float64Array;
  min: Float64Array;
  max: Float64Array;
  last: Float64Array;
  increase: Float64Array;
  /**
   * The first sample that is a value: what joins the rows to what was before them. From the first row with a value on, firstT
   * means that there is none: the rows continue others, whose last value was firstValue.
   */
  firstT: number;
  firstValue: number;
}

export function newAggregateBuffer(capacity = 64): AggregateBuffer {
  return {
    length: 0,
    timestamps: new Float64Array(capacity),
    count: new Float64Array(capacity),
    sum: new Float64Array(capacity),
    min: new Float64Array(capacity),
    max: new Float64Array(capacity),
    last: new Float64Array(capacity),
    increase: new Float64Array(capacity),
    firstT: 0,
    firstValue: 0,
  };
}

const COLUMNS = ['timestamps', 'count', 'sum', 'min', 'max', 'last', 'increase'] as const;

export function growAggregates(rows: AggregateBuffer, capacity: number): void {
  if (rows.timestamps.length >= capacity) return;
  const size = Math.max(capacity, rows.timestamps.length * 2);
  for (const name of COLUMNS) {
    const column = new Float64Array(size);
    column.set(rows[name].subarray(0, rows.length));
    rows[name] = column;
  }
}

export function maxAggregateChunkSize(n: number): number {
  return 40 + maxIntsSize(n) + maxValuesSize(1) + 6 * maxValuesSize(n);
}

const one = new Float64Array(1);

/** Increase from one last value to the next, as `rate` would see it. NaNs give 0. */
export function impliedIncrease(previous: number, last: number): number {
  if (last >= previous) return last - previous;
  return last < previous ? last : 0;
}

/** Whether the last values alone tell the increase, but for float noise. */
export function isImplied(increase: number, previous: number, last: number): boolean {
  return Math.abs(increase - impliedIncrease(previous, last)) <= 1e-12 * (Math.abs(previous) + Math.abs(last));
}

/** The value that row `from` continues from: the last one before it that is a number. */
export function valueBefore(rows: AggregateBuffer, from: number): number {
  for (let i = from - 1; i >= 0; i--) if (rows.last[i] === rows.last[i]) return rows.last[i] as number;
  return rows.firstValue;
}

/** Encodes rows [from, from + n) at out[at...]; returns the end. */
export function putAggregateChunk(
  rows: AggregateBuffer,
  from: number,
  n: number,
  times: TimesWriter,
  out: Uint8Array,
  at: number,
): number {
  const placed = times.put(rows.timestamps, from, n, out, at + 1);
  out[at] = placed.shared ? CHUNK_SHARED_TIMES : 0;
  // A later chunk continues from the one before: no first sample of its own.
  const firstT = from === 0 ? rows.firstT : (rows.timestamps[from + n - 1] as number);
  let previous = valueBefore(rows, from);
  one[0] = previous;
  let p = putSigned(out, placed.end, firstT - (rows.timestamps[from] as number));
  p = encodeValues(one, 0, 1, false, out, p);
  p = encodeValues(rows.last, from, n, false, out, p);
  const flagsAt = p++;
  let flags = COUNT_ONE | SUM_IS_PRODUCT | MIN_IS_LAST | MAX_IS_LAST | INCREASE_IMPLIED;
  for (let i = from; i < from + n; i++) {
    const last = rows.last[i] as number;
    const count = rows.count[i] as number;
    if (count !== 1) flags &= ~COUNT_ONE;
    if (rows.sum[i] !== count * last) flags &= ~SUM_IS_PRODUCT;
    if (rows.min[i] !== last) flags &= ~MIN_IS_LAST;
    if (rows.max[i] !== last) flags &= ~MAX_IS_LAST;
    if (last !== last) {
      if (rows.increase[i] !== 0) flags &= ~INCREASE_IMPLIED;
      continue;
    }
    if (!isImplied(rows.increase[i] as number, previous, last)) flags &= ~INCREASE_IMPLIED;
    previous = last;
  }
  out[flagsAt] = flags;
  if ((flags & COUNT_ONE) === 0) p = encodeValues(rows.count, from, n, false, out, p);
  if ((flags & SUM_IS_PRODUCT) === 0) p = encodeValues(rows.sum, from, n, false, out, p);
  if ((flags & MIN_IS_LAST) === 0) p = encodeValues(rows.min, from, n, false, out, p);
  if ((flags & MAX_IS_LAST) === 0) p = encodeValues(rows.max, from, n, false, out, p);
  if ((flags & INCREASE_IMPLIED) === 0) p = encodeValues(rows.increase, from, n, false, out, p);
  return p;
}

/** Appends the n rows of the chunk at the cursor. Sets firstT and firstValue where `rows` was empty. */
export function readAggregateChunk(cursor: ByteCursor, n: number, lookup: TimesLookup, rows: AggregateBuffer): void {
  const flags = cursor.u8();
  if ((flags & ~CHUNK_SHARED_TIMES) !== 0) {
    throw new CorruptChunkError(`chunk flags 0x${flags.toString(16)} are none of ours`, cursor.at - 1);
  }
  const row = rows.length;
  growAggregates(rows, row + n);
  readTimes(cursor, flags, n, lookup, rows.timestamps, row);
  const lead = cursor.signed();
  decodeValues(cursor, 1, one, 0);
  const firstValue = one[0] as number;
  decodeValues(cursor, n, rows.last, row);
  const columns = cursor.u8();
  if (columns > 31)
    throw new CorruptChunkError(`column flags 0x${columns.toString(16)} are none of ours`, cursor.at - 1);
  if ((columns & COUNT_ONE) !== 0) rows.count.fill(1, row, row + n);
  else decodeValues(cursor, n, rows.count, row);
  if ((columns & SUM_IS_PRODUCT) === 0) decodeValues(cursor, n, rows.sum, row);
  else for (let i = row; i < row + n; i++) rows.sum[i] = (rows.count[i] as number) * (rows.last[i] as number);
  copyOrDecode(cursor, n, (columns & MIN_IS_LAST) !== 0, rows.last, rows.min, row);
  copyOrDecode(cursor, n, (columns & MAX_IS_LAST) !== 0, rows.last, rows.max, row);
  if ((columns & INCREASE_IMPLIED) === 0) decodeValues(cursor, n, rows.increase, row);
  else {
    let previous = firstValue;
    for (let i = row; i < row + n; i++) {
      const last = rows.last[i] as number;
      rows.increase[i] = impliedIncrease(previous, last);
      if (last === last) previous = last;
    }
  }
  if (row === 0) {
    rows.firstT = (rows.timestamps[0] as number) + lead;
    rows.firstValue = firstValue;
  }
  rows.length = row + n;
}

function copyOrDecode(
  cursor: ByteCursor,
  n: number,
  same: boolean,
  last: Float64Array,
  out: Float64Array,
  row: number,
): void {
  if (same) out.set(last.subarray(row, row + n), row);
  else decodeValues(cursor, n, out, row);
}
