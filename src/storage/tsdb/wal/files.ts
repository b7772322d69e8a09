/**
 * Files: the few file operations that the head's logs need, as a seam, so that a test can make the disk full or failing.
 *
 * All of it is synchronous but for one: an acknowledgement must never wait behind other jobs in the thread pool (a write
 * there has been seen to take a second). Background fdatasync alone may use the pool.
 */
import fs from 'node:fs';

export interface Files {
  /** 'read' of an existing file, 'write' opens (or creates) for reading and writing. */
  open(path: string, mode: 'read' | 'write'): number;
  close(fd: number): void;
  /** Writes bytes[0, length) at `position`; returns how many went in, possibly fewer. */
  write(fd: number, bytes: Uint8Array, from: number, length: number, position: number): number;
  read(fd: number, into: Uint8Array, at: number, length: number, position: number): number;
  truncate(fd: number, size: number): void;
  size(fd: number): number;
  datasync(fd: number): void;
  datasyncInBackground(fd: number): Promise<void>;
  /** Names in a folder, sorted; empty where the folder does not exist. */
  list(dir: string): string[];
  makeDir(dir: string): void;
  /** Makes names created in or removed from the folder durable. */
  syncDir(dir: string): void;
  syncDirInBackground(dir: string): Promise<void>;
  rename(from: string, to: string): void;
  remove(path: string): void;
  copy(from: string, to: string): void;
}

export const nodeFiles: Files = {
  open: (path, mode) => fs.openSync(path, mode === 'read' ? 'r' : fs.constants.O_RDWR | fs.constants.O_CREAT, 0o640),
  close: fd => fs.closeSync(fd),
  write: (fd, bytes, from, length, position) => fs.writeSync(fd, bytes, from, length, position),
  read: (fd, into, at, length, position) => fs.readSync(fd, into, at, length, position),
  truncate: (fd, size) => fs.ftruncateSync(fd, size),
  size: fd => fs.fstatSync(fd).size,
  datasync: fd => fs.fdatasyncSync(fd),
  datasyncInBackground: fd =>
    new Promise((resolve, reject) => fs.fdatasync(fd, error => (error ? reject(error) : resolve()))),
  list: dir => {
    try {
      return fs.readdirSync(dir).sort();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    }
  },
  makeDir: dir => {
    fs.mkdirSync(dir, { recursive: true, mode: 0o750 });
  },
  syncDir: dir => {
    const fd = fs.openSync(dir, 'r');
    try {
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
  },
  syncDirInBackground: async dir => {
    const handle = await fs.promises.open(dir, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  },
  rename: (from, to) => fs.renameSync(from, to),
  remove: path => fs.rmSync(path, { force: true }),
  copy: (from, to) => fs.copyFileSync(from, to),
};

/** Writes all of bytes[0, length) at `position`, however many calls it takes. */
export function writeAll(files: Files, fd: number, bytes: Uint8Array, length: number, position: number): void {
  let done = 0;
  while (done < length) {
    const n = files.write(fd, bytes, done, length - done, position + done);
    if (n <= 0) {
      throw Object.assign(new Error(`the system wrote 0 of ${length - done} bytes`), { code: 'ENOSPC' });
    }
    done += n;
  }
}

/** Reads up to `length` bytes; fewer only at the end of the file. */
export function readAll(
  files: Files,
  fd: number,
  into: Uint8Array,
  at: number,
  length: number,
  position: number,
): number {
  let done = 0;
  while (done < length) {
    const n = files.read(fd, into, at + done, length - done, position + done);
    if (n <= 0) break;
    done += n;
  }
  return done;
}
