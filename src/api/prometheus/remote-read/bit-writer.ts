/** BitWriter: bits from the highest of each byte on, into a growing buffer. */
export class BitWriter {
  private out = new Uint8Array(256);
  /** Bits written. */
  private at = 0;

  /** The lowest `count` bits of v, 0 to 32 of them. */
  bits(v: number, count: number): void {
    this.reserve(count);
    let left = count;
    while (left > 0) {
      const free = 8 - (this.at & 7);
      const n = Math.min(free, left);
      const part = (v >>> (left - n)) & ((1 << n) - 1);
      const index = this.at >>> 3;
      this.out[index] = (this.out[index] as number) | (part << (free - n));
      this.at += n;
      left -= n;
    }
  }

  /** A whole number in two's complement of up to 64 bits; magnitude below 2^53. */
  signed(v: number, count: number): void {
    if (count > 32) this.bits(Math.floor(v / 2 ** 32) >>> 0, count - 32);
    this.bits(v >>> 0, Math.min(32, count));
  }

  /** Seven bits a byte, the lowest first. */
  uvarint(v: number): void {
    let rest = v;
    while (rest >= 0x80) {
      this.bits((rest % 0x80) | 0x80, 8);
      rest = Math.floor(rest / 0x80);
    }
    this.bits(rest, 8);
  }

  /** Zigzag, then uvarint. */
  varint(v: number): void {
    this.uvarint(v < 0 ? -2 * v - 1 : 2 * v);
  }

  finish(): Uint8Array {
    return this.out.slice(0, (this.at + 7) >>> 3);
  }

  private reserve(bits: number): void {
    const need = ((this.at + bits + 7) >>> 3) + 8;
    if (need <= this.out.length) return;
    const grown = new Uint8Array(Math.max(need, this.out.length * 2));
    grown.set(this.out);
    this.out = grown;
  }
}
