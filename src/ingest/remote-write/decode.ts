/**
 * Remote write -> SampleBatch.
 *
 * 1.0 goes through the kernel (lib/kernel): float samples and canonical labels never meet JavaScript. What the kernel
 * sets aside is handled here: histograms, exemplars, metadata, and rows whose labels are unsorted, odd or not UTF-8.
 * 2.0 is decode-v2.ts.
 *
 * A request that is not well-formed protobuf throws a WriteDecodeError and nothing of it may be stored. Rows that are
 * well-formed but cannot be kept are left out and counted in `rejected`; the others stand in the batch.
 *
 * The batch's arrays are views on the kernel's memory: valid until the kernel's next request.
 */
import zlib from 'node:zlib';
import type { Rejection } from '../../contracts/sample-sink.ts';
import type { TenantSeed } from '../../lib/identity-hash.ts';
import { isUtf8 } from '../../lib/kernel/js-backend.ts';
import { DEFAULT_KERNEL_LIMITS, type IngestKernel, KernelError, type ScanResult } from '../../lib/kernel/kernel.ts';
import {
  CODE,
  EXTRA_EXEMPLAR,
  EXTRA_HISTOGRAM,
  EXTRA_METADATA,
  EXTRA_SLOW_LABELS,
  EXTRA_WORDS,
} from '../../lib/kernel/layout.ts';
import { ProtobufError, ProtobufReader } from '../../lib/protobuf.ts';
import type { ExemplarSample, HistogramSample, MetadataEntry, SampleBatch } from '../../model/sample-batch.ts';
import { LabelSet, MAX_LABEL_SET_BYTES, MAX_LABELS } from '../label-set.ts';
import { compactBatch } from './compact.ts';
import { readHistogram } from './histogram.ts';
import { Rejections } from './rejections.ts';

export interface DecodedWrite {
  batch: SampleBatch;
  /** Rows left out, by reason: invalid_labels, invalid_timestamp, invalid_histogram. The sender is told (400). */
  rejected: Rejection[];
  /** Left out without making the request a failure, by reason: invalid_exemplar. To be counted. */
  dropped: Rejection[];
}

/** The whole request is refused: HTTP 400 (413 if `tooLarge`, 415 if `unsupported`). */
export class WriteDecodeError extends Error {
  override name = 'WriteDecodeError';
  readonly tooLarge: boolean;
  readonly unsupported: boolean;

  constructor(message: string, kind: 'malformed' | 'tooLarge' | 'unsupported' = 'malformed') {
    super(message);
    this.tooLarge = kind === 'tooLarge';
    this.unsupported = kind === 'unsupported';
  }
}

export const METRIC_TYPES = [
  'unknown',
  'counter',
  'gauge',
  'histogram',
  'gaugehistogram',
  'summary',
  'info',
  'stateset',
] as const;

/** Code points of all label names and values of an exemplar; the bound of OpenMetrics. */
const MAX_EXEMPLAR_LABEL_CHARS = 128;
/** The shortest label in the canonical encoding: two tags of labels and fields, their lengths, one byte of name and of value. */
const LABEL_BYTES_MIN = 8;
const TOO_LARGE = `more than ${MAX_LABELS} labels, or more than ${MAX_LABEL_SET_BYTES} bytes of them`;
const METRIC_NAME = new TextEncoder().encode('__name__');
const decoder = new TextDecoder();
const labelSet = new LabelSet();

/** Decodes a remote-write 1.0 request. `encoding` is the Content-Encoding header, '' if there is none. */
export function decodeWriteRequest(
  body: Uint8Array,
  encoding: string,
  seed: TenantSeed,
  kernel: IngestKernel,
): DecodedWrite {
  return asDecodeErrors(kernel, () => {
    loadBody(body, encoding, kernel);
    const scan = kernel.scan(seed);
    return new ScanFinisher(scan, kernel).finish();
  });
}

/**
 * Decompresses a body into the kernel's memory. The specifications know snappy alone; vmagent and the like send zstd where a server takes it.
 * Without a word about it, old senders mean snappy and people with curl nothing.
 */
export function loadBody(body: Uint8Array, encoding: string, kernel: IngestKernel): void {
  switch (encoding) {
    case 'snappy':
      kernel.loadSnappy(body);
      return;
    case '':
      loadUnnamed(body, kernel);
      return;
    case 'zstd':
      if (!isZstd(body)) throw new WriteDecodeError('Content-Encoding says zstd, the body is not', 'unsupported');
      kernel.loadPlain(inflate(zlib.zstdDecompressSync, body, encoding));
      return;
    default:
      throw new WriteDecodeError(
        `Content-Encoding ${JSON.stringify(encoding)} is not supported; send snappy or zstd`,
        'unsupported',
      );
  }
}

/** A message that is also a sound snappy block does not occur: the block's length would have to fit to the byte. */
function loadUnnamed(body: Uint8Array, kernel: IngestKernel): void {
  try {
    kernel.loadSnappy(body);
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    kernel.loadPlain(body);
  }
}

function isZstd(body: Uint8Array): boolean {
  return body[0] === 0x28 && body[1] === 0xb5 && body[2] === 0x2f && body[3] === 0xfd;
}

/** As `loadBody`, for decoders that need no kernel; snappy is not among their encodings. */
export function unpackBody(body: Uint8Array, encoding: string): Uint8Array {
  switch (encoding) {
    case '':
    case 'identity':
      return body;
    case 'gzip':
      return inflate(zlib.gunzipSync, body, encoding);
    case 'zstd':
      return inflate(zlib.zstdDecompressSync, body, encoding);
    case 'deflate':
      return inflate(zlib.inflateSync, body, encoding);
    default:
      throw new WriteDecodeError(
        `Content-Encoding ${JSON.stringify(encoding)} is not supported; send gzip, zstd, deflate or none`,
        'unsupported',
      );
  }
}

function inflate(
  decompress: (body: Uint8Array, options: { maxOutputLength: number }) => Uint8Array,
  body: Uint8Array,
  encoding: string,
): Uint8Array {
  const limit = DEFAULT_KERNEL_LIMITS.messageBytes;
  try {
    return decompress(body, { maxOutputLength: limit });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') {
      throw new WriteDecodeError(`the message is larger than ${limit} bytes after ${encoding}`, 'tooLarge');
    }
    throw new WriteDecodeError(`cannot decompress ${encoding}: ${(error as Error).message}`);
  }
}

/** Runs a decoder and turns what lower layers throw for bad bytes into WriteDecodeErrors. */
export function asDecodeErrors<T>(
  kernel: IngestKernel,
  decode: () => T,
  offsetsIn: 'memory' | 'message' = 'memory',
): T {
  try {
    return decode();
  } catch (error) {
    if (error instanceof KernelError) {
      const room = error.code >= CODE.seriesRoom && error.code <= CODE.extraRoom;
      throw new WriteDecodeError(error.message, room || error.code === CODE.tooLarge ? 'tooLarge' : 'malformed');
    }
    if (error instanceof ProtobufError) {
      const at = offsetsIn === 'memory' ? error.offset - kernel.messageOffset : error.offset;
      throw new WriteDecodeError(`${error.message} (byte ${at} of the message)`);
    }
    throw error;
  }
}

/** Handles what the kernel set aside, and makes the batch. */
class ScanFinisher {
  private readonly scan: ScanResult;
  private readonly kernel: IngestKernel;
  private readonly reader: ProtobufReader;
  private readonly rejections = new Rejections();
  private readonly drops = new Rejections();
  private readonly histograms: HistogramSample[] = [];
  private readonly exemplars: ExemplarSample[] = [];
  private readonly metadata: MetadataEntry[] = [];
  /** 1 for series to be left out; null while there are none. */
  private droppedSeries: Uint8Array | null = null;

  constructor(scan: ScanResult, kernel: IngestKernel) {
    this.scan = scan;
    this.kernel = kernel;
    this.reader = new ProtobufReader(scan.bytes);
  }

  finish(): DecodedWrite {
    const scan = this.scan;
    let slowRows = 0;
    for (let i = 0; i < scan.extraCount; i++) {
      const kind = scan.extras[i * EXTRA_WORDS + 1];
      if (kind === EXTRA_SLOW_LABELS) slowRows++;
      else this.readExtra(i, kind as number);
    }
    // After all submessages have been read: canonical labels are written over the row they came from.
    if (slowRows > 0) this.readSlowRows();
    this.dropOversized();
    const batch: SampleBatch = {
      seriesCount: scan.seriesCount,
      labelBytes: scan.bytes,
      labelStart: scan.labelStart,
      labelEnd: scan.labelEnd,
      hashes: scan.hashes,
      sampleStart: scan.sampleStart,
      timestamps: scan.timestamps,
      values: scan.values,
      startTimestamps: null,
      histograms: this.histograms.length > 0 ? this.histograms : null,
      exemplars: this.exemplars.length > 0 ? this.exemplars : null,
      metadata: this.metadata.length > 0 ? this.metadata : null,
    };
    if (this.droppedSeries !== null || scan.oddTimes) compactBatch(batch, this.droppedSeries, this.rejections);
    return { batch, rejected: this.rejections.list(), dropped: this.drops.list() };
  }

  /** The kernel does not bound what it takes: label sets as large as the message would live in the index for good. */
  private dropOversized(): void {
    const { labelStart, labelEnd, seriesCount, bytes } = this.scan;
    for (let i = 0; i < seriesCount; i++) {
      const start = labelStart[i] as number;
      const size = (labelEnd[i] as number) - start;
      // Fast path: too short for more labels than may be.
      if (size <= MAX_LABELS * LABEL_BYTES_MIN || this.droppedSeries?.[i] === 1) continue;
      if (size <= MAX_LABEL_SET_BYTES && countLabels(bytes, start, start + size) <= MAX_LABELS) continue;
      this.droppedSeries ??= new Uint8Array(seriesCount);
      this.droppedSeries[i] = 1;
      this.rejections.add('invalid_labels', 1, () => `series ${i}: ${TOO_LARGE}`);
    }
  }

  private readExtra(i: number, kind: number): void {
    const { extras } = this.scan;
    const series = extras[i * EXTRA_WORDS] as number;
    this.reader.reset(extras[i * EXTRA_WORDS + 2] as number, extras[i * EXTRA_WORDS + 3] as number);
    if (kind === EXTRA_HISTOGRAM) this.readHistogram(series);
    else if (kind === EXTRA_EXEMPLAR) this.readExemplar(series);
    else if (kind === EXTRA_METADATA) this.readMetadata();
    else throw new Error(`BUG: the kernel set aside a row of kind ${kind}`);
  }

  private readHistogram(series: number): void {
    const { timestampMs, histogram, problem } = readHistogram(this.reader);
    if (problem !== '') {
      this.rejections.add('invalid_histogram', 1, () => `series ${series}: ${problem}`);
    } else if (isKeepableTime(timestampMs)) {
      this.histograms.push({ series, timestampMs, startTimestampMs: 0, histogram });
    } else this.rejections.add('invalid_timestamp', 1, () => `series ${series}: histogram at ${timestampMs} ms`);
  }

  private readExemplar(series: number): void {
    const r = this.reader;
    let value = 0;
    let timestampMs = 0;
    labelSet.clear();
    while (r.more()) {
      switch (r.field()) {
        case 1:
          readLabel(r, labelSet);
          break;
        case 2:
          value = r.double();
          break;
        case 3:
          timestampMs = r.signed();
          break;
        default:
          r.skip();
      }
    }
    const problem = exemplarProblem(labelSet, timestampMs);
    if (problem !== '') this.drops.add('invalid_exemplar', 1, () => `series ${series}: exemplar with ${problem}`);
    else this.exemplars.push({ series, timestampMs, value, labels: labelSet.toFlat() });
  }

  private readMetadata(): void {
    const r = this.reader;
    let type = 0;
    let metric = '';
    let help = '';
    let unit = '';
    while (r.more()) {
      switch (r.field()) {
        case 1:
          type = r.unsigned();
          break;
        case 2:
          metric = readText(r);
          break;
        case 4:
          help = readText(r);
          break;
        case 5:
          unit = readText(r);
          break;
        default:
          r.skip();
      }
    }
    if (metric !== '') this.metadata.push({ metric, type: METRIC_TYPES[type] ?? 'unknown', help, unit });
  }

  private readSlowRows(): void {
    const { extras, extraCount, bytes, messageStart } = this.scan;
    for (let i = 0; i < extraCount; i++) {
      if (extras[i * EXTRA_WORDS + 1] !== EXTRA_SLOW_LABELS) continue;
      const series = extras[i * EXTRA_WORDS] as number;
      const start = extras[i * EXTRA_WORDS + 2] as number;
      this.reader.reset(start, extras[i * EXTRA_WORDS + 3] as number);
      labelSet.clear();
      while (this.reader.more()) {
        if (this.reader.field() === 1) readLabel(this.reader, labelSet);
        else this.reader.skip();
      }
      const problem = labelProblem(labelSet);
      if (problem !== '') {
        this.droppedSeries ??= new Uint8Array(this.scan.seriesCount);
        this.droppedSeries[series] = 1;
        const at = start - messageStart;
        this.rejections.add('invalid_labels', 1, () => `series ${series} (byte ${at} of the message): ${problem}`);
        continue;
      }
      // Never longer than the row that it comes from: lengths are minimal and nothing is added.
      const end = labelSet.encode(bytes, start);
      this.scan.labelStart[series] = start;
      this.scan.labelEnd[series] = end;
      this.kernel.hashRow(start, end, series);
    }
  }
}

/** Labels of a canonical encoding. */
function countLabels(bytes: Uint8Array, start: number, end: number): number {
  const reader = new ProtobufReader(bytes, start, end);
  let count = 0;
  while (reader.more()) {
    reader.field();
    reader.skip();
    count++;
  }
  return count;
}

/** Milliseconds that a batch may carry. */
export function isKeepableTime(ms: number): boolean {
  return ms >= 0 && ms <= Number.MAX_SAFE_INTEGER;
}

/** Reads the Label message of the field that the reader stands at into the set. */
export function readLabel(r: ProtobufReader, into: LabelSet): void {
  let nameStart = 0;
  let nameEnd = 0;
  let valueStart = 0;
  let valueEnd = 0;
  const outer = r.enter();
  while (r.more()) {
    switch (r.field()) {
      case 1:
        nameStart = r.span();
        nameEnd = r.at;
        break;
      case 2:
        valueStart = r.span();
        valueEnd = r.at;
        break;
      default:
        r.skip();
    }
  }
  r.leave(outer);
  into.addBytes(r.bytes, nameStart, nameEnd, r.bytes, valueStart, valueEnd);
}

/** Sorts the set; says what is wrong with it as the labels of a series, or ''. */
export function labelProblem(set: LabelSet): string {
  const textProblem = labelTextProblem(set);
  if (textProblem !== '') return textProblem;
  const duplicate = set.sort();
  if (duplicate >= 0) return `label ${JSON.stringify(set.nameText(duplicate))} is given twice`;
  for (let i = 0; i < set.count; i++) if (set.nameIs(i, METRIC_NAME)) return '';
  return set.count === 0 ? 'it has no labels' : 'it has no metric name (label __name__)';
}

function labelTextProblem(set: LabelSet): string {
  if (set.tooLarge) return TOO_LARGE;
  for (let i = 0; i < set.count; i++) {
    const [nameStart, nameEnd, valueStart, valueEnd] = set.offsets(i);
    if (nameStart === nameEnd && valueStart !== valueEnd) return `label ${i} has an empty name`;
    if (!isUtf8(set.bytes, nameStart, nameEnd)) return `the name of label ${i} is not valid UTF-8`;
    if (!isUtf8(set.bytes, valueStart, valueEnd)) {
      return `the value of label ${JSON.stringify(set.nameText(i))} is not valid UTF-8`;
    }
  }
  return '';
}

/** Sorts the set; says what is wrong with it as the labels of an exemplar, or ''. */
export function exemplarProblem(set: LabelSet, timestampMs: number): string {
  if (!isKeepableTime(timestampMs)) return `the timestamp ${timestampMs} ms`;
  const textProblem = labelTextProblem(set);
  if (textProblem !== '') return textProblem;
  const duplicate = set.sort();
  if (duplicate >= 0) return `label ${JSON.stringify(set.nameText(duplicate))} given twice`;
  const chars = set.textChars();
  if (chars > MAX_EXEMPLAR_LABEL_CHARS) {
    return `${chars} characters of labels; at most ${MAX_EXEMPLAR_LABEL_CHARS} are kept`;
  }
  return '';
}

function readText(r: ProtobufReader): string {
  const start = r.span();
  return decoder.decode(r.bytes.subarray(start, r.at));
}
