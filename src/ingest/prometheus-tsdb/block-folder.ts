/**
 * BlockFolder: one block of Prometheus, a folder named by a ULID with `meta.json`, `index`, `chunks/` and perhaps `tombstones`;
 * and how blocks are found in a data folder.
 */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { CorruptPrometheusError } from './byte-reader.ts';
import { ChunkFiles } from './chunk-files.ts';
import { IndexFile } from './index-file.ts';
import { type PrometheusTombstones, readTombstoneFile } from './tombstone-file.ts';

const ULID = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/;
const META_BYTES_MAX = 64 << 20;

export interface PrometheusMeta {
  ulid: string;
  minT: number;
  /** Exclusive, as Prometheus has it. */
  maxT: number;
  series: number;
  samples: number;
  fromOutOfOrder: boolean;
}

/** Folders of blocks in `source`, oldest name first; `source` itself where it is one. */
export function findBlockFolders(source: string): string[] {
  if (existsSync(join(source, 'meta.json')) && existsSync(join(source, 'index'))) return [resolve(source)];
  return readdirSync(source, { withFileTypes: true })
    .filter(entry => ULID.test(entry.name) && (entry.isDirectory() || entry.isSymbolicLink()))
    .map(entry => join(source, entry.name))
    .sort();
}

export function readBlockMeta(dir: string): PrometheusMeta {
  const file = join(dir, 'meta.json');
  const bad = (what: string) => new CorruptPrometheusError(file, 0, what);
  const size = statSync(file, { throwIfNoEntry: false })?.size;
  if (size === undefined) throw bad('there is no such file: the block was not finished, or is being deleted');
  if (size > META_BYTES_MAX) throw bad(`${size} bytes are too many`);
  let meta: Record<string, unknown>;
  try {
    meta = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
  } catch {
    throw bad('is not JSON');
  }
  if (typeof meta !== 'object' || meta === null) throw bad('is no object');
  const { ulid, minTime, maxTime, version } = meta;
  if (version !== 1) throw bad(`version ${String(version)}; version 1 is read`);
  if (!Number.isSafeInteger(minTime) || !Number.isSafeInteger(maxTime)) throw bad('minTime or maxTime is missing');
  if (typeof ulid !== 'string' || !ULID.test(ulid)) throw bad(`its ulid is ${JSON.stringify(ulid)}`);
  const stats = (meta.stats ?? {}) as Record<string, unknown>;
  const compaction = (meta.compaction ?? {}) as { hints?: unknown };
  const hints = Array.isArray(compaction.hints) ? compaction.hints : [];
  return {
    ulid,
    minT: minTime as number,
    maxT: maxTime as number,
    series: Number(stats.numSeries ?? 0),
    samples: Number(stats.numSamples ?? 0),
    fromOutOfOrder: hints.includes('from-out-of-order'),
  };
}

export class BlockFolder {
  readonly dir: string;
  readonly index: IndexFile;
  readonly chunks: ChunkFiles;
  readonly tombstones: PrometheusTombstones;

  /** Throws CorruptPrometheusError where the block cannot be read at all. */
  constructor(dir: string) {
    this.dir = dir;
    this.tombstones = readTombstoneFile(join(dir, 'tombstones'));
    if (!existsSync(join(dir, 'index')))
      throw new CorruptPrometheusError(join(dir, 'index'), 0, 'there is no such file');
    this.index = new IndexFile(join(dir, 'index'));
    try {
      if (!existsSync(join(dir, 'chunks'))) {
        throw new CorruptPrometheusError(join(dir, 'chunks'), 0, 'there is no such folder');
      }
      this.chunks = new ChunkFiles(join(dir, 'chunks'));
    } catch (error) {
      this.index.close();
      throw error;
    }
  }

  close(): void {
    this.index.close();
    this.chunks.close();
  }
}
