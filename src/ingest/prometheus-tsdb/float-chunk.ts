/**
 * Float chunks of Prometheus: the XOR encoding of all versions, and XOR2, which newer ones can be told to use (joint control bits
 * for time and value, optional start timestamps). Decoded behind the rows of a SampleBuffer; a chunk that is broken
 * leaves the buffer as it was.
 */
import { growSampleBuffer, type SampleBuffer } from '../../contracts/sample-source.ts';
import { BitReader, XorValue } from './bit-reader.ts';

const STALE_HIGH = 0x7ff00000;
const STALE_LOW = 2;

const reader = new BitReader();

/** Decodes bytes[start, end), which lie at `base + start` of the file. */
export function decodeXorChunk(
  bytes: Uint8Array,
  start: number,
  end: number,
  file: string,
  base: number,
  into: SampleBuffer,
): void {
  const count = open(bytes, start, end, file, base, into);
  const rows = new RowWriter(into);
  const value = new XorValue();
  let t = 0;
  let delta = 0;
  for (let i = 0; i < count; i++) {
    if (i === 0) {
      t = reader.varint();
      reader.words();
      value.high = reader.high;
      value.low = reader.low;
    } else {
      delta = i === 1 ? reader.uvarint() : delta + reader.deltaOfDelta();
      t += delta;
      reader.xor(value);
    }
    rows.put(t, value.high, value.low, 0);
  }
  rows.commit();
}

const XOR2_FIRST_START_KNOWN = 0x80;
const XOR2_START_CHANGE = 0x7f;

export function decodeXor2Chunk(
  bytes: Uint8Array,
  start: number,
  end: number,
  file: string,
  base: number,
  into: SampleBuffer,
): void {
  const count = open(bytes, start, end, file, base, into);
  const header = reader.bits(8);
  const startChange = header & XOR2_START_CHANGE;
  const rows = new RowWriter(into);
  const value = new XorValue();
  let t = 0;
  let delta = 0;
  let began = 0;
  let beganDelta = 0;
  for (let i = 0; i < count; i++) {
    const previousT = t;
    let stale = false;
    if (i === 0) {
      t = reader.varint();
      reader.words();
      stale = reader.high === STALE_HIGH && reader.low === STALE_LOW;
      if (!stale) {
        value.high = reader.high;
        value.low = reader.low;
      }
      if ((header & XOR2_FIRST_START_KNOWN) !== 0) began = t - reader.varint();
    } else if (i === 1) {
      delta = reader.uvarint();
      t += delta;
      stale = changedValue(value);
    } else {
      const control = jointControl();
      if (control === 5) stale = true;
      else if (control === 1) {
        if (reader.bit() === 1) reader.window(value);
        reader.applyXor(value);
      } else if (control > 1) {
        delta += jointDelta(control);
        stale = changedValue(value);
      }
      t += delta;
    }
    if (i > 0 && startChange > 0 && i >= startChange) {
      const change = reader.varbitInt();
      beganDelta = i === startChange ? change : beganDelta + change;
      began = previousT - beganDelta;
    }
    rows.put(t, stale ? STALE_HIGH : value.high, stale ? STALE_LOW : value.low, began);
  }
  rows.commit();
}

/** 0: nothing changed, 1: the value, 2..4: the time delta by so many more bits, 5: stale. */
function jointControl(): number {
  let ones = 0;
  while (ones < 5 && reader.bit() === 1) ones++;
  return ones;
}

/** In two's complement, unlike varbit numbers. */
function jointDelta(control: number): number {
  if (control === 4) {
    reader.words();
    return (reader.high | 0) * 0x100000000 + reader.low;
  }
  const width = control === 2 ? 13 : 20;
  const bits = reader.bits(width);
  return bits >= 2 ** (width - 1) ? bits - 2 ** width : bits;
}

/** Returns whether the sample is a staleness marker; the value then stays what it was. */
function changedValue(value: XorValue): boolean {
  if (reader.bit() === 0) return false;
  if (reader.bit() === 1) {
    if (reader.bit() === 1) return true;
    reader.window(value);
  }
  reader.applyXor(value);
  return false;
}

/** Number of samples; the reader stands behind it. */
function open(bytes: Uint8Array, start: number, end: number, file: string, base: number, into: SampleBuffer): number {
  reader.reset(bytes, start, end, file, base);
  const count = reader.bits(16);
  growSampleBuffer(into, into.length + count);
  return count;
}

/** Rows behind those of a buffer, which shows them when all are there. */
class RowWriter {
  private readonly into: SampleBuffer;
  private readonly words: Uint32Array;
  private row: number;
  private before = Number.NEGATIVE_INFINITY;

  constructor(into: SampleBuffer) {
    this.into = into;
    const { values } = into;
    this.words = new Uint32Array(values.buffer, values.byteOffset, values.length * 2);
    this.row = into.length;
  }

  put(t: number, high: number, low: number, began: number): void {
    if (!(t > this.before) || !Number.isSafeInteger(t)) {
      throw reader.bad(`sample ${this.row - this.into.length}: time ${t} does not follow ${this.before}`);
    }
    this.before = t;
    const row = this.row++;
    const { into } = this;
    into.timestamps[row] = t;
    this.words[2 * row] = low;
    this.words[2 * row + 1] = high;
    if (began > 0 && into.startTimestamps === null) into.startTimestamps = new Float64Array(into.timestamps.length);
    if (into.startTimestamps !== null) into.startTimestamps[row] = Math.max(0, began);
  }

  commit(): void {
    this.into.length = this.row;
  }
}
