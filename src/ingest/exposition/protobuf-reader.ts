/**
 * ProtobufExpositionReader: the binary exposition (io.prometheus.client.MetricFamily messages, each behind its length) into a
 * BatchBuilder. The same interface as the text reader's: read in parts, with the series cache between.
 *
 * A series is known to the cache by what tells it from the others in its family: family name, which part of the metric it is (`_sum`,
 * a bucket's bound, ...) and the bytes of its labels. So a steady scrape decodes numbers and skips over labels.
 */
import { ProtobufError, ProtobufReader } from '../../lib/protobuf.ts';
import type { BatchBuilder } from '../batch-builder.ts';
import { LabelSet } from '../label-set.ts';
import { histogramProblem } from '../remote-write/histogram.ts';
import { ClassicHistogram } from './classic-histogram.ts';
import { CLASSIC_ONLY, limited } from './histogram-options.ts';
import { type ClientExemplar, readExemplar, readLabelPair, readText, readTimestamp } from './protobuf-exemplar.ts';
import { type ClientHistogram, readClientHistogram } from './protobuf-histogram.ts';
import type { SeriesCache } from './series-cache.ts';
import { ROW_DROPPED, ROW_UNKNOWN, SeriesRows } from './series-rows.ts';
import { TextError } from './series-text.ts';
import {
  bucketLimitError,
  checkUnique,
  MAX_EXEMPLAR_LABEL_CHARS,
  openMetricsFloat,
  type ReadCounts,
  type ReadOptions,
} from './to-batch.ts';

const TYPES = ['counter', 'gauge', 'summary', 'unknown', 'histogram', 'gaugehistogram'] as const;
const COUNTER = 0;
const SUMMARY = 2;
const HISTOGRAM = 4;
const GAUGE_HISTOGRAM = 5;
/** In metrics: the field that holds a metric of this type. */
const FIELD_OF_TYPE = [3, 2, 4, 5, 7, 7];
const QUANTILES_MAX = 10_000;

interface Family {
  name: string;
  help: string;
  type: number;
  unit: string;
}

export class ProtobufExpositionReader {
  private readonly rows: SeriesRows;
  private readonly labels = new LabelSet();
  private readonly exemplarLabels = new LabelSet();
  private readonly classic = new ClassicHistogram();
  private reader = new ProtobufReader(new Uint8Array(0));
  private family: Family | null = null;
  /** Where the family being read ends. */
  private familyEnd = 0;
  private messages = 0;

  // The metric being read.
  private readonly pairs: string[] = [];
  /** Key of the metric: family name and label bytes; parts of it add their own tail. */
  private key = new Uint8Array(512);
  private keyLength = 0;
  private familyKeyLength = 0;
  private labelsRead = false;
  private labelSpans: number[] = [];
  private timeMs = 0;

  constructor(cache: SeriesCache | null) {
    this.rows = new SeriesRows(cache);
  }

  /** As ExpositionReader's; `line` counts messages. */
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
    if (this.reader.bytes !== bytes) {
      this.reader = new ProtobufReader(bytes, start, end);
      this.family = null;
    }
    const r = this.reader;
    this.messages = line;
    r.reset(start, end);
    try {
      // The last round finds the end of the last family, and with it its metadata.
      while (builder.sampleCount + builder.histogramCount < maxSamples) {
        if (this.family !== null && r.at >= this.familyEnd) this.endFamily(builder, options);
        if (r.at >= end) break;
        if (this.family === null) this.beginFamily(r, end);
        this.readMetrics(r, builder, options, counts, maxSamples);
        r.end = end;
      }
    } catch (error) {
      if (error instanceof ProtobufError)
        throw new Error(`message ${this.messages}, ${error.message} (byte ${error.offset})`);
      if (error instanceof TextError) throw new Error(`message ${this.messages}: ${error.message}`);
      throw error;
    }
    return { at: r.at, line: this.messages };
  }

  begin(builder: BatchBuilder): void {
    this.rows.begin(builder);
  }

  finish(builder: BatchBuilder, options: ReadOptions, _counts: ReadCounts): void {
    if (this.family !== null) this.endFamily(builder, options);
    this.reader = new ProtobufReader(new Uint8Array(0));
  }

  /** Reads the length and, wherever they stand in it, the family's own fields; leaves the reader at its first byte. */
  private beginFamily(r: ProtobufReader, end: number): void {
    const length = delimiter(r, end);
    const start = r.at;
    this.familyEnd = start + length;
    r.reset(start, this.familyEnd);
    const family: Family = { name: '', help: '', type: COUNTER, unit: '' };
    while (r.more()) {
      switch (r.field()) {
        case 1:
          family.name = readText(r);
          break;
        case 2:
          family.help = readText(r);
          break;
        case 3:
          family.type = r.unsigned();
          break;
        case 5:
          family.unit = readText(r);
          break;
        default:
          r.skip();
      }
    }
    if (family.name === '') throw r.error('a metric family has no name', start);
    if (TYPES[family.type] === undefined)
      throw r.error(`metric family ${family.name} has the unknown type ${family.type}`, start);
    this.family = family;
    this.keyLength = 0;
    this.pushKey(Buffer.from(`${family.type}\0${family.name}\0`));
    this.familyKeyLength = this.keyLength;
    r.reset(start, end);
  }

  private endFamily(builder: BatchBuilder, options: ReadOptions): void {
    const { name: metric, help, type, unit } = this.family as Family;
    if (options.metadata) builder.addMetadata({ metric, type: TYPES[type] as string, help, unit });
    this.family = null;
    this.messages++;
  }

  private readMetrics(
    r: ProtobufReader,
    builder: BatchBuilder,
    options: ReadOptions,
    counts: ReadCounts,
    maxSamples: number,
  ): void {
    r.end = this.familyEnd;
    while (r.more()) {
      if (builder.sampleCount + builder.histogramCount >= maxSamples) return;
      if (r.field() !== 4) {
        r.skip();
        continue;
      }
      const outer = r.enter();
      const start = r.at;
      this.readMetricHead(r, options);
      r.at = start;
      this.readMetricValue(r, builder, options, counts);
      r.leave(outer);
    }
  }

  /** Labels (their bytes only) and timestamp, which may stand before or behind the value. */
  private readMetricHead(r: ProtobufReader, options: ReadOptions): void {
    this.keyLength = this.familyKeyLength;
    this.labelSpans.length = 0;
    this.labelsRead = false;
    this.timeMs = options.timestampMs;
    while (r.more()) {
      const at = r.at;
      const field = r.field();
      if (field === 1) {
        const start = r.span();
        this.labelSpans.push(at, r.at);
        this.pushKey(r.bytes.subarray(start, r.at), r.at - start);
      } else if (field === 6) {
        const given = r.signed();
        if (options.honorTimestamps && given !== 0) this.timeMs = given;
      } else r.skip();
    }
  }

  private readMetricValue(r: ProtobufReader, builder: BatchBuilder, options: ReadOptions, counts: ReadCounts): void {
    const family = this.family as Family;
    const wanted = FIELD_OF_TYPE[family.type] as number;
    const end = r.end;
    while (r.more()) {
      if (r.field() !== wanted) {
        r.skip();
        continue;
      }
      const outer = r.enter();
      if (family.type === SUMMARY) this.readSummary(r, builder, options, counts);
      else if (family.type === HISTOGRAM || family.type === GAUGE_HISTOGRAM) {
        const histogram = readClientHistogram(r, family.type === GAUGE_HISTOGRAM);
        this.addHistogram(r, histogram, builder, options, counts);
      } else this.readSimple(r, family.type, builder, options, counts);
      r.leave(outer);
      r.at = end;
      return;
    }
    throw r.error(`a metric of family ${family.name} has no value of its type`);
  }

  private readSimple(
    r: ProtobufReader,
    type: number,
    builder: BatchBuilder,
    options: ReadOptions,
    counts: ReadCounts,
  ): void {
    let value = 0;
    let startMs = 0;
    let exemplar: ClientExemplar | null = null;
    while (r.more()) {
      const field = r.field();
      if (field === 1) value = r.double();
      else if (type === COUNTER && field === 2) exemplar = readExemplar(r);
      else if (type === COUNTER && field === 3) startMs = readTimestamp(r);
      else r.skip();
    }
    this.addFloat(r, '', '', '', value, startMs, builder, options, counts);
    if (exemplar !== null) this.addExemplar(exemplar, builder);
  }

  private readSummary(r: ProtobufReader, builder: BatchBuilder, options: ReadOptions, counts: ReadCounts): void {
    let count = 0;
    let sum = 0;
    let startMs = 0;
    const quantiles: number[] = [];
    while (r.more()) {
      switch (r.field()) {
        case 1:
          count = r.unsigned();
          break;
        case 2:
          sum = r.double();
          break;
        case 3:
          if (quantiles.length >= 2 * QUANTILES_MAX) throw r.error(`more than ${QUANTILES_MAX} quantiles in a summary`);
          readQuantile(r, quantiles);
          break;
        case 4:
          startMs = readTimestamp(r);
          break;
        default:
          r.skip();
      }
    }
    this.addFloat(r, '_count', '', '', count, startMs, builder, options, counts);
    this.addFloat(r, '_sum', '', '', sum, startMs, builder, options, counts);
    for (let i = 0; i < quantiles.length; i += 2) {
      const quantile = openMetricsFloat(quantiles[i] as number);
      this.addFloat(r, '', 'quantile', quantile, quantiles[i + 1] as number, startMs, builder, options, counts);
    }
  }

  private addHistogram(
    r: ProtobufReader,
    h: ClientHistogram,
    builder: BatchBuilder,
    options: ReadOptions,
    counts: ReadCounts,
  ): void {
    const wish = options.histograms ?? CLASSIC_ONLY;
    const family = this.family as Family;
    let native = wish.native ? h.native : null;
    if (native !== null) {
      const problem = histogramProblem(native);
      if (problem !== '') throw r.error(`histogram ${family.name}: ${problem}`);
    } else if (wish.convertClassic && h.native === null && h.buckets.length > 0) {
      native = this.convert(h, family.type === GAUGE_HISTOGRAM);
    }
    if (native !== null) {
      const fitting = limited(native, wish);
      if (fitting === null) throw bucketLimitError(family.name, wish, r.at);
      if (this.addRow(r, '', '', '', 'H', builder, options, counts)) {
        builder.addHistogram(this.timeMs, fitting, h.startMs);
        counts.added++;
        const own = h.exemplars.length > 0 ? h.exemplars : h.buckets.map(bucket => bucket.exemplar);
        // Without a time of its own, an exemplar would be a new one in every scrape.
        for (const exemplar of own)
          if (exemplar !== null && exemplar.timestampMs > 0) this.addExemplar(exemplar, builder);
      }
    }
    if (native === null || (wish.keepClassic && h.buckets.length > 0)) this.addClassic(r, h, builder, options, counts);
  }

  private convert(h: ClientHistogram, gauge: boolean): ReturnType<ClassicHistogram['toNative']> {
    this.classic.reset();
    for (const { upper, cumulative } of h.buckets) this.classic.addBucket(upper, cumulative);
    this.classic.setCount(h.count);
    this.classic.setSum(h.sum);
    return this.classic.toNative(gauge);
  }

  private addClassic(
    r: ProtobufReader,
    h: ClientHistogram,
    builder: BatchBuilder,
    options: ReadOptions,
    counts: ReadCounts,
  ): void {
    this.addFloat(r, '_count', '', '', h.count, h.startMs, builder, options, counts);
    this.addFloat(r, '_sum', '', '', h.sum, h.startMs, builder, options, counts);
    let closed = false;
    for (const { upper, cumulative, exemplar } of h.buckets) {
      if (upper === Number.POSITIVE_INFINITY) closed = true;
      const le = openMetricsFloat(upper);
      const added = this.addFloat(r, '_bucket', 'le', le, cumulative, h.startMs, builder, options, counts);
      if (added && exemplar !== null) this.addExemplar(exemplar, builder);
    }
    if (!closed) this.addFloat(r, '_bucket', 'le', '+Inf', h.count, h.startMs, builder, options, counts);
  }

  private addFloat(
    r: ProtobufReader,
    suffix: string,
    label: string,
    labelValue: string,
    value: number,
    startMs: number,
    builder: BatchBuilder,
    options: ReadOptions,
    counts: ReadCounts,
  ): boolean {
    if (!this.addRow(r, suffix, label, labelValue, 'F', builder, options, counts)) return false;
    builder.addSample(this.timeMs, value, startMs);
    counts.added++;
    return true;
  }

  /** Places the series `name + suffix` with the metric's labels and one more; false where it is dropped. */
  private addRow(
    r: ProtobufReader,
    suffix: string,
    label: string,
    labelValue: string,
    kind: string,
    builder: BatchBuilder,
    options: ReadOptions,
    counts: ReadCounts,
  ): boolean {
    counts.scraped++;
    if (this.timeMs < 0) {
      counts.badTimes++;
      return false;
    }
    const whole = this.keyLength;
    this.pushKey(Buffer.from(`${kind}${suffix}\0${labelValue}`));
    const state = this.rows.place(builder, this.key, 0, this.keyLength);
    this.keyLength = whole;
    if (state === ROW_DROPPED) return false;
    if (state !== ROW_UNKNOWN) return true;
    counts.newSeries++;
    const wanted = this.completeLabels(r, suffix, label, labelValue, options);
    this.rows.addNew(builder, wanted ? this.labels : null);
    return wanted;
  }

  private completeLabels(
    r: ProtobufReader,
    suffix: string,
    label: string,
    labelValue: string,
    options: ReadOptions,
  ): boolean {
    this.readLabels(r);
    const set = this.labels;
    set.clear();
    set.addStrings('__name__', (this.family as Family).name + suffix);
    for (let i = 0; i < this.pairs.length; i += 2) {
      const name = this.pairs[i] as string;
      if (name === '') throw r.error(`a label of ${(this.family as Family).name} has no name`);
      set.addStrings(name, this.pairs[i + 1] as string);
    }
    if (label !== '') set.addStrings(label, labelValue);
    if (set.tooLarge) throw r.error('the series has too many or too long labels');
    const seesAll = options.finishLabels !== null && options.keepEmptyLabels === true;
    if (!seesAll) checkUnique(set, r.at);
    if (options.finishLabels === null) return true;
    if (!options.finishLabels(set)) return false;
    checkUnique(set, r.at);
    return true;
  }

  private readLabels(r: ProtobufReader): void {
    if (this.labelsRead) return;
    this.labelsRead = true;
    this.pairs.length = 0;
    const { at, end } = r;
    for (let i = 0; i < this.labelSpans.length; i += 2) {
      r.reset(this.labelSpans[i] as number, this.labelSpans[i + 1] as number);
      r.field();
      readLabelPair(r, this.pairs);
    }
    r.reset(at, end);
  }

  private addExemplar(exemplar: ClientExemplar, builder: BatchBuilder): void {
    const set = this.exemplarLabels;
    set.clear();
    for (let i = 0; i < exemplar.labels.length; i += 2) {
      set.addStrings(exemplar.labels[i] as string, exemplar.labels[i + 1] as string);
    }
    if (set.tooLarge || set.textChars() > MAX_EXEMPLAR_LABEL_CHARS) return;
    checkUnique(set, 0);
    builder.addExemplar(exemplar.timestampMs > 0 ? exemplar.timestampMs : this.timeMs, exemplar.value, set.toFlat());
  }

  /** Adds bytes to the key, behind their length where one is given, so that no two lists of parts look alike. */
  private pushKey(bytes: Uint8Array, length = -1): void {
    const need = this.keyLength + bytes.length + 4;
    if (need > this.key.length) {
      const grown = new Uint8Array(need * 2);
      grown.set(this.key.subarray(0, this.keyLength));
      this.key = grown;
    }
    if (length >= 0) {
      for (let shift = 0; shift < 32; shift += 8) this.key[this.keyLength++] = (length >>> shift) & 0xff;
    }
    this.key.set(bytes, this.keyLength);
    this.keyLength += bytes.length;
  }
}

/** The varint before a message. */
function delimiter(r: ProtobufReader, end: number): number {
  let length = 0;
  let scale = 1;
  for (let i = 0; i < 8; i++) {
    if (r.at >= end) throw r.error('the exposition ends within a length');
    const b = r.bytes[r.at++] as number;
    length += (b & 0x7f) * scale;
    scale *= 128;
    if (b >= 0x80) continue;
    if (length > end - r.at) throw r.error('a message is longer than the exposition');
    return length;
  }
  throw r.error('the length of a message is too long');
}

function readQuantile(r: ProtobufReader, into: number[]): void {
  const outer = r.enter();
  let quantile = 0;
  let value = 0;
  while (r.more()) {
    const field = r.field();
    if (field === 1) quantile = r.double();
    else if (field === 2) value = r.double();
    else r.skip();
  }
  r.leave(outer);
  into.push(quantile, value);
}
