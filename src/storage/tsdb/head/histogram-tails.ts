/**
 * HistogramTails: the open tails of native histogram series.
 *
 * A slow path on purpose: histograms are rare beside floats and large. Each sample is kept as it went into the WAL (a chunk
 * of one, encoded), a series' samples one after the other in one growing buffer: a dozen decoded histogram objects would
 * cost a hundred times as much. Sealing decodes the tail and encodes it as one chunk.
 */
import { newSampleBuffer, type SampleBuffer } from '../../../contracts/sample-source.ts';
import type { HistogramRow } from '../wal/records.ts';
import { decodeHistograms, encodeHistograms } from './histogram-codec.ts';

const TAIL_HISTOGRAMS = 16;
/** A tail is sealed before it grows beyond this. */
const TAIL_BYTES_MAX = 1 << 20;
const SPAN_MAX = 0xffffffff;

interface Tail {
  count: number;
  bytes: Uint8Array;
  length: number;
  segment: number;
  minT: number;
  maxT: number;
}

export interface SealedHistograms {
  minT: number;
  maxT: number;
  segment: number;
  bytes: Uint8Array;
}

export class HistogramTails {
  private readonly tails = new Map<number, Tail>();
  private readonly scratch = newSampleBuffer(0);

  /** Whether the series' tail must be sealed before this row. */
  isFull(row: HistogramRow): boolean {
    const tail = this.tails.get(row.ref);
    if (tail === undefined) return false;
    if (row.timestampMs - tail.minT > SPAN_MAX) return true;
    return tail.count >= TAIL_HISTOGRAMS || tail.length + row.bytes.length > TAIL_BYTES_MAX;
  }

  add(row: HistogramRow, segment: number): void {
    let tail = this.tails.get(row.ref);
    if (tail === undefined) {
      tail = { count: 0, bytes: new Uint8Array(0), length: 0, segment, minT: row.timestampMs, maxT: 0 };
      this.tails.set(row.ref, tail);
    }
    const length = tail.length + row.bytes.length;
    if (length > tail.bytes.length) {
      const bytes = new Uint8Array(Math.max(length, Math.min(tail.bytes.length * 2, length * 4)));
      bytes.set(tail.bytes.subarray(0, tail.length));
      tail.bytes = bytes;
    }
    tail.bytes.set(row.bytes, tail.length);
    tail.length = length;
    tail.count++;
    tail.maxT = row.timestampMs;
  }

  /** Takes the series' tail away, as one chunk; null where there is none. */
  seal(ref: number): SealedHistograms | null {
    const tail = this.tails.get(ref);
    if (tail === undefined) return null;
    this.tails.delete(ref);
    const { scratch } = this;
    scratch.length = 0;
    scratch.histogramLength = 0;
    scratch.histogramTimestamps.length = 0;
    scratch.histograms.length = 0;
    scratch.histogramStartTimestamps = null;
    decodeAll(tail, scratch);
    const bytes = encodeHistograms(scratch);
    return { minT: tail.minT, maxT: tail.maxT, segment: tail.segment, bytes };
  }

  /** Appends the tail's histograms (all of them) to the buffer. */
  read(ref: number, into: SampleBuffer): void {
    const tail = this.tails.get(ref);
    if (tail !== undefined) decodeAll(tail, into);
  }

  /** Encoded form of the newest histogram equals these bytes. */
  endsWith(ref: number, bytes: Uint8Array): boolean {
    const tail = this.tails.get(ref);
    if (tail === undefined || tail.length < bytes.length) return false;
    const from = tail.length - bytes.length;
    for (let i = 0; i < bytes.length; i++) if (tail.bytes[from + i] !== bytes[i]) return false;
    return true;
  }

  remove(ref: number): void {
    this.tails.delete(ref);
  }

  bounds(ref: number): { minT: number; maxT: number } | undefined {
    return this.tails.get(ref);
  }

  /** Series whose tail begins in a WAL segment below `segment`. */
  before(segment: number): number[] {
    const refs: number[] = [];
    for (const [ref, tail] of this.tails) if (tail.segment < segment) refs.push(ref);
    return refs;
  }

  entries(): IterableIterator<[number, { minT: number; maxT: number }]> {
    return this.tails.entries();
  }

  get firstSegment(): number {
    let first = 0xffffffff;
    for (const tail of this.tails.values()) if (tail.segment < first) first = tail.segment;
    return first;
  }

  get bytes(): number {
    let total = 0;
    for (const tail of this.tails.values()) total += tail.bytes.length + 250;
    return total;
  }
}

function decodeAll(tail: Tail, into: SampleBuffer): void {
  for (let at = 0; at < tail.length; ) at = decodeHistograms(tail.bytes, at, into);
}
