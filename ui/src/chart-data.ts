/**
 * From the API's matrix to the chart's columns: one grid of times for all series, null where a series has no point, so
 * that gaps (a stale series, a restart) stay gaps. No DOM in here.
 */
import type { MatrixItem, VectorItem } from './api.ts';
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

export interface Grid {
  startMs: number;
  endMs: number;
  stepMs: number;
  /** One more moment after the grid, where the last step lies too far back; null: none. */
  tailMs: number | null;
}

export function chartData(matrix: MatrixItem[], grid: Grid): ChartData {
  const steps = Math.floor((grid.endMs - grid.startMs) / grid.stepMs) + 1;
  const times = Array.from({ length: steps }, (_, i) => (grid.startMs + i * grid.stepMs) / 1000);
  if (grid.tailMs !== null) times.push(grid.tailMs / 1000);
  const drawable = matrix.filter(item => (item.values?.length ?? 0) > 0);
  const series = drawable.slice(0, SERIES_MAX).map(item => chartSeries(item, grid, times));
  return {
    times,
    series,
    hidden: drawable.length - series.length,
    histograms: matrix.filter(item => (item.histograms?.length ?? 0) > 0).length,
  };
}

function chartSeries(item: MatrixItem, grid: Grid, times: number[]): ChartSeries {
  const values = new Array<number | null>(times.length).fill(null);
  let last: number | null = null;
  for (const [time, text] of item.values ?? []) {
    const index =
      Math.round(time * 1000) === grid.tailMs
        ? times.length - 1
        : Math.round((time * 1000 - grid.startMs) / grid.stepMs);
    if (index < 0 || index >= times.length) continue;
    const value = parseValue(text);
    // NaN and infinities have no place on the axis; the table shows them.
    values[index] = Number.isFinite(value) ? value : null;
    last = value;
  }
  return { metric: item.metric, values, last };
}

/** Puts the values of an instant query behind those of the matrix, series by series. */
export function withTail(matrix: MatrixItem[], tail: VectorItem[]): MatrixItem[] {
  const byMetric = new Map(tail.map(item => [metricKey(item.metric), item]));
  const merged = matrix.map(item => {
    const more = byMetric.get(metricKey(item.metric));
    byMetric.delete(metricKey(item.metric));
    return more?.value ? { ...item, values: [...(item.values ?? []), more.value] } : item;
  });
  for (const item of byMetric.values()) if (item.value) merged.push({ metric: item.metric, values: [item.value] });
  return merged;
}

function metricKey(metric: Metric): string {
  return JSON.stringify(Object.entries(metric).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** The API's numbers are strings, because JSON has no NaN and no infinities. */
export function parseValue(text: string): number {
  if (text === '+Inf') return Number.POSITIVE_INFINITY;
  if (text === '-Inf') return Number.NEGATIVE_INFINITY;
  return Number(text);
}
