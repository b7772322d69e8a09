/**
 * BlockWriter: makes one block file from series that arrive in order.
 *
 * Series come sorted by (metric name in UTF-8 order, identity hash): so blocks merge by streaming, and the chunks of one
 * metric are neighbours, which compress well and are read together. Data goes to `<ulid>.block.tmp` as it comes;
 * `finish` writes the index, syncs, and renames. Memory: one open frame, the index (index-writer.ts), the time columns
 * seen lately.
 */
import { fdatasync, renameSync, unlinkSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { SampleBuffer } from '../../../contracts/sample-source.ts';
import { compareStrings, getLabel, type Labels, METRIC_NAME } from '../../../model/labels.ts';
import {
  bucketCount,
  encodeHistogramChunk,
  MAX_BUCKET_CELLS,
  maxHistogramChunkSize,
} from '../chunk/histogram-chunk.ts';
import { MAX_CHUNK_ROWS } from '../chunk/int-column.ts';
import { type AggregateBuffer, maxAggregateChunkSize, putAggregateChunk } from './aggregate-chunk.ts';
import { chunkEnd, chunkWindowMs, maxBlockChunkSize, putFloatChunk, ROWS_MAX, TimesWriter } from './chunks.ts';
import { type Compression, FAST, FrameWriter } from './frames.ts';
import { ByteSink, IndexWriter } from './index-writer.ts';
import { type BlockMeta, DATA_FRAME_BYTES, FORMAT_VERSION, KIND, LABELS_MAX, SECTION } from './layout.ts';

const sync = promisify(fdatasync);

export interface BlockWriterOptions {
  ulid: string;
  tenant: string;
  /** 0 for raw samples. */
  resolutionMs?: number;
  level?: number;
  sources?: readonly string[];
  createdAtMs: number;
  arrivedMs: number;
  /** Of data; FAST unless told otherwise. */
  compression?: Compression;
}

/** The order of series in a block. Negative where a comes first. */
export function compareSeries(nameA: string, hashA: Uint32Array, nameB: string, hashB: Uint32Array): number {
  const byName = compareStrings(nameA, nameB);
  if (byName !== 0) return byName;
  for (let w = 0; w < 4; w++) {
    const d = (hashA[w] as number) - (hashB[w] as number);
    if (d !== 0) return d;
  }
  return 0;
}

export class BlockWriter {
  readonly path: string;
  private readonly tempPath: string;
  private readonly dir: string;
  private readonly options: BlockWriterOptions;
  private readonly frames: FrameWriter;
  private readonly times: TimesWriter;
  private readonly index: IndexWriter;
  private readonly data = new ByteSink();
  private readonly compression: Compression;
  private lastName: string | null = null;
  private readonly lastHash = new Uint32Array(4);
  private minT = Number.POSITIVE_INFINITY;
  private maxT = Number.NEGATIVE_INFINITY;
  private floatSamples = 0;
  private histogramSamples = 0;
  private chunks = 0;

  constructor(dir: string, options: BlockWriterOptions) {
    this.dir = dir;
    this.options = options;
    this.compression = options.compression ?? FAST;
    this.path = join(dir, `${options.ulid}.block`);
    this.tempPath = `${this.path}.tmp`;
    this.frames = new FrameWriter(this.tempPath);
    this.times = new TimesWriter(this.frames, this.compression);
    this.index = new IndexWriter(this.frames, () => (this.minT === Number.POSITIVE_INFINITY ? 0 : this.minT));
  }

  get seriesCount(): number {
    return this.index.seriesCount;
  }

  /** Bytes in the file so far: it does not become smaller. */
  get writtenBytes(): number {
    return this.frames.size;
  }

  /** Bytes of data written so far; the index comes on top. */
  get bytes(): number {
    return this.frames.size + this.data.length;
  }

  /**
   * Adds a series with its samples (ascending, one per timestamp); none at all adds nothing. `hash` has four words. Series come in the order
   * of compareSeries, each once. Synchronous, at most a frame is compressed and written; callers yield between series.
   */
  addSeries(hash: Uint32Array, labels: Labels, samples: SampleBuffer): void {
    if (samples.length === 0 && samples.histogramLength === 0) return;
    this.begin(hash, labels);
    if (samples.length > 0) this.addFloats(samples);
    if (samples.histogramLength > 0) this.addHistograms(samples);
  }

  /** Adds a series of a downsampled block. */
  addAggregates(hash: Uint32Array, labels: Labels, rows: AggregateBuffer, histograms: SampleBuffer | null): void {
    const withHistograms = histograms !== null && histograms.histogramLength > 0;
    if (rows.length === 0 && !withHistograms) return;
    this.begin(hash, labels);
    if (rows.length > 0) this.addAggregateChunks(rows);
    if (withHistograms) this.addHistograms(histograms);
  }

  /** Writes index and meta, syncs, renames. Returns null, leaving no file, where no series was added. */
  async finish(signal?: AbortSignal): Promise<BlockMeta | null> {
    if (this.index.seriesCount === 0) {
      this.abort();
      return null;
    }
    try {
      this.flushData();
      this.times.flush();
      await this.index.finish(signal);
      const meta = this.meta();
      this.frames.append(SECTION.meta, new TextEncoder().encode(JSON.stringify(meta)), null);
      this.frames.end();
      await sync(this.frames.fd);
      this.frames.close();
      renameSync(this.tempPath, this.path);
      await syncFolder(this.dir);
      return meta;
    } catch (error) {
      this.abort();
      throw error;
    }
  }

  /** Gives up; removes the temporary file. */
  abort(): void {
    try {
      this.frames.close();
    } catch {
      // Closed already.
    }
    try {
      unlinkSync(this.tempPath);
    } catch {
      // Renamed or removed already.
    }
  }

  private meta(): BlockMeta {
    const o = this.options;
    return {
      version: FORMAT_VERSION,
      ulid: o.ulid,
      tenant: o.tenant,
      minT: this.minT,
      maxT: this.maxT,
      resolutionMs: o.resolutionMs ?? 0,
      level: o.level ?? 1,
      sources: [...(o.sources ?? [])],
      createdAtMs: o.createdAtMs,
      arrivedMs: o.arrivedMs,
      series: this.index.seriesCount,
      floatSamples: this.floatSamples,
      histogramSamples: this.histogramSamples,
      chunks: this.chunks,
    };
  }

  private begin(hash: Uint32Array, labels: Labels): void {
    if (labels.length > 2 * LABELS_MAX)
      throw new RangeError(`a series with ${labels.length / 2} labels, at most ${LABELS_MAX} can be`);
    const name = getLabel(labels, METRIC_NAME);
    if (this.lastName !== null && compareSeries(this.lastName, this.lastHash, name, hash) >= 0) {
      throw new RangeError(`BUG: series of ${name} do not come in order of (name, hash)`);
    }
    this.lastName = name;
    for (let w = 0; w < 4; w++) this.lastHash[w] = hash[w] as number;
    this.index.addSeries(hash, labels);
  }

  private addFloats(samples: SampleBuffer): void {
    const t = samples.timestamps;
    const n = samples.length;
    const window = chunkWindowMs(n, t[0] as number, t[n - 1] as number);
    for (let from = 0; from < n; ) {
      const end = chunkEnd(t, from, n, window);
      this.data.room(maxBlockChunkSize(end - from));
      const at = this.data.length;
      this.data.length = putFloatChunk(samples, from, end - from, this.times, this.data.bytes, at);
      this.noteChunk(KIND.float, end - from, t[from] as number, t[end - 1] as number, at);
      from = end;
    }
    this.floatSamples += n;
  }

  private addAggregateChunks(rows: AggregateBuffer): void {
    const t = rows.timestamps;
    const n = rows.length;
    for (let from = 0; from < n; ) {
      const end = Math.min(n, from + ROWS_MAX);
      this.data.room(maxAggregateChunkSize(end - from));
      const at = this.data.length;
      this.data.length = putAggregateChunk(rows, from, end - from, this.times, this.data.bytes, at);
      const first = from === 0 ? Math.min(rows.firstT, t[0] as number) : (t[from] as number);
      this.noteChunk(KIND.aggregate, end - from, first, t[end - 1] as number, at);
      from = end;
    }
    this.floatSamples += n;
  }

  private addHistograms(samples: SampleBuffer): void {
    const t = samples.histogramTimestamps;
    const n = samples.histogramLength;
    for (let from = 0; from < n; ) {
      let end = from;
      let cells = 0;
      while (end < n && end - from < MAX_CHUNK_ROWS / 8) {
        cells += bucketCount(samples.histograms[end] as SampleBuffer['histograms'][0]);
        if (cells > MAX_BUCKET_CELLS / 4 && end > from) break;
        end++;
      }
      this.data.room(maxHistogramChunkSize(samples.histograms, from, end));
      const at = this.data.length;
      const starts = samples.histogramStartTimestamps;
      this.data.length = encodeHistogramChunk(t, samples.histograms, from, end, starts, this.data.bytes, at, false);
      this.noteChunk(KIND.histogram, end - from, t[from] as number, t[end - 1] as number, at);
      from = end;
    }
    this.histogramSamples += n;
  }

  private noteChunk(kind: 0 | 1 | 2, rows: number, minT: number, maxT: number, at: number): void {
    if (minT < this.minT) this.minT = minT;
    if (maxT > this.maxT) this.maxT = maxT;
    this.chunks++;
    this.index.addChunk(kind, rows, minT, maxT, this.frames.count(SECTION.data), at, this.data.length - at);
    if (this.data.length >= DATA_FRAME_BYTES) this.flushData();
  }

  private flushData(): void {
    if (this.data.length > 0) this.frames.append(SECTION.data, this.data.take(), this.compression);
  }
}

/** Makes a rename last: the folder itself is synced. */
export async function syncFolder(dir: string): Promise<void> {
  const handle = await open(dir, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
