/**
 * Frames: how every log of the head (WAL segment, series.log, chunk file) is cut into checked records.
 *
 *     file:   magic 8 bytes | version u32 | number u32 | frame ...
 *     frame:  tag u32 (0x5357 << 16 | type << 8 | flags) | length u32 | rows u32 | crc u32 | payload | 0..7 zeros
 *
 * Little-endian; every frame starts at a multiple of 8, so that columns of doubles in a payload can be read in place. The
 * CRC covers the first 12 bytes and the payload. It is zlib's CRC-32: with Node's native one it costs 4 us per 18 KB,
 * where a CRC-32C in JavaScript would cost as much as all the rest of an append.
 *
 * A reader that meets a bad frame looks on for the next good one (`resync`): a damaged stretch costs itself only.
 * Format document: docs/formats/wal.md.
 */
import { crc32 } from 'node:zlib';
import { type Files, readAll } from './files.ts';

export const FILE_HEADER_BYTES = 16;
export const FRAME_HEADER_BYTES = 16;
export const FORMAT_VERSION = 1;
/** A longer payload is not believed. */
export const FRAME_PAYLOAD_MAX = 1 << 28;
const TAG = 0x5357;
/** Unit of reading; a frame longer than it makes the reader's buffer grow to that frame. */
const WINDOW_BYTES = 1 << 20;

/** Size in the file of a frame with a payload of `length` bytes. */
export function frameBytes(length: number): number {
  return FRAME_HEADER_BYTES + Math.ceil(length / 8) * 8;
}

export function putFileHeader(out: Uint8Array, magic: string, number: number): void {
  for (let i = 0; i < 8; i++) out[i] = magic.charCodeAt(i);
  putU32(out, 8, FORMAT_VERSION);
  putU32(out, 12, number);
}

/** What is wrong with a file's first 16 bytes, or '' where they are fine. */
export function checkFileHeader(bytes: Uint8Array, length: number, magic: string): string {
  if (length < FILE_HEADER_BYTES) return `is only ${length} bytes long`;
  for (let i = 0; i < 8; i++) if (bytes[i] !== magic.charCodeAt(i)) return `does not start with ${magic}`;
  const version = getU32(bytes, 8);
  if (version !== FORMAT_VERSION) return `has format version ${version}; this program reads ${FORMAT_VERSION}`;
  return '';
}

/**
 * Completes the frame whose payload of `length` bytes already stands at out[at + 16]; returns the end of the frame. The
 * caller has made sure that `frameBytes(length)` fits.
 */
export function sealFrame(
  out: Uint8Array,
  at: number,
  type: number,
  flags: number,
  rows: number,
  length: number,
): number {
  putU32(out, at, ((TAG << 16) | (type << 8) | flags) >>> 0);
  putU32(out, at + 4, length);
  putU32(out, at + 8, rows);
  const start = at + FRAME_HEADER_BYTES;
  const end = at + frameBytes(length);
  out.fill(0, start + length, end);
  putU32(out, at + 12, frameCrc(out, at, length));
  return end;
}

/** Whether a sound frame with a payload of `length` bytes stands at bytes[at]. */
export function isFrame(bytes: Uint8Array, at: number, length: number): boolean {
  if (getU32(bytes, at) >>> 16 !== TAG || getU32(bytes, at + 4) !== length) return false;
  return frameCrc(bytes, at, length) === getU32(bytes, at + 12);
}

function frameCrc(bytes: Uint8Array, at: number, length: number): number {
  const head = crc32(bytes.subarray(at, at + 12));
  return length === 0 ? head : crc32(bytes.subarray(at + FRAME_HEADER_BYTES, at + FRAME_HEADER_BYTES + length), head);
}

export function putU32(out: Uint8Array, at: number, v: number): void {
  out[at] = v;
  out[at + 1] = v >>> 8;
  out[at + 2] = v >>> 16;
  out[at + 3] = v >>> 24;
}

export function getU32(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24)) >>>
    0
  );
}

/** A frame that has been found sound. */
export interface FrameView {
  type: number;
  flags: number;
  rows: number;
  payload: Uint8Array;
}

/** Reads the frames of one open file in order. */
export class FrameReader {
  type = 0;
  flags = 0;
  rows = 0;
  /** Valid until the next call. Starts at a multiple of 8 in its buffer. */
  payload: Uint8Array = new Uint8Array(0);
  /** Where the current frame starts in the file. */
  offset = 0;
  /** Where the next frame starts: the end of the good part once `next` has returned false. */
  position = FILE_HEADER_BYTES;
  readonly size: number;
  private readonly files: Files;
  private readonly fd: number;
  private buffer = new Uint8Array(WINDOW_BYTES);
  private bufferStart = 0;
  private bufferLength = 0;

  constructor(files: Files, fd: number) {
    this.files = files;
    this.fd = fd;
    this.size = files.size(fd);
  }

  /** What is wrong with the file header, or ''. */
  checkHeader(magic: string): string {
    const n = this.window(0, FILE_HEADER_BYTES);
    return checkFileHeader(this.buffer, n, magic);
  }

  /** The next frame; false at the end of the file or where no good frame stands (then position < size). */
  next(): boolean {
    const at = this.position;
    const length = this.check(at);
    if (length < 0) return false;
    const from = at - this.bufferStart + FRAME_HEADER_BYTES;
    const tag = getU32(this.buffer, at - this.bufferStart);
    this.type = (tag >>> 8) & 0xff;
    this.flags = tag & 0xff;
    this.rows = getU32(this.buffer, at - this.bufferStart + 8);
    this.payload = this.buffer.subarray(from, from + length);
    this.offset = at;
    this.position = Math.min(at + frameBytes(length), this.size);
    return true;
  }

  /** Where the current payload starts in the file. */
  get payloadOffset(): number {
    return this.offset + FRAME_HEADER_BYTES;
  }

  /** The current frame as it stands in the file, header and padding included; valid until the next call. */
  frame(): Uint8Array {
    const start = this.offset - this.bufferStart;
    const length = frameBytes(this.payload.length);
    if (start + length <= this.bufferLength) return this.buffer.subarray(start, start + length);
    // Only the padding of the last frame of a file can be missing.
    const whole = new Uint8Array(length);
    whole.set(this.buffer.subarray(start, start + FRAME_HEADER_BYTES + this.payload.length));
    return whole;
  }

  /** After `next` returned false: goes to the next good frame behind the bad place; false where there is none. */
  resync(): boolean {
    for (let at = this.position + 8; at + FRAME_HEADER_BYTES <= this.size; at += 8) {
      if (this.check(at) < 0) continue;
      this.position = at;
      return true;
    }
    return false;
  }

  /** Payload length of a good frame at `at` (then all of it is in the buffer), or -1. */
  private check(at: number): number {
    if (this.window(at, FRAME_HEADER_BYTES) < FRAME_HEADER_BYTES) return -1;
    const head = at - this.bufferStart;
    if (getU32(this.buffer, head) >>> 16 !== TAG) return -1;
    const length = getU32(this.buffer, head + 4);
    if (length > FRAME_PAYLOAD_MAX || at + FRAME_HEADER_BYTES + length > this.size) return -1;
    const whole = FRAME_HEADER_BYTES + length;
    if (this.window(at, whole) < whole) return -1;
    const start = at - this.bufferStart;
    return frameCrc(this.buffer, start, length) === getU32(this.buffer, start + 12) ? length : -1;
  }

  /** Brings [at, at + length) of the file into the buffer; returns how many of those bytes there are. */
  private window(at: number, length: number): number {
    if (at >= this.bufferStart && at + length <= this.bufferStart + this.bufferLength) return length;
    if (length > this.buffer.length) this.buffer = new Uint8Array(Math.ceil(length / WINDOW_BYTES) * WINDOW_BYTES);
    this.bufferStart = at;
    this.bufferLength = readAll(this.files, this.fd, this.buffer, 0, this.buffer.length, at);
    return Math.min(length, this.bufferLength);
  }
}
