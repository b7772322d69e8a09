/** Room on a file system: what is free where a folder is, in words for people, and whether an error says that there is none. */
import { statfsSync } from 'node:fs';

const ROOM_BYTES = 1 << 20;

/** Bytes that an unprivileged process may still use where `dir` is; null where the system does not tell. */
export function freeBytes(dir: string): number | null {
  try {
    const { bavail, bsize } = statfsSync(dir);
    return bavail * bsize;
  } catch {
    return null;
  }
}

/** `/data has 4096 bytes free` */
export function spaceText(dir: string): string {
  const bytes = freeBytes(dir);
  if (bytes === null) return `how much is free in ${dir} cannot be found out`;
  // Room for bytes helps nobody where there is none for names.
  return `${dir} has ${bytes} bytes free${bytes > 0 && freeNames(dir) === 0 ? ' but room for no more files' : ''}`;
}

/** Whether there is room worth trying again where `dir` is: a megabyte and a name. */
export function hasRoom(dir: string): boolean {
  const bytes = freeBytes(dir);
  return bytes === null || (bytes >= ROOM_BYTES && freeNames(dir) > 0);
}

function freeNames(dir: string): number {
  const { files, ffree } = statfsSync(dir);
  // Some file systems make them as they are needed and count none.
  return files === 0 ? Number.POSITIVE_INFINITY : ffree;
}

/** Of the file system (disk or quota full), also as a cause. */
export function isNoSpace(error: unknown): boolean {
  const { code, cause } = (error ?? {}) as { code?: unknown; cause?: unknown };
  return code === 'ENOSPC' || code === 'EDQUOT' || (cause !== undefined && isNoSpace(cause));
}
