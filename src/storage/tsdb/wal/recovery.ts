/**
 * Reading a log file that may be damaged, and mending it.
 *
 * A bad end without a good frame behind it is what a crash leaves: it is cut off. A bad stretch with good frames behind
 * it is damage: the file goes to `quarantine/` as it is, and a mended copy without the stretch takes its place, so that the
 * rest serves now and the damage is reported once. All is told to the caller in a report.
 */
import path from 'node:path';
import { isNoSpace } from '../../../lib/disk-space.ts';
import { type Files, readAll, writeAll } from './files.ts';
import { FILE_HEADER_BYTES, FrameReader } from './frame.ts';
import { CorruptRecordError } from './varint.ts';

export interface Damage {
  file: string;
  /** What was wrong and what was done about it. */
  what: string;
}

export interface RecoveryReport {
  damage: Damage[];
  /** Bytes cut off as the unfinished end of a log: normal after a crash. */
  tornBytes: number;
}

export interface ScanResult {
  /** Good size of the file; -1 where it is gone (empty, or quarantined as a whole). */
  size: number;
}

/**
 * Reads a file's frames in order. `onFrame` may throw CorruptRecordError: the record is skipped and reported.
 * @param isLast whether this is the newest file of its kind, where a torn end is normal
 */
export function scanFile(
  files: Files,
  file: string,
  magic: string,
  isLast: boolean,
  quarantineDir: string,
  report: RecoveryReport,
  onFrame: (reader: FrameReader) => void,
): ScanResult {
  let fd = files.open(file, 'read');
  try {
    let reader = new FrameReader(files, fd);
    const problem = reader.checkHeader(magic);
    if (problem !== '') {
      files.close(fd);
      fd = -1;
      return rejectFile(files, file, problem, isLast, quarantineDir, report, reader.size);
    }
    for (;;) {
      if (reader.next()) {
        visit(reader, file, report, onFrame);
        continue;
      }
      if (reader.position >= reader.size) return { size: reader.size };
      const bad = reader.position;
      if (!reader.resync()) {
        files.close(fd);
        fd = -1;
        cutEnd(files, file, bad, reader.size, isLast, quarantineDir, report);
        return { size: bad };
      }
      if (mend(files, file, bad, quarantineDir, report)) {
        files.close(fd);
        fd = files.open(file, 'read');
        reader = new FrameReader(files, fd);
        reader.position = bad;
      }
    }
  } finally {
    if (fd >= 0) files.close(fd);
  }
}

function visit(
  reader: FrameReader,
  file: string,
  report: RecoveryReport,
  onFrame: (reader: FrameReader) => void,
): void {
  try {
    onFrame(reader);
  } catch (error) {
    if (!(error instanceof CorruptRecordError)) throw error;
    report.damage.push({ file, what: `record at byte ${reader.offset} skipped: ${error.message}` });
  }
}

function rejectFile(
  files: Files,
  file: string,
  problem: string,
  isLast: boolean,
  quarantineDir: string,
  report: RecoveryReport,
  size: number,
): ScanResult {
  if (problem.includes('format version'))
    throw new Error(`${file} ${problem}; use the version of the program that wrote it`);
  if (isLast && size < FILE_HEADER_BYTES) {
    report.tornBytes += size;
    files.remove(file);
    return { size: -1 };
  }
  const kept = quarantineName(files, quarantineDir, file);
  files.rename(file, kept);
  report.damage.push({ file, what: `${problem}; moved to ${kept}` });
  return { size: -1 };
}

function cutEnd(
  files: Files,
  file: string,
  end: number,
  size: number,
  isLast: boolean,
  quarantineDir: string,
  report: RecoveryReport,
): void {
  report.tornBytes += size - end;
  if (!isLast) {
    const kept = quarantineName(files, quarantineDir, file);
    try {
      files.copy(file, kept);
    } catch (error) {
      if (!isNoSpace(error)) throw error;
      files.remove(kept);
      const what = `last ${size - end} bytes are damaged and were skipped; too full a disk to set them aside`;
      report.damage.push({ file, what });
      return;
    }
    report.damage.push({
      file,
      what: `last ${size - end} bytes are damaged and were cut off; the whole is in ${kept}`,
    });
  }
  const fd = files.open(file, 'write');
  try {
    files.truncate(fd, end);
  } finally {
    files.close(fd);
  }
}

/** Replaces the file by one without its bad stretches from `bad` on. False where that is impossible (disk full). */
function mend(files: Files, file: string, bad: number, quarantineDir: string, report: RecoveryReport): boolean {
  const mended = `${file}.mended`;
  let lost = 0;
  const from = files.open(file, 'read');
  try {
    const to = files.open(mended, 'write');
    try {
      files.truncate(to, 0);
      lost = copyGood(files, from, to, bad);
      files.datasync(to);
    } finally {
      files.close(to);
    }
    const kept = quarantineName(files, quarantineDir, file);
    files.copy(file, kept);
    files.rename(mended, file);
    report.damage.push({
      file,
      what: `${lost} bytes from byte ${bad} on are damaged and were left out; the whole is in ${kept}`,
    });
    return true;
  } catch (error) {
    files.remove(mended);
    report.damage.push({
      file,
      what: `damaged at byte ${bad}, skipped; it could not be mended: ${(error as Error).message}`,
    });
    return false;
  } finally {
    files.close(from);
  }
}

/** Copies [0, bad) and every good frame behind it; returns how many bytes were left out. */
function copyGood(files: Files, from: number, to: number, bad: number): number {
  const block = new Uint8Array(1 << 20);
  let at = 0;
  while (at < bad) {
    const n = readAll(files, from, block, 0, Math.min(block.length, bad - at), at);
    if (n === 0) throw new Error(`file ends at byte ${at}`);
    writeAll(files, to, block.subarray(0, n), n, at);
    at += n;
  }
  const reader = new FrameReader(files, from);
  reader.position = bad;
  let lost = 0;
  for (;;) {
    const before = reader.position;
    if (!reader.next()) {
      if (reader.position >= reader.size) break;
      if (!reader.resync()) {
        lost += reader.size - before;
        break;
      }
      lost += reader.position - before;
      continue;
    }
    const whole = reader.frame();
    writeAll(files, to, whole, whole.length, at);
    at += whole.length;
  }
  return lost;
}

/** A name in the quarantine that is not taken. */
export function quarantineName(files: Files, dir: string, file: string): string {
  files.makeDir(dir);
  const taken = new Set(files.list(dir));
  const base = path.basename(file);
  for (let n = 1; ; n++) {
    const name = `${base}.${n}`;
    if (!taken.has(name)) return path.join(dir, name);
  }
}
