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
import { ClassicSeries } from './classic-series.ts';
import { parseFloatBytes } from './float.ts';
import { type HistogramOptions, limited } from './histogram-options.ts';
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
import { ROW_PLACED, ROW_UNKNOWN, SeriesRows } from './series-rows.ts';
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
  /** Absent: every line is a series of its own. */
  histograms?: HistogramOptions;
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

export const MAX_EXEMPLAR_LABEL_CHARS = 128;
/** The label that tells the series of one classic histogram or summary apart. */
const FLOAT_LABELS = { histogram: 'le', summary: 'quantile' } as const;

export class ExpositionReader {
  private readonly parser: ExpositionParser;
  private readonly rows: SeriesRows;
  private readonly labels = new LabelSet();
  private readonly exemplarLabels = new LabelSet();
  private readonly scratch = new Float64Array(1);
  private starts: StartTimes | null = null;
  private family = '';
  private familyType = '';
  private help = '';
  private unit = '';
  private hasMetadata = false;
  private classic: ClassicSeries | null = null;

  constructor(format: ExpositionFormat, cache: SeriesCache | null) {
    this.parser = new ExpositionParser(format);
    this.rows = new SeriesRows(cache);
    cache?.keepTextsForMatch();
    this.parser.known = cache;
  }

  /** Reads a whole exposition. The caller has called `begin` on the cache and `reset` on the builder. */
  read(bytes: Uint8Array, builder: BatchBuilder, options: ReadOptions): ReadCounts {
    this.starts = null;
    if (options.createdAsStart && this.parser.format === 'openmetrics') this.starts = StartTimes.collect(bytes);
    const counts = newCounts();
    this.beginFamily('');
    this.rows.begin(builder);
    this.parser.reset(bytes);
    this.readEntries(builder, options, counts, Number.POSITIVE_INFINITY);
    this.finish(builder, options, counts);
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
  begin(builder: BatchBuilder): void {
    this.rows.begin(builder);
  }

  /** After the last part: hands on what was still being put together. */
  finish(builder: BatchBuilder, options: ReadOptions, counts: ReadCounts): void {
    this.endClassic(builder, options, counts);
    this.endFamily(builder, options);
  }

  private endFamily(builder: BatchBuilder, options: ReadOptions): void {
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
            this.endClassic(builder, options, counts);
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
    if (options.histograms?.convertClassic === true && this.familyType === 'histogram') {
      this.classic ??= new ClassicSeries();
      const taken = this.classic.take(parser, this.family, time, () => this.endClassic(builder, options, counts));
      if (taken && !options.histograms.keepClassic) return;
    }
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
    const state = this.rows.place(builder, bytes, seriesStart, seriesEnd);
    if (state !== ROW_UNKNOWN) return state === ROW_PLACED;
    counts.newSeries++;
    const wanted = this.readLabels(options);
    this.rows.addNew(builder, wanted ? this.labels : null);
    return wanted;
  }

  /** Stores the native histogram made of the classic series before this line, if there is one. */
  private endClassic(builder: BatchBuilder, options: ReadOptions, counts: ReadCounts): void {
    const group = this.classic?.finish() ?? null;
    if (group === null || group.histogram === null || options.histograms === undefined) return;
    counts.scraped++;
    if (group.timestampMs < 0) {
      counts.badTimes++;
      return;
    }
    const histogram = limited(group.histogram, options.histograms);
    if (histogram === null) throw bucketLimitError(this.family, options.histograms, this.parser.seriesStart);
    let state = this.rows.placeKey(builder, group.key);
    if (state === ROW_UNKNOWN) {
      counts.newSeries++;
      const wanted = options.finishLabels === null || options.finishLabels(group.labels);
      if (wanted) checkUnique(group.labels, this.parser.seriesStart);
      this.rows.addNew(builder, wanted ? group.labels : null);
      if (wanted) state = ROW_PLACED;
    }
    if (state !== ROW_PLACED) return;
    builder.addHistogram(group.timestampMs, histogram);
    counts.added++;
  }

  private readLabels(options: ReadOptions): boolean {
    const { bytes, seriesStart, seriesEnd, format } = this.parser;
    const set = this.labels;
    readSeries(bytes, seriesStart, seriesEnd, format, set);
    this.normalise(set);
    // Before the hook, which cannot be blamed for what the target sent.
    const seesAll = options.finishLabels !== null && options.keepEmptyLabels === true;
    if (!seesAll) checkUnique(set, seriesStart);
    if (options.finishLabels === null) return true;
    if (!options.finishLabels(set)) return false;
    checkUnique(set, seriesStart);
    return true;
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
    checkUnique(set, parser.exemplarStart);
    // Longer ones are not exemplars by the standard; the sample itself is sound.
    if (set.textChars() > MAX_EXEMPLAR_LABEL_CHARS) return;
    const time = parser.exemplarHasTimestamp ? parser.exemplarTimestampMs : sampleTime;
    builder.addExemplar(time, parser.values[1] as number, set.toFlat());
  }
}

/** Sorts the set. */
export function checkUnique(set: LabelSet, at: number): void {
  const duplicate = set.sort();
  if (duplicate >= 0) throw new TextError(`label ${JSON.stringify(set.nameText(duplicate))} is given twice`, at);
}

export function bucketLimitError(metric: string, options: HistogramOptions, at: number): TextError {
  const limit = `native_histogram_bucket_limit exceeded: ${metric} has more than ${options.bucketsMax} buckets`;
  return new TextError(`${limit} at every resolution`, at);
}

export function newCounts(): ReadCounts {
  return { scraped: 0, added: 0, newSeries: 0, badLines: 0, badTimes: 0 };
}

/** As OpenMetrics writes bucket bounds: always with a point or an exponent. */
export function openMetricsFloat(v: number): string {
  const text = formatFloatG(v);
  return /^-?\d+$/.test(text) ? `${text}.0` : text;
}
