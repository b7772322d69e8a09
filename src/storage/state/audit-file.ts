/**
 * AuditFile: the audit as JSON lines in `state/audit.jsonl`, to be read with any tool. Each entry is on disk when `append`
 * returns. A full file is set aside as audit.1.jsonl and so on; the oldest goes.
 */
import {
  appendFileSync,
  closeSync,
  existsSync,
  fdatasyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { join } from 'node:path';
import type { AuditEntry, AuditLog } from '../../contracts/auth.ts';

const FILE_BYTES_MAX = 8 << 20;
/** Some hundred thousand actions in all. */
const FILES_KEPT = 5;

export class AuditFile implements AuditLog {
  private readonly folder: string;
  private readonly onProblem: (error: Error) => void;

  /** @param onProblem told where an entry could not be written: the action itself has happened. */
  constructor(folder: string, onProblem: (error: Error) => void) {
    this.folder = folder;
    this.onProblem = onProblem;
  }

  append(entry: AuditEntry): void {
    try {
      this.rotate();
      const fd = openSync(this.path(0), 'a', 0o600);
      try {
        appendFileSync(fd, `${JSON.stringify(entry)}\n`);
        fdatasyncSync(fd);
      } finally {
        closeSync(fd);
      }
    } catch (error) {
      this.onProblem(error as Error);
    }
  }

  async list(limit: number): Promise<AuditEntry[]> {
    const entries: AuditEntry[] = [];
    for (let i = 0; i <= FILES_KEPT && entries.length < limit; i++) {
      if (!existsSync(this.path(i))) continue;
      const lines = readFileSync(this.path(i), 'utf8').split('\n').reverse();
      for (const line of lines) {
        if (entries.length === limit) break;
        const entry = parse(line);
        if (entry !== null) entries.push(entry);
      }
    }
    return entries;
  }

  private path(i: number): string {
    return join(this.folder, i === 0 ? 'audit.jsonl' : `audit.${i}.jsonl`);
  }

  private rotate(): void {
    const size = statSync(this.path(0), { throwIfNoEntry: false })?.size ?? 0;
    if (size < FILE_BYTES_MAX) return;
    rmSync(this.path(FILES_KEPT), { force: true });
    for (let i = FILES_KEPT - 1; i >= 0; i--) if (existsSync(this.path(i))) renameSync(this.path(i), this.path(i + 1));
  }
}

/** null for a line torn by a crash. */
function parse(line: string): AuditEntry | null {
  if (line === '') return null;
  try {
    return JSON.parse(line) as AuditEntry;
  } catch {
    return null;
  }
}
