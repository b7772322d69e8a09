/**
 * Leaf results packed for the way between threads: a handful of large buffers, which are handed over without a copy, in
 * place of two small ones per row, which structured clone copies one by one. Label strings travel once each, and rows that
 * share a label value share the string afterwards, so that comparing labels becomes comparing references.
 */
import type { LeafNote, LeafResult, LeafRow } from '../../contracts/leaf-source.ts';
import type { FloatHistogram } from '../../model/histogram.ts';

export interface PackedLeafResult {
  rows: number;
  steps: number;
  /** Every distinct label name and value. */
  strings: string[];
  /** The labels of row i are strings[ids[labelStart[i] .. labelStart[i + 1])]. */
  ids: Uint32Array;
  labelStart: Uint32Array;
  /** Columns of rows * steps; null where no row has them. */
  values: Float64Array;
  present: Uint8Array;
  compensation: Float64Array | null;
  counts: Float64Array | null;
  means: Uint8Array | null;
  /** Flat [row, step, row, step, ...] beside the histograms that are there. */
  histogramAt: number[];
  histograms: FloatHistogram[];
  warnings: LeafNote[];
  infos: LeafNote[];
  samplesRead: number;
  peakSamples: number;
  declined: boolean;
}

export function packLeafResult(result: LeafResult): { packed: PackedLeafResult; transfer: ArrayBuffer[] } {
  const { rows } = result;
  const steps = rows[0]?.values.length ?? 0;
  const slots = rows.length * steps;
  const column = (some: boolean): Float64Array<ArrayBuffer> | null => (some ? new Float64Array(slots) : null);
  const values = new Float64Array(slots);
  const present = new Uint8Array(slots);
  const compensation = column(rows.some(r => r.compensation !== null));
  const counts = column(rows.some(r => r.counts !== null));
  const means = rows.some(r => r.means != null) ? new Uint8Array(slots) : null;
  const histogramAt: number[] = [];
  const histograms: FloatHistogram[] = [];
  rows.forEach((row, i) => {
    values.set(row.values, i * steps);
    present.set(row.present, i * steps);
    if (row.compensation !== null) compensation?.set(row.compensation, i * steps);
    if (row.counts !== null) counts?.set(row.counts, i * steps);
    if (row.means != null) means?.set(row.means, i * steps);
    row.histograms?.forEach((h, step) => {
      if (h === null) return;
      histogramAt.push(i, step);
      histograms.push(h);
    });
  });
  const { strings, ids, labelStart } = packLabels(rows);
  const transfer = [values.buffer, present.buffer, ids.buffer, labelStart.buffer];
  for (const c of [compensation, counts, means]) if (c !== null) transfer.push(c.buffer);
  return {
    packed: {
      rows: rows.length,
      steps,
      strings,
      ids,
      labelStart,
      values,
      present,
      compensation,
      counts,
      means,
      histogramAt,
      histograms,
      warnings: result.warnings,
      infos: result.infos,
      samplesRead: result.samplesRead,
      peakSamples: result.peakSamples,
      declined: result.declined === true,
    },
    transfer,
  };
}

function packLabels(rows: readonly LeafRow[]) {
  const idOf = new Map<string, number>();
  const labelStart = new Uint32Array(rows.length + 1);
  let total = 0;
  for (const row of rows) total += row.labels.length;
  const ids = new Uint32Array(total);
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
  return { strings: [...idOf.keys()], ids, labelStart };
}

/** The rows are views on the packed columns: disjoint, so that each may be changed in place. */
export function unpackLeafResult(p: PackedLeafResult): LeafResult {
  const { steps } = p;
  const rows: LeafRow[] = [];
  for (let i = 0; i < p.rows; i++) {
    const [from, to] = [i * steps, (i + 1) * steps];
    const labels: string[] = [];
    const end = p.labelStart[i + 1] as number;
    for (let k = p.labelStart[i] as number; k < end; k++) labels.push(p.strings[p.ids[k] as number] as string);
    rows.push({
      labels,
      values: p.values.subarray(from, to),
      present: p.present.subarray(from, to),
      histograms: null,
      compensation: p.compensation?.subarray(from, to) ?? null,
      counts: p.counts?.subarray(from, to) ?? null,
      ...(p.means === null ? {} : { means: p.means.subarray(from, to) }),
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
    ...(p.declined ? { declined: true } : {}),
  };
}
