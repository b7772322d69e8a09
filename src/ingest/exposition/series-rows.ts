/**
 * SeriesRows: puts the series of an exposition into a batch, with the series cache between: what stood in an earlier scrape
 * becomes a row without its labels being read.
 *
 * With a cache, the batch's labels are those in the cache: nothing is copied (`BatchBuilder.useLabelsOf`, set by `begin`).
 *
 * A series is known by a key of bytes: its text, or what a binary format says in its place. Samples of one series that follow
 * each other share one row.
 */
import type { BatchBuilder } from '../batch-builder.ts';
import type { LabelSet } from '../label-set.ts';
import type { SeriesCache } from './series-cache.ts';

export const ROW_PLACED = 1;
export const ROW_DROPPED = 2;
/** Not met before: read its labels and call `addNew`. */
export const ROW_UNKNOWN = 0;
export type RowState = 0 | 1 | 2;

export class SeriesRows {
  private readonly cache: SeriesCache | null;
  /** Entry of the series placed last; -1 for none. */
  private lastEntry = -1;

  constructor(cache: SeriesCache | null) {
    this.cache = cache;
  }

  /** Whenever the builder has been reset: its last row is no more. */
  begin(builder: BatchBuilder): void {
    this.lastEntry = -1;
    if (this.cache !== null) builder.useLabelsOf(this.cache);
  }

  place(builder: BatchBuilder, bytes: Uint8Array, start: number, end: number): RowState {
    return this.cache === null ? ROW_UNKNOWN : this.placeEntry(builder, this.cache, this.cache.find(bytes, start, end));
  }

  /** As `place`, for a series that is no line of the text. */
  placeKey(builder: BatchBuilder, key: Uint8Array): RowState {
    const { cache } = this;
    return cache === null ? ROW_UNKNOWN : this.placeEntry(builder, cache, cache.findKey(key, 0, key.length));
  }

  private placeEntry(builder: BatchBuilder, cache: SeriesCache, known: number): RowState {
    if (known < 0) return ROW_UNKNOWN;
    cache.touch(known);
    if (cache.isDropped(known)) return ROW_DROPPED;
    if (known === this.lastEntry) return ROW_PLACED;
    this.lastEntry = known;
    builder.addSeriesAt(cache.labelStart(known), cache.labelEnd(known), cache.hashes, cache.hashOffset(known));
    return ROW_PLACED;
  }

  /** The series last looked for, with its finished, sorted labels; null where it is not wanted. */
  addNew(builder: BatchBuilder, labels: LabelSet | null): void {
    const { cache } = this;
    if (labels === null) {
      if (cache !== null) cache.touch(cache.addDropped());
      return;
    }
    const row = builder.addSeriesSet(labels);
    if (cache === null) return;
    const entry = builder.copyRowTo(cache, row);
    builder.moveRow(row, cache.labelStart(entry), cache.labelEnd(entry));
    cache.touch(entry);
    this.lastEntry = entry;
  }
}
