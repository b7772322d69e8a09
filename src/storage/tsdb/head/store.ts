/**
 * HeadStore: the samples of a head in memory and their way into chunk pages. What appends, replay, readers, flushes and the
 * collector share; it knows nothing of the WAL but segment numbers.
 *
 * In-order samples of a series stand in its raw tail (floats: slot-major columns of the series page; histograms: encoded, in
 * a side table). At most one of the two tails is open, so the chain of sealed chunks and then the tail are in order of time.
 * A full tail is sealed when the next sample comes: so the newest sample is always at hand to settle duplicates.
 */
import { newSampleBuffer, type SampleBuffer } from '../../../contracts/sample-source.ts';
import { decodeFloatChunk, encodeFloatChunk, maxFloatChunkSize } from '../chunk/float-chunk.ts';
import type { HistogramRow } from '../wal/records.ts';
import { ChunkPages, type ChunkPagesOptions } from './chunk-pages.ts';
import { KIND_FLOAT, KIND_HISTOGRAM } from './chunk-record.ts';
import { HistogramTails } from './histogram-tails.ts';
import { LabelIndex, type Tenant } from './label-index.ts';
import { OooLog } from './ooo-log.ts';
import {
  HAS_HISTOGRAM_TAIL,
  HAS_OOO,
  HAS_TOMBSTONE,
  NO_PAGE,
  PAGE_MASK,
  PAGE_REFS,
  PAGE_SHIFT,
  type SeriesPage,
  SeriesTable,
  TAIL_SAMPLES,
} from './series-table.ts';
import { Tombstones } from './tombstones.ts';

/** Base unit of block windows; the head knows in which of them a tenant has samples. */
export const WINDOW_MS = 7_200_000;
/** Histogram tails looked at in one step of forgetting. */
const TAILS_PER_STEP = 500;
/** Longest span of a tail, ms. */
export const DELTA_MAX = 0xffffffff;

export class HeadStore {
  readonly table = new SeriesTable();
  readonly index = new LabelIndex();
  readonly chunks: ChunkPages;
  readonly ooo = new OooLog();
  readonly tombstones = new Tombstones();
  readonly histogramTails = new HistogramTails();
  /** In-order samples below this are in blocks (or nowhere) and no longer count. */
  floorT = 0;
  /** In-order samples below this have been let go of: no open selection may still want them. <= floorT */
  droppedT = 0;
  /** Out-of-order rows below this are in blocks. */
  oooFloor = 0;
  /** Samples below this are not taken in order: a flush is reading what lies before. >= floorT */
  inOrderMinT = 0;
  /** Bounds of in-order samples seen; lowT > highT where there are none. */
  lowT = Infinity;
  highT = -1;
  /** Bounds of out-of-order rows since the last drop. */
  oooLowT = Infinity;
  oooHighT = -1;
  /** WAL segment that the rows being applied belong to. */
  segment = 0;
  /** Windows (t / WINDOW_MS) in which a tenant has sealed samples, by tenant index. */
  readonly windows: Set<number>[] = [];

  private readonly sealTimes = new Float64Array(TAIL_SAMPLES);
  private readonly sealValues = new Float64Array(TAIL_SAMPLES);
  private readonly sealStarts = new Float64Array(TAIL_SAMPLES);
  private sealBytes = new Uint8Array(maxFloatChunkSize(TAIL_SAMPLES));
  private readonly pair = new Float64Array(2);
  private readonly pairWords = new Uint32Array(this.pair.buffer);
  private readonly lastChunk = newSampleBuffer(TAIL_SAMPLES);

  constructor(chunkDir: string, options: ChunkPagesOptions) {
    this.chunks = new ChunkPages(chunkDir, options);
  }

  addTenant(id: string): Tenant {
    const tenant = this.index.addTenant(id);
    this.windows[tenant.index] = new Set();
    return tenant;
  }

  page(ref: number): SeriesPage {
    return this.table.pages[ref >>> PAGE_SHIFT] as SeriesPage;
  }

  // --- in order ---

  /** Adds an in-order float: t > lastT and t >= inOrderMinT have been checked. */
  appendFloat(ref: number, page: SeriesPage, t: number, values: Float64Array, i: number, start: number): void {
    const slot = ref & PAGE_MASK;
    let count = page.count[slot] as number;
    let delta = 0;
    if (count > 0) {
      delta = t - (page.base[slot] as number);
      if (count === TAIL_SAMPLES || delta > DELTA_MAX) {
        this.sealFloats(ref);
        count = 0;
      }
    }
    if (count === 0) {
      if (((page.flags[slot] as number) & HAS_HISTOGRAM_TAIL) !== 0) this.sealHistograms(ref);
      page.base[slot] = t;
      page.firstSegment[slot] = this.segment;
      delta = 0;
    }
    const at = count * PAGE_REFS + slot;
    page.deltas[at] = delta;
    page.values[at] = values[i] as number;
    page.count[slot] = count + 1;
    page.lastT[slot] = t;
    if (start !== 0) page.starts ??= new Float64Array(PAGE_REFS * TAIL_SAMPLES);
    if (page.starts !== null) page.starts[at] = start;
    if (t > this.highT) this.highT = t;
    if (t < this.lowT) this.lowT = t;
  }

  /** Adds an in-order histogram: t > lastT and t >= inOrderMinT have been checked. */
  appendHistogram(row: HistogramRow): void {
    const page = this.page(row.ref);
    const slot = row.ref & PAGE_MASK;
    if ((page.count[slot] as number) > 0) this.sealFloats(row.ref);
    if (this.histogramTails.isFull(row)) this.sealHistograms(row.ref);
    this.histogramTails.add(row, this.segment);
    page.flags[slot] = (page.flags[slot] as number) | HAS_HISTOGRAM_TAIL;
    page.lastT[slot] = row.timestampMs;
    if (row.timestampMs > this.highT) this.highT = row.timestampMs;
    if (row.timestampMs < this.lowT) this.lowT = row.timestampMs;
  }

  /** Moves the float tail, if there is one, into a chunk page. */
  sealFloats(ref: number): void {
    const page = this.page(ref);
    const slot = ref & PAGE_MASK;
    const n = page.count[slot] as number;
    if (n === 0) return;
    const base = page.base[slot] as number;
    const { deltas, values, starts } = page;
    const { sealTimes, sealValues, sealStarts } = this;
    for (let k = 0, at = slot; k < n; k++, at += PAGE_REFS) {
      sealTimes[k] = base + (deltas[at] as number);
      sealValues[k] = values[at] as number;
    }
    let hasStarts = false;
    if (starts !== null) {
      for (let k = 0, at = slot; k < n; k++, at += PAGE_REFS) {
        sealStarts[k] = starts[at] as number;
        if (sealStarts[k] !== 0) hasStarts = true;
      }
    }
    const length = encodeFloatChunk(
      this.sealTimes,
      this.sealValues,
      0,
      n,
      hasStarts ? this.sealStarts : null,
      this.sealBytes,
      0,
    );
    const segment = page.firstSegment[slot] as number;
    const maxT = this.sealTimes[n - 1] as number;
    page.chain[slot] = this.chunks.append(
      ref,
      page.chain[slot] as number,
      KIND_FLOAT,
      base,
      maxT,
      segment,
      this.sealBytes,
      length,
    );
    page.count[slot] = 0;
    this.noteWindows(page.tenant[slot] as number, base, maxT);
  }

  /** Moves the histogram tail, if there is one, into a chunk page. */
  sealHistograms(ref: number): void {
    const sealed = this.histogramTails.seal(ref);
    if (sealed === null) return;
    const page = this.page(ref);
    const slot = ref & PAGE_MASK;
    page.flags[slot] = (page.flags[slot] as number) & ~HAS_HISTOGRAM_TAIL;
    page.chain[slot] = this.chunks.append(
      ref,
      page.chain[slot] as number,
      KIND_HISTOGRAM,
      sealed.minT,
      sealed.maxT,
      sealed.segment,
      sealed.bytes,
      sealed.bytes.length,
    );
    this.noteWindows(page.tenant[slot] as number, sealed.minT, sealed.maxT);
  }

  seal(ref: number): void {
    this.sealFloats(ref);
    this.sealHistograms(ref);
  }

  noteWindows(tenant: number, minT: number, maxT: number): void {
    const windows = this.windows[tenant] as Set<number>;
    const first = Math.floor(minT / WINDOW_MS);
    const last = Math.floor(maxT / WINDOW_MS);
    // At most 597: a tail spans less than 2^32 ms.
    for (let w = first; w <= last; w++) windows.add(w);
  }

  // --- out of order ---

  appendOooFloat(ref: number, t: number, values: Float64Array, i: number, start: number): void {
    this.ooo.appendFloat(ref, t, values, i, start, this.segment);
    this.markOoo(ref, t);
  }

  appendOooHistogram(row: HistogramRow): void {
    this.ooo.appendHistogram(row, this.segment);
    this.markOoo(row.ref, row.timestampMs);
  }

  private markOoo(ref: number, t: number): void {
    const page = this.page(ref);
    page.flags[ref & PAGE_MASK] = (page.flags[ref & PAGE_MASK] as number) | HAS_OOO;
    if (t < this.oooLowT) this.oooLowT = t;
    if (t > this.oooHighT) this.oooHighT = t;
  }

  /** Whether the sample (lastT of the series, values[i], start) says nothing that the series' newest one, visible, does not. */
  isNewest(ref: number, values: Float64Array, i: number, start: number): boolean {
    const page = this.page(ref);
    const slot = ref & PAGE_MASK;
    // After a delete the same sample must be stored anew.
    if (((page.flags[slot] as number) & HAS_TOMBSTONE) !== 0) return false;
    const count = page.count[slot] as number;
    this.pair[0] = values[i] as number;
    let known = 0;
    if (count > 0) {
      known = page.starts === null ? 0 : (page.starts[(count - 1) * PAGE_REFS + slot] as number);
      this.pair[1] = page.values[(count - 1) * PAGE_REFS + slot] as number;
    } else {
      if (((page.flags[slot] as number) & HAS_HISTOGRAM_TAIL) !== 0) return false;
      if ((page.chain[slot] as number) === 0 || !this.chunks.open(page.chain[slot] as number)) return false;
      const record = this.chunks.record;
      if (record.kind !== KIND_FLOAT || record.maxT !== page.lastT[slot]) return false;
      this.lastChunk.length = 0;
      this.lastChunk.startTimestamps = null;
      decodeFloatChunk(record.bytes, record.start, this.lastChunk);
      known = this.lastChunk.startTimestamps?.[this.lastChunk.length - 1] ?? 0;
      this.pair[1] = this.lastChunk.values[this.lastChunk.length - 1] as number;
    }
    // Of equal samples the larger start counts.
    if (start > known) return false;
    return this.pairWords[0] === this.pairWords[2] && this.pairWords[1] === this.pairWords[3];
  }

  /** As `isNewest` for a histogram, for series with an open histogram tail. */
  isNewestHistogram(ref: number, bytes: Uint8Array): boolean {
    if (((this.page(ref).flags[ref & PAGE_MASK] as number) & HAS_TOMBSTONE) !== 0) return false;
    return this.histogramTails.endsWith(ref, bytes);
  }

  // --- what the WAL must keep ---

  /** WAL segment of the oldest sample that is in no written page; `current` where there is none. */
  firstSegment(current: number): number {
    let first = Math.min(current, this.chunks.firstSegment, this.ooo.firstSegment, this.histogramTails.firstSegment);
    const { pages, end } = this.table;
    for (let p = 0; p < pages.length; p++) {
      const { count, firstSegment } = pages[p] as SeriesPage;
      const n = Math.min(PAGE_REFS, end - p * PAGE_REFS);
      for (let slot = 0; slot < n; slot++) {
        if ((count[slot] as number) > 0 && (firstSegment[slot] as number) < first) first = firstSegment[slot] as number;
      }
    }
    return first;
  }

  /** Seals up to `max` tails whose oldest sample is in a segment below `before`; returns how many. */
  sealLaggards(before: number, max: number): number {
    let sealed = 0;
    const { pages, end } = this.table;
    for (let p = 0; p < pages.length; p++) {
      const { count, firstSegment } = pages[p] as SeriesPage;
      const n = Math.min(PAGE_REFS, end - p * PAGE_REFS);
      for (let slot = 0; slot < n; slot++) {
        if ((count[slot] as number) === 0 || (firstSegment[slot] as number) >= before) continue;
        this.sealFloats(p * PAGE_REFS + slot);
        if (++sealed >= max) return sealed;
      }
    }
    for (const ref of this.histogramTails.before(before)) {
      this.sealHistograms(ref);
      if (++sealed >= max) return sealed;
    }
    return sealed;
  }

  /** Empties the tails that lie below minT as a whole, step by step: they are in blocks, and would hold back WAL segments. */
  *dropTails(minT: number): Generator<void, void, void> {
    const { pages, end } = this.table;
    for (let p = 0; p < pages.length; p++) {
      const page = pages[p] as SeriesPage;
      if (page === NO_PAGE) continue;
      const { count, lastT } = page;
      const n = Math.min(PAGE_REFS, end - p * PAGE_REFS);
      for (let slot = 0; slot < n; slot++) {
        if ((count[slot] as number) > 0 && (lastT[slot] as number) < minT) count[slot] = 0;
      }
      yield;
    }
    let seen = 0;
    for (const [ref, tail] of this.histogramTails.entries()) {
      if (++seen % TAILS_PER_STEP === 0) yield;
      if (tail.maxT >= minT) continue;
      this.histogramTails.remove(ref);
      const page = this.page(ref);
      page.flags[ref & PAGE_MASK] = (page.flags[ref & PAGE_MASK] as number) & ~HAS_HISTOGRAM_TAIL;
    }
  }

  /** Bounds of all samples, inclusive; minT > maxT when there are none. */
  bounds(): { minT: number; maxT: number } {
    let minT = Infinity;
    let maxT = -1;
    if (this.highT >= this.floorT) {
      minT = Math.max(this.lowT, this.floorT);
      maxT = this.highT;
    }
    if (this.ooo.end > this.oooFloor) {
      minT = Math.min(minT, this.oooLowT);
      maxT = Math.max(maxT, this.oooHighT);
    }
    return { minT, maxT };
  }
}

/** Appends the float tail's samples in [minT, maxT]. */
export function readFloatTail(page: SeriesPage, slot: number, minT: number, maxT: number, into: SampleBuffer): void {
  const n = page.count[slot] as number;
  const base = page.base[slot] as number;
  let row = into.length;
  for (let k = 0, at = slot; k < n; k++, at += PAGE_REFS) {
    const t = base + (page.deltas[at] as number);
    if (t < minT || t > maxT) continue;
    into.timestamps[row] = t;
    into.values[row] = page.values[at] as number;
    const start = page.starts === null ? 0 : (page.starts[at] as number);
    if (start !== 0) into.startTimestamps ??= new Float64Array(into.timestamps.length);
    if (into.startTimestamps !== null) into.startTimestamps[row] = start;
    row++;
  }
  into.length = row;
}
