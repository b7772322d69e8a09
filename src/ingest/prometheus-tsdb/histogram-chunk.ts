/**
 * Native histogram chunks of Prometheus: one bucket layout for the whole chunk, then per sample the counts as differences of
 * differences (integers) or XOR-coded (floats). A stale histogram has a marker as its sum and no buckets; it becomes a
 * float marker, as this program keeps it.
 */
import { growSampleBuffer, type SampleBuffer } from '../../contracts/sample-source.ts';
import {
  type CounterResetHint,
  CUSTOM_BUCKETS_SCHEMA,
  type FloatHistogram,
  HINT_COUNTER_RESET,
  HINT_GAUGE,
  HINT_NOT_COUNTER_RESET,
  HINT_UNKNOWN,
} from '../../model/histogram.ts';
import { putStale } from '../../model/stale.ts';
import { BitReader, XorValue } from './bit-reader.ts';

/** Bounds of a chunk: Prometheus aims at 1 KB. */
const SPANS_MAX = 1 << 16;
const BUCKETS_MAX = 1 << 16;
const CELLS_MAX = 1 << 22;
const STALE_HIGH = 0x7ff00000;
const STALE_LOW = 2;

const reader = new BitReader();
const floatView = new DataView(new ArrayBuffer(8));

interface Layout {
  schema: number;
  zeroThreshold: number;
  positiveSpans: number[];
  negativeSpans: number[];
  positive: number;
  negative: number;
  customValues: number[];
  /** Of the first sample. */
  hint: CounterResetHint;
  gauge: boolean;
}

/** Rows of one chunk, given to the buffer when all are there. */
interface Rows {
  timestamps: number[];
  histograms: FloatHistogram[];
  stale: number[];
}

/** Decodes bytes[start, end), which lie at `base + start` of the file. */
export function decodeHistogramChunk(
  bytes: Uint8Array,
  start: number,
  end: number,
  file: string,
  base: number,
  integer: boolean,
  into: SampleBuffer,
): void {
  reader.reset(bytes, start, end, file, base);
  const count = reader.bits(16);
  if (count === 0) return;
  const layout = readLayout();
  if (count * (layout.positive + layout.negative) > CELLS_MAX) {
    throw reader.bad(`${count} histograms of ${layout.positive + layout.negative} buckets in one chunk`);
  }
  const rows: Rows = { timestamps: [], histograms: [], stale: [] };
  if (integer) readIntegers(count, layout, rows);
  else readFloats(count, layout, rows);
  append(rows, into);
}

function readLayout(): Layout {
  const flags = reader.bits(8) >>> 6;
  const zeroThreshold = readZeroThreshold();
  const schema = reader.varbitInt();
  const positiveSpans = readSpans();
  const negativeSpans = readSpans();
  const customValues = schema === CUSTOM_BUCKETS_SCHEMA ? readCustomValues() : [];
  const gauge = flags === 3;
  return {
    schema,
    zeroThreshold,
    positiveSpans,
    negativeSpans,
    positive: covered(positiveSpans),
    negative: covered(negativeSpans),
    customValues,
    // That there was none is known only while the chunk before this one exists.
    hint: gauge ? HINT_GAUGE : flags === 2 ? HINT_COUNTER_RESET : HINT_UNKNOWN,
    gauge,
  };
}

/** 0, a power of two by its exponent in a byte, or 255 and the float itself. */
function readZeroThreshold(): number {
  const code = reader.bits(8);
  if (code === 0) return 0;
  return code === 255 ? readFloat() : 2 ** (code - 244);
}

function readFloat(): number {
  reader.words();
  return toFloat(reader.high, reader.low);
}

function toFloat(high: number, low: number): number {
  floatView.setUint32(0, high);
  floatView.setUint32(4, low);
  return floatView.getFloat64(0);
}

function readSpans(): number[] {
  const count = reader.varbitUint();
  if (count > SPANS_MAX) throw reader.bad(`${count} spans in a histogram`);
  const spans: number[] = [];
  for (let i = 0; i < count; i++) {
    const length = reader.varbitUint();
    spans.push(reader.varbitInt(), length);
  }
  return spans;
}

function covered(spans: readonly number[]): number {
  let buckets = 0;
  for (let i = 1; i < spans.length; i += 2) buckets += spans[i] as number;
  if (buckets > BUCKETS_MAX) throw reader.bad(`${buckets} buckets in a histogram`);
  return buckets;
}

/** Thousandths plus one, or 0 and the float itself. */
function readCustomValues(): number[] {
  const count = reader.varbitUint();
  if (count > BUCKETS_MAX) throw reader.bad(`${count} bounds in a histogram`);
  const values: number[] = [];
  for (let i = 0; i < count; i++) {
    const code = reader.varbitUint();
    values.push(code === 0 ? readFloat() : (code - 1) / 1000);
  }
  return values;
}

/** A number that grows by a delta, which changes itself. */
class Running {
  value = 0;
  private delta = 0;

  /** The `i`th sample: the value, then the delta, then changes of the delta. */
  step(i: number, read: number): void {
    if (i === 0) {
      this.value = read;
      return;
    }
    this.delta = i === 1 ? read : this.delta + read;
    this.value += this.delta;
  }
}

function readIntegers(count: number, layout: Layout, rows: Rows): void {
  const time = new Running();
  const total = new Running();
  const zero = new Running();
  const sum = new XorValue();
  const positive = Array.from({ length: layout.positive }, () => new Running());
  const negative = Array.from({ length: layout.negative }, () => new Running());
  for (let i = 0; i < count; i++) {
    time.step(i, reader.varbitInt());
    total.step(i, i === 0 ? reader.varbitUint() : reader.varbitInt());
    zero.step(i, i === 0 ? reader.varbitUint() : reader.varbitInt());
    if (i === 0) firstValue(sum);
    else reader.xor(sum);
    const stale = isStale(sum);
    if (!stale || i === 0) {
      for (const bucket of positive) bucket.step(i, reader.varbitInt());
      for (const bucket of negative) bucket.step(i, reader.varbitInt());
    }
    if (stale) putMarker(rows, time.value);
    else {
      const counts = [total.value, zero.value, absolute(positive), absolute(negative)] as const;
      putRow(rows, layout, i, time.value, toFloat(sum.high, sum.low), true, ...counts);
    }
  }
}

/** Buckets are coded against the bucket before them. */
function absolute(buckets: readonly Running[]): number[] {
  const counts = new Array<number>(buckets.length);
  let count = 0;
  for (let i = 0; i < buckets.length; i++) {
    count += (buckets[i] as Running).value;
    counts[i] = count;
  }
  return counts;
}

function readFloats(count: number, layout: Layout, rows: Rows): void {
  const time = new Running();
  const total = new XorValue();
  const zero = new XorValue();
  const sum = new XorValue();
  const positive = Array.from({ length: layout.positive }, () => new XorValue());
  const negative = Array.from({ length: layout.negative }, () => new XorValue());
  for (let i = 0; i < count; i++) {
    const next = (value: XorValue): void => (i === 0 ? firstValue(value) : reader.xor(value));
    time.step(i, reader.varbitInt());
    next(total);
    next(zero);
    next(sum);
    const stale = isStale(sum);
    if (!stale || i === 0) {
      for (const bucket of positive) next(bucket);
      for (const bucket of negative) next(bucket);
    }
    if (stale) putMarker(rows, time.value);
    else {
      const floats = (values: readonly XorValue[]): number[] => values.map(v => toFloat(v.high, v.low));
      const counts = [
        toFloat(total.high, total.low),
        toFloat(zero.high, zero.low),
        floats(positive),
        floats(negative),
      ] as const;
      putRow(rows, layout, i, time.value, toFloat(sum.high, sum.low), false, ...counts);
    }
  }
}

function firstValue(value: XorValue): void {
  reader.words();
  value.high = reader.high;
  value.low = reader.low;
}

function isStale(value: XorValue): boolean {
  return value.high === STALE_HIGH && value.low === STALE_LOW;
}

function checkTime(rows: Rows, t: number): void {
  const before = Math.max(rows.timestamps.at(-1) ?? -Infinity, rows.stale.at(-1) ?? -Infinity);
  if (!(t > before) || !Number.isSafeInteger(t)) throw reader.bad(`time ${t} does not follow ${before}`);
}

function putMarker(rows: Rows, t: number): void {
  checkTime(rows, t);
  rows.stale.push(t);
}

function putRow(
  rows: Rows,
  layout: Layout,
  i: number,
  t: number,
  sum: number,
  integer: boolean,
  count: number,
  zeroCount: number,
  positiveBuckets: number[],
  negativeBuckets: number[],
): void {
  checkTime(rows, t);
  rows.timestamps.push(t);
  rows.histograms.push({
    schema: layout.schema,
    zeroThreshold: layout.zeroThreshold,
    zeroCount,
    count,
    sum,
    positiveSpans: layout.positiveSpans,
    positiveBuckets,
    negativeSpans: layout.negativeSpans,
    negativeBuckets,
    customValues: layout.customValues,
    counterResetHint: layout.gauge ? HINT_GAUGE : i === 0 ? layout.hint : HINT_NOT_COUNTER_RESET,
    integer,
  });
}

function append(rows: Rows, into: SampleBuffer): void {
  for (let i = 0; i < rows.histograms.length; i++) {
    into.histogramTimestamps[into.histogramLength] = rows.timestamps[i] as number;
    into.histograms[into.histogramLength] = rows.histograms[i] as FloatHistogram;
    if (into.histogramStartTimestamps !== null) into.histogramStartTimestamps[into.histogramLength] = 0;
    into.histogramLength++;
  }
  growSampleBuffer(into, into.length + rows.stale.length);
  for (const t of rows.stale) {
    into.timestamps[into.length] = t;
    if (into.startTimestamps !== null) into.startTimestamps[into.length] = 0;
    putStale(into.values, into.length++);
  }
}
