/**
 * Every function that takes a range, by name, and the instant look-ups that a leaf can answer beside them. All that is
 * particular to a name is here: whether the metric's name survives, which extended selectors it accepts.
 */
import type { RangeCall, RangeFunction } from './range-call.ts';
import { NONE, type Outcome } from './range-call.ts';
import { smoothedInstant } from './range-extended.ts';
import * as overTime from './range-over-time.ts';
import { delta, idelta, increase, irate, rate } from './range-rate.ts';

export const RANGE_FUNCTIONS: ReadonlyMap<string, RangeFunction> = new Map<string, RangeFunction>([
  ['rate', rate],
  ['increase', increase],
  ['delta', delta],
  ['irate', irate],
  ['idelta', idelta],
  ['sum_over_time', overTime.sumOverTime],
  ['avg_over_time', overTime.avgOverTime],
  ['count_over_time', overTime.countOverTime],
  ['min_over_time', overTime.minOverTime],
  ['max_over_time', overTime.maxOverTime],
  ['stddev_over_time', overTime.stddevOverTime],
  ['stdvar_over_time', overTime.stdvarOverTime],
  ['quantile_over_time', overTime.quantileOverTime],
  ['mad_over_time', overTime.madOverTime],
  ['first_over_time', overTime.firstOverTime],
  ['last_over_time', overTime.lastOverTime],
  ['present_over_time', overTime.presentOverTime],
  ['absent_over_time', overTime.presentOverTime],
  ['ts_of_first_over_time', overTime.tsOfFirstOverTime],
  ['ts_of_last_over_time', overTime.tsOfLastOverTime],
  ['ts_of_min_over_time', overTime.tsOfMinOverTime],
  ['ts_of_max_over_time', overTime.tsOfMaxOverTime],
  ['changes', overTime.changes],
  ['resets', overTime.resets],
  ['deriv', overTime.deriv],
  ['predict_linear', overTime.predictLinear],
  ['double_exponential_smoothing', overTime.doubleExponentialSmoothing],
  ['holt_winters', overTime.doubleExponentialSmoothing],
]);

/** What an instant selector can be asked for: its value, when that was sampled, when its counting started. */
export const INSTANT_FUNCTIONS: ReadonlyMap<string, RangeFunction> = new Map<string, RangeFunction>([
  ['instant', instant],
  ['timestamp', timestamp],
  ['start_timestamp', startTimestamp],
  ['info', infoTimestamp],
]);

/** They return samples as they are, so that the name stays true. */
export function keepsName(func: string): boolean {
  return func === 'last_over_time' || func === 'first_over_time' || func === 'instant' || func === 'info';
}

export const ANCHORED_FUNCTIONS = ['changes', 'delta', 'increase', 'rate', 'resets'];
export const SMOOTHED_FUNCTIONS = ['delta', 'increase', 'rate'];

/** Index of the newest sample of the look-back, of either kind; a staleness marker counts as none. */
function instant(c: RangeCall): Outcome {
  if (c.set.extended === 'smoothed') return smoothedInstant(c);
  const f = c.hi - 1;
  const g = c.hhi - 1;
  const isFloat = newestIsFloat(c);
  if (isFloat === null) return NONE;
  return isFloat ? c.float(c.s.v[f] as number) : c.hist(c.s.h[g] as NonNullable<(typeof c.s.h)[number]>);
}

function newestIsFloat(c: RangeCall): boolean | null {
  const f = c.hi - 1;
  const g = c.hhi - 1;
  if (f < c.lo && g < c.hlo) return null;
  if (g < c.hlo || (f >= c.lo && (c.s.t[f] as number) > (c.s.ht[g] as number))) return c.isStaleAt(f) ? null : true;
  return false;
}

function timestamp(c: RangeCall): Outcome {
  const isFloat = newestIsFloat(c);
  if (isFloat === null) return NONE;
  return c.float((isFloat ? (c.s.t[c.hi - 1] as number) : (c.s.ht[c.hhi - 1] as number)) / 1000);
}

/** 0 where the sample came without one. */
function startTimestamp(c: RangeCall): Outcome {
  const isFloat = newestIsFloat(c);
  if (isFloat === null) return NONE;
  const start = isFloat ? (c.s.st?.[c.hi - 1] ?? 0) : (c.s.hst?.[c.hhi - 1] ?? 0);
  return c.float(start / 1000);
}

/** For info(): which of several info series is the newer one. */
function infoTimestamp(c: RangeCall): Outcome {
  const isFloat = newestIsFloat(c);
  if (isFloat === null) return NONE;
  if (!isFloat) c.fail(`this should be an info metric, with float samples: ${c.seriesText()}`);
  return c.float(c.s.t[c.hi - 1] as number);
}
