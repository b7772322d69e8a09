/**
 * Extent: finished steps of one query, a contiguous piece of its grid, and how pieces are laid together.
 *
 *     extent   |=========|            rows sorted by labels, one column of values per row
 *     fresh              |====|
 *     window        |=========|       composed: rows joined in label order, columns copied piece by piece
 *
 * Rows are never changed once they are in an extent, so an answer and the cache may share them.
 */
import { compareLabels } from '../../model/labels.ts';
import type { GridRow, QueryResult } from '../promql/result.ts';

/** Annotations of one evaluation, and the steps it covered. */
export interface Notes {
  startMs: number;
  endMs: number;
  warnings: string[];
  infos: string[];
}

export interface Extent {
  /** First and last step, inclusive, both on the grid. */
  startMs: number;
  endMs: number;
  /** Rows over exactly those steps, sorted by labels. */
  rows: GridRow[];
  notes: Notes[];
  /** Every change up to this sequence is in. */
  sequence: number;
  bytes: number;
}

/** An evaluation's matrix as an extent; null where it is none. */
export function extentOf(result: QueryResult, sequence: number): Extent | null {
  const { value } = result;
  if (value.type !== 'matrix' || value.steps === 0) return null;
  const endMs = value.startMs + (value.steps - 1) * value.stepMs;
  const notes: Notes[] = [];
  if (result.warnings.length > 0 || result.infos.length > 0) {
    notes.push({ startMs: value.startMs, endMs, warnings: result.warnings, infos: result.infos });
  }
  const rows = isSorted(value.rows) ? value.rows : [...value.rows].sort((a, b) => compareLabels(a.labels, b.labels));
  return { startMs: value.startMs, endMs, rows, notes, sequence, bytes: bytesOf(rows, value.steps) };
}

/** The same extent, only the steps from startMs to endMs; rows without a point there are left out. Shares memory. */
export function cutExtent(extent: Extent, startMs: number, endMs: number, stepMs: number): Extent {
  if (startMs === extent.startMs && endMs === extent.endMs) return extent;
  const from = Math.round((startMs - extent.startMs) / stepMs);
  const steps = Math.round((endMs - startMs) / stepMs) + 1;
  const rows: GridRow[] = [];
  for (const row of extent.rows) {
    const present = row.present.subarray(from, from + steps);
    const histograms = row.histograms?.slice(from, from + steps) ?? null;
    if (present.indexOf(1) === -1 && (histograms === null || histograms.every(h => h === null))) continue;
    rows.push({ labels: row.labels, values: row.values.subarray(from, from + steps), present, histograms });
  }
  const notes = extent.notes.filter(n => n.startMs <= endMs && n.endMs >= startMs);
  // The bytes of the whole: a view keeps its buffer.
  return { startMs, endMs, rows, notes, sequence: extent.sequence, bytes: extent.bytes };
}

/**
 * Lays pieces together over the grid from startMs to endMs. The pieces are in time order, do not overlap, and leave no gap within those bounds.
 */
export function compose(pieces: readonly Extent[], startMs: number, endMs: number, stepMs: number): Extent {
  const sequence = Math.min(...pieces.map(p => p.sequence));
  if (pieces.length === 1) return { ...cutExtent(pieces[0] as Extent, startMs, endMs, stepMs), sequence };
  const steps = Math.round((endMs - startMs) / stepMs) + 1;
  const cut: Extent[] = [];
  for (const piece of pieces) {
    const from = Math.max(piece.startMs, startMs);
    const to = Math.min(piece.endMs, endMs);
    if (from <= to) cut.push(cutExtent(piece, from, to, stepMs));
  }
  const rows: GridRow[] = [];
  const next = cut.map(() => 0);
  for (;;) {
    // The smallest label set among the pieces' next rows.
    let lowest: GridRow | null = null;
    for (let k = 0; k < cut.length; k++) {
      const row = cut[k]?.rows[next[k] as number];
      if (row !== undefined && (lowest === null || compareLabels(row.labels, lowest.labels) < 0)) lowest = row;
    }
    if (lowest === null) break;
    const out: GridRow = {
      labels: lowest.labels,
      values: new Float64Array(steps),
      present: new Uint8Array(steps),
      histograms: null,
    };
    for (let k = 0; k < cut.length; k++) {
      const piece = cut[k] as Extent;
      const row = piece.rows[next[k] as number];
      if (row === undefined || (row !== lowest && compareLabels(row.labels, lowest.labels) !== 0)) continue;
      next[k] = (next[k] as number) + 1;
      copyRow(row, out, Math.round((piece.startMs - startMs) / stepMs), steps);
    }
    rows.push(out);
  }
  const notes = cut.flatMap(p => p.notes);
  return { startMs, endMs, rows, notes, sequence, bytes: bytesOf(rows, steps) };
}

function copyRow(from: GridRow, to: GridRow, at: number, steps: number): void {
  to.values.set(from.values, at);
  to.present.set(from.present, at);
  if (from.histograms === null) return;
  to.histograms ??= new Array(steps).fill(null);
  for (let i = 0; i < from.histograms.length; i++) to.histograms[at + i] = from.histograms[i] ?? null;
}

function isSorted(rows: readonly GridRow[]): boolean {
  for (let i = 1; i < rows.length; i++) {
    if (compareLabels((rows[i - 1] as GridRow).labels, (rows[i] as GridRow).labels) > 0) return false;
  }
  return true;
}

/** An estimate of the memory held, on the high side for labels, which several extents often share. */
function bytesOf(rows: readonly GridRow[], steps: number): number {
  let bytes = 256;
  for (const row of rows) {
    bytes += 300 + steps * 9;
    for (const text of row.labels) bytes += 24 + text.length;
    if (row.histograms === null) continue;
    bytes += steps * 8;
    for (const h of row.histograms) {
      if (h !== null) bytes += 250 + 8 * (h.positiveBuckets.length + h.negativeBuckets.length + h.customValues.length);
    }
  }
  return bytes;
}
