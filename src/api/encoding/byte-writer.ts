/**
 * ByteWriter: text and JSON straight into bytes, cut into chunks that a stream can send.
 *
 * Each chunk has an ArrayBuffer of its own, so that it can move to another thread without a copy and nobody waits for a shared
 * buffer to come back. A writer asks `room(n)` before it writes n bytes by hand at `at`.
 */

export const CHUNK_BYTES = 128 * 1024;

export class ByteWriter {
  /** Where hand-written bytes go; replaced by `room`, so read it again after each call. */
  bytes: Buffer;
  at = 0;
  private full: Uint8Array[] = [];
  private sealedBytes = 0;

  constructor(firstChunkBytes = CHUNK_BYTES) {
    this.bytes = Buffer.allocUnsafeSlow(firstChunkBytes);
  }

  /** Makes sure that n more bytes fit at `at`. */
  room(n: number): void {
    if (this.at + n <= this.bytes.length) return;
    this.seal();
    this.bytes = Buffer.allocUnsafeSlow(Math.max(CHUNK_BYTES, n));
    this.at = 0;
  }

  /** Bytes written so far, over all chunks. */
  get total(): number {
    return this.sealedBytes + this.at;
  }

  latin1(text: string): void {
    const n = text.length;
    this.room(n);
    const { bytes } = this;
    if (n < 24) {
      // Fast path: a call into native code costs more than a short loop.
      let p = this.at;
      for (let i = 0; i < n; i++) bytes[p++] = text.charCodeAt(i);
      this.at = p;
      return;
    }
    this.at += bytes.write(text, this.at, n, 'latin1');
  }

  utf8(text: string): void {
    this.room(text.length * 3);
    this.at += this.bytes.write(text, this.at, 'utf8');
  }

  copy(source: Uint8Array, start = 0, end = source.length): void {
    const n = end - start;
    this.room(n);
    this.bytes.set(start === 0 && end === source.length ? source : source.subarray(start, end), this.at);
    this.at += n;
  }

  /** A JSON string with its quotes. */
  jsonString(text: string): void {
    if (isPlain(text)) {
      this.room(text.length + 2);
      const { bytes } = this;
      let p = this.at;
      bytes[p++] = 0x22;
      for (let i = 0; i < text.length; i++) bytes[p++] = text.charCodeAt(i);
      bytes[p++] = 0x22;
      this.at = p;
      return;
    }
    this.utf8(JSON.stringify(text));
  }

  /** Chunks that are full; the writer lets go of them. */
  take(): Uint8Array[] {
    const { full } = this;
    this.full = [];
    return full;
  }

  /** Everything not taken yet; the writer is done. */
  finish(): Uint8Array[] {
    this.seal();
    this.bytes = Buffer.alloc(0);
    this.at = 0;
    return this.take();
  }

  private seal(): void {
    if (this.at === 0) return;
    this.sealedBytes += this.at;
    // A copy of the part in use where much is free: else the whole buffer would travel between threads.
    const used = this.bytes.subarray(0, this.at);
    this.full.push(this.at < this.bytes.length ? new Uint8Array(used) : used);
    this.at = 0;
  }
}

/** Printable ASCII without quote and backslash: the same bytes in JSON. */
function isPlain(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c < 0x20 || c > 0x7e || c === 0x22 || c === 0x5c) return false;
  }
  return true;
}
