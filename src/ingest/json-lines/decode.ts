/**
 * JSON lines -> SampleBatch: what `/api/v1/export` gives out and `/api/v1/import` takes, here and in VictoriaMetrics.
 *
 *     {"metric":{"__name__":"up","job":"a"},"values":[1,null,"Infinity"],"timestamps":[1549891472010,1549891487724,1549891503438]}
 *
 * A line may have native histograms in place of values (histogram.ts). One series a line; a series may come again in later lines. In `values`, null and "NaN" are NaN, "Infinity", "+Inf",
 * "-Infinity" and "-Inf" what they say, and "StaleNaN" is the staleness marker (which only our own export writes).
 *
 * Use as exposition/import.ts: `for (const batch of parser.feed(chunk)) await sink.append(...)`, then over `end()`.
 * Bounded by one line (10 MiB take about 60 ms to parse: not for a thread that answers others) and one batch.
 */
import type { IdentityHasher, TenantSeed } from '../../lib/identity-hash.ts';
import type { FloatHistogram } from '../../model/histogram.ts';
import type { SampleBatch } from '../../model/sample-batch.ts';
import { BatchBuilder } from '../batch-builder.ts';
import { LabelSet } from '../label-set.ts';
import { LineBuffer } from '../line-buffer.ts';
import { histogramOfJson } from './histogram.ts';

export interface JsonLinesOptions {
  /** Completes the labels of each line (extra labels, say); false drops it. */
  finishLabels?: (labels: LabelSet) => boolean;
  /** true: leave that line out and go on; false or absent: throw. What came before the line is in the batches. */
  onError?: (error: JsonLinesError) => boolean;
  maxLineBytes?: number;
  maxBatchSamples?: number;
}

export class JsonLinesError extends Error {
  override name = 'JsonLinesError';
  /** From 1. */
  readonly line: number;

  constructor(message: string, line: number) {
    super(`line ${line}: ${message}`);
    this.line = line;
  }
}

/** As VictoriaMetrics has it. */
const DEFAULT_LINE_BYTES = 10 << 20;
const DEFAULT_BATCH_SAMPLES = 10_000;
const NEWLINE = 0x0a;
/** Fatal: a replacement character would silently make another series. */
const utf8 = new TextDecoder('utf-8', { fatal: true });

/** A line that is wrong; becomes a JsonLinesError with the line's number. */
class LineError extends Error {}

export class JsonLinesParser {
  private readonly builder: BatchBuilder;
  private readonly lines: LineBuffer;
  private readonly options: JsonLinesOptions;
  private readonly maxBatchSamples: number;
  private readonly maxLineBytes: number;
  private readonly labels = new LabelSet();
  private line = 0;
  /** Samples put into batches, and lines left out by `onError`. */
  readonly counts = { added: 0, badLines: 0 };

  constructor(hasher: IdentityHasher, seed: TenantSeed, options: JsonLinesOptions = {}) {
    this.options = options;
    this.builder = new BatchBuilder(hasher, seed);
    this.builder.reset();
    this.maxBatchSamples = options.maxBatchSamples ?? DEFAULT_BATCH_SAMPLES;
    this.maxLineBytes = options.maxLineBytes ?? DEFAULT_LINE_BYTES;
    this.lines = new LineBuffer(this.maxLineBytes, () => {
      this.line++;
      this.reject(this.tooLong());
    });
  }

  *feed(chunk: Uint8Array): Generator<SampleBatch> {
    try {
      for (const { bytes, start, end } of this.lines.push(chunk)) yield* this.read(bytes, start, end);
    } catch (error) {
      yield* this.rest();
      throw error;
    }
  }

  *end(): Generator<SampleBatch> {
    try {
      for (const { bytes, start, end } of this.lines.end()) yield* this.read(bytes, start, end);
    } catch (error) {
      yield* this.rest();
      throw error;
    }
    yield* this.rest();
  }

  /** What has been read and not been given out, also before an error is thrown. */
  private *rest(): Generator<SampleBatch> {
    if (this.builder.seriesCount === 0) return;
    yield this.builder.finish();
    this.builder.reset();
  }

  private *read(bytes: Uint8Array, start: number, end: number): Generator<SampleBatch> {
    for (let p = start; p < end; ) {
      const eol = bytes.indexOf(NEWLINE, p);
      const lineEnd = eol < 0 || eol > end ? end : eol;
      this.line++;
      try {
        if (lineEnd - p > this.maxLineBytes) throw new LineError(this.tooLong());
        this.readLine(bytes, p, lineEnd);
      } catch (error) {
        if (!(error instanceof LineError)) throw error;
        this.reject(error.message);
      }
      p = lineEnd + 1;
      if (this.builder.sampleCount + this.builder.histogramCount >= this.maxBatchSamples) {
        yield this.builder.finish();
        this.builder.reset();
      }
    }
  }

  private readLine(bytes: Uint8Array, start: number, end: number): void {
    const text = textOf(bytes, start, end);
    if (text.trim() === '') return;
    const row = parseRow(text);
    this.readLabels(row.metric);
    if (this.options.finishLabels !== undefined && !this.options.finishLabels(this.labels)) return;
    if (this.labels.tooLarge) throw new LineError('the series has too many or too long labels');
    const duplicate = this.labels.sort();
    if (duplicate >= 0) throw new LineError(`label ${JSON.stringify(this.labels.nameText(duplicate))} is given twice`);
    if (this.labels.valueOf('__name__') === '') throw new LineError('"metric" has no __name__');
    const { timestamps, values } = row;
    // All checked before the first goes in: a line is stored whole or not at all.
    for (let i = 0; i < timestamps.length; i++) checkTimestamp(timestamps[i], i);
    if (row.histograms) {
      this.addHistograms(timestamps as number[], values);
      return;
    }
    for (let i = 0; i < timestamps.length; i++) checkValue(values[i], i);
    this.builder.addSeriesSet(this.labels);
    for (let i = 0; i < timestamps.length; i++) {
      const value = values[i];
      if (typeof value === 'number') this.builder.addSample(timestamps[i] as number, value);
      else if (value === 'StaleNaN') this.builder.addStale(timestamps[i] as number);
      else this.builder.addSample(timestamps[i] as number, SPECIAL.get(value as string | null) as number);
    }
    this.counts.added += timestamps.length;
  }

  private addHistograms(timestamps: readonly number[], values: readonly unknown[]): void {
    const histograms = values.map((value, i): FloatHistogram => {
      const histogram = histogramOfJson(value);
      if (typeof histogram === 'string') throw new LineError(`histogram ${i}: ${histogram}`);
      return histogram;
    });
    this.builder.addSeriesSet(this.labels);
    histograms.forEach((histogram, i) => {
      this.builder.addHistogram(timestamps[i] as number, histogram);
    });
    this.counts.added += histograms.length;
  }

  private readLabels(metric: Record<string, unknown>): void {
    this.labels.clear();
    for (const [name, value] of Object.entries(metric)) {
      if (typeof value !== 'string') throw new LineError(`label ${JSON.stringify(name)} is not a text`);
      if (name === '') throw new LineError('a label name is empty');
      if (!name.isWellFormed() || !value.isWellFormed()) throw new LineError('a label holds half a surrogate pair');
      this.labels.addStrings(name, value);
    }
  }

  private tooLong(): string {
    return `it is longer than ${this.maxLineBytes} bytes; put long series on several lines`;
  }

  private reject(message: string): void {
    const error = new JsonLinesError(message, this.line);
    if (this.options.onError?.(error) !== true) throw error;
    this.counts.badLines++;
  }
}

const SPECIAL = new Map<string | null, number>([
  [null, Number.NaN],
  ['NaN', Number.NaN],
  ['Infinity', Number.POSITIVE_INFINITY],
  ['+Infinity', Number.POSITIVE_INFINITY],
  ['Inf', Number.POSITIVE_INFINITY],
  ['+Inf', Number.POSITIVE_INFINITY],
  ['-Infinity', Number.NEGATIVE_INFINITY],
  ['-Inf', Number.NEGATIVE_INFINITY],
]);

interface Row {
  metric: Record<string, unknown>;
  /** Or the histograms. */
  values: unknown[];
  histograms: boolean;
  timestamps: unknown[];
}

function textOf(bytes: Uint8Array, start: number, end: number): string {
  try {
    return utf8.decode(bytes.subarray(start, end));
  } catch {
    throw new LineError('it is not valid UTF-8');
  }
}

function parseRow(text: string): Row {
  let row: unknown;
  try {
    row = JSON.parse(text);
  } catch (error) {
    const mended = quoteBareValues(text);
    if (mended === text) throw new LineError(`it is not JSON: ${(error as Error).message}`);
    return parseRow(mended);
  }
  if (typeof row !== 'object' || row === null) throw new LineError('it is not an object');
  const { metric, histograms, timestamps } = row as Record<string, unknown>;
  if (histograms !== undefined && (row as Partial<Row>).values !== undefined) {
    throw new LineError('"values" and "histograms" do not stand in one line');
  }
  const values = histograms ?? (row as Partial<Row>).values;
  if (typeof metric !== 'object' || metric === null || Array.isArray(metric)) {
    throw new LineError('"metric" is not an object');
  }
  if (!Array.isArray(values)) {
    throw new LineError(`"${histograms === undefined ? 'values' : 'histograms'}" is not an array`);
  }
  if (!Array.isArray(timestamps)) throw new LineError('"timestamps" is not an array');
  if (values.length !== timestamps.length) {
    throw new LineError(
      `${values.length} ${histograms === undefined ? 'values' : 'histograms'} do not fit ${timestamps.length} timestamps`,
    );
  }
  return { metric: metric as Row['metric'], values, histograms: histograms !== undefined, timestamps };
}

/** VictoriaMetrics up to 1.7x writes +Inf, -Inf and NaN as they are, which is no JSON. A label cannot hold `"values":`, its quotes are escaped. */
function quoteBareValues(text: string): string {
  return text.replace(/"values"\s*:\s*\[[^\]"]*\]/, list =>
    list.replace(
      /([[,]\s*)([-+]?Inf|NaN|nan)(?=\s*[,\]])/g,
      (_all, before: string, value: string) => before + JSON.stringify(value === 'nan' ? 'NaN' : value),
    ),
  );
}

function checkTimestamp(t: unknown, i: number): void {
  if (typeof t !== 'number' || !Number.isSafeInteger(t) || t < 0) {
    throw new LineError(`timestamp ${i} is ${JSON.stringify(t)}, not whole milliseconds since 1970`);
  }
}

function checkValue(v: unknown, i: number): void {
  if (typeof v === 'number' || v === 'StaleNaN' || SPECIAL.has(v as string | null)) return;
  throw new LineError(`value ${i} is ${JSON.stringify(v)}, not a number`);
}
