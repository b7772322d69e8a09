/**
 * Head: the newest samples of a shard, of all its tenants: in memory, in chunk files and in the WAL.
 *
 * One thread, synchronous. `append` returns when the rows are in the log: they survive kill -9 of the process. Its order
 * is memory first, then one write per log; a write that fails leaves the bytes owed (wal/log-file.ts) and nothing is
 * applied any more until the debt is paid, so memory and log differ by one unacknowledged append at most.
 *
 *     append ---> series table, tails --sealed--> chunk pages --full--> chunks/*.hck --flush--> blocks
 *        \------> series.log, wal/*.wal        (a segment goes when all its samples are in written pages)
 *
 * Files and records: docs/formats/head.md and wal.md.
 */

import type { CardinalityPart, CardinalityScope, SavingsPart } from '../../../contracts/cardinality.ts';
import { StorageFullError } from '../../../contracts/sample-sink.ts';
import type { SeriesGate } from '../../../contracts/series-gate.ts';
import { isNoSpace, spaceText } from '../../../lib/disk-space.ts';
import type { Labels } from '../../../model/labels.ts';
import type { SampleBatch } from '../../../model/sample-batch.ts';
import type { CompiledMatcher, Part } from '../part.ts';
import { type Files, nodeFiles } from '../wal/files.ts';
import { LogFile } from '../wal/log-file.ts';
import { type SyncPolicy, Wal } from '../wal/wal.ts';
import { type AppendCounts, Appender, type HeadTap } from './appender.ts';
import { Background } from './background.ts';
import { type Cardinality, cardinality } from './cardinality.ts';
import { explore, savings } from './explore.ts';
import { HeadFlush } from './flush.ts';
import { forget } from './forget.ts';
import { metricOf, tellFound, tenantOf } from './found-series.ts';
import { bury, Limbo, Sweeper, staleRefs } from './gc.ts';
import { Pins } from './pins.ts';
import { HeadReader, HeadSet } from './reader.ts';
import { type HeadDirs, headDirs, Replay, type ReplayReport } from './replay.ts';
import { selectRefs } from './selection.ts';
import { SeriesLog } from './series-log.ts';
import { rewriteNow } from './series-log-rewrite.ts';
import { HAS_OOO, HAS_TOMBSTONE, PAGE_MASK, PAGE_REFS, type SeriesPage } from './series-table.ts';
import { HeadStore, WINDOW_MS } from './store.ts';
import { Upkeep } from './upkeep.ts';

export interface HeadOptions {
  dir: string;
  files?: Files;
  /** What survives a power loss; see wal/wal.ts. Default interval. */
  sync?: SyncPolicy;
  segmentBytesMax?: number;
  /** Above this the tails of slow series are sealed early, so that old segments can go. Default 512 MB. */
  walBytesMax?: number;
  /** Bytes of written chunk pages kept in memory. Default 64 MB. */
  chunkCacheBytes?: number;
  /** Bytes of sealed chunks that a flush holds in memory. Default 64 MB. */
  flushArenaBytes?: number;
  /** Size of a chunk page and of a chunk file; tests make them small. Defaults 64 KB, 64 MB. */
  pageBytes?: number;
  chunkFileBytesMax?: number;
  /** Dead series from which on series.log may be rewritten while the head runs, and rows per slice; tests make them small. */
  rewriteDeadMin?: number;
  rewriteSliceRows?: number;
  /** Out-of-order rows from which on `needsOooFlush` asks for a flush. At four times as many, appends are refused. */
  oooRowsMax?: number;
  /** Lets new series in or not, and is told of all that come and go. Without one all come in. */
  gate?: SeriesGate | null;
  log?: (message: string) => void;
  /** Told during the replay: what is being read, files done, files in all. */
  /** Told of each segment before it is read back: those that are there, and the one at hand. */
  onReplay?: (first: number, last: number, current: number) => void;
}

export interface HeadStats {
  series: number;
  seriesByTenant: Map<string, number>;
  minT: number;
  maxT: number;
  oooRows: number;
  tombstonedSeries: number;
  walBytes: number;
  walSegments: number;
  chunkFileBytes: number;
  chunkPages: number;
  /** Pages found damaged since the start: their samples are missing from answers. */
  damagedPages: number;
  seriesLogBytes: number;
  /** Memory by kind, own accounting, bytes. */
  memory: { series: number; labels: number; chunks: number; outOfOrder: number; histograms: number };
  openSelections: number;
  syncErrors: number;
}

/** Most chunk pages that may wait for a failing disk before appends are refused. */
const WAITING_PAGES_MAX = 256;
/** Series collected at once: some 20 ms. */
const COLLECT_MAX = 20_000;

export class Head implements Part {
  readonly report: ReplayReport;
  private readonly files: Files;
  private readonly dirs: HeadDirs;
  private readonly store: HeadStore;
  private readonly seriesLog: SeriesLog;
  private readonly wal: Wal;
  private readonly reader: HeadReader;
  private readonly pins = new Pins();
  private readonly limbo = new Limbo();
  private readonly sweeper: Sweeper;
  private readonly appender: Appender;
  private readonly upkeep: Upkeep;
  private readonly background: Background;
  private readonly gate: SeriesGate | null;
  private readonly sync: SyncPolicy;
  private readonly oooRowsMax: number;
  private readonly flushArenaBytes: number;
  private readonly log: (message: string) => void;
  private closed = false;

  /** Opens the head in a folder, replaying what is there. Takes seconds with a million series. */
  constructor(options: HeadOptions) {
    this.files = options.files ?? nodeFiles;
    this.sync = options.sync ?? 'interval';
    this.oooRowsMax = options.oooRowsMax ?? 1_000_000;
    this.flushArenaBytes = options.flushArenaBytes ?? 64 << 20;
    this.log = options.log ?? (() => {});
    this.dirs = headDirs(options.dir);
    for (const dir of [this.dirs.root, this.dirs.wal, this.dirs.chunks]) this.files.makeDir(dir);
    this.background = new Background(this.log);
    this.store = new HeadStore(this.dirs.chunks, {
      files: this.files,
      quarantineDir: this.dirs.quarantine,
      cacheBytesMax: options.chunkCacheBytes,
      pageBytes: options.pageBytes,
      fileBytesMax: options.chunkFileBytesMax,
      onReadError: this.log,
      onDamage: steps => this.background.add(steps, () => {}, false),
    });
    this.reader = new HeadReader(this.store, this.log);
    const replay = new Replay(this.store, this.files, this.dirs);
    replay.readSeriesLog();
    replay.readChunkFiles();
    replay.readWal(options.onReplay ?? (() => {}));
    this.report = replay.report;
    for (const { file, what } of this.report.damage) this.log(`${file}: ${what}`);
    this.seriesLog = this.openSeriesLog(replay);
    this.wal = new Wal(this.dirs.wal, replay.segments, replay.nextSegment, {
      files: this.files,
      sync: this.sync,
      segmentBytesMax: options.segmentBytesMax,
    });
    this.store.segment = this.wal.segment;
    this.sweeper = new Sweeper(this.store);
    const { free, unswept } = unusedRefs(this.store);
    this.sweeper.add(unswept, -1);
    this.limbo.add(free, this.wal.segment - 1, this.store.chunks.endPage - 1);
    this.gate = options.gate ?? null;
    this.appender = new Appender(this.store, this.seriesLog, this.wal, this.limbo, this.gate);
    if (this.gate !== null) tellFound(this.store, unswept, this.gate);
    this.upkeep = new Upkeep(
      {
        store: this.store,
        seriesLog: this.seriesLog,
        wal: this.wal,
        pins: this.pins,
        limbo: this.limbo,
        sweeper: this.sweeper,
        onSwept: () => this.appender.forgetPairs(),
        log: this.log,
      },
      options,
    );
  }

  private openSeriesLog(replay: Replay): SeriesLog {
    if (replay.seriesLogSize < 0) return SeriesLog.create(this.files, this.dirs.root);
    const file = LogFile.openAt(this.files, `${this.dirs.root}/series.log`, replay.seriesLogSize);
    const log = new SeriesLog(this.files, this.dirs.root, file);
    log.registered = replay.registered;
    log.dead = replay.dead.length;
    // After damage the numbers in the file and in memory may disagree: write down what there is.
    const damaged = this.report.damage.some(d => d.file.endsWith('series.log'));
    if (!damaged && log.dead * 2 <= log.registered) return log;
    try {
      rewriteNow(this.store, log);
    } catch (error) {
      // Merely large is no reason not to start.
      if (damaged || !isNoSpace(error)) throw error;
      this.log(`${log.path} could not be rewritten: ${(error as Error).message}`);
    }
    return log;
  }

  // --- writing ---

  /**
   * Stores the batch, or only its series `rows`. Returns when all that is counted as stored survives kill -9. Throws a
   * StorageFullError when the disk refuses: then nothing may be acknowledged.
   */
  append(tenant: string, batch: SampleBatch, rows: Uint32Array | null = null): AppendCounts {
    this.recover();
    return this.appender.append(tenant, batch, rows);
  }

  /** From now on, what is appended goes to the tap as well. */
  setTap(tap: HeadTap | null): void {
    this.appender.tap = tap;
  }

  /** Labels of a live series. */
  labelsOf(ref: number): Labels {
    return this.store.index.labels(this.store.page(ref).labels[ref & PAGE_MASK] as number);
  }

  /** Whether the gate has refused the series lately. */
  isRefused(hashes: Uint32Array, at: number): boolean {
    return this.appender.isRefused(hashes, at);
  }

  /** Pays debts, or throws a StorageFullError: whether appends can be taken. */
  recover(): void {
    if (this.closed) throw new Error('BUG: the head is closed');
    this.seriesLog.recover();
    this.wal.recover();
    if (this.sync === 'always') this.seriesLog.sync();
    const { chunks, ooo } = this.store;
    if (chunks.waitingPages > WAITING_PAGES_MAX && !chunks.writeWaiting()) {
      throw new StorageFullError(
        `${chunks.waitingPages} chunk pages of ${this.dirs.chunks} cannot be written: ${spaceText(this.dirs.chunks)}; free disk space`,
      );
    }
    if (ooo.length > this.oooRowsMax * 4) {
      throw new StorageFullError(
        `${ooo.length} out-of-order rows wait to be flushed, at most ${this.oooRowsMax * 4} may; ${spaceText(this.dirs.root)}`,
      );
    }
  }

  /** Bytes of sealed chunks on disk. */
  get chunkFileBytes(): number {
    return this.store.chunks.diskBytes;
  }

  /** Whether out-of-order rows should be flushed to blocks soon. */
  get needsOooFlush(): boolean {
    return this.store.ooo.end - this.store.oooFloor > this.oooRowsMax;
  }

  /** Hides the tenant's samples in [minT, maxT] that are there now. Returns the number of series concerned. */
  deleteSamples(tenant: string, matchers: readonly CompiledMatcher[], minT: number, maxT: number): number {
    this.recover();
    const owner = this.store.index.tenant(tenant);
    if (owner === undefined) return 0;
    const refs: number[] = [];
    const newest: number[] = [];
    const oooMark = this.store.ooo.end;
    for (const ref of selectRefs(this.store.index, this.store.table, owner, matchers)) {
      const page = this.store.page(ref);
      const slot = ref & PAGE_MASK;
      const lastT = page.lastT[slot] as number;
      if (lastT < Math.max(minT, this.store.floorT) && ((page.flags[slot] as number) & HAS_OOO) === 0) continue;
      const maxInOrderT = Math.max(-1, Math.min(maxT, lastT));
      refs.push(ref);
      newest.push(maxInOrderT);
      this.store.tombstones.add(ref, { minT, maxT, oooMark, maxInOrderT });
      page.flags[slot] = (page.flags[slot] as number) | HAS_TOMBSTONE;
    }
    if (refs.length > 0) {
      this.seriesLog.addTombstones(refs, newest, { minT, maxT, oooMark });
      this.commitSeriesLog();
    }
    return refs.length;
  }

  private commitSeriesLog(): void {
    this.seriesLog.commit();
    if (this.sync === 'always') this.seriesLog.sync();
  }

  // --- reading ---

  get minT(): number {
    return this.store.bounds().minT;
  }

  get maxT(): number {
    return this.store.bounds().maxT;
  }

  select(tenant: string, matchers: readonly CompiledMatcher[], minT: number, maxT: number): HeadSet {
    const refs = this.matching(tenant, matchers, minT, maxT);
    return new HeadSet(this.store, this.reader, refs, this.pins.pin());
  }

  labelNames(tenant: string, matchers: readonly CompiledMatcher[], minT: number, maxT: number): Set<string> {
    const names = new Set<string>();
    const { index } = this.store;
    const owner = index.tenant(tenant);
    if (owner === undefined || !this.overlaps(minT, maxT)) return names;
    if (matchers.length === 0) {
      for (let n = owner.firstName - 1; n >= 0; n = index.nextName(n)) names.add(index.nameText(n));
      return names;
    }
    const ids = new Set<number>();
    for (const ref of this.matching(tenant, matchers, minT, maxT)) {
      const list = this.store.page(ref).labels[ref & PAGE_MASK] as number;
      const count = index.lists.get(list);
      for (let i = 1; i <= count; i++) ids.add(index.nameOfPair(index.lists.get(list + i)));
    }
    for (const id of ids) names.add(index.nameText(id));
    return names;
  }

  labelValues(
    tenant: string,
    name: string,
    matchers: readonly CompiledMatcher[],
    minT: number,
    maxT: number,
  ): Set<string> {
    const values = new Set<string>();
    const { index } = this.store;
    const owner = index.tenant(tenant);
    const id = owner === undefined || !this.overlaps(minT, maxT) ? -1 : index.findName(owner, name);
    if (id < 0) return values;
    if (matchers.length === 0) {
      for (let p = index.firstPair(id); p >= 0; p = index.nextPair(p)) values.add(index.valueText(p));
      return values;
    }
    const pairs = new Set<number>();
    for (const ref of this.matching(tenant, matchers, minT, maxT)) {
      const pair = index.pairOf(this.store.page(ref).labels[ref & PAGE_MASK] as number, id);
      if (pair >= 0) pairs.add(pair);
    }
    for (const pair of pairs) values.add(index.valueText(pair));
    return values;
  }

  private overlaps(minT: number, maxT: number): boolean {
    const bounds = this.store.bounds();
    return bounds.minT <= maxT && bounds.maxT >= minT;
  }

  /** Refs that match and may have samples from minT on. */
  private matching(tenant: string, matchers: readonly CompiledMatcher[], minT: number, maxT: number): Uint32Array {
    const owner = this.store.index.tenant(tenant);
    if (owner === undefined || !this.overlaps(minT, maxT)) return new Uint32Array(0);
    const refs = selectRefs(this.store.index, this.store.table, owner, matchers);
    const from = Math.max(minT, this.store.floorT);
    let kept = 0;
    for (let i = 0; i < refs.length; i++) {
      const ref = refs[i] as number;
      const page = this.store.page(ref);
      const slot = ref & PAGE_MASK;
      if ((page.lastT[slot] as number) >= from || ((page.flags[slot] as number) & HAS_OOO) !== 0) refs[kept++] = ref;
    }
    return refs.subarray(0, kept);
  }

  /** Live series of a tenant. */
  seriesCount(tenant: string): number {
    return this.store.index.tenant(tenant)?.seriesCount ?? 0;
  }

  /** The most numerous metrics, labels and pairs of a tenant. Takes a walk over its pairs, some 100 ms for a million. */
  cardinality(tenant: string, limit: number): Cardinality {
    return cardinality(this.store.index, tenant, limit);
  }

  /** What a tenant's series come from, in the given scope; in slices. */
  explore(tenant: string, scope: CardinalityScope): Promise<CardinalityPart> {
    return explore(this.store, tenant, scope);
  }

  /** What `relabel` would make of a tenant's series; in slices, until `isOver`. */
  savings(
    tenant: string,
    relabel: (labels: Map<string, string>) => boolean,
    isOver: () => boolean,
  ): Promise<SavingsPart> {
    return savings(this.store, tenant, relabel, isOver);
  }

  // --- flushing to blocks ---

  /**
   * Starts a flush of the in-order samples up to maxT and all out-of-order rows that are there. From now on samples up to
   * maxT are taken as out of order. One flush at a time; it may be dropped, or finished by `commitFlush`.
   */
  beginFlush(maxT: number): HeadFlush {
    this.store.inOrderMinT = Math.max(this.store.inOrderMinT, maxT + 1);
    return new HeadFlush(this.store, this.reader, maxT, this.flushArenaBytes);
  }

  /** The flush's samples are durable in blocks that readers see from now on: forgets them here. */
  commitFlush(flush: HeadFlush): void {
    this.recover();
    const { store } = this;
    store.floorT = Math.max(store.floorT, flush.maxT + 1);
    store.inOrderMinT = Math.max(store.inOrderMinT, store.floorT);
    store.oooFloor = Math.max(store.oooFloor, flush.oooMark);
    const { floorT, oooFloor } = store;
    for (const windows of store.windows) {
      for (const w of windows) if ((w + 1) * WINDOW_MS <= floorT) windows.delete(w);
    }
    this.beginFiles();
    this.pins.after(() => {
      this.background.add(forget(store, floorT, oooFloor), () => this.upkeep.truncateSoon(), true);
    });
    this.seriesLog.addFlushed(floorT, oooFloor);
    this.commitSeriesLog();
    this.upkeep.truncateSoon();
  }

  /** What was flushed leaves the disk with whole files: new ones begin here. A disk that refuses is met at the next append. */
  private beginFiles(): void {
    if (this.store.chunks.flush()) this.store.chunks.endFile();
    try {
      this.wal.rotate();
    } catch (error) {
      this.log((error as Error).message);
    }
  }

  // --- upkeep ---

  /**
   * Removes series whose newest sample is older than `olderThan` and that have nothing left in the head, up to a
   * bounded number; returns how many. Their memory comes back in the following `maintain` calls.
   */
  gcSeries(olderThan: number): number {
    this.recover();
    const refs = staleRefs(this.store, olderThan, COLLECT_MAX);
    if (refs.length === 0) return 0;
    for (const ref of refs) {
      if (this.gate !== null) this.gate.gone(tenantOf(this.store, ref), metricOf(this.store, ref));
      bury(this.store, ref);
    }
    this.sweeper.add(refs, this.pins.next());
    this.seriesLog.addDead(refs);
    this.commitSeriesLog();
    return refs.length;
  }

  /**
   * To be called every 100 ms or so: syncs in the background (policy interval), removes WAL segments that nothing needs, and
   * does a slice of sweeping. Never throws; a failing disk shows in `stats().syncErrors` and the log.
   */
  maintain(): Promise<void> {
    return this.upkeep.run();
  }

  stats(): HeadStats {
    const { store } = this;
    const seriesByTenant = new Map<string, number>();
    for (const tenant of store.index.tenants) {
      if (tenant.seriesCount > 0) seriesByTenant.set(tenant.id, tenant.seriesCount);
    }
    return {
      ...store.bounds(),
      series: store.table.count,
      seriesByTenant,
      oooRows: store.ooo.end - store.oooFloor,
      tombstonedSeries: store.tombstones.size,
      walBytes: this.wal.bytes,
      walSegments: this.wal.segments,
      chunkFileBytes: store.chunks.diskBytes,
      chunkPages: store.chunks.pageCount,
      damagedPages: store.chunks.damage.count,
      seriesLogBytes: this.seriesLog.bytes,
      memory: {
        series: store.table.bytes,
        labels: store.index.bytes,
        chunks: store.chunks.memoryBytes,
        outOfOrder: store.ooo.bytes,
        histograms: store.histogramTails.bytes,
      },
      openSelections: this.pins.count,
      syncErrors: this.upkeep.errors,
    };
  }

  /** Writes out the current page, makes everything durable, closes the files. The head is unusable afterwards. */
  async close(): Promise<void> {
    if (this.closed) return;
    await this.upkeep.stop();
    await this.background.stop();
    this.closed = true;
    try {
      this.payLast();
      this.store.chunks.flush();
      this.seriesLog.sync();
      this.store.chunks.sync();
      this.wal.syncNow();
    } finally {
      this.abandon();
    }
  }

  /** What is owed was never acknowledged: where the disk is still full, it goes. */
  private payLast(): void {
    try {
      this.seriesLog.recover();
      this.wal.recover();
    } catch (error) {
      if (!(error instanceof StorageFullError)) throw error;
      this.log(`closing without the last, unacknowledged writes: ${error.message}`);
    }
  }

  /** Closes the files without writing or syncing anything, as a crash would leave them. */
  abandon(): void {
    this.closed = true;
    this.upkeep.halt();
    this.background.halt();
    this.seriesLog.close();
    this.wal.close();
    this.store.chunks.close();
  }
}

/** Refs below the end that belong to no series: free ones, and those of dead series that still stand in postings. */
function unusedRefs(store: HeadStore): { free: number[]; unswept: number[] } {
  const free: number[] = [];
  const unswept: number[] = [];
  const { pages, end } = store.table;
  for (let p = 0; p < pages.length; p++) {
    const page = pages[p] as SeriesPage;
    const n = Math.min(PAGE_REFS, end - p * PAGE_REFS);
    for (let slot = 0; slot < n; slot++) {
      if ((page.flags[slot] as number) !== 0) continue;
      if (page.labels[slot] === 0) free.push(p * PAGE_REFS + slot);
      else unswept.push(p * PAGE_REFS + slot);
    }
  }
  return { free, unswept };
}
