/**
 * The records of an exemplar segment (format document: docs/formats/exemplars.md).
 *
 * A frame's payload is a run of records. A series is defined once per segment, before its first exemplar there, so that
 * every segment can be read, and deleted, by itself.
 */
import { ByteCursor, CorruptRecordError, putF64, putVarint, VARINT_MAX } from '../wal/varint.ts';

export const EXEMPLAR_MAGIC = 'SLEXMPL1';
export const FRAME_ROWS = 1;
export const RECORD_SERIES = 0;
export const RECORD_EXEMPLAR = 1;

/** Bounds of what is stored; longer labels are refused by decoders before (128 characters). */
export const MAX_LABELS = 64;
export const MAX_EXEMPLAR_BYTES = 4096;
const MAX_TENANT_BYTES = 600;
const MAX_SERIES_LABEL_BYTES = 1 << 22;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A growing buffer of records. */
export class RecordWriter {
  bytes = new Uint8Array(16 * 1024);
  at = 0;

  clear(start: number): void {
    this.at = start;
  }

  series(ref: number, tenant: string, hash: Uint32Array, hashAt: number, labels: Uint8Array): void {
    const name = encoder.encode(tenant);
    this.reserve(1 + 3 * VARINT_MAX + name.length + 16 + labels.length);
    this.bytes[this.at++] = RECORD_SERIES;
    this.at = putVarint(this.bytes, this.at, ref);
    this.blob(name);
    for (let i = 0; i < 4; i++) {
      const word = hash[hashAt + i] as number;
      for (let shift = 0; shift < 32; shift += 8) this.bytes[this.at++] = word >>> shift;
    }
    this.blob(labels);
  }

  /** Opens an exemplar record; its body (`exemplarBody`) follows. */
  exemplarHead(ref: number): void {
    this.reserve(1 + VARINT_MAX);
    this.bytes[this.at++] = RECORD_EXEMPLAR;
    this.at = putVarint(this.bytes, this.at, ref);
  }

  raw(body: Uint8Array): void {
    this.reserve(body.length);
    this.bytes.set(body, this.at);
    this.at += body.length;
  }

  /** Makes room for so many more bytes. */
  reserve(more: number): void {
    if (this.at + more <= this.bytes.length) return;
    const grown = new Uint8Array(Math.max(this.at + more, this.bytes.length * 2));
    grown.set(this.bytes.subarray(0, this.at));
    this.bytes = grown;
  }

  private blob(bytes: Uint8Array): void {
    this.at = putVarint(this.bytes, this.at, bytes.length);
    this.bytes.set(bytes, this.at);
    this.at += bytes.length;
  }
}

const body = new Uint8Array(MAX_EXEMPLAR_BYTES);

/**
 * The body of an exemplar record: timestamp, value, labels. Valid until the next call; null where it is over the bounds.
 * Exemplars are equal exactly if their bodies are.
 */
export function exemplarBody(timestampMs: number, value: number, labels: readonly string[]): Uint8Array | null {
  if (labels.length > MAX_LABELS * 2 || !(timestampMs >= 0 && timestampMs <= Number.MAX_SAFE_INTEGER)) return null;
  let size = 2 * VARINT_MAX + 8;
  for (const text of labels) size += VARINT_MAX + text.length * 3;
  if (size > MAX_EXEMPLAR_BYTES) return null;
  let p = putVarint(body, 0, timestampMs);
  p = putF64(body, p, value);
  p = putVarint(body, p, labels.length / 2);
  for (const text of labels) {
    const bytes = encoder.encode(text);
    p = putVarint(body, p, bytes.length);
    body.set(bytes, p);
    p += bytes.length;
  }
  return body.subarray(0, p);
}

export interface ExemplarBody {
  timestampMs: number;
  value: number;
  /** Flat [name, value, ...]. */
  labels: string[];
}

/** Reads a body; the cursor stands behind it afterwards. Throws CorruptRecordError. */
export function readExemplarBody(cursor: ByteCursor): ExemplarBody {
  const timestampMs = cursor.varint();
  const value = cursor.f64();
  const count = cursor.bounded(MAX_LABELS, 'exemplar label count');
  const labels: string[] = [];
  for (let i = 0; i < count * 2; i++) {
    labels.push(decoder.decode(cursor.take(cursor.bounded(MAX_EXEMPLAR_BYTES, 'exemplar label length'))));
  }
  return { timestampMs, value, labels };
}

export interface SeriesRecord {
  ref: number;
  tenant: string;
  hash: Uint32Array;
  labels: Uint8Array;
}

/** Calls back for each record of a frame's payload. Throws CorruptRecordError where they make no sense. */
export function readRecords(
  payload: Uint8Array,
  onSeries: (series: SeriesRecord) => void,
  onExemplar: (ref: number, body: ExemplarBody, start: number, end: number) => void,
): void {
  const cursor = new ByteCursor(payload);
  while (cursor.left > 0) {
    const kind = cursor.byte();
    if (kind === RECORD_SERIES) onSeries(readSeries(cursor));
    else if (kind === RECORD_EXEMPLAR) {
      const ref = cursor.varint();
      const start = cursor.at;
      const exemplar = readExemplarBody(cursor);
      onExemplar(ref, exemplar, start, cursor.at);
    } else throw new CorruptRecordError(`record of unknown kind ${kind} at byte ${cursor.at - 1}`);
  }
}

function readSeries(cursor: ByteCursor): SeriesRecord {
  const ref = cursor.varint();
  const tenant = decoder.decode(cursor.take(cursor.bounded(MAX_TENANT_BYTES, 'tenant length')));
  const hash = new Uint32Array(4);
  for (let i = 0; i < 4; i++) {
    for (let shift = 0; shift < 32; shift += 8) hash[i] = (hash[i] as number) | (cursor.byte() << shift);
  }
  const labels = cursor.take(cursor.bounded(MAX_SERIES_LABEL_BYTES, 'label length')).slice();
  return { ref, tenant, hash, labels };
}
