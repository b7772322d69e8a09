/**
 * ForwardBounds: what keeps the outgoing queues of all shards within their bytes and their age: segments that everyone has had
 * answered go, and where that is not enough the oldest others, whose unread rows are told to those who miss them.
 */
import { statSync } from 'node:fs';
import type { ForwardPosition } from '../../../contracts/forward-source.ts';
import type { Files } from '../wal/files.ts';
import { FILE_HEADER_BYTES, FrameReader } from '../wal/frame.ts';
import { REC_OOO_HISTOGRAMS } from '../wal/records.ts';
import { FWD_EXEMPLARS } from './records.ts';
import { forwardPath, listForward } from './segments.ts';

export interface QueueReader {
  /** By shard: everything before is answered; read. */
  answered(): ForwardPosition[];
  read(): ForwardPosition[];
  lost(shard: number, segment: number, rows: number, reason: 'queue_full' | 'queue_age'): void;
}

interface Segment {
  shard: number;
  number: number;
  bytes: number;
  modifiedMs: number;
}

export class ForwardBounds {
  private readonly files: Files;
  private readonly dirs: readonly string[];
  private segments: Segment[] = [];

  /** `dirs` by shard. */
  constructor(files: Files, dirs: readonly string[]) {
    this.files = files;
    this.dirs = dirs;
  }

  enforce(readers: readonly QueueReader[], limits: { bytesMax: number; ageMaxMs: number }, nowMs: number): void {
    this.segments = this.dirs.flatMap((dir, shard) => this.list(dir, shard));
    this.removeAnswered(readers);
    const old = this.old();
    let total = this.segments.reduce((sum, s) => sum + s.bytes, 0);
    for (const segment of old) {
      const tooOld = nowMs - segment.modifiedMs > limits.ageMaxMs;
      if (total <= limits.bytesMax && !tooOld) continue;
      this.giveUp(segment, readers, total > limits.bytesMax ? 'queue_full' : 'queue_age');
      total -= segment.bytes;
    }
  }

  /** Bytes that a reader has not had answered, as of the last `enforce`. */
  behind(reader: QueueReader): number {
    const answered = reader.answered();
    let bytes = 0;
    for (const s of this.segments) {
      const at = answered[s.shard];
      if (at === undefined || s.number < at.segment) continue;
      bytes += s.number === at.segment ? Math.max(0, s.bytes - at.offset) : s.bytes - FILE_HEADER_BYTES;
    }
    return bytes;
  }

  private list(dir: string, shard: number): Segment[] {
    const found: Segment[] = [];
    for (const number of listForward(this.files, dir)) {
      const stat = statSync(forwardPath(dir, number), { throwIfNoEntry: false });
      if (stat !== undefined) found.push({ shard, number, bytes: stat.size, modifiedMs: stat.mtimeMs });
    }
    return found;
  }

  /** Those that are no longer written, oldest first. */
  private old(): Segment[] {
    const newest = new Map(this.segments.map(s => [s.shard, s.number]));
    return this.segments.filter(s => s.number !== newest.get(s.shard)).sort((a, b) => a.modifiedMs - b.modifiedMs);
  }

  private removeAnswered(readers: readonly QueueReader[]): void {
    if (readers.length === 0) return;
    const positions = readers.map(r => r.answered());
    for (const s of this.old()) {
      if (positions.every(p => (p[s.shard]?.segment ?? 0) > s.number)) this.remove(s);
    }
  }

  private giveUp(s: Segment, readers: readonly QueueReader[], reason: 'queue_full' | 'queue_age'): void {
    for (const reader of readers) {
      const read = reader.read()[s.shard];
      if (read === undefined || read.segment > s.number) continue;
      reader.lost(s.shard, s.number + 1, this.rowsFrom(s, read.segment === s.number ? read.offset : 0), reason);
    }
    this.remove(s);
  }

  private remove(s: Segment): void {
    this.files.remove(forwardPath(this.dirs[s.shard] as string, s.number));
    this.segments = this.segments.filter(other => other !== s);
  }

  /** Samples, histograms and exemplars of a segment from an offset on. */
  private rowsFrom(s: Segment, offset: number): number {
    let fd = -1;
    let rows = 0;
    try {
      fd = this.files.open(forwardPath(this.dirs[s.shard] as string, s.number), 'read');
      const frames = new FrameReader(this.files, fd);
      if (offset > FILE_HEADER_BYTES) frames.position = offset;
      while (frames.next() || frames.resync()) {
        if (frames.type <= REC_OOO_HISTOGRAMS || frames.type === FWD_EXEMPLARS) rows += frames.rows;
      }
    } catch {
      // It is removed all the same; what cannot be read cannot be counted.
    } finally {
      if (fd >= 0) this.files.close(fd);
    }
    return rows;
  }
}
