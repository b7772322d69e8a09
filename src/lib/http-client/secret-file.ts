/**
 * Files named in client settings: secrets, certificates. They are read when they are needed, so that rotating one needs no restart;
 * they are small and local, so reading them synchronously costs less than the request that needs them.
 */
import { readFileSync, statSync } from 'node:fs';
import { resolve } from 'node:path';

const FILE_BYTES_MAX = 1 << 20;

export function readSmallFile(baseDir: string, name: string): Buffer {
  const path = resolve(baseDir, name);
  if (statSync(path).size > FILE_BYTES_MAX) throw new Error(`${path} is larger than ${FILE_BYTES_MAX} bytes`);
  return readFileSync(path);
}

/** A secret's text without the blanks and line ends around it. */
export function readSecretFile(baseDir: string, name: string): string {
  return readSmallFile(baseDir, name).toString('utf8').trim();
}

/** The value itself, the file's content, or ''. */
export function secretOf(baseDir: string, value: string | undefined, file: string | undefined): string {
  if (value !== undefined && value !== '') return value;
  return file === undefined || file === '' ? '' : readSecretFile(baseDir, file);
}

/** Changes whenever one of the files may have changed; a missing file has a mark of its own. */
export function fileMarks(baseDir: string, names: readonly (string | undefined)[]): string {
  let marks = '';
  for (const name of names) {
    if (name === undefined || name === '') continue;
    const stat = statSync(resolve(baseDir, name), { throwIfNoEntry: false, bigint: true });
    marks += stat === undefined ? 'none;' : `${stat.ino}:${stat.size}:${stat.mtimeNs}:${stat.ctimeNs};`;
  }
  return marks;
}
