/**
 * BatchBuilder: makes a SampleBatch one series at a time, for producers off the hottest path: scrapes, import, self
 * metrics, rules, remote write 2.0.
 *
 * Usage: `reset(seed)`, then per series one `addSeries*` followed by its `addSample`, `addHistogram`, `addExemplar`;
 * `finish()` gives the batch. Columns grow by doubling and are kept for the next round, so a scrape loop that reuses
 * its builder allocates only the batch object. The batch is valid until the next `reset`.
 */
import { HASH_WORDS, type IdentityHasher, type TenantSeed } from '../lib/identity-hash.ts';
import type { FloatHistogram } from '../model/histogram.ts';
import { decodeLabels, type Labels } from '../model/labels.ts';
import type { ExemplarSample, HistogramSample, MetadataEntry, SampleBatch } from '../model/sample-batch.ts';
import { putStale } from '../model/stale.ts';
import { copyBytes, LabelSet } from './label-set.ts';

/** Caps that no sane producer meets: producers finish a batch at a few thousand series. */
const MAX_SERIES = 1 << 24;
const MAX_SAMPLES = 1 << 26;
const MAX_LABEL_BYTES = 1 << 30;

/** An IdentityHasher, or its bare function. */
export type Hasher = Pick<IdentityHasher, 'hash'>;

/** Something that remembers canonical labels and their hash. */
export interface RowCache {
  add(labels: Uint8Array, start: number, end: number, hashes: Uint32Array, hashAt: number): number;
}

/** Something that holds the labels of a batch's series, so that they need not be copied into it. */
export interface LabelSource {
  readonly labelBytes: Uint8Array;
}

export class BatchBuilder {
  private readonly hasher: Hasher;
  private seed: TenantSeed;
  private readonly labelSet = new LabelSet();
  private labelBytes = new Uint8Array(16 * 1024);
  private labelUsed = 0;
  private labelSource: LabelSource | null = null;
  private labelStart = new Uint32Array(256);
  private labelEnd = new Uint32Array(256);
  private hashes = new Uint32Array(256 * HASH_WORDS);
  private sampleStart = new Uint32Array(257);
  private timestamps = new Float64Array(256);
  private values = new Float64Array(256);
  private valueWords = new Uint32Array(this.values.buffer);
  private starts = new Float64Array(0);
  private hasStarts = false;
  private histograms: HistogramSample[] = [];
  private exemplars: ExemplarSample[] = [];
  private metadata: MetadataEntry[] = [];
  /** Series and float samples added since `reset`. */
  seriesCount = 0;
  sampleCount = 0;

  /** The seed may be a placeholder if every `reset` gives one. */
  constructor(hasher: Hasher, seed: TenantSeed) {
    this.hasher = hasher;
    this.seed = seed;
  }

  /** Begins a new batch. Arrays of the batch before it are overwritten from here on. */
  reset(seed: TenantSeed = this.seed): void {
    this.seed = seed;
    this.seriesCount = 0;
    this.sampleCount = 0;
    this.labelUsed = 0;
    this.labelSource = null;
    this.hasStarts = false;
    this.histograms = [];
    this.exemplars = [];
    this.metadata = [];
  }

  /** Bytes of labels so far, for callers that flush by size. */
  get labelByteCount(): number {
    return this.labelUsed;
  }

  get histogramCount(): number {
    return this.histograms.length;
  }

  get exemplarCount(): number {
    return this.exemplars.length;
  }

  /** `labels` is sorted and free of duplicates and empty values, as model/labels.ts makes them. */
  addSeries(labels: Labels): number {
    const set = this.labelSet;
    set.clear();
    for (let i = 0; i < labels.length; i += 2) set.addStrings(labels[i] as string, labels[i + 1] as string);
    return this.addSeriesSet(set);
  }

  /** `set` has been sorted and has no duplicates. */
  addSeriesSet(set: LabelSet): number {
    const start = this.roomForLabels(set.encodedSize());
    this.labelUsed = set.encode(this.labelBytes, start);
    // Before the call: making room may replace the column.
    const q = this.roomForSeries() * HASH_WORDS;
    this.hasher.hash(this.seed, this.labelBytes, start, this.labelUsed, this.hashes, q);
    return this.pushSeries(start);
  }

  /** `bytes[start, end)` is canonical. */
  addSeriesEncoded(bytes: Uint8Array, start: number, end: number): number {
    const at = this.roomForLabels(end - start);
    this.labelUsed = copyBytes(bytes, start, end, this.labelBytes, at);
    const q = this.roomForSeries() * HASH_WORDS;
    this.hasher.hash(this.seed, this.labelBytes, at, this.labelUsed, this.hashes, q);
    return this.pushSeries(at);
  }

  /** As above, with the hash known: four words from `hashes[hashAt]` on, made with the same seed. */
  addSeriesHashed(bytes: Uint8Array, start: number, end: number, hashes: Uint32Array, hashAt: number): number {
    const at = this.roomForLabels(end - start);
    this.labelUsed = copyBytes(bytes, start, end, this.labelBytes, at);
    const q = this.roomForSeries() * HASH_WORDS;
    for (let i = 0; i < HASH_WORDS; i++) this.hashes[q + i] = hashes[hashAt + i] as number;
    return this.pushSeries(at);
  }

  /** Up to the next `reset`, all series lie in `source`: they are added by `addSeriesAt`, or brought there by `moveRow`. */
  useLabelsOf(source: LabelSource): void {
    this.labelSource = source;
  }

  /** A series whose canonical labels are the source's [start, end). */
  addSeriesAt(start: number, end: number, hashes: Uint32Array, hashAt: number): number {
    const i = this.roomForSeries();
    const q = i * HASH_WORDS;
    for (let k = 0; k < HASH_WORDS; k++) this.hashes[q + k] = hashes[hashAt + k] as number;
    this.labelStart[i] = start;
    this.labelEnd[i] = end;
    this.sampleStart[i] = this.sampleCount;
    this.seriesCount = i + 1;
    return i;
  }

  /** The labels of the row added last lie in the source now, at [start, end). */
  moveRow(row: number, start: number, end: number): void {
    this.labelUsed = this.labelStart[row] as number;
    this.labelStart[row] = start;
    this.labelEnd[row] = end;
  }

  /**
   * One sample of the series added last. A NaN with a payload may lose it on its way through a number: pass markers by
   * `addStale` and copy columns by `addSampleFrom`.
   */
  addSample(timestampMs: number, value: number, startMs = 0): void {
    const i = this.roomForSample(timestampMs, startMs);
    this.values[i] = value;
  }

  /** As `addSample`, with the value's bits taken from words 2 * index and 2 * index + 1 of `words`. */
  addSampleFrom(timestampMs: number, words: Uint32Array, index: number, startMs = 0): void {
    const i = this.roomForSample(timestampMs, startMs);
    this.valueWords[2 * i] = words[2 * index] as number;
    this.valueWords[2 * i + 1] = words[2 * index + 1] as number;
  }

  /** As above, with the value's low and high words. */
  addSampleBits(timestampMs: number, low: number, high: number, startMs = 0): void {
    const i = this.roomForSample(timestampMs, startMs);
    this.valueWords[2 * i] = low;
    this.valueWords[2 * i + 1] = high;
  }

  addStale(timestampMs: number): void {
    const i = this.roomForSample(timestampMs, 0);
    putStale(this.values, i);
  }

  addHistogram(timestampMs: number, histogram: FloatHistogram, startTimestampMs = 0): void {
    this.histograms.push({ series: this.lastSeries(), timestampMs, startTimestampMs, histogram });
  }

  /** `labels` is flat, [name, value, ...]. */
  addExemplar(timestampMs: number, value: number, labels: readonly string[]): void {
    this.exemplars.push({ series: this.lastSeries(), timestampMs, value, labels });
  }

  addMetadata(entry: MetadataEntry): void {
    this.metadata.push(entry);
  }

  /** Hands the labels and hash of a row to a cache; returns what its `add` returns. */
  copyRowTo(cache: RowCache, row: number): number {
    const start = this.labelStart[row] as number;
    return cache.add(this.labelBytes, start, this.labelEnd[row] as number, this.hashes, row * HASH_WORDS);
  }

  /** The labels of the series added last. */
  lastLabels(): Labels {
    const i = this.lastSeries();
    return decodeLabels(this.labelBytes, this.labelStart[i], this.labelEnd[i]);
  }

  /** The batch; its arrays are this builder's until the next `reset`. */
  finish(): SampleBatch {
    this.sampleStart[this.seriesCount] = this.sampleCount;
    return {
      seriesCount: this.seriesCount,
      labelBytes: this.labelSource?.labelBytes ?? this.labelBytes,
      labelStart: this.labelStart,
      labelEnd: this.labelEnd,
      hashes: this.hashes,
      sampleStart: this.sampleStart,
      timestamps: this.timestamps,
      values: this.values,
      startTimestamps: this.hasStarts ? this.starts : null,
      histograms: this.histograms.length > 0 ? this.histograms : null,
      exemplars: this.exemplars.length > 0 ? this.exemplars : null,
      metadata: this.metadata.length > 0 ? this.metadata : null,
    };
  }

  private lastSeries(): number {
    if (this.seriesCount === 0) throw new Error('BUG: addSeries comes before what belongs to it');
    return this.seriesCount - 1;
  }

  private pushSeries(labelStart: number): number {
    const i = this.seriesCount++;
    this.labelStart[i] = labelStart;
    this.labelEnd[i] = this.labelUsed;
    this.sampleStart[i] = this.sampleCount;
    return i;
  }

  private roomForLabels(more: number): number {
    const need = this.labelUsed + more;
    if (need > this.labelBytes.length) {
      if (need > MAX_LABEL_BYTES)
        throw new RangeError(`a batch would hold more than ${MAX_LABEL_BYTES} bytes of labels`);
      const grown = new Uint8Array(Math.max(need, this.labelBytes.length * 2));
      grown.set(this.labelBytes.subarray(0, this.labelUsed));
      this.labelBytes = grown;
    }
    return this.labelUsed;
  }

  private roomForSeries(): number {
    const i = this.seriesCount;
    if (i === this.labelStart.length) {
      if (i === MAX_SERIES) throw new RangeError(`a batch would hold more than ${MAX_SERIES} series`);
      this.labelStart = growU32(this.labelStart, i * 2);
      this.labelEnd = growU32(this.labelEnd, i * 2);
      this.sampleStart = growU32(this.sampleStart, i * 2 + 1);
      this.hashes = growU32(this.hashes, i * 2 * HASH_WORDS);
    }
    return i;
  }

  private roomForSample(timestampMs: number, startMs: number): number {
    this.lastSeries();
    const i = this.sampleCount++;
    if (i === this.timestamps.length) {
      if (i === MAX_SAMPLES) throw new RangeError(`a batch would hold more than ${MAX_SAMPLES} samples`);
      this.timestamps = growF64(this.timestamps, i * 2);
      this.values = growF64(this.values, i * 2);
      this.valueWords = new Uint32Array(this.values.buffer);
    }
    this.timestamps[i] = timestampMs;
    if (startMs !== 0 || this.hasStarts) this.putStart(i, startMs);
    return i;
  }

  private putStart(i: number, startMs: number): void {
    if (this.starts.length < this.timestamps.length) this.starts = growF64(this.starts, this.timestamps.length);
    // The first known start of a batch: all samples before it have none.
    if (!this.hasStarts) this.starts.fill(0, 0, i);
    this.hasStarts = true;
    this.starts[i] = startMs;
  }
}

function growU32(from: Uint32Array<ArrayBuffer>, length: number): Uint32Array<ArrayBuffer> {
  const grown = new Uint32Array(length);
  grown.set(from);
  return grown;
}

function growF64(from: Float64Array<ArrayBuffer>, length: number): Float64Array<ArrayBuffer> {
  const grown = new Float64Array(length);
  grown.set(from);
  return grown;
}
