/**
 * ForwardReader: follows a shard's outgoing queue while it is written, from a position on.
 *
 * A frame that is not whole is waited for at the end of the newest segment (its write may be under way), and passed over in older ones
 * (a crash left it). Started in the middle of a segment, it first reads what the refs before that place mean.
 */
import { existsSync } from 'node:fs';
import type { ForwardPosition, ForwardRows, ForwardSamples, ForwardSource } from '../../../contracts/forward-source.ts';
import { newSampleBuffer } from '../../../contracts/sample-source.ts';
import { CorruptChunkError } from '../chunk/corrupt.ts';
import { decodeHistograms } from '../head/histogram-codec.ts';
import { type Files, readAll } from '../wal/files.ts';
import {
  FILE_HEADER_BYTES,
  FRAME_HEADER_BYTES,
  FRAME_PAYLOAD_MAX,
  FrameReader,
  type FrameView,
  frameBytes,
  getU32,
  isFrame,
} from '../wal/frame.ts';
import {
  decodeHistogramRows,
  REC_HISTOGRAMS,
  REC_OOO_HISTOGRAMS,
  REC_OOO_SAMPLES,
  REC_SAMPLES,
  SampleStage,
} from '../wal/records.ts';
import { CorruptRecordError } from '../wal/varint.ts';
import { FWD_EXEMPLARS, FWD_METADATA, FWD_SERIES, readExemplarRows, readMetadata, readSeriesRows } from './records.ts';
import { FORWARD_MAGIC, forwardPath, listForward } from './segments.ts';

const WINDOW_BYTES = 1 << 20;

export class ForwardReader implements ForwardSource {
  readonly position: ForwardPosition;
  /** Frames that could not be read. */
  damaged = 0;
  private readonly files: Files;
  private readonly dir: string;
  private fd = -1;
  /** Refs before the position have not been read yet. */
  private explainTo = 0;
  private buffer = new Uint8Array(WINDOW_BYTES);
  private bufferStart = 0;
  private bufferLength = 0;
  private readonly stage = new SampleStage();
  private readonly samples: ForwardSamples;

  /** `position` null: at the end of what there is. */
  constructor(files: Files, dir: string, position: ForwardPosition | null) {
    this.files = files;
    this.dir = dir;
    this.position = position === null ? this.end() : { ...position };
    this.explainTo = this.position.offset;
    const { refs, timestamps, values } = this.stage;
    this.samples = { n: 0, refs, timestamps, values, starts: null };
  }

  next(into: ForwardRows): boolean {
    for (;;) {
      if (this.fd < 0 && !this.open(into)) return false;
      const at = this.position.offset;
      // Asked before the look at the end: a newer segment is made only when this one is complete.
      const newer = existsSync(forwardPath(this.dir, this.position.segment + 1));
      const length = this.frameAt(at);
      if (length >= 0) {
        this.position.offset = at + frameBytes(length);
        if (this.deliver(at, length, into)) return true;
        continue;
      }
      if (!newer) return false;
      if (!this.resync()) this.skipTo(this.position.segment + 1);
    }
  }

  skipTo(segment: number): void {
    this.close();
    this.position.segment = segment;
    this.position.offset = FILE_HEADER_BYTES;
    this.explainTo = 0;
  }

  close(): void {
    if (this.fd >= 0) this.files.close(this.fd);
    this.fd = -1;
    this.bufferLength = 0;
  }

  private end(): ForwardPosition {
    const segment = listForward(this.files, this.dir).at(-1) ?? 1;
    try {
      const fd = this.files.open(forwardPath(this.dir, segment), 'read');
      const offset = Math.max(FILE_HEADER_BYTES, Math.floor(this.files.size(fd) / 8) * 8);
      this.files.close(fd);
      return { segment, offset };
    } catch {
      return { segment, offset: FILE_HEADER_BYTES };
    }
  }

  private open(into: ForwardRows): boolean {
    const segments = listForward(this.files, this.dir);
    const first = segments.find(n => n >= this.position.segment);
    if (first === undefined) return false;
    if (first !== this.position.segment) this.skipTo(first);
    try {
      this.fd = this.files.open(forwardPath(this.dir, first), 'read');
    } catch {
      return false;
    }
    if (this.explainTo > FILE_HEADER_BYTES) this.explain(into);
    this.explainTo = 0;
    return true;
  }

  /** Reads what the refs before the position mean. */
  private explain(into: ForwardRows): void {
    const frames = new FrameReader(this.files, this.fd);
    if (frames.checkHeader(FORWARD_MAGIC) !== '') return;
    while (frames.position < this.explainTo && (frames.next() || frames.resync())) {
      if (frames.type === FWD_SERIES) readSeriesRows(frames.payload, frames.rows, into);
      else if (frames.type === FWD_METADATA) readMetadata(frames.payload, into);
    }
  }

  /** False where the record is damaged or not for us. */
  private deliver(at: number, length: number, into: ForwardRows): boolean {
    const head = at - this.bufferStart;
    const type = (getU32(this.buffer, head) >>> 8) & 0xff;
    const rows = getU32(this.buffer, head + 8);
    const from = head + FRAME_HEADER_BYTES;
    const payload = this.buffer.subarray(from, from + length);
    const flags = getU32(this.buffer, head) & 0xff;
    try {
      switch (type) {
        case REC_SAMPLES:
        case REC_OOO_SAMPLES: {
          this.stage.decode({ type, flags, rows, payload });
          this.samples.n = this.stage.n;
          this.samples.starts = this.stage.hasStarts ? this.stage.starts : null;
          into.samples(this.samples);
          return true;
        }
        case REC_HISTOGRAMS:
        case REC_OOO_HISTOGRAMS:
          this.deliverHistograms({ type, flags, rows, payload }, into);
          return true;
        case FWD_SERIES:
          readSeriesRows(payload, rows, into);
          return true;
        case FWD_EXEMPLARS:
          readExemplarRows(payload, rows, into);
          return true;
        case FWD_METADATA:
          readMetadata(payload, into);
          return true;
        default:
          return false;
      }
    } catch (error) {
      if (!(error instanceof CorruptRecordError || error instanceof CorruptChunkError)) throw error;
      this.damaged++;
      return false;
    }
  }

  private deliverHistograms(frame: FrameView, into: ForwardRows): void {
    for (const row of decodeHistogramRows(frame).rows) {
      const buffer = newSampleBuffer(0);
      decodeHistograms(row.bytes, 0, buffer);
      const histogram = buffer.histograms[0];
      if (histogram !== undefined) into.histogram(row.ref, row.timestampMs, row.startMs, histogram);
    }
  }

  /** Payload length of the whole frame at `at`, which is then in the buffer; -1 where there is none. */
  private frameAt(at: number): number {
    if (this.window(at, FRAME_HEADER_BYTES) < FRAME_HEADER_BYTES) return -1;
    const length = getU32(this.buffer, at - this.bufferStart + 4);
    const whole = frameBytes(length);
    // A length that reaches beyond the file is not whole yet, or nonsense: no memory for it.
    if (length > FRAME_PAYLOAD_MAX || (whole > this.buffer.length && at + whole > this.files.size(this.fd))) return -1;
    if (this.window(at, whole) < whole) return -1;
    return isFrame(this.buffer, at - this.bufferStart, length) ? length : -1;
  }

  private resync(): boolean {
    this.damaged++;
    const size = this.files.size(this.fd);
    for (let at = this.position.offset + 8; at + FRAME_HEADER_BYTES <= size; at += 8) {
      if (this.frameAt(at) < 0) continue;
      this.position.offset = at;
      return true;
    }
    return false;
  }

  /** Brings [at, at + length) into the buffer; returns how many of those bytes there are. */
  private window(at: number, length: number): number {
    const have = this.bufferStart + this.bufferLength - at;
    if (at >= this.bufferStart && have >= length) return length;
    if (length > this.buffer.length) this.buffer = new Uint8Array(Math.ceil(length / WINDOW_BYTES) * WINDOW_BYTES);
    this.bufferStart = at;
    this.bufferLength = readAll(this.files, this.fd, this.buffer, 0, this.buffer.length, at);
    return Math.min(length, this.bufferLength);
  }
}
