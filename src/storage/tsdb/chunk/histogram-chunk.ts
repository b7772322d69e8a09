/**
 * A histogram chunk: native histograms of one series, column by column.
 *
 * While the layout (schema, thresholds, spans, custom bounds, integer or float) does not change, the rows form one
 * segment whose layout is stored once; count, zero count, sum, hints and each bucket are value columns over the rows
 * (value-column.ts), so a quiet bucket costs 2-3 bytes for the whole segment and a busy one what a counter costs.
 *
 *   flags u8 (bit 0: start timestamps)   row count   timestamps   [start timestamps]
 *   segments until all rows are there:
 *     row count, kind u8 (bit 0: integer), schema (signed), zero threshold, spans and bucket counts, custom bounds
 *     columns: hints, count, zero count, sum, each positive bucket, each negative bucket
 *
 * A stale histogram (sum = staleness marker) does not belong here: it is stored as a float marker, since a marker
 * does not survive in a field of an object (model/stale.ts).
 */
import type { SampleBuffer } from '../../../contracts/sample-source.ts';
import type { CounterResetHint, FloatHistogram } from '../../../model/histogram.ts';
import { ByteCursor, MAX_VARINT, putSigned, putVarint } from './bytes.ts';
import { CorruptChunkError } from './corrupt.ts';
import { decodeInts, encodeInts, MAX_CHUNK_ROWS, maxIntsSize } from './int-column.ts';
import { decodeValues, encodeValues, maxValuesSize } from './value-column.ts';

/** Bounds of one histogram. */
export const MAX_BUCKETS = 1 << 16;
/** Rows times buckets in one chunk: callers cut chunks so that they stay below. */
export const MAX_BUCKET_CELLS = 1 << 22;

const FLAG_STARTS = 1;
const KIND_INTEGER = 1;
const cursor = new ByteCursor();
const times = new Float64Array(MAX_CHUNK_ROWS);
const column = new Float64Array(MAX_CHUNK_ROWS);

/** Buckets of one histogram, both signs. */
export function bucketCount(h: FloatHistogram): number {
  return h.positiveBuckets.length + h.negativeBuckets.length;
}

/** Upper bound of what encodeHistogramChunk writes for the rows [from, to). */
export function maxHistogramChunkSize(histograms: readonly FloatHistogram[], from: number, to: number): number {
  let size = 4 + 2 * maxIntsSize(to - from);
  for (let row = from; row < to; ) {
    const h = histograms[row] as FloatHistogram;
    const end = segmentEnd(histograms, row, to);
    const spans = h.positiveSpans.length + h.negativeSpans.length;
    size += 40 + maxValuesSize(1) + spans * MAX_VARINT + maxBoundsSize(h.customValues.length);
    size += (4 + bucketCount(h)) * maxValuesSize(end - row);
    row = end;
  }
  return size;
}

function maxBoundsSize(count: number): number {
  return count === 0 ? 0 : Math.ceil(count / MAX_CHUNK_ROWS) * maxValuesSize(Math.min(count, MAX_CHUNK_ROWS));
}

/** The first row from `row + 1` on whose layout differs. */
function segmentEnd(histograms: readonly FloatHistogram[], row: number, to: number): number {
  const first = histograms[row] as FloatHistogram;
  let end = row + 1;
  while (end < to && sameLayout(first, histograms[end] as FloatHistogram)) end++;
  return end;
}

export function sameLayout(a: FloatHistogram, b: FloatHistogram): boolean {
  return (
    a.schema === b.schema &&
    a.integer === b.integer &&
    Object.is(a.zeroThreshold, b.zeroThreshold) &&
    a.positiveBuckets.length === b.positiveBuckets.length &&
    a.negativeBuckets.length === b.negativeBuckets.length &&
    sameNumbers(a.positiveSpans, b.positiveSpans) &&
    sameNumbers(a.negativeSpans, b.negativeSpans) &&
    sameNumbers(a.customValues, b.customValues)
  );
}

function sameNumbers(a: readonly number[], b: readonly number[]): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (!Object.is(a[i], b[i])) return false;
  return true;
}

/**
 * Encodes rows [from, to), 1 to MAX_CHUNK_ROWS, at out[at...], which has room for maxHistogramChunkSize. `starts` is null or
 * parallel with 0 = unknown. `dense` false: the bytes will be compressed again (blocks). Returns the end.
 */
export function encodeHistogramChunk(
  timestamps: ArrayLike<number>,
  histograms: readonly FloatHistogram[],
  from: number,
  to: number,
  starts: ArrayLike<number> | null,
  out: Uint8Array,
  at: number,
  dense = true,
): number {
  const n = to - from;
  if (!(n >= 1 && n <= MAX_CHUNK_ROWS))
    throw new RangeError(`BUG: a chunk of ${n} histograms (1 to ${MAX_CHUNK_ROWS})`);
  out[at] = starts === null ? 0 : FLAG_STARTS;
  let p = putVarint(out, at + 1, n);
  p = putTimes(timestamps, from, n, dense, out, p);
  if (starts !== null) p = putTimes(starts, from, n, dense, out, p);
  for (let row = from; row < to; ) {
    const end = segmentEnd(histograms, row, to);
    p = putSegment(histograms, row, end, dense, out, p);
    row = end;
  }
  return p;
}

function putTimes(
  source: ArrayLike<number>,
  from: number,
  n: number,
  dense: boolean,
  out: Uint8Array,
  at: number,
): number {
  for (let i = 0; i < n; i++) times[i] = source[from + i] as number;
  const end = encodeInts(times, 0, n, dense, out, at);
  if (end < 0) throw new RangeError(`BUG: timestamps from ${source[from]} are not whole ms`);
  return end;
}

function putSegment(
  histograms: readonly FloatHistogram[],
  from: number,
  to: number,
  dense: boolean,
  out: Uint8Array,
  at: number,
): number {
  const h = histograms[from] as FloatHistogram;
  const n = to - from;
  let p = putVarint(out, at, n);
  out[p++] = h.integer ? KIND_INTEGER : 0;
  p = putSigned(out, p, h.schema);
  column[0] = h.zeroThreshold;
  p = encodeValues(column, 0, 1, dense, out, p);
  p = putSpans(h.positiveSpans, h.positiveBuckets.length, out, p);
  p = putSpans(h.negativeSpans, h.negativeBuckets.length, out, p);
  p = putBounds(h.customValues, dense, out, p);
  for (let i = 0; i < n; i++) column[i] = (histograms[from + i] as FloatHistogram).counterResetHint;
  p = encodeValues(column, 0, n, dense, out, p);
  for (let i = 0; i < n; i++) column[i] = (histograms[from + i] as FloatHistogram).count;
  p = encodeValues(column, 0, n, dense, out, p);
  for (let i = 0; i < n; i++) column[i] = (histograms[from + i] as FloatHistogram).zeroCount;
  p = encodeValues(column, 0, n, dense, out, p);
  for (let i = 0; i < n; i++) column[i] = (histograms[from + i] as FloatHistogram).sum;
  p = encodeValues(column, 0, n, dense, out, p);
  for (let b = 0; b < h.positiveBuckets.length; b++) {
    for (let i = 0; i < n; i++) column[i] = (histograms[from + i] as FloatHistogram).positiveBuckets[b] as number;
    p = encodeValues(column, 0, n, dense, out, p);
  }
  for (let b = 0; b < h.negativeBuckets.length; b++) {
    for (let i = 0; i < n; i++) column[i] = (histograms[from + i] as FloatHistogram).negativeBuckets[b] as number;
    p = encodeValues(column, 0, n, dense, out, p);
  }
  return p;
}

function putSpans(spans: readonly number[], buckets: number, out: Uint8Array, at: number): number {
  let p = putVarint(out, at, spans.length);
  for (const x of spans) p = putSigned(out, p, x);
  p = putVarint(out, p, buckets);
  return p;
}

function putBounds(bounds: readonly number[], dense: boolean, out: Uint8Array, at: number): number {
  let p = putVarint(out, at, bounds.length);
  for (let from = 0; from < bounds.length; from += MAX_CHUNK_ROWS) {
    const n = Math.min(MAX_CHUNK_ROWS, bounds.length - from);
    for (let i = 0; i < n; i++) column[i] = bounds[from + i] as number;
    p = encodeValues(column, 0, n, dense, out, p);
  }
  return p;
}

/**
 * Appends the rows of the chunk at bytes[at...] with minT <= t <= maxT to the histogram columns of `into`. Returns the end of the
 * chunk. Throws CorruptChunkError, leaving `into` with its rows of before.
 */
export function decodeHistogramChunk(
  bytes: Uint8Array,
  at: number,
  into: SampleBuffer,
  minT = Number.NEGATIVE_INFINITY,
  maxT = Number.POSITIVE_INFINITY,
): number {
  cursor.reset(bytes, at, bytes.length);
  const flags = cursor.u8();
  if (flags > FLAG_STARTS)
    throw new CorruptChunkError(`histogram chunk flags 0x${flags.toString(16)} are none of ours`, at);
  const n = cursor.bounded(MAX_CHUNK_ROWS, 'number of histograms');
  if (n === 0) throw new CorruptChunkError('a chunk without histograms', at);
  const rowTimes = new Float64Array(n);
  decodeInts(cursor, n, rowTimes, 0);
  let rowStarts: Float64Array | null = null;
  if ((flags & FLAG_STARTS) !== 0) {
    rowStarts = new Float64Array(n);
    decodeInts(cursor, n, rowStarts, 0);
  }
  const rows: FloatHistogram[] = [];
  let cells = 0;
  while (rows.length < n) cells = readSegment(n - rows.length, cells, rows);
  for (let i = 0; i < n; i++) {
    const t = rowTimes[i] as number;
    if (t < minT || t > maxT) continue;
    appendHistogram(
      into,
      t,
      rows[i] as FloatHistogram,
      rowStarts === null ? 0 : (rowStarts[i] as number),
      rowStarts !== null,
    );
  }
  return cursor.at;
}

/** Appends one row. `withStart` makes the start column where there is none yet. */
export function appendHistogram(
  into: SampleBuffer,
  t: number,
  h: FloatHistogram,
  start: number,
  withStart: boolean,
): void {
  const row = into.histogramLength;
  if (withStart && into.histogramStartTimestamps === null) into.histogramStartTimestamps = new Array(row).fill(0);
  into.histogramTimestamps[row] = t;
  into.histograms[row] = h;
  if (into.histogramStartTimestamps !== null) into.histogramStartTimestamps[row] = start;
  into.histogramLength = row + 1;
}

function readSegment(rowsLeft: number, cellsBefore: number, rows: FloatHistogram[]): number {
  const n = cursor.bounded(rowsLeft, 'rows of a segment');
  if (n === 0) throw new CorruptChunkError('a segment without rows', cursor.at);
  const kind = cursor.u8();
  if (kind > KIND_INTEGER) throw new CorruptChunkError(`histogram kind ${kind} is none of ours`, cursor.at);
  const schema = cursor.signed();
  const zeroThreshold = readColumn(1)[0] as number;
  const positiveSpans = readSpans();
  const positive = cursor.bounded(MAX_BUCKETS, 'number of positive buckets');
  const negativeSpans = readSpans();
  const negative = cursor.bounded(MAX_BUCKETS, 'number of negative buckets');
  const customValues = readBounds();
  const cells = cellsBefore + n * (positive + negative);
  if (cells > MAX_BUCKET_CELLS) {
    throw new CorruptChunkError(`${cells} buckets over all rows, at most ${MAX_BUCKET_CELLS} can be`, cursor.at);
  }
  const first = rows.length;
  const hints = readColumn(n);
  for (let i = 0; i < n; i++) {
    rows.push({
      schema,
      zeroThreshold,
      zeroCount: 0,
      count: 0,
      sum: 0,
      positiveSpans,
      positiveBuckets: [],
      negativeSpans,
      negativeBuckets: [],
      customValues,
      counterResetHint: hintOf(hints[i] as number),
      integer: kind === KIND_INTEGER,
    });
  }
  const counts = readColumn(n);
  for (let i = 0; i < n; i++) (rows[first + i] as FloatHistogram).count = counts[i] as number;
  const zeros = readColumn(n);
  for (let i = 0; i < n; i++) (rows[first + i] as FloatHistogram).zeroCount = zeros[i] as number;
  const sums = readColumn(n);
  for (let i = 0; i < n; i++) (rows[first + i] as FloatHistogram).sum = sums[i] as number;
  for (let b = 0; b < positive; b++) {
    const values = readColumn(n);
    for (let i = 0; i < n; i++)
      ((rows[first + i] as FloatHistogram).positiveBuckets as number[]).push(values[i] as number);
  }
  for (let b = 0; b < negative; b++) {
    const values = readColumn(n);
    for (let i = 0; i < n; i++)
      ((rows[first + i] as FloatHistogram).negativeBuckets as number[]).push(values[i] as number);
  }
  return cells;
}

function readColumn(n: number): Float64Array {
  decodeValues(cursor, n, column, 0);
  return column;
}

function hintOf(x: number): CounterResetHint {
  if (x !== 0 && x !== 1 && x !== 2 && x !== 3) throw new CorruptChunkError(`counter reset hint ${x}`, cursor.at);
  return x;
}

function readSpans(): readonly number[] {
  const count = cursor.bounded(2 * MAX_BUCKETS, 'number of spans');
  const spans: number[] = [];
  for (let i = 0; i < count; i++) spans.push(cursor.signed());
  return spans;
}

function readBounds(): readonly number[] {
  const count = cursor.bounded(MAX_BUCKETS, 'number of custom bounds');
  const bounds: number[] = [];
  while (bounds.length < count) {
    const n = Math.min(MAX_CHUNK_ROWS, count - bounds.length);
    const values = readColumn(n);
    for (let i = 0; i < n; i++) bounds.push(values[i] as number);
  }
  return bounds;
}
