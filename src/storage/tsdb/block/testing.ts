/** Helpers of the block tests: seeded series, blocks made of them, samples as plain rows. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { newSampleBuffer, type SampleBuffer } from '../../../contracts/sample-source.ts';
import type { FloatHistogram } from '../../../model/histogram.ts';
import { getLabel, type Labels, labelsFromRecord, METRIC_NAME } from '../../../model/labels.ts';
import { isStale, putStale } from '../../../model/stale.ts';
import { BlockCaches } from './cache.ts';
import { BlockReader } from './reader.ts';
import { BlockWriter, type BlockWriterOptions, compareSeries } from './writer.ts';

export interface TestSeries {
  hash: Uint32Array;
  labels: Labels;
  data: SampleBuffer;
}

export function tempDir(): string {
  return mkdtempSync(join(tmpdir(), 'sightline-block-'));
}

export function caches(): BlockCaches {
  return new BlockCaches({ indexBytesMax: 8e6, dataBytesMax: 8e6 });
}

/** A stand-in for the identity hash: stable, and different for different labels. */
export function testHash(labels: Labels): Uint32Array {
  const hash = new Uint32Array([1, 2, 3, 4]);
  for (const char of JSON.stringify(labels)) {
    for (let w = 0; w < 4; w++) hash[w] = Math.imul((hash[w] as number) ^ char.charCodeAt(0), 16777619 + 2 * w);
  }
  return hash;
}

export function testHistogram(count: number, over: Partial<FloatHistogram> = {}): FloatHistogram {
  return {
    schema: 1,
    zeroThreshold: 0.001,
    zeroCount: 0,
    count,
    sum: count * 1.5,
    positiveSpans: [0, 2],
    positiveBuckets: [Math.floor(count / 2), count - Math.floor(count / 2)],
    negativeSpans: [],
    negativeBuckets: [],
    customValues: [],
    counterResetHint: 0,
    integer: true,
    ...over,
  };
}

/** Samples as [t, value | 'stale' | histogram], for comparing. */
export type Row = [number, number | 'stale' | FloatHistogram];

export function rowsOf(data: SampleBuffer): Row[] {
  const rows: Row[] = [];
  for (let i = 0; i < data.length; i++) {
    rows.push([data.timestamps[i] as number, isStale(data.values, i) ? 'stale' : (data.values[i] as number)]);
  }
  for (let i = 0; i < data.histogramLength; i++) {
    rows.push([data.histogramTimestamps[i] as number, data.histograms[i] as FloatHistogram]);
  }
  return rows.sort((a, b) => a[0] - b[0]);
}

export function bufferOf(rows: readonly Row[]): SampleBuffer {
  const data = newSampleBuffer(Math.max(1, rows.length));
  for (const [t, v] of rows) {
    if (typeof v === 'object') {
      data.histogramTimestamps.push(t);
      data.histograms.push(v);
      data.histogramLength++;
      continue;
    }
    data.timestamps[data.length] = t;
    if (v === 'stale') putStale(data.values, data.length);
    else data.values[data.length] = v;
    data.length++;
  }
  return data;
}

export function series(labels: Record<string, string>, rows: readonly Row[]): TestSeries {
  const sorted = labelsFromRecord(labels);
  return { hash: testHash(sorted), labels: sorted, data: bufferOf(rows) };
}

export async function writeBlock(
  dir: string,
  ulid: string,
  all: readonly TestSeries[],
  options: Partial<BlockWriterOptions> = {},
): Promise<string> {
  const writer = new BlockWriter(dir, { ulid, tenant: 'acme', createdAtMs: 5, arrivedMs: 6, ...options });
  const sorted = [...all].sort((a, b) =>
    compareSeries(getLabel(a.labels, METRIC_NAME), a.hash, getLabel(b.labels, METRIC_NAME), b.hash),
  );
  for (const s of sorted) writer.addSeries(s.hash, s.labels, s.data);
  await writer.finish();
  return writer.path;
}

export async function openBlock(
  dir: string,
  ulid: string,
  all: readonly TestSeries[],
  options: Partial<BlockWriterOptions> = {},
): Promise<BlockReader> {
  return new BlockReader(await writeBlock(dir, ulid, all, options), caches());
}

/** Everything a block has, by labels. */
export function contents(
  block: BlockReader,
  column: Parameters<BlockReader['select']>[4] = 'last',
): Map<string, Row[]> {
  const set = block.select('acme', [], block.minT, block.maxT, column);
  const out = new Map<string, Row[]>();
  const into = newSampleBuffer();
  for (let i = 0; i < set.count; i++) {
    into.length = 0;
    into.histogramLength = 0;
    into.histograms = [];
    into.histogramTimestamps = [];
    set.read(i, block.minT, block.maxT, into);
    out.set(JSON.stringify(set.labels(i)), rowsOf(into));
  }
  set.close();
  return out;
}
