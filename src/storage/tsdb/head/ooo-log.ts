/**
 * OooLog: samples that came late, or a second time with another value, in order of arrival.
 *
 * Columns in pages of 16,384 rows; a row also holds the distance to the previous row of its series, so that a series is
 * read along its own chain. Rows are numbered for ever (over restarts, the WAL stores the number): a flush takes the rows below
 * a mark and `drop` forgets them. Late histograms are rows too; their encoded bytes stand in a side table.
 */
import type { HistogramRow } from '../wal/records.ts';

const PAGE_ROWS = 1 << 14;
/** `row & PAGE_MASK` is right for row numbers beyond 32 bits too: the low bits survive the conversion. */
const PAGE_MASK = PAGE_ROWS - 1;
/** Series looked at in one step of forgetting. */
const PER_STEP = 500;
/** Stands in rows that belong to no series; their time is -1. */
export const NO_REF = 0xffffffff;

class OooPage {
  readonly refs = new Uint32Array(PAGE_ROWS);
  readonly timestamps = new Float64Array(PAGE_ROWS);
  readonly values = new Float64Array(PAGE_ROWS);
  /** Rows back to the previous row of the series, 0 = none. */
  readonly back = new Uint32Array(PAGE_ROWS);
  starts: Float64Array | null = null;
  /** Bounds of its rows that belong to a series. */
  minT = Infinity;
  maxT = -1;
}

/** The rows of one series, gathered for a reader; reused. */
export class OooRows {
  n = 0;
  rows = new Float64Array(64);
  timestamps = new Float64Array(64);

  push(row: number, t: number): void {
    if (this.n === this.rows.length) {
      const rows = new Float64Array(this.n * 2);
      rows.set(this.rows);
      this.rows = rows;
      const timestamps = new Float64Array(this.n * 2);
      timestamps.set(this.timestamps);
      this.timestamps = timestamps;
    }
    this.rows[this.n] = row;
    this.timestamps[this.n++] = t;
  }
}

export class OooLog {
  /** Rows [first, end) exist. */
  first = 0;
  end = 0;
  private readonly pages = new Map<number, OooPage>();
  /** Newest row by series. */
  private readonly heads = new Map<number, number>();
  private readonly histograms = new Map<number, Uint8Array>();
  private histogramBytes = 0;
  /** Where rows of a WAL segment start: (row, segment) ascending. */
  private segments: { row: number; segment: number }[] = [];

  /** Sets the first row number, before any row (replay). */
  startAt(row: number): void {
    this.first = row;
    this.end = row;
  }

  append(ref: number, t: number, start: number, segment: number): OooPage {
    const row = this.end++;
    let page = this.pages.get(Math.floor(row / PAGE_ROWS));
    if (page === undefined) {
      page = new OooPage();
      this.pages.set(Math.floor(row / PAGE_ROWS), page);
    }
    const at = row & PAGE_MASK;
    page.refs[at] = ref;
    page.timestamps[at] = t;
    if (ref !== NO_REF) {
      if (t < page.minT) page.minT = t;
      if (t > page.maxT) page.maxT = t;
      const previous = this.heads.get(ref);
      page.back[at] = previous === undefined ? 0 : row - previous;
      this.heads.set(ref, row);
    }
    if (start !== 0) page.starts ??= new Float64Array(PAGE_ROWS);
    if (page.starts !== null) page.starts[at] = start;
    const last = this.segments[this.segments.length - 1];
    if (last === undefined || last.segment !== segment) this.segments.push({ row, segment });
    return page;
  }

  /** Adds row i of a stage or batch column. Values go from typed array to typed array: NaN payloads survive. */
  appendFloat(ref: number, t: number, values: Float64Array, i: number, start: number, segment: number): void {
    const at = this.end & PAGE_MASK;
    this.append(ref, t, start, segment).values[at] = values[i] as number;
  }

  appendHistogram(row: HistogramRow, segment: number): void {
    const number = this.end;
    this.append(row.ref, row.timestampMs, row.startMs, segment).values[number & PAGE_MASK] = 0;
    this.histograms.set(number, row.bytes.slice());
    this.histogramBytes += row.bytes.length;
  }

  /** Uses up a row number (replay: the row is lost or its series gone). */
  appendNothing(segment: number): void {
    this.append(NO_REF, -1, 0, segment);
  }

  /** Gathers the rows of a series in [minT, maxT] and [first, end), in any order. */
  collect(ref: number, minT: number, maxT: number, first: number, end: number, into: OooRows): void {
    into.n = 0;
    let row = this.heads.get(ref);
    while (row !== undefined && row >= first && row >= this.first) {
      const page = this.pages.get(Math.floor(row / PAGE_ROWS)) as OooPage;
      const at = row & PAGE_MASK;
      const t = page.timestamps[at] as number;
      if (row < end && t >= minT && t <= maxT) into.push(row, t);
      const back = page.back[at] as number;
      if (back === 0) return;
      row -= back;
    }
  }

  refAt(row: number): number {
    return (this.pages.get(Math.floor(row / PAGE_ROWS)) as OooPage).refs[row & PAGE_MASK] as number;
  }

  timestampAt(row: number): number {
    return (this.pages.get(Math.floor(row / PAGE_ROWS)) as OooPage).timestamps[row & PAGE_MASK] as number;
  }

  startAtRow(row: number): number {
    const { starts } = this.pages.get(Math.floor(row / PAGE_ROWS)) as OooPage;
    return starts === null ? 0 : (starts[row & PAGE_MASK] as number);
  }

  /** Copies the value of a row to out[at]. */
  copyValue(row: number, out: Float64Array, at: number): void {
    out[at] = (this.pages.get(Math.floor(row / PAGE_ROWS)) as OooPage).values[row & PAGE_MASK] as number;
  }

  /** The encoded histogram of a row; undefined where the row is a float. */
  histogramAt(row: number): Uint8Array | undefined {
    return this.histograms.size === 0 ? undefined : this.histograms.get(row);
  }

  has(ref: number): boolean {
    return this.heads.has(ref);
  }

  /** Series that have rows. */
  refs(): IterableIterator<number> {
    return this.heads.keys();
  }

  /** Forgets the rows below `mark`, step by step; tells each series that has none left. */
  *drop(mark: number, onEmpty: (ref: number) => void): Generator<void, void, void> {
    if (mark <= this.first) return;
    this.first = Math.min(mark, this.end);
    let seen = 0;
    for (const [ref, row] of this.heads) {
      if (++seen % PER_STEP === 0) yield;
      if (row >= this.first) continue;
      this.heads.delete(ref);
      onEmpty(ref);
    }
    for (const number of this.pages.keys()) {
      if ((number + 1) * PAGE_ROWS <= this.first) this.pages.delete(number);
    }
    for (const [row, bytes] of this.histograms) {
      if (++seen % PER_STEP === 0) yield;
      if (row >= this.first) break;
      this.histograms.delete(row);
      this.histogramBytes -= bytes.length;
    }
    while (this.segments.length > 1 && (this.segments[1] as { row: number }).row <= this.first) this.segments.shift();
    if (this.first === this.end) this.segments = [];
  }

  /** WAL segment of the oldest row; 0xffffffff where there is none. */
  get firstSegment(): number {
    return this.segments[0]?.segment ?? 0xffffffff;
  }

  get length(): number {
    return this.end - this.first;
  }

  bounds(): { minT: number; maxT: number } {
    let minT = Infinity;
    let maxT = -1;
    // Of the page of the first row only the rows that are left; of the others what has been noted.
    const behind = Math.min(this.end, (Math.floor(this.first / PAGE_ROWS) + 1) * PAGE_ROWS);
    for (let row = this.first; row < behind; row++) {
      const t = this.timestampAt(row);
      if (t < 0) continue;
      if (t < minT) minT = t;
      if (t > maxT) maxT = t;
    }
    for (const [number, page] of this.pages) {
      if (number * PAGE_ROWS < behind) continue;
      if (page.minT < minT) minT = page.minT;
      if (page.maxT > maxT) maxT = page.maxT;
    }
    return { minT, maxT };
  }

  get bytes(): number {
    let total = this.histogramBytes + this.heads.size * 48 + this.histograms.size * 200;
    for (const page of this.pages.values()) total += PAGE_ROWS * (page.starts === null ? 24 : 32);
    return total;
  }
}
