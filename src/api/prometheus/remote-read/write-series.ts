/**
 * Writes the protobuf messages of remote read: series as samples, series as chunks, native histograms.
 *
 *     TimeSeries { Label labels = 1; Sample { double value = 1; int64 timestamp = 2 } samples = 2; Histogram histograms = 4 }
 *     ChunkedSeries { Label labels = 1; Chunk { min_time_ms = 1; max_time_ms = 2; type = 3; data = 4 } chunks = 2 }
 */
import type { RawSeries } from '../../../contracts/leaf-source.ts';
import type { ProtobufWriter } from '../../../lib/protobuf.ts';
import type { FloatHistogram } from '../../../model/histogram.ts';
import { writeHistogram } from '../../../model/histogram-wire.ts';
import type { Labels } from '../../../model/labels.ts';
import { encodeHistogramChunk, goesAsIntegers, histogramChunkEnd } from './histogram-chunk.ts';
import { CHUNK_SAMPLES_MAX, encodeXorChunk } from './xor-chunk.ts';

const ENCODING_XOR = 1;
const ENCODING_HISTOGRAM = 2;
const ENCODING_FLOAT_HISTOGRAM = 3;

export interface EncodedChunk {
  minMs: number;
  maxMs: number;
  encoding: number;
  data: Uint8Array;
}

export function writeTimeSeries(w: ProtobufWriter, field: number, series: RawSeries): void {
  const start = w.begin(field);
  writeLabelPairs(w, series.labels);
  const { timestamps, values } = series;
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length * 2);
  for (let i = 0; i < timestamps.length; i++) {
    const sample = w.begin(2);
    w.doubleFrom(1, words, i);
    w.varint(2, timestamps[i] as number);
    w.close(sample);
  }
  series.histograms.forEach((h, i) => {
    writeHistogram(w, 4, series.histogramTimestamps[i] as number, 0, h);
  });
  w.close(start);
}

/** All chunks of a series in time order; floats and histograms may alternate. */
export function chunksOf(series: RawSeries): EncodedChunk[] {
  const { timestamps, values, histograms, histogramTimestamps } = series;
  const out: EncodedChunk[] = [];
  for (let from = 0; from < timestamps.length; ) {
    const to = floatEnd(series, from, Math.min(timestamps.length, from + CHUNK_SAMPLES_MAX));
    out.push({
      minMs: timestamps[from] as number,
      maxMs: timestamps[to - 1] as number,
      encoding: ENCODING_XOR,
      data: encodeXorChunk(timestamps, values, from, to),
    });
    from = to;
  }
  for (let from = 0; from < histograms.length; ) {
    const to = histogramEnd(series, from, histogramChunkEnd(histograms, from));
    out.push({
      minMs: histogramTimestamps[from] as number,
      maxMs: histogramTimestamps[to - 1] as number,
      encoding: goesAsIntegers(histograms[from] as FloatHistogram) ? ENCODING_HISTOGRAM : ENCODING_FLOAT_HISTOGRAM,
      data: encodeHistogramChunk(histogramTimestamps, histograms, from, to),
    });
    from = to;
  }
  return out.sort((a, b) => a.minMs - b.minMs);
}

/** A chunk of floats ends where a histogram stands between its samples: chunks of a series must not overlap. */
function floatEnd(series: RawSeries, from: number, to: number): number {
  const first = series.timestamps[from] as number;
  const wall = series.histogramTimestamps.find(t => t > first) ?? Number.POSITIVE_INFINITY;
  let end = from + 1;
  while (end < to && (series.timestamps[end] as number) < wall) end++;
  return end;
}

function histogramEnd(series: RawSeries, from: number, to: number): number {
  const first = series.histogramTimestamps[from] as number;
  const next = series.timestamps.findIndex(t => t > first);
  const wall = next === -1 ? Number.POSITIVE_INFINITY : (series.timestamps[next] as number);
  let end = from + 1;
  while (end < to && (series.histogramTimestamps[end] as number) < wall) end++;
  return end;
}

/** A ChunkedSeries with some of a series' chunks. */
export function writeChunkedSeries(
  w: ProtobufWriter,
  field: number,
  labels: Labels,
  chunks: readonly EncodedChunk[],
): void {
  const start = w.begin(field);
  writeLabelPairs(w, labels);
  for (const chunk of chunks) {
    const at = w.begin(2);
    w.varint(1, chunk.minMs);
    w.varint(2, chunk.maxMs);
    w.varint(3, chunk.encoding);
    w.blob(4, chunk.data);
    w.close(at);
  }
  w.close(start);
}

function writeLabelPairs(w: ProtobufWriter, labels: Labels): void {
  for (let i = 0; i < labels.length; i += 2) {
    const at = w.begin(1);
    w.string(1, labels[i] as string);
    w.string(2, labels[i + 1] as string);
    w.close(at);
  }
}
