/**
 * Frames: the pieces a block file is made of (layout.ts). The writer appends them and keeps their directory; the reader fetches one by
 * section and number, checks its checksum and inflates it.
 *
 * Reads are synchronous positioned reads: one frame is tens of KB, mostly in the page cache, and no promise per
 * chunk stands between a query and its samples.
 */
import { closeSync, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { crc32c } from '../../../lib/crc32c.ts';
import {
  CorruptBlockError,
  FORMAT_VERSION,
  FRAME_BYTES_MAX,
  FRAME_ROW_BYTES,
  HEADER_BYTES,
  MAGIC,
  SECTION_MAX,
  SECTION_NAMES,
  type Section,
  TRAILER_BYTES,
} from './layout.ts';

/** Compressed only where that saves this share: inflating costs more than reading a little more. */
const WORTH = 0.94;
const DIRECTORY_BYTES_MAX = 256 * 1024 * 1024;

/** zstd parameters by their number. */
export type Compression = Readonly<Record<number, number>>;

/** For what will be merged soon, and so written again. */
export const FAST: Compression = { [constants.ZSTD_c_compressionLevel]: 1 };
/** For text and lists: repetitions are worth a search. */
export const INDEX: Compression = { [constants.ZSTD_c_compressionLevel]: 6 };
/**
 * For data that stays: 4 to 11 % smaller than FAST. Residuals have hardly a repetition to find, but the optimal parser, which
 * the strategy asks for, also cuts a frame where its bytes change character, and gives each piece a Huffman table of its own: chunks of
 * quiet and of busy series lie side by side. The search itself is kept as short as it can be. Some 45 ns a sample of a
 * counter to write (FAST: 1.5).
 */
export const THOROUGH: Compression = {
  [constants.ZSTD_c_compressionLevel]: 1,
  [constants.ZSTD_c_strategy]: constants.ZSTD_btopt,
  [constants.ZSTD_c_searchLog]: 1,
  [constants.ZSTD_c_minMatch]: 3,
  [constants.ZSTD_c_targetLength]: 8,
};

interface FrameRow {
  offset: number;
  stored: number;
  raw: number;
  crc: number;
}

export class FrameWriter {
  readonly fd: number;
  /** Bytes written so far. */
  size = 0;
  private readonly rows: FrameRow[][] = Array.from({ length: SECTION_MAX + 1 }, () => []);

  /** Creates the file; it must not exist. */
  constructor(path: string) {
    this.fd = openSync(path, 'wx');
    const header = new Uint8Array(HEADER_BYTES);
    header.set(MAGIC);
    header[8] = FORMAT_VERSION;
    this.write(header);
  }

  /** Appends a frame and returns its number; null stores it as it is. The bytes are the caller's again afterwards. */
  append(section: Section, bytes: Uint8Array, compression: Compression | null): number {
    if (bytes.length > FRAME_BYTES_MAX) throw new RangeError(`BUG: a frame of ${bytes.length} bytes`);
    let stored = bytes;
    if (compression !== null && bytes.length > 64) {
      const squeezed = zstdCompressSync(bytes, { params: compression });
      if (squeezed.length < bytes.length * WORTH) stored = squeezed;
    }
    const rows = this.rows[section] as FrameRow[];
    rows.push({ offset: this.size, stored: stored.length, raw: bytes.length, crc: crc32c(stored) });
    this.write(stored);
    return rows.length - 1;
  }

  /** Frames in a section so far. */
  count(section: Section): number {
    return (this.rows[section] as FrameRow[]).length;
  }

  /** Writes directory and trailer. The caller syncs and closes. */
  end(): void {
    const offset = this.size;
    let frames = 0;
    for (const rows of this.rows) frames += rows.length;
    const directory = new Uint8Array(SECTION_MAX * 4 + frames * FRAME_ROW_BYTES);
    const view = new DataView(directory.buffer);
    let p = 0;
    for (let section = 1; section <= SECTION_MAX; section++) {
      const rows = this.rows[section] as FrameRow[];
      view.setUint32(p, rows.length, true);
      p += 4;
      for (const row of rows) {
        view.setFloat64(p, row.offset, true);
        view.setUint32(p + 8, row.stored, true);
        view.setUint32(p + 12, row.raw, true);
        view.setUint32(p + 16, row.crc, true);
        p += FRAME_ROW_BYTES;
      }
    }
    this.write(directory);
    const trailer = new Uint8Array(TRAILER_BYTES);
    const tail = new DataView(trailer.buffer);
    tail.setFloat64(0, offset, true);
    tail.setUint32(8, directory.length, true);
    tail.setUint32(12, crc32c(directory, 0, directory.length, crc32c(trailer, 0, 12)), true);
    trailer.set(MAGIC, 16);
    this.write(trailer);
  }

  close(): void {
    closeSync(this.fd);
  }

  private write(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) done += writeSync(this.fd, bytes, done, bytes.length - done);
    this.size += bytes.length;
  }
}

/** Stored bytes on their way in; grown as needed, one per thread. */
let stage = new Uint8Array(256 * 1024);

/** The directory of one section. */
interface SectionFrames {
  count: number;
  offsets: Float64Array;
  stored: Uint32Array;
  raw: Uint32Array;
  crcs: Uint32Array;
}

export class FrameFile {
  readonly path: string;
  readonly size: number;
  readonly directoryOffset: number;
  private fd: number;
  private readonly sections: readonly SectionFrames[];

  /** Opens and checks header, trailer and directory. Throws CorruptBlockError, or what the file system says. */
  constructor(path: string) {
    this.path = path;
    this.fd = openSync(path, 'r');
    try {
      this.size = fstatSync(this.fd).size;
      if (this.size < HEADER_BYTES + TRAILER_BYTES) {
        throw new CorruptBlockError(path, 'file', 0, `${this.size} bytes are too few for a block`);
      }
      this.checkHeader();
      const trailer = this.bytes('trailer', this.size - TRAILER_BYTES, TRAILER_BYTES).slice();
      const view = new DataView(trailer.buffer);
      this.directoryOffset = view.getFloat64(0, true);
      const length = view.getUint32(8, true);
      this.checkTrailer(trailer, length);
      const directory = this.bytes('directory', this.directoryOffset, length).slice();
      const crc = crc32c(directory, 0, length, crc32c(trailer, 0, 12));
      if (crc !== view.getUint32(12, true)) {
        throw new CorruptBlockError(
          path,
          'directory',
          this.directoryOffset,
          `checksum ${hex(crc)} is not the one noted`,
        );
      }
      this.sections = this.parseDirectory(directory);
    } catch (error) {
      closeSync(this.fd);
      throw error;
    }
  }

  count(section: Section): number {
    return (this.sections[section] as SectionFrames).count;
  }

  /** Where a frame begins in the file. */
  offset(section: Section, frame: number): number {
    return (this.sections[section] as SectionFrames).offsets[frame] ?? this.directoryOffset;
  }

  storedBytes(section: Section): number {
    let sum = 0;
    for (const x of (this.sections[section] as SectionFrames).stored) sum += x;
    return sum;
  }

  rawBytes(section: Section): number {
    let sum = 0;
    for (const x of (this.sections[section] as SectionFrames).raw) sum += x;
    return sum;
  }

  /** The raw bytes of a frame, checked; the caller owns them. */
  read(section: Section, frame: number): Uint8Array {
    const name = SECTION_NAMES[section] as string;
    const s = this.sections[section] as SectionFrames;
    if (!(frame >= 0 && frame < s.count)) {
      throw new CorruptBlockError(this.path, name, this.directoryOffset, `frame ${frame} of ${s.count} is asked for`);
    }
    const offset = s.offsets[frame] as number;
    const stored = s.stored[frame] as number;
    const raw = s.raw[frame] as number;
    const bytes = this.bytes(name, offset, stored);
    const crc = crc32c(bytes, 0, stored);
    if (crc !== s.crcs[frame]) {
      throw new CorruptBlockError(
        this.path,
        name,
        offset,
        `checksum of frame ${frame} (${stored} bytes) is ${hex(crc)}, ${hex(s.crcs[frame] as number)} is noted`,
      );
    }
    if (stored === raw) return bytes.slice();
    let inflated: Uint8Array;
    try {
      inflated = zstdDecompressSync(bytes, { maxOutputLength: raw, chunkSize: Math.max(64, raw) });
    } catch (error) {
      throw new CorruptBlockError(
        this.path,
        name,
        offset,
        `frame ${frame} does not inflate: ${(error as Error).message}`,
      );
    }
    if (inflated.length !== raw) {
      throw new CorruptBlockError(
        this.path,
        name,
        offset,
        `frame ${frame} inflates to ${inflated.length}, not ${raw} bytes`,
      );
    }
    // A plain view: decoders see one class of array.
    return new Uint8Array(inflated.buffer, inflated.byteOffset, raw);
  }

  /** Every byte between header and directory belongs to exactly one frame. */
  checkCoverage(): void {
    const spans: [number, number][] = [];
    for (const s of this.sections) {
      for (let i = 0; i < s.count; i++) spans.push([s.offsets[i] as number, s.stored[i] as number]);
    }
    spans.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
    let at = HEADER_BYTES;
    for (const [offset, stored] of spans) {
      if (offset !== at) throw new CorruptBlockError(this.path, 'directory', at, `next frame begins at ${offset}`);
      at += stored;
    }
    if (at !== this.directoryOffset) {
      throw new CorruptBlockError(
        this.path,
        'directory',
        at,
        `frames end here, the directory is at ${this.directoryOffset}`,
      );
    }
  }

  close(): void {
    if (this.fd < 0) return;
    closeSync(this.fd);
    this.fd = -1;
  }

  /** Stored bytes at a place of the file; valid until the next call. */
  private bytes(what: string, offset: number, length: number): Uint8Array {
    if (stage.length < length) stage = new Uint8Array(length);
    let done = 0;
    while (done < length) {
      const n = readSync(this.fd, stage, done, length - done, offset + done);
      if (n === 0)
        throw new CorruptBlockError(this.path, what, offset + done, `file ends, ${length - done} more bytes were due`);
      done += n;
    }
    return stage.subarray(0, length);
  }

  private checkHeader(): void {
    const header = this.bytes('header', 0, HEADER_BYTES);
    for (let i = 0; i < MAGIC.length; i++) {
      if (header[i] !== MAGIC[i]) throw new CorruptBlockError(this.path, 'header', i, 'this is not a block file');
    }
    const version = (header[8] as number) | ((header[9] as number) << 8);
    if (version !== FORMAT_VERSION) {
      throw new CorruptBlockError(
        this.path,
        'header',
        8,
        `format version ${version}; this program reads ${FORMAT_VERSION}`,
      );
    }
    for (let i = 10; i < HEADER_BYTES; i++) {
      if (header[i] !== 0) throw new CorruptBlockError(this.path, 'header', i, `byte ${header[i]} where 0 is due`);
    }
  }

  private checkTrailer(trailer: Uint8Array, length: number): void {
    const at = this.size - TRAILER_BYTES;
    for (let i = 0; i < MAGIC.length; i++) {
      if (trailer[16 + i] !== MAGIC[i])
        throw new CorruptBlockError(this.path, 'trailer', at + 16 + i, 'magic is missing');
    }
    const fits = Number.isInteger(this.directoryOffset) && this.directoryOffset >= HEADER_BYTES;
    if (!fits || this.directoryOffset + length !== at || length > DIRECTORY_BYTES_MAX) {
      throw new CorruptBlockError(this.path, 'trailer', at, `directory at ${this.directoryOffset}, ${length} bytes`);
    }
  }

  private parseDirectory(bytes: Uint8Array): SectionFrames[] {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const out: SectionFrames[] = [emptySection(0)];
    let p = 0;
    for (let section = 1; section <= SECTION_MAX; section++) {
      const count = p + 4 <= bytes.length ? view.getUint32(p, true) : Number.POSITIVE_INFINITY;
      p += 4;
      if (count * FRAME_ROW_BYTES > bytes.length - p)
        throw this.badDirectory(p, `${count} frames of ${SECTION_NAMES[section]}`);
      const s = emptySection(count);
      for (let i = 0; i < count; i++, p += FRAME_ROW_BYTES) {
        const offset = view.getFloat64(p, true);
        const stored = view.getUint32(p + 8, true);
        const raw = view.getUint32(p + 12, true);
        if (
          !(
            offset >= HEADER_BYTES &&
            offset + stored <= this.directoryOffset &&
            stored <= raw &&
            raw <= FRAME_BYTES_MAX
          )
        ) {
          throw this.badDirectory(
            p,
            `frame ${i} of ${SECTION_NAMES[section]}: offset ${offset}, ${stored} of ${raw} bytes`,
          );
        }
        s.offsets[i] = offset;
        s.stored[i] = stored;
        s.raw[i] = raw;
        s.crcs[i] = view.getUint32(p + 16, true);
      }
      out.push(s);
    }
    if (p !== bytes.length) throw this.badDirectory(p, `${bytes.length - p} bytes too many`);
    return out;
  }

  private badDirectory(at: number, what: string): CorruptBlockError {
    return new CorruptBlockError(this.path, 'directory', this.directoryOffset + at, what);
  }
}

function emptySection(count: number): SectionFrames {
  return {
    count,
    offsets: new Float64Array(count),
    stored: new Uint32Array(count),
    raw: new Uint32Array(count),
    crcs: new Uint32Array(count),
  };
}

function hex(x: number): string {
  return `0x${x.toString(16).padStart(8, '0')}`;
}
