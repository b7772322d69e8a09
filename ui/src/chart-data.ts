/**
 * From the API's matrix to the chart's columns: one grid of times for all series, null where a series has no point, so
 * that gaps (a stale series, a restart) stay gaps. No DOM in here.
 */
import type { MatrixItem } from './api.ts';
import type { Metric } from './format.ts';

/** More lines than this tell nobody anything and make the page slow. */
export const SERIES_MAX = 300;

export interface ChartSeries {
  metric: Metric;
  values: (number | null)[];
  /** Last number of the series, for the legend. */
  last: number | null;
}

export interface ChartData {
  /** Seconds, as uPlot wants them. */
  times: number[];
  series: ChartSeries[];
  /** Series that were left out: too many. */
  hidden: number;
  /** Series that hold native histograms, which have no single line. */
  histograms: number;
}

export function chartData(matrix: MatrixItem[], startMs: number, endMs: number, stepMs: number): ChartData {
  const steps = Math.floor((endMs - startMs) / stepMs) + 1;
  const times = Array.from({ length: steps }, (_, i) => (startMs + i * stepMs) / 1000);
  const drawable = matrix.filter(item => (item.values?.length ?? 0) > 0);
  const series = drawable.slice(0, SERIES_MAX).map(item => chartSeries(item, startMs, stepMs, steps));
  return {
    times,
    series,
    hidden: drawable.length - series.length,
    histograms: matrix.filter(item => (item.histograms?.length ?? 0) > 0).length,
  };
}

function chartSeries(item: MatrixItem, startMs: number, stepMs: number, steps: number): ChartSeries {
  const values = new Array<number | null>(steps).fill(null);
  let last: number | null = null;
  for (const [time, text] of item.values ?? []) {
    const index = Math.round((time * 1000 - startMs) / stepMs);
    if (index < 0 || index >= steps) continue;
    const value = parseValue(text);
    // NaN and infinities have no place on the axis; the table shows them.
    values[index] = Number.isFinite(value) ? value : null;
    last = value;
  }
  return { metric: item.metric, values, last };
}

/** The API's numbers are strings, because JSON has no NaN and no infinities. */
export function parseValue(text: string): number {
  if (text === '+Inf') return Number.POSITIVE_INFINITY;
  if (text === '-Inf') return Number.NEGATIVE_INFINITY;
  return Number(text);
}
