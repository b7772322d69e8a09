/**
 * Residuals (whole numbers from 0 up) as bit fields or byte planes.
 *
 * A residual of w bytes stands as w planes: all lowest bytes, then all second bytes, and so on. Planes unpack as fast
 * as interleaved bytes, need no alignment, allow widths of 3, 5, 6 and 7, and give zstd columns of one kind: the
 * upper planes are mostly zero. Ranges under 16 may be packed to 1, 2 or 4 bits, low bits first.
 */

/** Width codes as written: 0 = all zero, 1..3 = 1, 2, 4 bits, 4..10 = 1..7 bytes. */
export const WIDTH_BITS = [0, 1, 2, 4, 8, 16, 24, 32, 40, 48, 56] as const;
export const WIDTH_CODE_MAX = 10;
const FIRST_BYTE_WIDTH = 4;
const TWO32 = 2 ** 32;

/** The smallest width code for residuals 0..max; `pack` allows less than a byte. */
export function widthCode(max: number, pack: boolean): number {
  if (max === 0) return 0;
  if (pack && max < 16) return max < 2 ? 1 : max < 4 ? 2 : 3;
  if (max < 2 ** 16) return max < 2 ** 8 ? 4 : 5;
  if (max < TWO32) return max < 2 ** 24 ? 6 : 7;
  return max < 2 ** 40 ? 8 : max < 2 ** 48 ? 9 : 10;
}

/** Largest residual that a width code holds. */
export function widthLimit(code: number): number {
  return 2 ** (WIDTH_BITS[code] as number) - 1;
}

export function packedSize(code: number, n: number): number {
  return Math.ceil(((WIDTH_BITS[code] as number) * n) / 8);
}

/** Writes r[from, from + n) at out[at...]; returns the end. */
export function pack(code: number, r: Float64Array, from: number, n: number, out: Uint8Array, at: number): number {
  if (code === 0) return at;
  if (code < FIRST_BYTE_WIDTH) return packBits(WIDTH_BITS[code] as number, r, from, n, out, at);
  const bytes = code - FIRST_BYTE_WIDTH + 1;
  const low = Math.min(bytes, 4);
  for (let i = 0; i < n; i++) {
    const v = r[from + i] as number;
    let word = bytes <= 3 ? v | 0 : (v % TWO32) | 0;
    let p = at + i;
    for (let k = 0; k < low; k++) {
      out[p] = word;
      word >>>= 8;
      p += n;
    }
    if (bytes > 4) {
      word = Math.floor(v / TWO32) | 0;
      for (let k = 4; k < bytes; k++) {
        out[p] = word;
        word >>>= 8;
        p += n;
      }
    }
  }
  return at + n * bytes;
}

function packBits(bits: number, r: Float64Array, from: number, n: number, out: Uint8Array, at: number): number {
  let p = at;
  let word = 0;
  let shift = 0;
  for (let i = 0; i < n; i++) {
    word |= (r[from + i] as number) << shift;
    shift += bits;
    if (shift === 8) {
      out[p++] = word;
      word = 0;
      shift = 0;
    }
  }
  if (shift > 0) out[p++] = word;
  return p;
}

/**
 * out[at + i] = base + factor * residual i. The caller has checked that the bytes are there.
 */
export function unpack(
  code: number,
  bytes: Uint8Array,
  start: number,
  n: number,
  base: number,
  factor: number,
  out: Float64Array,
  at: number,
): void {
  switch (code) {
    case 0:
      out.fill(base, at, at + n);
      return;
    case 1:
    case 2:
    case 3:
      unpackBits(WIDTH_BITS[code] as number, bytes, start, n, base, factor, out, at);
      return;
    case 4:
      for (let i = 0; i < n; i++) out[at + i] = base + factor * (bytes[start + i] as number);
      return;
    case 5:
      unpack2(bytes, start, n, base, factor, out, at);
      return;
    case 6:
      unpack3(bytes, start, n, base, factor, out, at);
      return;
    case 7:
      unpack4(bytes, start, n, base, factor, out, at);
      return;
    default:
      unpackWide(code - FIRST_BYTE_WIDTH + 1, bytes, start, n, base, factor, out, at);
  }
}

/** A whole byte at a time, unrolled for the two widths that count; the last bytes, and single bits, in a plain loop. */
function unpackBits(
  bits: number,
  bytes: Uint8Array,
  start: number,
  n: number,
  base: number,
  factor: number,
  out: Float64Array,
  at: number,
): void {
  let p = start;
  let o = at;
  const end = at + n;
  if (bits === 4) {
    for (; o + 2 <= end; o += 2) {
      const word = bytes[p++] as number;
      out[o] = base + factor * (word & 15);
      out[o + 1] = base + factor * (word >> 4);
    }
  } else if (bits === 2) {
    for (; o + 4 <= end; o += 4) {
      const word = bytes[p++] as number;
      out[o] = base + factor * (word & 3);
      out[o + 1] = base + factor * ((word >> 2) & 3);
      out[o + 2] = base + factor * ((word >> 4) & 3);
      out[o + 3] = base + factor * (word >> 6);
    }
  }
  const mask = (1 << bits) - 1;
  while (o < end) {
    let word = bytes[p++] as number;
    const stop = Math.min(end, o + 8 / bits);
    for (; o < stop; o++) {
      out[o] = base + factor * (word & mask);
      word >>= bits;
    }
  }
}

function unpack2(b: Uint8Array, p0: number, n: number, base: number, f: number, out: Float64Array, at: number): void {
  const p1 = p0 + n;
  for (let i = 0; i < n; i++) {
    out[at + i] = base + f * ((b[p0 + i] as number) | ((b[p1 + i] as number) << 8));
  }
}

function unpack3(b: Uint8Array, p0: number, n: number, base: number, f: number, out: Float64Array, at: number): void {
  const p1 = p0 + n;
  const p2 = p1 + n;
  for (let i = 0; i < n; i++) {
    const word = (b[p0 + i] as number) | ((b[p1 + i] as number) << 8) | ((b[p2 + i] as number) << 16);
    out[at + i] = base + f * word;
  }
}

function unpack4(b: Uint8Array, p0: number, n: number, base: number, f: number, out: Float64Array, at: number): void {
  const p1 = p0 + n;
  const p2 = p1 + n;
  const p3 = p2 + n;
  for (let i = 0; i < n; i++) {
    const word =
      (b[p0 + i] as number) |
      ((b[p1 + i] as number) << 8) |
      ((b[p2 + i] as number) << 16) |
      ((b[p3 + i] as number) << 24);
    out[at + i] = base + f * (word >>> 0);
  }
}

function unpackWide(
  planes: number,
  b: Uint8Array,
  p0: number,
  n: number,
  base: number,
  f: number,
  out: Float64Array,
  at: number,
): void {
  const p4 = p0 + 4 * n;
  // A missing upper plane reads the lowest one and multiplies it by nothing.
  const p5 = planes > 5 ? p4 + n : p0;
  const p6 = planes > 6 ? p5 + n : p0;
  const m5 = planes > 5 ? 0xff : 0;
  const m6 = planes > 6 ? 0xff : 0;
  unpack4(b, p0, n, 0, 1, out, at);
  for (let i = 0; i < n; i++) {
    const high = (b[p4 + i] as number) | (((b[p5 + i] as number) & m5) << 8) | (((b[p6 + i] as number) & m6) << 16);
    out[at + i] = base + f * (high * TWO32 + (out[at + i] as number));
  }
}
