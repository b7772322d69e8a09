/**
 * BitReader: the bit streams inside of Prometheus' chunks: plain bits, the variable-width integers ("varbit") and XOR-coded
 * floats. Most significant bit first. Reading beyond the end throws.
 *
 * 64-bit quantities come as `high` and `low` words; integers as float64, exact up to 2^53.
 */
import { CorruptPrometheusError } from './byte-reader.ts';

/** Bits of payload by number of leading ones: 0, 10, 110, ... */
const VARBIT_WIDTHS = [0, 3, 6, 9, 12, 18, 25, 56, 64];

/** One float that is coded against its predecessor. */
export class XorValue {
  high = 0;
  low = 0;
  leading = 0;
  trailing = 0;
}

export class BitReader {
  high = 0;
  low = 0;
  private bytes: Uint8Array = new Uint8Array(0);
  /** In bits. */
  private at = 0;
  private end = 0;
  private file = '';
  private base = 0;

  reset(bytes: Uint8Array, start: number, end: number, file: string, base: number): void {
    this.bytes = bytes;
    this.at = start * 8;
    this.end = end * 8;
    this.file = file;
    this.base = base;
  }

  bad(what: string): CorruptPrometheusError {
    return new CorruptPrometheusError(this.file, this.base + (this.at >>> 3), what);
  }

  bit(): number {
    if (this.at >= this.end) throw this.bad('the chunk ends before its samples do');
    const b = ((this.bytes[this.at >>> 3] as number) >>> (7 - (this.at & 7))) & 1;
    this.at++;
    return b;
  }

  /** Up to 32 bits, unsigned. */
  bits(count: number): number {
    if (count > this.end - this.at) throw this.bad('the chunk ends before its samples do');
    let value = 0;
    let left = count;
    while (left > 0) {
      const room = 8 - (this.at & 7);
      const n = Math.min(left, room);
      const byte = this.bytes[this.at >>> 3] as number;
      value = value * 2 ** n + ((byte >>> (room - n)) & ((1 << n) - 1));
      this.at += n;
      left -= n;
    }
    return value;
  }

  /** 64 bits into `high` and `low`. */
  words(): void {
    this.high = this.bits(32);
    this.low = this.bits(32);
  }

  /** A byte-wise varint, unsigned; need not stand at a byte's start. */
  uvarint(): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 10; i++) {
      const b = this.bits(8);
      value += (b & 0x7f) * scale;
      if (b < 0x80) return value;
      scale *= 128;
    }
    throw this.bad('a varint has more than 10 bytes');
  }

  varint(): number {
    const z = this.uvarint();
    const half = Math.floor(z / 2);
    return z % 2 === 1 ? -half - 1 : half;
  }

  private unary(max: number): number {
    let ones = 0;
    while (ones < max && this.bit() === 1) ones++;
    return ones;
  }

  /** Unsigned payload of `width` bits; a negative number is the payload less 2^width. */
  private signed(width: number): number {
    // They reach from -2^(n-1) + 1 to 2^(n-1).
    if (width <= 32) {
      const value = this.bits(width);
      return value > 2 ** (width - 1) ? value - 2 ** width : value;
    }
    const high = this.bits(width - 32);
    const low = this.bits(32);
    const half = 2 ** (width - 33);
    // Less the power in the upper word alone: the whole would not fit a float's 53 bits.
    const negative = high > half || (high === half && low > 0);
    return (negative ? high - 2 * half : high) * 0x100000000 + low;
  }

  varbitInt(): number {
    const width = VARBIT_WIDTHS[this.unary(8)] as number;
    if (width === 64) {
      this.words();
      return (this.high | 0) * 0x100000000 + this.low;
    }
    return width === 0 ? 0 : this.signed(width);
  }

  varbitUint(): number {
    const width = VARBIT_WIDTHS[this.unary(8)] as number;
    if (width === 0) return 0;
    const high = width > 32 ? this.bits(width - 32) : 0;
    return high * 0x100000000 + this.bits(Math.min(width, 32));
  }

  /** The change of a time delta in a float chunk. */
  deltaOfDelta(): number {
    const width = [0, 14, 17, 20, 64][this.unary(4)] as number;
    if (width === 64) {
      this.words();
      return (this.high | 0) * 0x100000000 + this.low;
    }
    return width === 0 ? 0 : this.signed(width);
  }

  /** The next value of a XOR-coded column. */
  xor(value: XorValue): void {
    if (this.bit() === 0) return;
    if (this.bit() === 1) this.window(value);
    this.applyXor(value);
  }

  /** Reads how many bits at which place differ from now on. */
  window(value: XorValue): void {
    value.leading = this.bits(5);
    const width = this.bits(6) || 64;
    if (value.leading + width > 64) throw this.bad(`${width} bits after ${value.leading} zeroes are more than 64`);
    value.trailing = 64 - value.leading - width;
  }

  applyXor(value: XorValue): void {
    const width = 64 - value.leading - value.trailing;
    let high = width > 32 ? this.bits(width - 32) : 0;
    let low = this.bits(Math.min(width, 32));
    const shift = value.trailing;
    if (shift >= 32) {
      high = low << (shift - 32);
      low = 0;
    } else if (shift > 0) {
      high = (high << shift) | (low >>> (32 - shift));
      low <<= shift;
    }
    value.high = (value.high ^ high) >>> 0;
    value.low = (value.low ^ low) >>> 0;
  }
}
