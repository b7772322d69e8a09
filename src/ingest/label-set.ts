/**
 * LabelSet: one label set being put together from bytes or strings in any order, written out in the canonical encoding
 * (model/labels.ts). For producers whose labels are not canonical on arrival: text exposition, import, slow rows of
 * remote write, self metrics.
 *
 * All texts lie in one scratch buffer and labels are index quadruples, so a set costs no object once the scratch has
 * grown. Sorting is an insertion sort: senders' labels are few and mostly sorted already.
 */

/** Bounds of one set: see `tooLarge`. */
export const MAX_LABELS = 1024;
/** Bytes of all names and values, about: strings are counted at three bytes per unit, and a set may hold thrice this. */
export const MAX_LABEL_SET_BYTES = 1 << 20;

const encoder = new TextEncoder();

export class LabelSet {
  /** Scratch that holds the texts; valid until the next `clear`. */
  bytes = new Uint8Array(4096);
  /** Number of labels added. */
  count = 0;
  /** Set when labels had to be left out because the set is over its bounds: such a set must be refused. */
  tooLarge = false;
  private used = 0;
  /** Offsets into `bytes`, four a label: name start, name end, value start, value end. */
  private at = new Uint32Array(64 * 4);

  clear(): void {
    this.count = 0;
    this.used = 0;
    this.tooLarge = false;
  }

  /** Adds a copy of both texts. An empty value is kept until `sort`, which drops it. */
  addBytes(
    source: Uint8Array,
    nameStart: number,
    nameEnd: number,
    valueSource: Uint8Array,
    valueStart: number,
    valueEnd: number,
  ): void {
    const n = nameEnd - nameStart;
    const v = valueEnd - valueStart;
    if (!this.reserve(n + v)) return;
    const p = this.used;
    copyBytes(source, nameStart, nameEnd, this.bytes, p);
    copyBytes(valueSource, valueStart, valueEnd, this.bytes, p + n);
    this.push(p, p + n, p + n + v);
  }

  addStrings(name: string, value: string): void {
    if (!this.reserve((name.length + value.length) * 3)) return;
    const p = this.used;
    const mid = p + writeText(this.bytes, p, name);
    const end = mid + writeText(this.bytes, mid, value);
    this.push(p, mid, end);
  }

  /**
   * Sorts by name in byte order and drops labels with empty values. Returns the index of a label whose name equals the
   * one before it, or -1.
   */
  sort(): number {
    const at = this.at;
    let kept = 0;
    for (let i = 0; i < this.count; i++) {
      const a = at[i * 4] as number;
      const b = at[i * 4 + 1] as number;
      const c = at[i * 4 + 2] as number;
      const d = at[i * 4 + 3] as number;
      if (c === d) continue;
      let j = kept;
      while (j > 0 && this.compareName(j - 1, a, b) > 0) {
        at.copyWithin(j * 4, j * 4 - 4, j * 4);
        j--;
      }
      at[j * 4] = a;
      at[j * 4 + 1] = b;
      at[j * 4 + 2] = c;
      at[j * 4 + 3] = d;
      kept++;
    }
    this.count = kept;
    for (let i = 1; i < kept; i++) {
      if (this.compareName(i - 1, at[i * 4] as number, at[i * 4 + 1] as number) === 0) return i;
    }
    return -1;
  }

  /** Code points of all names and values added, given that they are UTF-8. */
  textChars(): number {
    let chars = 0;
    for (let i = 0; i < this.used; i++) if (((this.bytes[i] as number) & 0xc0) !== 0x80) chars++;
    return chars;
  }

  /** Where label i lies in `bytes`: name start, name end, value start, value end. */
  offsets(i: number): [number, number, number, number] {
    const at = this.at;
    return [at[i * 4] as number, at[i * 4 + 1] as number, at[i * 4 + 2] as number, at[i * 4 + 3] as number];
  }

  nameText(i: number): string {
    return Buffer.from(this.bytes.buffer, this.at[i * 4] as number, this.nameLength(i)).toString();
  }

  valueText(i: number): string {
    return Buffer.from(this.bytes.buffer, this.at[i * 4 + 2] as number, this.valueLength(i)).toString();
  }

  /** The value of the first label of this name, '' if there is none. */
  valueOf(name: string): string {
    for (let i = 0; i < this.count; i++) if (this.nameText(i) === name) return this.valueText(i);
    return '';
  }

  /** Replaces a value; the old text stays in the scratch until `clear`. */
  setValue(i: number, value: string): void {
    if (!this.reserve(value.length * 3)) return;
    const start = this.used;
    this.used = start + writeText(this.bytes, start, value);
    this.at[i * 4 + 2] = start;
    this.at[i * 4 + 3] = this.used;
  }

  /** The set as flat [name, value, ...], in its present order. */
  toFlat(): string[] {
    const out: string[] = [];
    for (let i = 0; i < this.count; i++) out.push(this.nameText(i), this.valueText(i));
    return out;
  }

  /** Replaces all labels. */
  setFlat(labels: readonly string[]): void {
    this.clear();
    for (let i = 0; i < labels.length; i += 2) this.addStrings(labels[i] as string, labels[i + 1] as string);
  }

  /** Whether label i has exactly this name, given as bytes. */
  nameIs(i: number, name: Uint8Array): boolean {
    return (
      this.nameLength(i) === name.length &&
      compareBytes(this.bytes, this.at[i * 4] as number, this.at[i * 4 + 1] as number, name, 0, name.length) === 0
    );
  }

  /** Size of the canonical encoding of all labels as they stand. */
  encodedSize(): number {
    let size = 0;
    for (let i = 0; i < this.count; i++) {
      const inner = this.innerSize(i);
      size += 1 + varintSize(inner) + inner;
    }
    return size;
  }

  /** Writes the canonical encoding to out[p..] (which has room for `encodedSize`) and returns the end. Call `sort` first. */
  encode(out: Uint8Array, p: number): number {
    let q = p;
    for (let i = 0; i < this.count; i++) {
      out[q++] = 0x0a;
      q = putVarint(out, q, this.innerSize(i));
      out[q++] = 0x0a;
      q = putVarint(out, q, this.nameLength(i));
      q = copyBytes(this.bytes, this.at[i * 4] as number, this.at[i * 4 + 1] as number, out, q);
      out[q++] = 0x12;
      q = putVarint(out, q, this.valueLength(i));
      q = copyBytes(this.bytes, this.at[i * 4 + 2] as number, this.at[i * 4 + 3] as number, out, q);
    }
    return q;
  }

  private nameLength(i: number): number {
    return (this.at[i * 4 + 1] as number) - (this.at[i * 4] as number);
  }

  private valueLength(i: number): number {
    return (this.at[i * 4 + 3] as number) - (this.at[i * 4 + 2] as number);
  }

  private innerSize(i: number): number {
    const n = this.nameLength(i);
    const v = this.valueLength(i);
    return 2 + varintSize(n) + n + varintSize(v) + v;
  }

  private compareName(i: number, start: number, end: number): number {
    return compareBytes(this.bytes, this.at[i * 4] as number, this.at[i * 4 + 1] as number, this.bytes, start, end);
  }

  private push(start: number, mid: number, end: number): void {
    const q = this.count * 4;
    if (q === this.at.length) {
      const grown = new Uint32Array(q * 2);
      grown.set(this.at);
      this.at = grown;
    }
    this.at[q] = start;
    this.at[q + 1] = mid;
    this.at[q + 2] = mid;
    this.at[q + 3] = end;
    this.count++;
    this.used = end;
  }

  /** Room for one more label of so many bytes; false and `tooLarge` if the set is full. */
  private reserve(more: number): boolean {
    const need = this.used + more;
    if (this.count === MAX_LABELS || need > 3 * MAX_LABEL_SET_BYTES) {
      this.tooLarge = true;
      return false;
    }
    if (need <= this.bytes.length) return true;
    const grown = new Uint8Array(Math.max(need, this.bytes.length * 2));
    grown.set(this.bytes);
    this.bytes = grown;
    return true;
  }
}

/** Copies source[start, end) to out[p..]; short texts by hand, which beats a call of `set` with its view. */
export function copyBytes(source: Uint8Array, start: number, end: number, out: Uint8Array, p: number): number {
  if (end - start > 48) {
    out.set(source.subarray(start, end), p);
    return p + end - start;
  }
  let q = p;
  for (let i = start; i < end; i++) out[q++] = source[i] as number;
  return q;
}

/** Unsigned byte order, the shorter first. */
export function compareBytes(
  a: Uint8Array,
  aStart: number,
  aEnd: number,
  b: Uint8Array,
  bStart: number,
  bEnd: number,
): number {
  const n = Math.min(aEnd - aStart, bEnd - bStart);
  for (let i = 0; i < n; i++) {
    const d = (a[aStart + i] as number) - (b[bStart + i] as number);
    if (d !== 0) return d;
  }
  return aEnd - aStart - (bEnd - bStart);
}

/** UTF-8 into out[p..], which has room for 3 bytes per UTF-16 unit; returns the bytes written. */
export function writeText(out: Uint8Array, p: number, text: string): number {
  const n = text.length;
  if (n <= 48) {
    let i = 0;
    for (; i < n; i++) {
      const c = text.charCodeAt(i);
      if (c >= 0x80) break;
      out[p + i] = c;
    }
    if (i === n) return n;
  }
  return encoder.encodeInto(text, out.subarray(p)).written;
}

export function varintSize(n: number): number {
  return n < 0x80 ? 1 : n < 0x4000 ? 2 : n < 0x200000 ? 3 : n < 0x10000000 ? 4 : 5;
}

/** n is a u32. */
export function putVarint(out: Uint8Array, p: number, n: number): number {
  let q = p;
  let rest = n;
  while (rest >= 0x80) {
    out[q++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  out[q++] = rest;
  return q;
}
