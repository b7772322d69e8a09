/**
 * Encoder of remote-write requests, 1.0 (prometheus.WriteRequest) and 2.0 (io.prometheus.write.v2.Request): for tests,
 * benchmarks and senders. It writes what it is given, in the order given, so that tests can make requests no well-behaved
 * sender makes. Compress the result with lib/snappy.ts.
 */
import { ProtobufWriter } from '../../lib/protobuf.ts';
import type { FloatHistogram } from '../../model/histogram.ts';
import { writeHistogram } from '../../model/histogram-wire.ts';

export interface WriteSeries {
  /** Flat [name, value, ...]; written as they stand. */
  labels: readonly string[];
  timestamps: readonly number[];
  /** Parallel to `timestamps`; typed, so that staleness markers survive. */
  values: Float64Array;
  /** 2.0 only. */
  startTimestamps?: readonly number[];
  histograms?: readonly { timestampMs: number; startTimestampMs?: number; histogram: FloatHistogram }[];
  exemplars?: readonly { labels: readonly string[]; value: number; timestampMs: number }[];
  /** 2.0 only; `type` is the enum's number. */
  metadata?: { type: number; help: string; unit: string };
}

export interface WriteMetadata {
  /** The enum's number: 0 unknown, 1 counter, 2 gauge, 3 histogram, 4 gaugehistogram, 5 summary, 6 info, 7 stateset. */
  type: number;
  metric: string;
  help: string;
  unit: string;
}

export function encodeWriteRequest(series: Iterable<WriteSeries>, metadata: Iterable<WriteMetadata> = []): Uint8Array {
  const w = new ProtobufWriter(64 * 1024);
  for (const s of series) {
    const row = w.begin(1);
    for (let i = 0; i < s.labels.length; i += 2) {
      const label = w.begin(1);
      w.string(1, s.labels[i] as string);
      w.string(2, s.labels[i + 1] as string);
      w.close(label);
    }
    writeSamples(w, 2, s);
    for (const e of s.exemplars ?? []) {
      const exemplar = w.begin(3);
      for (let i = 0; i < e.labels.length; i += 2) {
        const label = w.begin(1);
        w.string(1, e.labels[i] as string);
        w.string(2, e.labels[i + 1] as string);
        w.close(label);
      }
      w.double(2, e.value);
      w.varint(3, e.timestampMs);
      w.close(exemplar);
    }
    for (const h of s.histograms ?? []) writeHistogram(w, 4, h.timestampMs, 0, h.histogram);
    w.close(row);
  }
  for (const m of metadata) {
    const entry = w.begin(3);
    w.varint(1, m.type);
    w.string(2, m.metric);
    w.string(4, m.help);
    w.string(5, m.unit);
    w.close(entry);
  }
  return w.finish().slice();
}

export function encodeWriteRequestV2(series: readonly WriteSeries[]): Uint8Array {
  const symbols = new Map<string, number>([['', 0]]);
  const ref = (text: string): number => {
    const known = symbols.get(text);
    if (known !== undefined) return known;
    symbols.set(text, symbols.size);
    return symbols.size - 1;
  };
  const rows = new ProtobufWriter(64 * 1024);
  for (const s of series) {
    const row = rows.begin(5);
    rows.packedVarints(1, s.labels.map(ref));
    writeSamples(rows, 2, s);
    for (const h of s.histograms ?? []) {
      writeHistogram(rows, 3, h.timestampMs, h.startTimestampMs ?? 0, h.histogram);
    }
    for (const e of s.exemplars ?? []) {
      const exemplar = rows.begin(4);
      rows.packedVarints(1, e.labels.map(ref));
      rows.double(2, e.value);
      rows.varint(3, e.timestampMs);
      rows.close(exemplar);
    }
    if (s.metadata !== undefined) {
      const metadata = rows.begin(5);
      rows.varint(1, s.metadata.type);
      rows.varint(3, ref(s.metadata.help));
      rows.varint(4, ref(s.metadata.unit));
      rows.close(metadata);
    }
    rows.close(row);
  }
  const w = new ProtobufWriter(rows.length + 1024);
  for (const symbol of symbols.keys()) w.string(4, symbol);
  w.raw(rows.finish());
  return w.finish().slice();
}

function writeSamples(w: ProtobufWriter, field: number, s: WriteSeries): void {
  const words = new Uint32Array(s.values.buffer, s.values.byteOffset, s.values.length * 2);
  for (let i = 0; i < s.timestamps.length; i++) {
    const sample = w.begin(field);
    w.doubleFrom(1, words, i);
    w.varint(2, s.timestamps[i] as number);
    const start = s.startTimestamps?.[i] ?? 0;
    if (start !== 0) w.varint(3, start);
    w.close(sample);
  }
}
