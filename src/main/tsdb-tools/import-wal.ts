/**
 * Importing the write-ahead log of a stopped Prometheus: the samples that were not yet in blocks, with exemplars and metadata,
 * through the head of our shards, flushed to blocks at the end.
 *
 * Two passes over the log: the first for series, metadata and deletions, the second for samples. What the source's
 * blocks cover already is passed over, as Prometheus does at its start; what comes twice all the same settles to one. Memory: labels
 * and 60 bytes per series, and what the head needs for them.
 */
import { createHash } from 'node:crypto';
import { statSync } from 'node:fs';
import { BatchBuilder } from '../../ingest/batch-builder.ts';
import { CorruptPrometheusError } from '../../ingest/prometheus-tsdb/byte-reader.ts';
import { readSegment, type WalSegment } from '../../ingest/prometheus-tsdb/wal-files.ts';
import { readRecord, type WalVisitor } from '../../ingest/prometheus-tsdb/wal-records.ts';
import { histogramProblem } from '../../ingest/remote-write/histogram.ts';
import { HASH_WORDS, type IdentityHasher, type TenantSeed } from '../../lib/identity-hash.ts';
import type { FloatHistogram } from '../../model/histogram.ts';
import { encodeLabels, getLabel, METRIC_NAME } from '../../model/labels.ts';
import type { SampleBatch } from '../../model/sample-batch.ts';
import type { TsdbShard } from '../../storage/tsdb/shard.ts';
import { shardOf } from '../shard-exchange.ts';
import { canonical, keptHistogram } from './import-block.ts';
import type { ImportReport } from './import-report.ts';

export interface WalTarget {
  shards: readonly TsdbShard[];
  tenant: string;
  hasher: IdentityHasher;
  /** In-order samples before this are in blocks. ms. */
  fromT: number;
  progress(step: string, done: number, total: number): void;
}

const BATCH_ROWS = 1 << 16;
const BATCH_HISTOGRAMS = 4096;
/** Rows after which the heads are flushed, so that they stay small. */
const FLUSH_ROWS = 50_000_000;
const STALE_HIGH = 0x7ff00000;
const STALE_LOW = 2;

/** Names the state of a log: the same again means that nothing was added since. */
export function walFingerprint(segments: readonly WalSegment[]): string {
  const hash = createHash('sha256');
  for (const { path } of segments) hash.update(`${path.split('/').slice(-2).join('/')} ${statSync(path).size}\n`);
  return hash.digest('hex');
}

export async function importWal(
  segments: readonly WalSegment[],
  target: WalTarget,
  report: ImportReport,
): Promise<void> {
  await new WalImport(segments, target, report).run();
}

/** Labels and identity of the series of a log. */
class LogSeries {
  count = 0;
  bytes = new Uint8Array(64 * 1024);
  used = 0;
  start = new Float64Array(1024);
  end = new Float64Array(1024);
  hashes = new Uint32Array(1024 * HASH_WORDS);

  add(labels: Uint8Array, hasher: IdentityHasher, seed: TenantSeed): number {
    const i = this.count++;
    if (i === this.start.length) {
      this.start = copied(new Float64Array(i * 2), this.start);
      this.end = copied(new Float64Array(i * 2), this.end);
      this.hashes = copied(new Uint32Array(i * 2 * HASH_WORDS), this.hashes);
    }
    if (this.used + labels.length > this.bytes.length) {
      this.bytes = copied(new Uint8Array(Math.max(this.bytes.length * 2, this.used + labels.length)), this.bytes);
    }
    this.bytes.set(labels, this.used);
    this.start[i] = this.used;
    this.used += labels.length;
    this.end[i] = this.used;
    hasher.hash(seed, labels, 0, labels.length, this.hashes, i * HASH_WORDS);
    return i;
  }

  key(i: number): string {
    return this.hashes.subarray(i * HASH_WORDS, (i + 1) * HASH_WORDS).join();
  }
}

function copied<T extends Uint8Array | Uint32Array | Float64Array>(into: T, from: T): T {
  into.set(from);
  return into;
}

interface RareRow {
  series: number;
  t: number;
  startT: number;
  histogram: FloatHistogram | null;
  value: number;
  labels: readonly string[];
}

class WalImport {
  private readonly segments: readonly WalSegment[];
  private readonly target: WalTarget;
  private readonly report: ImportReport;
  private readonly series = new LogSeries();
  private readonly byRef = new Map<number, number>();
  /** By series: flat intervals. Few. */
  private readonly deletions: { ref: number; minT: number; maxT: number }[] = [];
  private deleted = new Map<number, number[]>();
  private readonly metadata = new Map<string, { type: string; unit: string; help: string }>();
  private readonly builder: BatchBuilder;
  private rows = 0;
  private rowsSinceFlush = 0;
  private readonly rowSeries = new Uint32Array(BATCH_ROWS);
  private readonly rowT = new Float64Array(BATCH_ROWS);
  private readonly rowStart = new Float64Array(BATCH_ROWS);
  private readonly rowWords = new Uint32Array(BATCH_ROWS * 2);
  private rare: RareRow[] = [];
  private fromT = 0;
  private unknown = 0;

  constructor(segments: readonly WalSegment[], target: WalTarget, report: ImportReport) {
    this.segments = segments;
    this.target = target;
    this.report = report;
    this.builder = new BatchBuilder(target.hasher, target.hasher.tenantSeed(target.tenant));
  }

  async run(): Promise<void> {
    const { report, target } = this;
    this.readSeries();
    this.resolveDeletions();
    for (const [i, segment] of this.segments.entries()) {
      target.progress('log segments read', i, this.segments.length);
      await this.readSamples(segment);
    }
    await this.flushRows();
    this.putMetadata();
    for (const shard of target.shards) await shard.upkeep.flushAll();
    if (this.unknown > 0) report.damage(`${this.unknown} samples of the log belong to series that are not in it`);
    report.series += this.series.count;
  }

  private scan(segment: WalSegment, visitor: WalVisitor, quiet: boolean): Iterable<number> {
    const { report } = this;
    const damaged = (error: CorruptPrometheusError): void => {
      if (!quiet) report.damage(error.message);
    };
    return (function* () {
      for (const { at, record } of readSegment(segment, damaged)) {
        try {
          readRecord(record, segment.path, at, visitor);
        } catch (error) {
          if (!(error instanceof CorruptPrometheusError)) throw error;
          damaged(error);
        }
        yield at;
      }
    })();
  }

  private readSeries(): void {
    const seed = this.target.hasher.tenantSeed(this.target.tenant);
    const visitor: WalVisitor = {
      series: (ref, flat) => {
        if (this.byRef.has(ref)) return;
        const labels = canonical(flat);
        if (labels.length > 0) this.byRef.set(ref, this.series.add(encodeLabels(labels), this.target.hasher, seed));
      },
      tombstone: (ref, minT, maxT) => this.deletions.push({ ref, minT, maxT }),
    };
    for (const segment of this.segments) for (const _ of this.scan(segment, visitor, true));
  }

  /** A restart gives a series a new reference: deletions go by identity. */
  private resolveDeletions(): void {
    if (this.deletions.length === 0) return;
    const byKey = new Map<string, number[]>();
    for (const { ref, minT, maxT } of this.deletions) {
      const i = this.byRef.get(ref);
      if (i === undefined) continue;
      const key = this.series.key(i);
      const list = byKey.get(key);
      if (list === undefined) byKey.set(key, [minT, maxT]);
      else list.push(minT, maxT);
    }
    for (let i = 0; i < this.series.count; i++) {
      const list = byKey.get(this.series.key(i));
      if (list !== undefined) this.deleted.set(i, list);
    }
  }

  private async readSamples(segment: WalSegment): Promise<void> {
    this.fromT = segment.path.includes('/wbl/') ? 0 : this.target.fromT;
    const visitor: WalVisitor = {
      sample: (ref, t, low, high, startT) => this.addSample(ref, t, low, high, startT),
      histogram: (ref, t, histogram, stale, startT) => this.addHistogram(ref, t, histogram, stale, startT),
      exemplar: (ref, t, value, labels) => {
        const series = this.wanted(ref, t, 0);
        if (series < 0) return;
        this.rare.push({ series, t, startT: 0, histogram: null, value, labels: canonical(labels) });
      },
      metadata: (ref, type, unit, help) => {
        const series = this.byRef.get(ref);
        if (series !== undefined) this.metadata.set(this.metricOf(series), { type, unit, help });
      },
    };
    for (const _ of this.scan(segment, visitor, false)) {
      if (this.rows >= BATCH_ROWS / 2 || this.rare.length >= BATCH_HISTOGRAMS) await this.flushRows();
    }
  }

  private metricOf(series: number): string {
    const { builder } = this;
    builder.reset();
    this.addSeries(series);
    return getLabel(builder.lastLabels(), METRIC_NAME);
  }

  private addSeries(series: number): void {
    const { bytes, start, end, hashes } = this.series;
    this.builder.addSeriesHashed(bytes, start[series] as number, end[series] as number, hashes, series * HASH_WORDS);
  }

  /** Index of the series where the sample is to be kept, else -1. */
  private wanted(ref: number, t: number, fromT: number): number {
    const series = this.byRef.get(ref);
    if (series === undefined) {
      this.unknown++;
      return -1;
    }
    if (t < fromT) return -1;
    if (t < 0) {
      this.report.before1970++;
      return -1;
    }
    const intervals = this.deleted.size === 0 ? undefined : this.deleted.get(series);
    if (intervals !== undefined) {
      for (let i = 0; i < intervals.length; i += 2) {
        if (t >= (intervals[i] as number) && t <= (intervals[i + 1] as number)) return -1;
      }
    }
    return series;
  }

  private addSample(ref: number, t: number, low: number, high: number, startT: number): void {
    const series = this.wanted(ref, t, this.fromT);
    if (series < 0) return;
    // One record may hold more than is left of a batch: then it is written between two rows.
    if (this.rows === BATCH_ROWS) this.writeRows();
    const row = this.rows++;
    this.rowSeries[row] = series;
    this.rowT[row] = t;
    this.rowStart[row] = Math.max(0, startT);
    this.rowWords[2 * row] = low;
    this.rowWords[2 * row + 1] = high;
  }

  private addHistogram(ref: number, t: number, histogram: FloatHistogram, stale: boolean, startT: number): void {
    if (stale) {
      this.addSample(ref, t, STALE_LOW, STALE_HIGH, 0);
      return;
    }
    const series = this.wanted(ref, t, this.fromT);
    if (series < 0) return;
    const problem = histogramProblem(histogram);
    if (problem !== '') this.report.damage(`a histogram of the log at ${t}: ${problem}`);
    else {
      const kept = keptHistogram(histogram);
      this.rare.push({ series, t, startT: Math.max(0, startT), histogram: kept, value: 0, labels: [] });
    }
  }

  /** Writes what has gathered; gives the heads room where they ask for it. */
  private async flushRows(): Promise<void> {
    this.writeRows();
    const { shards } = this.target;
    if (this.rowsSinceFlush >= FLUSH_ROWS || shards.some(s => s.head.needsOooFlush)) {
      this.rowsSinceFlush = 0;
      for (const shard of shards) await shard.upkeep.flushAll();
    }
  }

  private writeRows(): void {
    this.rowsSinceFlush += this.rows;
    const { builder, rowSeries, rowT, rowStart, rowWords } = this;
    const order = new Uint32Array(this.rows);
    for (let i = 0; i < order.length; i++) order[i] = i;
    order.sort((a, b) => (rowSeries[a] as number) - (rowSeries[b] as number) || a - b);
    builder.reset();
    let last = -1;
    for (let k = 0; k < order.length; k++) {
      const row = order[k] as number;
      if (rowSeries[row] !== last) {
        last = rowSeries[row] as number;
        this.addSeries(last);
      }
      builder.addSampleBits(
        rowT[row] as number,
        rowWords[2 * row] as number,
        rowWords[2 * row + 1] as number,
        rowStart[row],
      );
    }
    this.rows = 0;
    last = -1;
    this.rare.sort((a, b) => a.series - b.series);
    for (const row of this.rare) {
      if (row.series !== last) {
        last = row.series;
        this.addSeries(last);
      }
      if (row.histogram !== null) builder.addHistogram(row.t, row.histogram, row.startT);
      else builder.addExemplar(row.t, row.value, row.labels);
    }
    this.rare = [];
    if (builder.seriesCount > 0) this.append(builder.finish());
  }

  private append(batch: SampleBatch): void {
    const { shards, tenant } = this.target;
    const rows = shards.map(() => new Uint32Array(batch.seriesCount));
    const counts = shards.map(() => 0);
    for (let i = 0; i < batch.seriesCount; i++) {
      const shard = shardOf(batch.hashes, i, shards.length);
      (rows[shard] as Uint32Array)[(counts[shard] as number)++] = i;
    }
    for (const [s, shard] of shards.entries()) {
      const count = counts[s] as number;
      if (count === 0) continue;
      const result = shard.appendRows(tenant, batch, rows[s] as Uint32Array, count);
      this.report.samples += result.samples;
      this.report.histograms += result.histograms;
      this.report.exemplars += result.exemplars;
      for (const r of result.rejected) this.report.damage(`${r.count} samples refused (${r.reason}): ${r.example}`);
    }
  }

  private putMetadata(): void {
    if (this.metadata.size === 0) return;
    this.builder.reset();
    for (const [metric, entry] of this.metadata) this.builder.addMetadata({ metric, ...entry });
    const batch = this.builder.finish();
    const shard = this.target.shards[0] as TsdbShard;
    shard.metadataStore.put(this.target.tenant, batch.metadata ?? []);
    this.report.metadata += this.metadata.size;
  }
}
