/**
 * Varints of whole numbers up to 2^53 and a bounds-checked cursor: the small change of every format in this folder.
 *
 * An unsigned varint is LEB128. A signed one keeps its sign in bit 0 of the first byte and six bits of magnitude
 * beside it (zigzag would overflow 2^53). Numbers up to 2^28 take the integer path; above, the number is cut in two
 * with exact float arithmetic, so that no BigInt is needed.
 */
import { CorruptChunkError } from './corrupt.ts';

export const MAX_INT = Number.MAX_SAFE_INTEGER;
const TWO28 = 2 ** 28;
/** Bytes that a varint or signed varint can take at most. */
export const MAX_VARINT = 8;

export function putVarint(out: Uint8Array, at: number, value: number): number {
  let p = at;
  let v = value;
  while (v >= TWO28) {
    const high = Math.floor(v / 128);
    out[p++] = (v - high * 128) | 0x80;
    v = high;
  }
  let low = v | 0;
  while (low >= 0x80) {
    out[p++] = (low & 0x7f) | 0x80;
    low >>>= 7;
  }
  out[p++] = low;
  return p;
}

export function putSigned(out: Uint8Array, at: number, value: number): number {
  const negative = value < 0 ? 1 : 0;
  const magnitude = negative === 1 ? -value : value;
  if (magnitude < 64) {
    out[at] = (magnitude << 1) | negative;
    return at + 1;
  }
  const high = Math.floor(magnitude / 64);
  out[at] = ((magnitude - high * 64) << 1) | negative | 0x80;
  return putVarint(out, at + 1, high);
}

export function varintSize(value: number): number {
  let size = 1;
  for (let v = value; v >= 128; v /= 128) size++;
  return size;
}

/** Reads forward through bytes[at, end). Every read checks the end first and throws CorruptChunkError. */
export class ByteCursor {
  bytes: Uint8Array = new Uint8Array(0);
  at = 0;
  end = 0;

  reset(bytes: Uint8Array, at: number, end: number): void {
    if (!(at >= 0 && end <= bytes.length && at <= end)) {
      throw new CorruptChunkError(`range ${at}..${end} is outside of the ${bytes.length} bytes given`, at);
    }
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  /** Checks that `size` more bytes are there and returns where they start; moves past them. */
  take(size: number): number {
    const start = this.at;
    if (!(size >= 0 && size <= this.end - start)) {
      throw new CorruptChunkError(`needs ${size} bytes, ${this.end - start} are left`, start);
    }
    this.at = start + size;
    return start;
  }

  u8(): number {
    if (this.at >= this.end) throw new CorruptChunkError('needs 1 byte, none are left', this.at);
    return this.bytes[this.at++] as number;
  }

  varint(): number {
    const first = this.u8();
    // Fast path: one byte.
    if (first < 0x80) return first;
    return (first & 0x7f) + this.rest(128);
  }

  signed(): number {
    const first = this.u8();
    let magnitude = (first >> 1) & 0x3f;
    if (first >= 0x80) magnitude += this.rest(64);
    if (magnitude > MAX_INT) throw new CorruptChunkError('number above 2^53', this.at);
    return (first & 1) === 1 ? 0 - magnitude : magnitude;
  }

  /** A varint that must be at most `max`; `what` names it in the error. */
  bounded(max: number, what: string): number {
    const start = this.at;
    const value = this.varint();
    if (value > max) throw new CorruptChunkError(`${what} is ${value}, at most ${max} can be`, start);
    return value;
  }

  private rest(unit: number): number {
    let scale = unit;
    let value = 0;
    for (let i = 0; i < MAX_VARINT; i++) {
      const b = this.u8();
      value += (b & 0x7f) * scale;
      if (b < 0x80) {
        if (value > MAX_INT) break;
        return value;
      }
      scale *= 128;
    }
    throw new CorruptChunkError('number above 2^53', this.at);
  }
}
