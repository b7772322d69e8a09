/**
 * ImportParser: Prometheus text of any length, fed in chunks as they arrive, into batches of bounded size.
 *
 * `for (const batch of parser.feed(chunk)) await sink.append(tenant, batch)`, then the same over `end()`. A batch is
 * valid until the generator goes on. Memory is bounded by one batch, one line and the series cache, however long the
 * text. Timestamps are optional milliseconds of any age; consecutive samples of one series share a row.
 */
import type { IdentityHasher, TenantSeed } from '../../lib/identity-hash.ts';
import type { SampleBatch } from '../../model/sample-batch.ts';
import { BatchBuilder } from '../batch-builder.ts';
import type { LabelSet } from '../label-set.ts';
import { LineBuffer } from '../line-buffer.ts';
import { ExpositionError } from './parser.ts';
import { SeriesCache } from './series-cache.ts';
import { ExpositionReader, newCounts, type ReadCounts, type ReadOptions } from './to-batch.ts';

export interface ImportOptions {
  /** Time of lines that carry none. ms. */
  timestampMs: number;
  /** Completes the labels of each series met (extra labels, say); false drops it. */
  finishLabels?: (labels: LabelSet) => boolean;
  /** true: leave that line out and go on; false or absent: throw. What came before the line is in the batches. */
  onError?: (error: ExpositionError) => boolean;
  maxLineBytes?: number;
  maxBatchSamples?: number;
}

const DEFAULT_LINE_BYTES = 1 << 20;
const DEFAULT_BATCH_SAMPLES = 10_000;
const CACHE_ENTRIES = 50_000;

export class ImportParser {
  private readonly builder: BatchBuilder;
  private readonly cache: SeriesCache;
  private readonly reader: ExpositionReader;
  private readonly options: ReadOptions;
  private readonly maxBatchSamples: number;
  private readonly lines: LineBuffer;
  private line = 1;
  readonly counts: ReadCounts = newCounts();

  constructor(hasher: IdentityHasher, seed: TenantSeed, options: ImportOptions) {
    this.builder = new BatchBuilder(hasher, seed);
    this.cache = new SeriesCache(seed, CACHE_ENTRIES);
    this.cache.begin();
    this.reader = new ExpositionReader('text', this.cache);
    this.builder.reset();
    this.reader.begin(this.builder);
    const maxLineBytes = options.maxLineBytes ?? DEFAULT_LINE_BYTES;
    this.lines = new LineBuffer(maxLineBytes, () => this.tooLong(maxLineBytes));
    this.maxBatchSamples = options.maxBatchSamples ?? DEFAULT_BATCH_SAMPLES;
    this.options = {
      timestampMs: options.timestampMs,
      honorTimestamps: true,
      finishLabels: options.finishLabels ?? null,
      createdAsStart: false,
      metadata: true,
      onError: options.onError,
    };
  }

  *feed(chunk: Uint8Array): Generator<SampleBatch> {
    try {
      for (const { bytes, start, end } of this.lines.push(chunk)) yield* this.read(bytes, start, end);
    } catch (error) {
      yield* this.rest();
      throw error;
    }
  }

  /** The last line may lack its newline. */
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
    this.reader.finish(this.builder, this.options, this.counts);
    const batch = this.builder.finish();
    if (batch.seriesCount > 0 || batch.metadata !== null) yield batch;
    this.restart();
  }

  private *read(bytes: Uint8Array, from: number, end: number): Generator<SampleBatch> {
    let at = from;
    while (at < end) {
      const max = this.maxBatchSamples;
      const next = this.reader.readPart(bytes, at, end, this.line, this.builder, this.options, this.counts, max);
      at = next.at;
      this.line = next.line;
      if (this.builder.sampleCount < max) return;
      yield this.builder.finish();
      this.restart();
    }
  }

  private restart(): void {
    this.builder.reset();
    this.reader.begin(this.builder);
    // Bounded: the cache drops what the current generation has not seen, or everything.
    this.cache.begin();
  }

  private tooLong(maxLineBytes: number): void {
    const error = new ExpositionError(`the line is longer than ${maxLineBytes} bytes`, this.line++, 1);
    if (this.options.onError?.(error) !== true) throw error;
    this.counts.badLines++;
  }
}
