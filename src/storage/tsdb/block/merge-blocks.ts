/**
 * mergeBlocks: k blocks into one (or one per time window), series by series.
 *
 * All blocks have their series in the same order, so this is a merge of k sorted lists: memory is one series at a time plus
 * the writers' state. Overlapping samples are settled by the rule in merge.ts, deleted ones left out. Gives the event loop turns between
 * series; a block appears under its name only when it is whole and synced.
 */
import { newSampleBuffer, type SampleBuffer } from '../../../contracts/sample-source.ts';
import { TimeSlice } from '../../../lib/yield.ts';
import { getLabel, type Labels, METRIC_NAME } from '../../../model/labels.ts';
import { lowerBound, mergeRuns } from '../merge.ts';
import {
  type AggregateBuffer,
  growAggregates,
  impliedIncrease,
  newAggregateBuffer,
  valueBefore,
} from './aggregate-chunk.ts';
import { THOROUGH } from './frames.ts';
import type { BlockMeta } from './layout.ts';
import type { BlockReader } from './reader.ts';
import { dropDeleted } from './tombstones.ts';
import { BlockWriter, compareSeries } from './writer.ts';

export interface MergeOptions {
  /** Folder that the new blocks go to. */
  dir: string;
  /** Called once per block written. */
  newUlid: () => string;
  createdAtMs: number;
  /** Splits the output at multiples of this; 0 or absent: one block. */
  windowMs?: number;
  /** Samples outside of these inclusive bounds are dropped. */
  minT?: number;
  maxT?: number;
  /** One block per group of series, instead of windows and bounds. Such outputs name no sources: none holds all of an input. */
  groupOf?: (labels: Labels) => number;
  signal?: AbortSignal;
}

/** Output windows of one merge, at most. */
const WINDOWS_MAX = 1000;

/** Inputs are of one tenant and one resolution. Returns the metas of the blocks written, in order of time. */
export async function mergeBlocks(inputs: readonly BlockReader[], options: MergeOptions): Promise<BlockMeta[]> {
  const first = inputs[0];
  if (first === undefined) return [];
  const { tenant, resolutionMs } = first.meta;
  for (const input of inputs) {
    if (input.meta.tenant !== tenant || input.meta.resolutionMs !== resolutionMs) {
      throw new RangeError(`BUG: ${input.meta.ulid} and ${first.meta.ulid} differ in tenant or resolution`);
    }
  }
  const writers = new WindowWriters(inputs, options);
  for (const input of inputs) input.retain();
  try {
    if (resolutionMs === 0) await mergeRaw(inputs, writers, options.signal);
    else await mergeAggregates(inputs, writers, options.signal);
    return await writers.finish(options.signal);
  } catch (error) {
    writers.abort();
    throw error;
  } finally {
    for (const input of inputs) input.release();
  }
}

/** A position in the series of one block. */
export class BlockCursor {
  readonly block: BlockReader;
  series = 0;
  name = '';
  readonly hash = new Uint32Array(4);

  constructor(block: BlockReader) {
    this.block = block;
    this.load();
  }

  get done(): boolean {
    return this.series >= this.block.seriesCount;
  }

  next(): void {
    this.series++;
    this.load();
  }

  labels(): Labels {
    return this.block.index.labels(this.series);
  }

  private load(): void {
    if (this.done) return;
    this.name = getLabel(this.block.index.labels(this.series), METRIC_NAME);
    this.block.index.hash(this.series, this.hash, 0);
  }
}

/** Walks the series of all blocks in order; `visit` gets the cursors that stand on the same series. */
export async function walkSeries(
  blocks: readonly BlockReader[],
  visit: (members: readonly BlockCursor[], labels: Labels) => void,
  signal?: AbortSignal,
): Promise<void> {
  const slice = new TimeSlice();
  const cursors = blocks.map(block => new BlockCursor(block));
  for (;;) {
    let members: BlockCursor[] = [];
    for (const c of cursors) {
      if (c.done) continue;
      const lead = members[0];
      const order = lead === undefined ? -1 : compareSeries(c.name, c.hash, lead.name, lead.hash);
      if (order < 0) members = [c];
      else if (order === 0) members.push(c);
    }
    const lead = members[0];
    if (lead === undefined) return;
    visit(members, lead.labels());
    for (const c of members) c.next();
    if (slice.due()) await slice.pause(signal);
  }
}

/** Reads all that is left of a series in one block into an emptied buffer. */
export function readLive(block: BlockReader, series: number, hash: Uint32Array, into: SampleBuffer): void {
  clear(into);
  block.readSeries(series, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER, 'last', into);
  const intervals = block.tombstones.of(hash, 0);
  if (intervals !== null) dropDeleted(into, 0, 0, intervals);
}

function clear(into: SampleBuffer): void {
  into.length = 0;
  into.startTimestamps = null;
  into.histogramLength = 0;
  into.histogramTimestamps = [];
  into.histograms = [];
  into.histogramStartTimestamps = null;
}

async function mergeRaw(inputs: readonly BlockReader[], writers: WindowWriters, signal?: AbortSignal): Promise<void> {
  const runs = inputs.map(() => newSampleBuffer());
  const merged = newSampleBuffer();
  await walkSeries(
    inputs,
    (members, labels) => {
      members.forEach((member, i) => {
        readLive(member.block, member.series, member.hash, runs[i] as SampleBuffer);
      });
      let result = runs[0] as SampleBuffer;
      if (members.length > 1) {
        clear(merged);
        mergeRuns(runs.slice(0, members.length), merged);
        result = merged;
      }
      writers.addSeries((members[0] as BlockCursor).hash, labels, result);
    },
    signal,
  );
}

/**
 * Aggregate rows of one bucket exist in two blocks only where late samples were downsampled apart; the row with more samples wins, then
 * the later one: they cannot be added, since they may have samples in common.
 */
async function mergeAggregates(
  inputs: readonly BlockReader[],
  writers: WindowWriters,
  signal?: AbortSignal,
): Promise<void> {
  const histograms = inputs.map(() => newSampleBuffer());
  const mergedHistograms = newSampleBuffer();
  const merged = newAggregateBuffer();
  const resolutionMs = (inputs[0] as BlockReader).meta.resolutionMs;
  await walkSeries(
    inputs,
    (members, labels) => {
      members.forEach((member, i) => {
        readLive(member.block, member.series, member.hash, histograms[i] as SampleBuffer);
        (histograms[i] as SampleBuffer).length = 0;
      });
      clear(mergedHistograms);
      mergeRuns(histograms.slice(0, members.length), mergedHistograms);
      mergeAggregateRows(members, resolutionMs, merged);
      writers.addAggregates((members[0] as BlockCursor).hash, labels, merged, mergedHistograms);
    },
    signal,
  );
}

/** Replaces `into` with the rows of one series from all blocks that have it, deleted ones left out. */
export function mergeAggregateRows(members: readonly BlockCursor[], resolutionMs: number, into: AggregateBuffer): void {
  const runs = members.map(member => {
    const rows = newAggregateBuffer();
    member.block.readAggregates(member.series, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER, rows);
    const intervals = member.block.tombstones.of(member.hash, 0);
    if (intervals !== null) dropDeletedRows(rows, intervals);
    return rows;
  });
  mergeRows(runs, resolutionMs, into);
}

function dropDeletedRows(rows: AggregateBuffer, intervals: readonly number[]): void {
  let kept = 0;
  let lostFirst = false;
  let valued = false;
  for (let i = 0; i < rows.length; i++) {
    const t = rows.timestamps[i] as number;
    let gone = false;
    for (let k = 0; k < intervals.length; k += 2) {
      if (t >= (intervals[k] as number) && t <= (intervals[k + 1] as number)) gone = true;
    }
    if (gone) {
      if (!valued) lostFirst = true;
      continue;
    }
    if (!valued && rows.count[i] !== 0) {
      valued = true;
      if (lostFirst) {
        // The first row left has no first sample of its own any more.
        rows.firstT = t;
        rows.firstValue = rows.last[i] as number;
        rows.increase[i] = 0;
      }
    }
    moveRow(rows, i, rows, kept++);
  }
  rows.length = kept;
}

/** Bytes, not numbers: a marker in `last` stays one. */
function moveRow(from: AggregateBuffer, i: number, to: AggregateBuffer, k: number): void {
  if (from === to && i === k) return;
  for (const name of ['timestamps', 'count', 'sum', 'min', 'max', 'last', 'increase'] as const) {
    to[name].set(from[name].subarray(i, i + 1), k);
  }
}

function mergeRows(runs: readonly AggregateBuffer[], resolutionMs: number, into: AggregateBuffer): void {
  into.length = 0;
  let total = 0;
  for (const run of runs) total += run.length;
  growAggregates(into, total);
  const next = new Int32Array(runs.length);
  const begun = new Uint8Array(runs.length);
  // The last value so far; NaN before the first.
  let previous = Number.NaN;
  for (;;) {
    let best = -1;
    for (let k = 0; k < runs.length; k++) {
      if ((next[k] as number) >= (runs[k] as AggregateBuffer).length) continue;
      if (best < 0 || timeAt(runs, next, k) < timeAt(runs, next, best)) best = k;
    }
    if (best < 0) return;
    const run = runs[best] as AggregateBuffer;
    const i = next[best] as number;
    next[best] = i + 1;
    const bucket = Math.floor((run.timestamps[i] as number) / resolutionMs);
    // A marker with anything behind it in its bucket is not the last sample.
    if (into.length > 0 && into.count[into.length - 1] === 0 && bucketOf(into, resolutionMs) === bucket) into.length--;
    if (run.count[i] === 0) {
      if (into.length === 0) into.firstT = run.firstT;
      moveRow(run, i, into, into.length++);
      continue;
    }
    const firstOfRun = begun[best] === 0;
    begun[best] = 1;
    if (into.length > 0 && bucketOf(into, resolutionMs) === bucket) {
      const last = into.length - 1;
      if ((run.count[i] as number) < (into.count[last] as number)) continue;
      moveRow(run, i, into, last);
    } else {
      if (previous !== previous) {
        into.firstT = run.firstT;
        into.firstValue = run.firstValue;
      }
      moveRow(run, i, into, into.length++);
      // The first row of a later run knows only its own growth: what lies between the runs is added.
      if (firstOfRun && previous === previous) {
        const last = into.length - 1;
        into.increase[last] = (into.increase[last] as number) + impliedIncrease(previous, run.firstValue);
      }
    }
    if (run.last[i] === run.last[i]) previous = run.last[i] as number;
  }
}

function bucketOf(rows: AggregateBuffer, resolutionMs: number): number {
  return Math.floor((rows.timestamps[rows.length - 1] as number) / resolutionMs);
}

function timeAt(runs: readonly AggregateBuffer[], next: Int32Array, k: number): number {
  return (runs[k] as AggregateBuffer).timestamps[next[k] as number] as number;
}

/** One writer per output window, made when the first sample falls into it. */
class WindowWriters {
  private readonly inputs: readonly BlockReader[];
  private readonly options: MergeOptions;
  private readonly writers = new Map<number, BlockWriter>();
  private readonly piece = newSampleBuffer();
  private readonly rowPiece = newAggregateBuffer();

  constructor(inputs: readonly BlockReader[], options: MergeOptions) {
    this.inputs = inputs;
    this.options = options;
  }

  addSeries(hash: Uint32Array, labels: Labels, data: SampleBuffer): void {
    const { windowMs = 0, minT, maxT } = this.options;
    if (windowMs === 0 && minT === undefined && maxT === undefined) {
      if (data.length + data.histogramLength > 0) this.writer(this.groupOf(labels)).addSeries(hash, labels, data);
      return;
    }
    this.eachWindow(
      data.timestamps,
      data.length,
      data.histogramTimestamps,
      data.histogramLength,
      (window, from, to) => {
        cut(data, from, to, this.piece);
        if (this.piece.length + this.piece.histogramLength > 0) this.writer(window).addSeries(hash, labels, this.piece);
      },
    );
  }

  addAggregates(hash: Uint32Array, labels: Labels, rows: AggregateBuffer, histograms: SampleBuffer): void {
    const { windowMs = 0, minT, maxT } = this.options;
    if (windowMs === 0 && minT === undefined && maxT === undefined) {
      if (rows.length + histograms.histogramLength > 0) {
        this.writer(this.groupOf(labels)).addAggregates(hash, labels, rows, histograms);
      }
      return;
    }
    this.eachWindow(
      rows.timestamps,
      rows.length,
      histograms.histogramTimestamps,
      histograms.histogramLength,
      (window, from, to) => {
        cut(histograms, from, to, this.piece);
        cutRows(rows, from, to, this.rowPiece);
        if (this.rowPiece.length + this.piece.histogramLength > 0) {
          this.writer(window).addAggregates(hash, labels, this.rowPiece, this.piece);
        }
      },
    );
  }

  private groupOf(labels: Labels): number {
    return this.options.groupOf === undefined ? 0 : this.options.groupOf(labels);
  }

  async finish(signal?: AbortSignal): Promise<BlockMeta[]> {
    const metas: BlockMeta[] = [];
    for (const window of [...this.writers.keys()].sort((a, b) => a - b)) {
      const meta = await (this.writers.get(window) as BlockWriter).finish(signal);
      if (meta !== null) metas.push(meta);
    }
    return metas;
  }

  abort(): void {
    for (const writer of this.writers.values()) writer.abort();
  }

  /** Calls `visit` with every window that has samples, and its inclusive bounds within the options'. */
  private eachWindow(
    times: ArrayLike<number>,
    n: number,
    histogramTimes: ArrayLike<number>,
    m: number,
    visit: (window: number, from: number, to: number) => void,
  ): void {
    const { windowMs = 0 } = this.options;
    const low = this.options.minT ?? Number.MIN_SAFE_INTEGER;
    const high = this.options.maxT ?? Number.MAX_SAFE_INTEGER;
    if (windowMs === 0) {
      visit(0, low, high);
      return;
    }
    let at = low;
    for (;;) {
      const i = lowerBound(times, 0, n, at);
      const j = lowerBound(histogramTimes, 0, m, at);
      const t = Math.min(i < n ? (times[i] as number) : high + 1, j < m ? (histogramTimes[j] as number) : high + 1);
      if (t > high) return;
      const window = Math.floor(t / windowMs);
      visit(window, Math.max(low, window * windowMs), Math.min(high, (window + 1) * windowMs - 1));
      at = (window + 1) * windowMs;
    }
  }

  private writer(window: number): BlockWriter {
    let writer = this.writers.get(window);
    if (writer === undefined) {
      if (this.writers.size >= WINDOWS_MAX) throw new RangeError(`a merge into more than ${WINDOWS_MAX} windows`);
      const { options } = this;
      const metas = this.inputs.map(input => input.meta);
      writer = new BlockWriter(options.dir, {
        ulid: options.newUlid(),
        tenant: (metas[0] as BlockMeta).tenant,
        resolutionMs: (metas[0] as BlockMeta).resolutionMs,
        level: Math.max(...metas.map(m => m.level)) + 1,
        sources: options.groupOf === undefined ? metas.map(m => m.ulid) : [],
        createdAtMs: options.createdAtMs,
        arrivedMs: Math.max(...metas.map(m => m.arrivedMs)),
        compression: THOROUGH,
      });
      this.writers.set(window, writer);
    }
    return writer;
  }
}

/** Makes `piece` a view on the rows of `data` with from <= t <= to. */
function cut(data: SampleBuffer, from: number, to: number, piece: SampleBuffer): void {
  const a = lowerBound(data.timestamps, 0, data.length, from);
  const b = lowerBound(data.timestamps, a, data.length, to + 1);
  piece.length = b - a;
  piece.timestamps = data.timestamps.subarray(a, b);
  piece.values = data.values.subarray(a, b);
  piece.startTimestamps = data.startTimestamps === null ? null : data.startTimestamps.subarray(a, b);
  const c = lowerBound(data.histogramTimestamps, 0, data.histogramLength, from);
  const d = lowerBound(data.histogramTimestamps, c, data.histogramLength, to + 1);
  piece.histogramLength = d - c;
  piece.histogramTimestamps = data.histogramTimestamps.slice(c, d);
  piece.histograms = data.histograms.slice(c, d);
  piece.histogramStartTimestamps =
    data.histogramStartTimestamps === null ? null : data.histogramStartTimestamps.slice(c, d);
}

function cutRows(rows: AggregateBuffer, from: number, to: number, piece: AggregateBuffer): void {
  const a = lowerBound(rows.timestamps, 0, rows.length, from);
  const b = lowerBound(rows.timestamps, a, rows.length, to + 1);
  piece.length = b - a;
  for (const name of ['timestamps', 'count', 'sum', 'min', 'max', 'last', 'increase'] as const) {
    piece[name] = rows[name].subarray(a, b);
  }
  if (b === a) return;
  // A later window continues from the last row of the one before, as `rate` across the two will see it.
  const continues = rows.count.subarray(0, a).some(count => count !== 0);
  piece.firstT = continues ? (rows.timestamps[b - 1] as number) : rows.firstT;
  piece.firstValue = valueBefore(rows, a);
}
