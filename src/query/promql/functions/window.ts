/**
 * WindowSet and SeriesWindow: one series seen through the windows of every step of a grid.
 *
 * A window is left-open and right-closed: (begin, end]. The samples of step i are the index ranges [lo[i], hi[i]) of the
 * float column and [hlo[i], hhi[i]) of the histogram column, found for all steps in one pass by two moving ends. The
 * extended selectors look further: `anchored` back by the look-back, `smoothed` by the look-back on both sides; begin and
 * end stay those of the plain window.
 */
import type { LeafPlan } from '../../../contracts/leaf-source.ts';
import type { SampleBuffer } from '../../../contracts/sample-source.ts';
import type { FloatHistogram } from '../../../model/histogram.ts';
import { EMPTY_LABELS, type Labels } from '../../../model/labels.ts';
import { isStale } from '../../../model/stale.ts';

/** The windows of a grid; the same for all series of a leaf. */
export interface WindowSet {
  steps: number;
  /** Evaluation time by step, ms: what time() is. */
  time: Float64Array;
  /** The window's bounds by step, ms, `@` and offset applied. */
  begin: Float64Array;
  end: Float64Array;
  /** How far samples are looked for beyond the bounds, ms. */
  before: number;
  after: number;
  rangeMs: number;
  extended: 'anchored' | 'smoothed' | null;
}

export function windowsOfPlan(plan: LeafPlan): WindowSet {
  const steps = plan.stepMs === 0 ? 1 : Math.floor((plan.endMs - plan.startMs) / plan.stepMs) + 1;
  const smoothed = plan.extended === 'smoothed';
  // An instant selector is a window as long as the look-back; smoothed it also looks ahead.
  const range = plan.rangeMs === 0 ? plan.lookbackMs : plan.rangeMs;
  return newWindowSet(
    { startMs: plan.startMs, stepMs: plan.stepMs, steps: Math.max(0, steps) },
    { atMs: plan.atMs, offsetMs: plan.offsetMs, rangeMs: range, extended: plan.extended },
    plan.rangeMs > 0 && plan.extended !== null ? plan.lookbackMs : 0,
    smoothed ? plan.lookbackMs : 0,
  );
}

export function newWindowSet(
  grid: { startMs: number; stepMs: number; steps: number },
  shape: { atMs: number | null; offsetMs: number; rangeMs: number; extended: 'anchored' | 'smoothed' | null },
  before: number,
  after: number,
): WindowSet {
  // One buffer for all three: each of its own would be a trip to the allocator.
  const all = new ArrayBuffer(grid.steps * 24);
  const time = new Float64Array(all, 0, grid.steps);
  const begin = new Float64Array(all, grid.steps * 8, grid.steps);
  const end = new Float64Array(all, grid.steps * 16, grid.steps);
  for (let i = 0; i < grid.steps; i++) {
    const t = grid.startMs + i * grid.stepMs;
    const to = (shape.atMs ?? t) - shape.offsetMs;
    time[i] = t;
    end[i] = to;
    begin[i] = to - shape.rangeMs;
  }
  return { steps: grid.steps, time, begin, end, before, after, rangeMs: shape.rangeMs, extended: shape.extended };
}

/** The whole time range that any window of the set can see; both ends inclusive. */
export function spanOfWindows(set: WindowSet): { minT: number; maxT: number } {
  const last = set.steps - 1;
  const a = Math.min(set.begin[0] as number, set.begin[last] as number);
  const b = Math.max(set.end[0] as number, set.end[last] as number);
  return { minT: a - set.before + 1, maxT: b + set.after };
}

export class SeriesWindow {
  labels: Labels = EMPTY_LABELS;
  n = 0;
  t: Float64Array = new Float64Array(0);
  v: Float64Array = new Float64Array(0);
  /** Start timestamps, 0 = unknown; null where there are none or the feature is off. */
  st: Float64Array | null = null;
  hn = 0;
  ht: number[] = [];
  h: FloatHistogram[] = [];
  hst: number[] | null = null;
  readonly set: WindowSet;
  readonly lo: Int32Array;
  readonly hi: Int32Array;
  readonly hlo: Int32Array;
  readonly hhi: Int32Array;
  /** hlo and hhi are all zero otherwise. */
  private histogramsLocated = false;

  constructor(set: WindowSet) {
    this.set = set;
    const all = new ArrayBuffer(set.steps * 16);
    this.lo = new Int32Array(all, 0, set.steps);
    this.hi = new Int32Array(all, set.steps * 4, set.steps);
    this.hlo = new Int32Array(all, set.steps * 8, set.steps);
    this.hhi = new Int32Array(all, set.steps * 12, set.steps);
  }

  /** Looks at the samples of `buffer`; the arrays stay the caller's and must not change while this is used. */
  attach(labels: Labels, buffer: SampleBuffer, startTimestamps: boolean): void {
    this.labels = labels;
    this.n = buffer.length;
    this.t = buffer.timestamps;
    this.v = buffer.values;
    this.st = startTimestamps ? buffer.startTimestamps : null;
    this.hn = buffer.histogramLength;
    this.ht = buffer.histogramTimestamps;
    this.h = buffer.histograms;
    this.hst = startTimestamps ? buffer.histogramStartTimestamps : null;
  }

  /** Finds the index ranges of all steps in O(samples + steps). */
  locate(): void {
    locateColumn(this.set, this.t, this.n, this.lo, this.hi);
    if (this.hn > 0) {
      locateColumn(this.set, this.ht, this.hn, this.hlo, this.hhi);
      this.histogramsLocated = true;
    } else if (this.histogramsLocated) {
      this.hlo.fill(0);
      this.hhi.fill(0);
      this.histogramsLocated = false;
    }
  }
}

/**
 * Two ends that only move forward. Where samples come evenly an end moves as far as it did at the step before: that is
 * tried first, and saves looking at the samples between.
 */
function locateColumn(
  set: WindowSet,
  t: Float64Array | readonly number[],
  n: number,
  lo: Int32Array,
  hi: Int32Array,
): void {
  const { steps, begin, end, before, after } = set;
  let a = 0;
  let b = 0;
  let strideA = 0;
  let strideB = 0;
  for (let i = 0; i < steps; i++) {
    const from = (begin[i] as number) - before;
    const to = (end[i] as number) + after;
    let at = a + strideA;
    if (at > a && at < n && (t[at - 1] as number) <= from) a = at;
    while (a < n && (t[a] as number) <= from) a++;
    strideA = i === 0 ? 0 : a - (lo[i - 1] as number);
    if (b < a) b = a;
    at = b + strideB;
    if (at > b && at < n && (t[at - 1] as number) <= to) b = at;
    while (b < n && (t[b] as number) <= to) b++;
    strideB = i === 0 ? 0 : b - (hi[i - 1] as number);
    lo[i] = a;
    hi[i] = b;
  }
}

/** Whether a float is a NaN of any kind; may also say yes where infinities meet. Four sums, so that no addition waits. */
function mayHaveNaN(values: Float64Array, from: number, length: number): boolean {
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  let i = from;
  for (; i + 4 <= length; i += 4) {
    a += values[i] as number;
    b += values[i + 1] as number;
    c += values[i + 2] as number;
    d += values[i + 3] as number;
  }
  for (; i < length; i++) a += values[i] as number;
  const sum = a + b + c + d;
  return sum !== sum;
}

/** Drops staleness markers from the float column in place: windows never see them. */
export function dropStale(buffer: SampleBuffer): void {
  const { timestamps, values, startTimestamps, length, numbers } = buffer;
  // Fast path: no marker at all.
  let i = numbers <= length ? numbers : 0;
  if (!mayHaveNaN(values, i, length)) return;
  while (i < length && !((values[i] as number) !== (values[i] as number) && isStale(values, i))) i++;
  if (i === length) return;
  let out = i;
  for (; i < length; i++) {
    if (isStale(values, i)) continue;
    timestamps[out] = timestamps[i] as number;
    values[out] = values[i] as number;
    if (startTimestamps !== null) startTimestamps[out] = startTimestamps[i] as number;
    out++;
  }
  buffer.length = out;
}
