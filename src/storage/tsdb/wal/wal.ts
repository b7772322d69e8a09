/**
 * Wal: the write-ahead log of a head, as numbered segment files in `wal/`.
 *
 * One `append` is one write call and is the acknowledgement: what it wrote survives kill -9. What survives a power loss is the
 * sync policy's choice: `always` (fdatasync before each append returns), `interval` (in the background, 100 ms by
 * default) or `never` (when the system likes). Sealed samples live in chunk files, so the log holds about one raw tail
 * per series; `truncate` removes segments that nothing needs any more.
 */
import path from 'node:path';
import { isNoSpace } from '../../../lib/disk-space.ts';
import { type Files, nodeFiles } from './files.ts';
import { LogFile, storageError } from './log-file.ts';

export const WAL_MAGIC = 'SLWALSEG';

export type SyncPolicy = 'always' | 'interval' | 'never';

export interface WalOptions {
  files?: Files;
  /** A segment is closed at the first append after it has reached this size. */
  segmentBytesMax?: number;
  sync?: SyncPolicy;
}

export class Wal {
  readonly dir: string;
  /** Number of the segment that the next append goes to. */
  segment: number;
  private readonly files: Files;
  private readonly segmentBytesMax: number;
  private readonly sync: SyncPolicy;
  /** null where the disk was too full to begin it: the next append tries again. */
  private current: LogFile | null = null;
  /** Sizes of closed segments that still exist, by number, ascending. */
  private readonly closed = new Map<number, number>();
  /** Closed but not yet synced. */
  private unsynced: LogFile[] = [];
  private closedBytes = 0;
  /** A segment's name may not be durable yet. */
  private newName = false;

  /**
   * Opens a log whose old segments (number and size) have been replayed; writing goes on in a new one. A full disk is no reason not
   * to open: what is there can be read, and appends are refused until the segment can be begun.
   */
  constructor(dir: string, old: ReadonlyMap<number, number>, next: number, options: WalOptions = {}) {
    this.dir = dir;
    this.files = options.files ?? nodeFiles;
    this.segmentBytesMax = options.segmentBytesMax ?? 64 << 20;
    this.sync = options.sync ?? 'interval';
    for (const [number, size] of old) {
      this.closed.set(number, size);
      this.closedBytes += size;
    }
    this.segment = next;
    try {
      this.begun();
    } catch (error) {
      if (!isNoSpace(error)) throw error;
    }
  }

  /** The segment to write to; throws a StorageFullError where there is still no room to begin it. */
  private begun(): LogFile {
    if (this.current !== null) return this.current;
    let file: LogFile;
    try {
      file = LogFile.create(this.files, segmentPath(this.dir, this.segment), WAL_MAGIC, this.segment);
      this.files.syncDir(this.dir);
    } catch (error) {
      throw storageError(`cannot create WAL segment ${this.segment} in ${this.dir}`, this.dir, error);
    }
    this.current = file;
    return file;
  }

  /** Writes, and with policy `always` syncs, what an earlier append owes; throws a StorageFullError where that fails. */
  recover(): void {
    const current = this.begun();
    current.recover();
    if (this.sync === 'always') current.sync();
  }

  /** What a record refers to must be as durable as the record. */
  syncFirst(log: { sync(): void }): void {
    if (this.sync === 'always') log.sync();
  }

  /** To be called before rows are applied: their samples belong to the segment number that holds afterwards. */
  prepare(): void {
    this.recover();
    if (this.begun().size >= this.segmentBytesMax) this.rotate();
  }

  append(bytes: Uint8Array, length: number): void {
    const current = this.begun();
    current.append(bytes, length);
    if (this.sync === 'always') current.sync();
  }

  owe(bytes: Uint8Array, length: number): void {
    // What owes has been prepared, so it has a segment.
    this.begun().owe(bytes, length);
  }

  /** Starts a new segment. */
  rotate(): void {
    const before = this.begun();
    const next = this.segment + 1;
    let file: LogFile;
    try {
      file = LogFile.create(this.files, segmentPath(this.dir, next), WAL_MAGIC, next);
      // An fsync of the folder may take tens of milliseconds: only who waits for the disk anyway does it here.
      if (this.sync === 'always') this.files.syncDir(this.dir);
      else this.newName = true;
    } catch (error) {
      throw storageError(`cannot create WAL segment ${next} in ${this.dir}`, this.dir, error);
    }
    this.closed.set(this.segment, before.size);
    this.closedBytes += before.size;
    if (this.sync === 'never' || !before.dirty) before.close();
    else this.unsynced.push(before);
    this.current = file;
    this.segment = next;
  }

  /** Removes segments below `first`. */
  truncate(first: number): void {
    for (const [number, size] of this.closed) {
      if (number >= first) break;
      this.files.remove(segmentPath(this.dir, number));
      this.closed.delete(number);
      this.closedBytes -= size;
    }
  }

  /** Oldest segment that exists. */
  get firstSegment(): number {
    for (const number of this.closed.keys()) return number;
    return this.segment;
  }

  get bytes(): number {
    return this.closedBytes + (this.current?.size ?? 0);
  }

  get segments(): number {
    return this.closed.size + 1;
  }

  /** Makes all that has been appended durable, without blocking this thread. */
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
    await this.current?.syncInBackground();
    if (!this.newName) return;
    this.newName = false;
    try {
      await this.files.syncDirInBackground(this.dir);
    } catch (error) {
      this.newName = true;
      throw error;
    }
  }

  syncNow(): void {
    for (const file of this.unsynced) {
      file.sync();
      file.close();
    }
    this.unsynced = [];
    this.current?.sync();
    this.files.syncDir(this.dir);
  }

  close(): void {
    for (const file of this.unsynced) file.close();
    this.unsynced = [];
    this.current?.close();
  }
}

export function segmentPath(dir: string, number: number): string {
  return path.join(dir, `${String(number).padStart(8, '0')}.wal`);
}

/** Segment numbers present in a folder, ascending. */
export function listSegments(files: Files, dir: string): number[] {
  const numbers: number[] = [];
  for (const name of files.list(dir)) {
    const match = /^(\d{8,10})\.wal$/.exec(name);
    if (match !== null) numbers.push(Number(match[1]));
  }
  return numbers.sort((a, b) => a - b);
}
