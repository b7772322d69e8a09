/**
 * HeadSet: the series that a selection found in the head, and their samples.
 *
 * A series is read oldest first: its chain of sealed chunks (walked from the newest, so their places are collected first), its
 * tail, then out-of-order rows are merged in by the global duplicate rule. What a tombstone hides is left out. The set
 * pins the head's floors as they were: a flush that commits meanwhile must not make samples vanish from both sides.
 */
import { growSampleBuffer, newSampleBuffer, type SampleBuffer } from '../../../contracts/sample-source.ts';
import type { Labels } from '../../../model/labels.ts';
import { CorruptChunkError } from '../chunk/corrupt.ts';
import { decodeFloatChunk } from '../chunk/float-chunk.ts';
import { mergeRuns } from '../merge.ts';
import type { PartSet } from '../part.ts';
import { KIND_FLOAT } from './chunk-record.ts';
import { decodeHistograms } from './histogram-codec.ts';
import { OooRows } from './ooo-log.ts';
import {
  ALIVE,
  HAS_HISTOGRAM_TAIL,
  HAS_OOO,
  HAS_TOMBSTONE,
  PAGE_MASK,
  PAGE_SHIFT,
  type SeriesPage,
  TAIL_SAMPLES,
} from './series-table.ts';
import { type HeadStore, readFloatTail } from './store.ts';
import { hidesInOrder, hidesRow, type Tombstone } from './tombstones.ts';

/** Which of the head's samples count. */
export interface ReadBounds {
  /** In-order samples from here on. */
  floorT: number;
  /** ... and up to here. */
  ceilingT: number;
  /** Out-of-order rows in [oooFirst, oooEnd). */
  oooFirst: number;
  oooEnd: number;
}

/** Sealed chunks that do not come from their series' chain. */
export interface SealedChunks {
  /** Appends at least those samples of the series' chunks that are in its time, ascending. */
  read(reader: HeadReader, ref: number, page: SeriesPage, slot: number, minT: number, into: SampleBuffer): void;
}

const NO_BYTES = new Uint8Array(0);

/** Reads series of one store. Holds scratch space, so one per head, not one per query. */
export class HeadReader {
  private readonly store: HeadStore;
  private readonly log: (message: string) => void;
  /** Chunks found on the way back through a chain: address, kind, page and offset there. Pages are let go of after each series. */
  private addresses = new Float64Array(256);
  private kinds = new Uint8Array(256);
  private readonly pages: Uint8Array[] = [];
  private places = new Float64Array(256);
  private readonly rows = new OooRows();
  private readonly inOrder = newSampleBuffer(64);
  private readonly runs: SampleBuffer[] = [];

  constructor(store: HeadStore, log: (message: string) => void) {
    this.store = store;
    this.log = log;
  }

  /**
   * Appends the samples of a live series with minT <= t <= maxT, ascending, one per timestamp.
   * @param sealed where its sealed chunks are taken from, if not from its chain
   */
  read(
    ref: number,
    minT: number,
    maxT: number,
    bounds: ReadBounds,
    into: SampleBuffer,
    sealed: SealedChunks | null = null,
  ): void {
    const page = this.store.table.pages[ref >>> PAGE_SHIFT] as SeriesPage;
    const slot = ref & PAGE_MASK;
    const flags = page.flags[slot] as number;
    if ((flags & ALIVE) === 0) return;
    const late = (flags & HAS_OOO) !== 0;
    // Fast path: nothing to merge.
    const target = late ? this.inOrder : into;
    if (late) clearBuffer(target);
    const floats = target.length;
    const histograms = target.histogramLength;
    const from = Math.max(minT, bounds.floorT);
    const to = Math.min(maxT, bounds.ceilingT);
    if (from <= to && (page.lastT[slot] as number) >= from) {
      if (sealed === null) this.readChain(ref, page, slot, from, to, target);
      else sealed.read(this, ref, page, slot, from, target);
      this.readTails(ref, page, slot, from, to, target);
      trim(target, floats, histograms, from, to);
    }
    const hidden = (flags & HAS_TOMBSTONE) === 0 ? null : this.store.tombstones.of(ref);
    if (hidden !== null) hideInOrder(target, floats, histograms, hidden);
    if (!late) return;
    const runs = this.readOutOfOrder(ref, minT, maxT, bounds, hidden);
    runs.push(target);
    mergeRuns(runs, into);
  }

  private readChain(ref: number, page: SeriesPage, slot: number, minT: number, maxT: number, into: SampleBuffer): void {
    const { chunks } = this.store;
    const { letGo } = chunks;
    let n = 0;
    for (let address = page.chain[slot] as number; address !== 0; ) {
      if (!chunks.open(address)) {
        address = chunks.damage.detour(address, ref);
        continue;
      }
      const { minT: first, maxT: last, previous } = chunks.record;
      if (last < minT) break;
      if (first <= maxT) {
        if (n === this.places.length) this.growPlaces();
        this.addresses[n] = address;
        this.kinds[n] = chunks.record.kind;
        this.places[n] = chunks.record.start;
        this.pages[n++] = chunks.record.bytes;
      }
      if (first <= minT) break;
      address = previous;
    }
    const used = n;
    growSampleBuffer(into, into.length + (n + 1) * TAIL_SAMPLES);
    while (n > 0) {
      n--;
      // A long chain over a small page cache: a page at the start of the walk may have made room for a later one.
      if (chunks.letGo !== letGo) {
        if (!chunks.open(this.addresses[n] as number)) continue;
        const { kind, bytes, start } = chunks.record;
        this.decode(ref, kind, bytes, start, into);
        continue;
      }
      this.decode(ref, this.kinds[n] as number, this.pages[n] as Uint8Array, this.places[n] as number, into);
    }
    this.pages.fill(NO_BYTES, 0, used);
  }

  private readTails(ref: number, page: SeriesPage, slot: number, minT: number, maxT: number, into: SampleBuffer): void {
    growSampleBuffer(into, into.length + TAIL_SAMPLES);
    readFloatTail(page, slot, minT, maxT, into);
    if (((page.flags[slot] as number) & HAS_HISTOGRAM_TAIL) !== 0) this.store.histogramTails.read(ref, into);
  }

  /** Appends a chunk; one that is damaged is told and left out. */
  decode(ref: number, kind: number, bytes: Uint8Array, start: number, into: SampleBuffer): void {
    try {
      if (kind === KIND_FLOAT) decodeFloatChunk(bytes, start, into);
      else decodeHistograms(bytes, start, into);
    } catch (error) {
      if (!(error instanceof CorruptChunkError)) throw error;
      this.log(`a chunk of series ${ref} is left out of answers: ${error.message}`);
    }
  }

  private growPlaces(): void {
    const size = this.places.length * 2;
    const addresses = new Float64Array(size);
    addresses.set(this.addresses);
    this.addresses = addresses;
    const places = new Float64Array(size);
    places.set(this.places);
    this.places = places;
    const kinds = new Uint8Array(size);
    kinds.set(this.kinds);
    this.kinds = kinds;
  }

  /**
   * Late rows as runs to be merged. Rows with one timestamp cannot be in one run: they are dealt out to as many runs as
   * the most frequent timestamp has rows (nearly always one).
   */
  private readOutOfOrder(
    ref: number,
    minT: number,
    maxT: number,
    bounds: ReadBounds,
    hidden: readonly Tombstone[] | null,
  ): SampleBuffer[] {
    const { rows } = this;
    this.store.ooo.collect(ref, minT, maxT, bounds.oooFirst, bounds.oooEnd, rows);
    let order = sortedRows(rows);
    if (hidden !== null) {
      order = order.filter(i => !hidesRow(hidden, rows.rows[i] as number, rows.timestamps[i] as number));
    }
    const runs: SampleBuffer[] = [];
    while (order.length > 0) {
      const later: number[] = [];
      const run = this.runs[runs.length] ?? newSampleBuffer(order.length);
      this.runs[runs.length] = run;
      clearBuffer(run);
      growSampleBuffer(run, order.length);
      let previous = -1;
      for (const i of order) {
        const t = rows.timestamps[i] as number;
        if (t === previous) later.push(i);
        else this.addRow(rows.rows[i] as number, t, run);
        previous = t;
      }
      runs.push(run);
      order = later;
    }
    // Scratch for a strange case is not kept.
    this.runs.length = Math.min(this.runs.length, 4);
    return runs;
  }

  private addRow(row: number, t: number, run: SampleBuffer): void {
    const { ooo } = this.store;
    const histogram = ooo.histogramAt(row);
    if (histogram !== undefined) {
      decodeHistograms(histogram, 0, run);
      return;
    }
    run.timestamps[run.length] = t;
    ooo.copyValue(row, run.values, run.length);
    const start = ooo.startAtRow(row);
    if (start !== 0) run.startTimestamps ??= new Float64Array(run.timestamps.length);
    if (run.startTimestamps !== null) run.startTimestamps[run.length] = start;
    run.length++;
  }
}

function clearBuffer(buffer: SampleBuffer): void {
  buffer.length = 0;
  buffer.startTimestamps = null;
  buffer.histogramLength = 0;
  buffer.histogramTimestamps.length = 0;
  buffer.histograms.length = 0;
  buffer.histogramStartTimestamps = null;
}

/** Indices of the gathered rows by time, then row number. */
function sortedRows(rows: OooRows): number[] {
  const order: number[] = [];
  for (let i = 0; i < rows.n; i++) order.push(i);
  return order.sort(
    (a, b) =>
      (rows.timestamps[a] as number) - (rows.timestamps[b] as number) ||
      (rows.rows[a] as number) - (rows.rows[b] as number),
  );
}

/** Cuts the rows added since (floats, histograms) down to [minT, maxT]. They ascend. */
function trim(into: SampleBuffer, floats: number, histograms: number, minT: number, maxT: number): void {
  let end = into.length;
  while (end > floats && (into.timestamps[end - 1] as number) > maxT) end--;
  let first = floats;
  while (first < end && (into.timestamps[first] as number) < minT) first++;
  if (first > floats) {
    into.timestamps.copyWithin(floats, first, end);
    into.values.copyWithin(floats, first, end);
    into.startTimestamps?.copyWithin(floats, first, end);
  }
  into.length = floats + end - first;
  let kept = histograms;
  for (let i = histograms; i < into.histogramLength; i++) {
    const t = into.histogramTimestamps[i] as number;
    if (t >= minT && t <= maxT) moveHistogram(into, i, kept++);
  }
  into.histogramLength = kept;
}

function hideInOrder(into: SampleBuffer, floats: number, histograms: number, hidden: readonly Tombstone[]): void {
  let kept = floats;
  for (let i = floats; i < into.length; i++) {
    const t = into.timestamps[i] as number;
    if (hidesInOrder(hidden, t)) continue;
    into.timestamps[kept] = t;
    into.values[kept] = into.values[i] as number;
    if (into.startTimestamps !== null) into.startTimestamps[kept] = into.startTimestamps[i] as number;
    kept++;
  }
  into.length = kept;
  kept = histograms;
  for (let i = histograms; i < into.histogramLength; i++) {
    if (!hidesInOrder(hidden, into.histogramTimestamps[i] as number)) moveHistogram(into, i, kept++);
  }
  into.histogramLength = kept;
}

function moveHistogram(into: SampleBuffer, from: number, to: number): void {
  if (from === to) return;
  into.histogramTimestamps[to] = into.histogramTimestamps[from] as number;
  into.histograms[to] = into.histograms[from] as (typeof into.histograms)[number];
  if (into.histogramStartTimestamps !== null) {
    into.histogramStartTimestamps[to] = into.histogramStartTimestamps[from] as number;
  }
}

export class HeadSet implements PartSet {
  readonly count: number;
  readonly hashes: Uint32Array;
  private readonly store: HeadStore;
  private readonly reader: HeadReader;
  private readonly refs: Uint32Array;
  private readonly bounds: ReadBounds;
  private onClose: (() => void) | null;

  constructor(store: HeadStore, reader: HeadReader, refs: Uint32Array, onClose: () => void) {
    this.store = store;
    this.reader = reader;
    this.refs = refs;
    this.count = refs.length;
    this.onClose = onClose;
    this.bounds = { floorT: store.floorT, ceilingT: Infinity, oooFirst: store.oooFloor, oooEnd: Infinity };
    this.hashes = new Uint32Array(refs.length * 4);
    for (let i = 0; i < refs.length; i++) {
      const ref = refs[i] as number;
      const { hash } = store.table.pages[ref >>> PAGE_SHIFT] as SeriesPage;
      const from = (ref & PAGE_MASK) << 2;
      for (let k = 0; k < 4; k++) this.hashes[i * 4 + k] = hash[from + k] as number;
    }
  }

  labels(i: number): Labels {
    const ref = this.refs[i] as number;
    return this.store.index.labels(this.store.page(ref).labels[ref & PAGE_MASK] as number);
  }

  read(i: number, minT: number, maxT: number, into: SampleBuffer): void {
    this.reader.read(this.refs[i] as number, minT, maxT, this.bounds, into);
  }

  close(): void {
    this.onClose?.();
    this.onClose = null;
  }
}
