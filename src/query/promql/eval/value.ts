/**
 * What expressions evaluate to: scalars and rows over a grid. A row belongs to whoever holds it and may be changed in
 * place; no two rows share arrays (histograms excepted: they are immutable).
 */
import { PromqlEvalError } from '../../../contracts/leaf-source.ts';
import type { FloatHistogram } from '../../../model/histogram.ts';
import { compareLabels, dropLabels, EMPTY_LABELS, type Labels, labelsKey } from '../../../model/labels.ts';
import { newPresence, newValues } from '../columns.ts';
import { histogramSize, METADATA_LABELS } from '../leaf.ts';

export interface Row {
  labels: Labels;
  /** The name is to go from the final result (delayed name removal). */
  dropName: boolean;
  values: Float64Array;
  /** 1 where `values` holds a float. A step has a float, or a histogram, or nothing. */
  present: Uint8Array;
  histograms: (FloatHistogram | null)[] | null;
}

export type Value = { kind: 'scalar'; values: Float64Array } | { kind: 'string'; value: string } | VectorValue;

export interface VectorValue {
  kind: 'vector';
  rows: Row[];
  /** The order of the rows means something: of an instant query, as sort() or topk left it. */
  ordered: boolean;
}

export function vectorOf(rows: Row[], ordered = false): VectorValue {
  return { kind: 'vector', rows, ordered };
}

export function newRow(labels: Labels, steps: number): Row {
  return {
    labels,
    dropName: false,
    values: newValues(steps),
    present: newPresence(steps),
    histograms: null,
  };
}

export function hasSample(row: Row, step: number): boolean {
  return row.present[step] === 1 || (row.histograms !== null && row.histograms[step] !== null);
}

/** 1 by step where the row has a float or a histogram. The row's own array where it has no histograms. */
export function presenceOf(row: Row): Uint8Array {
  if (row.histograms === null) return row.present;
  const out = row.present.slice();
  for (let i = 0; i < out.length; i++) if (row.histograms[i] !== null) out[i] = 1;
  return out;
}

export function isEmptyRow(row: Row): boolean {
  if (row.present.indexOf(1) >= 0) return false;
  return row.histograms === null || row.histograms.every(h => h === null);
}

export function putHistogram(row: Row, step: number, h: FloatHistogram): void {
  row.histograms ??= new Array<FloatHistogram | null>(row.values.length).fill(null);
  row.histograms[step] = h;
}

/** Takes the sample out of a step. */
export function clearStep(row: Row, step: number): void {
  row.present[step] = 0;
  if (row.histograms !== null) row.histograms[step] = null;
}

export function copySample(from: Row, to: Row, step: number): void {
  if (from.present[step] === 1) {
    to.values[step] = from.values[step] as number;
    to.present[step] = 1;
  }
  const h = from.histograms?.[step] ?? null;
  if (h !== null) putHistogram(to, step, h);
}

/** Samples that the rows hold, for the limit. */
export function countPoints(rows: readonly Row[]): number {
  let n = 0;
  for (const row of rows) {
    for (let i = 0; i < row.present.length; i++) n += row.present[i] as number;
    if (row.histograms !== null) for (const h of row.histograms) if (h !== null) n += histogramSize(h);
  }
  return n;
}

export const SAME_LABELSET = 'vector cannot contain metrics with the same labelset';

/**
 * Rows of equal labels become one, as long as they never have a sample at the same step: then the labels do not
 * identify a series any more, and the query fails.
 */
export function mergeSameLabels(rows: Row[]): Row[] {
  if (rows.length < 2) return rows;
  const byKey = new Map<string, Row>();
  for (const row of rows) {
    const key = labelsKey(row.labels);
    const have = byKey.get(key);
    if (have === undefined) byKey.set(key, row);
    else mergeInto(have, row);
  }
  return byKey.size === rows.length ? rows : [...byKey.values()];
}

function mergeInto(into: Row, from: Row): void {
  for (let i = 0; i < into.values.length; i++) {
    if (!hasSample(from, i)) continue;
    if (hasSample(into, i)) throw new PromqlEvalError(SAME_LABELSET);
    copySample(from, into, i);
  }
}

/** Fails where two rows have the same labels, whenever their samples are. */
export function refuseSameLabels(rows: readonly Row[]): void {
  if (rows.length < 2) return;
  const seen = new Set<string>();
  for (const row of rows) {
    const key = labelsKey(row.labels);
    if (seen.has(key)) throw new PromqlEvalError(SAME_LABELSET);
    seen.add(key);
  }
}

/** `__name__`, `__type__` and `__unit__` describe the metric as it was stored; a changed value is another metric. */
export function withoutMetadata(labels: Labels): Labels {
  for (let i = 0; i < labels.length; i += 2) {
    if (METADATA_LABELS.has(labels[i] as string)) return dropLabels(labels, METADATA_LABELS);
  }
  return labels;
}

/**
 * Sorts in place by labels. Many rows are sorted by one string each, which compares several times faster than label by
 * label; not where a string holds code units that UTF-16 orders differently than UTF-8.
 */
export function sortRows<T extends { labels: Labels }>(rows: T[]): T[] {
  if (rows.length < 64) return rows.sort((a, b) => compareLabels(a.labels, b.labels));
  const keyed = rows.map(row => ({ row, key: row.labels.join('\u0000') }));
  if (keyed.some(k => /[\ud800-\uffff]/.test(k.key))) return rows.sort((a, b) => compareLabels(a.labels, b.labels));
  keyed.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
  for (let i = 0; i < rows.length; i++) rows[i] = (keyed[i] as { row: T }).row;
  return rows;
}

export { EMPTY_LABELS };
