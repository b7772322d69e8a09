/**
 * IndexFile: the `index` of a Prometheus block (format versions 1 and 2), for reading all of it once: the symbols are held in
 * memory as they stand in the file, series are found by walking their section, and read again by their place. The
 * postings are not needed.
 *
 * Every series entry has a checksum; one that is broken is skipped by looking for the next place where an entry with a right
 * checksum begins.
 */
import { crc32c } from '../../lib/crc32c.ts';
import { ByteReader, CorruptPrometheusError } from './byte-reader.ts';
import { FileWindow } from './file-window.ts';

const MAGIC = 0xbaaad700;
const HEADER_BYTES = 5;
const TOC_BYTES = 6 * 8 + 4;
const WINDOW_BYTES = 64 * 1024;
/** Bounds far above what a block has. */
const SYMBOL_BYTES_MAX = 0x7fff0000;
const ENTRY_BYTES_MAX = 64 << 20;
const LABELS_MAX = 4096;
const CHUNKS_MAX = 1 << 22;
/** Series entries begin at multiples of this, in version 2. */
const ALIGNMENT = 16;
const NAMES_CACHED = 4096;

/** One series, reused from call to call. */
export class IndexSeries {
  /** Flat [name, value, ...], as stored: sorted. */
  labels: string[] = [];
  chunkCount = 0;
  minT: number[] = [];
  maxT: number[] = [];
  /** Segment number x 2^32 + offset. */
  refs: number[] = [];
}

export class IndexFile {
  readonly version: number;
  private readonly file: FileWindow;
  private readonly reader = new ByteReader();
  private readonly seriesStart: number;
  private readonly seriesEnd: number;
  private symbols: Uint8Array = new Uint8Array(0);
  /** Where `symbols[0]` lies in the file. */
  private symbolsBase = 0;
  /** Version 2 counts symbols; version 1 names their place in the file. */
  private symbolAt: Uint32Array = new Uint32Array(0);
  private readonly names = new Map<number, string>();
  private readonly text = new TextDecoder();

  /** Throws CorruptPrometheusError where header, contents or symbols are broken: nothing can be read then. */
  constructor(path: string) {
    this.file = new FileWindow(path, WINDOW_BYTES);
    try {
      const head = this.read(0, HEADER_BYTES, 'the header');
      if (head.be32() !== MAGIC) throw new CorruptPrometheusError(path, 0, 'this is not a Prometheus index');
      this.version = head.u8();
      if (this.version !== 1 && this.version !== 2) {
        throw new CorruptPrometheusError(path, 4, `index version ${this.version}; versions 1 and 2 are read`);
      }
      const toc = this.readContents();
      this.readSymbols(toc.symbols);
      this.seriesStart = toc.series;
      this.seriesEnd = toc.seriesEnd;
    } catch (error) {
      this.file.close();
      throw error;
    }
  }

  get path(): string {
    return this.file.path;
  }

  /**
   * The places of all series, in order. A broken entry is told to `damaged` and passed over.
   * @param damaged throw in it to give up.
   */
  *seriesOffsets(damaged: (error: CorruptPrometheusError) => void): Generator<number, void, void> {
    const step = this.version === 1 ? 1 : ALIGNMENT;
    let at = this.align(this.seriesStart);
    let lost = false;
    while (at < this.seriesEnd) {
      let next: number;
      try {
        next = this.entryEnd(at);
      } catch (error) {
        if (!(error instanceof CorruptPrometheusError)) throw error;
        if (!lost) damaged(error);
        lost = true;
        at += step;
        continue;
      }
      // Padding between sections.
      if (next === at) at += step;
      else {
        lost = false;
        yield at;
        at = this.align(next);
      }
    }
  }

  private align(at: number): number {
    return this.version === 1 ? at : Math.ceil(at / ALIGNMENT) * ALIGNMENT;
  }

  /** What tombstones and postings call the series at this place. */
  seriesId(offset: number): number {
    return this.version === 1 ? offset : offset / ALIGNMENT;
  }

  /** Where the entry at `at` ends; `at` itself where there is none. Checks the checksum. */
  private entryEnd(at: number): number {
    const r = this.openEntry(at);
    return r === null ? at : r.base + r.end + 4;
  }

  /** The entry's contents, checked; null for padding. */
  private openEntry(at: number): ByteReader | null {
    const { file } = this;
    const head = file.load(at, 10);
    const r = this.reader.reset(file.bytes, at - file.base, at - file.base + head, file.path, file.base);
    const length = r.uvarint();
    if (length === 0) return null;
    const start = file.base + r.at;
    if (length > ENTRY_BYTES_MAX || start + length + 4 > this.seriesEnd) {
      throw new CorruptPrometheusError(file.path, at, `a series entry of ${length} bytes does not fit`);
    }
    file.need(start, length + 4, 'a series entry');
    const from = start - file.base;
    r.reset(file.bytes, from + length, from + length + 4, file.path, file.base);
    const noted = r.be32();
    if (crc32c(file.bytes, from, from + length) !== noted) {
      throw new CorruptPrometheusError(file.path, at, 'the checksum of a series entry is not the one noted');
    }
    return r.reset(file.bytes, from, from + length, file.path, file.base);
  }

  /** Reads the series at a place that `seriesOffsets` gave. */
  series(offset: number, into: IndexSeries): void {
    const r = this.openEntry(offset);
    if (r === null) throw new CorruptPrometheusError(this.file.path, offset, 'no series entry begins here');
    const labels = r.count('labels', 2, LABELS_MAX);
    into.labels.length = 0;
    for (let i = 0; i < labels; i++) {
      into.labels.push(this.name(r, r.uvarint()), this.symbol(r, r.uvarint()));
    }
    const chunks = r.count('chunks', 3, CHUNKS_MAX);
    into.chunkCount = chunks;
    let t = 0;
    let ref = 0;
    for (let c = 0; c < chunks; c++) {
      t = c === 0 ? r.varint() : t + r.uvarint();
      into.minT[c] = t;
      t += r.uvarint();
      into.maxT[c] = t;
      ref = c === 0 ? r.uvarint() : ref + r.varint();
      into.refs[c] = ref;
      if (!Number.isSafeInteger(t) || !Number.isSafeInteger(ref) || ref < 0) {
        throw r.bad(`chunk ${c} ends at time ${t} and has the reference ${ref}`);
      }
    }
    if (r.more()) throw r.bad(`${r.end - r.at} bytes are left of a series entry`);
  }

  close(): void {
    this.file.close();
  }

  private name(r: ByteReader, ref: number): string {
    const known = this.names.get(ref);
    if (known !== undefined) return known;
    const name = this.symbol(r, ref);
    if (this.names.size < NAMES_CACHED) this.names.set(ref, name);
    return name;
  }

  private symbol(r: ByteReader, ref: number): string {
    const { symbols } = this;
    let at: number;
    if (this.version === 1) at = ref - this.symbolsBase;
    else at = ref < this.symbolAt.length ? (this.symbolAt[ref] as number) : -1;
    if (!(at >= 0) || at >= symbols.length) throw r.bad(`there is no symbol ${ref}`);
    let length = 0;
    let shift = 1;
    for (;;) {
      const b = symbols[at++];
      if (b === undefined) throw r.bad(`symbol ${ref} is cut off`);
      length += (b & 0x7f) * shift;
      if (b < 0x80) break;
      shift *= 128;
    }
    if (length > symbols.length - at) throw r.bad(`symbol ${ref} is cut off`);
    return this.text.decode(symbols.subarray(at, at + length));
  }

  private read(offset: number, length: number, what: string): ByteReader {
    const { file } = this;
    file.need(offset, length, what);
    const from = offset - file.base;
    return this.reader.reset(file.bytes, from, from + length, file.path, file.base);
  }

  private readContents(): { symbols: number; series: number; seriesEnd: number } {
    const { file } = this;
    const at = file.size - TOC_BYTES;
    if (at < HEADER_BYTES) throw new CorruptPrometheusError(file.path, 0, `${file.size} bytes are too few`);
    const r = this.read(at, TOC_BYTES, 'the table of contents');
    const crc = crc32c(file.bytes, at - file.base, at - file.base + TOC_BYTES - 4);
    const refs: number[] = [];
    for (let i = 0; i < 6; i++) refs.push(r.exactBe64('a section offset'));
    if (r.be32() !== crc) {
      throw new CorruptPrometheusError(file.path, at, 'the checksum of the table of contents is not the one noted');
    }
    const [symbols = 0, series = 0] = refs;
    if (symbols === 0 || series === 0) throw new CorruptPrometheusError(file.path, at, 'symbols or series are missing');
    for (const ref of refs) {
      if (ref < 0 || ref > at) throw new CorruptPrometheusError(file.path, at, `a section begins at ${ref}`);
    }
    // Sections that newer versions leave out have no place.
    const seriesEnd = Math.min(at, ...refs.filter(ref => ref > series));
    return { symbols, series, seriesEnd };
  }

  private readSymbols(offset: number): void {
    const { file } = this;
    const head = this.read(offset, 8, 'the symbol table');
    const length = head.be32();
    const count = head.be32();
    if (length < 4 || length > SYMBOL_BYTES_MAX || length + 8 > file.size - offset || count > length) {
      throw new CorruptPrometheusError(file.path, offset, `${count} symbols in ${length} bytes do not fit`);
    }
    file.need(offset + 4, length + 4, 'the symbol table');
    const from = offset + 4 - file.base;
    const r = this.reader.reset(file.bytes, from + length, from + length + 4, file.path, file.base);
    if (crc32c(file.bytes, from, from + length) !== r.be32()) {
      throw new CorruptPrometheusError(file.path, offset, 'the checksum of the symbol table is not the one noted');
    }
    this.symbols = file.bytes.slice(from + 4, from + length);
    this.symbolsBase = offset + 8;
    // The window goes back to its usual size.
    file.bytes = new Uint8Array(WINDOW_BYTES);
    file.forget();
    if (this.version === 2) this.symbolAt = this.placesOfSymbols(count);
  }

  private placesOfSymbols(count: number): Uint32Array {
    const places = new Uint32Array(count);
    const r = new ByteReader().reset(this.symbols, 0, this.symbols.length, this.file.path, this.symbolsBase);
    for (let i = 0; i < count; i++) {
      places[i] = r.at;
      const length = r.uvarint();
      if (length > r.end - r.at) throw r.bad(`symbol ${i} of ${count} is cut off`);
      r.at += length;
    }
    return places;
  }
}
