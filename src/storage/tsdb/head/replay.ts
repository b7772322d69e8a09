/**
 * Replay: from the files of a head back to its memory.
 *
 * Order: series.log (series, tombstones, floors), then chunk files (chains and newest timestamps, from record headers alone),
 * then WAL segments. In-order rows not newer than what the series already has are in chunks: skipping them makes the
 * replay idempotent. Needs no more memory than the head itself: files are read in windows, and tails that fill up are
 * sealed and written as in normal operation.
 */
import path from 'node:path';
import type { Files } from '../wal/files.ts';
import type { FrameReader } from '../wal/frame.ts';
import {
  decodeHistogramRows,
  REC_HISTOGRAMS,
  REC_OOO_HISTOGRAMS,
  REC_OOO_SAMPLES,
  REC_SAMPLES,
  SampleStage,
} from '../wal/records.ts';
import { type RecoveryReport, scanFile } from '../wal/recovery.ts';
import { ByteCursor, CorruptRecordError } from '../wal/varint.ts';
import { listSegments, segmentPath, WAL_MAGIC } from '../wal/wal.ts';
import { CHUNK_MAGIC, filePath, listChunkFiles, REC_PAGE } from './chunk-pages.ts';
import { type ChunkRecord, chunkAddress, newChunkRecord, readPageHeader, readRecord } from './chunk-record.ts';
import { replaySwept } from './gc.ts';
import { isHistogram } from './histogram-codec.ts';
import { readSeriesFrame, SERIES_MAGIC, type SeriesLogVisitor } from './series-log.ts';
import { ALIVE, HAS_TOMBSTONE, NO_PAGE, PAGE_MASK, PAGE_SHIFT, type SeriesPage } from './series-table.ts';
import type { HeadStore } from './store.ts';
import type { Tombstone } from './tombstones.ts';

export interface ReplayReport extends RecoveryReport {
  series: number;
  chunkPages: number;
  walSegments: number;
  /** Rows taken from the WAL into memory. */
  samples: number;
  outOfOrder: number;
  histograms: number;
  /** Rows and chunks of series that are not registered (collected since, or lost with a damaged series.log). */
  orphans: number;
}

export interface HeadDirs {
  root: string;
  wal: string;
  chunks: string;
  quarantine: string;
}

export function headDirs(root: string): HeadDirs {
  return {
    root,
    wal: path.join(root, 'wal'),
    chunks: path.join(root, 'chunks'),
    quarantine: path.join(root, 'quarantine'),
  };
}

/** A gap in row numbers up to this is bridged; a larger one is not believed. */
const ROW_GAP_MAX = 1 << 20;
/** A ref further than this beyond the known ones is not believed. */
const REF_GAP_MAX = 1 << 26;
/** As many refs are set aside for lost series at most. */
const ORPHAN_GAP_MAX = 1 << 24;

export class Replay {
  readonly report: ReplayReport = {
    damage: [],
    tornBytes: 0,
    series: 0,
    chunkPages: 0,
    walSegments: 0,
    samples: 0,
    outOfOrder: 0,
    histograms: 0,
    orphans: 0,
  };
  /** Segments found, with their good sizes. */
  readonly segments = new Map<number, number>();
  nextSegment = 1;
  /** Series declared dead in series.log, swept or not. */
  readonly dead: number[] = [];
  /** Series registered in series.log, dead ones included. */
  registered = 0;
  seriesLogSize = -1;
  private lastOrphan = -1;
  private readonly store: HeadStore;
  private readonly files: Files;
  private readonly dirs: HeadDirs;
  private readonly stage = new SampleStage();

  constructor(store: HeadStore, files: Files, dirs: HeadDirs) {
    this.store = store;
    this.files = files;
    this.dirs = dirs;
  }

  // --- series.log ---

  readSeriesLog(): void {
    const name = 'series.log';
    const present = this.files.list(this.dirs.root);
    // Left behind by a rewrite that a crash cut short.
    if (present.includes(`${name}.new`)) this.files.remove(path.join(this.dirs.root, `${name}.new`));
    if (!present.includes(name)) return;
    const file = path.join(this.dirs.root, name);
    const visitor = this.seriesVisitor();
    const { size } = scanFile(this.files, file, SERIES_MAGIC, true, this.dirs.quarantine, this.report, frame =>
      readSeriesFrame(frame, visitor),
    );
    this.seriesLogSize = size;
    this.store.ooo.startAt(this.store.oooFloor);
    this.store.inOrderMinT = this.store.floorT;
    this.store.droppedT = this.store.floorT;
    this.report.series = this.store.table.count;
  }

  private seriesVisitor(): SeriesLogVisitor {
    const { store, dead } = this;
    const { index, table } = store;
    return {
      tenant: (number, name) => {
        if (number !== index.tenants.length || index.tenant(name) !== undefined) {
          throw new CorruptRecordError(`tenant ${name} with index ${number}, ${index.tenants.length} was expected`);
        }
        store.addTenant(name);
      },
      pair: (id, tenantIndex, name, value) => {
        const tenant = index.tenants[tenantIndex];
        if (tenant === undefined) throw new CorruptRecordError(`pair ${id} of unknown tenant ${tenantIndex}`);
        if (!index.restorePair(tenant, id, name, value)) throw new CorruptRecordError(`pair ${id} exists`);
      },
      series: (ref, hash, tenantIndex, pairs, count) => {
        const tenant = index.tenants[tenantIndex];
        if (tenant === undefined) throw new CorruptRecordError(`series ${ref} of unknown tenant ${tenantIndex}`);
        if (ref > table.end + REF_GAP_MAX) throw new CorruptRecordError(`ref ${ref} far beyond ${table.end}`);
        const known = table.find(hash, 0);
        // A rewritten log may say a thing twice.
        if (known === ref) return;
        if (table.isAlive(ref)) throw new CorruptRecordError(`series ${ref} exists`);
        if (known >= 0) throw new CorruptRecordError(`series ${ref} has another one's identity`);
        for (let i = 0; i < count; i++) {
          const pair = pairs[i] as number;
          if (!index.isPairAlive(pair) || index.tenantOfPair(pair) !== tenantIndex) {
            throw new CorruptRecordError(`series ${ref} with unknown pair ${pair}`);
          }
        }
        if (ref < table.end && store.page(ref).labels[ref & PAGE_MASK] !== 0) {
          throw new CorruptRecordError(`ref ${ref} is not free`);
        }
        this.registered++;
        table.add(ref, hash, 0, tenantIndex, index.addSeries(tenant, ref, pairs, count));
      },
      dead: ref => {
        if (!table.isAlive(ref)) return;
        index.tenants[store.page(ref).tenant[ref & PAGE_MASK] as number]!.seriesCount--;
        store.tombstones.remove(ref);
        table.remove(ref);
        dead.push(ref);
      },
      swept: swept => {
        if (!replaySwept(store, swept)) throw new CorruptRecordError('a pair that is in use was freed');
      },
      tombstone: (ref, tombstone) => this.addTombstone(ref, tombstone),
      flushed: (minT, oooFirst) => {
        if (!(minT >= store.floorT && oooFirst >= store.oooFloor)) throw new CorruptRecordError('floors went down');
        store.floorT = minT;
        store.oooFloor = oooFirst;
      },
    };
  }

  private addTombstone(ref: number, tombstone: Tombstone): void {
    const { store } = this;
    if (!store.table.isAlive(ref)) return;
    store.tombstones.add(ref, tombstone);
    const page = store.page(ref);
    page.flags[ref & PAGE_MASK] = (page.flags[ref & PAGE_MASK] as number) | HAS_TOMBSTONE;
  }

  // --- chunk files ---

  readChunkFiles(): void {
    const numbers = listChunkFiles(this.files, this.dirs.chunks);
    let lastPage = 0;
    for (let i = 0; i < numbers.length; i++) {
      const number = numbers[i] as number;
      const { size } = scanFile(
        this.files,
        filePath(this.dirs.chunks, number),
        CHUNK_MAGIC,
        i === numbers.length - 1,
        this.dirs.quarantine,
        this.report,
        frame => {
          lastPage = this.readPage(frame, number, lastPage);
        },
      );
      if (size >= 0) this.store.chunks.adoptFile(number, size);
    }
    const steps = this.store.chunks.drop(this.store.floorT);
    while (steps.next().done !== true);
  }

  private readonly record = newChunkRecord();

  private readPage(frame: FrameReader, file: number, lastPage: number): number {
    if (frame.type !== REC_PAGE) throw new CorruptRecordError(`record type ${frame.type} in a chunk file`);
    const { payload } = frame;
    const cursor = new ByteCursor(payload);
    const header = readPageHeader(cursor);
    if (header.number <= lastPage) throw new CorruptRecordError(`page ${header.number} after page ${lastPage}`);
    const { store, record } = this;
    store.chunks.adopt(
      header.number,
      file,
      frame.payloadOffset,
      payload.length,
      header.minT,
      header.maxT,
      header.records,
    );
    this.report.chunkPages++;
    for (let i = 0; i < header.records; i++) {
      const address = chunkAddress(header.number, cursor.at);
      readRecord(cursor, header.number, record);
      this.link(record, address);
    }
    return header.number;
  }

  private link(record: ChunkRecord, address: number): void {
    const { store } = this;
    if (!store.table.isAlive(record.ref)) {
      this.orphan(record.ref);
      return;
    }
    const page = store.table.pages[record.ref >>> PAGE_SHIFT] as SeriesPage;
    const slot = record.ref & PAGE_MASK;
    const previous = page.chain[slot] as number;
    // Between this record and its previous one a page is missing: bridge the gap.
    if (previous !== record.previous && previous !== 0) store.chunks.relink(address, previous);
    page.chain[slot] = address;
    if (record.maxT > (page.lastT[slot] as number)) page.lastT[slot] = record.maxT;
    if (record.maxT < store.floorT) return;
    if (record.minT < store.lowT) store.lowT = record.minT;
    if (record.maxT > store.highT) store.highT = record.maxT;
    store.noteWindows(page.tenant[slot] as number, record.minT, record.maxT);
  }

  // --- WAL ---

  readWal(onSegment: (first: number, last: number, current: number) => void): void {
    const numbers = listSegments(this.files, this.dirs.wal);
    for (let i = 0; i < numbers.length; i++) {
      const number = numbers[i] as number;
      onSegment(numbers[0] as number, numbers[numbers.length - 1] as number, number);
      this.store.segment = number;
      const { size } = scanFile(
        this.files,
        segmentPath(this.dirs.wal, number),
        WAL_MAGIC,
        i === numbers.length - 1,
        this.dirs.quarantine,
        this.report,
        frame => this.readRecord(frame),
      );
      if (size >= 0) this.segments.set(number, size);
      this.nextSegment = number + 1;
      this.report.walSegments++;
    }
    this.store.segment = this.nextSegment;
    // Samples of a series that is lost must not become another series' samples at the next start.
    const { table } = this.store;
    if (this.lastOrphan < table.end + ORPHAN_GAP_MAX) table.reserve(this.lastOrphan + 1);
  }

  private orphan(ref: number): void {
    this.report.orphans++;
    if (ref > this.lastOrphan) this.lastOrphan = ref;
  }

  private readRecord(frame: FrameReader): void {
    switch (frame.type) {
      case REC_SAMPLES:
        this.stage.decode(frame);
        this.applySamples();
        return;
      case REC_OOO_SAMPLES:
        this.stage.decode(frame);
        this.applyOutOfOrder();
        return;
      case REC_HISTOGRAMS:
      case REC_OOO_HISTOGRAMS:
        this.applyHistograms(frame);
        return;
      default:
        throw new CorruptRecordError(`record type ${frame.type} in a WAL segment`);
    }
  }

  private applySamples(): void {
    const { store, stage } = this;
    const { pages, end } = store.table;
    const { refs, timestamps, values, starts } = stage;
    let taken = 0;
    for (let i = 0; i < stage.n; i++) {
      const ref = refs[i] as number;
      const page = ref < end ? (pages[ref >>> PAGE_SHIFT] as SeriesPage) : NO_PAGE;
      if (((page.flags[ref & PAGE_MASK] as number) & ALIVE) === 0) {
        this.orphan(ref);
        continue;
      }
      const t = timestamps[i] as number;
      if (t <= (page.lastT[ref & PAGE_MASK] as number) || t < store.floorT) continue;
      store.appendFloat(ref, page, t, values, i, starts[i] as number);
      taken++;
    }
    this.report.samples += taken;
  }

  private applyOutOfOrder(): void {
    const { store, stage } = this;
    const from = this.reach(stage.firstRow, stage.n);
    for (let i = from; i < stage.n; i++) {
      const ref = stage.refs[i] as number;
      if (store.table.isAlive(ref)) {
        store.appendOooFloat(ref, stage.timestamps[i] as number, stage.values, i, stage.starts[i] as number);
        this.report.outOfOrder++;
      } else {
        store.ooo.appendNothing(store.segment);
        this.orphan(ref);
      }
    }
  }

  /** Brings the row counter to `firstRow`; returns how many of the record's rows are to be skipped. */
  private reach(firstRow: number, n: number): number {
    const { ooo } = this.store;
    if (firstRow < ooo.end) return Math.min(n, ooo.end - firstRow);
    if (ooo.end === ooo.first) ooo.startAt(firstRow);
    else if (firstRow - ooo.end > ROW_GAP_MAX) {
      throw new CorruptRecordError(`out-of-order row ${firstRow}, ${ooo.end} was expected`);
    }
    while (ooo.end < firstRow) ooo.appendNothing(this.store.segment);
    return 0;
  }

  private applyHistograms(frame: FrameReader): void {
    const { store } = this;
    const { firstRow, rows } = decodeHistogramRows(frame);
    for (const row of rows) {
      if (!isHistogram(row.bytes, row.timestampMs)) throw new CorruptRecordError(`histogram of series ${row.ref}`);
    }
    let skip = firstRow >= 0 ? this.reach(firstRow, rows.length) : 0;
    for (const row of rows) {
      if (skip-- > 0) continue;
      const alive = store.table.isAlive(row.ref);
      if (!alive) {
        this.orphan(row.ref);
        if (firstRow >= 0) store.ooo.appendNothing(store.segment);
        continue;
      }
      if (firstRow >= 0) {
        store.appendOooHistogram(row);
        this.report.outOfOrder++;
        continue;
      }
      const page = store.page(row.ref);
      if (row.timestampMs <= (page.lastT[row.ref & PAGE_MASK] as number) || row.timestampMs < store.floorT) continue;
      store.appendHistogram(row);
      this.report.histograms++;
    }
  }
}
