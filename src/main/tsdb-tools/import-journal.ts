/**
 * ImportJournal: which blocks and logs of other systems have been imported, in `tsdb/imported.json`, so that a second run does
 * nothing and one that was broken off goes on behind the last finished block. To import something once more, remove its entry.
 */
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { join } from 'node:path';

export interface ImportedEntry {
  source: string;
  at: string;
  /** For people. */
  what: string;
  /** Of a log: which state of it was read. */
  fingerprint?: string;
  /** Damaged places, as listed. */
  damaged?: string[];
}

export class ImportJournal {
  readonly path: string;
  private readonly entries: Record<string, ImportedEntry>;

  /** @param dir the `tsdb` folder */
  constructor(dir: string) {
    this.path = join(dir, 'imported.json');
    this.entries = readEntries(this.path);
  }

  get(tenant: string, name: string): ImportedEntry | undefined {
    return this.entries[`${tenant}/${name}`];
  }

  /** On disk when this returns. */
  put(tenant: string, name: string, entry: ImportedEntry): void {
    this.entries[`${tenant}/${name}`] = entry;
    const temp = `${this.path}.tmp`;
    const fd = openSync(temp, 'w', 0o640);
    try {
      writeSync(fd, `${JSON.stringify(this.entries, null, 2)}\n`);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temp, this.path);
  }
}

function readEntries(path: string): Record<string, ImportedEntry> {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return Object.create(null);
    throw error;
  }
  try {
    const entries: unknown = JSON.parse(text);
    if (typeof entries === 'object' && entries !== null) return Object.assign(Object.create(null), entries);
  } catch {
    // Named below.
  }
  throw new Error(`${path} is not what an import writes: move it away to import everything again`);
}
