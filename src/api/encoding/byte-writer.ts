/**
 * ByteWriter: text and JSON straight into bytes, cut into chunks that a stream can send.
 *
 * It writes into a scratch buffer that goes from writer to writer, and cuts chunks of exactly what was written, each with an
 * ArrayBuffer of its own that can move to another thread. A fresh buffer per answer instead would be counted by V8 as
 * outside memory, and force a full collection every few hundred answers. A writer asks `room(n)` before it writes n bytes by
 * hand at `at`.
 */

export const CHUNK_BYTES = 128 * 1024;

/** Scratch buffers that no writer uses, of CHUNK_BYTES each. */
const idle: Buffer[] = [];
const IDLE_MAX = 4;
const NOTHING = Buffer.alloc(0);

export class ByteWriter {
  /** Where hand-written bytes go; replaced by `room`, so read it again after each call. */
  bytes: Buffer;
  at = 0;
  private full: Uint8Array[] = [];
  private sealedBytes = 0;

  constructor() {
    this.bytes = idle.pop() ?? Buffer.allocUnsafeSlow(CHUNK_BYTES);
  }

  /** Makes sure that n more bytes fit at `at`. */
  room(n: number): void {
    if (this.at + n <= this.bytes.length) return;
    this.seal();
    if (n > this.bytes.length) this.bytes = Buffer.allocUnsafeSlow(n);
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
    if (this.bytes.length === CHUNK_BYTES && idle.length < IDLE_MAX) idle.push(this.bytes);
    this.bytes = NOTHING;
    return this.take();
  }

  private seal(): void {
    if (this.at === 0) return;
    this.sealedBytes += this.at;
    this.full.push(new Uint8Array(this.bytes.subarray(0, this.at)));
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
