/** Reading of io.prometheus.client.Histogram: its classic buckets and its native ones, side by side in one message. */
import type { ProtobufReader } from '../../lib/protobuf.ts';
import { type FloatHistogram, HINT_GAUGE, HINT_UNKNOWN } from '../../model/histogram.ts';
import { type ClientExemplar, readExemplar, readTimestamp } from './protobuf-exemplar.ts';

export interface ClientBucket {
  upper: number;
  cumulative: number;
  exemplar: ClientExemplar | null;
}

export interface ClientHistogram {
  count: number;
  sum: number;
  startMs: number;
  buckets: ClientBucket[];
  /** null where the message has no native part. */
  native: FloatHistogram | null;
  exemplars: ClientExemplar[];
}

/** Entries of one repeated field. */
const ENTRIES_MAX = 1 << 16;

/** The message that the reader stands in. */
export function readClientHistogram(r: ProtobufReader, gauge: boolean): ClientHistogram {
  let countInt = 0;
  let countFloat = 0;
  let zeroInt = 0;
  let zeroFloat = 0;
  let schema = 0;
  let zeroThreshold = 0;
  const out: ClientHistogram = { count: 0, sum: 0, startMs: 0, buckets: [], native: null, exemplars: [] };
  const spans = { positive: [] as number[], negative: [] as number[] };
  const deltas = { positive: [] as number[], negative: [] as number[] };
  const counts = { positive: [] as number[], negative: [] as number[] };
  while (r.more()) {
    switch (r.field()) {
      case 1:
        countInt = r.unsigned();
        break;
      case 2:
        out.sum = r.double();
        break;
      case 3:
        if (out.buckets.length >= ENTRIES_MAX) throw r.error(`more than ${ENTRIES_MAX} buckets in a histogram`);
        out.buckets.push(readBucket(r));
        break;
      case 4:
        countFloat = r.double();
        break;
      case 5:
        schema = r.zigzag();
        break;
      case 6:
        zeroThreshold = r.double();
        break;
      case 7:
        zeroInt = r.unsigned();
        break;
      case 8:
        zeroFloat = r.double();
        break;
      case 9:
        readSpan(r, spans.negative);
        break;
      case 10:
        r.zigzagsInto(deltas.negative, ENTRIES_MAX);
        break;
      case 11:
        r.doublesInto(counts.negative, ENTRIES_MAX);
        break;
      case 12:
        readSpan(r, spans.positive);
        break;
      case 13:
        r.zigzagsInto(deltas.positive, ENTRIES_MAX);
        break;
      case 14:
        r.doublesInto(counts.positive, ENTRIES_MAX);
        break;
      case 15:
        out.startMs = readTimestamp(r);
        break;
      case 16:
        if (out.exemplars.length < ENTRIES_MAX) out.exemplars.push(readExemplar(r));
        else r.skip();
        break;
      default:
        r.skip();
    }
  }
  out.count = countFloat > 0 ? countFloat : countInt;
  const hasSpans = spans.positive.length > 0 || spans.negative.length > 0;
  if (!hasSpans && zeroThreshold === 0 && zeroInt === 0 && zeroFloat === 0) return out;
  const isFloat = countFloat > 0 || zeroFloat > 0 || counts.positive.length > 0 || counts.negative.length > 0;
  out.native = {
    schema,
    zeroThreshold,
    zeroCount: isFloat ? zeroFloat : zeroInt,
    count: isFloat ? countFloat : countInt,
    sum: out.sum,
    positiveSpans: spans.positive,
    positiveBuckets: isFloat ? counts.positive : absolute(deltas.positive),
    negativeSpans: spans.negative,
    negativeBuckets: isFloat ? counts.negative : absolute(deltas.negative),
    customValues: [],
    counterResetHint: gauge ? HINT_GAUGE : HINT_UNKNOWN,
    integer: !isFloat,
  };
  return out;
}

function readBucket(r: ProtobufReader): ClientBucket {
  const outer = r.enter();
  let countInt = 0;
  let countFloat = 0;
  let upper = 0;
  let exemplar: ClientExemplar | null = null;
  while (r.more()) {
    switch (r.field()) {
      case 1:
        countInt = r.unsigned();
        break;
      case 2:
        upper = r.double();
        break;
      case 3:
        exemplar = readExemplar(r);
        break;
      case 4:
        countFloat = r.double();
        break;
      default:
        r.skip();
    }
  }
  r.leave(outer);
  return { upper, cumulative: countInt > 0 ? countInt : countFloat, exemplar };
}

function readSpan(r: ProtobufReader, into: number[]): void {
  if (into.length >= 2 * ENTRIES_MAX) throw r.error(`more than ${ENTRIES_MAX} spans in a histogram`);
  const outer = r.enter();
  let offset = 0;
  let length = 0;
  while (r.more()) {
    const field = r.field();
    if (field === 1) offset = r.zigzag();
    else if (field === 2) length = r.unsigned();
    else r.skip();
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
