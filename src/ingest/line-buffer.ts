/**
 * LineBuffer: cuts a body that arrives in chunks of any size into stretches of whole lines.
 *
 * Lines inside a chunk are handed out where they stand; only a line that a chunk boundary cuts is copied. A line longer
 * than the bound is reported once, as soon as that is known, and left out: memory is bounded by one line.
 */

/** Whole lines: bytes[start, end), newline included except perhaps after the last line of all. */
export interface LineStretch {
  bytes: Uint8Array;
  start: number;
  end: number;
}

const NEWLINE = 0x0a;

export class LineBuffer {
  private readonly maxLineBytes: number;
  private readonly onTooLong: () => void;
  /** The beginning of a line whose end has not arrived. */
  private pending = new Uint8Array(4096);
  private length = 0;
  /** Inside a line that is left out. */
  private skipping = false;

  /** `onTooLong` may throw, which ends the body. */
  constructor(maxLineBytes: number, onTooLong: () => void) {
    this.maxLineBytes = maxLineBytes;
    this.onTooLong = onTooLong;
  }

  /** Stretches hold until the generator goes on. */
  *push(chunk: Uint8Array): Generator<LineStretch> {
    let start = 0;
    if (this.length > 0 || this.skipping) {
      const eol = chunk.indexOf(NEWLINE);
      start = eol < 0 ? chunk.length : eol + 1;
      this.keep(chunk, 0, start);
      if (eol < 0) return;
      yield* this.flush();
      this.skipping = false;
    }
    const end = Math.max(start, chunk.lastIndexOf(NEWLINE) + 1);
    if (end > start) yield { bytes: chunk, start, end };
    this.keep(chunk, end, chunk.length);
  }

  /** The last line may lack its newline. */
  *end(): Generator<LineStretch> {
    yield* this.flush();
    this.skipping = false;
  }

  private *flush(): Generator<LineStretch> {
    const end = this.length;
    this.length = 0;
    if (end > 0) yield { bytes: this.pending, start: 0, end };
  }

  private keep(chunk: Uint8Array, start: number, end: number): void {
    if (this.skipping || start === end) return;
    const need = this.length + end - start;
    if (need > this.maxLineBytes) {
      this.skipping = true;
      this.length = 0;
      this.onTooLong();
      return;
    }
    if (need > this.pending.length) {
      const grown = new Uint8Array(Math.max(need, this.pending.length * 2));
      grown.set(this.pending.subarray(0, this.length));
      this.pending = grown;
    }
    this.pending.set(chunk.subarray(start, end), this.length);
    this.length = need;
  }
}
