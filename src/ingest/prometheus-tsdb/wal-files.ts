/**
 * The write-ahead log of Prometheus (`wal/`, its checkpoint, and `wbl/` for out-of-order samples): numbered segments of 32 KB
 * pages, records cut into fragments that stay within a page, each with a checksum; a record may be compressed as a whole.
 *
 * A damaged fragment costs the rest of its page and the record it was part of; reading goes on at the next page. The last
 * segment may end anywhere: that is what a crash leaves.
 */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { zstdDecompressSync } from 'node:zlib';
import { crc32c } from '../../lib/crc32c.ts';
import { snappyDecompress } from '../../lib/snappy.ts';
import { CorruptPrometheusError } from './byte-reader.ts';
import { FileWindow } from './file-window.ts';

const PAGE_BYTES = 32 * 1024;
const FRAGMENT_HEADER = 7;
const TYPE_MASK = 7;
const SNAPPY = 8;
const ZSTD = 16;
const FULL = 1;
const FIRST = 2;
const LAST = 4;
/** A record in memory. */
const RECORD_BYTES_MAX = 256 << 20;

export interface WalSegment {
  path: string;
  /** Whether an unfinished end is nothing to report. */
  last: boolean;
}

/** Segments in the order to read them: the newest checkpoint, the log after it, the out-of-order log. */
export function findWalSegments(source: string): WalSegment[] {
  const wal = join(source, 'wal');
  const found: WalSegment[] = [];
  let after = -1;
  if (existsSync(wal)) {
    const checkpoints = readdirSync(wal)
      .filter(name => /^checkpoint\.\d+$/.test(name))
      .sort((a, b) => numberOf(a) - numberOf(b));
    const checkpoint = checkpoints.at(-1);
    if (checkpoint !== undefined) {
      after = numberOf(checkpoint);
      found.push(...segmentsIn(join(wal, checkpoint), -1));
    }
    found.push(...segmentsIn(wal, after));
  }
  if (existsSync(join(source, 'wbl'))) found.push(...segmentsIn(join(source, 'wbl'), -1));
  return found;
}

function numberOf(name: string): number {
  return Number(name.replace('checkpoint.', ''));
}

function segmentsIn(dir: string, after: number): WalSegment[] {
  const numbers = readdirSync(dir)
    .filter(name => /^\d{8,}$/.test(name) && Number(name) > after)
    .sort((a, b) => Number(a) - Number(b));
  return numbers.map((name, i) => ({ path: join(dir, name), last: i === numbers.length - 1 }));
}

/** The records of a segment, uncompressed; `at` is where it begins. A record is valid until the next. */
export function* readSegment(
  segment: WalSegment,
  damaged: (error: CorruptPrometheusError) => void,
): Generator<{ at: number; record: Uint8Array }, void, void> {
  const file = new FileWindow(segment.path, 8 * PAGE_BYTES);
  try {
    let parts: Uint8Array[] = [];
    let partBytes = 0;
    let began = 0;
    for (let page = 0; page < file.size; page += PAGE_BYTES) {
      const pageEnd = Math.min(page + PAGE_BYTES, file.size);
      for (let at = page; at + FRAGMENT_HEADER <= pageEnd; ) {
        file.need(page, pageEnd - page, 'a page');
        const fragment = readFragment(file, at, pageEnd);
        if (fragment === null) break;
        if (fragment instanceof CorruptPrometheusError) {
          const tornEnd = segment.last && pageEnd === file.size;
          if (!tornEnd) damaged(fragment);
          parts = [];
          partBytes = 0;
          break;
        }
        const { type, flags, from, length } = fragment;
        const first = type === FULL || type === FIRST;
        if (first !== (parts.length === 0)) {
          damaged(new CorruptPrometheusError(file.path, at, 'a fragment of a record has lost its neighbours'));
          parts = [];
          partBytes = 0;
        }
        if (first || parts.length > 0) {
          if (first) began = at;
          parts.push(file.bytes.slice(from, from + length));
          partBytes += length;
        }
        at += FRAGMENT_HEADER + length;
        if (type !== FULL && type !== LAST && partBytes <= RECORD_BYTES_MAX) continue;
        if (parts.length === 0) continue;
        const record = inflate(file.path, began, joined(parts, partBytes), flags, damaged);
        parts = [];
        partBytes = 0;
        if (record !== null) yield { at: began, record };
      }
    }
  } finally {
    file.close();
  }
}

/** null at the unused rest of a page. */
function readFragment(
  file: FileWindow,
  at: number,
  pageEnd: number,
): { type: number; flags: number; from: number; length: number } | CorruptPrometheusError | null {
  const { bytes } = file;
  const p = at - file.base;
  const flags = bytes[p] as number;
  const type = flags & TYPE_MASK;
  if (flags === 0) return null;
  if (type < FULL || type > LAST) {
    return new CorruptPrometheusError(file.path, at, `there is no fragment type ${type}`);
  }
  const length = ((bytes[p + 1] as number) << 8) | (bytes[p + 2] as number);
  const from = p + FRAGMENT_HEADER;
  if (at + FRAGMENT_HEADER + length > pageEnd) {
    return new CorruptPrometheusError(file.path, at, `a fragment of ${length} bytes leaves its page`);
  }
  const noted = new DataView(bytes.buffer, bytes.byteOffset + p + 3, 4).getUint32(0);
  if (crc32c(bytes, from, from + length) !== noted) {
    return new CorruptPrometheusError(file.path, at, 'the checksum of a fragment is not the one noted');
  }
  return { type, flags, from, length };
}

function joined(parts: readonly Uint8Array[], bytes: number): Uint8Array {
  if (parts.length === 1) return parts[0] as Uint8Array;
  const all = new Uint8Array(bytes);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function inflate(
  path: string,
  at: number,
  bytes: Uint8Array,
  flags: number,
  damaged: (error: CorruptPrometheusError) => void,
): Uint8Array | null {
  try {
    if ((flags & SNAPPY) !== 0) return snappyDecompress(bytes, RECORD_BYTES_MAX);
    if ((flags & ZSTD) !== 0) return zstdDecompressSync(bytes, { maxOutputLength: RECORD_BYTES_MAX });
    return bytes;
  } catch (error) {
    damaged(new CorruptPrometheusError(path, at, `a record cannot be decompressed: ${(error as Error).message}`));
    return null;
  }
}
