/**
 * Reading downsampled rows as samples: which column a PromQL function wants, and how a counter is told.
 *
 * - Plain selectors (`last`) see the last sample of each bucket at its own time, staleness markers included.
 * - `counter` gives samples from which rate, increase and their kin come out right across resets inside a bucket and across
 *   the borders of blocks of any resolution: the first raw sample of the block, then the last raw value of every bucket, and, where
 *   the bucket's true increase is not what these tell, a peak and a zero between them (a reset as Prometheus sees it).
 * - `sum`, `count`, `min`, `max`, `avg` give the bucket's aggregate at the time of its last sample; buckets with nothing but
 *   staleness markers are left out.
 * - `each` gives as many samples as there were, evenly over the part of the bucket that they lay in: for counting them. It takes the
 *   memory that the raw samples would.
 */
import { growSampleBuffer, type SampleBuffer } from '../../../contracts/sample-source.ts';
import type { AggregateBuffer } from './aggregate-chunk.ts';
import { isImplied } from './aggregate-chunk.ts';
import { clipRows } from './chunks.ts';

export type AggregateColumn = 'last' | 'counter' | 'count' | 'sum' | 'min' | 'max' | 'avg' | 'increase' | 'each';

/** The column from which a function is answered. Those that need the single samples get the last ones. */
export function columnFor(func: string): AggregateColumn {
  switch (func) {
    case 'rate':
    case 'increase':
    case 'irate':
    case 'resets':
      return 'counter';
    case 'min_over_time':
      return 'min';
    case 'max_over_time':
      return 'max';
    case 'sum_over_time':
      return 'sum';
    case 'count_over_time':
      return 'each';
    case 'avg_over_time':
      return 'avg';
    default:
      return 'last';
  }
}

/** Appends the rows with minT <= t <= maxT as samples of the column. */
export function appendAggregates(
  rows: AggregateBuffer,
  resolutionMs: number,
  column: AggregateColumn,
  minT: number,
  maxT: number,
  into: SampleBuffer,
): void {
  const from = into.length;
  growSampleBuffer(into, from + rows.length * (column === 'counter' ? 3 : 1) + 1);
  if (column === 'last') appendLast(rows, into);
  else if (column === 'counter') appendCounter(rows, into);
  else if (column === 'each') appendEach(rows, resolutionMs, minT, maxT, into);
  else appendColumn(rows, column, into);
  into.startTimestamps?.fill(0, from, into.length);
  clipRows(into, from, minT, maxT);
}

function appendLast(rows: AggregateBuffer, into: SampleBuffer): void {
  into.timestamps.set(rows.timestamps.subarray(0, rows.length), into.length);
  into.values.set(rows.last.subarray(0, rows.length), into.length);
  into.length += rows.length;
}

function appendColumn(
  rows: AggregateBuffer,
  column: Exclude<AggregateColumn, 'last' | 'counter' | 'each'>,
  into: SampleBuffer,
): void {
  let n = into.length;
  for (let i = 0; i < rows.length; i++) {
    const count = rows.count[i] as number;
    if (count === 0) continue;
    into.timestamps[n] = rows.timestamps[i] as number;
    into.values[n++] = column === 'avg' ? (rows.sum[i] as number) / count : (rows[column][i] as number);
  }
  into.length = n;
}

function appendEach(rows: AggregateBuffer, resolutionMs: number, minT: number, maxT: number, into: SampleBuffer): void {
  for (let i = 0; i < rows.length; i++) {
    const last = rows.timestamps[i] as number;
    const bucket = Math.floor(last / resolutionMs) * resolutionMs;
    // The first samples of a block began somewhere in their bucket.
    const first = i === 0 ? Math.max(bucket, Math.min(rows.firstT, last)) : bucket;
    if (last < minT || first > maxT) continue;
    // There were no two at one millisecond, so they fit.
    const count = Math.min(rows.count[i] as number, last - first + 1);
    const spacing = (last - first + 1) / count;
    growSampleBuffer(into, into.length + count);
    let n = into.length;
    for (let k = count - 1; k >= 0; k--) {
      into.timestamps[n] = last - Math.floor(k * spacing);
      into.values[n++] = 1;
    }
    into.length = n;
  }
}

function appendCounter(rows: AggregateBuffer, into: SampleBuffer): void {
  let n = into.length;
  let previous = rows.firstValue;
  let previousT = rows.firstT;
  // Growth in buckets that end with a NaN: it shows with the next value.
  let pending = 0;
  let begun = false;
  for (let i = 0; i < rows.length; i++) {
    const t = rows.timestamps[i] as number;
    const last = rows.last[i] as number;
    if (last !== last) {
      // A marker is moved as bytes.
      into.timestamps[n] = t;
      into.values.set(rows.last.subarray(i, i + 1), n++);
      previousT = t;
      pending += rows.increase[i] as number;
      continue;
    }
    if (!begun && rows.firstT < t) {
      into.timestamps[n] = rows.firstT;
      into.values[n++] = previous;
    }
    begun = true;
    const increase = (rows.increase[i] as number) + pending;
    const peak = increase - last + previous;
    pending = 0;
    if (!isImplied(increase, previous, last) && peak > 0 && t - previousT > 2) {
      into.timestamps[n] = t - 2;
      into.values[n++] = peak;
      into.timestamps[n] = t - 1;
      into.values[n++] = 0;
    }
    into.timestamps[n] = t;
    into.values[n++] = last;
    previous = last;
    previousT = t;
  }
  into.length = n;
}
