/**
 * LogFile: one append-only file of frames, with what makes an append all or nothing.
 *
 * Bytes are written at an explicit position. When a write fails (disk full or failing), the file is cut back to its last
 * good end and the bytes are kept as *owed*: nothing else may be written before them. So memory, which has already taken the
 * rows of that append, never runs ahead of the log by more than one unacknowledged append, and a retry that finds its rows
 * already in memory may be acknowledged once the debt is paid.
 */
import { dirname } from 'node:path';
import { StorageFullError } from '../../../contracts/sample-sink.ts';
import { spaceText } from '../../../lib/disk-space.ts';
import { type Files, writeAll } from './files.ts';
import { FILE_HEADER_BYTES, putFileHeader } from './frame.ts';

export class LogFile {
  readonly path: string;
  /** End of the good part, bytes. */
  size: number;
  /** Written since the last sync. */
  dirty = false;
  private readonly files: Files;
  private fd: number;
  private owed: Uint8Array | null = null;
  /** Background syncs under way; the descriptor stays open as long. */
  private syncing = 0;
  private closing = false;

  private constructor(files: Files, path: string, fd: number, size: number) {
    this.files = files;
    this.path = path;
    this.fd = fd;
    this.size = size;
  }

  /** Makes a new file with a header; throws what the system throws, leaving no file behind. */
  static create(files: Files, path: string, magic: string, number: number): LogFile {
    const header = new Uint8Array(FILE_HEADER_BYTES);
    putFileHeader(header, magic, number);
    const fd = files.open(path, 'write');
    try {
      files.truncate(fd, 0);
      writeAll(files, fd, header, header.length, 0);
    } catch (error) {
      files.close(fd);
      files.remove(path);
      throw error;
    }
    const file = new LogFile(files, path, fd, header.length);
    file.dirty = true;
    return file;
  }

  /** Opens a file that has been checked up to `size`, and cuts off what follows. */
  static openAt(files: Files, path: string, size: number): LogFile {
    const fd = files.open(path, 'write');
    if (files.size(fd) !== size) files.truncate(fd, size);
    return new LogFile(files, path, fd, size);
  }

  /** Pays what is owed; throws a StorageFullError where that still fails. */
  recover(): void {
    if (this.owed === null) return;
    this.write(this.owed, this.owed.length);
    this.owed = null;
  }

  /** Appends bytes[0, length). On failure the bytes are owed (copied) and a StorageFullError is thrown. */
  append(bytes: Uint8Array, length: number): void {
    this.recover();
    try {
      this.write(bytes, length);
    } catch (error) {
      this.owed = bytes.slice(0, length);
      throw error;
    }
  }

  /** Appends or throws a StorageFullError; the caller keeps the bytes and tries again. */
  appendOrThrow(bytes: Uint8Array, length: number): void {
    this.recover();
    this.write(bytes, length);
  }

  /** As `append` after a failure elsewhere: only remembers the bytes. */
  owe(bytes: Uint8Array, length: number): void {
    if (this.owed === null) {
      this.owed = bytes.slice(0, length);
      return;
    }
    const all = new Uint8Array(this.owed.length + length);
    all.set(this.owed);
    all.set(bytes.subarray(0, length), this.owed.length);
    this.owed = all;
  }

  sync(): void {
    if (!this.dirty) return;
    try {
      this.files.datasync(this.fd);
    } catch (error) {
      throw storageError(`cannot sync ${this.path}`, dirname(this.path), error);
    }
    this.dirty = false;
  }

  async syncInBackground(): Promise<void> {
    if (!this.dirty) return;
    this.dirty = false;
    this.syncing++;
    try {
      await this.files.datasyncInBackground(this.fd);
    } catch (error) {
      this.dirty = true;
      throw error;
    } finally {
      this.syncing--;
      if (this.closing) this.close();
    }
  }

  close(): void {
    this.closing = true;
    if (this.fd < 0 || this.syncing > 0) return;
    this.files.close(this.fd);
    this.fd = -1;
  }

  private write(bytes: Uint8Array, length: number): void {
    try {
      writeAll(this.files, this.fd, bytes, length, this.size);
    } catch (error) {
      this.cutBack();
      throw storageError(`cannot write ${length} bytes to ${this.path}`, dirname(this.path), error);
    }
    this.size += length;
    this.dirty = true;
  }

  /** Best effort: what stays behind is a torn frame, overwritten by the next write or cut off at the next start. */
  private cutBack(): void {
    try {
      this.files.truncate(this.fd, this.size);
    } catch {
      // The disk is failing; the next write tries again.
    }
  }
}

/** @param dir where room is missing, if it is */
export function storageError(what: string, dir: string, error: unknown): StorageFullError {
  const reason = error instanceof Error ? error.message : String(error);
  return new StorageFullError(
    `${what}: ${reason}; ${spaceText(dir)}. Nothing is acknowledged until writing works again; free disk space`,
    {
      cause: error,
    },
  );
}
