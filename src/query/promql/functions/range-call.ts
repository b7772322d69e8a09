/**
 * RangeCall: one call of a range function on one window, the general path that knows everything: histograms, mixed
 * windows, start timestamps, extended selectors. (Plain float windows take the fast kernels of kernels.ts; a test holds
 * the two against each other.) One object serves all windows of a series; a function reads its fields and leaves its
 * result in `value` or `histogram`.
 */
import { PromqlEvalError } from '../../../contracts/leaf-source.ts';
import type { FloatHistogram } from '../../../model/histogram.ts';
import { getLabel, METRIC_NAME } from '../../../model/labels.ts';
import { isStale } from '../../../model/stale.ts';
import { seriesText } from '../../shared/series-text.ts';
import { type LeafNotes, NOTES } from './notes.ts';
import type { SeriesWindow, WindowSet } from './window.ts';

export const NONE = 0;
export const FLOAT = 1;
export const HISTOGRAM = 2;
export type Outcome = 0 | 1 | 2;

export type RangeFunction = (c: RangeCall) => Outcome;

export class RangeCall {
  readonly notes: LeafNotes;
  readonly set: WindowSet;
  /** Scalar arguments, one value per step. */
  readonly args: readonly Float64Array[];
  s: SeriesWindow;
  step = 0;
  lo = 0;
  hi = 0;
  hlo = 0;
  hhi = 0;
  begin = 0;
  end = 0;
  time = 0;
  value = 0;
  histogram: FloatHistogram | null = null;

  constructor(s: SeriesWindow, args: readonly Float64Array[], notes: LeafNotes) {
    this.s = s;
    this.set = s.set;
    this.args = args;
    this.notes = notes;
  }

  moveTo(step: number): void {
    this.step = step;
    this.lo = this.s.lo[step] as number;
    this.hi = this.s.hi[step] as number;
    this.hlo = this.s.hlo[step] as number;
    this.hhi = this.s.hhi[step] as number;
    this.begin = this.set.begin[step] as number;
    this.end = this.set.end[step] as number;
    this.time = this.set.time[step] as number;
  }

  get floats(): number {
    return this.hi - this.lo;
  }

  get histogramCount(): number {
    return this.hhi - this.hlo;
  }

  get metric(): string {
    return getLabel(this.s.labels, METRIC_NAME);
  }

  arg(i: number): number {
    return (this.args[i] as Float64Array)[this.step] as number;
  }

  float(value: number): Outcome {
    this.value = value;
    return FLOAT;
  }

  hist(h: FloatHistogram): Outcome {
    this.histogram = h;
    return HISTOGRAM;
  }

  /** The window holds floats and histograms, which the function cannot combine. */
  mixed(): boolean {
    if (this.floats === 0 || this.histogramCount === 0) return false;
    this.notes.warn(NOTES.mixedFloatsHistograms(this.metric));
    return true;
  }

  isStaleAt(float: number): boolean {
    return isStale(this.s.v, float);
  }

  seriesText(): string {
    return seriesText(this.s.labels);
  }

  fail(message: string): never {
    throw new PromqlEvalError(message);
  }
}
