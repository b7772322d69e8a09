/**
 * ExpositionReader: an exposition into a BatchBuilder, for scrapes and for text import.
 *
 * It owns what lies between lines and series: bucket and quantile labels in Prometheus' normal form (`le="1"` and
 * `le="1.0"` are one series), metadata by family, `_created` lines of OpenMetrics as start timestamps, exemplars, and the
 * series cache. It decides nothing about bad lines: `onError` says whether to go on, without it the first one throws.
 */
import { formatFloatG } from '../../lib/go-float.ts';
import type { BatchBuilder } from '../batch-builder.ts';
import { LabelSet } from '../label-set.ts';
import { parseFloatBytes } from './float.ts';
import {
  ENTRY_END,
  ENTRY_HELP,
  ENTRY_SERIES,
  ENTRY_TYPE,
  ENTRY_UNIT,
  ExpositionError,
  ExpositionParser,
} from './parser.ts';
import type { SeriesCache } from './series-cache.ts';
import { type ExpositionFormat, readExemplarLabels, readSeries, TextError } from './series-text.ts';
import { StartTimes } from './start-times.ts';

export interface ReadOptions {
  /** Time of samples that carry none, and of all if `honorTimestamps` is false. ms. */
  timestampMs: number;
  honorTimestamps: boolean;
  /**
   * Completes the labels of a series met for the first time: target labels, relabelling. Returning false drops the
   * series. What it leaves must have unique names and a metric name. Its result is cached by the series' text.
   */
  finishLabels: ((labels: LabelSet) => boolean) | null;
  /**
   * Whether `finishLabels` sees exposed labels with empty values (a target may say so that a label shall not be put on its
   * series). It then judges doubled names itself; afterwards the empty ones are dropped in any case.
   */
  keepEmptyLabels?: boolean;
  /** Whether `_created` lines become start timestamps of their family instead of samples (OpenMetrics only). */
  createdAsStart: boolean;
  /** Whether TYPE, HELP and UNIT lines are handed on as metadata. */
  metadata: boolean;
  /** true: leave that line out and go on; false or absent: throw. */
  onError?: (error: ExpositionError) => boolean;
}

export interface ReadCounts {
  /** Samples in the text, and of those the ones put into the batch. */
  scraped: number;
  added: number;
  /** Series seen for the first time. */
  newSeries: number;
  /** Lines left out by `onError`. */
  badLines: number;
  /** Samples before 1970, left out; with `onError` they count as bad lines. */
  badTimes: number;
}

const MAX_EXEMPLAR_LABEL_CHARS = 128;
/** The label that tells the series of one classic histogram or summary apart. */
const FLOAT_LABELS = { histogram: 'le', summary: 'quantile' } as const;

export class ExpositionReader {
  private readonly parser: ExpositionParser;
  private readonly cache: SeriesCache | null;
  private readonly labels = new LabelSet();
  private readonly exemplarLabels = new LabelSet();
  private readonly scratch = new Float64Array(1);
  private starts: StartTimes | null = null;
  private family = '';
  private familyType = '';
  private help = '';
  private unit = '';
  private hasMetadata = false;
  /** Entry of the series added last, so that a run of its samples shares one row; -1 for none. */
  private lastEntry = -1;

  constructor(format: ExpositionFormat, cache: SeriesCache | null) {
    this.parser = new ExpositionParser(format);
    this.cache = cache;
  }

  /** Reads a whole exposition. The caller has called `begin` on the cache and `reset` on the builder. */
  read(bytes: Uint8Array, builder: BatchBuilder, options: ReadOptions): ReadCounts {
    this.starts = null;
    if (options.createdAsStart && this.parser.format === 'openmetrics') this.starts = StartTimes.collect(bytes);
    const counts = newCounts();
    this.beginFamily('');
    this.lastEntry = -1;
    this.parser.reset(bytes);
    this.readEntries(builder, options, counts, Number.POSITIVE_INFINITY);
    this.endFamily(builder, options);
    return counts;
  }

  /**
   * Reads part of a text: whole lines in bytes[start, end), the first of which has number `line`. Stops early once the
   * builder holds `maxSamples`. Returns where it stopped; `line` of the result is the number of the next line.
   */
  readPart(
    bytes: Uint8Array,
    start: number,
    end: number,
    line: number,
    builder: BatchBuilder,
    options: ReadOptions,
    counts: ReadCounts,
    maxSamples: number,
  ): { at: number; line: number } {
    this.parser.reset(bytes, start, end, line);
    this.readEntries(builder, options, counts, maxSamples);
    return this.parser.position();
  }

  /** Before the first part, and whenever the builder has been reset: its last row is no more. */
  forgetRow(): void {
    this.lastEntry = -1;
  }

  /** Hands on the metadata of the last family of a text read in parts. */
  endFamily(builder: BatchBuilder, options: ReadOptions): void {
    if (this.hasMetadata && options.metadata) {
      builder.addMetadata({
        metric: this.family,
        type: this.familyType === '' ? 'unknown' : this.familyType,
        help: this.help,
        unit: this.unit,
      });
    }
    this.hasMetadata = false;
  }

  private readEntries(builder: BatchBuilder, options: ReadOptions, counts: ReadCounts, maxSamples: number): void {
    const parser = this.parser;
    while (builder.sampleCount < maxSamples) {
      try {
        const kind = parser.next();
        if (kind === ENTRY_SERIES) this.addSample(builder, options, counts);
        else if (kind === ENTRY_END) return;
        else if (kind === ENTRY_TYPE || kind === ENTRY_HELP || kind === ENTRY_UNIT) {
          if (parser.metric !== this.family) {
            this.endFamily(builder, options);
            this.beginFamily(parser.metric);
          }
          this.hasMetadata = true;
          if (kind === ENTRY_TYPE) this.familyType = parser.text;
          else if (kind === ENTRY_HELP) this.help = parser.text;
          else this.unit = parser.text;
        }
      } catch (thrown) {
        const error = thrown instanceof TextError ? parser.positioned(thrown) : thrown;
        if (!(error instanceof ExpositionError) || options.onError === undefined || !options.onError(error))
          throw error;
        counts.badLines++;
        if (!parser.skipLine()) return;
      }
    }
  }

  private beginFamily(name: string): void {
    this.family = name;
    this.familyType = '';
    this.help = '';
    this.unit = '';
    this.hasMetadata = false;
  }

  private addSample(builder: BatchBuilder, options: ReadOptions, counts: ReadCounts): void {
    const parser = this.parser;
    let startMs = 0;
    if (this.starts?.appliesTo(this.familyType)) {
      if (this.starts.isCreatedLine(parser, this.family)) return;
      startMs = this.starts.find(this.family, this.familyType);
    }
    const time = options.honorTimestamps && parser.hasTimestamp ? parser.timestampMs : options.timestampMs;
    counts.scraped++;
    if (time < 0) {
      if (options.onError !== undefined)
        throw new TextError(`the timestamp ${time} ms lies before 1970`, parser.seriesEnd);
      counts.badTimes++;
      return;
    }
    if (!this.addSeries(builder, options, counts)) return;
    builder.addSample(time, parser.values[0] as number, startMs);
    counts.added++;
    if (parser.hasExemplar) this.addExemplar(builder, time);
  }

  /** Puts the current series into the batch; false if it is dropped. */
  private addSeries(builder: BatchBuilder, options: ReadOptions, counts: ReadCounts): boolean {
    const { bytes, seriesStart, seriesEnd } = this.parser;
    const cache = this.cache;
    if (cache === null) {
      counts.newSeries++;
      if (!this.readLabels(options)) return false;
      builder.addSeriesSet(this.labels);
      return true;
    }
    const known = cache.find(bytes, seriesStart, seriesEnd);
    if (known >= 0) {
      cache.touch(known);
      if (cache.isDropped(known)) return false;
      if (known === this.lastEntry) return true;
      this.lastEntry = known;
      const { labelBytes, hashes } = cache;
      builder.addSeriesHashed(
        labelBytes,
        cache.labelStart(known),
        cache.labelEnd(known),
        hashes,
        cache.hashOffset(known),
      );
      return true;
    }
    counts.newSeries++;
    if (!this.readLabels(options)) {
      cache.touch(cache.addDropped());
      return false;
    }
    const row = builder.addSeriesSet(this.labels);
    const entry = builder.copyRowTo(cache, row);
    cache.touch(entry);
    this.lastEntry = entry;
    return true;
  }

  private readLabels(options: ReadOptions): boolean {
    const { bytes, seriesStart, seriesEnd, format } = this.parser;
    const set = this.labels;
    readSeries(bytes, seriesStart, seriesEnd, format, set);
    this.normalise(set);
    // Before the hook, which cannot be blamed for what the target sent.
    const seesAll = options.finishLabels !== null && options.keepEmptyLabels === true;
    if (!seesAll) this.checkUnique(set, seriesStart);
    if (options.finishLabels === null) return true;
    if (!options.finishLabels(set)) return false;
    this.checkUnique(set, seriesStart);
    return true;
  }

  private checkUnique(set: LabelSet, at: number): void {
    const duplicate = set.sort();
    if (duplicate >= 0) throw new TextError(`label ${JSON.stringify(set.nameText(duplicate))} is given twice`, at);
  }

  /** le of classic histograms and quantile of summaries as OpenMetrics writes floats. */
  private normalise(set: LabelSet): void {
    const label = FLOAT_LABELS[this.familyType as keyof typeof FLOAT_LABELS];
    if (label === undefined) return;
    if (!set.valueOf('__name__').startsWith(this.family)) return;
    for (let i = 0; i < set.count; i++) {
      if (set.nameText(i) !== label) continue;
      const [, , start, end] = set.offsets(i);
      if (!parseFloatBytes(set.bytes, start, end, this.scratch)) return;
      set.setValue(i, openMetricsFloat(this.scratch[0] as number));
      return;
    }
  }

  private addExemplar(builder: BatchBuilder, sampleTime: number): void {
    const parser = this.parser;
    const set = this.exemplarLabels;
    readExemplarLabels(parser.bytes, parser.exemplarStart, parser.exemplarEnd, set);
    this.checkUnique(set, parser.exemplarStart);
    // Longer ones are not exemplars by the standard; the sample itself is sound.
    if (set.textChars() > MAX_EXEMPLAR_LABEL_CHARS) return;
    const time = parser.exemplarHasTimestamp ? parser.exemplarTimestampMs : sampleTime;
    builder.addExemplar(time, parser.values[1] as number, set.toFlat());
  }
}

export function newCounts(): ReadCounts {
  return { scraped: 0, added: 0, newSeries: 0, badLines: 0, badTimes: 0 };
}

/** As OpenMetrics writes bucket bounds: always with a point or an exponent. */
export function openMetricsFloat(v: number): string {
  const text = formatFloatG(v);
  return /^-?\d+$/.test(text) ? `${text}.0` : text;
}
