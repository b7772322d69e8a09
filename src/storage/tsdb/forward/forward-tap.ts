/**
 * ForwardTap: writes what a head takes into the shard's outgoing queue as well (docs/decisions/0020-forward-queue.md).
 *
 * The frames are those of the WAL, byte for byte, preceded in each segment by what its refs mean: so a segment can be read, and thrown
 * away, on its own. They are written before the WAL's: whoever is acknowledged has both. A queue that cannot be written never
 * refuses a sample: what it misses is counted.
 */
import { rmSync, statSync } from 'node:fs';
import type { Labels } from '../../../model/labels.ts';
import { encodeLabels } from '../../../model/labels.ts';
import type { MetadataEntry, SampleBatch } from '../../../model/sample-batch.ts';
import type { HeadTap } from '../head/appender.ts';
import type { Files } from '../wal/files.ts';
import { LogFile } from '../wal/log-file.ts';
import { encodeExemplarRows, encodeMetadata, encodeSeriesRows, type SeriesRow } from './records.ts';
import { FORWARD_MAGIC, forwardPath, listForward } from './segments.ts';

export interface ForwardTapOptions {
  files: Files;
  dir: string;
  /** Whose samples go out. */
  tenant: string;
  /** fdatasync after each write. */
  sync: boolean;
  labelsOf(ref: number): Labels;
  /** ms since the epoch. */
  now(): number;
  onError(error: Error): void;
  /** A segment is closed after the write with which it reaches this. */
  segmentBytesMax: number;
  /** What the folder may hold before this side removes the oldest, should nobody read it. */
  bytesMax: number;
}

/** Series per frame. */
const SERIES_PER_FRAME = 10_000;
const METADATA_MAX = 100_000;
/** A segment that is not full is closed after this, so that it can be let go of. ms */
const SEGMENT_AGE_MAX_MS = 3_600_000;

export class ForwardTap implements HeadTap {
  /** Rows that the queue missed, by failing writes. */
  missed = 0;
  /** Segments removed unread by this side. */
  overrun = 0;
  written = 0;
  bytesMax: number;
  private readonly options: ForwardTapOptions;
  private file: LogFile | null = null;
  private segment: number;
  private startedAt = 0;
  /** By ref: the generation in which the ref was last explained. */
  private explained = new Uint32Array(1024);
  private generation = 1;
  private fresh: SeriesRow[] = [];
  private readonly metadata = new Map<string, MetadataEntry>();
  private failing = false;

  constructor(options: ForwardTapOptions) {
    this.options = options;
    this.bytesMax = options.bytesMax;
    options.files.makeDir(options.dir);
    this.segment = listForward(options.files, options.dir).at(-1) ?? 0;
    try {
      // There from the start, so that a reader knows where the end is.
      this.current();
    } catch (error) {
      options.onError(error as Error);
    }
  }

  wants(tenant: string): boolean {
    return tenant === this.options.tenant;
  }

  explain(refs: Uint32Array, n: number): void {
    for (let i = 0; i < n; i++) this.explainOne(refs[i] as number);
  }

  explainOne(ref: number): void {
    if (ref < this.explained.length && this.explained[ref] === this.generation) return;
    if (ref >= this.explained.length) {
      const grown = new Uint32Array(Math.max(ref + 1, this.explained.length * 2));
      grown.set(this.explained);
      this.explained = grown;
    }
    this.explained[ref] = this.generation;
    this.fresh.push({ ref, labels: encodeLabels(this.options.labelsOf(ref)) });
  }

  renew(ref: number): void {
    if (ref < this.explained.length) this.explained[ref] = 0;
  }

  write(frames: Uint8Array, length: number, rows: number): void {
    const parts: Uint8Array[] = [];
    for (let i = 0; i < this.fresh.length; i += SERIES_PER_FRAME) {
      parts.push(encodeSeriesRows(this.fresh.slice(i, i + SERIES_PER_FRAME)));
    }
    if (this.fresh.length > 0) this.fresh = [];
    if (parts.length === 0) this.put(frames, length, rows);
    else {
      parts.push(frames.subarray(0, length));
      const all = Buffer.concat(parts);
      this.put(all, all.length, rows);
    }
    this.rotateWhereFull();
  }

  exemplars(tenant: string, batch: SampleBatch, chosen: Uint32Array | null): void {
    if (!this.wants(tenant)) return;
    const frame = encodeExemplarRows(batch, chosen);
    if (frame !== null) this.put(frame, frame.length, batch.exemplars?.length ?? 0);
  }

  putMetadata(tenant: string, entries: readonly MetadataEntry[]): void {
    if (!this.wants(tenant)) return;
    const changed = entries.filter(e => {
      const known = this.metadata.get(e.metric);
      return known === undefined || known.type !== e.type || known.help !== e.help || known.unit !== e.unit;
    });
    if (changed.length === 0) return;
    for (const e of changed) if (this.metadata.size < METADATA_MAX) this.metadata.set(e.metric, { ...e });
    const frame = encodeMetadata(changed);
    this.put(frame, frame.length, 0);
  }

  close(): void {
    this.file?.close();
    this.file = null;
  }

  /** Closes the queue and forgets what is in it. */
  remove(): void {
    this.close();
    rmSync(this.options.dir, { recursive: true, force: true });
  }

  private put(bytes: Uint8Array, length: number, rows: number): void {
    try {
      const file = this.current();
      file.appendOrThrow(bytes, length);
      if (this.options.sync) file.sync();
      this.written += rows;
      this.failing = false;
    } catch (error) {
      this.missed += rows;
      // What explained refs may be among it.
      this.generation++;
      if (!this.failing) this.options.onError(error as Error);
      this.failing = true;
    }
  }

  private current(): LogFile {
    if (this.file !== null) return this.file;
    const { files, dir } = this.options;
    this.file = LogFile.create(files, forwardPath(dir, this.segment + 1), FORWARD_MAGIC, this.segment + 1);
    this.segment++;
    this.generation++;
    this.startedAt = this.options.now();
    if (this.metadata.size > 0) {
      const frame = encodeMetadata([...this.metadata.values()]);
      this.file.appendOrThrow(frame, frame.length);
    }
    return this.file;
  }

  /** After a write, so that a frame and what explains its refs stand in one segment. */
  private rotateWhereFull(): void {
    const file = this.file;
    if (file === null) return;
    const old = this.options.now() - this.startedAt > SEGMENT_AGE_MAX_MS;
    if (file.size < this.options.segmentBytesMax && !old) return;
    file.close();
    this.file = null;
    try {
      this.current();
      this.removeOverrun();
    } catch (error) {
      this.options.onError(error as Error);
    }
  }

  /** The readers' side keeps the bound; this is for when there is none. */
  private removeOverrun(): void {
    const { files, dir } = this.options;
    const sizes = listForward(files, dir).map(n => ({ n, size: statSync(forwardPath(dir, n)).size }));
    let total = sizes.reduce((sum, s) => sum + s.size, 0);
    for (const { n, size } of sizes) {
      if (total <= this.bytesMax || n === this.segment) break;
      files.remove(forwardPath(dir, n));
      total -= size;
      this.overrun++;
    }
  }
}
