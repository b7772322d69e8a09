/**
 * SeriesLog: the lasting memory of a head besides samples, as one append-only file `series.log` of frames.
 *
 *     tenants     (index, name) ...            series      16 bytes of hash ... | (ref, tenant, count, pair ids) ...
 *     pairs       (id, tenant, name, value) .. dead        refs of collected series
 *     swept       count, freed pair ids | refs that may be given out again
 *     tombstones  minT maxT row mark | (ref, newest in-order t) ...
 *     flushed     first in-order t | first row: what lies before is in blocks
 *
 * Pairs and refs are numbered as in memory, so that a replay does no string hashing per series: a million series of
 * twelve labels are 50 MB and a second, against 340 MB of label text. Everything for one append is buffered and
 * written before the WAL record that uses it. When more than half of the file is about dead series it is rewritten
 * (series-log-rewrite.ts).
 */
import path from 'node:path';
import type { Files } from '../wal/files.ts';
import { FRAME_HEADER_BYTES, type FrameReader, frameBytes, sealFrame } from '../wal/frame.ts';
import { LogFile } from '../wal/log-file.ts';
import { REF_MAX } from '../wal/records.ts';
import { ByteCursor, CorruptRecordError, putF64, putVarint, unzigzag, zigzag } from '../wal/varint.ts';
import type { Swept } from './gc.ts';
import { LABELS_MAX, type LabelIndex, type Tenant } from './label-index.ts';
import { PAGE_MASK, PAGE_SHIFT, type SeriesPage, type SeriesTable } from './series-table.ts';
import type { Tombstone } from './tombstones.ts';

export const SERIES_MAGIC = 'SLSERLOG';
const REC_TENANTS = 32;
const REC_PAIRS = 33;
const REC_SERIES = 34;
const REC_DEAD = 35;
const REC_TOMBSTONES = 36;
const REC_FLUSHED = 37;
const REC_SWEPT = 38;
const TENANTS_MAX = 1 << 24;

/**
 * How far a fresh log has come: pairs (and tenants) are being copied, then series, then all is there. A change is also written
 * to it once what it changes may have been copied; before, the copy will show the change by itself.
 */
export const REWRITE_PAIRS = 0;
export const REWRITE_SERIES = 1;
export const REWRITE_ALL = 2;
export type RewritePhase = 0 | 1 | 2;

function phaseOf(type: number): number {
  if (type === REC_TOMBSTONES || type === REC_FLUSHED) return REWRITE_ALL;
  return type === REC_SERIES || type === REC_DEAD ? REWRITE_SERIES : REWRITE_PAIRS;
}

/** A growing frame under construction. */
class FrameBuilder {
  bytes = new Uint8Array(1 << 12);
  at = FRAME_HEADER_BYTES;
  rows = 0;
  private readonly type: number;

  constructor(type: number) {
    this.type = type;
  }

  need(n: number): void {
    const wanted = frameBytes(this.at + n);
    if (wanted <= this.bytes.length) return;
    const bytes = new Uint8Array(Math.max(wanted, this.bytes.length * 2));
    bytes.set(this.bytes.subarray(0, this.at));
    this.bytes = bytes;
  }

  varint(v: number): void {
    this.at = putVarint(this.bytes, this.at, v);
  }

  f64(v: number): void {
    this.at = putF64(this.bytes, this.at, v);
  }

  /** Completes the frame; returns its end in `bytes`. */
  seal(): number {
    const end = sealFrame(this.bytes, 0, this.type, 0, this.rows, this.at - FRAME_HEADER_BYTES);
    this.at = FRAME_HEADER_BYTES;
    this.rows = 0;
    return end;
  }
}

export class SeriesLog {
  readonly path: string;
  private readonly files: Files;
  private file: LogFile;
  private readonly tenants = new FrameBuilder(REC_TENANTS);
  private readonly pairs = new FrameBuilder(REC_PAIRS);
  private readonly series = new FrameBuilder(REC_SERIES);
  /** Hash words stand in front of the series rows; collected here until the frame is built. */
  private hashes = new Uint8Array(1 << 12);
  private lastRef = 0;
  private out = new Uint8Array(1 << 13);
  private outLength = 0;
  /** Series registered, and series declared dead, in this file. */
  registered = 0;
  dead = 0;
  /** The disk refused a write to this log while it was being made. */
  failed = false;
  private next: SeriesLog | null = null;
  private phase: RewritePhase = REWRITE_PAIRS;

  constructor(files: Files, dir: string, file: LogFile) {
    this.files = files;
    this.path = path.join(dir, 'series.log');
    this.file = file;
  }

  static create(files: Files, dir: string): SeriesLog {
    const file = LogFile.create(files, path.join(dir, 'series.log'), SERIES_MAGIC, 1);
    files.syncDir(dir);
    return new SeriesLog(files, dir, file);
  }

  // --- buffering ---

  addTenant(tenant: Tenant): void {
    const b = this.tenants;
    const name = Buffer.from(tenant.id, 'utf8');
    b.need(name.length + 16);
    b.varint(tenant.index);
    b.varint(name.length);
    b.bytes.set(name, b.at);
    b.at += name.length;
    b.rows++;
  }

  addPair(tenant: number, id: number, index: LabelIndex): void {
    const b = this.pairs;
    const name = index.symbolOfName(index.nameOfPair(id));
    const value = index.valueSymbol(id);
    b.need(index.symbols.byteLength(name) + index.symbols.byteLength(value) + 40);
    b.varint(id);
    b.varint(tenant);
    b.varint(index.symbols.byteLength(name));
    b.at = index.symbols.copy(name, b.bytes, b.at);
    b.varint(index.symbols.byteLength(value));
    b.at = index.symbols.copy(value, b.bytes, b.at);
    b.rows++;
  }

  addSeries(ref: number, table: SeriesTable, index: LabelIndex): void {
    const b = this.series;
    const page = table.pages[ref >>> PAGE_SHIFT] as SeriesPage;
    const slot = ref & PAGE_MASK;
    const list = page.labels[slot] as number;
    const count = index.lists.get(list);
    this.putHash(page, slot, b.rows);
    b.need(count * 5 + 32);
    b.varint(zigzag(ref - this.lastRef));
    this.lastRef = ref;
    b.varint(page.tenant[slot] as number);
    b.varint(count);
    for (let i = 1; i <= count; i++) b.varint(index.lists.get(list + i));
    b.rows++;
    this.registered++;
    if (b.at > 1 << 22) this.sealSeries();
  }

  private putHash(page: SeriesPage, slot: number, row: number): void {
    if ((row + 1) * 16 > this.hashes.length) {
      const hashes = new Uint8Array(this.hashes.length * 2);
      hashes.set(this.hashes);
      this.hashes = hashes;
    }
    this.hashes.set(new Uint8Array(page.hash.buffer, slot * 16, 16), row * 16);
  }

  addDead(refs: readonly number[]): void {
    const b = new FrameBuilder(REC_DEAD);
    let last = 0;
    for (const ref of refs) {
      b.need(8);
      b.varint(zigzag(ref - last));
      last = ref;
      b.rows++;
    }
    this.dead += refs.length;
    this.sealPending();
    this.push(b.bytes, b.seal());
  }

  addSwept(swept: Swept): void {
    const b = new FrameBuilder(REC_SWEPT);
    b.need(8);
    b.varint(swept.pairs.length);
    for (const pair of swept.pairs) {
      b.need(8);
      b.varint(pair);
    }
    let last = 0;
    for (const ref of swept.refs) {
      b.need(8);
      b.varint(zigzag(ref - last));
      last = ref;
      b.rows++;
    }
    this.sealPending();
    this.push(b.bytes, b.seal());
  }

  addTombstones(refs: readonly number[], maxInOrderT: readonly number[], t: Omit<Tombstone, 'maxInOrderT'>): void {
    const b = new FrameBuilder(REC_TOMBSTONES);
    b.f64(t.minT);
    b.f64(t.maxT);
    b.f64(t.oooMark);
    for (let i = 0; i < refs.length; i++) {
      b.need(16);
      b.varint(refs[i] as number);
      b.varint((maxInOrderT[i] as number) + 1);
      b.rows++;
    }
    this.sealPending();
    this.push(b.bytes, b.seal());
  }

  addFlushed(minT: number, oooFirst: number): void {
    const b = new FrameBuilder(REC_FLUSHED);
    b.f64(minT);
    b.f64(oooFirst);
    b.rows = 1;
    this.push(b.bytes, b.seal());
  }

  // --- writing ---

  get pending(): boolean {
    return this.outLength > 0 || this.tenants.rows + this.pairs.rows + this.series.rows > 0;
  }

  recover(): void {
    this.file.recover();
  }

  /** Writes what is buffered. On failure it is owed and a StorageFullError thrown. */
  commit(): void {
    this.sealPending();
    const length = this.outLength;
    this.outLength = 0;
    if (length > 0) this.file.append(this.out, length);
    this.next?.commitBeside();
    // Not kept: registering is rare.
    if (this.out.length > 1 << 20) this.out = new Uint8Array(1 << 13);
  }

  /** As `commit` of the fresh log: where it fails there is nothing to owe, the rewrite is given up. */
  private commitBeside(): void {
    this.sealPending();
    const length = this.outLength;
    this.outLength = 0;
    if (length === 0 || this.failed) return;
    try {
      this.file.appendOrThrow(this.out, length);
    } catch {
      this.failed = true;
    }
  }

  sync(): void {
    this.file.sync();
  }

  async syncInBackground(): Promise<void> {
    await this.file.syncInBackground();
  }

  get bytes(): number {
    return this.file.size;
  }

  close(): void {
    this.next?.close();
    this.file.close();
  }

  // --- rewriting (series-log-rewrite.ts) ---

  /** Begins a fresh log under a temporary name, to which records are written as well from now on. */
  beginRewrite(): SeriesLog {
    const file = LogFile.create(this.files, `${this.path}.new`, SERIES_MAGIC, 1);
    this.next = new SeriesLog(this.files, path.dirname(this.path), file);
    this.phase = REWRITE_PAIRS;
    return this.next;
  }

  /** What the fresh log has received in full, so that changes of it must be written there too. */
  rewritten(phase: RewritePhase): void {
    this.phase = phase;
  }

  /** Puts the fresh log, complete and durable, in this one's place. */
  finishRewrite(): void {
    const { next } = this;
    if (next === null) return;
    // What has been added since the caller synced it.
    next.sync();
    this.next = null;
    this.files.rename(`${this.path}.new`, this.path);
    this.files.syncDir(path.dirname(this.path));
    this.file.close();
    this.file = next.file;
    this.registered = next.registered;
    this.dead = next.dead;
  }

  abortRewrite(): void {
    if (this.next === null) return;
    this.next.close();
    this.next = null;
    this.files.remove(`${this.path}.new`);
  }

  /** Completes the frames under construction: what is added next stands behind them. */
  sealPending(): void {
    if (this.tenants.rows > 0) this.push(this.tenants.bytes, this.tenants.seal());
    if (this.pairs.rows > 0) this.push(this.pairs.bytes, this.pairs.seal());
    this.sealSeries();
  }

  /** Series refer to pairs, pairs to tenants: what they refer to goes first. */
  private sealSeries(): void {
    const rows = this.series.rows;
    if (rows === 0) return;
    if (this.tenants.rows > 0) this.push(this.tenants.bytes, this.tenants.seal());
    if (this.pairs.rows > 0) this.push(this.pairs.bytes, this.pairs.seal());
    const body = this.series.at - FRAME_HEADER_BYTES;
    const whole = new Uint8Array(frameBytes(rows * 16 + body));
    whole.set(this.hashes.subarray(0, rows * 16), FRAME_HEADER_BYTES);
    whole.set(this.series.bytes.subarray(FRAME_HEADER_BYTES, this.series.at), FRAME_HEADER_BYTES + rows * 16);
    this.push(whole, sealFrame(whole, 0, REC_SERIES, 0, rows, rows * 16 + body));
    this.series.rows = 0;
    this.series.at = FRAME_HEADER_BYTES;
    this.lastRef = 0;
  }

  /** Takes a complete frame, for this file and, where the fresh log must know, for that. */
  private push(bytes: Uint8Array, length: number): void {
    if (this.next !== null && this.phase >= phaseOf(bytes[1] as number)) this.next.push(bytes, length);
    if (this.outLength + length > this.out.length) {
      const out = new Uint8Array(Math.max(this.outLength + length, this.out.length * 2));
      out.set(this.out.subarray(0, this.outLength));
      this.out = out;
    }
    this.out.set(bytes.subarray(0, length), this.outLength);
    this.outLength += length;
  }
}

/** What a replay does with the records. Each method returns false, or throws CorruptRecordError, for what cannot be. */
export interface SeriesLogVisitor {
  tenant(index: number, name: string): void;
  pair(id: number, tenant: number, name: Uint8Array, value: Uint8Array): void;
  series(ref: number, hash: Uint32Array, tenant: number, pairs: Uint32Array, count: number): void;
  dead(ref: number): void;
  swept(swept: Swept): void;
  tombstone(ref: number, tombstone: Tombstone): void;
  flushed(minT: number, oooFirst: number): void;
}

const hashWords = new Uint32Array(4);
const hashBytes = new Uint8Array(hashWords.buffer);
const pairIds = new Uint32Array(LABELS_MAX);

/** Decodes the current frame of a reader. Throws CorruptRecordError; unknown types too. */
export function readSeriesFrame(frame: FrameReader, visit: SeriesLogVisitor): void {
  const cursor = new ByteCursor(frame.payload);
  switch (frame.type) {
    case REC_TENANTS:
      for (let i = 0; i < frame.rows; i++) {
        const index = cursor.bounded(TENANTS_MAX, 'tenant index');
        visit.tenant(index, Buffer.from(cursor.take(cursor.bounded(cursor.left, 'tenant length'))).toString('utf8'));
      }
      return;
    case REC_PAIRS:
      for (let i = 0; i < frame.rows; i++) {
        const id = cursor.varint();
        const tenant = cursor.bounded(TENANTS_MAX, 'tenant index');
        const name = cursor.take(cursor.bounded(cursor.left, 'name length'));
        const value = cursor.take(cursor.bounded(cursor.left, 'value length'));
        visit.pair(id, tenant, name, value);
      }
      return;
    case REC_SERIES:
      readSeriesRows(cursor, frame.rows, visit);
      return;
    case REC_DEAD:
      for (const ref of readRefs(cursor, frame.rows)) visit.dead(ref);
      return;
    case REC_SWEPT: {
      const pairs: number[] = [];
      const count = cursor.bounded(cursor.left, 'number of pairs');
      for (let i = 0; i < count; i++) pairs.push(cursor.bounded(0xffffffff, 'pair id'));
      visit.swept({ pairs, refs: readRefs(cursor, frame.rows) });
      return;
    }
    case REC_TOMBSTONES: {
      const minT = cursor.f64();
      const maxT = cursor.f64();
      const oooMark = cursor.f64();
      for (let i = 0; i < frame.rows; i++) {
        const ref = cursor.bounded(REF_MAX, 'ref');
        visit.tombstone(ref, { minT, maxT, oooMark, maxInOrderT: cursor.varint() - 1 });
      }
      return;
    }
    case REC_FLUSHED: {
      const minT = cursor.f64();
      visit.flushed(minT, cursor.f64());
      return;
    }
    default:
      throw new CorruptRecordError(`record type ${frame.type}`);
  }
}

function readRefs(cursor: ByteCursor, rows: number): number[] {
  if (rows > cursor.left) throw new CorruptRecordError(`${rows} refs in ${cursor.left} bytes`);
  const refs: number[] = [];
  let ref = 0;
  for (let i = 0; i < rows; i++) {
    ref += unzigzag(cursor.varint());
    if (ref < 0 || ref > REF_MAX) throw new CorruptRecordError(`ref ${ref}`);
    refs.push(ref);
  }
  return refs;
}

function readSeriesRows(cursor: ByteCursor, rows: number, visit: SeriesLogVisitor): void {
  if (rows * 16 > cursor.left) throw new CorruptRecordError(`${rows} series in ${cursor.left} bytes`);
  const hashes = cursor.take(rows * 16);
  let ref = 0;
  for (let i = 0; i < rows; i++) {
    for (let k = 0; k < 16; k++) hashBytes[k] = hashes[i * 16 + k] as number;
    ref += unzigzag(cursor.varint());
    if (ref < 0 || ref > REF_MAX) throw new CorruptRecordError(`ref ${ref}`);
    const tenant = cursor.bounded(TENANTS_MAX, 'tenant index');
    const count = cursor.bounded(LABELS_MAX, 'label count');
    for (let k = 0; k < count; k++) pairIds[k] = cursor.bounded(0xffffffff, 'pair id');
    visit.series(ref, hashWords, tenant, pairIds, count);
  }
}
