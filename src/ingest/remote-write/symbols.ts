/**
 * The symbol table of a remote-write 2.0 request: texts as byte ranges of the message, each checked for UTF-8 once.
 */
import { isUtf8 } from '../../lib/kernel/js-backend.ts';
import type { LabelSet } from '../label-set.ts';

/** Far above what a message of 64 MiB can use sensibly; two bytes make a symbol. */
const MAX_SYMBOLS = 1 << 22;

const decoder = new TextDecoder();

export class Symbols {
  private bytes: Uint8Array = new Uint8Array(0);
  private ranges = new Uint32Array(1024 * 2);
  /** 1 = valid UTF-8. */
  private valid = new Uint8Array(1024);
  count = 0;

  reset(bytes: Uint8Array): void {
    this.bytes = bytes;
    this.count = 0;
  }

  /** False if there are too many. */
  add(start: number, end: number): boolean {
    const i = this.count;
    if (i === MAX_SYMBOLS) return false;
    if (i === this.valid.length) {
      const ranges = new Uint32Array(i * 4);
      ranges.set(this.ranges);
      this.ranges = ranges;
      const valid = new Uint8Array(i * 2);
      valid.set(this.valid);
      this.valid = valid;
    }
    this.ranges[i * 2] = start;
    this.ranges[i * 2 + 1] = end;
    this.valid[i] = isUtf8(this.bytes, start, end) ? 1 : 0;
    this.count++;
    return true;
  }

  isEmpty(i: number): boolean {
    return this.ranges[i * 2] === this.ranges[i * 2 + 1];
  }

  /** '' for a reference out of range, as for the empty symbol. */
  text(i: number): string {
    if (i >= this.count) return '';
    return decoder.decode(this.bytes.subarray(this.ranges[i * 2], this.ranges[i * 2 + 1]));
  }

  /** Adds name/value references to a label set; says what is wrong with them, or ''. */
  addLabels(refs: readonly number[], into: LabelSet): string {
    if (refs.length % 2 !== 0) return `it has an odd number of label references, ${refs.length}`;
    for (let i = 0; i < refs.length; i += 2) {
      const name = refs[i] as number;
      const value = refs[i + 1] as number;
      if (name >= this.count || value >= this.count) {
        return `label reference ${Math.max(name, value)} is outside the symbol table of ${this.count}`;
      }
      if (this.valid[name] === 0) return `the name of label ${i / 2} is not valid UTF-8`;
      if (this.valid[value] === 0) return `the value of label ${JSON.stringify(this.text(name))} is not valid UTF-8`;
      into.addBytes(
        this.bytes,
        this.ranges[name * 2] as number,
        this.ranges[name * 2 + 1] as number,
        this.bytes,
        this.ranges[value * 2] as number,
        this.ranges[value * 2 + 1] as number,
      );
    }
    return '';
  }
}
