/**
 * TenantExemplars: one tenant's exemplars as an index in memory; the exemplars themselves stay in the segment files.
 *
 * Rows stand in a ring in order of arrival; a full ring overwrites the oldest. Each row links to the row of its series
 * before it, so that a series' rows are walked newest first. 36 bytes a row, plus the labels of the series that have any.
 */
import { decodeLabels, getLabel, type Labels, METRIC_NAME } from '../../../model/labels.ts';
import type { CompiledMatcher } from '../part.ts';

/** Rows of a series looked at when an exemplar comes that may be there already (HA pairs, retries). */
const DUPLICATE_LOOKBACK = 16;
/** Sequence number of no row. */
const NO_ROW = -1;

/** A series that has, or had, exemplars. */
export interface ExemplarSeriesEntry {
  /** Canonical labels. */
  labels: Uint8Array;
  hash: Uint32Array;
  /** Sequence number of its newest row. */
  lastRow: number;
  /** Newest minute since the epoch of which a row was kept. */
  keptMinute: number;
  /** The segment in which it was defined last, and its number there. */
  segment: number;
  ref: number;
}

export interface RowPosition {
  segment: number;
  offset: number;
  length: number;
  /** CRC-32 of the body. */
  check: number;
}

export class TenantExemplars {
  private maxRows: number;
  /** Of the rate limit: what may come at once, and when that was reckoned. */
  private tokens = 0;
  private tokensAtMs = Number.NEGATIVE_INFINITY;
  private capacity = 64;
  private times = new Float64Array(this.capacity);
  private previous = new Float64Array(this.capacity);
  private segments = new Uint32Array(this.capacity);
  private offsets = new Uint32Array(this.capacity);
  private lengths = new Uint32Array(this.capacity);
  private checks = new Uint32Array(this.capacity);
  /** Sequence numbers of the oldest row and of the next. */
  private first = 0;
  private next = 0;
  private readonly byHash = new Map<string, ExemplarSeriesEntry>();
  private readonly byMetric = new Map<string, Set<ExemplarSeriesEntry>>();
  private seriesAtLastSweep = 0;

  constructor(maxRows: number) {
    this.maxRows = maxRows;
  }

  get rowCount(): number {
    return this.next - this.first;
  }

  get seriesCount(): number {
    return this.byHash.size;
  }

  /** The oldest segment that a row is in; Infinity where there is none. */
  get oldestSegment(): number {
    return this.rowCount === 0 ? Number.POSITIVE_INFINITY : (this.segments[this.first % this.capacity] as number);
  }

  /** The series of this hash (four words), made from its labels where it is new. */
  series(hash: Uint32Array, hashAt: number, labels: () => Uint8Array): ExemplarSeriesEntry {
    const key = `${hash[hashAt]},${hash[hashAt + 1]},${hash[hashAt + 2]},${hash[hashAt + 3]}`;
    const known = this.byHash.get(key);
    if (known !== undefined) return known;
    const entry: ExemplarSeriesEntry = {
      labels: labels(),
      hash: hash.slice(hashAt, hashAt + 4),
      lastRow: NO_ROW,
      keptMinute: -1,
      segment: 0,
      ref: 0,
    };
    this.byHash.set(key, entry);
    const metric = getLabel(decodeLabels(entry.labels), METRIC_NAME);
    const sameMetric = this.byMetric.get(metric);
    if (sameMetric === undefined) this.byMetric.set(metric, new Set([entry]));
    else sameMetric.add(entry);
    return entry;
  }

  /** Whether an equal exemplar is among the newest rows of the series. */
  has(series: ExemplarSeriesEntry, timestampMs: number, check: number): boolean {
    let row = series.lastRow;
    for (let n = 0; n < DUPLICATE_LOOKBACK && row >= this.first; n++) {
      const i = row % this.capacity;
      if (this.times[i] === timestampMs && this.checks[i] === check) return true;
      row = this.previous[i] as number;
    }
    return false;
  }

  add(series: ExemplarSeriesEntry, timestampMs: number, at: RowPosition): void {
    if (this.rowCount === this.capacity) {
      if (this.capacity < this.maxRows) this.grow();
      else this.first++;
    }
    const i = this.next % this.capacity;
    this.times[i] = timestampMs;
    this.previous[i] = series.lastRow;
    this.segments[i] = at.segment;
    this.offsets[i] = at.offset;
    this.lengths[i] = at.length;
    this.checks[i] = at.check;
    series.lastRow = this.next++;
    series.keptMinute = Math.max(series.keptMinute, Math.floor(timestampMs / 60_000));
    if (this.seriesCount > 2 * this.seriesAtLastSweep + 1024) this.sweep();
  }

  /** Keeps so many rows from now on; where there are more, the oldest go. */
  limitRows(rows: number): void {
    if (rows === this.maxRows) return;
    this.maxRows = rows;
    if (this.capacity <= rows) return;
    if (this.rowCount > rows) this.dropOldest(this.rowCount - rows);
    this.resize(Math.max(1, rows));
  }

  /** Whether one more may come now, at so many per second; as many may come at once. */
  takeOne(perSecond: number, nowMs: number): boolean {
    const grown = this.tokens + (Math.max(0, nowMs - this.tokensAtMs) / 1000) * perSecond;
    this.tokens = Math.min(perSecond, grown);
    this.tokensAtMs = nowMs;
    if (this.tokens < 1) return false;
    this.tokens--;
    return true;
  }

  /** Lets the oldest rows go: all from the front that are older than `beforeMs`. */
  expire(beforeMs: number): void {
    while (this.first < this.next && (this.times[this.first % this.capacity] as number) < beforeMs) this.first++;
    this.sweep();
  }

  dropOldest(rows: number): void {
    this.first = Math.min(this.next, this.first + rows);
    this.sweep();
  }

  /** Series that match any of the sets (all where there is none) and may have rows. */
  match(matcherSets: readonly (readonly CompiledMatcher[])[]): { labels: Labels; entry: ExemplarSeriesEntry }[] {
    const found = new Map<ExemplarSeriesEntry, Labels>();
    const sets = matcherSets.length === 0 ? [[]] : matcherSets;
    for (const matchers of sets) {
      for (const entry of this.candidates(matchers)) {
        if (entry.lastRow < this.first || found.has(entry)) continue;
        const labels = decodeLabels(entry.labels);
        if (matchers.every(m => m.matches(getLabel(labels, m.name)))) found.set(entry, labels);
      }
    }
    return [...found].map(([entry, labels]) => ({ entry, labels }));
  }

  /** Positions of a series' rows in [minT, maxT], newest arrival first. */
  *rows(series: ExemplarSeriesEntry, minT: number, maxT: number): Generator<RowPosition> {
    for (let row = series.lastRow; row >= this.first; ) {
      const i = row % this.capacity;
      const t = this.times[i] as number;
      if (t >= minT && t <= maxT) {
        yield {
          segment: this.segments[i] as number,
          offset: this.offsets[i] as number,
          length: this.lengths[i] as number,
          check: this.checks[i] as number,
        };
      }
      row = this.previous[i] as number;
    }
  }

  private *candidates(matchers: readonly CompiledMatcher[]): Generator<ExemplarSeriesEntry> {
    const named = matchers.find(m => m.name === METRIC_NAME && m.set !== null);
    if (named === undefined || named.set === null) {
      yield* this.byHash.values();
      return;
    }
    for (const metric of named.set) {
      const series = this.byMetric.get(metric);
      if (series !== undefined) yield* series;
    }
  }

  /** Forgets series whose rows are all gone. */
  private sweep(): void {
    for (const [key, entry] of this.byHash) {
      // One that has just been made has no row yet.
      if (entry.lastRow === NO_ROW || entry.lastRow >= this.first) continue;
      this.byHash.delete(key);
      const metric = getLabel(decodeLabels(entry.labels), METRIC_NAME);
      const sameMetric = this.byMetric.get(metric);
      sameMetric?.delete(entry);
      if (sameMetric?.size === 0) this.byMetric.delete(metric);
    }
    this.seriesAtLastSweep = this.seriesCount;
  }

  private grow(): void {
    this.resize(Math.min(this.maxRows, this.capacity * 2));
  }

  /** @param capacity at least `rowCount` */
  private resize(capacity: number): void {
    const { times, previous, segments, offsets, lengths, checks } = this;
    this.times = new Float64Array(capacity);
    this.previous = new Float64Array(capacity);
    this.segments = new Uint32Array(capacity);
    this.offsets = new Uint32Array(capacity);
    this.lengths = new Uint32Array(capacity);
    this.checks = new Uint32Array(capacity);
    for (let row = this.first; row < this.next; row++) {
      const from = row % this.capacity;
      const to = row % capacity;
      this.times[to] = times[from] as number;
      this.previous[to] = previous[from] as number;
      this.segments[to] = segments[from] as number;
      this.offsets[to] = offsets[from] as number;
      this.lengths[to] = lengths[from] as number;
      this.checks[to] = checks[from] as number;
    }
    this.capacity = capacity;
  }
}
