/**
 * Labels: the identity of a series, as a flat sorted array of strings.
 *
 * `[name0, value0, name1, value1, ...]`, sorted by name in UTF-8 byte order, no duplicate names, no empty values
 * (an empty value means "label absent"). A flat array costs one object per label set instead of one per label, is
 * cheap to clone between threads, and compares position by position. Label sets are immutable once built.
 *
 * The *canonical encoding* of a label set (`encodeLabels`) is the protobuf encoding of `repeated Label labels = 1` as
 * remote write 1.0 carries it: so the bytes of a well-behaved remote-write request are already canonical and can be
 * hashed where they stand.
 */

export type Labels = readonly string[];

export const EMPTY_LABELS: Labels = Object.freeze([]);
export const METRIC_NAME = '__name__';

/** Compares two strings in UTF-8 byte order. */
export function compareStrings(a: string, b: string): number {
  if (a === b) return 0;
  const n = Math.min(a.length, b.length);
  for (let i = 0; i < n; i++) {
    let x = a.charCodeAt(i);
    let y = b.charCodeAt(i);
    if (x === y) continue;
    // UTF-16 order differs from code point order only where a surrogate meets U+E000..U+FFFF.
    if (x >= 0xd800 && y >= 0xd800) {
      x = x >= 0xe000 ? x - 0x800 : x + 0x2000;
      y = y >= 0xe000 ? y - 0x800 : y + 0x2000;
    }
    return x - y;
  }
  return a.length - b.length;
}

/** Builds a label set from name/value pairs in any order; later duplicates win; empty values are dropped. */
export function labelsFromPairs(pairs: Iterable<readonly [string, string]>): Labels {
  const map = new Map<string, string>();
  for (const [name, value] of pairs) map.set(name, value);
  return labelsFromMap(map);
}

export function labelsFromRecord(record: Record<string, string>): Labels {
  return labelsFromMap(new Map(Object.entries(record)));
}

export function labelsFromMap(map: ReadonlyMap<string, string>): Labels {
  const names = [...map.keys()].filter(name => map.get(name) !== '').sort(compareStrings);
  const out: string[] = [];
  for (const name of names) out.push(name, map.get(name) as string);
  return out;
}

/** The value of a label, or '' where it is absent. */
export function getLabel(labels: Labels, name: string): string {
  for (let i = 0; i < labels.length; i += 2) if (labels[i] === name) return labels[i + 1] as string;
  return '';
}

export function labelsToRecord(labels: Labels): Record<string, string> {
  const out: Record<string, string> = {};
  for (let i = 0; i < labels.length; i += 2) {
    // defineProperty semantics: a label called __proto__ must be an ordinary key.
    Object.defineProperty(out, labels[i] as string, {
      value: labels[i + 1],
      enumerable: true,
      writable: true,
      configurable: true,
    });
  }
  return out;
}

/** A string that is equal exactly for equal label sets; for use as a Map key. */
export function labelsKey(labels: Labels): string {
  // U+FFFF is a noncharacter; length prefixes keep even that unambiguous.
  let key = '';
  for (let i = 0; i < labels.length; i++) key += `${(labels[i] as string).length}:${labels[i]}`;
  return key;
}

/** Orders label sets as Prometheus does: pairwise by name, then value, then length. */
export function compareLabels(a: Labels, b: Labels): number {
  const n = Math.min(a.length, b.length);
  for (let i = 0; i < n; i++) {
    if (a[i] === b[i]) continue;
    return compareStrings(a[i] as string, b[i] as string);
  }
  return a.length - b.length;
}

export function equalLabels(a: Labels, b: Labels): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** The labels whose names are in `names` (keep) or not in it (drop). */
export function keepLabels(labels: Labels, names: ReadonlySet<string>): Labels {
  const out: string[] = [];
  for (let i = 0; i < labels.length; i += 2) {
    if (names.has(labels[i] as string)) out.push(labels[i] as string, labels[i + 1] as string);
  }
  return out;
}

export function dropLabels(labels: Labels, names: ReadonlySet<string>): Labels {
  const out: string[] = [];
  for (let i = 0; i < labels.length; i += 2) {
    if (!names.has(labels[i] as string)) out.push(labels[i] as string, labels[i + 1] as string);
  }
  return out;
}

/** A copy with one label set; an empty value removes it. */
export function withLabel(labels: Labels, name: string, value: string): Labels {
  const out: string[] = [];
  let placed = value === '';
  for (let i = 0; i < labels.length; i += 2) {
    const n = labels[i] as string;
    if (n === name) continue;
    if (!placed && compareStrings(name, n) < 0) {
      out.push(name, value);
      placed = true;
    }
    out.push(n, labels[i + 1] as string);
  }
  if (!placed) out.push(name, value);
  return out;
}

/** `metric{a="b"}` in Prometheus' notation; names that are not classic identifiers are quoted. */
export function formatLabels(labels: Labels): string {
  const name = getLabel(labels, METRIC_NAME);
  const plainName = name !== '' && /^[a-zA-Z_:][a-zA-Z0-9_:]*$/.test(name);
  const parts: string[] = [];
  if (name !== '' && !plainName) parts.push(quote(name));
  for (let i = 0; i < labels.length; i += 2) {
    const n = labels[i] as string;
    if (n === METRIC_NAME) continue;
    parts.push(`${/^[a-zA-Z_][a-zA-Z0-9_]*$/.test(n) ? n : quote(n)}=${quote(labels[i + 1] as string)}`);
  }
  if (parts.length === 0 && plainName) return name;
  return `${plainName ? name : ''}{${parts.join(', ')}}`;
}

function quote(s: string): string {
  return `"${s.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** The canonical encoding (see the file's head). */
export function encodeLabels(labels: Labels): Uint8Array {
  const parts: Uint8Array[] = [];
  let total = 0;
  for (let i = 0; i < labels.length; i += 2) {
    const name = encoder.encode(labels[i]);
    const value = encoder.encode(labels[i + 1]);
    const inner = 1 + varintSize(name.length) + name.length + 1 + varintSize(value.length) + value.length;
    const out = new Uint8Array(1 + varintSize(inner) + inner);
    let p = 0;
    out[p++] = 0x0a;
    p = putVarint(out, p, inner);
    out[p++] = 0x0a;
    p = putVarint(out, p, name.length);
    out.set(name, p);
    p += name.length;
    out[p++] = 0x12;
    p = putVarint(out, p, value.length);
    out.set(value, p);
    parts.push(out);
    total += out.length;
  }
  const all = new Uint8Array(total);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** Decodes bytes[start, end) of the canonical encoding. Trusts them: they must come from `encodeLabels` or a decoder of ours. */
export function decodeLabels(bytes: Uint8Array, start = 0, end = bytes.length): Labels {
  const out: string[] = [];
  let p = start;
  while (p < end) {
    p++; // 0x0a
    p = skipVarint(bytes, p);
    p++; // 0x0a
    const nameLength = readVarint(bytes, p);
    p = skipVarint(bytes, p);
    out.push(decoder.decode(bytes.subarray(p, p + nameLength)));
    p += nameLength;
    p++; // 0x12
    const valueLength = readVarint(bytes, p);
    p = skipVarint(bytes, p);
    out.push(decoder.decode(bytes.subarray(p, p + valueLength)));
    p += valueLength;
  }
  return out;
}

function varintSize(n: number): number {
  return n < 0x80 ? 1 : n < 0x4000 ? 2 : n < 0x200000 ? 3 : n < 0x10000000 ? 4 : 5;
}

function putVarint(out: Uint8Array, at: number, n: number): number {
  let p = at;
  let rest = n;
  while (rest >= 0x80) {
    out[p++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  out[p++] = rest;
  return p;
}

function readVarint(bytes: Uint8Array, at: number): number {
  let p = at;
  let result = 0;
  let shift = 0;
  for (;;) {
    const b = bytes[p++] as number;
    result |= (b & 0x7f) << shift;
    if (b < 0x80) return result >>> 0;
    shift += 7;
  }
}

function skipVarint(bytes: Uint8Array, at: number): number {
  let p = at;
  while ((bytes[p++] as number) >= 0x80);
  return p;
}
