/**
 * Requests of remote write 1.0 and 2.0 from a batch. Label sets of 1.0 are copied as they stand; 2.0 numbers each distinct text once.
 *
 * Samples, histograms and exemplars of a series stand in entries of their own, as receivers expect it.
 */
import { ProtobufWriter } from '../../lib/protobuf.ts';
import { writeHistogram } from '../../model/histogram-wire.ts';
import type { Labels } from '../../model/labels.ts';
import type { MetadataEntry } from '../../model/sample-batch.ts';
import type { Batch, HistogramOut } from './batch.ts';
import { type MetadataBook, metadataTypeNumber } from './metadata-book.ts';

export interface EncodedRequest {
  /** Not yet compressed; a view that holds until the next request is encoded. */
  message: Uint8Array;
  samples: number;
  histograms: number;
  exemplars: number;
}

export class RequestEncoder {
  private readonly rows = new ProtobufWriter(256 * 1024);
  private readonly out = new ProtobufWriter(256 * 1024);
  private readonly order: number[] = [];
  private symbols = new Map<string, number>();
  private refs: number[] = [];

  /** Rows before `minT` are left out. */
  v1(batch: Batch, minT: number): EncodedRequest {
    const w = this.out;
    w.clear();
    const counts = { samples: 0, histograms: 0, exemplars: 0 };
    for (const [slot, series] of batch.series.entries()) {
      const n = batch.rowsOf(slot, minT, this.order);
      if (n === 0) continue;
      const row = w.begin(1);
      w.raw(series.encoded);
      this.samples(w, batch, n, false);
      w.close(row);
      counts.samples += n;
    }
    for (const h of batch.histograms) {
      if (h.timestampMs < minT) continue;
      const row = w.begin(1);
      w.raw(h.series.encoded);
      writeHistogram(w, 4, h.timestampMs, 0, h.histogram);
      w.close(row);
      counts.histograms++;
    }
    for (const e of batch.exemplars) {
      if (e.timestampMs < minT) continue;
      const row = w.begin(1);
      w.raw(e.series.encoded);
      const exemplar = w.begin(3);
      writeLabels(w, e.labels);
      w.double(2, e.value);
      w.varint(3, e.timestampMs);
      w.close(exemplar);
      w.close(row);
      counts.exemplars++;
    }
    return { message: w.finish(), ...counts };
  }

  v2(batch: Batch, minT: number, metadata: MetadataBook | null): EncodedRequest {
    const w = this.rows;
    w.clear();
    this.symbols = new Map([['', 0]]);
    const counts = { samples: 0, histograms: 0, exemplars: 0 };
    for (const [slot, series] of batch.series.entries()) {
      const n = batch.rowsOf(slot, minT, this.order);
      if (n === 0) continue;
      const row = this.beginV2(series.labels);
      this.samples(w, batch, n, true);
      this.metadata(metadata?.of(series.name));
      w.close(row);
      counts.samples += n;
    }
    for (const h of batch.histograms) {
      if (h.timestampMs < minT) continue;
      this.histogramV2(h, metadata);
      counts.histograms++;
    }
    for (const e of batch.exemplars) {
      if (e.timestampMs < minT) continue;
      const row = this.beginV2(e.series.labels);
      const exemplar = w.begin(4);
      w.packedVarints(1, this.refsOf(e.labels));
      w.double(2, e.value);
      w.varint(3, e.timestampMs);
      w.close(exemplar);
      this.metadata(metadata?.of(e.series.name));
      w.close(row);
      counts.exemplars++;
    }
    this.out.clear();
    for (const symbol of this.symbols.keys()) this.out.string(4, symbol);
    this.out.raw(w.finish());
    return { message: this.out.finish(), ...counts };
  }

  /** A 1.0 request that carries metadata alone. */
  metadataV1(entries: readonly MetadataEntry[]): Uint8Array {
    const w = this.out;
    w.clear();
    for (const e of entries) {
      const row = w.begin(3);
      w.varint(1, metadataTypeNumber(e.type));
      w.string(2, e.metric);
      w.string(4, e.help);
      w.string(5, e.unit);
      w.close(row);
    }
    return w.finish();
  }

  private samples(w: ProtobufWriter, batch: Batch, n: number, withStarts: boolean): void {
    const words = new Uint32Array(batch.values.buffer);
    for (let k = 0; k < n; k++) {
      const i = this.order[k] as number;
      const sample = w.begin(2);
      w.doubleFrom(1, words, i);
      w.varint(2, batch.timestamps[i] as number);
      const start = batch.starts[i] as number;
      if (withStarts && start !== 0) w.varint(3, start);
      w.close(sample);
    }
  }

  private histogramV2(h: HistogramOut, metadata: MetadataBook | null): void {
    const row = this.beginV2(h.series.labels);
    writeHistogram(this.rows, 3, h.timestampMs, h.startMs, h.histogram);
    this.metadata(metadata?.of(h.series.name));
    this.rows.close(row);
  }

  private beginV2(labels: Labels): number {
    const row = this.rows.begin(5);
    this.rows.packedVarints(1, this.refsOf(labels));
    return row;
  }

  private metadata(entry: MetadataEntry | undefined): void {
    if (entry === undefined) return;
    const message = this.rows.begin(5);
    this.rows.varint(1, metadataTypeNumber(entry.type));
    this.rows.varint(3, this.ref(entry.help));
    this.rows.varint(4, this.ref(entry.unit));
    this.rows.close(message);
  }

  private refsOf(labels: readonly string[]): number[] {
    this.refs.length = labels.length;
    for (let i = 0; i < labels.length; i++) this.refs[i] = this.ref(labels[i] as string);
    return this.refs;
  }

  private ref(text: string): number {
    const known = this.symbols.get(text);
    if (known !== undefined) return known;
    this.symbols.set(text, this.symbols.size);
    return this.symbols.size - 1;
  }
}

function writeLabels(w: ProtobufWriter, labels: readonly string[]): void {
  for (let i = 0; i < labels.length; i += 2) {
    const label = w.begin(1);
    w.string(1, labels[i] as string);
    w.string(2, labels[i + 1] as string);
    w.close(label);
  }
}
