/**
 * Records of Prometheus' write-ahead log, told to a visitor: series, float samples (both versions), native histograms, exemplars,
 * deletions, metadata. Types that are not listed are passed over: markers of what is in memory-mapped chunks, mostly.
 *
 * Values go as two words, so that staleness markers survive. References are Prometheus' own.
 */
import {
  type CounterResetHint,
  CUSTOM_BUCKETS_SCHEMA,
  type FloatHistogram,
  HINT_UNKNOWN,
} from '../../model/histogram.ts';
import { ByteReader } from './byte-reader.ts';

export const RECORD = {
  series: 1,
  samples: 2,
  tombstones: 3,
  exemplars: 4,
  metadata: 6,
  histograms: 7,
  floatHistograms: 8,
  customHistograms: 9,
  customFloatHistograms: 10,
  samples2: 11,
  histograms2: 12,
  floatHistograms2: 13,
} as const;

const ITEMS_MAX = 1 << 16;
const METRIC_TYPES = ['unknown', 'counter', 'gauge', 'histogram', 'gaugehistogram', 'summary', 'info', 'stateset'];

export interface WalVisitor {
  series?(ref: number, labels: string[]): void;
  /** `low` and `high` are the words of the value; `startT` 0 where there is none. */
  sample?(ref: number, t: number, low: number, high: number, startT: number): void;
  /** A stale histogram has NaN as its sum and `stale` set. */
  histogram?(ref: number, t: number, histogram: FloatHistogram, stale: boolean, startT: number): void;
  exemplar?(ref: number, t: number, value: number, labels: string[]): void;
  tombstone?(ref: number, minT: number, maxT: number): void;
  metadata?(ref: number, type: string, unit: string, help: string): void;
}

const reader = new ByteReader();

/** Reads one record. Throws CorruptPrometheusError; what came before the bad place has been told. */
export function readRecord(record: Uint8Array, file: string, at: number, visitor: WalVisitor): void {
  if (record.length < 2) return;
  const r = reader.reset(record, 1, record.length, `${file} (record at byte ${at})`, 0);
  switch (record[0]) {
    case RECORD.series:
      if (visitor.series !== undefined) readSeries(r, visitor.series.bind(visitor));
      return;
    case RECORD.samples:
      if (visitor.sample !== undefined) readSamples(r, visitor.sample.bind(visitor));
      return;
    case RECORD.samples2:
      if (visitor.sample !== undefined) readSamples2(r, visitor.sample.bind(visitor));
      return;
    case RECORD.tombstones:
      while (r.more()) {
        const ref = r.exactBe64('a series reference');
        const minT = r.varint();
        const maxT = r.varint();
        visitor.tombstone?.(ref, minT, maxT);
      }
      return;
    case RECORD.exemplars:
      if (visitor.exemplar !== undefined) readExemplars(r, visitor.exemplar.bind(visitor));
      return;
    case RECORD.metadata:
      readMetadata(r, visitor);
      return;
    case RECORD.histograms:
    case RECORD.customHistograms:
      readHistograms(r, true, visitor);
      return;
    case RECORD.floatHistograms:
    case RECORD.customFloatHistograms:
      readHistograms(r, false, visitor);
      return;
    case RECORD.histograms2:
      readHistograms2(r, true, visitor);
      return;
    case RECORD.floatHistograms2:
      readHistograms2(r, false, visitor);
  }
}

function readLabels(r: ByteReader): string[] {
  const count = r.count('labels', 2, ITEMS_MAX);
  const labels: string[] = [];
  for (let i = 0; i < 2 * count; i++) labels.push(r.text());
  return labels;
}

function readSeries(r: ByteReader, put: NonNullable<WalVisitor['series']>): void {
  while (r.more()) {
    const ref = r.exactBe64('a series reference');
    put(ref, readLabels(r));
  }
}

function readSamples(r: ByteReader, put: NonNullable<WalVisitor['sample']>): void {
  const baseRef = r.exactBe64('a series reference');
  const baseT = r.be64();
  while (r.more()) {
    const ref = baseRef + r.varint();
    const t = baseT + r.varint();
    const high = r.be32();
    put(ref, t, r.be32(), high, 0);
  }
}

/** Start timestamps: none, that of the sample before, or a difference to the first. */
function readStart(r: ByteReader, before: number, first: number): number {
  const marker = r.u8();
  if (marker === 0) return 0;
  return marker === 1 ? before : first + r.varint();
}

function readSamples2(r: ByteReader, put: NonNullable<WalVisitor['sample']>): void {
  let ref = r.varint();
  const firstT = r.varint();
  const firstStart = r.varint();
  let t = firstT;
  let start = firstStart;
  for (;;) {
    const high = r.be32();
    put(ref, t, r.be32(), high, start);
    if (!r.more()) return;
    ref += r.varint();
    t = firstT + r.varint();
    start = readStart(r, start, firstStart);
  }
}

function readHistograms(r: ByteReader, integer: boolean, visitor: WalVisitor): void {
  const baseRef = r.exactBe64('a series reference');
  const baseT = r.be64();
  while (r.more()) {
    const ref = baseRef + r.varint();
    const t = baseT + r.varint();
    putHistogram(r, integer, ref, t, 0, visitor);
  }
}

function readHistograms2(r: ByteReader, integer: boolean, visitor: WalVisitor): void {
  let ref = r.varint();
  const firstT = r.varint();
  const firstStart = r.varint();
  let t = firstT;
  let start = firstStart;
  for (;;) {
    putHistogram(r, integer, ref, t, start, visitor);
    if (!r.more()) return;
    ref += r.varint();
    t = firstT + r.varint();
    start = readStart(r, start, firstStart);
  }
}

function putHistogram(
  r: ByteReader,
  integer: boolean,
  ref: number,
  t: number,
  start: number,
  visitor: WalVisitor,
): void {
  const hint = r.u8();
  const schema = r.varint();
  const zeroThreshold = r.float();
  const zeroCount = integer ? r.uvarint() : r.float();
  const count = integer ? r.uvarint() : r.float();
  const sumAt = r.at;
  const sum = r.float();
  const { bytes } = r;
  const stale =
    bytes[sumAt] === 0x7f && bytes[sumAt + 1] === 0xf0 && bytes[sumAt + 7] === 2 && isZero(bytes, sumAt + 2, sumAt + 7);
  const positiveSpans = readSpans(r);
  const negativeSpans = readSpans(r);
  const positiveBuckets = readBuckets(r, integer);
  const negativeBuckets = readBuckets(r, integer);
  const customValues: number[] = [];
  if (schema === CUSTOM_BUCKETS_SCHEMA) {
    const n = r.count('bounds', 8, ITEMS_MAX);
    for (let i = 0; i < n; i++) customValues.push(r.float());
  }
  const histogram: FloatHistogram = {
    schema,
    zeroThreshold,
    zeroCount,
    count,
    sum,
    positiveSpans,
    positiveBuckets,
    negativeSpans,
    negativeBuckets,
    customValues,
    counterResetHint: hint <= 3 ? (hint as CounterResetHint) : HINT_UNKNOWN,
    integer,
  };
  visitor.histogram?.(ref, t, histogram, stale, start);
}

function isZero(bytes: Uint8Array, from: number, to: number): boolean {
  for (let i = from; i < to; i++) if (bytes[i] !== 0) return false;
  return true;
}

function readSpans(r: ByteReader): number[] {
  const count = r.count('spans', 2, ITEMS_MAX);
  const spans: number[] = [];
  for (let i = 0; i < count; i++) spans.push(r.varint(), r.uvarint());
  return spans;
}

/** Integers are differences to the bucket before. */
function readBuckets(r: ByteReader, integer: boolean): number[] {
  const count = r.count('buckets', integer ? 1 : 8, ITEMS_MAX);
  const buckets: number[] = [];
  let total = 0;
  for (let i = 0; i < count; i++) {
    total = integer ? total + r.varint() : r.float();
    buckets.push(total);
  }
  return buckets;
}

function readExemplars(r: ByteReader, put: NonNullable<WalVisitor['exemplar']>): void {
  const baseRef = r.exactBe64('a series reference');
  const baseT = r.be64();
  while (r.more()) {
    const ref = baseRef + r.varint();
    const t = baseT + r.varint();
    const value = r.float();
    put(ref, t, value, readLabels(r));
  }
}

function readMetadata(r: ByteReader, visitor: WalVisitor): void {
  while (r.more()) {
    const ref = r.exactUvarint('a series reference');
    const type = METRIC_TYPES[r.u8()] ?? 'unknown';
    const fields = r.count('fields', 2, ITEMS_MAX);
    let unit = '';
    let help = '';
    for (let i = 0; i < fields; i++) {
      const name = r.text();
      const value = r.text();
      if (name === 'UNIT') unit = value;
      else if (name === 'HELP') help = value;
    }
    visitor.metadata?.(ref, type, unit, help);
  }
}
