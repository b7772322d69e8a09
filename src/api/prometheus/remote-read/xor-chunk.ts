/**
 * Prometheus' XOR chunks of float samples, as streamed remote read carries them.
 *
 *     u16 sample count | varint t0 | f64 v0 | uvarint delta1 | xor v1 | { dod_i | xor v_i }...
 *
 *     delta of delta:  0                       unchanged
 *                      10   + 14 bits
 *                      110  + 17 bits
 *                      1110 + 20 bits
 *                      1111 + 64 bits
 *     value:           0                       same as before
 *                      10 + meaningful bits    within the window of leading and trailing zeros before
 *                      11 + 5 bits leading + 6 bits length + meaningful bits
 *
 * Bits go from the highest of each byte. Values are handled as two 32-bit words, so that NaN payloads (staleness markers) survive.
 * Source: Prometheus tsdb/chunkenc, after Facebook's Gorilla paper.
 */
import { BitWriter } from './bit-writer.ts';

/** Samples per chunk, as Prometheus cuts them. */
export const CHUNK_SAMPLES_MAX = 120;

/** Encodes samples [from, to); at most CHUNK_SAMPLES_MAX of them. Timestamps are whole milliseconds. */
export function encodeXorChunk(timestamps: Float64Array, values: Float64Array, from: number, to: number): Uint8Array {
  const count = to - from;
  if (count < 1 || count > 0xffff) throw new RangeError(`a chunk of ${count} samples`);
  const w = new BitWriter();
  w.bits(count, 16);
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length * 2);
  let delta = 0;
  const xor = new XorState();
  for (let i = from; i < to; i++) {
    const t = timestamps[i] as number;
    const lo = words[2 * i] as number;
    const hi = words[2 * i + 1] as number;
    if (i === from) {
      w.varint(t);
      w.bits(hi, 32);
      w.bits(lo, 32);
      xor.start(hi, lo);
      continue;
    }
    const next = t - (timestamps[i - 1] as number);
    if (i === from + 1) w.uvarint(next);
    else writeDeltaOfDelta(w, next - delta);
    delta = next;
    xor.write(w, hi, lo);
  }
  return w.finish();
}

function writeDeltaOfDelta(w: BitWriter, dod: number): void {
  if (dod === 0) w.bits(0, 1);
  else if (fits(dod, 14)) {
    w.bits(0b10, 2);
    w.signed(dod, 14);
  } else if (fits(dod, 17)) {
    w.bits(0b110, 3);
    w.signed(dod, 17);
  } else if (fits(dod, 20)) {
    w.bits(0b1110, 4);
    w.signed(dod, 20);
  } else {
    w.bits(0b1111, 4);
    w.signed(dod, 64);
  }
}

/** The range is one up from two's complement: -(2^(n-1) - 1) to 2^(n-1). */
function fits(v: number, bits: number): boolean {
  const half = 2 ** (bits - 1);
  return v >= -(half - 1) && v <= half;
}

/** One column of xor-coded values: the value before, and the window of its meaningful bits. */
export class XorState {
  private hi = 0;
  private lo = 0;
  /** 255: no window yet. */
  private leading = 0xff;
  private trailing = 0;

  start(hi: number, lo: number): void {
    this.hi = hi;
    this.lo = lo;
  }

  write(w: BitWriter, hi: number, lo: number): void {
    const xhi = (hi ^ this.hi) >>> 0;
    const xlo = (lo ^ this.lo) >>> 0;
    this.hi = hi;
    this.lo = lo;
    if (xhi === 0 && xlo === 0) {
      w.bits(0, 1);
      return;
    }
    // Five bits say how many: more than 31 leading zeros count as 31.
    const leading = Math.min(31, xhi !== 0 ? Math.clz32(xhi) : 32 + Math.clz32(xlo));
    const trailing = xlo !== 0 ? ctz32(xlo) : 32 + ctz32(xhi);
    if (this.leading !== 0xff && leading >= this.leading && trailing >= this.trailing) {
      w.bits(0b10, 2);
      writeMiddle(w, xhi, xlo, this.leading, this.trailing);
      return;
    }
    this.leading = leading;
    this.trailing = trailing;
    w.bits(0b11, 2);
    w.bits(leading, 5);
    // 64 meaningful bits do not fit six bits: they are written as 0.
    w.bits((64 - leading - trailing) & 0x3f, 6);
    writeMiddle(w, xhi, xlo, leading, trailing);
  }
}

/** The 64 - leading - trailing bits in the middle of hi:lo; leading <= 31. */
function writeMiddle(w: BitWriter, hi: number, lo: number, leading: number, trailing: number): void {
  if (trailing >= 32) {
    w.bits(hi >>> (trailing - 32), 64 - leading - trailing);
    return;
  }
  w.bits(hi, 32 - leading);
  w.bits(lo >>> trailing, 32 - trailing);
}

function ctz32(v: number): number {
  return v === 0 ? 32 : 31 - Math.clz32(v & -v);
}
