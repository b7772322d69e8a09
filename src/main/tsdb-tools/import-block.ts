/**
 * Importing one Prometheus block: straight into blocks of ours, one per shard and time window, without going through the
 * head: so it takes no log, no memory for samples, and leaves blocks that need no further merge.
 *
 * Ours are ordered by metric name and identity hash, theirs by labels. So the index is walked twice: once to collect name and hash of
 * every series (about 40 bytes each), which are sorted; then, window by window, series by series in that order, to decode
 * chunks and write. Names of the new blocks follow from the source's: a run after a crash replaces or skips what it wrote.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { newSampleBuffer, type SampleBuffer } from '../../contracts/sample-source.ts';
import type { BlockFolder } from '../../ingest/prometheus-tsdb/block-folder.ts';
import { CorruptPrometheusError } from '../../ingest/prometheus-tsdb/byte-reader.ts';
import { IndexSeries } from '../../ingest/prometheus-tsdb/index-file.ts';
import { histogramProblem } from '../../ingest/remote-write/histogram.ts';
import { HASH_WORDS, type IdentityHasher } from '../../lib/identity-hash.ts';
import type { FloatHistogram } from '../../model/histogram.ts';
import { HistogramWork } from '../../model/histogram-math.ts';
import {
  compareStrings,
  encodeLabels,
  getLabel,
  type Labels,
  labelsFromPairs,
  METRIC_NAME,
} from '../../model/labels.ts';
import { LABELS_MAX } from '../../storage/tsdb/block/layout.ts';
import { dropDeleted } from '../../storage/tsdb/block/tombstones.ts';
import { BlockWriter } from '../../storage/tsdb/block/writer.ts';
import { mergeRuns } from '../../storage/tsdb/merge.ts';
import { DOWNSAMPLE_WINDOW_MS, flushWindowMs, windowStart } from '../../storage/tsdb/plan.ts';
import { shardOf } from '../shard-exchange.ts';
import type { ImportReport } from './import-report.ts';

export interface BlockTarget {
  /** Folders of the shards. */
  shardDirs: readonly string[];
  tenant: string;
  /** Of the source, by its meta.json: its folder may be called anything. */
  sourceUlid: string;
  hasher: IdentityHasher;
  nowMs: number;
  /** Told every so often: which step, done, of how many. */
  progress(step: string, done: number, total: number): void;
}

const PROGRESS_EVERY = 250_000;
const SCHEMA_KEPT_MAX = 8;
/** Beyond every time. */
const FAR = Number.MAX_SAFE_INTEGER - 1;

/** Name and identity of every series of a block, as columns. */
class SeriesList {
  count = 0;
  offsets = new Float64Array(1024);
  hashes = new Uint32Array(1024 * HASH_WORDS);
  nameIds = new Uint32Array(1024);
  readonly names: string[] = [];
  private readonly idOf = new Map<string, number>();

  add(offset: number, name: string): number {
    const i = this.count++;
    if (i === this.offsets.length) {
      this.offsets = grown(this.offsets, i * 2);
      this.hashes = grown(this.hashes, i * 2 * HASH_WORDS);
      this.nameIds = grown(this.nameIds, i * 2);
    }
    let id = this.idOf.get(name);
    if (id === undefined) {
      id = this.names.length;
      this.names.push(name);
      this.idOf.set(name, id);
    }
    this.offsets[i] = offset;
    this.nameIds[i] = id;
    return i;
  }

  /** Indices in the order of our blocks. */
  sorted(): Uint32Array {
    const byName = this.names.map((_, id) => id);
    byName.sort((a, b) => compareStrings(this.names[a] as string, this.names[b] as string));
    const rank = new Uint32Array(byName.length);
    byName.forEach((id, r) => {
      rank[id] = r;
    });
    const { nameIds, hashes } = this;
    const order = new Uint32Array(this.count);
    for (let i = 0; i < order.length; i++) order[i] = i;
    return order.sort((a, b) => {
      const byRank = (rank[nameIds[a] as number] as number) - (rank[nameIds[b] as number] as number);
      if (byRank !== 0) return byRank;
      for (let w = 0; w < HASH_WORDS; w++) {
        const d = (hashes[a * HASH_WORDS + w] as number) - (hashes[b * HASH_WORDS + w] as number);
        if (d !== 0) return d;
      }
      return 0;
    });
  }
}

function grown<T extends Float64Array | Uint32Array>(array: T, size: number): T {
  const next = new (array.constructor as new (n: number) => T)(size);
  next.set(array);
  return next;
}

/** Reads all of the block. What is damaged is reported and left out. */
export async function importBlock(block: BlockFolder, target: BlockTarget, report: ImportReport): Promise<void> {
  await new BlockImport(block, target, report).run();
}

class BlockImport {
  private readonly block: BlockFolder;
  private readonly target: BlockTarget;
  private readonly report: ImportReport;
  private readonly list = new SeriesList();
  private readonly windows = new Map<number, number>();
  private readonly entry = new IndexSeries();
  private readonly runs: SampleBuffer[] = [];
  /** Chunks found broken: told once, although windows come back to them. */
  private readonly broken = new Set<number>();

  constructor(block: BlockFolder, target: BlockTarget, report: ImportReport) {
    this.block = block;
    this.target = target;
    this.report = report;
  }

  async run(): Promise<void> {
    this.collect();
    const order = this.list.sorted();
    const windows = [...this.windows].sort((a, b) => a[0] - b[0]);
    for (const [i, [start, end]] of windows.entries()) {
      await this.writeWindow(order, start, end, `window ${i + 1} of ${windows.length}`);
    }
    this.report.series += this.list.count;
  }

  private collect(): void {
    const { list, block, target, entry } = this;
    const seed = target.hasher.tenantSeed(target.tenant);
    for (const offset of block.index.seriesOffsets(error => this.report.damage(error.message))) {
      try {
        block.index.series(offset, entry);
      } catch (error) {
        if (!(error instanceof CorruptPrometheusError)) throw error;
        this.report.damage(error.message);
        continue;
      }
      const labels = canonical(entry.labels);
      if (labels.length > 2 * LABELS_MAX || labels.length === 0) {
        this.report.damage(`${block.index.path}: the series at byte ${offset} has ${labels.length / 2} labels`);
        continue;
      }
      const i = list.add(offset, getLabel(labels, METRIC_NAME));
      const bytes = encodeLabels(labels);
      target.hasher.hash(seed, bytes, 0, bytes.length, list.hashes, i * HASH_WORDS);
      for (let c = 0; c < entry.chunkCount; c++) {
        this.noteWindows(entry.minT[c] as number, entry.maxT[c] as number);
      }
      if (list.count % PROGRESS_EVERY === 0) target.progress('series read', list.count, 0);
    }
  }

  private noteWindows(minT: number, maxT: number): void {
    // A chunk of hours touches few windows; the bound is for broken ones.
    let t = Math.max(0, minT);
    for (let n = 0; t <= maxT && n < 10_000; n++) {
      // By the end of the largest window, so that windows of two sizes never overlap.
      const largest = windowStart(t, DOWNSAMPLE_WINDOW_MS) + DOWNSAMPLE_WINDOW_MS;
      const size = flushWindowMs(largest, this.target.nowMs);
      const start = windowStart(t, size);
      this.windows.set(start, start + size - 1);
      t = start + size;
    }
  }

  private async writeWindow(order: Uint32Array, start: number, end: number, step: string): Promise<void> {
    const { list, target, report } = this;
    const writers: (BlockWriter | null)[] = target.shardDirs.map(() => null);
    const skipped = target.shardDirs.map(dir => existsSync(this.pathIn(dir, start)));
    const buffer = newSampleBuffer();
    const hash = new Uint32Array(HASH_WORDS);
    const before = new Uint32Array(HASH_WORDS);
    try {
      for (let k = 0; k < order.length; k++) {
        const i = order[k] as number;
        const shard = shardOf(list.hashes, i, target.shardDirs.length);
        for (let w = 0; w < HASH_WORDS; w++) hash[w] = list.hashes[i * HASH_WORDS + w] as number;
        if (k > 0 && hash.every((word, w) => word === before[w])) {
          report.damage(`${this.block.index.path}: the series at byte ${list.offsets[i]} is there twice`);
          continue;
        }
        before.set(hash);
        if (k % PROGRESS_EVERY === PROGRESS_EVERY - 1) target.progress(step, k + 1, order.length);
        if (skipped[shard]) continue;
        this.readSeries(list.offsets[i] as number, start, end, buffer);
        if (buffer.length === 0 && buffer.histogramLength === 0) continue;
        writers[shard] ??= this.openWriter(shard, start);
        (writers[shard] as BlockWriter).addSeries(hash, canonical(this.entry.labels), buffer);
        report.samples += buffer.length;
        report.histograms += buffer.histogramLength;
      }
      for (const writer of writers) await writer?.finish();
    } catch (error) {
      for (const writer of writers) writer?.abort();
      throw error;
    }
  }

  private openWriter(shard: number, start: number): BlockWriter {
    const { shardDirs, tenant, nowMs } = this.target;
    const dir = join(shardDirs[shard] as string, 'blocks', tenant);
    mkdirSync(dir, { recursive: true });
    return new BlockWriter(dir, { ulid: this.ulid(start), tenant, createdAtMs: nowMs, arrivedMs: nowMs });
  }

  private pathIn(shardDir: string, start: number): string {
    return join(shardDir, 'blocks', this.target.tenant, `${this.ulid(start)}.block`);
  }

  /** The same for the same source, tenant and window. */
  private ulid(start: number): string {
    const { sourceUlid, tenant } = this.target;
    const digest = createHash('sha256').update(`${sourceUlid}\n${tenant}\n${start}`).digest();
    let random = '';
    for (let i = 0; i < 16; i++) random += '0123456789ABCDEFGHJKMNPQRSTVWXYZ'[(digest[i] as number) & 31];
    return sourceUlid.slice(0, 10) + random;
  }

  /** Replaces the buffer with the live samples of a series in [start, end]. */
  private readSeries(offset: number, start: number, end: number, into: SampleBuffer): void {
    const { entry, block } = this;
    block.index.series(offset, entry);
    clear(into);
    let ordered = true;
    for (let c = 0; c < entry.chunkCount; c++) {
      if ((entry.minT[c] as number) > end || (entry.maxT[c] as number) < start) continue;
      const floats = into.length;
      const histograms = into.histogramLength;
      this.readChunk(entry.refs[c] as number, into);
      ordered &&= continues(into, floats, histograms);
    }
    if (!ordered) this.readMerged(start, end, into);
    const stones = block.tombstones.get(block.index.seriesId(offset));
    if (stones !== undefined) dropDeleted(into, 0, 0, stones);
    if (start === 0) this.report.before1970 += countBefore1970(into);
    dropDeleted(into, 0, 0, [-FAR, start - 1, end + 1, FAR]);
    this.keepSound(into);
  }

  private readChunk(ref: number, into: SampleBuffer): void {
    try {
      this.block.chunks.read(ref, into);
    } catch (error) {
      if (!(error instanceof CorruptPrometheusError)) throw error;
      if (!this.broken.has(ref)) this.report.damage(error.message);
      this.broken.add(ref);
    }
  }

  /** Overlapping chunks: each on its own, then merged. */
  private readMerged(start: number, end: number, into: SampleBuffer): void {
    const { entry } = this;
    let used = 0;
    for (let c = 0; c < entry.chunkCount; c++) {
      if ((entry.minT[c] as number) > end || (entry.maxT[c] as number) < start) continue;
      this.runs[used] ??= newSampleBuffer();
      const run = this.runs[used++] as SampleBuffer;
      clear(run);
      this.readChunk(entry.refs[c] as number, run);
    }
    clear(into);
    mergeRuns(this.runs.slice(0, used), into);
  }

  /** Brings histograms to what is kept here; leaves out those that make no sense. */
  private keepSound(buffer: SampleBuffer): void {
    let kept = 0;
    for (let i = 0; i < buffer.histogramLength; i++) {
      const h = buffer.histograms[i] as FloatHistogram;
      const problem = histogramProblem(h);
      if (problem !== '') {
        this.report.damage(
          `${this.block.dir}: a histogram at ${buffer.histogramTimestamps[i]} of the block: ${problem}`,
        );
        continue;
      }
      buffer.histograms[kept] = keptHistogram(h);
      buffer.histogramTimestamps[kept++] = buffer.histogramTimestamps[i] as number;
    }
    buffer.histogramLength = kept;
  }
}

/** At the finest schema that is kept. */
export function keptHistogram(h: FloatHistogram): FloatHistogram {
  if (h.schema <= SCHEMA_KEPT_MAX) return h;
  const work = new HistogramWork(h);
  // In steps: bucket indices are shifted as 32-bit numbers.
  while (work.schema > SCHEMA_KEPT_MAX) work.reduceTo(Math.max(SCHEMA_KEPT_MAX, work.schema - 16));
  return { ...work.finish(), integer: h.integer };
}

/** Sorted, without duplicates and empty values; as they stand where they are that already. */
export function canonical(flat: readonly string[]): Labels {
  for (let i = 0; i < flat.length; i += 2) {
    if (flat[i + 1] === '' || (i > 0 && compareStrings(flat[i - 2] as string, flat[i] as string) >= 0)) {
      const pairs: [string, string][] = [];
      for (let k = 0; k < flat.length; k += 2) pairs.push([flat[k] as string, flat[k + 1] as string]);
      return labelsFromPairs(pairs);
    }
  }
  return flat.slice();
}

function clear(buffer: SampleBuffer): void {
  buffer.length = 0;
  buffer.histogramLength = 0;
  buffer.startTimestamps = null;
  buffer.histogramStartTimestamps = null;
}

/** Whether the rows after (floats, histograms) are later than those before. */
function continues(buffer: SampleBuffer, floats: number, histograms: number): boolean {
  let before = Number.NEGATIVE_INFINITY;
  if (floats > 0) before = buffer.timestamps[floats - 1] as number;
  if (histograms > 0) before = Math.max(before, buffer.histogramTimestamps[histograms - 1] as number);
  if (buffer.length > floats && (buffer.timestamps[floats] as number) <= before) return false;
  return buffer.histogramLength === histograms || (buffer.histogramTimestamps[histograms] as number) > before;
}

function countBefore1970(buffer: SampleBuffer): number {
  let n = 0;
  while (n < buffer.length && (buffer.timestamps[n] as number) < 0) n++;
  let h = 0;
  while (h < buffer.histogramLength && (buffer.histogramTimestamps[h] as number) < 0) h++;
  return n + h;
}
