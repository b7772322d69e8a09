/**
 * Native histograms of remote write, 1.0 and 2.0 alike (the messages have the same field numbers; 2.0 adds 17,
 * start_timestamp). Integer histograms arrive as deltas of bucket counts and become absolute counts; what is kept is
 * checked as Prometheus checks it on ingestion, so that nothing downstream meets spans that do not fit their buckets.
 */
import type { ProtobufReader } from '../../lib/protobuf.ts';
import {
  type CounterResetHint,
  CUSTOM_BUCKETS_SCHEMA,
  type FloatHistogram,
  HINT_COUNTER_RESET,
  HINT_GAUGE,
  HINT_NOT_COUNTER_RESET,
  HINT_UNKNOWN,
} from '../../model/histogram.ts';
import { HistogramWork } from '../../model/histogram-math.ts';

/** Entries of one repeated field. Far above the 160 buckets that clients make by default. */
const MAX_ENTRIES = 1 << 16;
/** Schemas up to MAX_SCHEMA are understood; those above MAX_KEPT_SCHEMA are brought down to it. */
const MAX_SCHEMA = 52;
export const MAX_KEPT_SCHEMA = 8;
const HINTS: readonly CounterResetHint[] = [HINT_UNKNOWN, HINT_COUNTER_RESET, HINT_NOT_COUNTER_RESET, HINT_GAUGE];

/** What is read from one Histogram message. */
export interface DecodedHistogram {
  timestampMs: number;
  startTimestampMs: number;
  histogram: FloatHistogram;
  /** Why it must not be stored; '' if it is sound. */
  problem: string;
}

/** Reads the message that the reader stands in. Throws ProtobufError for malformed bytes only. */
export function readHistogram(r: ProtobufReader): DecodedHistogram {
  let countInt = 0;
  let countFloat = 0;
  let zeroInt = 0;
  let zeroFloat = 0;
  let isFloat = false;
  let sum = 0;
  let schema = 0;
  let zeroThreshold = 0;
  let hint = 0;
  let timestampMs = 0;
  let startTimestampMs = 0;
  const negativeSpans: number[] = [];
  const positiveSpans: number[] = [];
  const negativeDeltas: number[] = [];
  const positiveDeltas: number[] = [];
  const negativeCounts: number[] = [];
  const positiveCounts: number[] = [];
  const customValues: number[] = [];
  while (r.more()) {
    switch (r.field()) {
      case 1:
        countInt = r.unsigned();
        isFloat = false;
        break;
      case 2:
        countFloat = r.double();
        isFloat = true;
        break;
      case 3:
        sum = r.double();
        break;
      case 4:
        schema = r.zigzag();
        break;
      case 5:
        zeroThreshold = r.double();
        break;
      case 6:
        zeroInt = r.unsigned();
        break;
      case 7:
        zeroFloat = r.double();
        break;
      case 8:
        readSpan(r, negativeSpans);
        break;
      case 9:
        r.zigzagsInto(negativeDeltas, MAX_ENTRIES);
        break;
      case 10:
        r.doublesInto(negativeCounts, MAX_ENTRIES);
        break;
      case 11:
        readSpan(r, positiveSpans);
        break;
      case 12:
        r.zigzagsInto(positiveDeltas, MAX_ENTRIES);
        break;
      case 13:
        r.doublesInto(positiveCounts, MAX_ENTRIES);
        break;
      case 14:
        hint = r.unsigned();
        break;
      case 15:
        timestampMs = r.signed();
        break;
      case 16:
        r.doublesInto(customValues, MAX_ENTRIES);
        break;
      case 17:
        startTimestampMs = r.signed();
        break;
      default:
        r.skip();
    }
  }
  const histogram: FloatHistogram = {
    schema,
    zeroThreshold,
    zeroCount: isFloat ? zeroFloat : zeroInt,
    count: isFloat ? countFloat : countInt,
    sum,
    positiveSpans,
    positiveBuckets: isFloat ? positiveCounts : absolute(positiveDeltas),
    negativeSpans,
    negativeBuckets: isFloat ? negativeCounts : absolute(negativeDeltas),
    customValues,
    counterResetHint: HINTS[hint] ?? HINT_UNKNOWN,
    integer: !isFloat,
  };
  const problem = histogramProblem(histogram);
  const kept = problem === '' && schema > MAX_KEPT_SCHEMA ? coarser(histogram) : histogram;
  return { timestampMs, startTimestampMs, histogram: kept, problem };
}

/** The same at the finest schema that is kept. */
function coarser(h: FloatHistogram): FloatHistogram {
  const work = new HistogramWork(h);
  // In steps: bucket indices are shifted as 32-bit numbers.
  while (work.schema > MAX_KEPT_SCHEMA) work.reduceTo(Math.max(MAX_KEPT_SCHEMA, work.schema - 16));
  return { ...work.finish(), integer: h.integer };
}

function readSpan(r: ProtobufReader, into: number[]): void {
  if (into.length >= 2 * MAX_ENTRIES) throw r.error(`more than ${MAX_ENTRIES} spans in a histogram`);
  let offset = 0;
  let length = 0;
  const outer = r.enter();
  while (r.more()) {
    switch (r.field()) {
      case 1:
        offset = r.zigzag();
        break;
      case 2:
        length = r.unsigned();
        break;
      default:
        r.skip();
    }
  }
  r.leave(outer);
  into.push(offset, length);
}

function absolute(deltas: number[]): number[] {
  let count = 0;
  for (let i = 0; i < deltas.length; i++) {
    count += deltas[i] as number;
    deltas[i] = count;
  }
  return deltas;
}

/** What is wrong with a histogram, or ''. */
export function histogramProblem(h: FloatHistogram): string {
  if (h.schema === CUSTOM_BUCKETS_SCHEMA) {
    const problem = customProblem(h);
    if (problem !== '') return problem;
  } else if (h.schema < -4 || h.schema > MAX_SCHEMA) {
    return `schema ${h.schema} is neither -53 nor between -4 and ${MAX_SCHEMA}`;
  } else {
    if (h.customValues.length > 0) return 'custom bounds with an exponential schema';
    // Written so that NaN fails too.
    if (!(h.zeroThreshold >= 0)) return `the zero threshold is ${h.zeroThreshold}`;
  }
  const problem =
    spanProblem('positive', h.positiveSpans, h.positiveBuckets.length) ||
    spanProblem('negative', h.negativeSpans, h.negativeBuckets.length);
  return problem !== '' ? problem : countProblem(h);
}

function customProblem(h: FloatHistogram): string {
  if (h.zeroCount !== 0 || h.zeroThreshold !== 0) return 'custom buckets with a zero bucket';
  if (h.negativeSpans.length > 0 || h.negativeBuckets.length > 0) return 'custom buckets with negative buckets';
  let previous = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < h.customValues.length; i++) {
    const bound = h.customValues[i] as number;
    if (!(bound > previous) || bound === Number.POSITIVE_INFINITY) {
      return `custom bound ${i} is ${bound} after ${previous}; bounds must be finite and ascending`;
    }
    previous = bound;
  }
  let covered = 0;
  for (let i = 0; i < h.positiveSpans.length; i++) covered += h.positiveSpans[i] as number;
  const buckets = h.customValues.length + 1;
  if (covered > buckets) return `spans reach bucket ${covered}, but the bounds make only ${buckets}`;
  return '';
}

function spanProblem(side: string, spans: readonly number[], buckets: number): string {
  let covered = 0;
  for (let i = 0; i < spans.length; i += 2) {
    const offset = spans[i] as number;
    if (i > 0 && offset < 0) return `${side} span ${i / 2} has the negative offset ${offset}`;
    if (Math.abs(offset) > 0x7fffffff) return `${side} span ${i / 2} has the offset ${offset}`;
    covered += spans[i + 1] as number;
  }
  return covered === buckets ? '' : `${side} spans cover ${covered} buckets, but ${buckets} are given`;
}

function countProblem(h: FloatHistogram): string {
  let total = h.zeroCount;
  for (const buckets of [h.positiveBuckets, h.negativeBuckets]) {
    for (let i = 0; i < buckets.length; i++) {
      const n = buckets[i] as number;
      // A NaN count passes in float histograms, as it does in Prometheus.
      if (n < 0) return `bucket ${i} has the negative count ${n}`;
      total += n;
    }
  }
  if (h.zeroCount < 0) return `the zero bucket has the negative count ${h.zeroCount}`;
  if (h.count < 0) return `the count ${h.count} is negative`;
  if (!h.integer) return '';
  if (h.count > Number.MAX_SAFE_INTEGER || total > Number.MAX_SAFE_INTEGER) return `the count ${h.count} is above 2^53`;
  // Observations of NaN raise the count and no bucket, and make the sum NaN.
  if (Number.isNaN(h.sum) ? total > h.count : total !== h.count) {
    return `${total} observations in the buckets do not fit the count ${h.count}`;
  }
  return '';
}
