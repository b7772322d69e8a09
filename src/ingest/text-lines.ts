/**
 * TextLines: a body of lines that arrives in chunks, turned into batches of bounded size by whoever reads one line.
 *
 * For the line protocols whose senders expect the good lines to be kept (Influx, Graphite): a bad line is noted with its number and
 * left out. Whole stretches are decoded from UTF-8 at once; only a stretch that is not UTF-8 is taken apart, to name the line.
 * Use as json-lines/decode.ts: `for (const batch of lines.feed(chunk)) await sink.append(...)`, then over `end()`.
 */
import type { SampleBatch } from '../model/sample-batch.ts';
import type { BatchBuilder } from './batch-builder.ts';
import { LineBuffer } from './line-buffer.ts';

/** A line that cannot be kept: thrown by the reader of lines, noted here with its number. */
export class BadLineError extends Error {
  override name = 'BadLineError';
  readonly reason: string;

  constructor(message: string, reason = 'bad_line') {
    super(message);
    this.reason = reason;
  }
}

export interface BadLine {
  /** From 1. */
  line: number;
  reason: string;
  message: string;
}

export interface TextLinesOptions {
  builder: BatchBuilder;
  /** Puts what a line says into the builder, whole or not at all. Without newline; never empty. */
  readLine(text: string): void;
  maxLineBytes?: number;
  maxBatchSamples?: number;
}

const DEFAULT_LINE_BYTES = 1 << 20;
const DEFAULT_BATCH_SAMPLES = 10_000;
/** Bad lines that are told one by one; the rest is counted. */
const NAMED_MAX = 20;

const fatal = new TextDecoder('utf-8', { fatal: true });

export class TextLines {
  private readonly builder: BatchBuilder;
  private readonly readLine: (text: string) => void;
  private readonly maxLineBytes: number;
  private readonly maxBatchSamples: number;
  private readonly lines: LineBuffer;
  private line = 0;
  /** The first bad lines. */
  readonly bad: BadLine[] = [];
  /** Bad lines by reason, all of them. */
  readonly badByReason = new Map<string, number>();
  badCount = 0;

  constructor(options: TextLinesOptions) {
    this.builder = options.builder;
    this.builder.reset();
    this.readLine = options.readLine;
    this.maxLineBytes = options.maxLineBytes ?? DEFAULT_LINE_BYTES;
    this.maxBatchSamples = options.maxBatchSamples ?? DEFAULT_BATCH_SAMPLES;
    this.lines = new LineBuffer(this.maxLineBytes, () => {
      this.line++;
      this.note('line_too_long', this.tooLong());
    });
  }

  *feed(chunk: Uint8Array): Generator<SampleBatch> {
    for (const { bytes, start, end } of this.lines.push(chunk)) yield* this.readStretch(bytes.subarray(start, end));
  }

  /** The last line may lack its newline. */
  *end(): Generator<SampleBatch> {
    for (const { bytes, start, end } of this.lines.end()) yield* this.readStretch(bytes.subarray(start, end));
    if (this.builder.seriesCount > 0) yield this.builder.finish();
    this.builder.reset();
  }

  private *readStretch(bytes: Uint8Array): Generator<SampleBatch> {
    let text: string;
    try {
      text = fatal.decode(bytes);
    } catch {
      yield* this.readBroken(bytes);
      return;
    }
    for (let p = 0; p < text.length; ) {
      const eol = text.indexOf('\n', p);
      const end = eol < 0 ? text.length : eol;
      this.line++;
      this.read(text.charCodeAt(end - 1) === 0x0d ? text.slice(p, Math.max(p, end - 1)) : text.slice(p, end));
      p = end + 1;
      yield* this.full();
    }
  }

  /** Not UTF-8 somewhere: line by line, to name which. */
  private *readBroken(bytes: Uint8Array): Generator<SampleBatch> {
    for (let p = 0; p < bytes.length; ) {
      const eol = bytes.indexOf(0x0a, p);
      const end = eol < 0 ? bytes.length : eol;
      this.line++;
      try {
        this.read(fatal.decode(bytes.subarray(p, end)).replace(/\r$/, ''));
      } catch {
        this.note('bad_line', 'it is not valid UTF-8');
      }
      p = end + 1;
      yield* this.full();
    }
  }

  private *full(): Generator<SampleBatch> {
    if (this.builder.sampleCount < this.maxBatchSamples) return;
    yield this.builder.finish();
    this.builder.reset();
  }

  private read(text: string): void {
    if (text === '') return;
    // Units, not bytes: a bound against absurdity, the buffer has its own.
    if (text.length > this.maxLineBytes) {
      this.note('line_too_long', this.tooLong());
      return;
    }
    try {
      this.readLine(text);
    } catch (error) {
      if (!(error instanceof BadLineError)) throw error;
      this.note(error.reason, error.message);
    }
  }

  private note(reason: string, message: string): void {
    this.badCount++;
    this.badByReason.set(reason, (this.badByReason.get(reason) ?? 0) + 1);
    if (this.bad.length < NAMED_MAX) this.bad.push({ line: this.line, reason, message });
  }

  private tooLong(): string {
    return `it is longer than ${this.maxLineBytes} bytes`;
  }
}

/** `line 3: ...; line 7: ...; and 12 more` */
export function describeBadLines(lines: TextLines): string {
  const named = lines.bad.map(({ line, message }) => `line ${line}: ${message}`);
  if (lines.badCount > lines.bad.length) named.push(`and ${lines.badCount - lines.bad.length} more lines`);
  return named.join('; ');
}
