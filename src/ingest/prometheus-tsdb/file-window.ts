/**
 * FileWindow: an open file read through one sliding buffer, for decoders that mostly go forward and hold no file in memory.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { CorruptPrometheusError } from './byte-reader.ts';

export class FileWindow {
  readonly path: string;
  readonly size: number;
  bytes: Uint8Array;
  /** Where bytes[0] lies in the file. */
  base = 0;
  private filled = 0;
  private readonly fd: number;
  private readonly windowBytes: number;

  /** `windowBytes` are read at once, or more where more is asked for. */
  constructor(path: string, windowBytes: number) {
    this.path = path;
    this.fd = openSync(path, 'r');
    this.size = fstatSync(this.fd).size;
    this.windowBytes = windowBytes;
    this.bytes = new Uint8Array(windowBytes);
  }

  /**
   * Makes up to `length` bytes from `offset` on available, fewer only at the end of the file; returns how many. They stand at
   * bytes[offset - base] until the next call.
   */
  load(offset: number, length: number): number {
    if (offset < 0 || offset > this.size) {
      throw new CorruptPrometheusError(this.path, offset, `the file has ${this.size} bytes`);
    }
    const want = Math.min(length, this.size - offset);
    if (offset >= this.base && offset + want <= this.base + this.filled) return want;
    const size = Math.min(Math.max(want, this.windowBytes), this.size - offset);
    if (this.bytes.length < size) this.bytes = new Uint8Array(size);
    this.base = offset;
    this.filled = 0;
    while (this.filled < size) {
      const n = readSync(this.fd, this.bytes, this.filled, size - this.filled, offset + this.filled);
      if (n === 0) throw new CorruptPrometheusError(this.path, offset, 'the file became shorter while it was read');
      this.filled += n;
    }
    return want;
  }

  /** As `load`, with all of them there. */
  need(offset: number, length: number, what: string): void {
    const got = this.load(offset, length);
    if (got < length) throw new CorruptPrometheusError(this.path, offset, `${what} is cut off at the end of the file`);
  }

  /** After `bytes` was replaced from outside. */
  forget(): void {
    this.filled = 0;
  }

  close(): void {
    closeSync(this.fd);
  }
}
