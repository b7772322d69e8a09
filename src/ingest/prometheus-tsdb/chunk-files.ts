/**
 * ChunkFiles: the `chunks/` folder of a Prometheus block: numbered segments of checksummed chunks, found by reference
 * (segment number x 2^32 + offset). A chunk is checked before it is decoded; one that is broken throws and adds nothing.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { SampleBuffer } from '../../contracts/sample-source.ts';
import { crc32c } from '../../lib/crc32c.ts';
import { CorruptPrometheusError } from './byte-reader.ts';
import { FileWindow } from './file-window.ts';
import { decodeXor2Chunk, decodeXorChunk } from './float-chunk.ts';
import { decodeHistogramChunk } from './histogram-chunk.ts';

const MAGIC = [0x85, 0xbd, 0x40, 0xdd];
const VERSION = 1;
const HEADER_BYTES = 8;
/** The chunks of one series are neighbours: a read brings several. */
const WINDOW_BYTES = 32 * 1024;
const CHUNK_BYTES_MAX = 16 << 20;
const LENGTH_BYTES_MAX = 5;

export const ENCODING = { xor: 1, histogram: 2, floatHistogram: 3, xor2: 4 } as const;

export class ChunkFiles {
  private readonly dir: string;
  private readonly names: string[];
  private readonly segments: (FileWindow | null)[];

  constructor(dir: string) {
    this.dir = dir;
    this.names = readdirSync(dir)
      .filter(name => /^\d{6,}$/.test(name))
      .sort();
    this.segments = this.names.map(() => null);
  }

  /** Appends the chunk's samples to the buffer. Throws CorruptPrometheusError. */
  read(ref: number, into: SampleBuffer): void {
    const number = Math.floor(ref / 0x100000000);
    const offset = ref % 0x100000000;
    const file = this.segment(number);
    const head = file.load(offset, LENGTH_BYTES_MAX);
    let at = offset - file.base;
    const headEnd = at + head;
    let length = 0;
    for (let scale = 1; ; scale *= 128) {
      if (at === headEnd) throw new CorruptPrometheusError(file.path, offset, 'no chunk begins here');
      const b = file.bytes[at++] as number;
      length += (b & 0x7f) * scale;
      if (b < 0x80) break;
    }
    if (length > CHUNK_BYTES_MAX) throw new CorruptPrometheusError(file.path, offset, `a chunk of ${length} bytes`);
    const start = file.base + at;
    file.need(start, 1 + length + 4, 'a chunk');
    const from = start - file.base;
    const end = from + 1 + length;
    const { bytes } = file;
    const noted = new DataView(bytes.buffer, bytes.byteOffset + end, 4).getUint32(0);
    if (crc32c(bytes, from, end) !== noted) {
      throw new CorruptPrometheusError(file.path, offset, 'the checksum of a chunk is not the one noted');
    }
    this.decode(file, bytes[from] as number, from + 1, end, offset, into);
  }

  private decode(
    file: FileWindow,
    encoding: number,
    from: number,
    end: number,
    offset: number,
    into: SampleBuffer,
  ): void {
    const { bytes, path, base } = file;
    if (encoding === ENCODING.xor) decodeXorChunk(bytes, from, end, path, base, into);
    else if (encoding === ENCODING.histogram) decodeHistogramChunk(bytes, from, end, path, base, true, into);
    else if (encoding === ENCODING.floatHistogram) decodeHistogramChunk(bytes, from, end, path, base, false, into);
    else if (encoding === ENCODING.xor2) decodeXor2Chunk(bytes, from, end, path, base, into);
    else throw new CorruptPrometheusError(path, offset, `a chunk of the unknown encoding ${encoding}`);
  }

  private segment(number: number): FileWindow {
    const open = this.segments[number];
    if (open !== null && open !== undefined) return open;
    const name = this.names[number];
    if (name === undefined) {
      throw new CorruptPrometheusError(this.dir, 0, `there is no chunk segment ${number + 1}`);
    }
    const file = new FileWindow(join(this.dir, name), WINDOW_BYTES);
    try {
      file.need(0, HEADER_BYTES, 'the header');
      for (let i = 0; i < 4; i++) {
        if (file.bytes[i] !== MAGIC[i]) throw new CorruptPrometheusError(file.path, 0, 'this is not a chunk segment');
      }
      if (file.bytes[4] !== VERSION) {
        throw new CorruptPrometheusError(file.path, 4, `segment version ${file.bytes[4]}; version ${VERSION} is read`);
      }
    } catch (error) {
      file.close();
      throw error;
    }
    this.segments[number] = file;
    return file;
  }

  close(): void {
    for (const file of this.segments) file?.close();
    this.segments.fill(null);
  }
}
