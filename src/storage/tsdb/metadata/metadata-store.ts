/**
 * MetadataStore: type, help and unit of metrics, per tenant, in memory and in one append-only log.
 *
 * Senders repeat metadata all the time; only what is new is written. Targets of different versions disagree about help
 * texts, so a metric keeps its latest few variants, and a sender of any of them writes nothing. When the log has grown to
 * several times what it says, it is written anew. Bounded per tenant; metrics beyond the bound are counted and left out.
 *
 * Format: docs/formats/exemplars.md.
 */
import type { MetadataEntry } from '../../../model/sample-batch.ts';
import type { TenantId } from '../../../model/tenant.ts';
import { type Files, nodeFiles, writeAll } from '../wal/files.ts';
import {
  FILE_HEADER_BYTES,
  FRAME_HEADER_BYTES,
  FrameReader,
  frameBytes,
  putFileHeader,
  sealFrame,
} from '../wal/frame.ts';
import { LogFile, storageError } from '../wal/log-file.ts';
import { ByteCursor, CorruptRecordError, putVarint, VARINT_MAX } from '../wal/varint.ts';

export interface MetadataLimits {
  metricsPerTenant: number;
  /** Metrics of all tenants. */
  metrics: number;
  /** The log is written anew when it is larger than this and four times what it says. */
  compactBytes: number;
}

const DEFAULT_LIMITS: Readonly<MetadataLimits> = Object.freeze({
  metricsPerTenant: 20_000,
  metrics: 200_000,
  compactBytes: 1 << 20,
});

export const METADATA_MAGIC = 'SLMETA_1';
const FRAME_ENTRIES = 1;
/** Variants kept of one metric. */
const VARIANTS = 3;
/** UTF-16 units; longer texts are cut, longer metric names left out. */
const MAX_HELP = 1024;
const MAX_NAME = 1024;
const MAX_TEXT_BYTES = 4096;
const COMPACT_FACTOR = 4;
/** Payload after which a frame of a newly written log is closed. */
const COMPACT_FRAME_BYTES = 1 << 20;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export class MetadataStore {
  private readonly dir: string;
  private readonly files: Files;
  private readonly limits: MetadataLimits;
  /** Variants of each metric, latest first. */
  private readonly tenants = new Map<TenantId, Map<string, MetadataEntry[]>>();
  private log: LogFile;
  private frame = new Uint8Array(64 * 1024);
  /** Bytes that a freshly written log would have, about. */
  private liveBytes = 0;
  private metricCount = 0;
  /** Entries left out because there are too many metrics. */
  dropped = 0;
  readonly damage: string[] = [];
  private readonly metricsOf: ((tenant: TenantId) => number) | null;

  /** @param metricsOf metrics that a tenant may have, 0 = as many as without it; asked in the replay too */
  constructor(
    dir: string,
    limits: Partial<MetadataLimits> = {},
    files: Files = nodeFiles,
    metricsOf: ((tenant: TenantId) => number) | null = null,
  ) {
    this.dir = dir;
    this.metricsOf = metricsOf;
    this.files = files;
    this.limits = { ...DEFAULT_LIMITS, ...limits };
    files.makeDir(dir);
    this.log = this.replay();
  }

  /** Takes entries in; writes those that are new. Throws a StorageFullError where that fails. */
  put(tenant: TenantId, entries: readonly MetadataEntry[]): void {
    this.log.recover();
    let length = 0;
    for (const given of entries) {
      const entry = bounded(given);
      if (entry === null || !this.take(tenant, entry)) continue;
      length = this.encode(length, tenant, entry);
    }
    if (length === 0) return;
    this.write(this.log, length);
    if (this.log.size > Math.max(this.limits.compactBytes, COMPACT_FACTOR * this.liveBytes)) this.compact();
  }

  /** All metrics, or one; at most `limit` metrics (0 = all), each with all its variants. */
  list(tenant: TenantId, metric: string | null, limit: number): MetadataEntry[] {
    const metrics = this.tenants.get(tenant);
    if (metrics === undefined) return [];
    if (metric !== null) return [...(metrics.get(metric) ?? [])];
    const out: MetadataEntry[] = [];
    let left = limit > 0 ? limit : Number.POSITIVE_INFINITY;
    for (const variants of metrics.values()) {
      if (left-- <= 0) break;
      out.push(...variants);
    }
    return out;
  }

  sync(): void {
    this.log.sync();
  }

  close(): void {
    this.log.close();
  }

  /** Puts the entry first among its metric's variants; false if it was there already, or there is no room. */
  private take(tenant: TenantId, entry: MetadataEntry): boolean {
    let metrics = this.tenants.get(tenant);
    const variants = metrics?.get(entry.metric);
    if (variants === undefined) {
      const most = this.metricsOf?.(tenant) || this.limits.metricsPerTenant;
      if ((metrics?.size ?? 0) >= most || this.metricCount >= this.limits.metrics) {
        this.dropped++;
        return false;
      }
      if (metrics === undefined) {
        metrics = new Map();
        this.tenants.set(tenant, metrics);
      }
      this.metricCount++;
      metrics.set(entry.metric, [entry]);
    } else {
      if (variants.some(v => v.type === entry.type && v.help === entry.help && v.unit === entry.unit)) return false;
      variants.unshift(entry);
      const old = variants.length > VARIANTS ? variants.pop() : undefined;
      if (old !== undefined) this.liveBytes -= entryBytes(tenant, old);
    }
    this.liveBytes += entryBytes(tenant, entry);
    return true;
  }

  /** Appends an entry to the frame being built; `length` is its payload so far. Returns the new length. */
  private encode(length: number, tenant: TenantId, e: MetadataEntry): number {
    const need = FRAME_HEADER_BYTES + length + entryBytes(tenant, e) + 8;
    if (need > this.frame.length) {
      const grown = new Uint8Array(Math.max(need, this.frame.length * 2));
      grown.set(this.frame);
      this.frame = grown;
    }
    let p = FRAME_HEADER_BYTES + length;
    for (const text of [tenant, e.metric, e.type, e.help, e.unit]) {
      const bytes = encoder.encode(text);
      p = putVarint(this.frame, p, bytes.length);
      this.frame.set(bytes, p);
      p += bytes.length;
    }
    return p - FRAME_HEADER_BYTES;
  }

  private write(log: LogFile, length: number): void {
    log.append(this.frame, sealFrame(this.frame, 0, FRAME_ENTRIES, 0, 0, length));
  }

  /** Writes what is known to a new file and puts it in the log's place. */
  private compact(): void {
    const temporary = `${this.path}.new`;
    let size = 0;
    try {
      const fd = this.files.open(temporary, 'write');
      try {
        size = this.writeAllEntries(fd);
        this.files.datasync(fd);
      } finally {
        this.files.close(fd);
      }
      this.files.rename(temporary, this.path);
      this.files.syncDir(this.dir);
    } catch {
      // The old log is complete; the next put tries again.
      this.files.remove(temporary);
      return;
    }
    this.log.close();
    this.log = LogFile.openAt(this.files, this.path, size);
  }

  /** Returns the size of the file. */
  private writeAllEntries(fd: number): number {
    const header = new Uint8Array(FILE_HEADER_BYTES);
    putFileHeader(header, METADATA_MAGIC, 1);
    this.files.truncate(fd, 0);
    writeAll(this.files, fd, header, header.length, 0);
    let position = header.length;
    let length = 0;
    const flush = (): void => {
      if (length === 0) return;
      const end = sealFrame(this.frame, 0, FRAME_ENTRIES, 0, 0, length);
      writeAll(this.files, fd, this.frame, end, position);
      position += end;
      length = 0;
    };
    for (const [tenant, metrics] of this.tenants) {
      for (const variants of metrics.values()) {
        // Oldest first, so that a replay ends with the same order.
        for (let i = variants.length - 1; i >= 0; i--) {
          length = this.encode(length, tenant, variants[i] as MetadataEntry);
        }
        if (length > COMPACT_FRAME_BYTES) flush();
      }
    }
    flush();
    return position;
  }

  private replay(): LogFile {
    this.files.remove(`${this.path}.new`);
    if (!this.files.list(this.dir).includes('metadata.log')) return this.create();
    const fd = this.files.open(this.path, 'read');
    let good = FILE_HEADER_BYTES;
    try {
      const reader = new FrameReader(this.files, fd);
      const problem = reader.checkHeader(METADATA_MAGIC);
      if (problem !== '') {
        this.damage.push(`${this.path} ${problem}; set aside as metadata.log.corrupt`);
        this.files.rename(this.path, `${this.path}.corrupt`);
        return this.create();
      }
      good = this.replayFrames(reader);
    } finally {
      this.files.close(fd);
    }
    return LogFile.openAt(this.files, this.path, good);
  }

  /** Returns the end of the last good frame. */
  private replayFrames(reader: FrameReader): number {
    let good = FILE_HEADER_BYTES;
    for (;;) {
      if (!reader.next()) {
        if (reader.position >= reader.size) return good;
        const at = reader.position;
        this.damage.push(`${this.path}: no frame at ${at}; a torn write, or damage`);
        if (!reader.resync()) return good;
        continue;
      }
      good = reader.offset + frameBytes(reader.payload.length);
      try {
        this.readEntries(reader.payload);
      } catch (error) {
        if (!(error instanceof CorruptRecordError)) throw error;
        this.damage.push(`${this.path}: the frame at ${reader.offset} makes no sense: ${error.message}`);
      }
    }
  }

  private readEntries(payload: Uint8Array): void {
    const cursor = new ByteCursor(payload);
    const text = (what: string): string => decoder.decode(cursor.take(cursor.bounded(MAX_TEXT_BYTES, what)));
    while (cursor.left > 0) {
      const tenant = text('tenant length');
      const metric = text('metric length');
      const type = text('type length');
      const help = text('help length');
      const unit = text('unit length');
      this.take(tenant, { metric, type, help, unit });
    }
  }

  private create(): LogFile {
    try {
      return LogFile.create(this.files, this.path, METADATA_MAGIC, 1);
    } catch (error) {
      throw storageError(`cannot create ${this.path}`, this.dir, error);
    }
  }

  private get path(): string {
    return `${this.dir}/metadata.log`;
  }
}

/** The entry as it is kept: texts within their bounds; null where it cannot be. */
function bounded(e: MetadataEntry): MetadataEntry | null {
  if (e.metric === '' || e.metric.length > MAX_NAME || e.type.length > 64 || e.unit.length > MAX_NAME) return null;
  const help = e.help.length > MAX_HELP ? e.help.slice(0, MAX_HELP) : e.help;
  return { metric: e.metric, type: e.type, help: help.toWellFormed(), unit: e.unit };
}

/** An upper bound of the entry's size in the log. */
function entryBytes(tenant: TenantId, e: MetadataEntry): number {
  return 5 * VARINT_MAX + 3 * (tenant.length + e.metric.length + e.type.length + e.help.length + e.unit.length);
}
