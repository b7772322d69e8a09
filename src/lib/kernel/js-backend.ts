/**
 * The kernel in plain JavaScript: for engines without WebAssembly, and as the check on assembly/kernel.ts. It gives the
 * same columns, error codes and error positions, function by function; change both together.
 *
 * About a tenth of the Wasm speed: 64-bit words are pairs of 32-bit halves here.
 */
import { sipHash128 } from '../identity-hash.ts';
import {
  CODE,
  EXTRA_EXEMPLAR,
  EXTRA_HISTOGRAM,
  EXTRA_METADATA,
  EXTRA_SLOW_LABELS,
  EXTRA_WORDS,
  type KernelBackend,
  PARAM,
} from './layout.ts';

const INITIAL_BYTES = 1 << 20;
/** "__name__" as two little-endian words. */
const METRIC_NAME_LOW = 0x616e5f5f;
const METRIC_NAME_HIGH = 0x5f5f656d;

export class JsBackend implements KernelBackend {
  readonly name = 'js';
  buffer = new ArrayBuffer(INITIAL_BYTES);
  private u8 = new Uint8Array(this.buffer);
  private u32 = new Uint32Array(this.buffer);
  private f64 = new Float64Array(this.buffer);
  private view = new DataView(this.buffer);
  /** Set by `varint`: where reading goes on (0 = too long), the value's halves, and whether it was minimal. */
  private next = 0;
  private low = 0;
  private high = 0;
  private minimal = true;

  grow(bytes: number): void {
    if (bytes <= this.buffer.byteLength) return;
    const grown = new ArrayBuffer(Math.ceil(bytes / 8) * 8);
    new Uint8Array(grown).set(this.u8);
    this.buffer = grown;
    this.u8 = new Uint8Array(grown);
    this.u32 = new Uint32Array(grown);
    this.f64 = new Float64Array(grown);
    this.view = new DataView(grown);
  }

  hash(start: number, end: number, out: number): void {
    // The seed is the first four words of the memory.
    sipHash128(this.u32, this.u8, start, end, this.u32, out >>> 2);
  }

  snappy(from: number, fromEnd: number, to: number, toEnd: number): number {
    const u8 = this.u8;
    let ip = from;
    let op = to;
    while (ip < fromEnd) {
      const at = ip;
      const tag = u8[ip++] as number;
      if ((tag & 3) === 0) {
        let n = tag >>> 2;
        if (n >= 60) {
          const k = n - 59;
          if (fromEnd - ip < k) return this.fail(CODE.snappyLiteral, at);
          n = (this.view.getUint32(ip, true) & (0xffffffff >>> (32 - (k << 3)))) >>> 0;
          ip += k;
        }
        if (n >= fromEnd - ip || n >= toEnd - op) return this.fail(CODE.snappyLiteral, at);
        n++;
        u8.copyWithin(op, ip, ip + n);
        ip += n;
        op += n;
        continue;
      }
      let n: number;
      let offset: number;
      if ((tag & 3) === 1) {
        n = ((tag >>> 2) & 7) + 4;
        offset = ((tag & 0xe0) << 3) | (u8[ip] as number);
        ip += 1;
      } else {
        n = (tag >>> 2) + 1;
        if ((tag & 3) === 2) {
          offset = this.view.getUint16(ip, true);
          ip += 2;
        } else {
          offset = this.view.getUint32(ip, true);
          ip += 4;
        }
      }
      if (ip > fromEnd) return this.fail(CODE.snappyCopy, at);
      if (offset === 0 || offset > op - to) return this.fail(CODE.snappyOffset, at);
      if (n > toEnd - op) return this.fail(CODE.snappyLength, at);
      for (let i = 0; i < n; i++) u8[op + i] = u8[op + i - offset] as number;
      op += n;
    }
    return op === toEnd ? CODE.ok : this.fail(CODE.snappyLength, ip);
  }

  scan(): number {
    const u32 = this.u32;
    const u8 = this.u8;
    const end = u32[PARAM.messageEnd] as number;
    u32[PARAM.extraCount] = 0;
    u32[PARAM.oddTimes] = 0;
    let series = 0;
    let samples = 0;
    let p = u32[PARAM.messageStart] as number;
    while (p < end) {
      const tag = u8[p] as number;
      if (tag !== 0x0a && tag !== 0x1a) {
        const code = this.oddField(p, end, 0b1010);
        if (code !== 0) return code;
        p = this.next;
        continue;
      }
      const size = this.length(p + 1);
      const row = this.next;
      if (row === 0) return this.fail(CODE.badVarint, p);
      if (row > end || size > end - row) return this.fail(CODE.truncated, p);
      const rowEnd = row + size;
      if (tag === 0x1a) {
        if (!this.pushExtra(0, EXTRA_METADATA, row, rowEnd)) return this.fail(CODE.extraRoom, p);
        p = rowEnd;
        continue;
      }
      if (series === u32[PARAM.seriesCapacity]) return this.fail(CODE.seriesRoom, p);
      u32[((u32[PARAM.sampleStart] as number) >>> 2) + series] = samples;
      u32[PARAM.seriesCount] = series;
      const code = this.scanRow(row, rowEnd, series, samples);
      if (code !== 0) return code;
      samples = this.samples;
      if (this.slow && !this.pushExtra(series, EXTRA_SLOW_LABELS, row, rowEnd)) return this.fail(CODE.extraRoom, p);
      u32[((u32[PARAM.labelStart] as number) >>> 2) + series] = this.labelStart;
      u32[((u32[PARAM.labelEnd] as number) >>> 2) + series] = this.slow ? this.labelStart : this.labelEnd;
      series++;
      p = rowEnd;
    }
    u32[((u32[PARAM.sampleStart] as number) >>> 2) + series] = samples;
    u32[PARAM.seriesCount] = series;
    u32[PARAM.sampleCount] = samples;
    return CODE.ok;
  }

  /** Results of `scanRow` and `label`. */
  private samples = 0;
  private labelStart = 0;
  private labelEnd = 0;
  private slow = false;
  private named = false;
  private previousName = 0;
  private previousLength = 0;

  private scanRow(row: number, rowEnd: number, series: number, firstSample: number): number {
    const u8 = this.u8;
    this.samples = firstSample;
    this.labelStart = row;
    this.labelEnd = 0;
    this.slow = false;
    this.named = false;
    this.previousLength = 0;
    let q = row;
    while (q < rowEnd) {
      const t = u8[q] as number;
      if (t !== 0x0a && t !== 0x12 && t !== 0x1a && t !== 0x22) {
        const code = this.oddField(q, rowEnd, 0b11110);
        if (code !== 0) return code;
        q = this.next;
        continue;
      }
      const n = this.length(q + 1);
      const s = this.next;
      if (s === 0) return this.fail(CODE.badVarint, q);
      if (s > rowEnd || n > rowEnd - s) return this.fail(CODE.truncated, q);
      const e = s + n;
      if (t === 0x0a) {
        if (!this.minimal) this.slow = true;
        if (this.labelEnd === 0) this.labelStart = q;
        else if (q !== this.labelEnd) this.slow = true;
        this.labelEnd = e;
        if (!this.slow) this.slow = !this.canonicalLabel(s, e);
      } else if (t === 0x12) {
        if (this.samples === this.u32[PARAM.sampleCapacity]) return this.fail(CODE.sampleRoom, q);
        const code = this.sample(s, e, this.samples++);
        if (code !== 0) return code;
      } else if (!this.pushExtra(series, t === 0x1a ? EXTRA_EXEMPLAR : EXTRA_HISTOGRAM, s, e)) {
        return this.fail(CODE.extraRoom, q);
      }
      q = e;
    }
    if (!this.slow && this.named) {
      this.hash(this.labelStart, this.labelEnd, (this.u32[PARAM.hashes] as number) + series * 16);
      this.slow = !this.labelsAreUtf8(this.labelStart, this.labelEnd);
    } else this.slow = true;
    return CODE.ok;
  }

  /** Whether the Label message [s, e) is canonical and comes after the one before it. */
  private canonicalLabel(s: number, e: number): boolean {
    const u8 = this.u8;
    const nameLength = this.length(s + 1);
    const name = this.next;
    if (name === 0 || !this.minimal || u8[s] !== 0x0a) return false;
    if (nameLength === 0 || name >= e || nameLength >= e - name) return false;
    const nameEnd = name + nameLength;
    const valueLength = this.length(nameEnd + 1);
    const value = this.next;
    if (value === 0 || !this.minimal) return false;
    if (u8[nameEnd] !== 0x12 || value >= e || valueLength !== e - value) return false;
    if (this.previousLength !== 0 && !this.sortsBefore(this.previousName, this.previousLength, name, nameLength)) {
      return false;
    }
    if (
      nameLength === 8 &&
      this.view.getInt32(name, true) === METRIC_NAME_LOW &&
      this.view.getInt32(name + 4, true) === METRIC_NAME_HIGH
    ) {
      this.named = true;
    }
    this.previousName = name;
    this.previousLength = nameLength;
    return true;
  }

  private sortsBefore(a: number, an: number, b: number, bn: number): boolean {
    const u8 = this.u8;
    const n = Math.min(an, bn);
    for (let i = 0; i < n; i++) {
      const d = (u8[a + i] as number) - (u8[b + i] as number);
      if (d !== 0) return d < 0;
    }
    return an < bn;
  }

  private sample(start: number, end: number, index: number): number {
    const u8 = this.u8;
    let valueLow = 0;
    let valueHigh = 0;
    let timeLow = 0;
    let timeHigh = 0;
    let q = start;
    while (q < end) {
      const tag = u8[q] as number;
      if (tag === 0x09) {
        if (end - q < 9) return this.fail(CODE.truncated, q);
        valueLow = this.view.getUint32(q + 1, true);
        valueHigh = this.view.getUint32(q + 5, true);
        q += 9;
      } else if (tag === 0x10) {
        this.varint(q + 1);
        if (this.next === 0) return this.fail(CODE.badVarint, q);
        if (this.next > end) return this.fail(CODE.truncated, q);
        timeLow = this.low;
        timeHigh = this.high;
        q = this.next;
      } else {
        const code = this.oddField(q, end, 6);
        if (code !== 0) return code;
        q = this.next;
      }
    }
    const valueAt = ((this.u32[PARAM.values] as number) >>> 2) + index * 2;
    this.u32[valueAt] = valueLow;
    this.u32[valueAt + 1] = valueHigh;
    this.f64[((this.u32[PARAM.timestamps] as number) >>> 3) + index] = (timeHigh | 0) * 4294967296 + (timeLow >>> 0);
    if (timeHigh >>> 21 !== 0) this.u32[PARAM.oddTimes] = 1;
    return CODE.ok;
  }

  private varint(p: number): void {
    const u8 = this.u8;
    let low = 0;
    let high = 0;
    for (let i = 0; i < 10; i++) {
      const b = u8[p + i] as number;
      const bits = b & 0x7f;
      if (i < 4) low |= bits << (7 * i);
      else if (i === 4) {
        low |= bits << 28;
        high = bits >>> 4;
      } else high |= bits << (7 * i - 32);
      if (b < 0x80) {
        this.low = low;
        this.high = high;
        this.minimal = b !== 0 || i === 0;
        this.next = p + i + 1;
        return;
      }
    }
    this.low = 0;
    this.high = 0;
    this.next = 0;
  }

  private length(p: number): number {
    this.varint(p);
    return this.high !== 0 ? 0xffffffff : this.low >>> 0;
  }

  private oddField(p: number, end: number, known: number): number {
    this.varint(p);
    const q = this.next;
    if (q === 0) return this.fail(CODE.badVarint, p);
    if (q > end) return this.fail(CODE.truncated, p);
    const wire = this.low & 7;
    const field = (this.high >>> 0) * 0x20000000 + (this.low >>> 3);
    if (field === 0 || field > 0x1fffffff) return this.fail(CODE.badField, p);
    if (field < 32 && ((1 << field) & known) !== 0) return this.fail(CODE.badWireType, p);
    if (wire === 3 || wire === 4 || wire > 5) return this.fail(CODE.badWireType, p);
    const after = this.skip(wire, q, end);
    if (after === 0) return this.fail(CODE.truncated, p);
    this.next = after;
    return CODE.ok;
  }

  private skip(wire: number, p: number, end: number): number {
    if (wire === 0) {
      this.varint(p);
      return this.next > end ? 0 : this.next;
    }
    if (wire === 2) {
      const n = this.length(p);
      return this.next === 0 || this.next > end || n > end - this.next ? 0 : this.next + n;
    }
    const n = wire === 1 ? 8 : 4;
    return n > end - p ? 0 : p + n;
  }

  private labelsAreUtf8(start: number, end: number): boolean {
    let p = start;
    while (p < end) {
      this.length(p + 1);
      const nameLength = this.length(this.next + 1);
      const name = this.next;
      const valueLength = this.length(name + nameLength + 1);
      const value = this.next;
      if (!isUtf8(this.u8, name, name + nameLength) || !isUtf8(this.u8, value, value + valueLength)) return false;
      p = value + valueLength;
    }
    return true;
  }

  private pushExtra(series: number, kind: number, start: number, end: number): boolean {
    const u32 = this.u32;
    const n = u32[PARAM.extraCount] as number;
    if (n === u32[PARAM.extraCapacity]) return false;
    const at = ((u32[PARAM.extras] as number) >>> 2) + n * EXTRA_WORDS;
    u32[at] = series;
    u32[at + 1] = kind;
    u32[at + 2] = start;
    u32[at + 3] = end;
    u32[PARAM.extraCount] = n + 1;
    return true;
  }

  private fail(code: number, at: number): number {
    this.u32[PARAM.errorAt] = at;
    return code;
  }
}

/** Strict UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF. */
export function isUtf8(bytes: Uint8Array, start: number, end: number): boolean {
  let p = start;
  while (p < end) {
    const b = bytes[p++] as number;
    if (b < 0x80) continue;
    let more = 1;
    let low = 0x80;
    let high = 0xbf;
    if (b >= 0xf0) {
      if (b > 0xf4) return false;
      more = 3;
      if (b === 0xf0) low = 0x90;
      else if (b === 0xf4) high = 0x8f;
    } else if (b >= 0xe0) {
      more = 2;
      if (b === 0xe0) low = 0xa0;
      else if (b === 0xed) high = 0x9f;
    } else if (b < 0xc2) return false;
    if (end - p < more) return false;
    for (; more > 0; more--) {
      const c = bytes[p++] as number;
      if (c < low || c > high) return false;
      low = 0x80;
      high = 0xbf;
    }
  }
  return true;
}
