/**
 * BatchRows: picking some series of a SampleBatch into a batch that owns its memory, to be moved to another thread.
 *
 * Several batches of one tenant may be appended to the same builder: rows for another shard are exchanged once per turn
 * of the event loop, not once per request (docs/decisions/0004-shards.md has the figures).
 */
import type { ExemplarSample, HistogramSample, SampleBatch } from './sample-batch.ts';

export class BatchRows {
  private seriesCount = 0;
  private rowCount = 0;
  private byteCount = 0;
  private labelBytes = new Uint8Array(16 * 1024);
  private labelStart = new Uint32Array(128);
  private labelEnd = new Uint32Array(128);
  private hashes = new Uint32Array(128 * 4);
  private sampleStart = new Uint32Array(129);
  private timestamps = new Float64Array(128);
  private values = new Float64Array(128);
  private startTimestamps: Float64Array | null = null;
  private histograms: HistogramSample[] = [];
  private exemplars: ExemplarSample[] = [];

  get size(): number {
    return this.seriesCount;
  }

  /** Copies the series with these indices (ascending), with all that hangs on them. */
  add(batch: SampleBatch, series: Uint32Array, count: number): void {
    const base = this.seriesCount;
    const hasStarts = batch.startTimestamps !== null;
    this.reserve(batch, series, count, hasStarts);
    for (let k = 0; k < count; k++) {
      const i = series[k] as number;
      const from = batch.labelStart[i] as number;
      const to = batch.labelEnd[i] as number;
      this.labelBytes.set(batch.labelBytes.subarray(from, to), this.byteCount);
      this.labelStart[base + k] = this.byteCount;
      this.byteCount += to - from;
      this.labelEnd[base + k] = this.byteCount;
      for (let w = 0; w < 4; w++) this.hashes[(base + k) * 4 + w] = batch.hashes[i * 4 + w] as number;
      const rowFrom = batch.sampleStart[i] as number;
      const rowTo = batch.sampleStart[i + 1] as number;
      for (let r = rowFrom; r < rowTo; r++) {
        this.timestamps[this.rowCount] = batch.timestamps[r] as number;
        this.values[this.rowCount] = batch.values[r] as number;
        if (this.startTimestamps !== null)
          this.startTimestamps[this.rowCount] =
            batch.startTimestamps === null ? 0 : (batch.startTimestamps[r] as number);
        this.rowCount++;
      }
      this.sampleStart[base + k + 1] = this.rowCount;
    }
    this.seriesCount += count;
    this.addRareRows(batch, series, count, base);
  }

  /** The batch so far; the builder starts anew. Arrays are trimmed so that they can be transferred. */
  take(): SampleBatch {
    const batch: SampleBatch = {
      seriesCount: this.seriesCount,
      labelBytes: this.labelBytes.slice(0, this.byteCount),
      labelStart: this.labelStart.slice(0, this.seriesCount),
      labelEnd: this.labelEnd.slice(0, this.seriesCount),
      hashes: this.hashes.slice(0, this.seriesCount * 4),
      sampleStart: this.sampleStart.slice(0, this.seriesCount + 1),
      timestamps: this.timestamps.slice(0, this.rowCount),
      values: this.values.slice(0, this.rowCount),
      startTimestamps: this.startTimestamps?.slice(0, this.rowCount) ?? null,
      histograms: this.histograms.length > 0 ? this.histograms : null,
      exemplars: this.exemplars.length > 0 ? this.exemplars : null,
      metadata: null,
    };
    this.seriesCount = 0;
    this.rowCount = 0;
    this.byteCount = 0;
    this.startTimestamps = null;
    this.histograms = [];
    this.exemplars = [];
    return batch;
  }

  private addRareRows(batch: SampleBatch, series: Uint32Array, count: number, base: number): void {
    if (batch.histograms === null && batch.exemplars === null) return;
    const position = new Map<number, number>();
    for (let k = 0; k < count; k++) position.set(series[k] as number, base + k);
    for (const h of batch.histograms ?? []) {
      const at = position.get(h.series);
      if (at !== undefined) this.histograms.push({ ...h, series: at });
    }
    for (const e of batch.exemplars ?? []) {
      const at = position.get(e.series);
      if (at !== undefined) this.exemplars.push({ ...e, series: at });
    }
  }

  private reserve(batch: SampleBatch, series: Uint32Array, count: number, hasStarts: boolean): void {
    let bytes = this.byteCount;
    let rows = this.rowCount;
    for (let k = 0; k < count; k++) {
      const i = series[k] as number;
      bytes += (batch.labelEnd[i] as number) - (batch.labelStart[i] as number);
      rows += (batch.sampleStart[i + 1] as number) - (batch.sampleStart[i] as number);
    }
    this.labelBytes = grown(this.labelBytes, bytes);
    this.labelStart = grown(this.labelStart, this.seriesCount + count);
    this.labelEnd = grown(this.labelEnd, this.seriesCount + count);
    this.hashes = grown(this.hashes, (this.seriesCount + count) * 4);
    this.sampleStart = grown(this.sampleStart, this.seriesCount + count + 1);
    this.timestamps = grown(this.timestamps, rows);
    this.values = grown(this.values, rows);
    if (hasStarts || this.startTimestamps !== null)
      this.startTimestamps = grown(this.startTimestamps ?? new Float64Array(this.timestamps.length), rows);
  }
}

/** The buffers of a batch made by `BatchRows.take`, for a transfer list. */
export function batchBuffers(batch: SampleBatch): ArrayBuffer[] {
  const arrays = [
    batch.labelBytes,
    batch.labelStart,
    batch.labelEnd,
    batch.hashes,
    batch.sampleStart,
    batch.timestamps,
    batch.values,
  ];
  const buffers = arrays.map(a => a.buffer as ArrayBuffer);
  if (batch.startTimestamps !== null) buffers.push(batch.startTimestamps.buffer as ArrayBuffer);
  return buffers;
}

function grown<T extends Uint8Array | Uint32Array | Float64Array>(array: T, size: number): T {
  if (array.length >= size) return array;
  const next = new (array.constructor as new (n: number) => T)(Math.max(size, array.length * 2));
  next.set(array);
  return next;
}
