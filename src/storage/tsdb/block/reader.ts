/**
 * BlockReader: one open block as a Part.
 *
 * Opening reads the directory, the meta and the list of label names; everything else is read when asked for, through the two caches
 * that all blocks of a thread share. Immutable but for its tombstones. The file stays open while selections
 * hold the block, even after `close` (so that a merged block can be unlinked under running queries).
 */
import { rmSync } from 'node:fs';
import { growSampleBuffer, type SampleBuffer } from '../../../contracts/sample-source.ts';
import type { Labels } from '../../../model/labels.ts';
import { isValidTenant } from '../../../model/tenant.ts';
import { ByteCursor } from '../chunk/bytes.ts';
import { CorruptChunkError } from '../chunk/corrupt.ts';
import { decodeHistogramChunk } from '../chunk/histogram-chunk.ts';
import { decodeInts } from '../chunk/int-column.ts';
import type { CompiledMatcher, Part, PartSet } from '../part.ts';
import { type AggregateBuffer, newAggregateBuffer, readAggregateChunk } from './aggregate-chunk.ts';
import { type AggregateColumn, appendAggregates } from './aggregates.ts';
import { type BlockCaches, columnKey, frameKey } from './cache.ts';
import { readFloatChunk, type TimesLookup } from './chunks.ts';
import { FrameFile } from './frames.ts';
import { BlockIndex, type ChunkPage } from './index-reader.ts';
import {
  type BlockMeta,
  CorruptBlockError,
  FORMAT_VERSION,
  KIND,
  SECTION,
  SECTION_NAMES,
  SERIES_PER_PAGE,
  type Section,
} from './layout.ts';
import { selectSeries } from './postings.ts';
import { Selections } from './selections.ts';
import { dropDeleted, Tombstones } from './tombstones.ts';

const cursor = new ByteCursor();
const columnCursor = new ByteCursor();
/** Rows of an aggregate read; reused, never kept. */
const aggregates = newAggregateBuffer();

export class BlockReader implements Part {
  readonly path: string;
  readonly meta: BlockMeta;
  readonly minT: number;
  readonly maxT: number;
  readonly index: BlockIndex;
  readonly file: FrameFile;
  private readonly caches: BlockCaches;
  private readonly id: number;
  private deleted: Tombstones;
  private readonly selections = new Selections();
  private users = 1;
  private readonly lookup: TimesLookup;

  /** Throws CorruptBlockError where the file is none of ours, or what the file system says. */
  constructor(path: string, caches: BlockCaches) {
    this.path = path;
    this.caches = caches;
    this.id = caches.nextBlock();
    this.file = new FrameFile(path);
    try {
      this.meta = readMeta(this.file);
      this.minT = this.meta.minT;
      this.maxT = this.meta.maxT;
      this.index = new BlockIndex(this.file, caches, this.id);
      this.deleted = Tombstones.load(this.tombstonesPath);
    } catch (error) {
      this.file.close();
      throw error;
    }
    this.lookup = (frame, offset, n) => this.times(frame, offset, n);
  }

  /** Size of the block file. Bytes. */
  get bytes(): number {
    return this.file.size;
  }

  get seriesCount(): number {
    return this.index.seriesCount;
  }

  get tombstones(): Tombstones {
    return this.deleted;
  }

  private get tombstonesPath(): string {
    return tombstonesPathOf(this.path);
  }

  /**
   * A selection reads `aggregate` of a downsampled block (aggregates.ts; 'last' unless told otherwise); raw blocks
   * have nothing to choose.
   */
  select(
    tenant: string,
    matchers: readonly CompiledMatcher[],
    minT: number,
    maxT: number,
    aggregate: AggregateColumn = 'last',
  ): BlockSet {
    return new BlockSet(this, this.find(tenant, matchers, minT, maxT), aggregate);
  }

  labelNames(tenant: string, matchers: readonly CompiledMatcher[], minT: number, maxT: number): Set<string> {
    const names = new Set<string>();
    if (!this.mayHave(tenant, minT, maxT)) return names;
    if (matchers.length === 0 && this.deleted.size === 0) {
      for (const entry of this.index.names) names.add(entry.name);
      return names;
    }
    const seen = new Uint8Array(this.index.names.length);
    for (const series of this.find(tenant, matchers, minT, maxT)) {
      const page = this.index.labelPage(Math.floor(series / SERIES_PER_PAGE));
      const i = series % SERIES_PER_PAGE;
      for (let k = page.starts[i] as number; k < (page.starts[i + 1] as number); k++) {
        seen[this.index.nameIndexOf(page.pairs[k] as number)] = 1;
      }
    }
    seen.forEach((mark, i) => {
      if (mark === 1) names.add((this.index.names[i] as { name: string }).name);
    });
    return names;
  }

  labelValues(
    tenant: string,
    name: string,
    matchers: readonly CompiledMatcher[],
    minT: number,
    maxT: number,
  ): Set<string> {
    const values = new Set<string>();
    const entry = this.index.name(name);
    if (entry === null || !this.mayHave(tenant, minT, maxT)) return values;
    if (matchers.length === 0 && this.deleted.size === 0) {
      for (let pair = entry.from; pair < entry.to; pair++) values.add(this.index.value(pair));
      return values;
    }
    const seen = new Uint8Array(entry.to - entry.from);
    for (const series of this.find(tenant, matchers, minT, maxT)) {
      const page = this.index.labelPage(Math.floor(series / SERIES_PER_PAGE));
      const i = series % SERIES_PER_PAGE;
      for (let k = page.starts[i] as number; k < (page.starts[i + 1] as number); k++) {
        const pair = page.pairs[k] as number;
        if (pair >= entry.from && pair < entry.to) seen[pair - entry.from] = 1;
      }
    }
    seen.forEach((mark, i) => {
      if (mark === 1) values.add(this.index.value(entry.from + i));
    });
    return values;
  }

  /**
   * Deletes the samples of matching series in [minT, maxT]: on disk when this returns. Selections made before keep what they had.
   * Returns the number of series concerned.
   */
  delete(tenant: string, matchers: readonly CompiledMatcher[], minT: number, maxT: number): number {
    const found = this.find(tenant, matchers, minT, maxT);
    if (found.length === 0) return 0;
    const next = this.deleted.copy();
    const hash = new Uint32Array(4);
    for (const series of found) {
      this.index.hash(series, hash, 0);
      next.add(hash, 0, minT, maxT);
    }
    next.save(this.tombstonesPath);
    this.deleted = next;
    return found.length;
  }

  /** Drops the opener's hold; the file is closed when the last selection is. */
  close(): void {
    this.release();
  }

  retain(): void {
    this.users++;
  }

  release(): void {
    this.users--;
    if (this.users > 0) return;
    this.file.close();
    this.caches.index.deleteBlock(this.id);
    this.caches.data.deleteBlock(this.id);
  }

  /** Appends the samples of a series in [minT, maxT], deleted ones included; aggregates of a downsampled block as `column`. */
  readSeries(series: number, minT: number, maxT: number, column: AggregateColumn, into: SampleBuffer): void {
    const page = this.index.chunkPage(Math.floor(series / SERIES_PER_PAGE));
    const i = series % SERIES_PER_PAGE;
    let rows = 0;
    for (let c = page.starts[i] as number; c < (page.starts[i + 1] as number); c++) {
      if (page.kinds[c] === KIND.float && overlaps(page, c, minT, maxT)) rows += page.rows[c] as number;
    }
    growSampleBuffer(into, into.length + rows);
    let aggregated = false;
    for (let c = page.starts[i] as number; c < (page.starts[i + 1] as number); c++) {
      if (!overlaps(page, c, minT, maxT)) continue;
      if (page.kinds[c] === KIND.aggregate) {
        if (!aggregated) aggregates.length = 0;
        aggregated = true;
        this.readChunk(page, c, minT, maxT, null, aggregates);
      } else this.readChunk(page, c, minT, maxT, into, null);
    }
    if (aggregated) appendAggregates(aggregates, this.meta.resolutionMs, column, minT, maxT, into);
  }

  /** Appends the aggregate rows of a series; histograms and floats are left out. */
  readAggregates(series: number, minT: number, maxT: number, rows: AggregateBuffer): void {
    const page = this.index.chunkPage(Math.floor(series / SERIES_PER_PAGE));
    const i = series % SERIES_PER_PAGE;
    for (let c = page.starts[i] as number; c < (page.starts[i + 1] as number); c++) {
      if (page.kinds[c] === KIND.aggregate && overlaps(page, c, minT, maxT))
        this.readChunk(page, c, minT, maxT, null, rows);
    }
  }

  private readChunk(
    page: ChunkPage,
    c: number,
    minT: number,
    maxT: number,
    into: SampleBuffer | null,
    rows: AggregateBuffer | null,
  ): void {
    const frame = page.frames[c] as number;
    const at = page.offsets[c] as number;
    const end = at + (page.sizes[c] as number);
    const n = page.rows[c] as number;
    const kind = page.kinds[c];
    const floats = into?.length ?? 0;
    const histograms = into?.histogramLength ?? 0;
    const aggregateRows = rows?.length ?? 0;
    try {
      const bytes = this.data(SECTION.data, frame);
      let stopped: number;
      if (kind === KIND.histogram) {
        if (end > bytes.length) throw new CorruptChunkError(`chunk ends at ${end} of ${bytes.length}`, at);
        stopped = decodeHistogramChunk(bytes, at, into as SampleBuffer, minT, maxT);
      } else {
        cursor.reset(bytes, at, end);
        if (rows !== null) readAggregateChunk(cursor, n, this.lookup, rows);
        else readFloatChunk(cursor, n, this.lookup, minT, maxT, into as SampleBuffer);
        stopped = cursor.at;
      }
      if (stopped !== end) throw new CorruptChunkError(`chunk ends at ${stopped}, the index says ${end}`, at);
    } catch (error) {
      if (into !== null) {
        into.length = floats;
        into.histogramLength = histograms;
      }
      if (rows !== null) rows.length = aggregateRows;
      throw this.corrupt(error, SECTION.data, frame);
    }
  }

  private corrupt(error: unknown, section: Section, frame: number): unknown {
    if (!(error instanceof CorruptChunkError)) return error;
    const at = this.file.offset(section, frame);
    return new CorruptBlockError(this.path, SECTION_NAMES[section] as string, at, `frame ${frame}: ${error.message}`);
  }

  /** An inflated frame of data or times. */
  private data(section: Section, frame: number): Uint8Array {
    const key = frameKey(this.id, section, frame);
    const cached = this.caches.data.get(key) as Uint8Array | undefined;
    if (cached !== undefined) return cached;
    const bytes = this.file.read(section, frame);
    this.caches.data.put(key, bytes, bytes.length);
    return bytes;
  }

  /** A shared time column, decoded once for the series that have it. */
  private times(frame: number, offset: number, n: number): Float64Array {
    const key = columnKey(this.id, frame, offset);
    const cached = key < 0 ? undefined : (this.caches.data.get(key) as Float64Array | undefined);
    if (cached !== undefined && cached.length === n) return cached;
    const bytes = this.data(SECTION.times, frame);
    const column = new Float64Array(n);
    try {
      columnCursor.reset(bytes, offset, bytes.length);
      decodeInts(columnCursor, n, column, 0);
    } catch (error) {
      throw this.corrupt(error, SECTION.times, frame);
    }
    if (key >= 0) this.caches.data.put(key, column, column.byteLength);
    return column;
  }

  private mayHave(tenant: string, minT: number, maxT: number): boolean {
    return tenant === this.meta.tenant && minT <= this.maxT && maxT >= this.minT;
  }

  private find(tenant: string, matchers: readonly CompiledMatcher[], minT: number, maxT: number): Uint32Array {
    if (!this.mayHave(tenant, minT, maxT)) return new Uint32Array(0);
    const found = this.selections.get(matchers, () => selectSeries(this.index, matchers));
    if (this.deleted.size === 0) return found;
    const hash = new Uint32Array(4);
    return found.filter(series => {
      this.index.hash(series, hash, 0);
      return !this.isGone(this.deleted.of(hash, 0), Math.max(minT, this.minT), Math.min(maxT, this.maxT));
    });
  }

  /** Whether nothing of the range is left. */
  private isGone(intervals: readonly number[] | null, minT: number, maxT: number): boolean {
    if (intervals === null) return false;
    for (let i = 0; i < intervals.length; i += 2) {
      if ((intervals[i] as number) <= minT && (intervals[i + 1] as number) >= maxT) return true;
    }
    return false;
  }
}

function overlaps(page: ChunkPage, c: number, minT: number, maxT: number): boolean {
  return (page.minT[c] as number) <= maxT && (page.maxT[c] as number) >= minT;
}

export function tombstonesPathOf(blockPath: string): string {
  return blockPath.replace(/\.block$/, '.tombstones');
}

/** Removes a block with its tombstones; open readers go on reading. */
export function removeBlock(path: string): void {
  rmSync(path, { force: true });
  rmSync(tombstonesPathOf(path), { force: true });
}

export class BlockSet implements PartSet {
  readonly count: number;
  readonly hashes: Uint32Array;
  private readonly block: BlockReader;
  private readonly series: Uint32Array;
  private readonly aggregate: AggregateColumn;
  private readonly deleted: Tombstones;
  private open = true;

  constructor(block: BlockReader, series: Uint32Array, aggregate: AggregateColumn) {
    this.block = block;
    this.series = series;
    this.aggregate = aggregate;
    this.deleted = block.tombstones;
    this.count = series.length;
    this.hashes = new Uint32Array(series.length * 4);
    for (let i = 0; i < series.length; i++) block.index.hash(series[i] as number, this.hashes, i * 4);
    block.retain();
  }

  labels(i: number): Labels {
    return this.block.index.labels(this.series[i] as number);
  }

  read(i: number, minT: number, maxT: number, into: SampleBuffer): void {
    this.readAggregate(i, minT, maxT, this.aggregate, into);
  }

  /** As read, with a column of choice; raw samples come as they are. */
  readAggregate(i: number, minT: number, maxT: number, column: AggregateColumn, into: SampleBuffer): void {
    const floats = into.length;
    const histograms = into.histogramLength;
    this.block.readSeries(this.series[i] as number, minT, maxT, column, into);
    const intervals = this.deleted.of(this.hashes, i * 4);
    if (intervals === null) return;
    dropDeleted(into, floats, histograms, intervals);
    into.numbers = Math.min(into.numbers, floats);
  }

  close(): void {
    if (!this.open) return;
    this.open = false;
    this.block.release();
  }
}

function readMeta(file: FrameFile): BlockMeta {
  const at = file.offset(SECTION.meta, 0);
  const bad = (what: string) => new CorruptBlockError(file.path, 'meta', at, what);
  let meta: BlockMeta;
  try {
    meta = JSON.parse(new TextDecoder().decode(file.read(SECTION.meta, 0))) as BlockMeta;
  } catch (error) {
    if (error instanceof CorruptBlockError) throw error;
    throw bad((error as Error).message);
  }
  if (typeof meta !== 'object' || meta === null) throw bad('is no object');
  if (meta.version !== FORMAT_VERSION) throw bad(`version ${meta.version}; this program reads ${FORMAT_VERSION}`);
  for (const key of NUMBERS) if (!Number.isFinite(meta[key])) throw bad(`${key} is ${meta[key]}`);
  if (typeof meta.tenant !== 'string' || !isValidTenant(meta.tenant))
    throw bad(`tenant is ${JSON.stringify(meta.tenant)}`);
  if (typeof meta.ulid !== 'string' || !Array.isArray(meta.sources)) throw bad('ulid or sources are missing');
  return meta;
}

const NUMBERS = [
  'minT',
  'maxT',
  'resolutionMs',
  'level',
  'createdAtMs',
  'arrivedMs',
  'series',
  'floatSamples',
  'histogramSamples',
  'chunks',
] as const;
