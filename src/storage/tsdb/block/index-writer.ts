/**
 * IndexWriter: gathers series while a block is written, and writes the index sections at the end.
 *
 * Label pairs get numbers as they come; at the end they are sorted by (name, value) and renumbered, so that the pairs of
 * a name are one range, values are found by binary search, and a prefix is a range too. Kept in memory meanwhile: the distinct
 * strings, four bytes per label of a series and 16 bytes of hash; the places of the chunks go to disk page by page.
 */

import { TimeSlice } from '../../../lib/yield.ts';
import { compareStrings, type Labels } from '../../../model/labels.ts';
import { putSigned, putVarint } from '../chunk/bytes.ts';
import { type FrameWriter, INDEX } from './frames.ts';
import {
  type ChunkKind,
  HASHES_PER_PAGE,
  PAIRS_PER_PAGE,
  POSTINGS_FRAME_BYTES,
  SECTION,
  SERIES_PER_PAGE,
} from './layout.ts';

const encoder = new TextEncoder();
/** Values sorted in one go without a turn of the event loop between. */
const SORT_SLICE = 4096;
/** Series or pairs between two looks at the clock. */
const STEPS_PER_LOOK = 4096;

/** A byte array that grows. */
export class ByteSink {
  bytes = new Uint8Array(64 * 1024);
  length = 0;

  /** Makes room for `size` more bytes. */
  room(size: number): void {
    if (this.length + size <= this.bytes.length) return;
    const bytes = new Uint8Array(Math.max(this.bytes.length * 2, this.length + size));
    bytes.set(this.bytes.subarray(0, this.length));
    this.bytes = bytes;
  }

  varint(value: number): void {
    this.room(8);
    this.length = putVarint(this.bytes, this.length, value);
  }

  signed(value: number): void {
    this.room(8);
    this.length = putSigned(this.bytes, this.length, value);
  }

  put(bytes: Uint8Array): void {
    this.room(bytes.length);
    this.bytes.set(bytes, this.length);
    this.length += bytes.length;
  }

  /** What was written; valid until the next write. Starts over. */
  take(): Uint8Array {
    const taken = this.bytes.subarray(0, this.length);
    this.length = 0;
    return taken;
  }
}

/** A growing Uint32Array. */
class Words {
  words = new Uint32Array(4096);
  length = 0;

  push(value: number): void {
    if (this.length === this.words.length) {
      const words = new Uint32Array(this.words.length * 2);
      words.set(this.words);
      this.words = words;
    }
    this.words[this.length++] = value;
  }
}

export class IndexWriter {
  private readonly frames: FrameWriter;
  private readonly blockMinT: () => number;
  private readonly pairs = new Map<string, Map<string, number>>();
  private pairCount = 0;
  private series = 0;
  /** Of all series, one after the other: the number of labels, then that many provisional pair numbers. */
  private readonly labelWords = new Words();
  private readonly hashWords = new Words();
  /** The open page of the chunk index, as columns. */
  private readonly pageChunkCounts: number[] = [];
  private readonly pageKinds: number[] = [];
  private readonly pageRows: number[] = [];
  private readonly pageMinT: number[] = [];
  private readonly pageMaxT: number[] = [];
  private readonly pageFrames: number[] = [];
  private readonly pageOffsets: number[] = [];
  private readonly pageSizes: number[] = [];
  private readonly sink = new ByteSink();

  constructor(frames: FrameWriter, blockMinT: () => number) {
    this.frames = frames;
    this.blockMinT = blockMinT;
  }

  get seriesCount(): number {
    return this.series;
  }

  /** Begins a series; its chunks follow by addChunk. */
  addSeries(hash: Uint32Array, labels: Labels): void {
    if (this.pageChunkCounts.length === SERIES_PER_PAGE) this.flushChunkPage();
    this.series++;
    for (let w = 0; w < 4; w++) this.hashWords.push(hash[w] as number);
    this.labelWords.push(labels.length / 2);
    for (let i = 0; i < labels.length; i += 2)
      this.labelWords.push(this.pairId(labels[i] as string, labels[i + 1] as string));
    this.pageChunkCounts.push(0);
  }

  addChunk(
    kind: ChunkKind,
    rows: number,
    minT: number,
    maxT: number,
    frame: number,
    offset: number,
    size: number,
  ): void {
    const last = this.pageChunkCounts.length - 1;
    this.pageChunkCounts[last] = (this.pageChunkCounts[last] as number) + 1;
    this.pageKinds.push(kind);
    this.pageRows.push(rows);
    this.pageMinT.push(minT);
    this.pageMaxT.push(maxT);
    this.pageFrames.push(frame);
    this.pageOffsets.push(offset);
    this.pageSizes.push(size);
  }

  private pairId(name: string, value: string): number {
    let values = this.pairs.get(name);
    if (values === undefined) {
      values = new Map();
      this.pairs.set(name, values);
    }
    let id = values.get(value);
    if (id === undefined) {
      id = this.pairCount++;
      values.set(value, id);
    }
    return id;
  }

  /**
   * Series count, then column by column: chunks per series; rows << 2 | kind; gap to the end of the chunk before (the
   * first of a series: from the base time); duration; size << 1 | begins a new place. A chunk follows the one before in its frame;
   * where it does not, its frame (difference) and offset stand in the last column.
   */
  private flushChunkPage(): void {
    const n = this.pageChunkCounts.length;
    if (n === 0) return;
    const sink = this.sink;
    const base = this.blockMinT();
    sink.varint(n);
    sink.signed(base);
    for (const count of this.pageChunkCounts) sink.varint(count);
    for (let c = 0; c < this.pageRows.length; c++)
      sink.varint((this.pageRows[c] as number) * 4 + (this.pageKinds[c] as number));
    let c = 0;
    for (const count of this.pageChunkCounts) {
      let previous = base;
      for (let k = 0; k < count; k++, c++) {
        sink.signed((this.pageMinT[c] as number) - previous);
        previous = this.pageMaxT[c] as number;
      }
    }
    for (c = 0; c < this.pageRows.length; c++) sink.varint((this.pageMaxT[c] as number) - (this.pageMinT[c] as number));
    let frame = 0;
    let offset = -1;
    const jumps: number[] = [];
    for (c = 0; c < this.pageRows.length; c++) {
      const size = this.pageSizes[c] as number;
      const follows = this.pageFrames[c] === frame && this.pageOffsets[c] === offset;
      sink.varint(size * 2 + (follows ? 0 : 1));
      if (!follows) jumps.push((this.pageFrames[c] as number) - frame, this.pageOffsets[c] as number);
      frame = this.pageFrames[c] as number;
      offset = (this.pageOffsets[c] as number) + size;
    }
    for (const jump of jumps) sink.varint(jump);
    this.frames.append(SECTION.chunks, sink.take(), INDEX);
    for (const column of [
      this.pageChunkCounts,
      this.pageKinds,
      this.pageRows,
      this.pageMinT,
      this.pageMaxT,
      this.pageFrames,
      this.pageOffsets,
      this.pageSizes,
    ]) {
      column.length = 0;
    }
  }

  /** Writes all sections of the index. Gives the event loop turns. */
  async finish(signal?: AbortSignal): Promise<void> {
    this.flushChunkPage();
    const slice = new TimeSlice();
    const names = [...this.pairs.keys()].sort(compareStrings);
    const finalIds = new Uint32Array(this.pairCount);
    const sortedValues: string[][] = [];
    let id = 0;
    for (const name of names) {
      const values = this.pairs.get(name) as Map<string, number>;
      const sorted = await sortStrings([...values.keys()], slice, signal);
      for (const value of sorted) {
        finalIds[values.get(value) as number] = id++;
        if (id % STEPS_PER_LOOK === 0 && slice.due()) await slice.pause(signal);
      }
      sortedValues.push(sorted);
      values.clear();
    }
    for (let from = 0; from < this.hashWords.length; from += HASHES_PER_PAGE * 4) {
      const words = this.hashWords.words.slice(from, Math.min(this.hashWords.length, from + HASHES_PER_PAGE * 4));
      this.frames.append(SECTION.hashes, new Uint8Array(words.buffer), null);
      if (slice.due()) await slice.pause(signal);
    }
    const counts = await this.writeLabels(finalIds, slice, signal);
    const places = await this.writePostings(counts, slice, signal);
    await this.writePairs(sortedValues, places, slice, signal);
    this.writeNames(names, sortedValues);
  }

  /** Label pages: per series its number of labels and, against the series before, its pair numbers. Returns series per pair. */
  private async writeLabels(finalIds: Uint32Array, slice: TimeSlice, signal?: AbortSignal): Promise<Uint32Array> {
    const counts = new Uint32Array(this.pairCount);
    const words = this.labelWords.words;
    const previous: number[] = [];
    let inPage = 0;
    for (let p = 0; p < this.labelWords.length; ) {
      const n = words[p++] as number;
      this.sink.varint(n);
      for (let k = 0; k < n; k++, p++) {
        const id = finalIds[words[p] as number] as number;
        words[p] = id;
        counts[id] = (counts[id] as number) + 1;
        this.sink.signed(id - (previous[k] ?? 0));
        previous[k] = id;
      }
      if (++inPage === SERIES_PER_PAGE || p === this.labelWords.length) {
        this.frames.append(SECTION.labels, this.sink.take(), INDEX);
        inPage = 0;
        previous.length = 0;
        if (slice.due()) await slice.pause(signal);
      }
    }
    return counts;
  }

  /** Writes one list per pair, in order; returns for each pair: size << 1 | first of a frame. */
  private async writePostings(counts: Uint32Array, slice: TimeSlice, signal?: AbortSignal): Promise<Uint32Array> {
    const starts = new Uint32Array(counts.length + 1);
    for (let i = 0; i < counts.length; i++) starts[i + 1] = (starts[i] as number) + (counts[i] as number);
    const all = new Uint32Array(starts[counts.length] as number);
    const fill = starts.slice();
    const words = this.labelWords.words;
    for (let p = 0, series = 0; p < this.labelWords.length; series++) {
      const n = words[p++] as number;
      for (let k = 0; k < n; k++, p++) {
        const id = words[p] as number;
        all[fill[id] as number] = series;
        fill[id] = (fill[id] as number) + 1;
      }
      if (series % STEPS_PER_LOOK === 0 && slice.due()) await slice.pause(signal);
    }
    const places = new Uint32Array(counts.length);
    let begun = true;
    for (let id = 0; id < counts.length; id++) {
      if (id % STEPS_PER_LOOK === 0 && slice.due()) await slice.pause(signal);
      const before = this.sink.length;
      putPostings(all, starts[id] as number, starts[id + 1] as number, this.sink);
      places[id] = (this.sink.length - before) * 2 + (begun ? 1 : 0);
      begun = false;
      if (this.sink.length >= POSTINGS_FRAME_BYTES) {
        this.frames.append(SECTION.postings, this.sink.take(), INDEX);
        begun = true;
        if (slice.due()) await slice.pause(signal);
      }
    }
    if (this.sink.length > 0) this.frames.append(SECTION.postings, this.sink.take(), INDEX);
    return places;
  }

  /** Pair pages: first posting place, then per pair the value (shared prefix with the one before, rest) and its postings' size. */
  private async writePairs(
    values: string[][],
    places: Uint32Array,
    slice: TimeSlice,
    signal?: AbortSignal,
  ): Promise<void> {
    let id = 0;
    let frame = -1;
    let offset = 0;
    let previous = new Uint8Array(0);
    for (const ofName of values) {
      for (const value of ofName) {
        const place = places[id] as number;
        if ((place & 1) === 1) {
          frame++;
          offset = 0;
        }
        if (id % PAIRS_PER_PAGE === 0) {
          this.sink.varint(frame);
          this.sink.varint(offset);
          previous = new Uint8Array(0);
        }
        const bytes = encoder.encode(value);
        let shared = 0;
        while (shared < previous.length && shared < bytes.length && previous[shared] === bytes[shared]) shared++;
        this.sink.varint(shared);
        this.sink.varint(bytes.length - shared);
        this.sink.put(bytes.subarray(shared));
        this.sink.varint(place);
        offset += place >>> 1;
        previous = bytes;
        id++;
        if (id % PAIRS_PER_PAGE === 0 || id === places.length) {
          this.frames.append(SECTION.pairs, this.sink.take(), INDEX);
          if (slice.due()) await slice.pause(signal);
        }
      }
    }
  }

  /** Series, pairs, names; per name its text and its number of pairs. */
  private writeNames(names: readonly string[], values: string[][]): void {
    this.sink.varint(this.series);
    this.sink.varint(this.pairCount);
    this.sink.varint(names.length);
    names.forEach((name, i) => {
      const bytes = encoder.encode(name);
      this.sink.varint(bytes.length);
      this.sink.put(bytes);
      this.sink.varint((values[i] as string[]).length);
    });
    this.frames.append(SECTION.names, this.sink.take(), INDEX);
  }
}

/**
 * A list of ascending series numbers: mode (0 gaps, 1 runs), count, then gaps, or (gap, run length - 1) pairs. Series of
 * one metric are neighbours, so many lists are a few runs.
 */
function putPostings(all: Uint32Array, from: number, to: number, sink: ByteSink): void {
  let runs = 0;
  for (let i = from; i < to; i++) if (i === from || all[i] !== (all[i - 1] as number) + 1) runs++;
  const byRuns = runs * 2 < to - from;
  sink.varint(byRuns ? 1 : 0);
  sink.varint(to - from);
  let next = 0;
  for (let i = from; i < to; ) {
    const first = all[i] as number;
    let end = i + 1;
    if (byRuns) while (end < to && all[end] === (all[end - 1] as number) + 1) end++;
    sink.varint(first - next);
    if (byRuns) sink.varint(end - i - 1);
    next = first + (end - i);
    i = end;
  }
}

/** Sorts in UTF-8 order, slice by slice, merging with turns of the event loop between. */
async function sortStrings(values: string[], slice: TimeSlice, signal?: AbortSignal): Promise<string[]> {
  let runs: string[][] = [];
  for (let from = 0; from < values.length; from += SORT_SLICE) {
    runs.push(values.slice(from, from + SORT_SLICE).sort(compareStrings));
    if (slice.due()) await slice.pause(signal);
  }
  while (runs.length > 1) {
    const next: string[][] = [];
    for (let i = 0; i < runs.length; i += 2) {
      const a = runs[i] as string[];
      const b = runs[i + 1];
      next.push(b === undefined ? a : await mergeSorted(a, b, slice, signal));
    }
    runs = next;
  }
  return runs[0] ?? [];
}

async function mergeSorted(a: string[], b: string[], slice: TimeSlice, signal?: AbortSignal): Promise<string[]> {
  const out: string[] = [];
  for (let i = 0, j = 0; i < a.length || j < b.length; ) {
    const takeA = j >= b.length || (i < a.length && compareStrings(a[i] as string, b[j] as string) < 0);
    out.push((takeA ? a[i++] : b[j++]) as string);
    if (out.length % SORT_SLICE === 0 && slice.due()) await slice.pause(signal);
  }
  return out;
}
