/** `x[5m] anchored` and `smoothed` shown as they are: the window's samples with a value at each end of it. */
import { PromqlEvalError, type RawSeries } from '../../../contracts/leaf-source.ts';

export function extendRaw(s: RawSeries, begin: number, end: number, smoothed: boolean): RawSeries {
  if (s.histograms.length > 0) {
    throw new PromqlEvalError(`${smoothed ? 'smoothed' : 'anchored'} modifier is not supported with histograms`);
  }
  const { timestamps: t, values: v } = s;
  const n = t.length;
  let last = n - 1;
  let first = 0;
  while (first < last && (t[first] as number) <= begin) first++;
  first = Math.max(0, first - 1);
  if (smoothed) {
    let i = 0;
    while (i < last && (t[i] as number) < end) i++;
    last = i;
  }
  if ((t[last] as number) <= begin) return { ...s, timestamps: new Float64Array(0), values: new Float64Array(0) };
  const line = (i: number, at: number): number => {
    const a = v[i] as number;
    return a + (((v[i + 1] as number) - a) * (at - (t[i] as number))) / ((t[i + 1] as number) - (t[i] as number));
  };
  const left = smoothed && (t[first] as number) < begin ? line(first, begin) : (v[first] as number);
  const right = smoothed && last > 0 && (t[last] as number) > end ? line(last - 1, end) : (v[last] as number);
  if ((t[first] as number) <= begin) first++;
  if ((t[last] as number) >= end) last--;
  const count = Math.max(0, last - first + 1);
  const timestamps = new Float64Array(count + 2);
  const values = new Float64Array(count + 2);
  timestamps[0] = begin;
  values[0] = left;
  timestamps.set(t.subarray(first, first + count), 1);
  values.set(v.subarray(first, first + count), 1);
  timestamps[count + 1] = end;
  values[count + 1] = right;
  return { ...s, timestamps, values, startTimestamps: null };
}
