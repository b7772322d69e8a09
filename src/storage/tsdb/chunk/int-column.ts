/**
 * A column of whole numbers (|x| < 2^53): timestamps, and values scaled to integers.
 *
 * The column is coded as itself (order 0), as differences (1) or as differences of differences (2), whichever is
 * cheaper, and what remains as `base + factor * residual` (frame of reference; the factor is the common divisor:
 * 1000 for second-aligned timestamps, 4096 for page counts). Residuals take 0 to 7 bytes (planes.ts). A few outliers
 * (a counter reset, a late scrape) may be patched, so that they do not widen all the rest. Decoding is an unpack loop and
 * at most two running sums over a Float64Array.
 *
 * Layout: docs/formats/chunk.md. n is known from outside.
 *   header u8 = order | factor? 4 | patches? 8 | width code << 4
 *   order >= 1: first (signed)   order 2: first difference (signed)   base (signed)   [factor]
 *   [patch count, then per patch: gap of its index, residual before factor and base (signed)]   planes
 */
import { type ByteCursor, MAX_VARINT, putSigned, putVarint } from './bytes.ts';
import { CorruptChunkError } from './corrupt.ts';
import { pack, packedSize, unpack, WIDTH_BITS, WIDTH_CODE_MAX, widthCode } from './planes.ts';

/** The most rows any chunk has. A bound for scratch space and for decoders. */
export const MAX_CHUNK_ROWS = 4096;

/** Width codes of one and two bytes each (planes.ts). */
const BYTE_WIDTH = 4;
const WORD_WIDTH = 5;
const FACTOR = 4;
const PATCHES = 8;
const RANGE_LIMIT = 2 ** 53;
/** Patching pays from this many rows on; at most one row in 16 is patched. */
const PATCH_ROWS_MIN = 32;
const PATCH_SHARE = 16;
const PATCH_COST_BYTES = 6;
/** A mean deviation of a few outliers' own making is let through; even noise has a range of 4 of it, a bell 6 to 8. */
const OUTLIER_FACTOR = 3;

const residuals = new Float64Array(MAX_CHUNK_ROWS);
const sorted = new Float64Array(MAX_CHUNK_ROWS);
const patchAt = new Int32Array(MAX_CHUNK_ROWS / PATCH_SHARE + 1);
const patchValue = new Float64Array(MAX_CHUNK_ROWS / PATCH_SHARE + 1);

/** Upper bound of what encodeInts writes for n rows. */
export function maxIntsSize(n: number): number {
  return 1 + 5 * MAX_VARINT + n * 7 + Math.ceil(n / PATCH_SHARE) * (3 + MAX_VARINT);
}

/**
 * Encodes x[from, from + n), n >= 1, all whole and |x| < 2^53 (and never -0). `dense` is for bytes that stay as they
 * are (the head): least bytes. Otherwise the bytes will be compressed again: least noise. Returns the end, or -1 where
 * the range of the numbers is 2^53 or more, which this coding does not hold.
 */
export function encodeInts(
  x: Float64Array,
  from: number,
  n: number,
  dense: boolean,
  out: Uint8Array,
  at: number,
): number {
  const first = x[from] as number;
  let min0 = first;
  let max0 = first;
  let min1 = Number.POSITIVE_INFINITY;
  let max1 = Number.NEGATIVE_INFINITY;
  let min2 = Number.POSITIVE_INFINITY;
  let max2 = Number.NEGATIVE_INFINITY;
  let previous = first;
  let delta = 0;
  for (let i = 1; i < n; i++) {
    const v = x[from + i] as number;
    const d = v - previous;
    if (v < min0) min0 = v;
    if (v > max0) max0 = v;
    if (d < min1) min1 = d;
    if (d > max1) max1 = d;
    if (i > 1) {
      const dd = d - delta;
      if (dd < min2) min2 = dd;
      if (dd > max2) max2 = dd;
    }
    previous = v;
    delta = d;
  }
  const range0 = max0 - min0;
  if (!(range0 < RANGE_LIMIT)) return -1;
  if (range0 === 0) {
    out[at] = 0;
    return putSigned(out, at + 1, first);
  }
  const range1 = max1 - min1;
  // Differences beyond 2^52 could make second differences inexact.
  const range2 = n > 2 && range0 < RANGE_LIMIT / 4 ? max2 - min2 : Number.POSITIVE_INFINITY;
  const order = dense ? narrowest(n, range0, range1, range2) : quietest(x, from, n, range0, range1, range2);
  let p = at + 1;
  if (order >= 1) p = putSigned(out, p, first);
  if (order === 2) p = putSigned(out, p, (x[from + 1] as number) - first);
  const min = order === 0 ? min0 : order === 1 ? min1 : min2;
  const range = order === 0 ? range0 : order === 1 ? range1 : range2;
  const rows = n - order;
  differences(x, from, n, order);
  return writeResiduals(order, rows, min, range, dense, out, at, p);
}

/** The order with the narrowest residuals; the lower one where equal. */
function narrowest(n: number, range0: number, range1: number, range2: number): number {
  const cost0 = (WIDTH_BITS[widthCode(range0, true)] as number) * n;
  const cost1 =
    range1 < RANGE_LIMIT ? (WIDTH_BITS[widthCode(range1, true)] as number) * (n - 1) + 16 : Number.POSITIVE_INFINITY;
  const cost2 =
    range2 < RANGE_LIMIT ? (WIDTH_BITS[widthCode(range2, true)] as number) * (n - 2) + 24 : Number.POSITIVE_INFINITY;
  if (cost1 < cost0) return cost2 < cost1 ? 2 : 1;
  return cost2 < cost0 ? 2 : 0;
}

/** The order whose residuals stray least from their mean, as a cheap stand-in for their entropy. */
function quietest(x: Float64Array, from: number, n: number, range0: number, range1: number, range2: number): number {
  if (range1 === 0) return 1;
  if (n < 3) return range0 <= range1 ? 0 : 1;
  let sum = 0;
  for (let i = 0; i < n; i++) sum += x[from + i] as number;
  const mean0 = sum / n;
  const mean1 = ((x[from + n - 1] as number) - (x[from] as number)) / (n - 1);
  let stray0 = Math.abs((x[from] as number) - mean0);
  let stray1 = 0;
  let stray2 = 0;
  let previous = x[from] as number;
  let delta = (x[from + 1] as number) - previous;
  for (let i = 1; i < n; i++) {
    const v = x[from + i] as number;
    const d = v - previous;
    stray0 += Math.abs(v - mean0);
    stray1 += Math.abs(d - mean1);
    stray2 += Math.abs(d - delta);
    previous = v;
    delta = d;
  }
  // Each order needs more header and recovers less well from outliers: it must win clearly.
  if (stray2 < 0.9 * stray1 && stray2 < 0.8 * stray0 && range2 < RANGE_LIMIT) return 2;
  return stray1 < 0.95 * stray0 && range1 < RANGE_LIMIT ? 1 : 0;
}

function differences(x: Float64Array, from: number, n: number, order: number): void {
  if (order === 0) {
    for (let i = 0; i < n; i++) residuals[i] = x[from + i] as number;
  } else if (order === 1) {
    for (let i = 1; i < n; i++) residuals[i - 1] = (x[from + i] as number) - (x[from + i - 1] as number);
  } else {
    let delta = (x[from + 1] as number) - (x[from] as number);
    for (let i = 2; i < n; i++) {
      const d = (x[from + i] as number) - (x[from + i - 1] as number);
      residuals[i - 2] = d - delta;
      delta = d;
    }
  }
}

function writeResiduals(
  order: number,
  rows: number,
  min: number,
  range: number,
  dense: boolean,
  out: Uint8Array,
  at: number,
  start: number,
): number {
  let p = start;
  let base = min;
  let limit = range;
  let patches = 0;
  // One byte each is as good as patches once zstd has seen them.
  if (rows >= PATCH_ROWS_MIN && range > (dense ? 1 : 255) && hasOutliers(rows, range, dense)) {
    const low = patchWindow(rows, range, dense);
    if (low >= 0) {
      base = sorted[low] as number;
      limit = sorted[low + rows - 1 - Math.floor(rows / PATCH_SHARE)] as number;
      limit -= base;
      patches = takePatches(rows, base, base + limit);
    }
  }
  for (let i = 0; i < rows; i++) residuals[i] = (residuals[i] as number) - base;
  const factor = limit === 0 ? 1 : commonFactor(rows, limit);
  if (factor > 1) {
    for (let i = 0; i < rows; i++) residuals[i] = (residuals[i] as number) / factor;
    limit /= factor;
  }
  // Packed even where zstd follows: its Huffman codes take a whole bit at least per byte, and a byte of 2 to 8 residuals shares one.
  const width = widthCode(limit, true);
  out[at] = order | (factor > 1 ? FACTOR : 0) | (patches > 0 ? PATCHES : 0) | (width << 4);
  p = putSigned(out, p, base);
  if (factor > 1) p = putVarint(out, p, factor);
  if (patches > 0) {
    p = putVarint(out, p, patches);
    let next = 0;
    for (let k = 0; k < patches; k++) {
      const row = patchAt[k] as number;
      p = putVarint(out, p, row - next);
      p = putSigned(out, p, patchValue[k] as number);
      next = row + 1;
    }
  }
  return pack(width, residuals, 0, rows, out, p);
}

/**
 * Whether the range is so much wider than the mean deviation that leaving out a few rows could save a width. Spares nearly
 * all columns the sort that finding out takes (half of the time of encoding).
 */
function hasOutliers(rows: number, range: number, dense: boolean): boolean {
  let sum = 0;
  for (let i = 0; i < rows; i++) sum += residuals[i] as number;
  const mean = sum / rows;
  let stray = 0;
  for (let i = 0; i < rows; i++) stray += Math.abs((residuals[i] as number) - mean);
  const usual = (OUTLIER_FACTOR * stray) / rows;
  return usual < range && widthCode(Math.floor(usual), dense) < widthCode(range, dense);
}

/**
 * Looks for a window of the sorted residuals that leaves out rows/16 of them and is narrower enough to pay.
 * Returns its first rank, or -1. Leaves `sorted` filled.
 */
function patchWindow(rows: number, range: number, dense: boolean): number {
  const spare = Math.floor(rows / PATCH_SHARE);
  const full = WIDTH_BITS[widthCode(range, dense)] as number;
  for (let i = 0; i < rows; i++) sorted[i] = residuals[i] as number;
  const view = sorted.subarray(0, rows);
  view.sort();
  const size = rows - 1 - spare;
  let best = -1;
  let bestRange = range;
  for (let low = 0; low <= spare; low++) {
    const r = (view[low + size] as number) - (view[low] as number);
    if (r < bestRange) {
      bestRange = r;
      best = low;
    }
  }
  if (best < 0) return -1;
  const narrow = WIDTH_BITS[widthCode(bestRange, dense)] as number;
  const left = countOutside(view, rows, view[best] as number, view[best + size] as number);
  const saved = ((full - narrow) * rows) / 8;
  return saved > left * PATCH_COST_BYTES ? best : -1;
}

function countOutside(view: Float64Array, rows: number, low: number, high: number): number {
  let count = 0;
  for (let i = 0; i < rows && (view[i] as number) < low; i++) count++;
  for (let i = rows - 1; i >= 0 && (view[i] as number) > high; i--) count++;
  return count;
}

/** Moves residuals outside of [low, high] to the patch list; they stand as `low` in the planes. */
function takePatches(rows: number, low: number, high: number): number {
  let patches = 0;
  for (let i = 0; i < rows; i++) {
    const v = residuals[i] as number;
    if (v >= low && v <= high) continue;
    patchAt[patches] = i;
    patchValue[patches++] = v;
    residuals[i] = low;
  }
  return patches;
}

/** The greatest common divisor of the residuals; 1 for wide ones, where the remainder operation is slow. */
function commonFactor(rows: number, limit: number): number {
  let factor = 0;
  if (limit < 2 ** 31) {
    for (let i = 0; i < rows; i++) {
      let b = (residuals[i] as number) | 0;
      if (b === 0) continue;
      let a = factor;
      while (b !== 0) {
        const t = (a % b) | 0;
        a = b;
        b = t;
      }
      factor = a;
      if (factor === 1) return 1;
    }
    return factor === 0 ? 1 : factor;
  }
  // Powers of two only, by their exact quotient.
  factor = 4096;
  for (let i = 0; i < rows; i++) {
    const v = residuals[i] as number;
    while (factor > 1 && Math.floor(v / factor) * factor !== v) factor /= 2;
    if (factor === 1) return 1;
  }
  return factor;
}

/** Decodes n rows (1 to MAX_CHUNK_ROWS) to out[at, at + n); the cursor ends behind the column. */
export function decodeInts(cursor: ByteCursor, n: number, out: Float64Array, at: number): void {
  const start = cursor.at;
  const header = cursor.u8();
  const order = header & 3;
  const width = header >> 4;
  if (order > 2 || width > WIDTH_CODE_MAX || order >= n) {
    throw new CorruptChunkError(`integer column header 0x${header.toString(16)} is none of ours for ${n} rows`, start);
  }
  const first = order >= 1 ? cursor.signed() : 0;
  const firstDelta = order === 2 ? cursor.signed() : 0;
  const base = cursor.signed();
  const factor = (header & FACTOR) !== 0 ? cursor.varint() : 1;
  const rows = n - order;
  const to = at + order;
  const patchesAt = cursor.at;
  const patches = (header & PATCHES) !== 0 ? skipPatches(cursor, rows) : 0;
  const planes = cursor.take(packedSize(width, rows));
  // Fast paths: times of regular scrapes, most counters.
  if (order === 1 && patches === 0 && width <= WORD_WIDTH) {
    out[at] = first;
    if (width === 0) for (let i = 1; i < n; i++) out[at + i] = first + base * i;
    else if (width === BYTE_WIDTH) unpackByteSums(cursor.bytes, planes, rows, first, base, factor, out, to);
    else if (width === WORD_WIDTH) unpackWordSums(cursor.bytes, planes, rows, first, base, factor, out, to);
    else unpackBitSums(WIDTH_BITS[width] as number, cursor.bytes, planes, rows, first, base, factor, out, to);
    return;
  }
  unpack(width, cursor.bytes, planes, rows, base, factor, out, to);
  if (patches > 0) applyPatches(cursor, patchesAt, out, to);
  if (order === 0) return;
  out[at] = first;
  if (order === 1) {
    runningSum(out, at, n);
  } else {
    out[at + 1] = firstDelta;
    runningSum(out, at + 1, n - 1);
    runningSum(out, at, n);
  }
}

/**
 * `unpack` of one byte each and `runningSum` in one: half the time, as nothing is stored and loaded again between. Exact
 * for the same reason.
 */
function unpackByteSums(
  bytes: Uint8Array,
  start: number,
  n: number,
  first: number,
  base: number,
  factor: number,
  out: Float64Array,
  at: number,
): void {
  let sum = first;
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    const p = start + i;
    const a = base + factor * (bytes[p] as number);
    const ab = a + (base + factor * (bytes[p + 1] as number));
    const c = base + factor * (bytes[p + 2] as number);
    const cd = c + (base + factor * (bytes[p + 3] as number));
    const o = at + i;
    out[o] = sum + a;
    sum += ab;
    out[o + 1] = sum;
    out[o + 2] = sum + c;
    sum += cd;
    out[o + 3] = sum;
  }
  for (; i < n; i++) {
    sum += base + factor * (bytes[start + i] as number);
    out[at + i] = sum;
  }
}

/** The same for 1, 2 or 4 bits each: four residuals are half a byte, one byte or two. */
function unpackBitSums(
  bits: number,
  bytes: Uint8Array,
  start: number,
  n: number,
  first: number,
  base: number,
  factor: number,
  out: Float64Array,
  at: number,
): void {
  const mask = (1 << bits) - 1;
  const second = bits >> 2;
  let sum = first;
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    const bit = i * bits;
    const p = start + (bit >> 3);
    // Below 4 bits the second byte is the first again, shifted to where no mask reaches.
    const word = ((bytes[p] as number) >> (bit & 7)) | ((bytes[p + second] as number) << 8);
    const a = base + factor * (word & mask);
    const ab = a + (base + factor * ((word >> bits) & mask));
    const c = base + factor * ((word >> (2 * bits)) & mask);
    const cd = c + (base + factor * ((word >> (3 * bits)) & mask));
    const o = at + i;
    out[o] = sum + a;
    sum += ab;
    out[o + 1] = sum;
    out[o + 2] = sum + c;
    sum += cd;
    out[o + 3] = sum;
  }
  for (; i < n; i++) {
    const bit = i * bits;
    sum += base + factor * (((bytes[start + (bit >> 3)] as number) >> (bit & 7)) & mask);
    out[at + i] = sum;
  }
}

/** The same for two bytes each. */
function unpackWordSums(
  bytes: Uint8Array,
  start: number,
  n: number,
  first: number,
  base: number,
  factor: number,
  out: Float64Array,
  at: number,
): void {
  let sum = first;
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    const p = start + i;
    const q = p + n;
    const a = base + factor * ((bytes[p] as number) | ((bytes[q] as number) << 8));
    const ab = a + (base + factor * ((bytes[p + 1] as number) | ((bytes[q + 1] as number) << 8)));
    const c = base + factor * ((bytes[p + 2] as number) | ((bytes[q + 2] as number) << 8));
    const cd = c + (base + factor * ((bytes[p + 3] as number) | ((bytes[q + 3] as number) << 8)));
    const o = at + i;
    out[o] = sum + a;
    sum += ab;
    out[o + 1] = sum;
    out[o + 2] = sum + c;
    sum += cd;
    out[o + 3] = sum;
  }
  for (; i < n; i++) {
    sum += base + factor * ((bytes[start + i] as number) | ((bytes[start + n + i] as number) << 8));
    out[at + i] = sum;
  }
}

/**
 * Four at a time, so that only every fourth addition waits for the one before: 0.6-1.7 ns a row instead of 1.1-4.5. All partial
 * sums are differences of numbers in the column, hence exact.
 */
function runningSum(out: Float64Array, at: number, n: number): void {
  const end = at + n;
  let sum = 0;
  let i = at;
  for (; i + 4 <= end; i += 4) {
    const a = out[i] as number;
    const ab = a + (out[i + 1] as number);
    const c = out[i + 2] as number;
    const cd = c + (out[i + 3] as number);
    out[i] = sum + a;
    sum += ab;
    out[i + 1] = sum;
    out[i + 2] = sum + c;
    sum += cd;
    out[i + 3] = sum;
  }
  for (; i < end; i++) {
    sum += out[i] as number;
    out[i] = sum;
  }
}

function skipPatches(cursor: ByteCursor, rows: number): number {
  const count = cursor.bounded(rows, 'number of patches');
  for (let k = 0, row = 0; k < count; k++) {
    row += cursor.bounded(rows - 1 - row, 'row of a patch') + 1;
    cursor.signed();
    if (row >= rows && k + 1 < count)
      throw new CorruptChunkError(`patch ${k + 1} of ${count} has no row left`, cursor.at);
  }
  return count;
}

function applyPatches(cursor: ByteCursor, patchesAt: number, out: Float64Array, to: number): void {
  const end = cursor.at;
  cursor.at = patchesAt;
  const count = cursor.varint();
  for (let k = 0, row = 0; k < count; k++) {
    row += cursor.varint();
    out[to + row] = cursor.signed();
    row++;
  }
  cursor.at = end;
}
