/**
 * Downsampling: raw blocks, or finer aggregates, into one block of a coarser resolution.
 *
 * Floats become one row per bucket (aggregate-chunk.ts). Counts and sums leave staleness markers out; NaNs count, and make the sum
 * NaN. Increases go across buckets. The sum of values with few decimals is taken in whole numbers and divided once:
 * exact, and short enough to compress (a float sum of decimals has all its digits).
 * Histograms: the last of each bucket. For counters that is all that rate over longer windows needs; a reset that a bucket hides is put into
 * the kept histogram's hint. Gauge histograms are sampled by it, not averaged.
 */
import { statSync } from 'node:fs';
import { newSampleBuffer, type SampleBuffer } from '../../../contracts/sample-source.ts';
import { type FloatHistogram, HINT_COUNTER_RESET, HINT_GAUGE } from '../../../model/histogram.ts';
import { isStale } from '../../../model/stale.ts';
import { appendHistogram } from '../chunk/histogram-chunk.ts';
import { mergeRuns } from '../merge.ts';
import { type AggregateBuffer, growAggregates, impliedIncrease, newAggregateBuffer } from './aggregate-chunk.ts';
import { THOROUGH } from './frames.ts';
import type { BlockMeta } from './layout.ts';
import { mergeAggregateRows, readLive, walkSeries } from './merge-blocks.ts';
import { type BlockReader, removeBlock } from './reader.ts';
import { BlockWriter } from './writer.ts';

export interface DownsampleOptions {
  dir: string;
  ulid: string;
  createdAtMs: number;
  /** Keeps the new block only where it is smaller than its inputs together. Default true. */
  onlyIfSmaller?: boolean;
  signal?: AbortSignal;
}

export interface DownsampleResult {
  /** Null where nothing was written, or nothing was kept. */
  meta: BlockMeta | null;
  /** Size of the new block, kept or not; of one that was given up, what had been written. */
  bytes: number;
  inputBytes: number;
}

/** Inputs are of one tenant and of one finer resolution, of which `resolutionMs` is a multiple. */
export async function downsampleBlock(
  inputs: readonly BlockReader[],
  resolutionMs: number,
  options: DownsampleOptions,
): Promise<DownsampleResult> {
  const first = inputs[0];
  let inputBytes = 0;
  for (const input of inputs) inputBytes += input.bytes;
  if (first === undefined) return { meta: null, bytes: 0, inputBytes };
  const from = first.meta.resolutionMs;
  for (const input of inputs) {
    if (input.meta.tenant !== first.meta.tenant || input.meta.resolutionMs !== from) {
      throw new RangeError(`BUG: ${input.meta.ulid} and ${first.meta.ulid} differ in tenant or resolution`);
    }
  }
  if (from >= resolutionMs || (from > 0 && resolutionMs % from !== 0)) {
    throw new RangeError(`BUG: ${from} ms does not downsample to ${resolutionMs} ms`);
  }
  const writer = new BlockWriter(options.dir, {
    ulid: options.ulid,
    tenant: first.meta.tenant,
    resolutionMs,
    level: Math.max(...inputs.map(i => i.meta.level)) + 1,
    sources: inputs.map(i => i.meta.ulid),
    createdAtMs: options.createdAtMs,
    arrivedMs: Math.max(...inputs.map(i => i.meta.arrivedMs)),
    compression: THOROUGH,
  });
  const onlyIfSmaller = options.onlyIfSmaller ?? true;
  for (const input of inputs) input.retain();
  let meta: BlockMeta | null;
  try {
    await writeRows(
      inputs,
      resolutionMs,
      writer,
      onlyIfSmaller ? inputBytes : Number.POSITIVE_INFINITY,
      options.signal,
    );
    meta = await writer.finish(options.signal);
  } catch (error) {
    writer.abort();
    if (error instanceof TooLarge) return { meta: null, bytes: error.bytes, inputBytes };
    throw error;
  } finally {
    for (const input of inputs) input.release();
  }
  if (meta === null) return { meta, bytes: 0, inputBytes };
  const bytes = statSync(writer.path).size;
  if (onlyIfSmaller && bytes >= inputBytes) {
    removeBlock(writer.path);
    meta = null;
  }
  return { meta, bytes, inputBytes };
}

/** Ends a block that has grown as large as what it is made of: the rest is work for nothing. */
class TooLarge extends Error {
  readonly bytes: number;

  constructor(bytes: number) {
    super('the coarser block is no smaller');
    this.bytes = bytes;
  }
}

async function writeRows(
  inputs: readonly BlockReader[],
  resolutionMs: number,
  writer: BlockWriter,
  bytesMax: number,
  signal?: AbortSignal,
): Promise<void> {
  const runs = inputs.map(() => newSampleBuffer());
  const merged = newSampleBuffer();
  const fine = newAggregateBuffer();
  const rows = newAggregateBuffer();
  const histograms = newSampleBuffer();
  const raw = inputs[0]?.meta.resolutionMs === 0;
  const fineMs = inputs[0]?.meta.resolutionMs ?? 0;
  await walkSeries(
    inputs,
    (members, labels) => {
      members.forEach((m, i) => {
        readLive(m.block, m.series, m.hash, runs[i] as SampleBuffer);
      });
      merged.length = 0;
      merged.histogramLength = 0;
      rows.length = 0;
      if (raw) {
        mergeRuns(runs.slice(0, members.length), merged);
        aggregateSamples(merged, resolutionMs, rows);
      } else {
        mergeAggregateRows(members, fineMs, fine);
        aggregateRows(fine, resolutionMs, rows);
        for (const run of runs.slice(0, members.length)) run.length = 0;
        mergeRuns(runs.slice(0, members.length), merged);
      }
      histograms.histogramLength = 0;
      lastHistograms(merged, resolutionMs, histograms);
      const hash = (members[0] as { hash: Uint32Array }).hash;
      writer.addAggregates(hash, labels, rows, histograms);
      if (writer.writtenBytes >= bytesMax) throw new TooLarge(writer.writtenBytes);
    },
    signal,
  );
}

/** Decimals up to here are summed as whole numbers. */
const SUM_DECIMALS_MAX = 6;

/** 10^e for the smallest e at which all values are whole, or 0. */
function decimalFactor(values: Float64Array, n: number): number {
  let m = 1;
  for (let i = 0; i < n; i++) {
    const v = values[i] as number;
    if (v !== v || !Number.isFinite(v)) continue;
    while (Math.round(v * m) / m !== v) {
      m *= 10;
      if (m > 10 ** SUM_DECIMALS_MAX) return 0;
    }
  }
  return m;
}

/** Appends one row per bucket of the float samples. `rows` is empty. */
export function aggregateSamples(samples: SampleBuffer, resolutionMs: number, rows: AggregateBuffer): void {
  const { timestamps, values, length } = samples;
  const factor = decimalFactor(values, length);
  let previous = Number.NaN;
  const first = firstValued(samples);
  rows.firstT = timestamps[first] as number;
  rows.firstValue = values[first] as number;
  if (rows.firstValue !== rows.firstValue) rows.firstValue = 0;
  for (let from = 0; from < length; ) {
    const bucket = Math.floor((timestamps[from] as number) / resolutionMs);
    const edge = (bucket + 1) * resolutionMs;
    let to = from + 1;
    while (to < length && (timestamps[to] as number) < edge) to++;
    growAggregates(rows, rows.length + 2);
    let valued = to;
    while (valued > from && isStale(values, valued - 1)) valued--;
    if (valued > from) {
      previous = fillRow(samples, from, valued, factor, previous, rows, rows.length);
      rows.length++;
    }
    if (valued < to) putMarkerRow(samples, to - 1, rows);
    from = to;
  }
}

/** The first sample that is a number; the last one where none is. */
function firstValued(samples: SampleBuffer): number {
  let i = 0;
  while (i < samples.length - 1 && samples.values[i] !== samples.values[i]) i++;
  return i;
}

function putMarkerRow(samples: SampleBuffer, i: number, rows: AggregateBuffer): void {
  const row = rows.length++;
  rows.timestamps[row] = samples.timestamps[i] as number;
  for (const name of ['count', 'sum', 'min', 'max', 'increase'] as const) rows[name][row] = 0;
  rows.last.set(samples.values.subarray(i, i + 1), row);
}

/** Fills one row from samples [from, to); returns the last value that is no NaN. */
function fillRow(
  samples: SampleBuffer,
  from: number,
  to: number,
  factor: number,
  before: number,
  rows: AggregateBuffer,
  row: number,
): number {
  const { values } = samples;
  let previous = before;
  let count = 0;
  let sum = 0;
  let whole = 0;
  let min = Number.NaN;
  let max = Number.NaN;
  let increase = 0;
  for (let i = from; i < to; i++) {
    const v = values[i] as number;
    if (v !== v) {
      if (isStale(values, i)) continue;
      count++;
      sum = Number.NaN;
      continue;
    }
    count++;
    sum += v;
    if (factor > 0) whole += Math.round(v * factor);
    if (!(v >= min)) min = v;
    if (!(v <= max)) max = v;
    if (previous === previous) increase += impliedIncrease(previous, v);
    previous = v;
  }
  const exact = factor > 0 && Number.isFinite(sum) && Math.abs(whole) <= Number.MAX_SAFE_INTEGER;
  rows.timestamps[row] = samples.timestamps[to - 1] as number;
  rows.count[row] = count;
  rows.sum[row] = exact ? whole / factor : sum;
  rows.min[row] = min;
  rows.max[row] = max;
  rows.last.set(values.subarray(to - 1, to), row);
  rows.increase[row] = exactIncrease(increase, factor);
  return previous;
}

/** Growth of decimals is a decimal: rounding takes the float noise out. */
function exactIncrease(increase: number, factor: number): number {
  if (factor <= 1) return increase;
  const whole = Math.round(increase * factor);
  return Math.abs(whole) <= Number.MAX_SAFE_INTEGER ? whole / factor : increase;
}

/** Joins finer rows into coarser ones. `into` is empty. */
export function aggregateRows(fine: AggregateBuffer, resolutionMs: number, into: AggregateBuffer): void {
  into.firstT = fine.firstT;
  into.firstValue = fine.firstValue;
  const bucketOf = (row: number) => Math.floor((into.timestamps[row] as number) / resolutionMs);
  for (let i = 0; i < fine.length; i++) {
    const t = fine.timestamps[i] as number;
    const bucket = Math.floor(t / resolutionMs);
    // A marker with anything behind it in its bucket is not the last sample.
    let last = into.length - 1;
    if (last >= 0 && into.count[last] === 0 && bucketOf(last) === bucket) last = --into.length - 1;
    if (last < 0 || bucketOf(last) !== bucket || fine.count[i] === 0) {
      growAggregates(into, last + 2);
      for (const name of ['timestamps', 'count', 'sum', 'min', 'max', 'last', 'increase'] as const) {
        into[name].set(fine[name].subarray(i, i + 1), last + 1);
      }
      into.length = last + 2;
      continue;
    }
    into.timestamps[last] = t;
    into.last.set(fine.last.subarray(i, i + 1), last);
    into.count[last] = (into.count[last] as number) + (fine.count[i] as number);
    into.sum[last] = (into.sum[last] as number) + (fine.sum[i] as number);
    into.increase[last] = (into.increase[last] as number) + (fine.increase[i] as number);
    if (!((fine.min[i] as number) >= (into.min[last] as number)) && fine.min[i] === fine.min[i]) {
      into.min[last] = fine.min[i] as number;
    }
    if (!((fine.max[i] as number) <= (into.max[last] as number)) && fine.max[i] === fine.max[i]) {
      into.max[last] = fine.max[i] as number;
    }
  }
}

/** The last histogram of each bucket. `into` has none. */
function lastHistograms(samples: SampleBuffer, resolutionMs: number, into: SampleBuffer): void {
  let reset = false;
  let previous: FloatHistogram | null = null;
  for (let i = 0; i < samples.histogramLength; i++) {
    const t = samples.histogramTimestamps[i] as number;
    const h = samples.histograms[i] as FloatHistogram;
    if (h.counterResetHint === HINT_COUNTER_RESET || (previous !== null && h.count < previous.count)) reset = true;
    previous = h;
    const next =
      i + 1 < samples.histogramLength ? (samples.histogramTimestamps[i + 1] as number) : Number.POSITIVE_INFINITY;
    if (Math.floor(next / resolutionMs) === Math.floor(t / resolutionMs)) continue;
    const kept = reset && h.counterResetHint !== HINT_GAUGE ? { ...h, counterResetHint: HINT_COUNTER_RESET } : h;
    appendHistogram(into, t, kept as FloatHistogram, 0, false);
    reset = false;
  }
}
