/**
 * Records of chunk pages: their layout, an encoder, a checking reader for bytes from disk and a fast one for walking chains.
 *
 *     page:    number f64 | minT f64 | maxT f64 | records u32 | 0 u32 | record ...
 *     record:  ref | pages back | offset | kind u8 | minT | maxT - minT | length | bytes      (numbers are varints)
 *
 * The address of a record is page number x 2^24 + offset in the page; 0 means none.
 */
import { getU32, putU32 } from '../wal/frame.ts';
import { type ByteCursor, CorruptRecordError, putF64, putVarint, VARINT_MAX } from '../wal/varint.ts';

export const KIND_FLOAT = 0;
export const KIND_HISTOGRAM = 1;

export const PAGE_HEADER = 32;
export const OFFSET_SPAN = 1 << 24;
/** A chunk longer than this cannot be stored (a page of its own, addressed by 24 bits). */
export const CHUNK_BYTES_MAX = OFFSET_SPAN - 1024;
/** Longest record without its chunk, bytes. */
export const RECORD_HEADER_MAX = 6 * VARINT_MAX + 1;

/** One record's header, and where its chunk is. */
export interface ChunkRecord {
  ref: number;
  previous: number;
  kind: number;
  minT: number;
  maxT: number;
  bytes: Uint8Array;
  /** The chunk is bytes[start, end). */
  start: number;
  end: number;
}

export function newChunkRecord(): ChunkRecord {
  return { ref: 0, previous: 0, kind: 0, minT: 0, maxT: 0, bytes: new Uint8Array(0), start: 0, end: 0 };
}

/** Writes a record's header at out[at] of page `page`; returns where its chunk goes. */
export function putRecordHeader(
  out: Uint8Array,
  at: number,
  page: number,
  ref: number,
  previous: number,
  kind: number,
  minT: number,
  maxT: number,
  length: number,
): number {
  const previousPage = Math.floor(previous / OFFSET_SPAN);
  let p = putVarint(out, at, ref);
  p = putVarint(out, p, previous === 0 ? 0 : page - previousPage);
  p = putVarint(out, p, previous === 0 ? 0 : previous % OFFSET_SPAN);
  out[p++] = kind;
  p = putVarint(out, p, minT);
  p = putVarint(out, p, maxT - minT);
  return putVarint(out, p, length);
}

/** Where `next` reads. */
let at = 0;

/** A varint of bytes that have been checked. */
function next(bytes: Uint8Array): number {
  let b = bytes[at++] as number;
  if (b < 0x80) return b;
  let result = b & 0x7f;
  for (let shift = 7; shift < 28; shift += 7) {
    b = bytes[at++] as number;
    result |= (b & 0x7f) << shift;
    if (b < 0x80) return result;
  }
  for (let scale = 2 ** 28; scale < 2 ** 53; scale *= 128) {
    b = bytes[at++] as number;
    result += (b & 0x7f) * scale;
    if (b < 0x80) break;
  }
  return result;
}

/**
 * As `readRecord`, for a page whose checksum has been verified or that this process has written: a third of the time, which
 * is what walking a chain consists of.
 */
export function readOwnRecord(bytes: Uint8Array, offset: number, page: number, record: ChunkRecord): void {
  at = offset;
  record.ref = next(bytes);
  const back = next(bytes);
  const before = next(bytes);
  record.previous = back === 0 && before === 0 ? 0 : (page - back) * OFFSET_SPAN + before;
  record.kind = bytes[at++] as number;
  const minT = next(bytes);
  record.minT = minT;
  record.maxT = minT + next(bytes);
  const length = next(bytes);
  record.bytes = bytes;
  record.start = at;
  record.end = at + length;
}

/** Reads the record at the cursor; throws CorruptRecordError. The cursor stands behind it afterwards. */
export function readRecord(cursor: ByteCursor, page: number, record: ChunkRecord): void {
  record.ref = cursor.bounded(0xfffffffe, 'ref');
  const back = cursor.bounded(page - 1, 'distance');
  const offset = cursor.bounded(OFFSET_SPAN - 1, 'offset');
  record.previous = back === 0 && offset === 0 ? 0 : (page - back) * OFFSET_SPAN + offset;
  record.kind = cursor.byte();
  record.minT = cursor.varint();
  record.maxT = record.minT + cursor.varint();
  const length = cursor.bounded(cursor.left, 'chunk length');
  record.bytes = cursor.bytes;
  record.start = cursor.at;
  record.end = cursor.at + length;
  cursor.at = record.end;
}

export interface PageHeader {
  number: number;
  minT: number;
  maxT: number;
  records: number;
}

/** Reads the head of a page; the cursor stands at its first record afterwards. Throws CorruptRecordError. */
export function readPageHeader(cursor: ByteCursor): PageHeader {
  cursor.need(PAGE_HEADER);
  const number = cursor.f64();
  const minT = cursor.f64();
  const maxT = cursor.f64();
  const records = getU32(cursor.bytes, cursor.at);
  cursor.at += 8;
  if (!Number.isSafeInteger(number) || number < 1 || number >= 2 ** 29) {
    throw new CorruptRecordError(`chunk page number ${number}`);
  }
  return { number, minT, maxT, records };
}

export function chunkAddress(page: number, offset: number): number {
  return page * OFFSET_SPAN + offset;
}

export function putPageHeader(out: Uint8Array, header: PageHeader): void {
  putF64(out, 0, header.number);
  putF64(out, 8, header.minT);
  putF64(out, 16, header.maxT);
  putU32(out, 24, header.records);
  putU32(out, 28, 0);
}
