/**
 * BatchRows: some series of SampleBatches, packed into one buffer to be moved to another thread, and back for reuse.
 *
 * Layout, all in one ArrayBuffer so that a message carries one object and steady traffic allocates nothing:
 *
 *     timestamps f64 x rows | values f64 x rows | [starts f64 x rows] | hashes u32 x 4 x series
 *     | sampleStart u32 x (series + 1) | labelStart u32 x series | labelEnd u32 x series | label bytes
 *
 * Series that the receiver is known to have go without labels (LABELS_OMITTED). Several batches of one tenant may be packed
 * together: rows for another shard are exchanged once per turn of the event loop (docs/decisions/0004-shards.md).
 */
import { type ExemplarSample, type HistogramSample, LABELS_OMITTED, type SampleBatch } from './sample-batch.ts';

/** What crosses the thread border. `buffer` is transferred; the rest is small. */
export interface PackedRows {
  buffer: ArrayBuffer;
  series: number;
  rows: number;
  labelBytes: number;
  hasStarts: boolean;
  histograms: HistogramSample[] | null;
  exemplars: ExemplarSample[] | null;
}

/** Tells whether the receiver has the series whose hash starts at hashes[at]; must then remember the answer as yes. */
export type KnownSeries = (hashes: Uint32Array, at: number) => boolean;

export class BatchRows {
  private series = 0;
  private rows = 0;
  private bytes = 0;
  private timestamps = new Float64Array(1024);
  private values = new Float64Array(1024);
  private starts: Float64Array | null = null;
  private hashes = new Uint32Array(1024 * 4);
  private sampleStart = new Uint32Array(1025);
  private labelStart = new Uint32Array(1024);
  private labelEnd = new Uint32Array(1024);
  private labelBytes = new Uint8Array(64 * 1024);
  private histograms: HistogramSample[] = [];
  private exemplars: ExemplarSample[] = [];

  get size(): number {
    return this.series;
  }

  /** Copies the `count` series whose indices stand in `chosen` (ascending), with all that hangs on them. */
  add(batch: SampleBatch, chosen: Uint32Array, count: number, known: KnownSeries | null): void {
    const base = this.series;
    this.reserve(batch, chosen, count);
    // Exemplars are kept with their series' labels.
    const labelled = batch.exemplars === null ? null : new Set(batch.exemplars.map(e => e.series));
    const { hashes, timestamps, values, sampleStart } = this;
    for (let k = 0; k < count; k++) {
      const i = chosen[k] as number;
      const at = (base + k) * 4;
      hashes[at] = batch.hashes[i * 4] as number;
      hashes[at + 1] = batch.hashes[i * 4 + 1] as number;
      hashes[at + 2] = batch.hashes[i * 4 + 2] as number;
      hashes[at + 3] = batch.hashes[i * 4 + 3] as number;
      if (known?.(hashes, at) === true && labelled?.has(i) !== true) this.labelStart[base + k] = LABELS_OMITTED;
      else this.addLabels(batch, i, base + k);
      let row = this.rows;
      const to = batch.sampleStart[i + 1] as number;
      for (let r = batch.sampleStart[i] as number; r < to; r++, row++) {
        timestamps[row] = batch.timestamps[r] as number;
        values[row] = batch.values[r] as number;
        if (this.starts !== null)
          this.starts[row] = batch.startTimestamps === null ? 0 : (batch.startTimestamps[r] as number);
      }
      this.rows = row;
      sampleStart[base + k + 1] = row;
    }
    this.series += count;
    this.addRareRows(batch, chosen, count, base);
  }

  /** The rows so far, in `spare` where it is large enough; the builder starts anew. */
  take(spare: ArrayBuffer | null): PackedRows {
    const { series, rows, bytes } = this;
    const hasStarts = this.starts !== null;
    const layout = layoutOf(series, rows, bytes, hasStarts);
    // Rounded up, so that buffers of about this size fit each other's contents.
    const buffer = spare !== null && spare.byteLength >= layout.end ? spare : new ArrayBuffer(roundUp(layout.end));
    const out = viewsOf(buffer, layout, series, rows, bytes, hasStarts);
    out.timestamps.set(this.timestamps.subarray(0, rows));
    out.values.set(this.values.subarray(0, rows));
    if (this.starts !== null) out.startTimestamps?.set(this.starts.subarray(0, rows));
    out.hashes.set(this.hashes.subarray(0, series * 4));
    out.sampleStart.set(this.sampleStart.subarray(0, series + 1));
    out.labelStart.set(this.labelStart.subarray(0, series));
    out.labelEnd.set(this.labelEnd.subarray(0, series));
    out.labelBytes.set(this.labelBytes.subarray(0, bytes));
    const histograms = this.histograms.length > 0 ? this.histograms : null;
    const exemplars = this.exemplars.length > 0 ? this.exemplars : null;
    this.series = 0;
    this.rows = 0;
    this.bytes = 0;
    this.starts = null;
    this.histograms = [];
    this.exemplars = [];
    return { buffer, series, rows, labelBytes: bytes, hasStarts, histograms, exemplars };
  }

  private addLabels(batch: SampleBatch, i: number, at: number): void {
    const from = batch.labelStart[i] as number;
    const to = batch.labelEnd[i] as number;
    this.labelBytes.set(batch.labelBytes.subarray(from, to), this.bytes);
    this.labelStart[at] = this.bytes;
    this.bytes += to - from;
    this.labelEnd[at] = this.bytes;
  }

  private addRareRows(batch: SampleBatch, chosen: Uint32Array, count: number, base: number): void {
    if (batch.histograms === null && batch.exemplars === null) return;
    const position = new Map<number, number>();
    for (let k = 0; k < count; k++) position.set(chosen[k] as number, base + k);
    for (const h of batch.histograms ?? []) {
      const at = position.get(h.series);
      if (at !== undefined) this.histograms.push({ ...h, series: at });
    }
    for (const e of batch.exemplars ?? []) {
      const at = position.get(e.series);
      if (at !== undefined) this.exemplars.push({ ...e, series: at });
    }
  }

  private reserve(batch: SampleBatch, chosen: Uint32Array, count: number): void {
    let bytes = this.bytes;
    let rows = this.rows;
    for (let k = 0; k < count; k++) {
      const i = chosen[k] as number;
      bytes += (batch.labelEnd[i] as number) - (batch.labelStart[i] as number);
      rows += (batch.sampleStart[i + 1] as number) - (batch.sampleStart[i] as number);
    }
    const series = this.series + count;
    this.labelBytes = grown(this.labelBytes, bytes);
    this.labelStart = grown(this.labelStart, series);
    this.labelEnd = grown(this.labelEnd, series);
    this.hashes = grown(this.hashes, series * 4);
    this.sampleStart = grown(this.sampleStart, series + 1);
    this.timestamps = grown(this.timestamps, rows);
    this.values = grown(this.values, rows);
    if (batch.startTimestamps !== null || this.starts !== null)
      this.starts = grown(this.starts ?? new Float64Array(this.timestamps.length), rows);
  }
}

/** The packed rows as a batch: views on the buffer, copying nothing. */
export function unpackRows(packed: PackedRows): SampleBatch {
  const { buffer, series, rows, labelBytes, hasStarts, histograms, exemplars } = packed;
  const layout = layoutOf(series, rows, labelBytes, hasStarts);
  return {
    seriesCount: series,
    ...viewsOf(buffer, layout, series, rows, labelBytes, hasStarts),
    histograms,
    exemplars,
    metadata: null,
  };
}

interface Layout {
  values: number;
  starts: number;
  hashes: number;
  sampleStart: number;
  labelStart: number;
  labelEnd: number;
  labels: number;
  end: number;
}

function layoutOf(series: number, rows: number, bytes: number, hasStarts: boolean): Layout {
  const values = rows * 8;
  const starts = values + rows * 8;
  const hashes = hasStarts ? starts + rows * 8 : starts;
  const sampleStart = hashes + series * 16;
  const labelStart = sampleStart + (series + 1) * 4;
  const labelEnd = labelStart + series * 4;
  const labels = labelEnd + series * 4;
  return { values, starts, hashes, sampleStart, labelStart, labelEnd, labels, end: labels + bytes };
}

function viewsOf(
  buffer: ArrayBuffer,
  layout: Layout,
  series: number,
  rows: number,
  bytes: number,
  hasStarts: boolean,
): Pick<
  SampleBatch,
  'timestamps' | 'values' | 'startTimestamps' | 'hashes' | 'sampleStart' | 'labelStart' | 'labelEnd' | 'labelBytes'
> {
  return {
    timestamps: new Float64Array(buffer, 0, rows),
    values: new Float64Array(buffer, layout.values, rows),
    startTimestamps: hasStarts ? new Float64Array(buffer, layout.starts, rows) : null,
    hashes: new Uint32Array(buffer, layout.hashes, series * 4),
    sampleStart: new Uint32Array(buffer, layout.sampleStart, series + 1),
    labelStart: new Uint32Array(buffer, layout.labelStart, series),
    labelEnd: new Uint32Array(buffer, layout.labelEnd, series),
    labelBytes: new Uint8Array(buffer, layout.labels, bytes),
  };
}

function roundUp(bytes: number): number {
  let size = 16 * 1024;
  while (size < bytes) size *= 2;
  return size;
}

function grown<T extends Uint8Array | Uint32Array | Float64Array>(array: T, size: number): T {
  if (array.length >= size) return array;
  const next = new (array.constructor as new (n: number) => T)(Math.max(size, array.length * 2));
  next.set(array);
  return next;
}
