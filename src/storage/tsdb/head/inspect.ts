/** Looking at a head's folder from outside (tools): every frame of every file, decoded and checked, nothing changed. */
import path from 'node:path';
import { type Files, nodeFiles } from '../wal/files.ts';
import type { FrameReader } from '../wal/frame.ts';
import { decodeHistogramRows, REC_HISTOGRAMS, REC_OOO_HISTOGRAMS, SampleStage } from '../wal/records.ts';
import { verifyFile } from '../wal/recovery.ts';
import { ByteCursor, CorruptRecordError } from '../wal/varint.ts';
import { listSegments, segmentPath, WAL_MAGIC } from '../wal/wal.ts';
import { CHUNK_MAGIC, filePath, listChunkFiles } from './chunk-pages.ts';
import { newChunkRecord, readPageHeader, readRecord } from './chunk-record.ts';
import { isHistogram } from './histogram-codec.ts';
import { headDirs } from './replay.ts';
import { readSeriesFrame, SERIES_MAGIC } from './series-log.ts';

export interface InspectedFile {
  file: string;
  kind: 'series' | 'wal' | 'chunks';
  frames: number;
  /** Series, WAL rows or chunks inside. */
  items: number;
  minT: number;
  maxT: number;
  /** What is wrong, in words; an unfinished end of the newest file of a kind is normal after a crash. */
  problems: string[];
}

/** The head must not be open elsewhere for writing, or the newest files may look unfinished. */
export function inspectHead(dir: string, files: Files = nodeFiles): InspectedFile[] {
  const dirs = headDirs(dir);
  const out: InspectedFile[] = [];
  if (files.list(dir).includes('series.log')) {
    out.push(inspect(files, path.join(dir, 'series.log'), 'series', SERIES_MAGIC, seriesFrame));
  }
  for (const number of listChunkFiles(files, dirs.chunks)) {
    out.push(inspect(files, filePath(dirs.chunks, number), 'chunks', CHUNK_MAGIC, chunkFrame));
  }
  for (const number of listSegments(files, dirs.wal)) {
    out.push(inspect(files, segmentPath(dirs.wal, number), 'wal', WAL_MAGIC, walFrame));
  }
  return out;
}

function inspect(
  files: Files,
  file: string,
  kind: InspectedFile['kind'],
  magic: string,
  onFrame: (frame: FrameReader, into: InspectedFile) => void,
): InspectedFile {
  const found: InspectedFile = { file, kind, frames: 0, items: 0, minT: Infinity, maxT: -1, problems: [] };
  const { frames, problems } = verifyFile(files, file, magic, frame => onFrame(frame, found));
  found.frames = frames;
  found.problems = problems;
  return found;
}

function note(into: InspectedFile, minT: number, maxT: number): void {
  into.items++;
  if (minT < into.minT) into.minT = minT;
  if (maxT > into.maxT) into.maxT = maxT;
}

function seriesFrame(frame: FrameReader, into: InspectedFile): void {
  readSeriesFrame(frame, {
    tenant: () => {},
    pair: () => {},
    series: () => {
      into.items++;
    },
    dead: () => {},
    swept: () => {},
    tombstone: () => {},
    flushed: () => {},
  });
}

function chunkFrame(frame: FrameReader, into: InspectedFile): void {
  const cursor = new ByteCursor(frame.payload);
  const header = readPageHeader(cursor);
  const record = newChunkRecord();
  for (let i = 0; i < header.records; i++) {
    readRecord(cursor, header.number, record);
    note(into, record.minT, record.maxT);
  }
}

const stage = new SampleStage();

function walFrame(frame: FrameReader, into: InspectedFile): void {
  if (frame.type === REC_HISTOGRAMS || frame.type === REC_OOO_HISTOGRAMS) {
    for (const row of decodeHistogramRows(frame).rows) {
      if (!isHistogram(row.bytes, row.timestampMs)) throw new CorruptRecordError(`histogram of series ${row.ref}`);
      note(into, row.timestampMs, row.timestampMs);
    }
    return;
  }
  stage.decode(frame);
  for (let i = 0; i < stage.n; i++) note(into, stage.timestamps[i] as number, stage.timestamps[i] as number);
}
