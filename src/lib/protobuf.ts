/**
 * Protobuf wire format: a bounds-checked reader over bytes and a growing writer. No schemas, no generated code: each
 * protocol reads its own few fields by number, so that unknown ones cost a skip and nothing else.
 *
 * Reader: `while (r.more()) { switch (r.field()) { case 1: ... r.message() ... default: r.skip() } }`. Numbers that may
 * exceed 2^53 are rounded as int64 -> double rounds. Malformed bytes throw a ProtobufError with the byte offset.
 */

export const WIRE_VARINT = 0;
export const WIRE_FIXED64 = 1;
export const WIRE_BYTES = 2;
export const WIRE_FIXED32 = 5;

export class ProtobufError extends Error {
  override name = 'ProtobufError';
  /** In the array that the reader was given. */
  readonly offset: number;

  constructor(message: string, offset: number) {
    super(message);
    this.offset = offset;
  }
}

export class ProtobufReader {
  readonly bytes: Uint8Array;
  private readonly view: DataView;
  /** Where reading goes on, and the end of the current message. */
  at: number;
  end: number;
  /** Of the field that `field` read last. */
  wire = 0;
  private fieldAt = 0;
  private low = 0;
  private high = 0;

  constructor(bytes: Uint8Array, start = 0, end = bytes.length) {
    if (!(start >= 0 && start <= end && end <= bytes.length))
      throw new RangeError(`[${start}, ${end}) of ${bytes.length}`);
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.at = start;
    this.end = end;
  }

  /** Points the reader at another message in the same bytes. */
  reset(start: number, end: number): void {
    this.at = start;
    this.end = end;
  }

  more(): boolean {
    return this.at < this.end;
  }

  /** Reads a tag: returns the field number and sets `wire`. */
  field(): number {
    this.fieldAt = this.at;
    this.varint();
    const number = (this.high >>> 0) * 0x20000000 + (this.low >>> 3);
    this.wire = this.low & 7;
    if (number === 0 || number > 0x1fffffff) throw this.error('a field number is out of range', this.fieldAt);
    return number;
  }

  skip(): void {
    if (this.wire === WIRE_VARINT) this.varint();
    else if (this.wire === WIRE_BYTES) this.span();
    else if (this.wire === WIRE_FIXED64) this.advance(8);
    else if (this.wire === WIRE_FIXED32) this.advance(4);
    else throw this.error('a field has the wrong wire type', this.fieldAt);
  }

  /** Length-delimited: returns the start; `at` is then the end of it. */
  span(): number {
    this.expect(WIRE_BYTES);
    this.varint();
    const start = this.at;
    const length = this.high !== 0 ? Number.POSITIVE_INFINITY : this.low >>> 0;
    if (length > this.end - start) throw this.error('a length runs past the end of its message', this.fieldAt);
    this.at = start + length;
    return start;
  }

  /** Enters a submessage; pass what it returns to `leave` after the loop over its fields. */
  enter(): number {
    const start = this.span();
    const outer = this.end;
    this.end = this.at;
    this.at = start;
    return outer;
  }

  leave(outer: number): void {
    this.at = this.end;
    this.end = outer;
  }

  /** uint64 and uint32 as a number. */
  unsigned(): number {
    this.expect(WIRE_VARINT);
    this.varint();
    return (this.high >>> 0) * 4294967296 + (this.low >>> 0);
  }

  /** int64, int32 and enums as a number. */
  signed(): number {
    this.expect(WIRE_VARINT);
    this.varint();
    return this.high * 4294967296 + (this.low >>> 0);
  }

  /** sint64 and sint32 as a number. */
  zigzag(): number {
    this.expect(WIRE_VARINT);
    this.varint();
    return this.unzigzag();
  }

  double(): number {
    this.expect(WIRE_FIXED64);
    const p = this.at;
    this.advance(8);
    return this.view.getFloat64(p, true);
  }

  /** Where the eight bytes of a double stand, for callers that need its bits (`u32At`). */
  fixed64(): number {
    this.expect(WIRE_FIXED64);
    const p = this.at;
    this.advance(8);
    return p;
  }

  /** A little-endian word at an offset that `fixed64` gave, or 4 more. */
  u32At(offset: number): number {
    return this.view.getUint32(offset, true);
  }

  /** A double at an offset that `fixed64` gave, or within a packed field. */
  doubleAt(offset: number): number {
    return this.view.getFloat64(offset, true);
  }

  /** Repeated doubles, packed or one by one. */
  doublesInto(out: number[], limit: number): void {
    if (this.wire === WIRE_FIXED64) {
      this.checkCount(out.length, 1, limit);
      out.push(this.double());
      return;
    }
    const start = this.span();
    const size = this.at - start;
    if (size % 8 !== 0) throw this.error('packed doubles do not fill their length', this.fieldAt);
    this.checkCount(out.length, size / 8, limit);
    for (let p = start; p < this.at; p += 8) out.push(this.view.getFloat64(p, true));
  }

  /** Repeated sint64, packed or one by one. */
  zigzagsInto(out: number[], limit: number): void {
    this.varintsInto(out, limit, true);
  }

  /** Repeated uint32 or uint64, packed or one by one. */
  unsignedsInto(out: number[], limit: number): void {
    this.varintsInto(out, limit, false);
  }

  error(message: string, offset = this.at): ProtobufError {
    return new ProtobufError(message, offset);
  }

  private varintsInto(out: number[], limit: number, zigzag: boolean): void {
    if (this.wire === WIRE_VARINT) {
      this.checkCount(out.length, 1, limit);
      out.push(zigzag ? this.zigzag() : this.unsigned());
      return;
    }
    const outer = this.enter();
    while (this.at < this.end) {
      this.checkCount(out.length, 1, limit);
      this.varint();
      out.push(zigzag ? this.unzigzag() : (this.high >>> 0) * 4294967296 + (this.low >>> 0));
    }
    this.leave(outer);
  }

  private checkCount(have: number, more: number, limit: number): void {
    if (have + more > limit) throw this.error(`more than ${limit} entries in a repeated field`, this.fieldAt);
  }

  private unzigzag(): number {
    const negative = (this.low & 1) !== 0;
    const low = ((this.low >>> 1) | (this.high << 31)) >>> 0;
    const magnitude = (this.high >>> 1) * 4294967296 + low;
    return negative ? -magnitude - 1 : magnitude;
  }

  private expect(wire: number): void {
    if (this.wire !== wire) throw this.error('a field has the wrong wire type', this.fieldAt);
  }

  private advance(n: number): void {
    if (n > this.end - this.at) throw this.error('a value runs past the end of its message', this.fieldAt);
    this.at += n;
  }

  private varint(): void {
    const bytes = this.bytes;
    // Fast path: tags and most lengths are one byte.
    const first = bytes[this.at] as number;
    if (first < 0x80 && this.at < this.end) {
      this.at++;
      this.low = first;
      this.high = 0;
      return;
    }
    let low = 0;
    let high = 0;
    for (let i = 0; i < 10; i++) {
      if (this.at >= this.end) throw this.error('a value runs past the end of its message');
      const b = bytes[this.at++] as number;
      const bits = b & 0x7f;
      if (i < 4) low |= bits << (7 * i);
      else if (i === 4) {
        low |= bits << 28;
        high = bits >>> 4;
      } else high |= bits << (7 * i - 32);
      if (b < 0x80) {
        this.low = low;
        this.high = high;
        return;
      }
    }
    throw this.error('a varint is longer than ten bytes', this.at - 10);
  }
}

const encoder = new TextEncoder();

export class ProtobufWriter {
  private bytes: Uint8Array<ArrayBuffer>;
  private view: DataView;
  private at = 0;

  constructor(capacity = 1024) {
    this.bytes = new Uint8Array(capacity);
    this.view = new DataView(this.bytes.buffer);
  }

  get length(): number {
    return this.at;
  }

  clear(): void {
    this.at = 0;
  }

  /** What was written; a view that holds until the next write. */
  finish(): Uint8Array {
    return this.bytes.subarray(0, this.at);
  }

  /** uint64, or int64 where n is negative. A whole number; beyond 2^53 it is what the double says. */
  varint(field: number, n: number): void {
    this.tag(field, WIRE_VARINT);
    this.rawVarint(n);
  }

  zigzag(field: number, n: number): void {
    this.tag(field, WIRE_VARINT);
    this.rawZigzag(n);
  }

  double(field: number, value: number): void {
    this.tag(field, WIRE_FIXED64);
    this.reserve(8);
    this.view.setFloat64(this.at, value, true);
    this.at += 8;
  }

  /** A double given by its bits: words[2 * index] is the low one. Keeps NaN payloads. */
  doubleFrom(field: number, words: Uint32Array, index: number): void {
    this.tag(field, WIRE_FIXED64);
    this.reserve(8);
    this.view.setUint32(this.at, words[2 * index] as number, true);
    this.view.setUint32(this.at + 4, words[2 * index + 1] as number, true);
    this.at += 8;
  }

  string(field: number, text: string): void {
    this.blob(field, encoder.encode(text));
  }

  blob(field: number, bytes: Uint8Array): void {
    this.tag(field, WIRE_BYTES);
    this.rawVarint(bytes.length);
    this.raw(bytes);
  }

  raw(bytes: Uint8Array): void {
    this.reserve(bytes.length);
    this.bytes.set(bytes, this.at);
    this.at += bytes.length;
  }

  /** Opens a submessage; `close(begin(n))` around its fields. Its length is put in afterwards, minimally encoded. */
  begin(field: number): number {
    this.tag(field, WIRE_BYTES);
    return this.at;
  }

  close(start: number): void {
    const size = this.at - start;
    const lengthBytes = size < 0x80 ? 1 : size < 0x4000 ? 2 : size < 0x200000 ? 3 : size < 0x10000000 ? 4 : 5;
    this.reserve(lengthBytes);
    this.bytes.copyWithin(start + lengthBytes, start, this.at);
    this.at = start;
    this.rawVarint(size);
    this.at += size;
  }

  packedDoubles(field: number, values: readonly number[]): void {
    if (values.length === 0) return;
    const start = this.begin(field);
    this.reserve(values.length * 8);
    for (const v of values) {
      this.view.setFloat64(this.at, v, true);
      this.at += 8;
    }
    this.close(start);
  }

  packedZigzags(field: number, values: readonly number[]): void {
    if (values.length === 0) return;
    const start = this.begin(field);
    for (const v of values) this.rawZigzag(v);
    this.close(start);
  }

  packedVarints(field: number, values: readonly number[]): void {
    if (values.length === 0) return;
    const start = this.begin(field);
    for (const v of values) this.rawVarint(v);
    this.close(start);
  }

  private tag(field: number, wire: number): void {
    this.rawVarint(field * 8 + wire);
  }

  private rawZigzag(n: number): void {
    // Fast path, and beyond it BigInt: 2n does not fit a double's exact range.
    if (n >= -0x20000000000000 / 2 && n < 0x20000000000000 / 2) this.rawVarint(n < 0 ? -2 * n - 1 : 2 * n);
    else this.rawBig(BigInt.asUintN(64, n < 0 ? -2n * BigInt(n) - 1n : 2n * BigInt(n)));
  }

  private rawVarint(n: number): void {
    if (n < 0 || n > Number.MAX_SAFE_INTEGER) {
      this.rawBig(BigInt.asUintN(64, BigInt(n)));
      return;
    }
    this.reserve(10);
    let rest = n;
    while (rest >= 0x80) {
      this.bytes[this.at++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.bytes[this.at++] = rest;
  }

  private rawBig(n: bigint): void {
    this.reserve(10);
    let rest = n;
    while (rest >= 0x80n) {
      this.bytes[this.at++] = Number(rest & 0x7fn) | 0x80;
      rest >>= 7n;
    }
    this.bytes[this.at++] = Number(rest);
  }

  private reserve(more: number): void {
    if (this.at + more <= this.bytes.length) return;
    const grown = new Uint8Array(Math.max(this.at + more, this.bytes.length * 2));
    grown.set(this.bytes.subarray(0, this.at));
    this.bytes = grown;
    this.view = new DataView(grown.buffer);
  }
}
