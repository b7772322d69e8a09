/**
 * Merging runs of samples of one series, and the rule for two samples at one timestamp.
 *
 * The rule is a total order, so that the result depends neither on the order of arrival nor on which samples meet in which part
 * (head, block, compaction): a histogram beats a float; of floats a value beats a staleness marker, a
 * number beats a NaN, then the larger wins (0 beats -0; NaNs by their bits); of histograms the larger count, then the larger sum, then
 * the lexicographically larger encoding. Samples that are equal in all that take the larger start timestamp.
 */
import { growSampleBuffer, type SampleBuffer } from '../../contracts/sample-source.ts';
import type { FloatHistogram } from '../../model/histogram.ts';
import { isStale } from '../../model/stale.ts';
import { startColumn } from './chunk/float-chunk.ts';
import { appendHistogram, encodeHistogramChunk, maxHistogramChunkSize } from './chunk/histogram-chunk.ts';

/** Positive where a[i] beats b[j], negative where it loses, 0 where they are the same bits. */
export function compareFloats(a: Float64Array, i: number, b: Float64Array, j: number): number {
  const x = a[i] as number;
  const y = b[j] as number;
  if (x > y) return 1;
  if (x < y) return -1;
  if (x === y) return x === 0 ? (1 / x > 1 / y ? 1 : 1 / x < 1 / y ? -1 : 0) : 0;
  return compareNaNs(a, i, b, j);
}

/** At least one is a NaN. */
function compareNaNs(a: Float64Array, i: number, b: Float64Array, j: number): number {
  const x = a[i] as number;
  const y = b[j] as number;
  if (x === x) return 1;
  if (y === y) return -1;
  const staleA = isStale(a, i);
  const staleB = isStale(b, j);
  if (staleA !== staleB) return staleB ? 1 : -1;
  const wordsA = new Uint32Array(a.buffer, a.byteOffset + 8 * i, 2);
  const wordsB = new Uint32Array(b.buffer, b.byteOffset + 8 * j, 2);
  const high = (wordsA[1] as number) - (wordsB[1] as number);
  return high !== 0 ? high : (wordsA[0] as number) - (wordsB[0] as number);
}

/** Positive where a beats b, negative where it loses, 0 where they are equal. */
export function compareHistograms(a: FloatHistogram, b: FloatHistogram): number {
  if (a === b) return 0;
  const count = compareNumbers(a.count, b.count);
  if (count !== 0) return count;
  const sum = compareNumbers(a.sum, b.sum);
  if (sum !== 0) return sum;
  const x = encodeOne(a);
  const y = encodeOne(b);
  return Buffer.compare(x, y);
}

/** A number beats a NaN. */
function compareNumbers(x: number, y: number): number {
  if (x > y) return 1;
  if (x < y) return -1;
  if (x === y) return 0;
  return (x === x ? 1 : 0) - (y === y ? 1 : 0);
}

function encodeOne(h: FloatHistogram): Uint8Array {
  const out = new Uint8Array(maxHistogramChunkSize([h], 0, 1));
  return out.subarray(0, encodeHistogramChunk([0], [h], 0, 1, null, out, 0));
}

/**
 * Appends the union of the runs to `into`. Each run ascends without duplicates in each of its two columns; `into` has only earlier
 * samples and is none of the runs. A timestamp ends up in one of the columns, as the rule says.
 */
export function mergeRuns(runs: readonly SampleBuffer[], into: SampleBuffer): void {
  const floatFrom = into.length;
  const histogramFrom = into.histogramLength;
  let floats = 0;
  let withStarts = into.startTimestamps !== null;
  const active: SampleBuffer[] = [];
  for (const run of runs) {
    if (run.length === 0) continue;
    active.push(run);
    floats += run.length;
    if (run.startTimestamps !== null) withStarts = true;
  }
  growSampleBuffer(into, into.length + floats);
  if (withStarts) startColumn(into);
  mergeFloats(active, into);
  mergeHistograms(
    runs.filter(run => run.histogramLength > 0),
    into,
  );
  if (into.histogramLength > histogramFrom && into.length > floatFrom) dropShadowed(into, floatFrom, histogramFrom);
}

/** Copies rows [from, to) of a run behind the rows of `into`, which has room. Bytes, not numbers: markers stay markers. */
function copyRows(run: SampleBuffer, from: number, to: number, into: SampleBuffer): void {
  const row = into.length;
  into.timestamps.set(run.timestamps.subarray(from, to), row);
  into.values.set(run.values.subarray(from, to), row);
  if (into.startTimestamps !== null) {
    if (run.startTimestamps !== null) into.startTimestamps.set(run.startTimestamps.subarray(from, to), row);
    else into.startTimestamps.fill(0, row, row + to - from);
  }
  into.length = row + to - from;
}

function mergeFloats(runs: SampleBuffer[], into: SampleBuffer): void {
  runs.sort((a, b) => (a.timestamps[0] as number) - (b.timestamps[0] as number));
  const next = new Int32Array(runs.length);
  for (;;) {
    let best = -1;
    let bestT = Number.POSITIVE_INFINITY;
    let otherT = Number.POSITIVE_INFINITY;
    for (let k = 0; k < runs.length; k++) {
      const run = runs[k] as SampleBuffer;
      const row = next[k] as number;
      if (row === run.length) continue;
      const t = run.timestamps[row] as number;
      if (t < bestT) {
        otherT = bestT;
        bestT = t;
        best = k;
      } else if (t < otherT) otherT = t;
    }
    if (best < 0) return;
    const run = runs[best] as SampleBuffer;
    const row = next[best] as number;
    if (bestT < otherT) {
      // Everything before the next other sample goes over in one piece: whole runs where they do not overlap.
      const end = lowerBound(run.timestamps, row + 1, run.length, otherT);
      copyRows(run, row, end, into);
      next[best] = end;
    } else {
      settleFloats(runs, next, bestT, into);
    }
  }
}

/** Several runs have a sample at t: the best one is kept. */
function settleFloats(runs: readonly SampleBuffer[], next: Int32Array, t: number, into: SampleBuffer): void {
  let winner: SampleBuffer | null = null;
  let winnerRow = 0;
  for (let k = 0; k < runs.length; k++) {
    const run = runs[k] as SampleBuffer;
    const row = next[k] as number;
    if (row === run.length || run.timestamps[row] !== t) continue;
    next[k] = row + 1;
    if (winner !== null) {
      const order = compareFloats(run.values, row, winner.values, winnerRow);
      if (order < 0 || (order === 0 && startAt(run, row) <= startAt(winner, winnerRow))) continue;
    }
    winner = run;
    winnerRow = row;
  }
  if (winner !== null) copyRows(winner, winnerRow, winnerRow + 1, into);
}

function startAt(run: SampleBuffer, row: number): number {
  return run.startTimestamps === null ? 0 : (run.startTimestamps[row] as number);
}

/** First index in [from, to) whose value is >= t, or `to`. */
export function lowerBound(column: ArrayLike<number>, from: number, to: number, t: number): number {
  let low = from;
  let high = to;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((column[middle] as number) < t) low = middle + 1;
    else high = middle;
  }
  return low;
}

function mergeHistograms(runs: readonly SampleBuffer[], into: SampleBuffer): void {
  const next = new Int32Array(runs.length);
  for (;;) {
    let t = Number.POSITIVE_INFINITY;
    for (let k = 0; k < runs.length; k++) {
      const run = runs[k] as SampleBuffer;
      const row = next[k] as number;
      if (row < run.histogramLength) t = Math.min(t, run.histogramTimestamps[row] as number);
    }
    if (t === Number.POSITIVE_INFINITY) return;
    let winner: FloatHistogram | null = null;
    let winnerStart = 0;
    let withStart = false;
    for (let k = 0; k < runs.length; k++) {
      const run = runs[k] as SampleBuffer;
      const row = next[k] as number;
      if (row >= run.histogramLength || run.histogramTimestamps[row] !== t) continue;
      next[k] = row + 1;
      const h = run.histograms[row] as FloatHistogram;
      const start = run.histogramStartTimestamps === null ? 0 : (run.histogramStartTimestamps[row] as number);
      if (run.histogramStartTimestamps !== null) withStart = true;
      if (winner !== null) {
        const order = compareHistograms(h, winner);
        if (order < 0 || (order === 0 && start <= winnerStart)) continue;
      }
      winner = h;
      winnerStart = start;
    }
    if (winner !== null) appendHistogram(into, t, winner, winnerStart, withStart);
  }
}

/** Drops floats at timestamps that have a histogram too. */
function dropShadowed(into: SampleBuffer, floatFrom: number, histogramFrom: number): void {
  let kept = floatFrom;
  let from = floatFrom;
  const end = into.length;
  for (let h = histogramFrom; h <= into.histogramLength && from < end; h++) {
    const t = h < into.histogramLength ? (into.histogramTimestamps[h] as number) : Number.POSITIVE_INFINITY;
    const to = lowerBound(into.timestamps, from, end, t);
    if (kept !== from) moveRows(into, kept, from, to);
    kept += to - from;
    from = to < end && into.timestamps[to] === t ? to + 1 : to;
  }
  into.length = kept;
}

function moveRows(into: SampleBuffer, target: number, from: number, to: number): void {
  into.timestamps.copyWithin(target, from, to);
  into.values.copyWithin(target, from, to);
  into.startTimestamps?.copyWithin(target, from, to);
}
