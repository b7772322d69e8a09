/**
 * A column of float64 values, bit for bit.
 *
 * Metrics are mostly whole numbers or short decimals, so the column is first tried as integers over a divisor: 1, a
 * power of ten (accepted only if `Math.round(v * m) / m` gives every value back exactly), or a power of two (which holds any doubles of
 * similar magnitude). Values that do not fit (staleness markers, NaN, infinities, -0, strays) go to a short
 * list of exceptions, so that they do not push the rest into the slow code. What is left is stored as byte planes of
 * the 64-bit patterns, XORed with the previous or the first value, all-zero planes left out.
 *
 * Layout: docs/formats/chunk.md. n is known from outside.
 *   header u8 = class (bits 0-1) | ...
 *   CONST  | special << 2     special 0: the value as a signed varint; else a special value
 *   INTS   | exceptions? 4 | divisor? 8     [divisor][exception count, (row gap, special)...] integer column of the others
 *   BITS   | previous? 4      plane mask u8, first value (8 bytes LE), planes of n - 1 bytes
 * A special is a code (one of SPECIALS), followed by 8 bytes LE where the code is RAW.
 */
import { type ByteCursor, MAX_INT, MAX_VARINT, putSigned, putVarint } from './bytes.ts';
import { CorruptChunkError } from './corrupt.ts';
import { decodeInts, encodeInts, MAX_CHUNK_ROWS, maxIntsSize } from './int-column.ts';

const CLASS_CONST = 0;
const CLASS_INTS = 1;
const CLASS_BITS = 2;
const FLAG_EXCEPTIONS = 4;
const FLAG_DIVISOR = 8;
const FLAG_PREVIOUS = 4;

/** Specials: 0 is not one (CONST uses it for "integer"). */
const RAW = 1;
const SPECIAL_HI = new Uint32Array([0, 0, 0x7ff00000, 0x7ff80000, 0x7ff00000, 0xfff00000, 0x80000000]);
const SPECIAL_LO = new Uint32Array([0, 0, 2, 1, 0, 0, 0]);

/** Powers of ten up to here are exact doubles and their quotients correctly rounded. */
const DECIMALS_MAX = 17;
const POW10 = Float64Array.from({ length: DECIMALS_MAX + 1 }, (_, e) => Number(`1e${e}`));
/** Divisor codes: 1..17 powers of ten; from here on 2^(code - BINARY_ZERO). */
const BINARY_ZERO = 1100;
const BINARY_MAX = 1000;
const EXCEPTION_SHARE = 8;
/** From this many decimals on, powers of two are tried too. */
const LONG_DECIMALS = 13;
/** Integer columns wider than this are compared with the bit planes. */
const WIDE_BYTES = 5;

const source = new Float64Array(MAX_CHUNK_ROWS);
const sourceWords = new Uint32Array(source.buffer);
const ints = new Float64Array(MAX_CHUNK_ROWS);
const exceptionAt = new Int32Array(MAX_CHUNK_ROWS);
const decoded = new Float64Array(MAX_CHUNK_ROWS);
const decodedWords = new Uint32Array(decoded.buffer);
const one = new Float64Array(1);
const oneWords = new Uint32Array(one.buffer);

/** Upper bound of what encodeValues writes for n rows. */
export function maxValuesSize(n: number): number {
  return Math.max(10 + n * 8, 2 + MAX_VARINT + maxIntsSize(n) + (Math.floor(n / EXCEPTION_SHARE) + 1) * (2 + 9));
}

/** Encodes values[from, from + n), 1 <= n <= MAX_CHUNK_ROWS. `dense`: see encodeInts. Returns the end. */
export function encodeValues(
  values: Float64Array,
  from: number,
  n: number,
  dense: boolean,
  out: Uint8Array,
  at: number,
): number {
  if (allWhole(values, from, n)) {
    if (isConstant(ints, n)) {
      out[at] = CLASS_CONST;
      return putSigned(out, at + 1, ints[0] as number);
    }
    const end = encodeInts(ints, 0, n, dense, out, at + 1);
    if (end > 0) {
      out[at] = CLASS_INTS;
      return end;
    }
  }
  // Never number by number: that may quiet a signalling NaN (model/stale.ts).
  source.set(values.subarray(from, from + n));
  if (sameBits(n)) return putConstant(out, at);
  const decimal = decimalDivisor(n);
  let code = decimal;
  let exceptions = -1;
  // So many digits are rather a double's than a decimal's: the smaller divisor makes the smaller integers.
  const binary = decimal === 0 || decimal >= LONG_DECIMALS ? binaryDivisor(n) : null;
  if (binary !== null && (decimal === 0 || powerOfTwo(binary) < (POW10[decimal] as number))) {
    exceptions = scaleAll(n, powerOfTwo(binary));
    code = binary + BINARY_ZERO;
  }
  if (exceptions < 0 && decimal > 0) {
    exceptions = scaleAll(n, POW10[decimal] as number);
    code = decimal;
    if (exceptions < 0 && decimal < LONG_DECIMALS) {
      const fallback = binaryDivisor(n);
      if (fallback !== null) {
        exceptions = scaleAll(n, powerOfTwo(fallback));
        code = fallback + BINARY_ZERO;
      }
    }
  }
  if (exceptions < 0 || exceptions === n) return putBits(n, out, at);
  const end = putScaled(n, code, exceptions, dense, out, at);
  if (end < 0) return putBits(n, out, at);
  if (end - at <= WIDE_BYTES * n) return end;
  const planes = Math.min(countPlanes(n, true), countPlanes(n, false));
  return 10 + planes * (n - 1) < end - at ? putBits(n, out, at) : end;
}

/** Fast path: copies values to `ints` while they are whole numbers below 2^53 and not -0. */
function allWhole(values: Float64Array, from: number, n: number): boolean {
  for (let i = 0; i < n; i++) {
    const v = values[from + i] as number;
    if (!(v === Math.floor(v) && v <= MAX_INT && v >= -MAX_INT)) return false;
    if (v === 0 && 1 / v < 0) return false;
    ints[i] = v;
  }
  return true;
}

function isConstant(x: Float64Array, n: number): boolean {
  const first = x[0] as number;
  for (let i = 1; i < n; i++) if ((x[i] as number) !== first) return false;
  return true;
}

function sameBits(n: number): boolean {
  const lo = sourceWords[0] as number;
  const hi = sourceWords[1] as number;
  for (let i = 1; i < n; i++) {
    if (sourceWords[2 * i] !== lo || sourceWords[2 * i + 1] !== hi) return false;
  }
  return true;
}

function putConstant(out: Uint8Array, at: number): number {
  const special = specialOf(0);
  if (special === RAW) {
    // 0.25 as 25/100 takes fewer bytes than its bits.
    const decimal = decimalDivisor(1);
    if (decimal > 0 && scaleAll(1, POW10[decimal] as number) === 0 && Math.abs(ints[0] as number) < 2 ** 40) {
      return putScaled(1, decimal, 0, true, out, at);
    }
  }
  out[at] = CLASS_CONST | (special << 2);
  return special === RAW ? putWords(out, at + 1, 0) : at + 1;
}

/** The code of source[row], RAW where it is no particular value. */
function specialOf(row: number): number {
  const lo = sourceWords[2 * row] as number;
  const hi = sourceWords[2 * row + 1] as number;
  for (let s = RAW + 1; s < SPECIAL_HI.length; s++) if (SPECIAL_HI[s] === hi && SPECIAL_LO[s] === lo) return s;
  return RAW;
}

function putWords(out: Uint8Array, at: number, row: number): number {
  for (let w = 0; w < 2; w++) {
    const word = sourceWords[2 * row + w] as number;
    for (let k = 0; k < 4; k++) out[at + 4 * w + k] = word >>> (8 * k);
  }
  return at + 8;
}

function exceptionsMax(n: number): number {
  return Math.floor(n / EXCEPTION_SHARE) + 1;
}

function isNegativeZero(v: number): boolean {
  return v === 0 && 1 / v < 0;
}

/** Digits behind the point that all values but a few need; 0 means none, or that too many values have no such form. */
function decimalDivisor(n: number): number {
  let e = 0;
  let m = 1;
  let misses = 0;
  const missesMax = exceptionsMax(n);
  for (let i = 0; i < n; i++) {
    const v = source[i] as number;
    let x = Math.round(v * m);
    if (x / m === v && x <= MAX_INT && x >= -MAX_INT) continue;
    let tried = e;
    do {
      tried++;
      if (tried > DECIMALS_MAX) break;
      const power = POW10[tried] as number;
      x = Math.round(v * power);
      if (x / power === v && x <= MAX_INT && x >= -MAX_INT) break;
    } while (v === v);
    if (tried > DECIMALS_MAX || v !== v) {
      if (++misses > missesMax) return 0;
      continue;
    }
    e = tried;
    m = POW10[e] as number;
  }
  // Whole numbers with exceptions among them: one digit costs nothing that matters, but 10^0 is no divisor code.
  return e === 0 ? 1 : e;
}

/**
 * Fills `ints` with the values that are exactly x / divisor, and `exceptionAt` with the rows of the others.
 * Returns their number, or -1 where there are too many.
 */
function scaleAll(n: number, divisor: number): number {
  let k = 0;
  let exceptions = 0;
  const most = exceptionsMax(n);
  for (let i = 0; i < n; i++) {
    const v = source[i] as number;
    const x = Math.round(v * divisor);
    if (x / divisor === v && x <= MAX_INT && x >= -MAX_INT && !isNegativeZero(v)) {
      // + 0 turns the -0 that rounding gives into 0.
      ints[k++] = x + 0;
    } else {
      if (exceptions === most) return -1;
      exceptionAt[exceptions++] = i;
    }
  }
  return exceptions;
}

/** The exponent e for which v * 2^e is whole for every finite value, or null where none suits doubles. */
function binaryDivisor(n: number): number | null {
  let e = -BINARY_MAX;
  let largest = -BINARY_MAX;
  for (let i = 0; i < n; i++) {
    const lo = sourceWords[2 * i] as number;
    const hi = sourceWords[2 * i + 1] as number;
    const exponent = (hi >>> 20) & 0x7ff;
    if (exponent === 0x7ff || (exponent === 0 && (hi & 0xfffff) === 0 && lo === 0)) continue;
    const zeros = lo !== 0 ? trailingZeros(lo) : 32 + trailingZeros((hi & 0xfffff) | 0x100000);
    const needed = 1075 - exponent - zeros;
    if (needed > e) e = needed;
    if (exponent - 1023 > largest) largest = exponent - 1023;
  }
  if (e > BINARY_MAX || e <= -BINARY_MAX || largest + e >= 53) return null;
  return e;
}

function trailingZeros(word: number): number {
  return 31 - Math.clz32(word & -word);
}

function powerOfTwo(e: number): number {
  oneWords[0] = 0;
  oneWords[1] = (e + 1023) << 20;
  return one[0] as number;
}

function putScaled(n: number, code: number, exceptions: number, dense: boolean, out: Uint8Array, at: number): number {
  out[at] = CLASS_INTS | FLAG_DIVISOR | (exceptions > 0 ? FLAG_EXCEPTIONS : 0);
  let p = putVarint(out, at + 1, code);
  if (exceptions > 0) {
    p = putVarint(out, p, exceptions);
    let next = 0;
    for (let k = 0; k < exceptions; k++) {
      const row = exceptionAt[k] as number;
      p = putVarint(out, p, row - next);
      next = row + 1;
      const special = specialOf(row);
      out[p++] = special;
      if (special === RAW) p = putWords(out, p, row);
    }
  }
  return encodeInts(ints, 0, n - exceptions, dense, out, p);
}

/** Which of the 8 byte positions differ from the reference value anywhere, as a bit mask. */
function planeMask(n: number, previous: boolean): number {
  let lo = 0;
  let hi = 0;
  for (let i = 1; i < n; i++) {
    const ref = previous ? 2 * i - 2 : 0;
    lo |= (sourceWords[2 * i] as number) ^ (sourceWords[ref] as number);
    hi |= (sourceWords[2 * i + 1] as number) ^ (sourceWords[ref + 1] as number);
  }
  let mask = 0;
  for (let k = 0; k < 4; k++) {
    if (((lo >>> (8 * k)) & 0xff) !== 0) mask |= 1 << k;
    if (((hi >>> (8 * k)) & 0xff) !== 0) mask |= 16 << k;
  }
  return mask;
}

function countPlanes(n: number, previous: boolean): number {
  let count = 0;
  for (let mask = planeMask(n, previous); mask !== 0; mask &= mask - 1) count++;
  return count;
}

function putBits(n: number, out: Uint8Array, at: number): number {
  const previous = previousIsCloser(n);
  const mask = planeMask(n, previous);
  out[at] = CLASS_BITS | (previous ? FLAG_PREVIOUS : 0);
  out[at + 1] = mask;
  let p = putWords(out, at + 2, 0);
  for (let k = 0; k < 8; k++) {
    if ((mask & (1 << k)) === 0) continue;
    const word = k >> 2;
    const shift = (k & 3) * 8;
    for (let i = 1; i < n; i++) {
      const ref = previous ? 2 * i - 2 : 0;
      out[p++] = ((sourceWords[2 * i + word] as number) ^ (sourceWords[ref + word] as number)) >>> shift;
    }
  }
  return p;
}

/** Whether XOR with the previous value leaves more leading zero bits than XOR with the first. */
function previousIsCloser(n: number): boolean {
  let previous = 0;
  let first = 0;
  for (let i = 1; i < n; i++) {
    const hi = sourceWords[2 * i + 1] as number;
    previous += Math.clz32(hi ^ (sourceWords[2 * i - 1] as number));
    first += Math.clz32(hi ^ (sourceWords[1] as number));
  }
  return previous >= first;
}

/** Whether the column at the cursor can hold no NaN: whole or scaled numbers without exceptions. Reads nothing. */
export function holdsNumbers(cursor: ByteCursor): boolean {
  const header = cursor.at < cursor.end ? (cursor.bytes[cursor.at] as number) : 0xff;
  return header === CLASS_CONST || ((header & 3) === CLASS_INTS && (header & FLAG_EXCEPTIONS) === 0);
}

/** Decodes n rows to out[at, at + n); the cursor ends behind the column. */
export function decodeValues(cursor: ByteCursor, n: number, out: Float64Array, at: number): void {
  const start = cursor.at;
  const header = cursor.u8();
  switch (header & 3) {
    case CLASS_CONST:
      decodeConstant(cursor, header >> 2, n, out, at);
      return;
    case CLASS_INTS:
      if (header === CLASS_INTS) decodeInts(cursor, n, out, at);
      else decodeScaled(cursor, header, n, out, at);
      return;
    case CLASS_BITS:
      if (header >> 3 === 0) {
        decodeBits(cursor, (header & FLAG_PREVIOUS) !== 0, n, out, at);
        return;
      }
  }
  throw new CorruptChunkError(`value column header 0x${header.toString(16)} is none of ours`, start);
}

function decodeConstant(cursor: ByteCursor, special: number, n: number, out: Float64Array, at: number): void {
  if (special === 0) {
    out.fill(cursor.signed(), at, at + n);
    return;
  }
  readSpecial(cursor, special, 0);
  spread(n);
  out.set(decoded.subarray(0, n), at);
}

/** Copies row 0 of `decoded` to the rows behind it, as words (a NaN's bits survive that). */
function spread(n: number): void {
  const lo = decodedWords[0] as number;
  const hi = decodedWords[1] as number;
  for (let i = 1; i < n; i++) {
    decodedWords[2 * i] = lo;
    decodedWords[2 * i + 1] = hi;
  }
}

/** Puts a special value into row `row` of `decoded`. */
function readSpecial(cursor: ByteCursor, special: number, row: number): void {
  if (special === RAW) {
    const p = cursor.take(8);
    decodedWords[2 * row] = wordAt(cursor.bytes, p);
    decodedWords[2 * row + 1] = wordAt(cursor.bytes, p + 4);
    return;
  }
  if (special === 0 || special >= SPECIAL_HI.length) {
    throw new CorruptChunkError(`special value ${special} is none of ours`, cursor.at);
  }
  decodedWords[2 * row] = SPECIAL_LO[special] as number;
  decodedWords[2 * row + 1] = SPECIAL_HI[special] as number;
}

function wordAt(bytes: Uint8Array, p: number): number {
  return (
    (bytes[p] as number) |
    ((bytes[p + 1] as number) << 8) |
    ((bytes[p + 2] as number) << 16) |
    ((bytes[p + 3] as number) << 24)
  );
}

function decodeScaled(cursor: ByteCursor, header: number, n: number, out: Float64Array, at: number): void {
  const start = cursor.at;
  if (header >> 4 !== 0)
    throw new CorruptChunkError(`value column header 0x${header.toString(16)} is none of ours`, start);
  let divisor = 1;
  if ((header & FLAG_DIVISOR) !== 0) {
    const code = cursor.varint();
    if (code >= 1 && code <= DECIMALS_MAX) divisor = POW10[code] as number;
    else if (Math.abs(code - BINARY_ZERO) <= BINARY_MAX) divisor = powerOfTwo(code - BINARY_ZERO);
    else throw new CorruptChunkError(`divisor code ${code} is none of ours`, start);
  }
  const exceptions = (header & FLAG_EXCEPTIONS) !== 0 ? readExceptions(cursor, n) : 0;
  const rows = n - exceptions;
  decodeInts(cursor, rows, out, at);
  if (divisor !== 1) for (let i = at; i < at + rows; i++) out[i] = (out[i] as number) / divisor;
  if (exceptions > 0) insertExceptions(exceptions, n, out, at);
}

/** Reads rows to `exceptionAt` and values to `decoded`; returns their number, which is below n. */
function readExceptions(cursor: ByteCursor, n: number): number {
  const count = cursor.bounded(n - 1, 'number of exceptions');
  let row = 0;
  for (let k = 0; k < count; k++) {
    if (row >= n) throw new CorruptChunkError(`exception ${k + 1} of ${count} has no row left`, cursor.at);
    row += cursor.bounded(n - 1 - row, 'row of an exception');
    exceptionAt[k] = row++;
    readSpecial(cursor, cursor.u8(), k);
  }
  return count;
}

/** Moves out[at, at + n - count) apart, from the back, and puts the exceptions between. */
function insertExceptions(count: number, n: number, out: Float64Array, at: number): void {
  let sourceEnd = at + n - count;
  let targetEnd = at + n;
  for (let k = count - 1; k >= 0; k--) {
    const row = at + (exceptionAt[k] as number);
    const size = targetEnd - row - 1;
    out.copyWithin(row + 1, sourceEnd - size, sourceEnd);
    out.set(decoded.subarray(k, k + 1), row);
    sourceEnd -= size;
    targetEnd = row;
  }
}

function decodeBits(cursor: ByteCursor, previous: boolean, n: number, out: Float64Array, at: number): void {
  const mask = cursor.u8();
  readSpecial(cursor, RAW, 0);
  decodedWords.fill(0, 2, 2 * n);
  const bytes = cursor.bytes;
  for (let k = 0; k < 8; k++) {
    if ((mask & (1 << k)) === 0) continue;
    const p = cursor.take(n - 1) - 1;
    const shift = (k & 3) * 8;
    const word = k >> 2;
    for (let i = 1; i < n; i++) {
      const w = 2 * i + word;
      decodedWords[w] = (decodedWords[w] as number) | ((bytes[p + i] as number) << shift);
    }
  }
  let lo = decodedWords[0] as number;
  let hi = decodedWords[1] as number;
  const firstLo = lo;
  const firstHi = hi;
  for (let i = 1; i < n; i++) {
    lo = (decodedWords[2 * i] as number) ^ (previous ? lo : firstLo);
    hi = (decodedWords[2 * i + 1] as number) ^ (previous ? hi : firstHi);
    decodedWords[2 * i] = lo;
    decodedWords[2 * i + 1] = hi;
  }
  out.set(decoded.subarray(0, n), at);
}
