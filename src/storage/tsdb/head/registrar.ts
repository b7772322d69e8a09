/**
 * Registrar: makes a new series of a canonical label encoding: pairs, postings, slot, and the entry in series.log.
 *
 * Neighbouring new series share most labels, so each label's bytes are first compared with the previous series' label at
 * that position: a million series of twelve labels then need two or three symbol lookups each instead of 24.
 */
import type { Limbo } from './gc.ts';
import { LABELS_MAX, type Tenant } from './label-index.ts';
import type { SeriesLog } from './series-log.ts';
import type { HeadStore } from './store.ts';

export class Registrar {
  private readonly store: HeadStore;
  private readonly limbo: Limbo;
  private readonly pairs = new Uint32Array(LABELS_MAX);
  /** The previous series: its bytes, where each label ends, its pairs. */
  private lastBytes = new Uint8Array(1 << 12);
  private readonly lastEnds = new Uint32Array(LABELS_MAX);
  private readonly lastPairs = new Uint32Array(LABELS_MAX);
  private lastCount = 0;
  private lastTenant = -1;

  constructor(store: HeadStore, limbo: Limbo) {
    this.store = store;
    this.limbo = limbo;
  }

  /** Pairs may have been freed. */
  forget(): void {
    this.lastCount = 0;
  }

  /** Registers the series; its ref, or -1 where the bytes are no canonical encoding. */
  register(
    tenant: Tenant,
    bytes: Uint8Array,
    start: number,
    end: number,
    hashes: Uint32Array,
    at: number,
    log: SeriesLog,
  ): number {
    const labels = countLabels(bytes, start, end);
    if (labels < 0) return -1;
    this.internAll(tenant, bytes, start, end, log);
    this.remember(tenant, bytes, start, end, labels);
    const { table, index } = this.store;
    const ref = this.limbo.take() ?? table.end;
    table.add(ref, hashes, at, tenant.index, index.addSeries(tenant, ref, this.pairs, labels));
    log.addSeries(ref, table, index);
    return ref;
  }

  private internAll(tenant: Tenant, bytes: Uint8Array, start: number, end: number, log: SeriesLog): void {
    const { index } = this.store;
    let p = start;
    const usable = this.lastTenant === tenant.index ? this.lastCount : 0;
    for (let i = 0; p < end; i++) {
      const inner = readLength(bytes, p + 1, end);
      const body = p + 1 + lengthSize(inner);
      const next = body + inner;
      if (i < usable && this.isLast(i, bytes, p, next)) {
        this.pairs[i] = this.lastPairs[i] as number;
      } else {
        const nameLength = readLength(bytes, body + 1, end);
        const name = body + 1 + lengthSize(nameLength);
        const valueLength = readLength(bytes, name + nameLength + 1, end);
        const value = name + nameLength + 1 + lengthSize(valueLength);
        const pair = index.internPair(tenant, bytes, name, name + nameLength, value, value + valueLength);
        if (index.madePair) log.addPair(tenant.index, pair, index);
        this.pairs[i] = pair;
      }
      p = next;
    }
  }

  private isLast(i: number, bytes: Uint8Array, start: number, end: number): boolean {
    const from = i === 0 ? 0 : (this.lastEnds[i - 1] as number);
    const length = end - start;
    if ((this.lastEnds[i] as number) - from !== length) return false;
    for (let k = 0; k < length; k++) if (this.lastBytes[from + k] !== bytes[start + k]) return false;
    return true;
  }

  private remember(tenant: Tenant, bytes: Uint8Array, start: number, end: number, labels: number): void {
    const length = end - start;
    if (length > this.lastBytes.length) {
      // Not worth keeping.
      this.lastCount = 0;
      return;
    }
    for (let k = 0; k < length; k++) this.lastBytes[k] = bytes[start + k] as number;
    let p = start;
    for (let i = 0; i < labels; i++) {
      const inner = readLength(bytes, p + 1, end);
      p += 1 + lengthSize(inner) + inner;
      this.lastEnds[i] = p - start;
      this.lastPairs[i] = this.pairs[i] as number;
    }
    this.lastCount = labels;
    this.lastTenant = tenant.index;
  }
}

/** Number of labels in a canonical encoding; -1 where it is none (bounds, tags, empty parts, order, duplicates). */
export function countLabels(bytes: Uint8Array, start: number, end: number): number {
  let p = start;
  let count = 0;
  let lastName = 0;
  let lastLength = -1;
  while (p < end) {
    if (bytes[p] !== 0x0a || ++count > LABELS_MAX) return -1;
    const inner = readLength(bytes, p + 1, end);
    if (inner < 0) return -1;
    const body = p + 1 + lengthSize(inner);
    const next = body + inner;
    if (next > end || bytes[body] !== 0x0a) return -1;
    const nameLength = readLength(bytes, body + 1, next);
    if (nameLength <= 0) return -1;
    const name = body + 1 + lengthSize(nameLength);
    if (name + nameLength >= next || bytes[name + nameLength] !== 0x12) return -1;
    const valueLength = readLength(bytes, name + nameLength + 1, next);
    if (valueLength <= 0) return -1;
    if (name + nameLength + 1 + lengthSize(valueLength) + valueLength !== next) return -1;
    if (lastLength >= 0 && !isBefore(bytes, lastName, lastLength, name, nameLength)) return -1;
    lastName = name;
    lastLength = nameLength;
    p = next;
  }
  return count;
}

function isBefore(bytes: Uint8Array, a: number, aLength: number, b: number, bLength: number): boolean {
  const n = Math.min(aLength, bLength);
  for (let i = 0; i < n; i++) {
    const d = (bytes[a + i] as number) - (bytes[b + i] as number);
    if (d !== 0) return d < 0;
  }
  return aLength < bLength;
}

/** A varint length of at most 4 bytes, shortest form; -1 where it is none or ends beyond `end`. */
function readLength(bytes: Uint8Array, at: number, end: number): number {
  let value = 0;
  for (let i = 0; i < 4; i++) {
    if (at + i >= end) return -1;
    const b = bytes[at + i] as number;
    value |= (b & 0x7f) << (7 * i);
    if (b < 0x80) return i > 0 && b === 0 ? -1 : value;
  }
  return -1;
}

function lengthSize(n: number): number {
  return n < 0x80 ? 1 : n < 0x4000 ? 2 : n < 0x200000 ? 3 : 4;
}
