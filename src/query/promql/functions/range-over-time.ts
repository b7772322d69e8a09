/** The `..._over_time` functions, changes, resets, deriv, predict_linear and smoothing over one window. */

import { formatFloatFixed } from '../../../lib/go-float.ts';
import { kahanError } from '../../../lib/kahan.ts';
import type { FloatHistogram } from '../../../model/histogram.ts';
import { avgHistograms, detectReset, equalHistograms, sumHistograms } from '../../../model/histogram-math.ts';
import { NOTES } from './notes.ts';
import { quantileOf } from './quantile.ts';
import { NONE, type Outcome, type RangeCall } from './range-call.ts';
import { firstAfter } from './range-extended.ts';
import { startedAnew } from './range-rate.ts';

/** Functions of the floats alone: notes histograms that they pass over. False where there is no float. */
function floatsOnly(c: RangeCall): boolean {
  if (c.floats === 0) return false;
  if (c.histogramCount > 0) c.notes.info(NOTES.histogramIgnoredInMixedRange(c.metric));
  return true;
}

function combineHistograms(c: RangeCall, combine: typeof sumHistograms): Outcome {
  const { result, collision, reconciled } = combine(c.s.h.slice(c.hlo, c.hhi));
  if (result === null) {
    c.notes.warn(NOTES.mixedExponentialCustom(c.metric));
    return NONE;
  }
  if (collision) c.notes.warn(NOTES.counterResetCollision('aggregation'));
  if (reconciled) c.notes.info(NOTES.mismatchedCustomBuckets('aggregation'));
  return c.hist(result);
}

export function sumOverTime(c: RangeCall): Outcome {
  if (c.mixed()) return NONE;
  if (c.floats === 0) return c.histogramCount === 0 ? NONE : combineHistograms(c, sumHistograms);
  return c.float(sumRange(c.s.v, c.lo, c.hi));
}

/** Compensated sum of v[lo, hi). */
export function sumRange(v: Float64Array, lo: number, hi: number): number {
  let sum = 0;
  let lost = 0;
  for (let i = lo; i < hi; i++) {
    const x = v[i] as number;
    const t = sum + x;
    lost += kahanError(x, sum, t);
    sum = t;
  }
  return sum === Number.POSITIVE_INFINITY || sum === Number.NEGATIVE_INFINITY ? sum : sum + lost;
}

export function avgOverTime(c: RangeCall): Outcome {
  if (c.mixed()) return NONE;
  if (c.floats === 0) return c.histogramCount === 0 ? NONE : combineHistograms(c, avgHistograms);
  return c.float(avgRange(c.s.v, c.lo, c.hi));
}

/** Mean of v[lo, hi), not empty. Once the sum would overflow it goes on as a running mean. */
export function avgRange(v: Float64Array, lo: number, hi: number): number {
  let sum = v[lo] as number;
  let lost = 0;
  let i = lo + 1;
  for (; i < hi; i++) {
    const x = v[i] as number;
    const t = sum + x;
    if (t === Number.POSITIVE_INFINITY || t === Number.NEGATIVE_INFINITY) break;
    lost += kahanError(x, sum, t);
    sum = t;
  }
  let count = i - lo;
  if (i === hi) return sum / count + lost / count;
  let mean = sum / count;
  lost /= count;
  for (; i < hi; i++) {
    count++;
    const q = (count - 1) / count;
    const before = q * mean;
    const inc = (v[i] as number) / count;
    mean = before + inc;
    lost = Math.abs(mean) === Number.POSITIVE_INFINITY ? 0 : q * lost + kahanError(inc, before, mean);
  }
  return mean + lost;
}

export function countOverTime(c: RangeCall): Outcome {
  const count = c.floats + c.histogramCount;
  return count === 0 ? NONE : c.float(count);
}

/** present_over_time and absent_over_time: the engine turns the latter around. */
export function presentOverTime(c: RangeCall): Outcome {
  return c.floats + c.histogramCount === 0 ? NONE : c.float(1);
}

export function firstOverTime(c: RangeCall): Outcome {
  const { t, v, ht, h } = c.s;
  if (c.floats > 0 && (c.histogramCount === 0 || (t[c.lo] as number) < (ht[c.hlo] as number))) {
    return c.float(v[c.lo] as number);
  }
  return c.histogramCount > 0 ? c.hist(h[c.hlo] as FloatHistogram) : NONE;
}

export function lastOverTime(c: RangeCall): Outcome {
  const { t, v, ht, h } = c.s;
  if (c.floats > 0 && (c.histogramCount === 0 || (t[c.hi - 1] as number) > (ht[c.hhi - 1] as number))) {
    return c.float(v[c.hi - 1] as number);
  }
  return c.histogramCount > 0 ? c.hist(h[c.hhi - 1] as FloatHistogram) : NONE;
}

export function tsOfFirstOverTime(c: RangeCall): Outcome {
  if (c.floats + c.histogramCount === 0) return NONE;
  const f = c.floats > 0 ? (c.s.t[c.lo] as number) : Number.POSITIVE_INFINITY;
  const h = c.histogramCount > 0 ? (c.s.ht[c.hlo] as number) : Number.POSITIVE_INFINITY;
  return c.float(Math.min(f, h) / 1000);
}

export function tsOfLastOverTime(c: RangeCall): Outcome {
  if (c.floats + c.histogramCount === 0) return NONE;
  const f = c.floats > 0 ? (c.s.t[c.hi - 1] as number) : Number.NEGATIVE_INFINITY;
  const h = c.histogramCount > 0 ? (c.s.ht[c.hhi - 1] as number) : Number.NEGATIVE_INFINITY;
  return c.float(Math.max(f, h) / 1000);
}

export function maxOverTime(c: RangeCall): Outcome {
  if (!floatsOnly(c)) return NONE;
  const { v } = c.s;
  let best = v[c.lo] as number;
  for (let i = c.lo + 1; i < c.hi; i++) if ((v[i] as number) > best || best !== best) best = v[i] as number;
  return c.float(best);
}

export function minOverTime(c: RangeCall): Outcome {
  if (!floatsOnly(c)) return NONE;
  const { v } = c.s;
  let best = v[c.lo] as number;
  for (let i = c.lo + 1; i < c.hi; i++) if ((v[i] as number) < best || best !== best) best = v[i] as number;
  return c.float(best);
}

/** Of several equal extremes the last one's time. */
function tsOfExtreme(c: RangeCall, sign: 1 | -1): Outcome {
  if (!floatsOnly(c)) return NONE;
  const { t, v } = c.s;
  let at = c.lo;
  for (let i = c.lo + 1; i < c.hi; i++) {
    const best = v[at] as number;
    if (sign * (v[i] as number) >= sign * best || best !== best) at = i;
  }
  return c.float((t[at] as number) / 1000);
}

export function tsOfMaxOverTime(c: RangeCall): Outcome {
  return tsOfExtreme(c, 1);
}

export function tsOfMinOverTime(c: RangeCall): Outcome {
  return tsOfExtreme(c, -1);
}

/** Welford's variance with compensated sums. */
export function varianceRange(v: Float64Array, lo: number, hi: number): number {
  let count = 0;
  let mean = 0;
  let meanLost = 0;
  let aux = 0;
  let auxLost = 0;
  for (let i = lo; i < hi; i++) {
    const x = v[i] as number;
    count++;
    const d = x - (mean + meanLost);
    const m = mean + d / count;
    meanLost += kahanError(d / count, mean, m);
    mean = m;
    const inc = d * (x - (mean + meanLost));
    const a = aux + inc;
    auxLost += kahanError(inc, aux, a);
    aux = a;
  }
  return (aux + auxLost) / count;
}

export function stdvarOverTime(c: RangeCall): Outcome {
  return floatsOnly(c) ? c.float(varianceRange(c.s.v, c.lo, c.hi)) : NONE;
}

export function stddevOverTime(c: RangeCall): Outcome {
  return floatsOnly(c) ? c.float(Math.sqrt(varianceRange(c.s.v, c.lo, c.hi))) : NONE;
}

/** Reused by whoever needs the window's values in another order; a typed array per window would cost more than sorting. */
let scratch = new Float64Array(256);

/** The window's floats, copied to the start of the scratch array. */
function copyWindow(c: RangeCall): Float64Array {
  const n = c.floats;
  if (scratch.length < n) scratch = new Float64Array(n * 2);
  for (let i = 0; i < n; i++) scratch[i] = c.s.v[c.lo + i] as number;
  return scratch;
}

export function quantileOverTime(c: RangeCall): Outcome {
  if (c.floats === 0) return NONE;
  const q = c.arg(0);
  if (!(q >= 0 && q <= 1)) c.notes.warn(NOTES.invalidQuantile(q));
  floatsOnly(c);
  return c.float(quantileOf(q, copyWindow(c), c.floats));
}

/** Median absolute deviation. */
export function madOverTime(c: RangeCall): Outcome {
  if (!floatsOnly(c)) return NONE;
  const values = copyWindow(c);
  const n = c.floats;
  for (let i = 0; i < n; i++) if (values[i] !== values[i]) return c.float(Number.NaN);
  const median = quantileOf(0.5, values, n);
  for (let i = 0; i < n; i++) values[i] = Math.abs((values[i] as number) - median);
  return c.float(quantileOf(0.5, values, n));
}

export function deriv(c: RangeCall): Outcome {
  if (!enoughForTrend(c)) return NONE;
  const line = regression(c, c.s.t[c.lo] as number);
  return c.float(line.slope);
}

export function predictLinear(c: RangeCall): Outcome {
  if (!enoughForTrend(c)) return NONE;
  const line = regression(c, c.time);
  return c.float(line.slope * c.arg(0) + line.intercept);
}

function enoughForTrend(c: RangeCall): boolean {
  if (c.floats > 0 && c.histogramCount > 0) c.notes.info(NOTES.histogramIgnoredInMixedRange(c.metric));
  return c.floats >= 2;
}

/** Least squares over the window's floats; x in seconds from `origin`. */
function regression(c: RangeCall, origin: number): { slope: number; intercept: number } {
  const { t, v } = c.s;
  const first = v[c.lo] as number;
  let constant = true;
  let sumX = 0;
  let lostX = 0;
  let sumY = 0;
  let lostY = 0;
  let sumXY = 0;
  let lostXY = 0;
  let sumX2 = 0;
  let lostX2 = 0;
  for (let i = c.lo; i < c.hi; i++) {
    const x = ((t[i] as number) - origin) / 1000;
    const y = v[i] as number;
    if (y !== first && i > c.lo) constant = false;
    let s = sumX + x;
    lostX += kahanError(x, sumX, s);
    sumX = s;
    s = sumY + y;
    lostY += kahanError(y, sumY, s);
    sumY = s;
    s = sumXY + x * y;
    lostXY += kahanError(x * y, sumXY, s);
    sumXY = s;
    s = sumX2 + x * x;
    lostX2 += kahanError(x * x, sumX2, s);
    sumX2 = s;
  }
  if (constant) {
    return Math.abs(first) === Number.POSITIVE_INFINITY
      ? { slope: Number.NaN, intercept: Number.NaN }
      : { slope: 0, intercept: first };
  }
  const n = c.floats;
  const x = sumX + lostX;
  const y = sumY + lostY;
  const slope = (sumXY + lostXY - (x * y) / n) / (sumX2 + lostX2 - (x * x) / n);
  return { slope, intercept: y / n - (slope * x) / n };
}

export function doubleExponentialSmoothing(c: RangeCall): Outcome {
  if (c.floats + c.histogramCount === 0) return NONE;
  const smoothing = c.arg(0);
  const trend = c.arg(1);
  if (smoothing <= 0 || smoothing >= 1) {
    c.fail(`invalid smoothing factor. Expected: 0 < sf < 1, got: ${formatFloatFixed(smoothing)}`);
  }
  if (trend <= 0 || trend >= 1) {
    c.fail(`invalid trend factor. Expected: 0 < tf < 1, got: ${formatFloatFixed(trend)}`);
  }
  if (!enoughForTrend(c)) return NONE;
  const { v } = c.s;
  let before = 0;
  let level = v[c.lo] as number;
  let slope = (v[c.lo + 1] as number) - level;
  for (let i = c.lo + 1; i < c.hi; i++) {
    if (i > c.lo + 1) slope = trend * (level - before) + (1 - trend) * slope;
    const next = smoothing * (v[i] as number) + (1 - smoothing) * (level + slope);
    before = level;
    level = next;
  }
  return c.float(level);
}

/** Walks the window's samples of both kinds in order, counting the neighbours that differ. */
function countSteps(
  c: RangeCall,
  floatsDiffer: (i: number, prev: number) => boolean,
  histogramsDiffer: (i: number, prev: number) => boolean,
): Outcome {
  const { t, ht } = c.s;
  let f = c.lo;
  let g = c.hlo;
  if (c.floats + c.histogramCount === 0) return NONE;
  if (c.set.extended === 'anchored') {
    const start = anchor(c);
    if (start === null) return NONE;
    f = start.float;
    g = start.histogram;
  }
  let count = 0;
  let prev = -1;
  let prevIsFloat = false;
  while (f < c.hi || g < c.hhi) {
    const isFloat = g >= c.hhi || (f < c.hi && (t[f] as number) < (ht[g] as number));
    const i = isFloat ? f++ : g++;
    if (prev >= 0) {
      if (isFloat !== prevIsFloat) count++;
      else if (isFloat ? floatsDiffer(i, prev) : histogramsDiffer(i, prev)) count++;
    }
    prev = i;
    prevIsFloat = isFloat;
  }
  return c.float(count);
}

/** Where an anchored walk starts: at the last sample at or before the window's start. Null where nothing lies inside. */
function anchor(c: RangeCall): { float: number; histogram: number } | null {
  const { t, ht } = c.s;
  const float = firstAfter(t, c.lo, c.hi, c.begin);
  const histogram = firstAfter(ht, c.hlo, c.hhi, c.begin);
  if (float === c.hi && histogram === c.hhi) return null;
  const floatT = float > c.lo ? (t[float - 1] as number) : Number.NEGATIVE_INFINITY;
  const histogramT = histogram > c.hlo ? (ht[histogram - 1] as number) : Number.NEGATIVE_INFINITY;
  if (floatT === histogramT) return { float, histogram };
  return floatT > histogramT ? { float: float - 1, histogram } : { float, histogram: histogram - 1 };
}

export function changes(c: RangeCall): Outcome {
  const { v, h } = c.s;
  return countSteps(
    c,
    (i, prev) => {
      const a = v[prev] as number;
      const b = v[i] as number;
      return a !== b && !(a !== a && b !== b);
    },
    (i, prev) => !equalHistograms(h[i] as FloatHistogram, h[prev] as FloatHistogram),
  );
}

export function resets(c: RangeCall): Outcome {
  const { t, v, st, ht, h, hst } = c.s;
  return countSteps(
    c,
    (i, prev) =>
      (v[i] as number) < (v[prev] as number) ||
      (st !== null && startedAnew(st[prev] as number, t[prev] as number, st[i] as number, t[i] as number)),
    (i, prev) =>
      (hst !== null && startedAnew(hst[prev] as number, ht[prev] as number, hst[i] as number, ht[i] as number)) ||
      detectReset(h[i] as FloatHistogram, h[prev] as FloatHistogram),
  );
}
