/**
 * ExemplarStore: one shard's exemplars, on disk, with a bounded index in memory.
 *
 * Appended to small segment files (docs/formats/exemplars.md) and acknowledged once written, like the WAL: they survive
 * kill -9. A segment is deleted when no row in it is indexed any more; until then a restart brings its expired rows back,
 * and the next `expire` takes them again. Each tenant keeps its newest rows up to a limit;
 * when all tenants together are over theirs, the one with the most gives way. Order does not matter, late exemplars are
 * welcome; an exemplar equal to one of the newest of its series is dropped (HA pairs and retries send them twice).
 */
import { crc32 } from 'node:zlib';
import type { ExemplarSeries } from '../../../contracts/sample-source.ts';
import type { ExemplarSample, SampleBatch } from '../../../model/sample-batch.ts';
import type { TenantId } from '../../../model/tenant.ts';
import type { CompiledMatcher } from '../part.ts';
import { type Files, nodeFiles, readAll } from '../wal/files.ts';
import { FRAME_HEADER_BYTES, FrameReader, sealFrame } from '../wal/frame.ts';
import { LogFile, storageError } from '../wal/log-file.ts';
import { ByteCursor, CorruptRecordError } from '../wal/varint.ts';
import {
  EXEMPLAR_MAGIC,
  exemplarBody,
  FRAME_ROWS,
  MAX_EXEMPLAR_BYTES,
  RecordWriter,
  readExemplarBody,
  readRecords,
} from './records.ts';
import { type ExemplarSeriesEntry, type RowPosition, TenantExemplars } from './tenant-exemplars.ts';

export interface ExemplarLimits {
  /** Rows kept per tenant, and for all tenants of the shard. A row is about 36 bytes of memory. */
  perTenant: number;
  total: number;
  /** A segment is closed at this size. */
  segmentBytes: number;
}

const DEFAULT_LIMITS: Readonly<ExemplarLimits> = Object.freeze({
  perTenant: 100_000,
  total: 400_000,
  segmentBytes: 8 << 20,
});

/** What a tenant's exemplars are thinned to; asked with each batch. */
export interface ExemplarPolicy {
  /** Rows kept of the tenant; 0 = the store's own limit. */
  kept: number;
  /** Besides the first of a series and minute, one in so many is kept; 1 = all. */
  oneIn: number;
  /** New ones taken per second; 0 = no limit. */
  perSecond: number;
}

/** An exemplar of each series is kept in each such interval. ms. */
const SURE_MS = 60_000;

/** Where limits bite for all tenants together, this share of the largest one goes at once. */
const EVICT_SHARE = 16;

export class ExemplarStore {
  private readonly dir: string;
  private readonly files: Files;
  private readonly limits: ExemplarLimits;
  private readonly tenants = new Map<TenantId, TenantExemplars>();
  /** Descriptors of all segments, for reading. */
  private readonly segments = new Map<number, number>();
  private log: LogFile | null = null;
  private logNumber = 0;
  private nextRef = 1;
  private readonly writer = new RecordWriter();
  private readonly rowBytes = new Uint8Array(MAX_EXEMPLAR_BYTES);
  private readonly policyOf: ((tenant: TenantId) => ExemplarPolicy) | null;
  private readonly now: () => number;
  /** Exemplars left out: by sampling, and because they came too fast. */
  thinned = 0;
  limited = 0;
  /** What replay found wrong; the rest serves. */
  readonly damage: string[] = [];

  /** @param policyOf without it all are kept that there is room for; asked in the replay too, which must let none go that may stay */
  constructor(
    dir: string,
    limits: Partial<ExemplarLimits> = {},
    files: Files = nodeFiles,
    now: () => number = Date.now,
    policyOf: ((tenant: TenantId) => ExemplarPolicy) | null = null,
  ) {
    this.dir = dir;
    this.now = now;
    this.policyOf = policyOf;
    this.files = files;
    this.limits = { ...DEFAULT_LIMITS, ...limits };
    files.makeDir(dir);
    this.replay();
  }

  get rowCount(): number {
    let rows = 0;
    for (const tenant of this.tenants.values()) rows += tenant.rowCount;
    return rows;
  }

  /**
   * Stores the exemplars of a batch whose series are among `chosen` (all where null). Returns how many were accepted: those already
   * there, and those that sampling leaves out, included. Throws a StorageFullError where nothing may be acknowledged.
   */
  append(tenant: TenantId, batch: SampleBatch, chosen: Uint32Array | null): number {
    const exemplars = batch.exemplars;
    if (exemplars === null) return 0;
    let wanted: Uint8Array | null = null;
    if (chosen !== null) {
      wanted = new Uint8Array(batch.seriesCount);
      for (const i of chosen) wanted[i] = 1;
    }
    // What an earlier append could not write comes first: its rows are in the index already.
    this.log?.recover();
    this.writer.clear(FRAME_HEADER_BYTES);
    let stored = 0;
    for (const e of exemplars) {
      if (wanted !== null && wanted[e.series] !== 1) continue;
      if (this.appendOne(tenant, batch, e)) stored++;
    }
    if (this.writer.at > FRAME_HEADER_BYTES) this.writeFrame();
    this.enforceTotal();
    return stored;
  }

  /** The exemplars in [minT, maxT] of series that match, each series' by time; at most `limit` (0 = all). */
  query(
    tenant: TenantId,
    matcherSets: readonly (readonly CompiledMatcher[])[],
    minT: number,
    maxT: number,
    limit: number,
  ): ExemplarSeries[] {
    const index = this.tenants.get(tenant);
    const out: ExemplarSeries[] = [];
    if (index === undefined) return out;
    let left = limit > 0 ? limit : Number.POSITIVE_INFINITY;
    for (const { entry, labels } of index.match(matcherSets)) {
      const exemplars: ExemplarSeries['exemplars'] = [];
      for (const position of index.rows(entry, minT, maxT)) {
        if (left === 0) break;
        const row = this.readRow(position);
        if (row === null) continue;
        exemplars.push(row);
        left--;
      }
      exemplars.sort((a, b) => a.timestampMs - b.timestampMs);
      if (exemplars.length > 0) out.push({ labels, exemplars });
    }
    return out;
  }

  /** Lets go of exemplars older than `beforeMs`, and of the segments that held nothing else. */
  expire(beforeMs: number): void {
    for (const [name, tenant] of this.tenants) {
      tenant.expire(beforeMs);
      if (tenant.rowCount === 0) this.tenants.delete(name);
    }
    this.removeUnused();
  }

  /** Makes what is written survive power loss. */
  sync(): void {
    this.log?.sync();
  }

  close(): void {
    this.log?.close();
    this.log = null;
    for (const fd of this.segments.values()) this.files.close(fd);
    this.segments.clear();
  }

  private appendOne(tenant: TenantId, batch: SampleBatch, e: ExemplarSample): boolean {
    const { series: i } = e;
    const body = exemplarBody(e.timestampMs, e.value, e.labels);
    if (body === null) return false;
    const check = crc32(body);
    const index = this.tenant(tenant);
    const labelsOf = () => batch.labelBytes.slice(batch.labelStart[i], batch.labelEnd[i]);
    const series = index.series(batch.hashes, i * 4, labelsOf);
    if (index.has(series, e.timestampMs, check)) return true;
    if (!this.isWanted(tenant, index, series, e.timestampMs)) return true;
    const log = this.currentLog();
    if (series.segment !== this.logNumber) this.define(tenant, series);
    this.writer.exemplarHead(series.ref);
    const offset = log.size + this.writer.at;
    this.writer.raw(body);
    index.add(series, e.timestampMs, { segment: this.logNumber, offset, length: body.length, check });
    return true;
  }

  /**
   * The first of its series and minute is; of the others one in so many, chosen by series and time, so that a second sender of
   * the same series chooses the same.
   */
  private isWanted(
    tenant: TenantId,
    index: TenantExemplars,
    series: ExemplarSeriesEntry,
    timestampMs: number,
  ): boolean {
    const policy = this.policyOf?.(tenant);
    if (policy === undefined) return true;
    if (policy.kept > 0) index.limitRows(policy.kept);
    const minute = Math.floor(timestampMs / SURE_MS);
    if (minute <= series.keptMinute && policy.oneIn > 1 && mixed(series.hash, timestampMs) % policy.oneIn !== 0) {
      this.thinned++;
      return false;
    }
    if (policy.perSecond > 0 && !index.takeOne(policy.perSecond, this.now())) {
      this.limited++;
      return false;
    }
    return true;
  }

  private define(tenant: TenantId, series: ExemplarSeriesEntry): void {
    series.segment = this.logNumber;
    series.ref = this.nextRef++;
    this.writer.series(series.ref, tenant, series.hash, 0, series.labels);
  }

  private writeFrame(): void {
    const length = this.writer.at - FRAME_HEADER_BYTES;
    this.writer.reserve(8);
    const end = sealFrame(this.writer.bytes, 0, FRAME_ROWS, 0, 0, length);
    this.log?.append(this.writer.bytes, end);
  }

  /** The segment to write to; a new one where there is none or it is full. Never changes within a frame. */
  private currentLog(): LogFile {
    const started = this.log !== null && this.writer.at > FRAME_HEADER_BYTES;
    if (this.log !== null && (started || this.log.size < this.limits.segmentBytes)) return this.log;
    const number = this.logNumber + 1;
    const path = this.path(number);
    let log: LogFile;
    try {
      log = LogFile.create(this.files, path, EXEMPLAR_MAGIC, number);
      this.segments.set(number, this.files.open(path, 'read'));
    } catch (error) {
      throw storageError(`cannot create ${path}`, this.dir, error);
    }
    this.log?.close();
    this.log = log;
    this.logNumber = number;
    this.nextRef = 1;
    return log;
  }

  private readRow(at: RowPosition): ExemplarSeries['exemplars'][number] | null {
    const fd = this.segments.get(at.segment);
    if (fd === undefined) return null;
    const n = readAll(this.files, fd, this.rowBytes, 0, at.length, at.offset);
    const bytes = this.rowBytes.subarray(0, n);
    // A row that the disk no longer holds as written is left out.
    if (n < at.length || crc32(bytes) !== at.check) return null;
    return readExemplarBody(new ByteCursor(bytes));
  }

  private tenant(name: TenantId): TenantExemplars {
    let index = this.tenants.get(name);
    if (index === undefined) {
      index = new TenantExemplars(this.policyOf?.(name).kept || this.limits.perTenant);
      this.tenants.set(name, index);
    }
    return index;
  }

  private enforceTotal(): void {
    if (this.rowCount <= this.limits.total) return;
    let largest: TenantExemplars | null = null;
    for (const tenant of this.tenants.values()) {
      if (largest === null || tenant.rowCount > largest.rowCount) largest = tenant;
    }
    largest?.dropOldest(Math.ceil(largest.rowCount / EVICT_SHARE));
    this.removeUnused();
  }

  private removeUnused(): void {
    let oldest = Number.POSITIVE_INFINITY;
    for (const tenant of this.tenants.values()) oldest = Math.min(oldest, tenant.oldestSegment);
    for (const [number, fd] of this.segments) {
      if (number >= oldest || number === this.logNumber) continue;
      this.files.close(fd);
      this.segments.delete(number);
      this.files.remove(this.path(number));
    }
  }

  private replay(): void {
    const numbers = this.files
      .list(this.dir)
      .map(name => /^(\d{8})\.exemplars$/.exec(name))
      .filter(m => m !== null)
      .map(m => Number(m[1]));
    for (const number of numbers) {
      const path = this.path(number);
      const fd = this.files.open(path, 'read');
      const reader = new FrameReader(this.files, fd);
      const problem = reader.checkHeader(EXEMPLAR_MAGIC);
      this.logNumber = number;
      if (problem !== '') {
        this.damage.push(`${path} ${problem}; set aside as ${number}.corrupt`);
        this.files.close(fd);
        this.files.rename(path, `${path}.corrupt`);
        continue;
      }
      this.segments.set(number, fd);
      this.replaySegment(reader, number, path);
    }
    this.removeUnused();
    // Appending starts a new segment: the last one may end in a torn frame, and series would need defining again anyway.
    this.log = null;
  }

  private replaySegment(reader: FrameReader, number: number, path: string): void {
    const byRef = new Map<number, { index: TenantExemplars; series: ExemplarSeriesEntry }>();
    for (;;) {
      if (!reader.next()) {
        const tail = reader.size - reader.position;
        if (tail <= 0) return;
        const at = reader.position;
        if (!reader.resync()) {
          this.damage.push(`${path}: ${tail} bytes at ${at} are no frame; a torn write, or damage`);
          return;
        }
        this.damage.push(`${path}: bytes ${at} to ${reader.position} are no frame and were skipped`);
        continue;
      }
      try {
        const payloadAt = reader.payloadOffset;
        readRecords(
          reader.payload,
          s => {
            const index = this.tenant(s.tenant);
            byRef.set(s.ref, { index, series: index.series(s.hash, 0, () => s.labels) });
          },
          (ref, row, start, end) => {
            const known = byRef.get(ref);
            // Its definition was in a frame that is lost.
            if (known === undefined) return;
            const check = crc32(reader.payload.subarray(start, end));
            const position = { segment: number, offset: payloadAt + start, length: end - start, check };
            known.index.add(known.series, row.timestampMs, position);
          },
        );
      } catch (error) {
        if (!(error instanceof CorruptRecordError)) throw error;
        this.damage.push(`${path}: the frame at ${reader.offset} makes no sense: ${error.message}`);
      }
    }
  }

  private path(number: number): string {
    return `${this.dir}/${String(number).padStart(8, '0')}.exemplars`;
  }
}

/** A number of 32 bits that depends on all bits of both. */
function mixed(hash: Uint32Array, timestampMs: number): number {
  let h = (hash[0] as number) ^ timestampMs ^ Math.floor(timestampMs / 2 ** 32);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35) ^ (hash[1] as number);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  return (h ^ (h >>> 15)) >>> 0;
}
