/**
 * Native histograms as Prometheus' JSON has them:
 * `{"count":"..","sum":"..","buckets":[[rule,"lower","upper","count"],...]}`, buckets ascending, empty ones left out.
 *
 * rule: 0 = (lower, upper], 1 = [lower, upper), 2 = (lower, upper), 3 = [lower, upper].
 */
import type { FloatHistogram } from '../../model/histogram.ts';
import { allBuckets } from '../../model/histogram-buckets.ts';
import type { ByteWriter } from '../encoding/byte-writer.ts';
import { FLOAT_BYTES_MAX, writeFloat } from '../encoding/float.ts';

export function writeHistogram(w: ByteWriter, h: FloatHistogram): void {
  w.latin1('{"count":');
  writeQuoted(w, h.count);
  w.latin1(',"sum":');
  writeQuoted(w, h.sum);
  let open = ',"buckets":[';
  for (const bucket of allBuckets(h)) {
    if (bucket.count === 0) continue;
    w.latin1(open);
    open = ',';
    w.latin1(`[${ruleOf(bucket.lowerInclusive, bucket.upperInclusive)},`);
    writeQuoted(w, bucket.lower);
    w.latin1(',');
    writeQuoted(w, bucket.upper);
    w.latin1(',');
    writeQuoted(w, bucket.count);
    w.latin1(']');
  }
  w.latin1(open === ',' ? ']}' : '}');
}

function writeQuoted(w: ByteWriter, v: number): void {
  w.room(FLOAT_BYTES_MAX + 2);
  w.bytes[w.at++] = 0x22;
  w.at = writeFloat(w.bytes, w.at, v);
  w.bytes[w.at++] = 0x22;
}

function ruleOf(lowerInclusive: boolean, upperInclusive: boolean): number {
  if (lowerInclusive) return upperInclusive ? 3 : 1;
  return upperInclusive ? 0 : 2;
}
