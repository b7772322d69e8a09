/**
 * Records of the outgoing queue besides those it shares with the WAL (docs/formats/forward.md): what the refs of a segment mean,
 * exemplars and metadata.
 *
 *     series      per row: ref, length, canonical label encoding
 *     exemplars   per row: timestamp f64, value f64, length, the series' labels, length, the exemplar's labels
 *     metadata    JSON of the entries
 */
import type { ForwardRows } from '../../../contracts/forward-source.ts';
import { decodeLabels, encodeLabels } from '../../../model/labels.ts';
import type { MetadataEntry, SampleBatch } from '../../../model/sample-batch.ts';
import { FRAME_HEADER_BYTES, frameBytes, sealFrame } from '../wal/frame.ts';
import { REF_MAX } from '../wal/records.ts';
import { ByteCursor, CorruptRecordError, putF64, putVarint, VARINT_MAX } from '../wal/varint.ts';

export const FWD_SERIES = 16;
export const FWD_EXEMPLARS = 17;
export const FWD_METADATA = 18;

export interface SeriesRow {
  ref: number;
  labels: Uint8Array;
}

export function encodeSeriesRows(rows: readonly SeriesRow[]): Uint8Array {
  let size = 0;
  for (const row of rows) size += 2 * VARINT_MAX + row.labels.length;
  const out = new Uint8Array(frameBytes(size));
  let p = FRAME_HEADER_BYTES;
  for (const { ref, labels } of rows) {
    p = putVarint(out, p, ref);
    p = putBytes(out, p, labels);
  }
  return out.subarray(0, sealFrame(out, 0, FWD_SERIES, 0, rows.length, p - FRAME_HEADER_BYTES));
}

export function readSeriesRows(payload: Uint8Array, rows: number, into: Pick<ForwardRows, 'series'>): void {
  const cursor = new ByteCursor(payload);
  for (let i = 0; i < rows; i++) {
    const ref = cursor.bounded(REF_MAX, 'ref');
    into.series(ref, takeBytes(cursor));
  }
}

/** Exemplars of the chosen series of a batch whose labels are there; null where there are none. */
export function encodeExemplarRows(batch: SampleBatch, chosen: Uint32Array | null): Uint8Array | null {
  const wanted = chosen === null ? null : new Set(chosen);
  const parts: { at: number; value: number; series: Uint8Array; labels: Uint8Array }[] = [];
  let size = 0;
  for (const e of batch.exemplars ?? []) {
    if (wanted !== null && !wanted.has(e.series)) continue;
    const start = batch.labelStart[e.series] as number;
    const end = batch.labelEnd[e.series] as number;
    if (start > end) continue;
    const part = {
      at: e.timestampMs,
      value: e.value,
      series: batch.labelBytes.subarray(start, end),
      labels: encodeLabels(e.labels),
    };
    size += 16 + 2 * VARINT_MAX + part.series.length + part.labels.length;
    parts.push(part);
  }
  if (parts.length === 0) return null;
  const out = new Uint8Array(frameBytes(size));
  let p = FRAME_HEADER_BYTES;
  for (const part of parts) {
    p = putF64(out, p, part.at);
    p = putF64(out, p, part.value);
    p = putBytes(out, p, part.series);
    p = putBytes(out, p, part.labels);
  }
  return out.subarray(0, sealFrame(out, 0, FWD_EXEMPLARS, 0, parts.length, p - FRAME_HEADER_BYTES));
}

export function readExemplarRows(payload: Uint8Array, rows: number, into: Pick<ForwardRows, 'exemplar'>): void {
  const cursor = new ByteCursor(payload);
  for (let i = 0; i < rows; i++) {
    const at = cursor.f64();
    const value = cursor.f64();
    const series = takeBytes(cursor);
    const labels = takeBytes(cursor);
    into.exemplar(series, at, value, decodeLabels(labels));
  }
}

export function encodeMetadata(entries: readonly MetadataEntry[]): Uint8Array {
  const text = new TextEncoder().encode(JSON.stringify(entries.map(e => [e.metric, e.type, e.help, e.unit])));
  const out = new Uint8Array(frameBytes(text.length));
  out.set(text, FRAME_HEADER_BYTES);
  return out.subarray(0, sealFrame(out, 0, FWD_METADATA, 0, entries.length, text.length));
}

export function readMetadata(payload: Uint8Array, into: Pick<ForwardRows, 'metadata'>): void {
  let rows: unknown;
  try {
    rows = JSON.parse(new TextDecoder().decode(payload));
  } catch (error) {
    throw new CorruptRecordError(`metadata record: ${(error as Error).message}`);
  }
  if (!Array.isArray(rows)) throw new CorruptRecordError('metadata record is no list');
  for (const row of rows) {
    const [metric, type, help, unit] = Array.isArray(row) ? row : [];
    if ([metric, type, help, unit].every(text => typeof text === 'string')) into.metadata({ metric, type, help, unit });
  }
}

function putBytes(out: Uint8Array, at: number, bytes: Uint8Array): number {
  const p = putVarint(out, at, bytes.length);
  out.set(bytes, p);
  return p + bytes.length;
}

function takeBytes(cursor: ByteCursor): Uint8Array {
  return cursor.take(cursor.bounded(cursor.left, 'length'));
}
