/**
 * Encoder of remote write 1.0 requests (prometheus.WriteRequest), as a real sender writes them: labels sorted by name, a
 * zero value left out (proto3), timestamps as varints.
 *
 *   WriteRequest { repeated TimeSeries timeseries = 1 }
 *   TimeSeries   { repeated Label labels = 1; repeated Sample samples = 2 }
 *   Label        { string name = 1; string value = 2 }
 *   Sample       { double value = 1; int64 timestamp = 2 }
 */
import { compress } from './snappy.ts';

export const REMOTE_WRITE_HEADERS: Record<string, string> = {
  'content-type': 'application/x-protobuf',
  'content-encoding': 'snappy',
  'x-prometheus-remote-write-version': '0.1.0',
  'user-agent': 'sightline-bench',
};

/** Encoded label sets end to end: one buffer for a million series instead of a million buffers. ASCII labels only. */
export class LabelSlab {
  count = 0;
  private bytes = Buffer.allocUnsafeSlow(1 << 20);
  private offsets = new Float64Array(1 << 12);
  private length = 0;

  /** Encodes a label set; its index is the count before. */
  add(labels: Record<string, string>): void {
    const names = Object.keys(labels).sort();
    for (const name of names) this.putLabel(name, labels[name] as string);
    this.count++;
    if (this.count >= this.offsets.length) {
      const larger = new Float64Array(this.offsets.length * 2);
      larger.set(this.offsets);
      this.offsets = larger;
    }
    this.offsets[this.count] = this.length;
  }

  /** Valid until the next `add`. */
  get(index: number): Uint8Array {
    return this.bytes.subarray(this.offsets[index], this.offsets[index + 1]);
  }

  private putLabel(name: string, value: string): void {
    const inner = 2 + name.length + 1 + (value.length > 127 ? 2 : 1) + value.length;
    if (name.length > 127 || value.length > 16383) throw new Error(`BUG: label ${name} is too long for the benchmark`);
    if (this.length + inner + 3 > this.bytes.length) {
      const larger = Buffer.allocUnsafeSlow(this.bytes.length * 2);
      this.bytes.copy(larger, 0, 0, this.length);
      this.bytes = larger;
    }
    this.bytes[this.length++] = 0x0a;
    this.putLength(inner);
    this.bytes[this.length++] = 0x0a;
    this.putText(name);
    this.bytes[this.length++] = 0x12;
    this.putText(value);
  }

  private putText(text: string): void {
    this.putLength(text.length);
    this.length += this.bytes.write(text, this.length, 'latin1');
  }

  private putLength(value: number): void {
    if (value > 127) {
      this.bytes[this.length++] = (value & 127) | 128;
      this.bytes[this.length++] = value >> 7;
    } else {
      this.bytes[this.length++] = value;
    }
  }
}

/** Bytes of one encoded Sample, tag and length included, at most. */
const SAMPLE_BYTES_MAX = 2 + 9 + 1 + 10;

/** Collects series until `finish`. One instance serves any number of requests. */
export class WriteRequestEncoder {
  samples = 0;
  private bytes = new Uint8Array(1 << 20);
  private view = new DataView(this.bytes.buffer);
  private length = 0;

  /** `times` in milliseconds; `count` samples from `from` on. */
  add(labels: Uint8Array, values: Float64Array, times: Float64Array, from: number, count: number): void {
    this.reserve(labels.length + count * SAMPLE_BYTES_MAX + 16);
    // The length of the TimeSeries stands before it, so it is computed first.
    let inner = labels.length;
    for (let i = from; i < from + count; i++) inner += 2 + sampleBytes(values[i] as number, times[i] as number);
    this.bytes[this.length++] = 0x0a;
    this.putVarint(inner);
    this.bytes.set(labels, this.length);
    this.length += labels.length;
    for (let i = from; i < from + count; i++) this.putSample(values[i] as number, times[i] as number);
    this.samples += count;
  }

  /** The compressed request; the encoder is empty again afterwards. */
  finish(): Uint8Array {
    const body = compress(this.bytes.subarray(0, this.length));
    this.length = 0;
    this.samples = 0;
    return body;
  }

  private putSample(value: number, timeMs: number): void {
    this.bytes[this.length++] = 0x12;
    this.putVarint(sampleBytes(value, timeMs));
    if (!isPlainZero(value)) {
      this.bytes[this.length++] = 0x09;
      this.view.setFloat64(this.length, value, true);
      this.length += 8;
    }
    this.bytes[this.length++] = 0x10;
    this.putVarint(timeMs);
  }

  private putVarint(value: number): void {
    let rest = value;
    while (rest > 127) {
      this.bytes[this.length++] = (rest % 128) | 128;
      rest = Math.floor(rest / 128);
    }
    this.bytes[this.length++] = rest;
  }

  private reserve(more: number): void {
    if (this.length + more <= this.bytes.length) return;
    const larger = new Uint8Array(Math.max(this.bytes.length * 2, this.length + more));
    larger.set(this.bytes.subarray(0, this.length));
    this.bytes = larger;
    this.view = new DataView(larger.buffer);
  }
}

function sampleBytes(value: number, timeMs: number): number {
  let bytes = isPlainZero(value) ? 1 : 10;
  for (let rest = timeMs; ; rest = Math.floor(rest / 128)) {
    bytes++;
    if (rest <= 127) return bytes;
  }
}

function isPlainZero(value: number): boolean {
  return Object.is(value, 0);
}
