/** How the head encodes native histograms: chunks of chunk/histogram-chunk.ts, of one sample in WAL and tail, of many when sealed. */
import { newSampleBuffer, type SampleBuffer } from '../../../contracts/sample-source.ts';
import type { FloatHistogram } from '../../../model/histogram.ts';
import type { HistogramSample } from '../../../model/sample-batch.ts';
import { isStale } from '../../../model/stale.ts';
import { CorruptChunkError } from '../chunk/corrupt.ts';
import {
  bucketCount,
  decodeHistogramChunk,
  encodeHistogramChunk,
  MAX_BUCKETS,
  maxHistogramChunkSize,
} from '../chunk/histogram-chunk.ts';

let scratch = new Uint8Array(1 << 12);
const probe = newSampleBuffer(0);
const sum = new Float64Array(1);

/** Whether the histogram is a staleness marker: it is stored as a float marker then. */
export function isStaleHistogram(h: FloatHistogram): boolean {
  sum[0] = h.sum;
  return isStale(sum, 0);
}

export function isStorable(h: FloatHistogram): boolean {
  return bucketCount(h) <= MAX_BUCKETS && h.customValues.length <= MAX_BUCKETS;
}

/** One sample as a chunk of one, in bytes of its own. */
export function encodeHistogram(sample: HistogramSample): Uint8Array {
  const starts = sample.startTimestampMs === 0 ? null : [sample.startTimestampMs];
  return encode([sample.timestampMs], [sample.histogram], starts, 1);
}

/** All histograms of a buffer as one chunk. */
export function encodeHistograms(buffer: SampleBuffer): Uint8Array {
  return encode(buffer.histogramTimestamps, buffer.histograms, buffer.histogramStartTimestamps, buffer.histogramLength);
}

function encode(
  timestamps: readonly number[],
  histograms: readonly FloatHistogram[],
  starts: readonly number[] | null,
  n: number,
): Uint8Array {
  const size = maxHistogramChunkSize(histograms, 0, n);
  if (scratch.length < size) scratch = new Uint8Array(size);
  const end = encodeHistogramChunk(timestamps, histograms, 0, n, starts, scratch, 0);
  const bytes = scratch.slice(0, end);
  if (scratch.length > 1 << 20) scratch = new Uint8Array(1 << 12);
  return bytes;
}

/** Appends the histograms of the chunk at bytes[at...]; returns its end. */
export function decodeHistograms(bytes: Uint8Array, at: number, into: SampleBuffer): number {
  return decodeHistogramChunk(bytes, at, into);
}

/** Whether the bytes are exactly one sample, at this time. */
export function isHistogram(bytes: Uint8Array, timestampMs: number): boolean {
  probe.histogramLength = 0;
  probe.histogramStartTimestamps = null;
  try {
    const end = decodeHistogramChunk(bytes, 0, probe);
    return end === bytes.length && probe.histogramLength === 1 && probe.histogramTimestamps[0] === timestampMs;
  } catch (error) {
    if (error instanceof CorruptChunkError) return false;
    throw error;
  } finally {
    probe.histograms.length = 0;
  }
}
