/**
 * ChunkPages: sealed chunks of all series of a head, in pages of 64 KB.
 *
 * A record (chunk-record.ts) points to the series' previous one, so the chain of a series runs from the
 * newest chunk to the oldest and costs 8 bytes of memory per series. A full page is written to the current file
 * `chunks/NNNNNNNN.hck` as one frame, in one write; from then on its samples no longer need the WAL. Written pages stay
 * in memory up to a budget (second-chance order) and are read back by page. A page that cannot be written stays in memory
 * and is tried again.
 */
import path from 'node:path';
import { type Files, nodeFiles, readAll } from '../wal/files.ts';
import { FRAME_HEADER_BYTES, frameBytes, isFrame, sealFrame } from '../wal/frame.ts';
import { LogFile } from '../wal/log-file.ts';
import { quarantineName } from '../wal/recovery.ts';
import { CorruptRecordError } from '../wal/varint.ts';
import type { Steps } from './background.ts';
import {
  newChunkRecord,
  OFFSET_SPAN,
  PAGE_HEADER,
  putPageHeader,
  putRecordHeader,
  RECORD_HEADER_MAX,
  readOwnRecord,
} from './chunk-record.ts';
import { DamagedPages } from './damaged-pages.ts';

export const CHUNK_MAGIC = 'SLHCHUNK';
export const REC_PAGE = 16;

const PAGE_BYTES_DEFAULT = 1 << 16;
const PAGES_PER_STEP = 200;
const FILE_BYTES_PER_STEP = 1 << 19;

export interface ChunkPagesOptions {
  files?: Files;
  /** Bytes of written pages kept in memory. */
  cacheBytesMax?: number;
  /** A file is closed when it has reached this size. */
  fileBytesMax?: number;
  /** Size of a page; a chunk that does not fit gets a larger page of its own. */
  pageBytes?: number;
  /** Told when a page could not be read back (its samples are then missing from answers). */
  onReadError?: (message: string) => void;
  /** Given the work that finds a way round a damaged page for chains that lead through it; to be done in later turns. */
  onDamage?: (steps: Steps) => void;
  /** Where files with damaged pages go instead of being removed. */
  quarantineDir?: string;
}

export interface PageInfo {
  number: number;
  /** File and offset of the payload; file 0 = not written yet. */
  file: number;
  offset: number;
  length: number;
  minT: number;
  maxT: number;
  records: number;
  /** WAL segment of the oldest sample inside; only while the page is not written. */
  segment: number;
  buffer: Uint8Array | null;
  /** Second chance: set on use, cleared when the eviction hand passes. */
  used: boolean;
}

export class ChunkPages {
  readonly dir: string;
  /** As the last `open` left it. */
  readonly record = newChunkRecord();
  private readonly files: Files;
  private readonly cacheBytesMax: number;
  private readonly fileBytesMax: number;
  private readonly pageBytes: number;
  private readonly onReadError: (message: string) => void;
  private readonly onDamage: (steps: Steps) => void;
  private readonly quarantineDir: string | null;
  readonly damage = new DamagedPages();
  private readonly pages = new Map<number, PageInfo>();
  /** Previous records that differ from what the record says, because the page between them was lost. */
  private readonly relinks = new Map<number, number>();
  /** Pages full but not written because the disk refused. */
  private waiting: PageInfo[] = [];
  private current: PageInfo | null = null;
  private nextPage = 1;
  private file: LogFile | null = null;
  /** Full files that may not be durable yet. */
  private unsynced: LogFile[] = [];
  /** A file's name may not be durable yet. */
  private newName = false;
  private fileNumber = 0;
  /** Sizes of files, by number. */
  private readonly fileSizes = new Map<number, number>();
  private readonly filePages = new Map<number, number>();
  private readonly readers = new Map<number, number>();
  private cacheBytes = 0;
  /** Written pages that are in memory, those cached or considered longest ago first. */
  private readonly cached = new Set<PageInfo>();
  private spare: Uint8Array[] = [];
  /** Pages let go of so far: as long as it stays, what `record.bytes` held before is still that. */
  letGo = 0;
  private scratch: Uint8Array;

  constructor(dir: string, options: ChunkPagesOptions = {}) {
    this.dir = dir;
    this.files = options.files ?? nodeFiles;
    this.cacheBytesMax = options.cacheBytesMax ?? 64 << 20;
    this.pageBytes = options.pageBytes ?? PAGE_BYTES_DEFAULT;
    this.scratch = new Uint8Array(this.pageBytes + 64);
    this.fileBytesMax = options.fileBytesMax ?? 64 << 20;
    this.onReadError = options.onReadError ?? (() => {});
    this.onDamage = options.onDamage ?? (() => {});
    this.quarantineDir = options.quarantineDir ?? null;
  }

  // --- writing ---

  /**
   * Appends a chunk; returns its address.
   * @param previous address of the series' previous chunk, 0 = none
   * @param segment WAL segment of the chunk's oldest sample
   */
  append(
    ref: number,
    previous: number,
    kind: number,
    minT: number,
    maxT: number,
    segment: number,
    bytes: Uint8Array,
    length: number,
  ): number {
    const page = this.room(RECORD_HEADER_MAX + length);
    const out = page.buffer as Uint8Array;
    const at = page.length;
    const p = putRecordHeader(out, at, page.number, ref, previous, kind, minT, maxT, length);
    for (let i = 0; i < length; i++) out[p + i] = bytes[i] as number;
    page.length = p + length;
    page.records++;
    if (minT < page.minT) page.minT = minT;
    if (maxT > page.maxT) page.maxT = maxT;
    if (segment < page.segment) page.segment = segment;
    return page.number * OFFSET_SPAN + at;
  }

  /** The current page with `bytes` of room, or a new one. */
  private room(bytes: number): PageInfo {
    let page = this.current;
    if (page !== null && page.length + bytes <= (page.buffer as Uint8Array).length) return page;
    if (page !== null) this.finish(page);
    const size = Math.max(PAGE_HEADER + bytes, this.pageBytes);
    page = {
      number: this.nextPage++,
      file: 0,
      offset: 0,
      length: PAGE_HEADER,
      minT: Infinity,
      maxT: -1,
      records: 0,
      segment: 0xffffffff,
      buffer: size === this.pageBytes ? (this.spare.pop() ?? new Uint8Array(this.pageBytes)) : new Uint8Array(size),
      used: true,
    };
    this.pages.set(page.number, page);
    this.current = page;
    return page;
  }

  private finish(page: PageInfo): void {
    this.current = null;
    this.waiting.push(page);
    this.writeWaiting();
  }

  /** Writes the pages that are full; false where the disk refuses (they stay, to be tried again). */
  writeWaiting(): boolean {
    while (this.waiting.length > 0) {
      try {
        this.write(this.waiting[0] as PageInfo);
      } catch {
        return false;
      }
      this.waiting.shift();
    }
    this.evict();
    return true;
  }

  /** Also writes the current page, full or not. */
  flush(): boolean {
    if (this.current !== null && this.current.records > 0) {
      this.waiting.push(this.current);
      this.current = null;
    }
    return this.writeWaiting();
  }

  /** Ends the current file: the next page begins another, so that this one can go once its pages are dropped. */
  endFile(): void {
    if (this.file === null) return;
    this.unsynced.push(this.file);
    this.file = null;
  }

  private write(page: PageInfo): void {
    if (this.file === null || this.file.size >= this.fileBytesMax) this.nextFile();
    const file = this.file as LogFile;
    const size = frameBytes(page.length);
    if (this.scratch.length < size) this.scratch = new Uint8Array(size);
    const buffer = page.buffer as Uint8Array;
    putPageHeader(buffer, page);
    this.scratch.set(buffer.subarray(0, page.length), FRAME_HEADER_BYTES);
    const end = sealFrame(this.scratch, 0, REC_PAGE, 0, page.records, page.length);
    const offset = file.size + FRAME_HEADER_BYTES;
    file.appendOrThrow(this.scratch, end);
    this.fileSizes.set(this.fileNumber, file.size);
    this.placed(page, this.fileNumber, offset);
    this.cached.add(page);
    this.cacheBytes += buffer.length;
  }

  private placed(page: PageInfo, file: number, offset: number): void {
    page.file = file;
    page.offset = offset;
    page.segment = 0xffffffff;
    this.filePages.set(file, (this.filePages.get(file) ?? 0) + 1);
  }

  private nextFile(): void {
    const number = this.fileNumber + 1;
    const file = LogFile.create(this.files, filePath(this.dir, number), CHUNK_MAGIC, number);
    this.newName = true;
    if (this.file !== null) this.unsynced.push(this.file);
    this.file = file;
    this.fileNumber = number;
    this.fileSizes.set(number, file.size);
    this.filePages.set(number, 0);
  }

  /** Makes written pages durable: to be called before WAL segments that they replace are removed. */
  sync(): void {
    for (const file of this.unsynced) {
      file.sync();
      file.close();
    }
    this.unsynced = [];
    this.file?.sync();
    if (this.newName) this.files.syncDir(this.dir);
    this.newName = false;
  }

  /** As `sync`, for the pages written before the call, without blocking this thread. */
  async syncInBackground(): Promise<void> {
    const old = this.unsynced;
    this.unsynced = [];
    for (let i = 0; i < old.length; i++) {
      const file = old[i] as LogFile;
      try {
        await file.syncInBackground();
      } catch (error) {
        this.unsynced.push(...old.slice(i));
        throw error;
      }
      file.close();
    }
    await this.file?.syncInBackground();
    if (!this.newName) return;
    this.newName = false;
    try {
      await this.files.syncDirInBackground(this.dir);
    } catch (error) {
      this.newName = true;
      throw error;
    }
  }

  // --- reading ---

  /** Finds the record at `address`; false where its page has been dropped or cannot be read. */
  open(address: number): boolean {
    const number = Math.floor(address / OFFSET_SPAN);
    const page = this.pages.get(number);
    if (page === undefined) return false;
    const bytes = page.buffer ?? this.load(page);
    if (bytes === null) return false;
    page.used = true;
    const { record } = this;
    readOwnRecord(bytes, address - number * OFFSET_SPAN, number, record);
    if (record.end > page.length) throw new CorruptRecordError(`chunk at ${address} ends behind its page`);
    if (this.relinks.size > 0) record.previous = this.relinks.get(address) ?? record.previous;
    return true;
  }

  /** Records from here on have not been appended yet. */
  get endAddress(): number {
    const page = this.current;
    return page === null ? this.nextPage * OFFSET_SPAN : page.number * OFFSET_SPAN + page.length;
  }

  /** Numbers of the pages with samples in [minT, maxT], ascending. */
  pagesBetween(minT: number, maxT: number): number[] {
    const numbers: number[] = [];
    for (const page of this.pages.values()) if (page.maxT >= minT && page.minT <= maxT) numbers.push(page.number);
    return numbers;
  }

  /**
   * A page as far as it is filled, for a pass over many: it is not kept in memory. Null where it has been dropped or cannot
   * be read. Valid until the next call of any kind.
   */
  look(number: number): Uint8Array | null {
    const page = this.pages.get(number);
    if (page === undefined) return null;
    if (page.buffer !== null) return page.buffer.subarray(0, page.length);
    return this.fetch(page);
  }

  private load(page: PageInfo): Uint8Array | null {
    const bytes = this.fetch(page);
    if (bytes === null) return null;
    const buffer =
      page.length <= this.pageBytes
        ? (this.spare.pop() ?? new Uint8Array(this.pageBytes))
        : new Uint8Array(page.length);
    buffer.set(bytes);
    page.buffer = buffer;
    page.used = true;
    this.cached.add(page);
    this.cacheBytes += buffer.length;
    this.evict(page);
    return buffer;
  }

  /** Reads a written page back, checksum and all, into the scratch; null (and told) where that fails. */
  private fetch(page: PageInfo): Uint8Array | null {
    // Told once.
    if (this.damage.has(page.number)) return null;
    const size = FRAME_HEADER_BYTES + page.length;
    if (this.scratch.length < size) this.scratch = new Uint8Array(size);
    let problem = '';
    try {
      let fd = this.readers.get(page.file);
      if (fd === undefined) {
        fd = this.files.open(filePath(this.dir, page.file), 'read');
        this.readers.set(page.file, fd);
      }
      const n = readAll(this.files, fd, this.scratch, 0, size, page.offset - FRAME_HEADER_BYTES);
      if (n < size) problem = `only ${n} of ${size} bytes are there`;
      else if (!isFrame(this.scratch, 0, page.length)) problem = 'its checksum is wrong';
    } catch (error) {
      // May pass: it is tried again. Until then its file is not to be thrown away.
      this.damage.keepFile(page.file);
      this.readFailed(page, (error as Error).message);
      return null;
    }
    if (problem === '') return this.scratch.subarray(FRAME_HEADER_BYTES, size);
    this.readFailed(page, problem);
    const steps = this.damage.add(page.number, page.file, this);
    if (steps !== null) this.onDamage(steps);
    return null;
  }

  private readFailed(page: PageInfo, problem: string): void {
    const where = `page ${page.number} of ${filePath(this.dir, page.file)}`;
    this.onReadError(`cannot read ${where}, its samples are missing from answers: ${problem}`);
  }

  /**
   * Lets go of cached pages beyond the budget, but not of `except`: the one that has been cached longest, unless it was
   * used since it was last considered.
   */
  private evict(except: PageInfo | null = null): void {
    // Each page at most twice: the first time may only clear its mark.
    let left = this.cached.size * 2;
    while (this.cacheBytes > this.cacheBytesMax && left-- > 0) {
      const page = this.cached.values().next().value as PageInfo;
      if (!page.used && page !== except) {
        this.uncache(page);
        continue;
      }
      page.used = false;
      this.cached.delete(page);
      this.cached.add(page);
    }
  }

  private uncache(page: PageInfo): void {
    const buffer = page.buffer;
    if (buffer === null) return;
    page.buffer = null;
    this.letGo++;
    this.cached.delete(page);
    this.cacheBytes -= buffer.length;
    if (buffer.length === this.pageBytes && this.spare.length < 16) this.spare.push(buffer);
  }

  /** Numbers of the pages below `number`, ascending. */
  *pagesBelow(number: number): Generator<number, void, void> {
    for (const other of this.pages.keys()) {
      if (other >= number) return;
      yield other;
    }
  }

  // --- life cycle ---

  /** Takes over a page found on disk (replay). */
  adopt(
    number: number,
    file: number,
    offset: number,
    length: number,
    minT: number,
    maxT: number,
    records: number,
  ): void {
    const page: PageInfo = {
      number,
      file: 0,
      offset: 0,
      length,
      minT,
      maxT,
      records,
      segment: 0xffffffff,
      buffer: null,
      used: false,
    };
    this.pages.set(number, page);
    this.placed(page, file, offset);
    if (number >= this.nextPage) this.nextPage = number + 1;
  }

  /** Takes over a file found on disk; new pages go to a file with a higher number. */
  adoptFile(number: number, size: number): void {
    this.fileSizes.set(number, size);
    if (!this.filePages.has(number)) this.filePages.set(number, 0);
    if (number > this.fileNumber) this.fileNumber = number;
  }

  relink(address: number, previous: number): void {
    this.relinks.set(address, previous);
  }

  hasPage(number: number): boolean {
    return this.pages.has(number);
  }

  /** Drops written pages without a sample from `minT` on, and files without pages, step by step. */
  *drop(minT: number): Steps {
    let seen = 0;
    for (const page of this.pages.values()) {
      if (++seen % PAGES_PER_STEP === 0) yield;
      if (page.maxT >= minT || page.file === 0) continue;
      this.uncache(page);
      this.pages.delete(page.number);
      this.damage.forget(page.number);
      this.filePages.set(page.file, (this.filePages.get(page.file) as number) - 1);
    }
    for (const [number, count] of this.filePages) {
      if (count > 0 || (number === this.fileNumber && this.file !== null)) continue;
      // Removing a large file takes milliseconds.
      for (let size = this.fileSizes.get(number) ?? 0; size > 0; size -= FILE_BYTES_PER_STEP) yield;
      this.removeFile(number);
    }
  }

  private removeFile(number: number): void {
    const fd = this.readers.get(number);
    if (fd !== undefined) this.files.close(fd);
    this.readers.delete(number);
    const file = filePath(this.dir, number);
    if (this.quarantineDir !== null && this.damage.takeFile(number)) {
      this.files.makeDir(this.quarantineDir);
      this.files.rename(file, quarantineName(this.files, this.quarantineDir, file));
    } else {
      this.files.remove(file);
    }
    this.filePages.delete(number);
    this.fileSizes.delete(number);
  }

  /** WAL segment of the oldest sample in a page that is not written yet; 0xffffffff where there is none. */
  get firstSegment(): number {
    let first = this.current?.segment ?? 0xffffffff;
    for (const page of this.waiting) if (page.segment < first) first = page.segment;
    return first;
  }

  /** Number that the next page will get; lower ones exist or have existed. */
  get endPage(): number {
    return this.nextPage;
  }

  /** Lowest page number that is not dropped. */
  get firstPage(): number {
    for (const number of this.pages.keys()) return number;
    return this.nextPage;
  }

  get waitingPages(): number {
    return this.waiting.length;
  }

  get pageCount(): number {
    return this.pages.size;
  }

  get memoryBytes(): number {
    let total = this.cacheBytes + this.spare.length * this.pageBytes + (this.current?.buffer?.length ?? 0);
    for (const page of this.waiting) total += (page.buffer as Uint8Array).length;
    return total + this.pages.size * 120;
  }

  get diskBytes(): number {
    let total = 0;
    for (const size of this.fileSizes.values()) total += size;
    return total;
  }

  /** Bounds of all pages; minT > maxT when there are none. */
  bounds(): { minT: number; maxT: number } {
    let minT = Infinity;
    let maxT = -1;
    for (const page of this.pages.values()) {
      if (page.minT < minT) minT = page.minT;
      if (page.maxT > maxT) maxT = page.maxT;
    }
    return { minT, maxT };
  }

  close(): void {
    for (const file of this.unsynced) file.close();
    this.unsynced = [];
    this.file?.close();
    this.file = null;
    for (const fd of this.readers.values()) this.files.close(fd);
    this.readers.clear();
  }
}

export function filePath(dir: string, number: number): string {
  return path.join(dir, `${String(number).padStart(8, '0')}.hck`);
}

export function listChunkFiles(files: Files, dir: string): number[] {
  const numbers: number[] = [];
  for (const name of files.list(dir)) {
    const match = /^(\d{8,10})\.hck$/.exec(name);
    if (match !== null) numbers.push(Number(match[1]));
  }
  return numbers.sort((a, b) => a - b);
}
