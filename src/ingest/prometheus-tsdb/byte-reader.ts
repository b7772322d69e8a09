/**
 * ByteReader: the big-endian and varint encodings of Prometheus' files, read with bounds: whatever leaves the given stretch
 * throws a CorruptPrometheusError that names file and offset.
 *
 * 64-bit numbers are read as float64. Those that must be exact (times, references, lengths) are asked for by `exact*`, which
 * refuse what is beyond 2^53; values are read as two words, so that every NaN keeps its bits.
 */

/** What is wrong in which file, where. */
export class CorruptPrometheusError extends Error {
  override name = 'CorruptPrometheusError';
  readonly file: string;
  readonly offset: number;

  constructor(file: string, offset: number, what: string) {
    super(`${file}: at byte ${offset}: ${what}`);
    this.file = file;
    this.offset = offset;
  }
}

const VARINT_BYTES_MAX = 10;
const decoder = new TextDecoder();
const floatView = new DataView(new ArrayBuffer(8));

export class ByteReader {
  bytes: Uint8Array = new Uint8Array(0);
  at = 0;
  end = 0;
  /** For messages: name of the file, and where bytes[0] lies in it. */
  file = '';
  base = 0;

  /** Reads bytes[start, end), which stand at `base + start` of the file. */
  reset(bytes: Uint8Array, start: number, end: number, file: string, base: number): this {
    this.bytes = bytes;
    this.at = start;
    this.end = end;
    this.file = file;
    this.base = base;
    return this;
  }

  more(): boolean {
    return this.at < this.end;
  }

  bad(what: string): CorruptPrometheusError {
    return new CorruptPrometheusError(this.file, this.base + this.at, what);
  }

  private need(count: number): number {
    const at = this.at;
    if (count > this.end - at) throw this.bad(`${count} bytes are wanted, ${this.end - at} are left`);
    this.at = at + count;
    return at;
  }

  u8(): number {
    return this.bytes[this.need(1)] as number;
  }

  be32(): number {
    const at = this.need(4);
    const b = this.bytes;
    return (
      (b[at] as number) * 0x1000000 +
      (((b[at + 1] as number) << 16) | ((b[at + 2] as number) << 8) | (b[at + 3] as number))
    );
  }

  /** Signed; may be inexact beyond 2^53. */
  be64(): number {
    const high = this.be32() | 0;
    return high * 0x100000000 + this.be32();
  }

  exactBe64(what: string): number {
    return this.exact(this.be64(), what);
  }

  float(): number {
    floatView.setUint32(0, this.be32());
    floatView.setUint32(4, this.be32());
    return floatView.getFloat64(0);
  }

  /** Unsigned; may be inexact beyond 2^53. */
  uvarint(): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < VARINT_BYTES_MAX; i++) {
      const b = this.u8();
      value += (b & 0x7f) * scale;
      if (b < 0x80) return value;
      scale *= 128;
    }
    throw this.bad(`a varint has more than ${VARINT_BYTES_MAX} bytes`);
  }

  exactUvarint(what: string): number {
    return this.exact(this.uvarint(), what);
  }

  /** Zigzag; may be inexact beyond 2^53. */
  varint(): number {
    const z = this.uvarint();
    const half = Math.floor(z / 2);
    return z % 2 === 1 ? -half - 1 : half;
  }

  exactVarint(what: string): number {
    return this.exact(this.varint(), what);
  }

  /** A count of things that take at least `bytesEach` bytes each. */
  count(what: string, bytesEach: number, max: number): number {
    const n = this.uvarint();
    if (n > max || n * bytesEach > this.end - this.at) throw this.bad(`${n} ${what} do not fit`);
    return n;
  }

  text(): string {
    const length = this.uvarint();
    if (length > this.end - this.at) throw this.bad(`a text of ${length} bytes, ${this.end - this.at} are left`);
    const at = this.need(length);
    return decoder.decode(this.bytes.subarray(at, at + length));
  }

  private exact(value: number, what: string): number {
    if (!Number.isSafeInteger(value)) throw this.bad(`${what} is ${value}`);
    return value;
  }
}
