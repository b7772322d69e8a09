/**
 * Leaf results packed for the way between threads: one buffer, which is handed over without a copy, in place of two small
 * ones per row, which structured clone copies one by one. Label strings travel once each, and rows that
 * share a label value share the string afterwards, so that comparing labels becomes comparing references.
 */
import type { LeafNote, LeafResult, LeafRow } from '../../contracts/leaf-source.ts';
import type { FloatHistogram } from '../../model/histogram.ts';

export interface PackedLeafResult {
  rows: number;
  steps: number;
  /** Every distinct label name and value. */
  strings: string[];
  /** All columns, see `layoutOf`; empty where there are no rows. */
  columns: ArrayBuffer;
  /** Label names and values over all rows. */
  labels: number;
  /** Which columns are there. */
  has: { compensation: boolean; counts: boolean; means: boolean };
  /** Flat [row, step, row, step, ...] beside the histograms that are there. */
  histogramAt: number[];
  histograms: FloatHistogram[];
  warnings: LeafNote[];
  infos: LeafNote[];
  samplesRead: number;
  peakSamples: number;
  declined: boolean;
  samplesPerStep: Float64Array | null;
}

interface Columns {
  /** Of rows * steps slots each; null where no row has them. */
  values: Float64Array;
  compensation: Float64Array | null;
  counts: Float64Array | null;
  present: Uint8Array;
  means: Uint8Array | null;
  /** The labels of row i are strings[ids[labelStart[i] .. labelStart[i + 1])]. */
  labelStart: Uint32Array;
  ids: Uint32Array;
}

type Shape = Pick<PackedLeafResult, 'rows' | 'steps' | 'labels' | 'has'>;

const NO_COLUMNS = { compensation: false, counts: false, means: false };

/** Doubles first, then words, then bytes, so that each column is aligned. */
function bytesOf({ rows, steps, labels, has }: Shape): number {
  const doubles = 1 + Number(has.compensation) + Number(has.counts);
  return rows * steps * (doubles * 8 + 1 + Number(has.means)) + (rows + 1 + labels) * 4;
}

function layoutOf({ rows, steps, labels, has }: Shape, buffer: ArrayBuffer): Columns {
  const slots = rows * steps;
  let at = 0;
  const doubles = (): Float64Array => {
    at += slots * 8;
    return new Float64Array(buffer, at - slots * 8, slots);
  };
  const words = (n: number): Uint32Array => {
    at += n * 4;
    return new Uint32Array(buffer, at - n * 4, n);
  };
  const marks = (): Uint8Array => {
    at += slots;
    return new Uint8Array(buffer, at - slots, slots);
  };
  return {
    values: doubles(),
    compensation: has.compensation ? doubles() : null,
    counts: has.counts ? doubles() : null,
    labelStart: words(rows + 1),
    ids: words(labels),
    present: marks(),
    means: has.means ? marks() : null,
  };
}

export function packLeafResult(result: LeafResult): { packed: PackedLeafResult; transfer: ArrayBuffer[] } {
  const { rows, warnings, infos, samplesRead, peakSamples } = result;
  const shape: Shape = {
    rows: rows.length,
    steps: rows[0]?.values.length ?? 0,
    labels: 0,
    has: NO_COLUMNS,
  };
  const { samplesPerStep = null } = result;
  const notes = { warnings, infos, samplesRead, peakSamples, samplesPerStep, declined: result.declined === true };
  if (rows.length === 0) {
    const columns = new ArrayBuffer(0);
    return { packed: { ...shape, columns, strings: [], histogramAt: [], histograms: [], ...notes }, transfer: [] };
  }
  for (const row of rows) shape.labels += row.labels.length;
  shape.has = {
    compensation: rows.some(r => r.compensation !== null),
    counts: rows.some(r => r.counts !== null),
    means: rows.some(r => r.means != null),
  };
  const columns = new ArrayBuffer(bytesOf(shape));
  const to = layoutOf(shape, columns);
  const { steps } = shape;
  const histogramAt: number[] = [];
  const histograms: FloatHistogram[] = [];
  rows.forEach((row, i) => {
    to.values.set(row.values, i * steps);
    to.present.set(row.present, i * steps);
    if (row.compensation !== null) to.compensation?.set(row.compensation, i * steps);
    if (row.counts !== null) to.counts?.set(row.counts, i * steps);
    if (row.means != null) to.means?.set(row.means, i * steps);
    row.histograms?.forEach((h, step) => {
      if (h === null) return;
      histogramAt.push(i, step);
      histograms.push(h);
    });
  });
  const strings = packLabels(rows, to);
  return { packed: { ...shape, columns, strings, histogramAt, histograms, ...notes }, transfer: [columns] };
}

/** Fills labelStart and ids; returns the strings. */
function packLabels(rows: readonly LeafRow[], { labelStart, ids }: Columns): string[] {
  const idOf = new Map<string, number>();
  let at = 0;
  rows.forEach((row, i) => {
    for (const s of row.labels) {
      let id = idOf.get(s);
      if (id === undefined) {
        id = idOf.size;
        idOf.set(s, id);
      }
      ids[at++] = id;
    }
    labelStart[i + 1] = at;
  });
  return [...idOf.keys()];
}

/** The rows are views on the packed columns: disjoint, so that each may be changed in place. */
export function unpackLeafResult(p: PackedLeafResult): LeafResult {
  const { steps } = p;
  const rows: LeafRow[] = [];
  const from = p.rows === 0 ? null : layoutOf(p, p.columns);
  for (let i = 0; from !== null && i < p.rows; i++) {
    const begin = i * steps;
    const end = begin + steps;
    const labels: string[] = [];
    const lastLabel = from.labelStart[i + 1] as number;
    for (let k = from.labelStart[i] as number; k < lastLabel; k++)
      labels.push(p.strings[from.ids[k] as number] as string);
    rows.push({
      labels,
      values: from.values.subarray(begin, end),
      present: from.present.subarray(begin, end),
      histograms: null,
      compensation: from.compensation?.subarray(begin, end) ?? null,
      counts: from.counts?.subarray(begin, end) ?? null,
      ...(from.means === null ? {} : { means: from.means.subarray(begin, end) }),
    });
  }
  p.histograms.forEach((h, k) => {
    const row = rows[p.histogramAt[2 * k] as number] as LeafRow;
    row.histograms ??= new Array<FloatHistogram | null>(steps).fill(null);
    row.histograms[p.histogramAt[2 * k + 1] as number] = h;
  });
  return {
    rows,
    warnings: p.warnings,
    infos: p.infos,
    samplesRead: p.samplesRead,
    peakSamples: p.peakSamples,
    ...(p.samplesPerStep === null ? {} : { samplesPerStep: p.samplesPerStep }),
    ...(p.declined ? { declined: true } : {}),
  };
}
