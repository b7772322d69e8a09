/**
 * rate, increase and delta over `anchored` and `smoothed` selectors, and instant lookup through `smoothed`.
 *
 * Anchored: the value at the window's start is that of the last sample at or before it. Smoothed: the values at both ends
 * are interpolated between the samples around them. Nothing is extrapolated. A counter that fell between two samples is
 * taken to have restarted from zero at the first of them.
 */
import { type FloatHistogram, HINT_GAUGE } from '../../../model/histogram.ts';
import { isCustom } from '../../../model/histogram-buckets.ts';
import {
  addHistograms,
  detectReset,
  divideHistogram,
  HistogramWork,
  IncompatibleHistogramsError,
  scaleHistogram,
  subHistograms,
  withHint,
} from '../../../model/histogram-math.ts';
import { NOTES } from './notes.ts';
import { NONE, type Outcome, type RangeCall } from './range-call.ts';

/** First index in [lo, hi) whose time is above / at least `at`; hi where there is none. */
export function firstAfter(t: Float64Array | readonly number[], lo: number, hi: number, at: number): number {
  let i = lo;
  while (i < hi && (t[i] as number) <= at) i++;
  return i;
}

function firstAtOrAfter(t: Float64Array | readonly number[], lo: number, hi: number, at: number): number {
  let i = lo;
  while (i < hi && (t[i] as number) < at) i++;
  return i;
}

/** The samples an extended window works on: from the one that anchors its start to the one that settles its end. */
function extent(
  c: RangeCall,
  t: Float64Array | readonly number[],
  lo: number,
  hi: number,
): { first: number; last: number } | null {
  const smoothed = c.set.extended === 'smoothed';
  let last = hi - 1;
  const first = Math.max(lo, firstAfter(t, lo, last, c.begin) - 1);
  if (smoothed) last = firstAtOrAfter(t, lo, last, c.end);
  if ((t[last] as number) <= c.begin) return null;
  if (smoothed && (t[first] as number) > c.end) return null;
  return { first, last };
}

export function extendedRate(c: RangeCall, isCounter: boolean, isRate: boolean): Outcome {
  return c.floats > 0 ? extendedFloats(c, isCounter, isRate) : extendedHistograms(c, isCounter, isRate);
}

/** The value at `at` on the line between two samples; a counter that fell starts from zero. */
function interpolate(t1: number, v1: number, t2: number, v2: number, at: number, isCounter: boolean): number {
  const from = isCounter && v2 < v1 ? 0 : v1;
  return from + ((v2 - from) * (at - t1)) / (t2 - t1);
}

function extendedFloats(c: RangeCall, isCounter: boolean, isRate: boolean): Outcome {
  const { t, v } = c.s;
  const found = extent(c, t, c.lo, c.hi);
  if (found === null) return NONE;
  let { first, last } = found;
  const smoothed = c.set.extended === 'smoothed';
  const between = (i: number, at: number): number =>
    interpolate(t[i] as number, v[i] as number, t[i + 1] as number, v[i + 1] as number, at, isCounter);
  const left = smoothed && (t[first] as number) < c.begin ? between(first, c.begin) : (v[first] as number);
  const right = smoothed && last > c.lo && (t[last] as number) > c.end ? between(last - 1, c.end) : (v[last] as number);
  let total = right - left;
  if (isCounter) {
    if ((t[first] as number) <= c.begin) first++;
    if ((t[last] as number) >= c.end) last--;
    let prev = left;
    for (let i = first; i <= last; i++) {
      if ((v[i] as number) < prev) total += prev;
      prev = v[i] as number;
    }
    if (right < prev) total += prev;
  }
  return c.float(isRate ? total / (c.set.rangeMs / 1000) : total);
}

/** As `interpolate`, of histograms. Throws IncompatibleHistogramsError. */
function interpolateHistograms(c: RangeCall, older: number, at: number, isCounter: boolean): FloatHistogram {
  const a = c.s.h[older] as FloatHistogram;
  const b = c.s.h[older + 1] as FloatHistogram;
  const t1 = c.s.ht[older] as number;
  const t2 = c.s.ht[older + 1] as number;
  if (at === t1) return a;
  if (at === t2) return b;
  const fraction = (at - t1) / (t2 - t1);
  if (isCounter && detectReset(b, a)) return scaleHistogram(b, fraction);
  const work = new HistogramWork(b);
  if (work.add(a, -1).reconciled) c.notes.info(NOTES.mismatchedCustomBuckets('subtraction'));
  work.scale(fraction);
  if (work.add(a).reconciled) c.notes.info(NOTES.mismatchedCustomBuckets('addition'));
  return work.finish();
}

function extendedHistograms(c: RangeCall, isCounter: boolean, isRate: boolean): Outcome {
  const found = extent(c, c.s.ht, c.hlo, c.hhi);
  if (found === null) return NONE;
  const { first, last } = found;
  if (!checkLayouts(c, first, last, isCounter)) return NONE;
  try {
    return extendedHistogramsOf(c, first, last, isCounter, isRate);
  } catch (error) {
    if (!(error instanceof IncompatibleHistogramsError)) throw error;
    c.notes.warn(NOTES.mixedExponentialCustom(c.metric));
    return NONE;
  }
}

function checkLayouts(c: RangeCall, first: number, last: number, isCounter: boolean): boolean {
  const custom = isCustom(c.s.h[first] as FloatHistogram);
  for (let i = first; i <= last; i++) {
    const h = c.s.h[i] as FloatHistogram;
    if (isCustom(h) !== custom) {
      c.notes.warn(NOTES.mixedExponentialCustom(c.metric));
      return false;
    }
    if (isCounter && h.counterResetHint === HINT_GAUGE) c.notes.warn(NOTES.notCounter(c.metric));
  }
  return true;
}

function extendedHistogramsOf(c: RangeCall, first: number, last: number, isCounter: boolean, isRate: boolean): Outcome {
  const { ht, h } = c.s;
  const smoothed = c.set.extended === 'smoothed';
  const left =
    smoothed && (ht[first] as number) < c.begin
      ? interpolateHistograms(c, first, c.begin, isCounter)
      : (h[first] as FloatHistogram);
  const right =
    smoothed && last > c.hlo && (ht[last] as number) > c.end
      ? interpolateHistograms(c, last - 1, c.end, isCounter)
      : (h[last] as FloatHistogram);
  if (!isCounter && (left.counterResetHint !== HINT_GAUGE || right.counterResetHint !== HINT_GAUGE)) {
    c.notes.warn(NOTES.notGauge(c.metric));
  }
  const total = subHistograms(right, left);
  if (total.reconciled) c.notes.info(NOTES.mismatchedCustomBuckets('subtraction'));
  let result = total.result;
  if (isCounter) {
    for (const lost of lostToResets(c, first, last, left, right)) {
      const sum = addHistograms(result, lost);
      if (sum.reconciled) c.notes.info(NOTES.mismatchedCustomBuckets('addition'));
      result = sum.result;
    }
  }
  if (isRate) result = divideHistogram(result, c.set.rangeMs / 1000);
  return c.hist(withHint(result, HINT_GAUGE));
}

/** What the counter stood at before each reset between `left` and `right`. */
function lostToResets(
  c: RangeCall,
  first: number,
  last: number,
  left: FloatHistogram,
  right: FloatHistogram,
): FloatHistogram[] {
  const { ht, h } = c.s;
  const lost: FloatHistogram[] = [];
  let prev = left;
  let from = first + 1;
  const interpolatedLeft = c.set.extended === 'smoothed' && (ht[first] as number) < c.begin;
  if (interpolatedLeft && detectReset(h[first + 1] as FloatHistogram, h[first] as FloatHistogram)) {
    // `left` lies on the far side of this reset already.
    prev = h[first + 1] as FloatHistogram;
    from++;
  }
  // The last sample is `right` itself, or lies beyond it.
  if (from > last) return lost;
  for (let i = from; i < last; i++) {
    const h1 = h[i] as FloatHistogram;
    if (detectReset(h1, prev)) lost.push(prev);
    prev = h1;
  }
  if (detectReset(right, prev)) lost.push(prev);
  return lost;
}

/** The value of a `smoothed` instant selector: the sample at the time, or interpolated, or the last one carried on. */
export function smoothedInstant(c: RangeCall): Outcome {
  if (c.floats === 0 && c.histogramCount === 0) return NONE;
  if (c.mixed()) return NONE;
  if (c.floats > 0) {
    const { t, v } = c.s;
    const i = firstAtOrAfter(t, c.lo, c.hi, c.end);
    if (i < c.hi && t[i] === c.end) return c.float(v[i] as number);
    if (i === c.lo) return NONE;
    if (i === c.hi) return c.float(v[i - 1] as number);
    return c.float(interpolate(t[i - 1] as number, v[i - 1] as number, t[i] as number, v[i] as number, c.end, false));
  }
  const { ht, h } = c.s;
  const i = firstAtOrAfter(ht, c.hlo, c.hhi, c.end);
  if (i < c.hhi && ht[i] === c.end) return c.hist(h[i] as FloatHistogram);
  if (i === c.hlo) return NONE;
  if (i === c.hhi) return c.hist(h[i - 1] as FloatHistogram);
  if (isCustom(h[i - 1] as FloatHistogram) !== isCustom(h[i] as FloatHistogram)) {
    c.notes.warn(NOTES.mixedExponentialCustom(c.metric));
    return NONE;
  }
  try {
    const isCounter = (h[i - 1] as FloatHistogram).counterResetHint !== HINT_GAUGE;
    return c.hist(interpolateHistograms(c, i - 1, c.end, isCounter));
  } catch (error) {
    if (!(error instanceof IncompatibleHistogramsError)) throw error;
    c.notes.warn(NOTES.mixedExponentialCustom(c.metric));
    return NONE;
  }
}
