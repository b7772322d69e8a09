/** Native histograms as remote write has them on the wire, 1.0 and 2.0 alike: bucket counts of integer histograms as deltas. */
import type { ProtobufWriter } from '../lib/protobuf.ts';
import type { FloatHistogram } from './histogram.ts';

/** Writes the message as field `field`. `start` 0 = unknown; 1.0 has no such field. */
export function writeHistogram(w: ProtobufWriter, field: number, time: number, start: number, h: FloatHistogram): void {
  const message = w.begin(field);
  if (h.integer) w.varint(1, h.count);
  else w.double(2, h.count);
  w.double(3, h.sum);
  w.zigzag(4, h.schema);
  w.double(5, h.zeroThreshold);
  if (h.integer) w.varint(6, h.zeroCount);
  else w.double(7, h.zeroCount);
  writeSpans(w, 8, h.negativeSpans);
  if (h.integer) w.packedZigzags(9, deltas(h.negativeBuckets));
  else w.packedDoubles(10, h.negativeBuckets);
  writeSpans(w, 11, h.positiveSpans);
  if (h.integer) w.packedZigzags(12, deltas(h.positiveBuckets));
  else w.packedDoubles(13, h.positiveBuckets);
  w.varint(14, h.counterResetHint);
  w.varint(15, time);
  w.packedDoubles(16, h.customValues);
  if (start !== 0) w.varint(17, start);
  w.close(message);
}

function writeSpans(w: ProtobufWriter, field: number, spans: readonly number[]): void {
  for (let i = 0; i < spans.length; i += 2) {
    const span = w.begin(field);
    w.zigzag(1, spans[i] as number);
    w.varint(2, spans[i + 1] as number);
    w.close(span);
  }
}

function deltas(counts: readonly number[]): number[] {
  return counts.map((n, i) => n - (i === 0 ? 0 : (counts[i - 1] as number)));
}
