/**
 * ShardFiles: what lies in the folder of a shard, by kind, for tools that look without opening it: nothing here changes a byte, so it
 * may be used on the folder of a running server.
 */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { EXEMPLAR_MAGIC, readRecords } from '../../storage/tsdb/exemplars/records.ts';
import { CHUNK_MAGIC, filePath, listChunkFiles, REC_PAGE } from '../../storage/tsdb/head/chunk-pages.ts';
import { newChunkRecord, readPageHeader, readRecord } from '../../storage/tsdb/head/chunk-record.ts';
import { headDirs } from '../../storage/tsdb/head/replay.ts';
import { readSeriesFrame, SERIES_MAGIC, type SeriesLogVisitor } from '../../storage/tsdb/head/series-log.ts';
import { METADATA_MAGIC } from '../../storage/tsdb/metadata/metadata-store.ts';
import { nodeFiles } from '../../storage/tsdb/wal/files.ts';
import { FrameReader } from '../../storage/tsdb/wal/frame.ts';
import {
  decodeHistogramRows,
  REC_HISTOGRAMS,
  REC_OOO_HISTOGRAMS,
  REC_OOO_SAMPLES,
  REC_SAMPLES,
  SampleStage,
} from '../../storage/tsdb/wal/records.ts';
import { ByteCursor, CorruptRecordError } from '../../storage/tsdb/wal/varint.ts';
import { listSegments, segmentPath, WAL_MAGIC } from '../../storage/tsdb/wal/wal.ts';

export type LogKind = 'series log' | 'chunk file' | 'WAL segment' | 'exemplar segment' | 'metadata log';

export interface LogRef {
  kind: LogKind;
  path: string;
  /** The newest of its kind: an unfinished end is what a crash leaves, or what is being written. */
  last: boolean;
}

export interface LogFacts {
  bytes: number;
  frames: number;
  /** Samples of a WAL segment, chunks of a chunk file, series of the series log. */
  rows: number;
  /** Series declared dead, in the series log. */
  dead: number;
  /** Of chunk files and WAL segments; minT > maxT where there is none. */
  minT: number;
  maxT: number;
  /** Bytes of the unfinished end. */
  tornBytes: number;
  /** Each names the place. */
  damage: string[];
}

export interface BlockRef {
  tenant: string;
  path: string;
}

const MAGIC: Record<LogKind, string> = {
  'series log': SERIES_MAGIC,
  'chunk file': CHUNK_MAGIC,
  'WAL segment': WAL_MAGIC,
  'exemplar segment': EXEMPLAR_MAGIC,
  'metadata log': METADATA_MAGIC,
};
const DAMAGE_MAX = 100;

export function listBlocks(shardDir: string): BlockRef[] {
  const dir = join(shardDir, 'blocks');
  const found: BlockRef[] = [];
  for (const tenant of namesIn(dir)) {
    for (const name of namesIn(join(dir, tenant))) {
      if (name.endsWith('.block')) found.push({ tenant, path: join(dir, tenant, name) });
    }
  }
  return found;
}

export function listLogs(shardDir: string): LogRef[] {
  const head = headDirs(join(shardDir, 'head'));
  const logs: LogRef[] = [];
  const add = (kind: LogKind, paths: readonly string[]): void => {
    paths.forEach((path, i) => {
      logs.push({ kind, path, last: i === paths.length - 1 });
    });
  };
  const named = (dir: string, pattern: RegExp): string[] =>
    namesIn(dir)
      .filter(name => pattern.test(name))
      .map(name => join(dir, name));
  add('series log', named(head.root, /^series\.log$/));
  add(
    'chunk file',
    listChunkFiles(nodeFiles, head.chunks).map(n => filePath(head.chunks, n)),
  );
  add(
    'WAL segment',
    listSegments(nodeFiles, head.wal).map(n => segmentPath(head.wal, n)),
  );
  add('exemplar segment', named(join(shardDir, 'exemplars'), /^\d{8}\.exemplars$/));
  add('metadata log', named(join(shardDir, 'metadata'), /^metadata\.log$/));
  return logs;
}

function namesIn(dir: string): string[] {
  try {
    return readdirSync(dir).sort();
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return [];
    throw error;
  }
}

/** Size of a file, 0 where it is gone. */
export function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

/** Reads a whole log: checksums, and that every record makes sense. null where the file is gone meanwhile. */
export function readLog(log: LogRef): LogFacts | null {
  const facts: LogFacts = {
    bytes: 0,
    frames: 0,
    rows: 0,
    dead: 0,
    minT: Number.POSITIVE_INFINITY,
    maxT: Number.NEGATIVE_INFINITY,
    tornBytes: 0,
    damage: [],
  };
  let fd: number;
  try {
    fd = nodeFiles.open(log.path, 'read');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
  try {
    readFrames(log, new FrameReader(nodeFiles, fd), facts);
  } finally {
    nodeFiles.close(fd);
  }
  return facts;
}

function readFrames(log: LogRef, reader: FrameReader, facts: LogFacts): void {
  facts.bytes = reader.size;
  const note = (what: string): void => {
    if (facts.damage.length < DAMAGE_MAX) facts.damage.push(`${log.path}: ${log.kind} ${what}`);
  };
  const problem = reader.checkHeader(MAGIC[log.kind]);
  if (problem !== '') {
    if (log.last && reader.size < 16) facts.tornBytes = reader.size;
    else note(`at byte 0: ${problem}`);
    return;
  }
  const read = frameReaders(log.kind, facts);
  for (;;) {
    if (reader.next()) {
      facts.frames++;
      try {
        read(reader);
      } catch (error) {
        if (!(error instanceof CorruptRecordError)) throw error;
        note(`at byte ${reader.offset}: ${error.message}`);
      }
      continue;
    }
    const bad = reader.position;
    if (bad >= reader.size) return;
    if (reader.resync()) note(`at byte ${bad}: ${reader.position - bad} bytes do not have the checksum noted`);
    else {
      if (log.last) facts.tornBytes = reader.size - bad;
      else note(`at byte ${bad}: the last ${reader.size - bad} bytes do not have the checksum noted`);
      return;
    }
  }
}

function frameReaders(kind: LogKind, facts: LogFacts): (frame: FrameReader) => void {
  switch (kind) {
    case 'series log':
      return frame => readSeriesFrame(frame, countingVisitor(facts));
    case 'chunk file':
      return frame => readPage(frame, facts);
    case 'WAL segment': {
      const stage = new SampleStage();
      return frame => readWalFrame(frame, stage, facts);
    }
    case 'exemplar segment':
      return frame =>
        readRecords(
          frame.payload,
          () => {},
          () => facts.rows++,
        );
    case 'metadata log':
      return () => facts.rows++;
  }
}

function countingVisitor(facts: LogFacts): SeriesLogVisitor {
  const nothing = (): void => {};
  return {
    tenant: nothing,
    pair: nothing,
    series: () => {
      facts.rows++;
    },
    dead: () => {
      facts.dead++;
    },
    swept: nothing,
    tombstone: nothing,
    flushed: nothing,
  };
}

const record = newChunkRecord();

function readPage(frame: FrameReader, facts: LogFacts): void {
  if (frame.type !== REC_PAGE) throw new CorruptRecordError(`record type ${frame.type} in a chunk file`);
  const cursor = new ByteCursor(frame.payload);
  const header = readPageHeader(cursor);
  for (let i = 0; i < header.records; i++) readRecord(cursor, header.number, record);
  facts.rows += header.records;
  facts.minT = Math.min(facts.minT, header.minT);
  facts.maxT = Math.max(facts.maxT, header.maxT);
}

function readWalFrame(frame: FrameReader, stage: SampleStage, facts: LogFacts): void {
  const note = (t: number): void => {
    facts.minT = Math.min(facts.minT, t);
    facts.maxT = Math.max(facts.maxT, t);
    facts.rows++;
  };
  if (frame.type === REC_SAMPLES || frame.type === REC_OOO_SAMPLES) {
    stage.decode(frame);
    for (let i = 0; i < stage.n; i++) note(stage.timestamps[i] as number);
  } else if (frame.type === REC_HISTOGRAMS || frame.type === REC_OOO_HISTOGRAMS) {
    for (const row of decodeHistogramRows(frame).rows) note(row.timestampMs);
  } else throw new CorruptRecordError(`record type ${frame.type} in a WAL segment`);
}
