/**
 * Native histograms as Prometheus' JSON has them:
 * `{"count":"..","sum":"..","buckets":[[rule,"lower","upper","count"],...]}`, buckets ascending, empty ones left out.
 *
 * rule: 0 = (lower, upper], 1 = [lower, upper), 2 = (lower, upper), 3 = [lower, upper].
 */
import type { FloatHistogram } from '../../model/histogram.ts';
import { CUSTOM_BUCKETS_SCHEMA } from '../../model/histogram.ts';
import type { ByteWriter } from '../encoding/byte-writer.ts';
import { FLOAT_BYTES_MAX, writeFloat } from '../encoding/float.ts';
import { bucketBound } from './histogram-bounds.ts';

export function writeHistogram(w: ByteWriter, h: FloatHistogram): void {
  w.latin1('{"count":');
  writeQuoted(w, h.count);
  w.latin1(',"sum":');
  writeQuoted(w, h.sum);
  let open = ',"buckets":[';
  forEachBucket(h, (rule, lower, upper, count) => {
    if (count === 0) return;
    w.latin1(open);
    open = ',';
    w.latin1(`[${rule},`);
    writeQuoted(w, lower);
    w.latin1(',');
    writeQuoted(w, upper);
    w.latin1(',');
    writeQuoted(w, count);
    w.latin1(']');
  });
  w.latin1(open === ',' ? ']}' : '}');
}

function writeQuoted(w: ByteWriter, v: number): void {
  w.room(FLOAT_BYTES_MAX + 2);
  w.bytes[w.at++] = 0x22;
  w.at = writeFloat(w.bytes, w.at, v);
  w.bytes[w.at++] = 0x22;
}

/** Buckets from the lowest to the highest: negative ones, the zero bucket, positive ones. */
export function forEachBucket(
  h: FloatHistogram,
  visit: (rule: number, lower: number, upper: number, count: number) => void,
): void {
  const custom = h.schema === CUSTOM_BUCKETS_SCHEMA;
  const negative = bucketIndexes(h.negativeSpans, h.negativeBuckets.length);
  for (let i = negative.length - 1; i >= 0; i--) {
    const index = negative[i] as number;
    const lower = -bucketBound(h.schema, index, h.customValues);
    let upper = -bucketBound(h.schema, index - 1, h.customValues);
    // A bucket that reaches into the zero bucket ends where that begins.
    if (upper < 0 && upper > -h.zeroThreshold) upper = -h.zeroThreshold;
    visit(ruleOf(lower < 0, upper > 0), lower, upper, h.negativeBuckets[i] as number);
  }
  if (h.zeroCount > 0) visit(3, -h.zeroThreshold, h.zeroThreshold, h.zeroCount);
  const positive = bucketIndexes(h.positiveSpans, h.positiveBuckets.length);
  for (let i = 0; i < positive.length; i++) {
    const index = positive[i] as number;
    let lower = bucketBound(h.schema, index - 1, h.customValues);
    const upper = bucketBound(h.schema, index, h.customValues);
    if (custom) {
      visit(ruleOf(index === 0, true), lower, upper, h.positiveBuckets[i] as number);
      continue;
    }
    if (lower > 0 && lower < h.zeroThreshold) lower = h.zeroThreshold;
    visit(ruleOf(lower < 0, upper > 0), lower, upper, h.positiveBuckets[i] as number);
  }
}

function ruleOf(lowerInclusive: boolean, upperInclusive: boolean): number {
  if (lowerInclusive) return upperInclusive ? 3 : 1;
  return upperInclusive ? 0 : 2;
}

/** The index of each bucket in order; spans are [offset, length] pairs, first offset absolute. */
function bucketIndexes(spans: readonly number[], count: number): number[] {
  const out: number[] = [];
  let index = 0;
  for (let s = 0; s + 1 < spans.length; s += 2) {
    index += spans[s] as number;
    const length = spans[s + 1] as number;
    for (let i = 0; i < length && out.length < count; i++) out.push(index++);
  }
  return out;
}
