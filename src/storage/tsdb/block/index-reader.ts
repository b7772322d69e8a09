/**
 * BlockIndex: the index sections of an open block, page by page through the shared cache.
 *
 * Label pairs are numbered in order of (name, value): the pairs of a name are a range, a value is found by binary search.
 * Every page is decoded once into typed arrays (and the page's value strings); nothing but the list of names stays outside
 * of the cache. All decoders check; what makes no sense becomes a CorruptBlockError.
 */
import { compareStrings, type Labels } from '../../../model/labels.ts';
import { ByteCursor } from '../chunk/bytes.ts';
import { CorruptChunkError } from '../chunk/corrupt.ts';
import { MAX_CHUNK_ROWS } from '../chunk/int-column.ts';
import { type BlockCaches, type ByteLru, frameKey } from './cache.ts';
import type { FrameFile } from './frames.ts';
import {
  CorruptBlockError,
  FRAME_BYTES_MAX,
  HASHES_PER_PAGE,
  LABELS_MAX,
  PAIRS_PER_PAGE,
  SECTION,
  SECTION_NAMES,
  SERIES_MAX,
  SERIES_PER_PAGE,
  type Section,
} from './layout.ts';

export interface NameEntry {
  name: string;
  /** Its pairs are [from, to). */
  from: number;
  to: number;
}

interface PairPage {
  values: string[];
  /** Where the postings of each pair are. */
  frames: Uint32Array;
  offsets: Uint32Array;
  sizes: Uint32Array;
}

export interface LabelPage {
  /** Series i of the page has pairs[starts[i], starts[i + 1]). */
  starts: Uint32Array;
  pairs: Uint32Array;
}

export interface ChunkPage {
  /** Series i of the page has chunks [starts[i], starts[i + 1]). */
  starts: Uint32Array;
  kinds: Uint8Array;
  rows: Uint16Array;
  minT: Float64Array;
  maxT: Float64Array;
  frames: Uint32Array;
  offsets: Uint32Array;
  sizes: Uint32Array;
}

const decoder = new TextDecoder();
const cursor = new ByteCursor();

export class BlockIndex {
  readonly seriesCount: number;
  readonly pairCount: number;
  readonly names: readonly NameEntry[];
  private readonly file: FrameFile;
  private readonly cache: ByteLru;
  private readonly block: number;

  constructor(file: FrameFile, caches: BlockCaches, block: number) {
    this.file = file;
    this.cache = caches.index;
    this.block = block;
    let series = 0;
    let pairs = 0;
    const names: NameEntry[] = [];
    this.decode(SECTION.names, 0, () => {
      series = cursor.bounded(SERIES_MAX, 'number of series');
      pairs = cursor.bounded(SERIES_MAX, 'number of label pairs');
      const count = cursor.bounded(pairs, 'number of label names');
      let from = 0;
      for (let i = 0; i < count; i++) {
        const name = text(cursor.bounded(FRAME_BYTES_MAX, 'length of a name'));
        const to = from + cursor.bounded(pairs - from, 'number of values');
        names.push({ name, from, to });
        from = to;
      }
      if (from !== pairs) throw new CorruptChunkError(`names cover ${from} of ${pairs} pairs`, cursor.at);
    });
    this.seriesCount = series;
    this.pairCount = pairs;
    this.names = names;
    this.checkPages(SECTION.hashes, series, HASHES_PER_PAGE);
    this.checkPages(SECTION.labels, series, SERIES_PER_PAGE);
    this.checkPages(SECTION.chunks, series, SERIES_PER_PAGE);
    this.checkPages(SECTION.pairs, pairs, PAIRS_PER_PAGE);
  }

  private checkPages(section: Section, items: number, perPage: number): void {
    const due = Math.ceil(items / perPage);
    if (this.file.count(section) === due) return;
    const what = `${this.file.count(section)} pages, ${due} are due for ${items} entries`;
    throw new CorruptBlockError(this.file.path, SECTION_NAMES[section] as string, this.file.offset(section, 0), what);
  }

  /** The entry of a label name, or null. */
  name(name: string): NameEntry | null {
    let low = 0;
    let high = this.names.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const order = compareStrings((this.names[middle] as NameEntry).name, name);
      if (order === 0) return this.names[middle] as NameEntry;
      if (order < 0) low = middle + 1;
      else high = middle;
    }
    return null;
  }

  value(pair: number): string {
    return this.pairPage(Math.floor(pair / PAIRS_PER_PAGE)).values[pair % PAIRS_PER_PAGE] as string;
  }

  /** First pair of the name whose value is >= `value`. */
  lowerPair(entry: NameEntry, value: string): number {
    let low = entry.from;
    let high = entry.to;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareStrings(this.value(middle), value) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The pair's number, or -1. */
  findPair(entry: NameEntry, value: string): number {
    const at = this.lowerPair(entry, value);
    return at < entry.to && this.value(at) === value ? at : -1;
  }

  /** Series numbers that have the pair, ascending. The caller owns them. */
  postings(pair: number): Uint32Array {
    const page = this.pairPage(Math.floor(pair / PAIRS_PER_PAGE));
    const i = pair % PAIRS_PER_PAGE;
    const frame = page.frames[i] as number;
    const key = frameKey(this.block, SECTION.postings, frame);
    let bytes = this.cache.get(key) as Uint8Array | undefined;
    if (bytes === undefined) {
      bytes = this.file.read(SECTION.postings, frame);
      this.cache.put(key, bytes, bytes.length);
    }
    const start = page.offsets[i] as number;
    return this.guard(SECTION.postings, frame, () => {
      cursor.reset(bytes, start, start + (page.sizes[i] as number));
      return readPostings(this.seriesCount);
    });
  }

  /** Name of a pair: names are few, their ranges ascend. */
  nameOf(pair: number): string {
    return (this.names[this.nameIndexOf(pair)] as NameEntry).name;
  }

  nameIndexOf(pair: number): number {
    let low = 0;
    let high = this.names.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if ((this.names[middle] as NameEntry).from <= pair) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  labels(series: number): Labels {
    const page = this.labelPage(Math.floor(series / SERIES_PER_PAGE));
    const i = series % SERIES_PER_PAGE;
    const out: string[] = [];
    for (let k = page.starts[i] as number; k < (page.starts[i + 1] as number); k++) {
      const pair = page.pairs[k] as number;
      out.push(this.nameOf(pair), this.value(pair));
    }
    return out;
  }

  /** Copies the hash of a series to out[at, at + 4). */
  hash(series: number, out: Uint32Array, at: number): void {
    const page = this.hashPage(Math.floor(series / HASHES_PER_PAGE));
    const from = (series % HASHES_PER_PAGE) * 4;
    for (let w = 0; w < 4; w++) out[at + w] = page[from + w] as number;
  }

  private hashPage(frame: number): Uint32Array {
    return this.page(SECTION.hashes, frame, bytes => {
      const due = Math.min(HASHES_PER_PAGE, this.seriesCount - frame * HASHES_PER_PAGE) * 16;
      if (bytes.length !== due) throw new CorruptChunkError(`${bytes.length} bytes of hashes, ${due} are due`, 0);
      const words = new Uint32Array(bytes.slice().buffer);
      return { page: words, size: bytes.length };
    });
  }

  labelPage(frame: number): LabelPage {
    return this.page(SECTION.labels, frame, () => {
      const n = Math.min(SERIES_PER_PAGE, this.seriesCount - frame * SERIES_PER_PAGE);
      const starts = new Uint32Array(n + 1);
      const pairs: number[] = [];
      const previous: number[] = [];
      for (let i = 0; i < n; i++) {
        const count = cursor.bounded(LABELS_MAX, 'number of labels');
        for (let k = 0; k < count; k++) {
          const pair = (previous[k] ?? 0) + cursor.signed();
          if (!(pair >= 0 && pair < this.pairCount)) {
            throw new CorruptChunkError(`label pair ${pair} of ${this.pairCount}`, cursor.at);
          }
          previous[k] = pair;
          pairs.push(pair);
        }
        starts[i + 1] = pairs.length;
      }
      const page: LabelPage = { starts, pairs: Uint32Array.from(pairs) };
      return { page, size: starts.byteLength + page.pairs.byteLength };
    });
  }

  chunkPage(frame: number): ChunkPage {
    return this.page(SECTION.chunks, frame, () => {
      const due = Math.min(SERIES_PER_PAGE, this.seriesCount - frame * SERIES_PER_PAGE);
      const page = readChunkPage(due);
      return { page, size: page.starts.byteLength + page.kinds.length * 31 };
    });
  }

  private pairPage(frame: number): PairPage {
    return this.page(SECTION.pairs, frame, bytes => {
      const n = Math.min(PAIRS_PER_PAGE, this.pairCount - frame * PAIRS_PER_PAGE);
      const page = readPairPage(n);
      return { page, size: bytes.length + n * 60 };
    });
  }

  /** A decoded page, from the cache or the file. `build` runs with the cursor on its raw bytes, all of which it must read. */
  private page<T extends object>(
    section: Section,
    frame: number,
    build: (bytes: Uint8Array) => { page: T; size: number },
  ): T {
    const key = frameKey(this.block, section, frame);
    const cached = this.cache.get(key);
    // Only `build` of the same section has put it there.
    if (cached !== undefined) return cached as T;
    const { page, size } = this.decode(section, frame, build);
    this.cache.put(key, page, size);
    return page;
  }

  private decode<T>(section: Section, frame: number, build: (bytes: Uint8Array) => T): T {
    const bytes = this.file.read(section, frame);
    return this.guard(section, frame, () => {
      cursor.reset(bytes, 0, bytes.length);
      const result = build(bytes);
      if (section !== SECTION.hashes && cursor.at !== bytes.length) {
        throw new CorruptChunkError(`${bytes.length - cursor.at} bytes too many`, cursor.at);
      }
      return result;
    });
  }

  private guard<T>(section: Section, frame: number, run: () => T): T {
    try {
      return run();
    } catch (error) {
      if (!(error instanceof CorruptChunkError)) throw error;
      const at = this.file.offset(section, frame);
      throw new CorruptBlockError(
        this.file.path,
        SECTION_NAMES[section] as string,
        at,
        `frame ${frame}: ${error.message}`,
      );
    }
  }
}

function text(length: number): string {
  const at = cursor.take(length);
  return decoder.decode(cursor.bytes.subarray(at, at + length));
}

function readPairPage(n: number): PairPage {
  const page: PairPage = {
    values: [],
    frames: new Uint32Array(n),
    offsets: new Uint32Array(n),
    sizes: new Uint32Array(n),
  };
  let frame = cursor.varint();
  let offset = cursor.varint();
  let value = new Uint8Array(0);
  for (let i = 0; i < n; i++) {
    const shared = cursor.bounded(value.length, 'shared prefix');
    const rest = cursor.bounded(FRAME_BYTES_MAX, 'length of a value');
    const at = cursor.take(rest);
    const next = new Uint8Array(shared + rest);
    next.set(value.subarray(0, shared));
    next.set(cursor.bytes.subarray(at, at + rest), shared);
    value = next;
    page.values.push(decoder.decode(value));
    const place = cursor.bounded(2 * FRAME_BYTES_MAX + 1, 'size of postings');
    const size = place >>> 1;
    if ((place & 1) === 1 && i > 0) {
      frame++;
      offset = 0;
    }
    page.frames[i] = frame;
    page.offsets[i] = offset;
    page.sizes[i] = size;
    offset += size;
  }
  return page;
}

function readPostings(seriesCount: number): Uint32Array {
  const mode = cursor.bounded(1, 'postings mode');
  const count = cursor.bounded(seriesCount, 'number of postings');
  const out = new Uint32Array(count);
  let next = 0;
  for (let i = 0; i < count; ) {
    next += cursor.varint();
    let run = 1;
    if (mode === 1) run += cursor.bounded(count - i - 1, 'length of a run');
    if (next + run > seriesCount) throw new CorruptChunkError(`series ${next + run - 1} of ${seriesCount}`, cursor.at);
    for (let k = 0; k < run; k++) out[i++] = next++;
  }
  return out;
}

const CHUNKS_PER_PAGE_MAX = 1 << 22;

function readChunkPage(due: number): ChunkPage {
  const n = cursor.bounded(SERIES_PER_PAGE, 'number of series');
  if (n !== due) throw new CorruptChunkError(`${n} series, ${due} are due`, cursor.at);
  const base = cursor.signed();
  const starts = new Uint32Array(n + 1);
  for (let i = 0; i < n; i++) {
    starts[i + 1] =
      (starts[i] as number) + cursor.bounded(CHUNKS_PER_PAGE_MAX - (starts[i] as number), 'number of chunks');
  }
  const chunks = starts[n] as number;
  // Each takes at least four bytes from here on: no large arrays for a count that cannot be.
  if (chunks * 4 > cursor.end - cursor.at) throw new CorruptChunkError(`${chunks} chunks do not fit`, cursor.at);
  const page: ChunkPage = {
    starts,
    kinds: new Uint8Array(chunks),
    rows: new Uint16Array(chunks),
    minT: new Float64Array(chunks),
    maxT: new Float64Array(chunks),
    frames: new Uint32Array(chunks),
    offsets: new Uint32Array(chunks),
    sizes: new Uint32Array(chunks),
  };
  for (let c = 0; c < chunks; c++) {
    const word = cursor.bounded(MAX_CHUNK_ROWS * 4 + 2, 'rows and kind');
    page.kinds[c] = word & 3;
    page.rows[c] = word >>> 2;
    if ((word & 3) === 3 || word < 4)
      throw new CorruptChunkError(`chunk of kind ${word & 3} with ${word >>> 2} rows`, cursor.at);
  }
  readTimesOfPage(page, n, base);
  readPlaces(page, chunks);
  return page;
}

function readTimesOfPage(page: ChunkPage, n: number, base: number): void {
  const gapsAt = cursor.at;
  // Durations stand behind the gaps, but a gap is counted from the end of the chunk before: gaps are skipped first.
  const chunks = page.kinds.length;
  for (let c = 0; c < chunks; c++) cursor.signed();
  for (let c = 0; c < chunks; c++) page.maxT[c] = cursor.varint();
  const end = cursor.at;
  cursor.at = gapsAt;
  for (let i = 0; i < n; i++) {
    let previous = base;
    for (let c = page.starts[i] as number; c < (page.starts[i + 1] as number); c++) {
      const minT = previous + cursor.signed();
      previous = minT + (page.maxT[c] as number);
      page.minT[c] = minT;
      page.maxT[c] = previous;
    }
  }
  cursor.at = end;
}

function readPlaces(page: ChunkPage, chunks: number): void {
  const jumps: number[] = [];
  for (let c = 0; c < chunks; c++) {
    const word = cursor.bounded(2 * FRAME_BYTES_MAX + 1, 'size of a chunk');
    page.sizes[c] = word >>> 1;
    if ((word & 1) === 1) jumps.push(c);
  }
  let next = 0;
  let frame = 0;
  let offset = 0;
  for (let c = 0; c < chunks; c++) {
    if (jumps[next] === c) {
      frame += cursor.bounded(2 ** 27, 'data frame');
      offset = cursor.bounded(FRAME_BYTES_MAX, 'offset of a chunk');
      next++;
    } else if (c === 0) throw new CorruptChunkError('the first chunk has no place', cursor.at);
    page.frames[c] = frame;
    page.offsets[c] = offset;
    offset += page.sizes[c] as number;
  }
}
