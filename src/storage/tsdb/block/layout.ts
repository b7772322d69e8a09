/**
 * The names and numbers of the block format (docs/formats/block.md): one immutable file per block, `<ulid>.block`.
 *
 *   header | frames ... | directory | trailer
 *
 * A frame is a piece of one section, compressed on its own where that pays. The directory lists every frame with its place, sizes
 * and checksum; the trailer finds the directory. So every byte of the file is covered by a check.
 */

export const MAGIC = new Uint8Array([0x53, 0x49, 0x47, 0x48, 0x54, 0x42, 0x4c, 0x4b]); // SIGHTBLK
export const FORMAT_VERSION = 1;
/** Magic, version u16, six zero bytes. */
export const HEADER_BYTES = 16;
/** Directory offset f64, length u32, crc u32, magic. */
export const TRAILER_BYTES = 24;
/** Offset f64, stored u32, raw u32, crc u32. */
export const FRAME_ROW_BYTES = 20;

export const SECTION = {
  /** Encoded chunks of adjacent series. */
  data: 1,
  /** Timestamp columns shared by chunks. */
  times: 2,
  /** Per SERIES_PER_PAGE series: where their chunks are and what range they cover. */
  chunks: 3,
  /** Per SERIES_PER_PAGE series: their label pair ids. */
  labels: 4,
  /** Per HASHES_PER_PAGE series: 16 bytes of identity hash each. */
  hashes: 5,
  /** Per PAIRS_PER_PAGE label pairs in order of (name, value): the values, and the place of their postings. */
  pairs: 6,
  /** Series numbers by label pair. */
  postings: 7,
  /** Label names, and which pair ids are theirs. One frame. */
  names: 8,
  /** The block's meta as JSON. One frame. */
  meta: 9,
} as const;
export type Section = (typeof SECTION)[keyof typeof SECTION];
export const SECTION_MAX = 9;
export const SECTION_NAMES = ['', 'data', 'times', 'chunks', 'labels', 'hashes', 'pairs', 'postings', 'names', 'meta'];

export const SERIES_PER_PAGE = 256;
export const HASHES_PER_PAGE = 4096;
export const PAIRS_PER_PAGE = 512;
/** Raw size at which a frame of data, times or postings is closed. */
export const DATA_FRAME_BYTES = 128 * 1024;
export const POSTINGS_FRAME_BYTES = 64 * 1024;
/** No frame is larger, raw. A bound for decoders. */
export const FRAME_BYTES_MAX = 64 * 1024 * 1024;
/** Bounds of a block, far above what is written. */
export const SERIES_MAX = 1 << 28;
export const LABELS_MAX = 1024;

export const KIND = { float: 0, histogram: 1, aggregate: 2 } as const;
export type ChunkKind = (typeof KIND)[keyof typeof KIND];

/** Flags in front of a float or aggregate chunk in the data section. */
export const CHUNK_STARTS = 1;
export const CHUNK_SHARED_TIMES = 2;

export interface BlockMeta {
  version: number;
  ulid: string;
  tenant: string;
  /** Bounds of the samples inside, inclusive; minT > maxT when empty. ms. */
  minT: number;
  maxT: number;
  /** Length of a bucket in ms; 0 = raw samples. */
  resolutionMs: number;
  /** 1 for a flush of the head, one more than its highest source for a merge. */
  level: number;
  /** Ids of the blocks that this one was made of; empty for a flush. */
  sources: string[];
  createdAtMs: number;
  /** When its newest sample arrived here: age for retention counts from the later of this and maxT. */
  arrivedMs: number;
  series: number;
  floatSamples: number;
  histogramSamples: number;
  chunks: number;
}

/** What is wrong in which file, where. */
export class CorruptBlockError extends Error {
  override name = 'CorruptBlockError';
  readonly path: string;
  readonly section: string;
  /** Byte offset in the file of the frame or field concerned. */
  readonly offset: number;

  constructor(path: string, section: string, offset: number, what: string) {
    super(`${path}: ${section} at byte ${offset}: ${what}`);
    this.path = path;
    this.section = section;
    this.offset = offset;
  }
}
