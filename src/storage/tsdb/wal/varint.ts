/**
 * Varints for the head's logs: whole numbers from 0 to 2^53 - 1, seven bits a byte, low first. `ByteCursor` reads them
 * from bytes that may be damaged: it checks every bound and throws `CorruptRecordError`.
 */

/** A record passed its checksum or framing but does not make sense; the reader skips and reports it. */
export class CorruptRecordError extends Error {
  override name = 'CorruptRecordError';
}

/** Longest varint, bytes. */
export const VARINT_MAX = 8;

export function putVarint(out: Uint8Array, at: number, value: number): number {
  let p = at;
  let v = value;
  // Beyond 31 bits shifts no longer work: divide.
  while (v >= 0x80000000) {
    out[p++] = (v % 128) | 0x80;
    v = Math.floor(v / 128);
  }
  while (v >= 0x80) {
    out[p++] = (v & 0x7f) | 0x80;
    v >>>= 7;
  }
  out[p++] = v;
  return p;
}

/** Maps 0, -1, 1, -2, ... to 0, 1, 2, 3, ...; |value| < 2^52. */
export function zigzag(value: number): number {
  return value >= 0 ? value * 2 : -value * 2 - 1;
}

export function unzigzag(value: number): number {
  return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
}

const floatScratch = new Float64Array(1);
const floatBytes = new Uint8Array(floatScratch.buffer);

/** Little-endian double; used for numbers, never for sample values (those are moved as bytes). */
export function putF64(out: Uint8Array, at: number, value: number): number {
  floatScratch[0] = value;
  out.set(floatBytes, at);
  return at + 8;
}

export class ByteCursor {
  bytes: Uint8Array;
  at: number;
  end: number;

  constructor(bytes: Uint8Array, at = 0, end = bytes.length) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  get left(): number {
    return this.end - this.at;
  }

  byte(): number {
    if (this.at >= this.end) throw new CorruptRecordError(`record ends at byte ${this.end}, one more was expected`);
    return this.bytes[this.at++] as number;
  }

  varint(): number {
    let result = 0;
    let scale = 1;
    for (let i = 0; i < VARINT_MAX; i++) {
      const b = this.byte();
      result += (b & 0x7f) * scale;
      if (b < 0x80) {
        if (result > Number.MAX_SAFE_INTEGER) break;
        return result;
      }
      scale *= 128;
    }
    throw new CorruptRecordError(`number at byte ${this.at} is longer than 53 bits`);
  }

  /** A count, length or id that must not exceed `max`. */
  bounded(max: number, what: string): number {
    const n = this.varint();
    if (n > max) throw new CorruptRecordError(`${what} ${n} at byte ${this.at} exceeds ${max}`);
    return n;
  }

  f64(): number {
    this.need(8);
    for (let i = 0; i < 8; i++) floatBytes[i] = this.bytes[this.at + i] as number;
    this.at += 8;
    return floatScratch[0] as number;
  }

  /** The next `length` bytes, as a view. */
  take(length: number): Uint8Array {
    this.need(length);
    const view = this.bytes.subarray(this.at, this.at + length);
    this.at += length;
    return view;
  }

  need(length: number): void {
    if (length > this.end - this.at) {
      throw new CorruptRecordError(`record has ${this.end - this.at} bytes left, ${length} were expected`);
    }
  }
}
