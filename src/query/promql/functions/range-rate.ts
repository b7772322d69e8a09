/**
 * rate, increase, delta, irate and idelta over one window.
 *
 * The increase seen between the first and the last sample is extrapolated to the whole window where samples come close
 * to its ends, and by half a sample interval where they do not; a counter is never extrapolated below zero. A start
 * timestamp inside the window says better: there the counter was zero. The extended selectors do not extrapolate: they
 * take (anchored) or interpolate (smoothed) values at the window's ends from samples beyond it (range-extended.ts).
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
  withHint,
} from '../../../model/histogram-math.ts';
import { NOTES } from './notes.ts';
import { NONE, type Outcome, type RangeCall } from './range-call.ts';
import { extendedRate } from './range-extended.ts';

export function rate(c: RangeCall): Outcome {
  return extrapolated(c, true, true);
}

export function increase(c: RangeCall): Outcome {
  return extrapolated(c, true, false);
}

export function delta(c: RangeCall): Outcome {
  return extrapolated(c, false, false);
}

export function irate(c: RangeCall): Outcome {
  return lastTwo(c, true);
}

export function idelta(c: RangeCall): Outcome {
  return lastTwo(c, false);
}

/** Whether the start timestamps of two neighbouring samples say that the counter restarted between them. */
export function startedAnew(prevStart: number, prevT: number, start: number, t: number): boolean {
  // Unknown, or invalid, or "unknown" in the sense of OTLP (start = sample time).
  if (start === 0 || start >= t || start < prevT) return false;
  if (start > prevT) return true;
  // It points exactly at the previous sample: a delta series, unless that one's own start is unknown or invalid.
  return prevStart !== 0 && prevStart < prevT;
}

function overlaps(prevStart: number, prevT: number, start: number): boolean {
  return start !== 0 && start < prevT && start !== prevStart;
}

function extrapolated(c: RangeCall, isCounter: boolean, isRate: boolean): Outcome {
  if (c.mixed()) return NONE;
  if (c.floats + c.histogramCount === 0) return NONE;
  if (c.set.extended !== null) return extendedRate(c, isCounter, isRate);
  return c.floats > 0 ? extrapolatedFloats(c, isCounter, isRate) : extrapolatedHistograms(c, isCounter, isRate);
}

function extrapolatedFloats(c: RangeCall, isCounter: boolean, isRate: boolean): Outcome {
  const { t, v } = c.s;
  const first = c.lo;
  const last = c.hi - 1;
  let total = (v[last] as number) - (v[first] as number);
  const starts = isCounter ? c.s.st : null;
  if (isCounter) {
    for (let i = first + 1; i <= last; i++) {
      const prev = v[i - 1] as number;
      if (
        (v[i] as number) < prev ||
        (starts !== null &&
          startedAnew(starts[i - 1] as number, t[i - 1] as number, starts[i] as number, t[i] as number))
      ) {
        total += prev;
      }
    }
    if (starts !== null) noteOverlap(c, starts, t, first, last);
  }
  const start = starts === null ? 0 : (starts[first] as number);
  const scale = extrapolation(c, {
    firstT: t[first] as number,
    lastT: t[last] as number,
    intervals: last - first,
    firstValue: v[first] as number,
    total,
    start,
    isCounter,
    isRate,
  });
  if (scale === null) return NONE;
  if (scale.fromStart) total += v[first] as number;
  return c.float(total * scale.factor);
}

function noteOverlap(
  c: RangeCall,
  starts: Float64Array | readonly number[],
  t: Float64Array | readonly number[],
  first: number,
  last: number,
): void {
  for (let i = first + 1; i <= last; i++) {
    if (overlaps(starts[i - 1] as number, t[i - 1] as number, starts[i] as number)) {
      c.notes.warn(NOTES.startTimeOverlap(c.metric));
      return;
    }
  }
}

function extrapolatedHistograms(c: RangeCall, isCounter: boolean, isRate: boolean): Outcome {
  const { ht, h } = c.s;
  const first = c.hlo;
  const last = c.hhi - 1;
  const starts = isCounter ? c.s.hst : null;
  let total: FloatHistogram | null = null;
  if (last > first) {
    total = histogramIncrease(c, isCounter);
    if (total === null) return NONE;
  }
  const scale = extrapolation(c, {
    firstT: ht[first] as number,
    lastT: ht[last] as number,
    intervals: last - first,
    firstValue: (h[first] as FloatHistogram).count,
    total: total === null ? 0 : total.count,
    start: starts === null ? 0 : (starts[first] as number),
    isCounter,
    isRate,
  });
  if (scale === null) return NONE;
  if (scale.fromStart) {
    const base = h[first] as FloatHistogram;
    if (total === null) total = base;
    else {
      const sum = combine(c, () => addHistograms(total as FloatHistogram, base), 'addition');
      if (sum === null) return NONE;
      total = sum;
    }
  }
  return total === null ? NONE : c.hist(scaleHistogram(total, scale.factor));
}

interface Increase {
  firstT: number;
  lastT: number;
  /** Samples less one. */
  intervals: number;
  /** The first sample's value (of a histogram: its count). */
  firstValue: number;
  total: number;
  /** The first sample's start timestamp, 0 = unknown. */
  start: number;
  isCounter: boolean;
  isRate: boolean;
}

/** What the increase between first and last sample is multiplied with; null where the window does not say enough. */
function extrapolation(c: RangeCall, x: Increase): { factor: number; fromStart: boolean } | null {
  let toStart = (x.firstT - c.begin) / 1000;
  let toEnd = (c.end - x.lastT) / 1000;
  let sampled = (x.lastT - x.firstT) / 1000;
  const average = x.intervals > 0 ? sampled / x.intervals : 0;
  const threshold = average * 1.1;
  // The window is open at its left end, so that a counter that started exactly there started outside.
  const fromStart = x.isCounter && x.start !== 0 && x.start > c.begin && x.start < x.firstT;
  if (fromStart) {
    toStart = 0;
    sampled = (x.lastT - x.start) / 1000;
  } else if (x.intervals === 0) {
    return null;
  } else {
    if (toStart >= threshold) toStart = average / 2;
    if (x.isCounter && x.total > 0 && x.firstValue >= 0) {
      const toZero = sampled * (x.firstValue / x.total);
      if (toZero < toStart) toStart = toZero;
    }
  }
  if (toEnd >= threshold) toEnd = average / 2;
  let factor = sampled === 0 ? 1 : (sampled + toStart + toEnd) / sampled;
  if (x.isRate) factor /= c.set.rangeMs / 1000;
  return { factor, fromStart };
}

/** Last less first plus what resets took away; null (with a note) where the histograms do not go together. */
function histogramIncrease(c: RangeCall, isCounter: boolean): FloatHistogram | null {
  const { h, ht } = c.s;
  const starts = isCounter ? c.s.hst : null;
  const from = c.hlo;
  const to = c.hhi - 1;
  const last = h[to] as FloatHistogram;
  let first = h[from] as FloatHistogram;
  if (isCounter && (first.counterResetHint === HINT_GAUGE || last.counterResetHint === HINT_GAUGE)) {
    c.notes.warn(NOTES.notCounter(c.metric));
  }
  const restarted = (i: number, prev: FloatHistogram): boolean =>
    (starts !== null &&
      startedAnew(starts[i - 1] as number, ht[i - 1] as number, starts[i] as number, ht[i] as number)) ||
    detectReset(h[i] as FloatHistogram, prev);
  if (isCounter && restarted(from + 1, first)) {
    // The first sample says nothing then, so that its layout must not matter either.
    first = emptyLike(h[from + 1] as FloatHistogram);
  }
  const custom = isCustom(first);
  let mixed = isCustom(last) !== custom;
  for (let i = from + 1; i < to && isCounter && !mixed; i++) {
    const h1 = h[i] as FloatHistogram;
    if (h1.counterResetHint === HINT_GAUGE) c.notes.warn(NOTES.notCounter(c.metric));
    if (isCustom(h1) !== custom) mixed = true;
  }
  if (mixed) {
    c.notes.warn(NOTES.mixedExponentialCustom(c.metric));
    return null;
  }
  const work = new HistogramWork(last);
  if (work.add(first, -1).reconciled) c.notes.info(NOTES.mismatchedCustomBuckets('subtraction'));
  if (isCounter) {
    if (starts !== null) noteOverlap(c, starts, ht, from, to);
    let prev = first;
    for (let i = from + 1; i <= to; i++) {
      if (restarted(i, prev) && work.add(prev).reconciled) c.notes.info(NOTES.mismatchedCustomBuckets('addition'));
      prev = h[i] as FloatHistogram;
    }
  } else if ((h[from] as FloatHistogram).counterResetHint !== HINT_GAUGE || last.counterResetHint !== HINT_GAUGE) {
    c.notes.warn(NOTES.notGauge(c.metric));
  }
  work.hint = HINT_GAUGE;
  return work.finish();
}

function emptyLike(h: FloatHistogram): FloatHistogram {
  return {
    ...h,
    zeroThreshold: 0,
    zeroCount: 0,
    count: 0,
    sum: 0,
    positiveSpans: [],
    positiveBuckets: [],
    negativeSpans: [],
    negativeBuckets: [],
    counterResetHint: 0,
  };
}

/** Runs an addition or subtraction, turning what can go wrong into notes; null where there is no result. */
export function combine(
  c: RangeCall,
  run: () => { result: FloatHistogram; reconciled: boolean },
  operation: 'addition' | 'subtraction',
): FloatHistogram | null {
  try {
    const { result, reconciled } = run();
    if (reconciled) c.notes.info(NOTES.mismatchedCustomBuckets(operation));
    return result;
  } catch (error) {
    if (!(error instanceof IncompatibleHistogramsError)) throw error;
    c.notes.warn(NOTES.mixedExponentialCustom(c.metric));
    return null;
  }
}

/** The last two samples of the window, of either kind. */
function lastTwo(c: RangeCall, isRate: boolean): Outcome {
  if (c.floats + c.histogramCount < 2) return NONE;
  let f = c.hi - 1;
  let g = c.hhi - 1;
  const floatIsLater = (): boolean => f >= c.lo && (g < c.hlo || (c.s.t[f] as number) > (c.s.ht[g] as number));
  const newerIsFloat = floatIsLater();
  const newer = newerIsFloat ? f-- : g--;
  const olderIsFloat = floatIsLater();
  const older = olderIsFloat ? f : g;
  if (newerIsFloat !== olderIsFloat) {
    c.notes.warn(NOTES.mixedFloatsHistograms(c.metric));
    return NONE;
  }
  return newerIsFloat ? lastTwoFloats(c, older, newer, isRate) : lastTwoHistograms(c, older, newer, isRate);
}

function lastTwoFloats(c: RangeCall, older: number, newer: number, isRate: boolean): Outcome {
  const { t, v, st } = c.s;
  const interval = (t[newer] as number) - (t[older] as number);
  if (interval === 0) return NONE;
  const a = v[older] as number;
  const b = v[newer] as number;
  const restarted =
    isRate &&
    (b < a ||
      (st !== null && startedAnew(st[older] as number, t[older] as number, st[newer] as number, t[newer] as number)));
  const value = restarted ? b : b - a;
  return c.float(isRate ? value / (interval / 1000) : value);
}

function lastTwoHistograms(c: RangeCall, older: number, newer: number, isRate: boolean): Outcome {
  const { ht, hst } = c.s;
  const interval = (ht[newer] as number) - (ht[older] as number);
  if (interval === 0) return NONE;
  const a = c.s.h[older] as FloatHistogram;
  const b = c.s.h[newer] as FloatHistogram;
  const gauges = (a.counterResetHint === HINT_GAUGE ? 1 : 0) + (b.counterResetHint === HINT_GAUGE ? 1 : 0);
  if (isRate && gauges > 0) c.notes.warn(NOTES.notCounter(c.metric));
  if (!isRate && gauges < 2) c.notes.warn(NOTES.notGauge(c.metric));
  const restarted =
    isRate &&
    ((hst !== null &&
      startedAnew(hst[older] as number, ht[older] as number, hst[newer] as number, ht[newer] as number)) ||
      detectReset(b, a));
  let result: FloatHistogram | null = b;
  if (!restarted) {
    result = combine(
      c,
      () => {
        const work = new HistogramWork(b);
        const { reconciled } = work.add(a, -1);
        return { result: work.finish(), reconciled };
      },
      'subtraction',
    );
    if (result === null) return NONE;
  }
  const gauge = withHint(new HistogramWork(result).finish(), HINT_GAUGE);
  return c.hist(isRate ? divideHistogram(gauge, interval / 1000) : gauge);
}
