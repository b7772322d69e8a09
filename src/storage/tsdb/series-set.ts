/**
 * MergedSeriesSet: the series of several parts (head, blocks) as one SeriesSet.
 *
 * Parts are joined by identity hash through an open-addressing table of u32 slots; the members of a series are a linked
 * list in typed arrays, in the order of the parts. Reading appends part after part; only where a part begins before the
 * last one ended are the two runs merged (late samples, head and block of the same window during a flush).
 */
import { newSampleBuffer, type SampleBuffer, type SeriesSet } from '../../contracts/sample-source.ts';
import type { Labels } from '../../model/labels.ts';
import { dedupInterval } from './dedup.ts';
import { mergeRuns } from './merge.ts';
import type { PartSet } from './part.ts';

export interface PartRead {
  set: PartSet;
  /** Inclusive bounds in which this part is read, ms. */
  minT: number;
  maxT: number;
}

const NONE = 0xffffffff;

export class MergedSeriesSet implements SeriesSet {
  readonly count: number;
  readonly infos: readonly string[];
  private readonly parts: readonly PartRead[];
  private readonly join: Join | null;
  private readonly scratch: SampleBuffer[] = [];

  private release: (() => void) | null;
  private readonly dedupMs: number;

  /**
   * @param parts in order of time where they can be.
   * @param release called once by `close`: lets go of the parts.
   * @param dedupMs keeps one sample per this interval (dedup.ts); 0 = all.
   */
  constructor(parts: readonly PartRead[], infos: readonly string[], release: () => void, dedupMs = 0) {
    this.dedupMs = dedupMs;
    this.parts = parts;
    this.infos = infos;
    this.release = release;
    // Fast path: one part needs no join.
    this.join = parts.length === 1 ? null : joinParts(parts);
    this.count = this.join === null ? (parts[0]?.set.count ?? 0) : this.join.count;
  }

  labels(i: number): Labels {
    if (this.join === null) return (this.parts[0] as PartRead).set.labels(i);
    const member = this.join.first[i] as number;
    return (this.parts[this.join.partOf[member] as number] as PartRead).set.labels(this.join.indexOf[member] as number);
  }

  read(i: number, into: SampleBuffer): void {
    this.readAll(i, into);
    if (this.dedupMs === 0) return;
    dedupInterval(into, this.dedupMs);
    into.numbers = 0;
  }

  private readAll(i: number, into: SampleBuffer): void {
    clear(into);
    if (this.join === null) {
      const { set, minT, maxT } = this.parts[0] as PartRead;
      set.read(i, minT, maxT, into);
      return;
    }
    // Fast path: every part begins after the one before it has ended.
    const { first, next, partOf, indexOf } = this.join;
    for (let member = first[i] as number; member !== NONE; member = next[member] as number) {
      const part = this.parts[partOf[member] as number] as PartRead;
      const floats = into.length;
      const histograms = into.histogramLength;
      part.set.read(indexOf[member] as number, part.minT, part.maxT, into);
      if (!continues(into, floats, histograms)) {
        this.readMerged(i, into);
        return;
      }
    }
  }

  /** Reads every member into a run of its own and merges them. */
  private readMerged(i: number, into: SampleBuffer): void {
    const { first, next, partOf, indexOf } = this.join as Join;
    const runs: SampleBuffer[] = [];
    for (let member = first[i] as number; member !== NONE; member = next[member] as number) {
      const part = this.parts[partOf[member] as number] as PartRead;
      this.scratch[runs.length] ??= newSampleBuffer();
      const run = this.scratch[runs.length] as SampleBuffer;
      clear(run);
      part.set.read(indexOf[member] as number, part.minT, part.maxT, run);
      runs.push(run);
    }
    clear(into);
    mergeRuns(runs, into);
  }

  close(): void {
    this.release?.();
    this.release = null;
  }
}

function clear(buffer: SampleBuffer): void {
  buffer.length = 0;
  buffer.numbers = 0;
  buffer.histogramLength = 0;
  buffer.startTimestamps = null;
  buffer.histogramStartTimestamps = null;
}

/** Whether the rows added after (floats, histograms) are all later than the rows before them. */
function continues(buffer: SampleBuffer, floats: number, histograms: number): boolean {
  let before = -1;
  if (floats > 0) before = buffer.timestamps[floats - 1] as number;
  if (histograms > 0) before = Math.max(before, buffer.histogramTimestamps[histograms - 1] as number);
  if (buffer.length > floats && (buffer.timestamps[floats] as number) <= before) return false;
  return buffer.histogramLength === histograms || (buffer.histogramTimestamps[histograms] as number) > before;
}

interface Join {
  count: number;
  /** First member of each series. */
  first: Uint32Array;
  /** By member: the next member of the same series, its part, its index there. */
  next: Uint32Array;
  partOf: Uint16Array;
  indexOf: Uint32Array;
}

function joinParts(parts: readonly PartRead[]): Join {
  const total = parts.reduce((sum, p) => sum + p.set.count, 0);
  let capacity = 16;
  while (capacity < total * 2) capacity *= 2;
  const table = new Uint32Array(capacity).fill(NONE);
  const join: Join = {
    count: 0,
    first: new Uint32Array(total),
    next: new Uint32Array(total).fill(NONE),
    partOf: new Uint16Array(total),
    indexOf: new Uint32Array(total),
  };
  const last = new Uint32Array(total);
  let member = 0;
  for (let p = 0; p < parts.length; p++) {
    const { count, hashes } = (parts[p] as PartRead).set;
    for (let i = 0; i < count; i++, member++) {
      join.partOf[member] = p;
      join.indexOf[member] = i;
      let slot = ((hashes[i * 4] as number) ^ (hashes[i * 4 + 1] as number)) & (capacity - 1);
      let series = table[slot] as number;
      while (series !== NONE && !sameHash(parts, join, series, hashes, i)) {
        slot = (slot + 1) & (capacity - 1);
        series = table[slot] as number;
      }
      if (series === NONE) {
        series = join.count++;
        table[slot] = series;
        join.first[series] = member;
      } else {
        join.next[last[series] as number] = member;
      }
      last[series] = member;
    }
  }
  return join;
}

function sameHash(parts: readonly PartRead[], join: Join, series: number, hashes: Uint32Array, i: number): boolean {
  const member = join.first[series] as number;
  const other = (parts[join.partOf[member] as number] as PartRead).set.hashes;
  const a = (join.indexOf[member] as number) * 4;
  const b = i * 4;
  return (
    other[a] === hashes[b] &&
    other[a + 1] === hashes[b + 1] &&
    other[a + 2] === hashes[b + 2] &&
    other[a + 3] === hashes[b + 3]
  );
}
