/**
 * WAL records: batches of rows as columns, one frame each (docs/formats/wal.md).
 *
 *     samples        values 8n | [starts 8n] | refs | timestamps
 *     ooo samples    first row number f64 | values 8n | [starts 8n] | refs | timestamps
 *     histograms     per row: ref, t, start, length, bytes
 *     ooo histograms first row number f64 | as histograms
 *
 * Refs are runs of neighbours: (zigzag distance from the end of the last run, length), so that a scrape in its usual order
 * costs a few bytes in all; timestamps are one constant, zigzag differences, or raw doubles, whichever the frame's
 * flags say. In the steady state a sample costs 8 bytes. Values are moved as bytes: NaN payloads survive.
 */
import { FRAME_HEADER_BYTES, type FrameView, frameBytes, sealFrame } from './frame.ts';
import { ByteCursor, CorruptRecordError, putF64, putVarint, unzigzag, VARINT_MAX, zigzag } from './varint.ts';

export const REC_SAMPLES = 1;
export const REC_OOO_SAMPLES = 2;
export const REC_HISTOGRAMS = 3;
export const REC_OOO_HISTOGRAMS = 4;

/** Bits of a sample frame's flags. */
const HAS_STARTS = 1;
const TIMES_CONSTANT = 2;
const TIMES_RAW = 4;

/** Rows of one frame. A longer batch becomes several. */
export const STAGE_ROWS_MAX = 1 << 14;
/** A difference of timestamps from here on is not zigzagged. */
const DIFFERENCE_MAX = 2 ** 50;
/** A higher ref is not believed. */
export const REF_MAX = 0xfffffffe;

/** Rows on their way into a frame, or out of one. Columns are fixed; `n` rows are in use. */
export class SampleStage {
  n = 0;
  hasStarts = false;
  /** Row number of the first row in the out-of-order log; -1 for in-order samples. */
  firstRow = -1;
  readonly refs: Uint32Array;
  readonly timestamps: Float64Array;
  readonly values: Float64Array;
  /** 0 in every row that has none; written only where there is one. */
  readonly starts: Float64Array;
  readonly valueBytes: Uint8Array;
  private readonly startBytes: Uint8Array;

  constructor(rows = STAGE_ROWS_MAX) {
    this.refs = new Uint32Array(rows);
    this.timestamps = new Float64Array(rows);
    this.values = new Float64Array(rows);
    this.starts = new Float64Array(rows);
    this.valueBytes = new Uint8Array(this.values.buffer);
    this.startBytes = new Uint8Array(this.starts.buffer);
  }

  clear(): void {
    if (this.hasStarts) this.starts.fill(0, 0, this.n);
    this.n = 0;
    this.hasStarts = false;
    this.firstRow = -1;
  }

  /** Room that `encode` may need for n rows. */
  static bytesMax(n: number): number {
    return frameBytes(8 + n * (8 + 8 + 2 * VARINT_MAX + 8) + 64);
  }

  /** Writes the rows as one frame at out[at]; returns its end. */
  encode(out: Uint8Array, at: number): number {
    const n = this.n;
    const from = at + FRAME_HEADER_BYTES;
    let p = from;
    const outOfOrder = this.firstRow >= 0;
    if (outOfOrder) p = putF64(out, p, this.firstRow);
    out.set(this.valueBytes.subarray(0, n * 8), p);
    p += n * 8;
    let flags = 0;
    if (this.hasStarts) {
      flags |= HAS_STARTS;
      out.set(this.startBytes.subarray(0, n * 8), p);
      p += n * 8;
    }
    p = this.encodeRefs(out, p);
    const mode = this.timeMode();
    flags |= mode;
    const times = this.timestamps;
    p = putF64(out, p, times[0] as number);
    if (mode === TIMES_RAW) {
      for (let i = 1; i < n; i++) p = putF64(out, p, times[i] as number);
    } else if (mode === 0) {
      let previous = times[0] as number;
      for (let i = 1; i < n; i++) {
        const t = times[i] as number;
        p = putVarint(out, p, zigzag(t - previous));
        previous = t;
      }
    }
    return sealFrame(out, at, outOfOrder ? REC_OOO_SAMPLES : REC_SAMPLES, flags, n, p - from);
  }

  private encodeRefs(out: Uint8Array, at: number): number {
    const refs = this.refs;
    const n = this.n;
    let p = at;
    let expected = 0;
    for (let i = 0; i < n; ) {
      const first = refs[i] as number;
      let next = i + 1;
      while (next < n && refs[next] === first + (next - i)) next++;
      p = putVarint(out, p, zigzag(first - expected));
      p = putVarint(out, p, next - i);
      expected = first + (next - i);
      i = next;
    }
    return p;
  }

  private timeMode(): number {
    const times = this.timestamps;
    const n = this.n;
    const first = times[0] as number;
    let i = 1;
    while (i < n && times[i] === first) i++;
    if (i === n) return TIMES_CONSTANT;
    for (; i < n; i++) {
      if (Math.abs((times[i] as number) - (times[i - 1] as number)) >= DIFFERENCE_MAX) return TIMES_RAW;
    }
    return 0;
  }

  /** Reads the current frame of a reader (REC_SAMPLES or REC_OOO_SAMPLES). Throws CorruptRecordError. */
  decode(frame: FrameView): void {
    const n = frame.rows;
    if (n < 1 || n > this.refs.length) throw new CorruptRecordError(`sample record with ${n} rows`);
    const cursor = new ByteCursor(frame.payload);
    this.n = 0;
    this.firstRow = frame.type === REC_OOO_SAMPLES ? rowNumber(cursor) : -1;
    this.valueBytes.set(cursor.take(n * 8));
    this.hasStarts = (frame.flags & HAS_STARTS) !== 0;
    if (this.hasStarts) this.startBytes.set(cursor.take(n * 8));
    else this.starts.fill(0, 0, n);
    let expected = 0;
    for (let i = 0; i < n; ) {
      const first = expected + unzigzag(cursor.varint());
      const run = cursor.bounded(n - i, 'run of refs');
      if (run === 0 || first < 0 || first + run - 1 > REF_MAX) {
        throw new CorruptRecordError(`run of ${run} refs from ${first}`);
      }
      for (let k = 0; k < run; k++) this.refs[i + k] = first + k;
      i += run;
      expected = first + run;
    }
    this.decodeTimes(cursor, frame.flags, n);
    this.n = n;
  }

  private decodeTimes(cursor: ByteCursor, flags: number, n: number): void {
    const times = this.timestamps;
    let t = checkedTime(cursor.f64());
    times[0] = t;
    if ((flags & TIMES_CONSTANT) !== 0) times.fill(t, 0, n);
    else if ((flags & TIMES_RAW) !== 0) for (let i = 1; i < n; i++) times[i] = checkedTime(cursor.f64());
    else {
      for (let i = 1; i < n; i++) {
        t = checkedTime(t + unzigzag(cursor.varint()));
        times[i] = t;
      }
    }
  }
}

function rowNumber(cursor: ByteCursor): number {
  const row = cursor.f64();
  if (!(row >= 0 && Number.isSafeInteger(row))) throw new CorruptRecordError(`row number ${row}`);
  return row;
}

/** Timestamps are whole milliseconds from 0 to 2^53 - 1. */
function checkedTime(t: number): number {
  if (!(t >= 0 && Number.isSafeInteger(t))) throw new CorruptRecordError(`timestamp ${t}`);
  return t;
}

export interface HistogramRow {
  ref: number;
  timestampMs: number;
  startMs: number;
  /** One histogram, encoded by chunk/histogram-chunk.ts. */
  bytes: Uint8Array;
}

/** A frame of histogram rows, as its own buffer. `firstRow` -1 for in-order rows. */
export function encodeHistogramRows(rows: readonly HistogramRow[], firstRow: number): Uint8Array {
  let size = 8;
  for (const row of rows) size += 4 * VARINT_MAX + row.bytes.length;
  const out = new Uint8Array(frameBytes(size));
  let p = FRAME_HEADER_BYTES;
  if (firstRow >= 0) p = putF64(out, p, firstRow);
  for (const row of rows) {
    p = putVarint(out, p, row.ref);
    p = putVarint(out, p, row.timestampMs);
    p = putVarint(out, p, row.startMs);
    p = putVarint(out, p, row.bytes.length);
    out.set(row.bytes, p);
    p += row.bytes.length;
  }
  const type = firstRow >= 0 ? REC_OOO_HISTOGRAMS : REC_HISTOGRAMS;
  return out.subarray(0, sealFrame(out, 0, type, 0, rows.length, p - FRAME_HEADER_BYTES));
}

/** Reads a frame of histogram rows. The bytes are views on the payload. Throws CorruptRecordError. */
export function decodeHistogramRows(frame: FrameView): { firstRow: number; rows: HistogramRow[] } {
  const cursor = new ByteCursor(frame.payload);
  const firstRow = frame.type === REC_OOO_HISTOGRAMS ? rowNumber(cursor) : -1;
  const rows: HistogramRow[] = [];
  for (let i = 0; i < frame.rows; i++) {
    const ref = cursor.bounded(REF_MAX, 'ref');
    const timestampMs = cursor.varint();
    const startMs = cursor.varint();
    const bytes = cursor.take(cursor.bounded(cursor.left, 'histogram length'));
    rows.push({ ref, timestampMs, startMs, bytes });
  }
  return { firstRow, rows };
}
