/** What the head's tests share: building batches, a temporary folder, and the obvious model of what a head holds. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { newSampleBuffer, type SampleBuffer } from '../../../contracts/sample-source.ts';
import { IdentityHasher } from '../../../lib/identity-hash.ts';
import type { FloatHistogram } from '../../../model/histogram.ts';
import { encodeLabels, type Labels, labelsFromRecord, labelsKey } from '../../../model/labels.ts';
import type { HistogramSample, SampleBatch } from '../../../model/sample-batch.ts';
import { compareFloats, compareHistograms } from '../merge.ts';
import type { PartSet } from '../part.ts';

export const hasher = new IdentityHasher(new Uint8Array(16).fill(42));

export interface Row {
  labels: Labels;
  t: number;
  /** 64 bits of the value, as hex, so that NaN payloads are data; or a histogram. */
  bits?: bigint;
  value?: number;
  histogram?: FloatHistogram;
  start?: number;
}

/** A batch of rows; consecutive rows of one label set form one series entry. */
export function batchOf(tenant: string, rows: readonly Row[]): SampleBatch {
  const seed = hasher.tenantSeed(tenant);
  const series: Labels[] = [];
  const sampleStart: number[] = [];
  const histograms: HistogramSample[] = [];
  const floats = rows.filter(r => r.histogram === undefined);
  const values = new Float64Array(floats.length);
  const words = new BigUint64Array(values.buffer);
  const timestamps = new Float64Array(floats.length);
  const starts = new Float64Array(floats.length);
  let n = 0;
  for (const row of rows) {
    if (series.length === 0 || labelsKey(series[series.length - 1] as Labels) !== labelsKey(row.labels)) {
      series.push(row.labels);
      sampleStart.push(n);
    }
    if (row.histogram !== undefined) {
      histograms.push({
        series: series.length - 1,
        timestampMs: row.t,
        startTimestampMs: row.start ?? 0,
        histogram: row.histogram,
      });
      continue;
    }
    timestamps[n] = row.t;
    if (row.bits !== undefined) words[n] = row.bits;
    else values[n] = row.value ?? 0;
    starts[n] = row.start ?? 0;
    n++;
  }
  sampleStart.push(n);
  const parts = series.map(labels => encodeLabels(labels));
  const bytes = new Uint8Array(parts.reduce((sum, p) => sum + p.length, 0));
  const labelStart = new Uint32Array(series.length);
  const labelEnd = new Uint32Array(series.length);
  const hashes = new Uint32Array(series.length * 4);
  let at = 0;
  for (let i = 0; i < parts.length; i++) {
    bytes.set(parts[i] as Uint8Array, at);
    labelStart[i] = at;
    at += (parts[i] as Uint8Array).length;
    labelEnd[i] = at;
    hasher.hash(seed, bytes, labelStart[i] as number, at, hashes, i * 4);
  }
  return {
    seriesCount: series.length,
    labelBytes: bytes,
    labelStart,
    labelEnd,
    hashes,
    sampleStart: Uint32Array.from(sampleStart),
    timestamps,
    values,
    startTimestamps: starts.some(s => s !== 0) ? starts : null,
    histograms: histograms.length > 0 ? histograms : null,
    exemplars: null,
    metadata: null,
  };
}

export function labels(record: Record<string, string>): Labels {
  return labelsFromRecord(record);
}

export function temporaryDir(): string {
  return fs.mkdtempSync(path.join(os.tmpdir(), 'head-test-'));
}

/** A histogram of which the tests need only that different arguments differ. */
export function histogramOf(count: number, integer = true): FloatHistogram {
  return {
    schema: 1,
    zeroThreshold: 0.001,
    zeroCount: 1,
    count: count + 1,
    sum: count * 1.5,
    positiveSpans: [0, 2, 3, 1],
    positiveBuckets: [count, 2, 3],
    negativeSpans: [],
    negativeBuckets: [],
    customValues: [],
    counterResetHint: 0,
    integer,
  };
}

/** One sample as text, for comparisons: bits of a float or JSON of a histogram. */
export interface Held {
  t: number;
  value: Float64Array | null;
  histogram: FloatHistogram | null;
  start: number;
}

export function textOf(h: Held): string {
  const what = h.value === null ? JSON.stringify(h.histogram) : bitsOf(h.value, 0);
  return `${h.t}:${what}:${h.start}`;
}

export function bitsOf(values: Float64Array, i: number): string {
  return new BigUint64Array(values.slice(i, i + 1).buffer)[0]!.toString(16);
}

/** All samples of a set by series key, as texts. Series without samples are left out. */
export function readAll(set: PartSet, minT = 0, maxT = Infinity): Map<string, string[]> {
  const out = new Map<string, string[]>();
  const buffer = newSampleBuffer(4);
  for (let i = 0; i < set.count; i++) {
    clear(buffer);
    set.read(i, minT, maxT, buffer);
    const texts = textsOf(buffer);
    if (texts.length > 0) out.set(labelsKey(set.labels(i)), texts);
  }
  return out;
}

export function clear(buffer: SampleBuffer): void {
  buffer.length = 0;
  buffer.histogramLength = 0;
  buffer.startTimestamps = null;
  buffer.histogramStartTimestamps = null;
}

export function heldOf(buffer: SampleBuffer): Held[] {
  const out: Held[] = [];
  for (let i = 0; i < buffer.length; i++) {
    const t = buffer.timestamps[i] as number;
    const start = buffer.startTimestamps === null ? 0 : (buffer.startTimestamps[i] as number);
    out.push({ t, value: buffer.values.slice(i, i + 1), histogram: null, start });
  }
  for (let i = 0; i < buffer.histogramLength; i++) {
    const t = buffer.histogramTimestamps[i] as number;
    const start = buffer.histogramStartTimestamps === null ? 0 : (buffer.histogramStartTimestamps[i] as number);
    out.push({ t, value: null, histogram: buffer.histograms[i] as FloatHistogram, start });
  }
  return out.sort((a, b) => a.t - b.t);
}

export function textsOf(buffer: SampleBuffer): string[] {
  return heldOf(buffer).map(textOf);
}

/** The model: per tenant and series the winner of each timestamp, by the global rule. */
export class Model {
  readonly tenants = new Map<string, Map<string, { labels: Labels; samples: Map<number, Held> }>>();

  series(tenant: string, labels: Labels): Map<number, Held> {
    let own = this.tenants.get(tenant);
    if (own === undefined) {
      own = new Map();
      this.tenants.set(tenant, own);
    }
    const key = labelsKey(labels);
    let series = own.get(key);
    if (series === undefined) {
      series = { labels, samples: new Map() };
      own.set(key, series);
    }
    return series.samples;
  }

  add(tenant: string, row: Row): void {
    const value = row.histogram === undefined ? new Float64Array([row.value ?? 0]) : null;
    if (value !== null && row.bits !== undefined) new BigUint64Array(value.buffer)[0] = row.bits;
    this.put(tenant, row.labels, { t: row.t, value, histogram: row.histogram ?? null, start: row.start ?? 0 });
  }

  put(tenant: string, labels: Labels, held: Held): void {
    const samples = this.series(tenant, labels);
    const known = samples.get(held.t);
    if (known === undefined || beats(held, known)) samples.set(held.t, held);
  }

  delete(tenant: string, matches: (labels: Labels) => boolean, minT: number, maxT: number): void {
    for (const { labels, samples } of this.tenants.get(tenant)?.values() ?? []) {
      if (!matches(labels)) continue;
      for (const t of samples.keys()) if (t >= minT && t <= maxT) samples.delete(t);
    }
  }

  texts(tenant: string, minT = 0, maxT = Infinity): Map<string, string[]> {
    const out = new Map<string, string[]>();
    for (const [key, { samples }] of this.tenants.get(tenant) ?? []) {
      const texts = [...samples.values()]
        .filter(h => h.t >= minT && h.t <= maxT)
        .sort((a, b) => a.t - b.t)
        .map(textOf);
      if (texts.length > 0) out.set(key, texts);
    }
    return out;
  }
}

function beats(a: Held, b: Held): boolean {
  if ((a.value === null) !== (b.value === null)) return a.value === null;
  const order =
    a.value !== null && b.value !== null
      ? compareFloats(a.value, 0, b.value, 0)
      : compareHistograms(a.histogram as FloatHistogram, b.histogram as FloatHistogram);
  return order > 0 || (order === 0 && a.start > b.start);
}
