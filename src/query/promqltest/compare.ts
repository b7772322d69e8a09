/**
 * Comparing what came out with what a script expects. Floats may differ by a millionth of their sum; labels and the
 * presence of points may not. Histograms are compared without their empty buckets, reset hints only where one is named.
 */
import type { FloatHistogram } from '../../model/histogram.ts';
import { indicesOfSpans, spansOfIndices } from '../../model/histogram-buckets.ts';
import { formatHistogram } from '../../model/histogram-format.ts';
import { compareLabels, formatLabels, type Labels, labelsKey } from '../../model/labels.ts';
import type { GridRow } from '../promql/result.ts';

const TOLERANCE = 1e-6;
const MIN_NORMAL = 2.2250738585072014e-308;

/** One expected or actual point. */
export interface Point {
  value: number;
  histogram: FloatHistogram | null;
  stale?: boolean;
}

export interface PointSeries {
  labels: Labels;
  /** By step; null where there is none. */
  points: (Point | null)[];
}

export function sameFloat(a: number, b: number): boolean {
  if (a === b || (a !== a && b !== b)) return true;
  const sum = Math.abs(a) + Math.abs(b);
  const difference = Math.abs(a - b);
  if (a === 0 || b === 0 || sum < MIN_NORMAL) return difference < TOLERANCE * MIN_NORMAL;
  return difference / Math.min(sum, Number.MAX_VALUE) < TOLERANCE;
}

export function sameHistogram(expected: FloatHistogram, actual: FloatHistogram, withHint: boolean): boolean {
  if (expected.schema !== actual.schema) return false;
  if (withHint && expected.counterResetHint !== actual.counterResetHint) return false;
  if (!sameFloat(expected.count, actual.count) || !sameFloat(expected.sum, actual.sum)) return false;
  if (expected.zeroThreshold !== actual.zeroThreshold || !sameFloat(expected.zeroCount, actual.zeroCount)) return false;
  if (expected.customValues.length !== actual.customValues.length) return false;
  if (!expected.customValues.every((v, i) => v === actual.customValues[i])) return false;
  return (
    sameSide(expected.positiveSpans, expected.positiveBuckets, actual.positiveSpans, actual.positiveBuckets) &&
    sameSide(expected.negativeSpans, expected.negativeBuckets, actual.negativeSpans, actual.negativeBuckets)
  );
}

function sameSide(
  spansA: readonly number[],
  a: readonly number[],
  spansB: readonly number[],
  b: readonly number[],
): boolean {
  const x = spansOfIndices(indicesOfSpans(spansA), a);
  const y = spansOfIndices(indicesOfSpans(spansB), b);
  if (x.spans.length !== y.spans.length || !x.spans.every((v, i) => v === y.spans[i])) return false;
  return x.counts.every((v, i) => sameFloat(v, y.counts[i] as number));
}

function samePoint(expected: Point | null, actual: Point | null): boolean {
  if (expected === null || actual === null) return expected === actual;
  if (expected.histogram !== null || actual.histogram !== null) {
    if (expected.histogram === null || actual.histogram === null) return false;
    return sameHistogram(expected.histogram, actual.histogram, expected.histogram.counterResetHint !== 0);
  }
  if (expected.stale === true || actual.stale === true) return expected.stale === actual.stale;
  return sameFloat(expected.value, actual.value);
}

/** What differs, or null. `ordered`: the series come in this order. */
export function differenceOf(
  expected: readonly PointSeries[],
  actual: readonly PointSeries[],
  ordered: boolean,
): string | null {
  const byKey = new Map(actual.map((s, i) => [labelsKey(s.labels), { s, i }]));
  if (byKey.size !== actual.length) return 'the result has two series of the same labels';
  for (const [i, e] of expected.entries()) {
    const found = byKey.get(labelsKey(e.labels));
    if (found === undefined) return `expected ${formatLabels(e.labels)}, which is not there; got ${listed(actual)}`;
    if (ordered && found.i !== i) return `expected ${formatLabels(e.labels)} at place ${i}, it is at ${found.i}`;
    byKey.delete(labelsKey(e.labels));
    const difference = pointDifference(e, found.s);
    if (difference !== null) return difference;
  }
  for (const { s } of byKey.values()) return `unexpected ${describeSeries(s)}`;
  return null;
}

function pointDifference(e: PointSeries, a: PointSeries): string | null {
  const n = Math.max(e.points.length, a.points.length);
  for (let i = 0; i < n; i++) {
    if (samePoint(e.points[i] ?? null, a.points[i] ?? null)) continue;
    return `${formatLabels(e.labels)} at step ${i}: expected ${pointText(e.points[i])}, got ${pointText(a.points[i])}`;
  }
  return null;
}

function pointText(p: Point | null | undefined): string {
  if (p === null || p === undefined) return 'nothing';
  if (p.histogram !== null) {
    const h = p.histogram;
    const zero = h.customValues.length > 0 ? '' : ` zero threshold ${h.zeroThreshold}`;
    return `${formatHistogram(h)} schema ${h.schema}${zero} [${h.customValues}] hint ${h.counterResetHint}`;
  }
  return p.stale === true ? 'stale' : String(p.value);
}

function describeSeries(s: PointSeries): string {
  return `${formatLabels(s.labels)} ${s.points.map(p => (p === null ? '_' : pointText(p))).join(' ')}`;
}

function listed(series: readonly PointSeries[]): string {
  return series.length === 0 ? 'nothing' : series.slice(0, 10).map(describeSeries).join('; ');
}

export function pointsOfRow(row: GridRow): PointSeries {
  const points: (Point | null)[] = [];
  for (let i = 0; i < row.values.length; i++) {
    const histogram = row.histograms?.[i] ?? null;
    if (histogram !== null) points.push({ value: 0, histogram });
    else points.push(row.present[i] === 1 ? { value: row.values[i] as number, histogram: null } : null);
  }
  return { labels: row.labels, points };
}

export function isSorted(rows: readonly { labels: Labels }[]): boolean {
  return rows.every((r, i) => i === 0 || compareLabels((rows[i - 1] as { labels: Labels }).labels, r.labels) <= 0);
}
