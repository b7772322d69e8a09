/**
 * The kernel's memory, as both backends see it.
 *
 *     0        parameter block (words below)
 *     256      request body as received        + slack
 *     ...      message, decompressed           + slack
 *     ...      columns, 8-aligned: timestamps, values, hashes, labelStart, labelEnd, sampleStart, extras
 *
 * Addresses are byte offsets into one ArrayBuffer. assembly/kernel.ts repeats these numbers (as byte offsets), since the
 * AssemblyScript compiler sees only its own file; the differential test fails if they part.
 */

/** Word (u32) indices of the parameter block. The first four words are the tenant's seed. */
export const PARAM = {
  seed: 0,
  messageStart: 4,
  messageEnd: 5,
  seriesCapacity: 6,
  sampleCapacity: 7,
  extraCapacity: 8,
  labelStart: 9,
  labelEnd: 10,
  hashes: 11,
  sampleStart: 12,
  timestamps: 13,
  values: 14,
  extras: 15,
  /** Results. After an error, seriesCount is the index of the series in which it happened. */
  seriesCount: 16,
  sampleCount: 17,
  extraCount: 18,
  errorAt: 19,
  /** 1 if a timestamp is negative or 2^53 and above. */
  oddTimes: 20,
} as const;

export const PARAM_BYTES = 256;
/** Free bytes after body and message: loads and copies may run this far past their checked end. */
export const SLACK = 64;

/** An extra is four words: series index, kind, start, end (addresses of the submessage). */
export const EXTRA_WORDS = 4;
/** Labels that are not canonical, lack __name__ or are not UTF-8; start and end are those of the TimeSeries. */
export const EXTRA_SLOW_LABELS = 0;
export const EXTRA_EXEMPLAR = 1;
export const EXTRA_HISTOGRAM = 2;
/** A MetricMetadata message; its series index is 0 and means nothing. */
export const EXTRA_METADATA = 3;

export const CODE = {
  ok: 0,
  truncated: 1,
  badVarint: 2,
  badWireType: 3,
  badField: 4,
  /** Not errors of the sender: a column is full, to be enlarged for a second scan. */
  seriesRoom: 5,
  sampleRoom: 6,
  extraRoom: 7,
  snappyLiteral: 8,
  snappyCopy: 9,
  snappyOffset: 10,
  snappyLength: 11,
  /** Found by the wrapper. */
  snappyHeader: 12,
  tooLarge: 13,
} as const;

export const CODE_TEXT: readonly string[] = [
  'ok',
  'a length or value runs past the end of its message',
  'a varint is longer than ten bytes',
  'a field has the wrong wire type',
  'a field number is out of range',
  'too many series',
  'too many samples',
  'too many exemplars, histograms and metadata entries',
  'a snappy literal runs past the end of the block',
  'a snappy copy is cut off',
  'a snappy copy reaches before the start of the block',
  'the snappy block does not have the length that it declares',
  'the snappy block does not begin with a valid length',
  'the message is too large',
];

/** What a backend does. Addresses must lie in regions that the wrapper laid out. */
export interface KernelBackend {
  readonly name: 'wasm' | 'js';
  /** The whole memory; replaced by `grow`. */
  readonly buffer: ArrayBuffer;
  /** Makes the memory at least this large, keeping its content. */
  grow(bytes: number): void;
  snappy(from: number, fromEnd: number, to: number, toEnd: number): number;
  scan(): number;
  /** Identity hash of [start, end) with the seed of the parameter block, to 16 bytes at `out`. */
  hash(start: number, end: number, out: number): void;
}
