/**
 * TsdbShard: the metrics storage of one shard: head, blocks, exemplars, metadata, and their upkeep.
 *
 * Appending is synchronous and durable against kill -9 on return. Everything that takes long (flushes, merges,
 * downsampling, expiry) runs in slices between requests, one job at a time (upkeep.ts).
 */
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { copyFile, link, mkdir, readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { BlockStatus, TsdbStatus } from '../../contracts/admin.ts';
import { type AppendResult, type Rejection, StorageFullError } from '../../contracts/sample-sink.ts';
import type { SeriesGate } from '../../contracts/series-gate.ts';
import type { Clock, Timer } from '../../lib/clock.ts';
import { hasRoom, isNoSpace } from '../../lib/disk-space.ts';
import { errorText, type Logger } from '../../lib/log.ts';
import type { MetricsRegistry } from '../../lib/metrics.ts';
import type { Matcher } from '../../model/matcher.ts';
import type { ExemplarSample, SampleBatch } from '../../model/sample-batch.ts';
import type { TenantId } from '../../model/tenant.ts';
import { BlockCaches } from './block/cache.ts';
import { tombstonesPathOf } from './block/reader.ts';
import { BlockStore } from './block-store.ts';
import type { SharedChangeFeed } from './change-feed.ts';
import { hasStragglers } from './choose-by-series.ts';
import { type ExemplarPolicy, ExemplarStore } from './exemplars/exemplar-store.ts';
import { ForwardTap } from './forward/forward-tap.ts';
import { forwardDir } from './forward/segments.ts';
import type { AppendCounts } from './head/appender.ts';
import { Head } from './head/head.ts';
import { compileMatchers } from './matchers.ts';
import { MetadataStore } from './metadata/metadata-store.ts';
import { type DownsamplePolicy, RAW, type RetentionPolicy } from './plan.ts';
import { type PolicyRule, StoragePolicies, type TenantPolicy } from './policies.ts';
import { type ShardMetrics, shardMetrics } from './shard-metrics.ts';
import { ShardSource } from './shard-source.ts';
import { Upkeep } from './upkeep.ts';
import { nodeFiles } from './wal/files.ts';

export interface ShardOptions {
  dir: string;
  shardIndex: number;
  clock: Clock;
  log: Logger;
  metrics: MetricsRegistry;
  changes: SharedChangeFeed;
  walSync: 'always' | 'interval' | 'never';
  walSyncIntervalMs: number;
  retention: RetentionPolicy;
  downsample: DownsamplePolicy;
  /** Tenants with periods of their own. */
  tenants?: ReadonlyMap<TenantId, TenantPolicy>;
  /** Periods of series; the first that matches counts. */
  rules?: readonly PolicyRule[];
  /** Keeps one sample per this interval, for replicated scrapers; 0 or absent = all. */
  dedupMs?: number;
  /** Lets new series in or not. */
  gate?: SeriesGate;
  /** What is kept of a tenant's exemplars in this shard, and of how many metrics it has texts. */
  rare?: { exemplars(tenant: TenantId): ExemplarPolicy; metadataMetrics(tenant: TenantId): number };
  /** Bytes of inflated blocks and of their indexes kept in memory. */
  blockCacheBytes?: number;
  /** Bytes of sealed head chunks kept in memory. */
  chunkCacheBytes?: number;
  /** Told when the disk begins to refuse what comes in, and when it takes it again. */
  onFull?: (full: boolean) => void;
  /** Told of each segment of the log before it is read back. */
  onReplay?: (first: number, last: number, current: number) => void;
}

/** Samples newer than this alter nothing that a result cache would keep. ms. */
const FRESH_MS = 60_000;
/** Stays in a shard's folder from the first use of rules on. */
const RULES_MARK = 'rules-seen.json';
/** Bytes of a segment of the outgoing queue; a small queue has smaller ones, so that little is lost with one. */
const FORWARD_SEGMENT_BYTES_MAX = 32 << 20;
const UPKEEP_EVERY_MS = 10_000;
/** A full disk is looked at this often; it is full no longer where there is some room again, or an append succeeds. */
const FULL_LOOK_MS = 1000;
/** With sync interval, exemplars and metadata are synced less often than samples: few, and never the only trace of anything. */
const RARE_SYNC_MS = 1000;
const BLOCK_CACHE_BYTES = 128 * 1024 * 1024;
const INDEX_CACHE_BYTES = 128 * 1024 * 1024;

export class TsdbShard extends ShardSource {
  readonly head: Head;
  readonly blocks: BlockStore;
  readonly exemplarStore: ExemplarStore;
  readonly metadataStore: MetadataStore;
  readonly upkeep: Upkeep;
  private readonly options: ShardOptions;
  private readonly metrics: ShardMetrics;
  private readonly timers: Timer[] = [];
  private closing = false;
  private forwardTap: ForwardTap | null = null;
  private full = false;

  private constructor(
    options: ShardOptions,
    head: Head,
    blocks: BlockStore,
    exemplars: ExemplarStore,
    metadata: MetadataStore,
  ) {
    const { retention, downsample } = options;
    const policies = new StoragePolicies({ retention, downsample }, options.tenants, options.rules);
    const rulesKnown = hasKnownRules(options);
    super({
      head,
      blocks,
      exemplars,
      metadata,
      unevenLevels: extents =>
        rulesKnown
          ? extents.some(e => e.resolutionMs !== RAW)
          : hasStragglers(extents, e => options.clock.now() - e.maxT > policies.keepMs(e.block)),
      dedupMs: options.dedupMs ?? 0,
    });
    this.options = options;
    this.head = head;
    this.blocks = blocks;
    this.exemplarStore = exemplars;
    this.metadataStore = metadata;
    this.upkeep = new Upkeep({
      dir: options.dir,
      head,
      blocks,
      clock: options.clock,
      log: options.log,
      policies,
      maxBytes: options.retention.maxBytes,
      expired: tenant => options.changes.noteAll(options.shardIndex, tenant),
      dedupMs: options.dedupMs ?? 0,
      dropExemplars: beforeMs => exemplars.expire(beforeMs),
    });
    this.metrics = shardMetrics(options.metrics, this);
  }

  /** Opens the shard's folder and replays what was acknowledged. Throws what the file system says. */
  static async open(options: ShardOptions): Promise<TsdbShard> {
    const { dir, log } = options;
    const caches = new BlockCaches({
      indexBytesMax: INDEX_CACHE_BYTES,
      dataBytesMax: options.blockCacheBytes ?? BLOCK_CACHE_BYTES,
    });
    const blocks = new BlockStore(dir, caches);
    for (const q of blocks.quarantined) log.error({ ...q }, 'a corrupt block was moved to quarantine; the rest serves');
    const began = performance.now();
    const head = new Head({
      dir: `${dir}/head`,
      sync: options.walSync,
      chunkCacheBytes: options.chunkCacheBytes,
      gate: options.gate ?? null,
      onReplay: options.onReplay,
      log: message => log.warn(message),
    });
    log.info({ ...replayFacts(head), ms: Math.round(performance.now() - began) }, 'replayed the head');
    const { rare } = options;
    const exemplars = new ExemplarStore(
      `${dir}/exemplars`,
      {},
      undefined,
      () => options.clock.now(),
      rare === undefined ? null : tenant => rare.exemplars(tenant),
    );
    const metricsOf = rare === undefined ? null : (tenant: TenantId) => rare.metadataMetrics(tenant);
    const metadata = new MetadataStore(`${dir}/metadata`, {}, undefined, metricsOf);
    for (const damage of [...exemplars.damage, ...metadata.damage]) log.error(damage);
    return new TsdbShard(options, head, blocks, exemplars, metadata);
  }

  /** Starts the background work: syncs, truncation, flushes, merges, expiry. */
  startUpkeep(): void {
    const { clock, walSyncIntervalMs } = this.options;
    this.setFull(!this.canWrite());
    this.repeat(clock, FULL_LOOK_MS, async () => this.lookForRoom());
    this.repeat(clock, walSyncIntervalMs, () => this.head.maintain());
    if (this.options.walSync !== 'never') {
      this.repeat(clock, RARE_SYNC_MS, async () => this.syncRare());
    }
    this.repeat(clock, UPKEEP_EVERY_MS, () => this.upkeep.round());
  }

  /** Runs work every so often, counted from the end of the run before. */
  private repeat(clock: Clock, everyMs: number, work: () => Promise<void>): void {
    const timer = { current: clock.after(everyMs, () => void run()) };
    const run = async (): Promise<void> => {
      await work().catch(error => this.failed(error));
      if (!this.closing) timer.current = clock.after(everyMs, () => void run());
    };
    this.timers.push({ cancel: () => timer.current.cancel() });
  }

  private syncRare(): void {
    this.exemplarStore.sync();
    this.metadataStore.sync();
  }

  private canWrite(): boolean {
    try {
      this.head.recover();
      return true;
    } catch (error) {
      if (error instanceof StorageFullError) return !this.isFullBy(error);
      throw error;
    }
  }

  /** Appends are also refused by a failing disk, or while a flush is behind: that is something else. */
  private isFullBy(error: StorageFullError): boolean {
    return isNoSpace(error) || !hasRoom(this.options.dir);
  }

  private lookForRoom(): void {
    if (!this.full) return;
    if (hasRoom(this.options.dir) && this.canWrite()) this.setFull(false);
  }

  private setFull(full: boolean): void {
    if (this.full === full) return;
    this.full = full;
    this.options.onFull?.(full);
  }

  private hurry(): void {
    if (this.timers.length > 0) this.upkeep.round().catch(error => this.failed(error));
  }

  private failed(error: unknown): void {
    this.metrics.upkeepFailures.inc();
    this.options.log.error({ error: errorText(error) }, 'upkeep failed; it is tried again');
  }

  appendRows(tenant: TenantId, batch: SampleBatch, rows: Uint32Array | null, count: number): AppendResult {
    try {
      const result = this.take(tenant, batch, rows, count);
      this.setFull(false);
      return result;
    } catch (error) {
      if (error instanceof StorageFullError && this.isFullBy(error)) this.setFull(true);
      throw error;
    }
  }

  private take(tenant: TenantId, batch: SampleBatch, rows: Uint32Array | null, count: number): AppendResult {
    const chosen = rows === null ? null : rows.subarray(0, count);
    const counts = this.head.append(tenant, batch, chosen);
    let exemplars = 0;
    if (batch.exemplars !== null) {
      const wanted = counts.refused === null ? batch : this.withoutRefused(batch, batch.exemplars);
      exemplars = this.exemplarStore.append(tenant, wanted, chosen);
      this.forwardTap?.exemplars(tenant, wanted, chosen);
    }
    if (batch.metadata !== null) {
      this.metadataStore.put(tenant, batch.metadata);
      this.forwardTap?.putMetadata(tenant, batch.metadata);
    }
    // The head has synced its own logs.
    if (this.options.walSync === 'always') this.syncRare();
    // A backfill must not have to wait for the next round.
    if (counts.outOfOrder > 0 && this.head.needsOooFlush) this.hurry();
    if (counts.minT < this.options.clock.now() - FRESH_MS) {
      this.options.changes.note(this.options.shardIndex, tenant, counts.minT);
    }
    this.metrics.count(counts, exemplars);
    const { samples, histograms, unknownSeries, duplicates, newSeries } = counts;
    return { samples, histograms, exemplars, rejected: rejections(counts), unknownSeries, duplicates, newSeries };
  }

  /** Keeps an outgoing queue of at most about `bytesMax` bytes from now on; null ends it and removes what is in it. */
  setForward(queue: { tenant: TenantId; bytesMax: number; overrunBytes: number } | null): void {
    if (queue === null) {
      this.head.setTap(null);
      this.forwardTap?.remove();
      this.forwardTap = null;
      rmSync(forwardDir(this.options.dir), { recursive: true, force: true });
      return;
    }
    if (this.forwardTap !== null) {
      this.forwardTap.bytesMax = queue.overrunBytes;
      return;
    }
    this.forwardTap = new ForwardTap({
      files: nodeFiles,
      dir: forwardDir(this.options.dir),
      tenant: queue.tenant,
      bytesMax: queue.overrunBytes,
      segmentBytesMax: Math.min(FORWARD_SEGMENT_BYTES_MAX, Math.max(1 << 16, Math.floor(queue.bytesMax / 8))),
      sync: this.options.walSync === 'always',
      labelsOf: ref => this.head.labelsOf(ref),
      now: () => this.options.clock.now(),
      onError: error => this.options.log.error({ error: errorText(error) }, 'the outgoing queue cannot be written'),
    });
    this.head.setTap(this.forwardTap);
  }

  /** Of the outgoing queue; all 0 where there is none. */
  get forwardCounts(): { written: number; missed: number; overrun: number } {
    const { written = 0, missed = 0, overrun = 0 } = this.forwardTap ?? {};
    return { written, missed, overrun };
  }

  private withoutRefused(batch: SampleBatch, exemplars: readonly ExemplarSample[]): SampleBatch {
    return { ...batch, exemplars: exemplars.filter(e => !this.head.isRefused(batch.hashes, e.series * 4)) };
  }

  async deleteSeries(
    tenant: TenantId,
    matcherSets: readonly (readonly Matcher[])[],
    minT: number,
    maxT: number,
  ): Promise<void> {
    await this.upkeep.exclusive(async () => {
      for (const set of matcherSets) {
        const matchers = compileMatchers(set);
        this.head.deleteSamples(tenant, matchers, minT, maxT);
        for (const block of this.blocks.of(tenant)) block.delete(tenant, matchers, minT, maxT);
      }
      this.options.changes.note(this.options.shardIndex, tenant, minT);
    });
  }

  status(tenant: TenantId, limit: number): TsdbStatus {
    const { minT, maxT } = this.head;
    const chunkCount = this.head.stats().chunkPages;
    return { ...this.head.cardinality(tenant, limit), chunkCount, minTimeMs: minT, maxTimeMs: maxT };
  }

  blockStatus(tenant: TenantId): BlockStatus[] {
    return this.blocks.of(tenant).map(b => ({
      id: b.meta.ulid,
      minTimeMs: b.minT,
      maxTimeMs: b.maxT,
      samples: b.meta.floatSamples + b.meta.histogramSamples,
      series: b.meta.series,
      chunks: b.meta.chunks,
      bytes: b.bytes,
      level: b.meta.level,
      resolutionMs: b.meta.resolutionMs,
    }));
  }

  /** Drops deleted samples from disk: rewrites the blocks that have tombstones. */
  async cleanTombstones(): Promise<void> {
    await this.upkeep.rewriteDeleted();
  }

  /**
   * Hard-links (or copies, across devices) all blocks into a shard folder elsewhere, the head flushed first; copies the logs of
   * exemplars and metadata, which go on growing here.
   */
  async snapshot(folder: string, skipHead: boolean): Promise<void> {
    await this.upkeep.snapshot(skipHead, async files => {
      for (const file of files) {
        const target = join(folder, 'blocks', basename(dirname(file)), basename(file));
        await mkdir(dirname(target), { recursive: true });
        for (const [from, to] of [
          [file, target],
          [tombstonesPathOf(file), tombstonesPathOf(target)],
        ] as const) {
          if (existsSync(from)) await link(from, to).catch(() => copyFile(from, to));
        }
      }
      const mark = join(this.options.dir, RULES_MARK);
      if (existsSync(mark)) await copyFile(mark, join(folder, RULES_MARK));
      await copyLogs(join(this.options.dir, 'exemplars'), join(folder, 'exemplars'));
      await copyLogs(join(this.options.dir, 'metadata'), join(folder, 'metadata'));
    });
  }

  /** Ends the background work and closes the files; everything acknowledged is durable when it resolves. */
  async close(): Promise<void> {
    this.closing = true;
    for (const timer of this.timers) timer.cancel();
    await this.upkeep.stop();
    await this.head.close();
    this.forwardTap?.close();
    this.exemplarStore.close();
    this.metadataStore.close();
    this.blocks.close();
  }
}

/** Whether the folder has, or has had, rules of `storage.rules`: it says so from the first time on. */
function hasKnownRules({ dir, rules = [] }: ShardOptions): boolean {
  const path = join(dir, RULES_MARK);
  try {
    if (rules.length > 0 && !existsSync(path)) writeFileSync(path, `${JSON.stringify(rules.map(r => r.selector))}\n`);
  } catch (error) {
    // What is in it is for people; on a full disk that there is one is enough.
    if (!isNoSpace(error) || !existsSync(path)) throw error;
  }
  return existsSync(path);
}

/** A frame that is being written may be cut off in the copy: a log may end so. */
async function copyLogs(from: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true });
  for (const name of await readdir(from)) {
    if (/\.(exemplars|log)$/.test(name)) await copyFile(join(from, name), join(to, name));
  }
}

function rejections(counts: AppendCounts): Rejection[] {
  const rejected: Rejection[] = counts.refused ?? [];
  if (counts.invalid > 0) {
    rejected.push({
      reason: 'invalid',
      count: counts.invalid,
      example: 'a timestamp before 1970 or beyond 2^53 ms, or more histogram buckets than can be kept',
    });
  }
  return rejected;
}

function replayFacts(head: Head): Record<string, unknown> {
  const { series, chunkPages, walSegments, samples, outOfOrder, damage } = head.report;
  return { series, chunkPages, walSegments, samples, outOfOrder, damaged: damage.length };
}
