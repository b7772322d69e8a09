/**
 * ShardRuntime: everything one shard thread runs, put together: its storage, the decoders, the exchange with the other
 * shards, and a query engine over all of them.
 *
 * Any shard can take any request: a body is decoded where it lands and its rows go to their shards; a query is coordinated
 * and encoded where it lands and its leaves are evaluated in all shards. Runs in a worker (main/worker.ts), or in the main
 * thread of a test.
 */

import { DEFAULT_HANDLER_OPTIONS } from '../api/prometheus/handler-context.ts';
import { createPrometheusQueryHandler } from '../api/prometheus/query-handler.ts';
import { rawStreamOfLeafSource } from '../api/prometheus/raw-stream.ts';
import type { Config } from '../config/schema.ts';
import type { IngestRequest, IngestResponse, IngestService } from '../contracts/ingest-service.ts';
import type { QueryService } from '../contracts/query-service.ts';
import type { SampleSink } from '../contracts/sample-sink.ts';
import type { ScrapeStore } from '../contracts/scrape-store.ts';
import { createIngestService } from '../ingest/ingest-service.ts';
import { ScrapeSessions } from '../ingest/scrape/scrape-sessions.ts';
import { systemClock } from '../lib/clock.ts';
import { IdentityHasher } from '../lib/identity-hash.ts';
import { createKernel } from '../lib/kernel/kernel.ts';
import { errorText, type Logger } from '../lib/log.ts';
import { type FamilySnapshot, LATENCY_BUCKETS, MetricsRegistry } from '../lib/metrics.ts';
import type { TenantId } from '../model/tenant.ts';
import type { LimitsConfig } from '../pipeline/admission/limits.ts';
import { withoutReplicaLabels } from '../pipeline/replica-labels.ts';
import { DEFAULT_QUERY_LIMITS } from '../query/limits/query-limits.ts';
import { createPromqlEngine } from '../query/promql/engine.ts';
import { createLocalLeafSource } from '../query/promql/leaf.ts';
import { createShardedLeafSource } from '../query/promql/leaf-merge.ts';
import { DEFAULT_FEATURES } from '../query/promql/parser.ts';
import { SharedChangeFeed } from '../storage/tsdb/change-feed.ts';
import type { TenantPolicy } from '../storage/tsdb/policies.ts';
import { TsdbShard } from '../storage/tsdb/shard.ts';
import { ShardAdmission } from './admission-shard.ts';
import { RemoteReadSource } from './remote-read-source.ts';
import type { ReplayProgress } from './replay-progress.ts';
import { ShardExchange } from './shard-exchange.ts';
import { localHandle, type ShardAdmin, type ShardHandle } from './shard-link.ts';
import { ShardedSource } from './sharded-source.ts';
import { policyRules } from './storage-rules.ts';
import { VERSION } from './version.ts';

export interface RuntimeOptions {
  index: number;
  count: number;
  /** The shard's own folder. */
  dir: string;
  identitySecret: Uint8Array;
  storage: Config['storage'];
  query: Config['query'];
  limits: LimitsConfig;
  changeMemory: SharedArrayBuffer;
  admissionMemory: SharedArrayBuffer;
  replay: ReplayProgress;
  log: Logger;
  /** Hands a write request to another shard's thread. */
  ingestAt?: (shard: number, request: IngestRequest, body: Uint8Array) => Promise<IngestResponse>;
}

/** Bytes of result cache per shard thread: a day of a busy dashboard. */
const RESULT_CACHE_BYTES = 64 * 1024 * 1024;
/** The fresh end of a cached result is asked anew: late scrapes and remote writers arrive in this time. ms. */
const FRESH_MS = 60_000;

export class ShardRuntime {
  readonly own: ShardHandle;
  readonly shard: TsdbShard;
  /** For what this process collects itself. */
  readonly sink: SampleSink;
  readonly admission: ShardAdmission;
  readonly ingest: IngestService;
  readonly scrapes: ScrapeStore;
  readonly query: QueryService;
  readonly remoteRead: RemoteReadSource;
  private readonly metrics: MetricsRegistry;

  private constructor(
    options: RuntimeOptions,
    shard: TsdbShard,
    metrics: MetricsRegistry,
    admission: ShardAdmission,
    peers: (ShardHandle | null)[],
  ) {
    this.shard = shard;
    this.admission = admission;
    this.metrics = metrics;
    const { log } = options;
    this.own = localHandle({ shard, leaves: createLocalLeafSource(shard), index: shard, admin: adminOf(shard) });
    const all = peers.map(peer => peer ?? this.own);
    const hasher = new IdentityHasher(options.identitySecret);
    const exchange = new ShardExchange(options.index, shard, peers);
    const inner = withoutReplicaLabels(exchange, hasher, options.storage.dedup.replica_labels);
    this.sink = admission.sink(inner, 'own');
    const ingest = createIngestService({
      kernel: createKernel(),
      hasher,
      sink: admission.sink(inner, 'pushed'),
      onRejected: (tenant, rejected) => admission.ledger.rejected(tenant, rejected),
      now: () => systemClock.now(),
      deltaHome: tenant => {
        const home = homeOfTenant(tenant, options.count);
        const { ingestAt } = options;
        return home === options.index || ingestAt === undefined ? null : (r, body) => ingestAt(home, r, body);
      },
      onInternalError: error => log.error({ error: errorText(error) }, 'ingest failed'),
    });
    this.ingest = bySender(ingest, admission.senders);
    this.scrapes = new ScrapeSessions({ sink: this.sink, hasher, monotonic: () => systemClock.monotonic() });
    const leaves = createShardedLeafSource(all, options.index);
    const { query } = options;
    this.remoteRead = new RemoteReadSource({
      inner: leaves,
      userAgent: `Sightline/${VERSION}`,
      oldest: async tenant => Math.min(...(await Promise.all(all.map(h => h.admin.oldest(tenant))))),
      now: () => systemClock.monotonic(),
    });
    const slow = metrics.counter('sightline_slow_queries_total', 'Queries slower than query.slow_after.');
    const handler = createPrometheusQueryHandler({
      ...DEFAULT_HANDLER_OPTIONS,
      engine: createPromqlEngine({
        source: this.remoteRead,
        lookbackMs: query.lookback_delta,
        defaultSubqueryStepMs: 60_000,
        maxSamples: query.max_samples,
        features: { ...DEFAULT_FEATURES, delayedNameRemoval: false, startTimestamps: false, typeAndUnitLabels: false },
      }),
      index: new ShardedSource(all.map(h => h.index)),
      uncached: () => this.remoteRead.active,
      raw: rawStreamOfLeafSource(leaves),
      changes: new SharedChangeFeed(options.changeMemory, options.count),
      cache: { bytesMax: RESULT_CACHE_BYTES, freshMs: FRESH_MS },
      clock: systemClock,
      features: DEFAULT_FEATURES,
      lookbackMs: query.lookback_delta,
      limitsOf: () => ({
        ...DEFAULT_QUERY_LIMITS,
        timeoutMs: query.timeout,
        concurrency: query.max_concurrent,
        rangeMaxMs: query.adhoc_range_max,
      }),
      idPrefix: `${options.index}-`,
      slowQueryMs: query.slow_after,
      onSlowQuery: q => {
        slow.inc();
        log.warn({ ...q }, 'slow query');
      },
      onInternalError: (error, request) =>
        log.error(
          { error: errorText(error), endpoint: request.endpoint, params: request.params.slice(0, 2000) },
          'query failed',
        ),
    });
    this.query = timed(handler, metrics);
  }

  /**
   * Opens the shard's folder and replays it. `peers` are the other shards by index, null in the own place; they need not
   * answer yet.
   */
  static async open(options: RuntimeOptions, peers: (ShardHandle | null)[]): Promise<ShardRuntime> {
    const metrics = new MetricsRegistry();
    const { storage, replay, index } = options;
    replay.begin(index);
    const admission = new ShardAdmission(options.admissionMemory, options.limits, metrics, systemClock);
    const shard = await TsdbShard.open({
      gate: admission.gate,
      rare: admission.rarePolicy(options.count),
      onFull: full => admission.board.noteFull(index, full),
      onReplay: (first, last, current) => replay.at(index, first, last, current),
      dir: options.dir,
      shardIndex: options.index,
      clock: systemClock,
      log: options.log,
      metrics,
      changes: new SharedChangeFeed(options.changeMemory, options.count),
      dedupMs: storage.dedup.interval,
      walSync: storage.wal.sync,
      walSyncIntervalMs: storage.wal.sync_interval,
      ...policyOf(storage, storage.retention, storage.downsample, options.count),
      rules: policyRules(storage.rules),
      tenants: new Map(
        Object.entries(storage.tenants).map(([tenant, own]) => [
          tenant,
          policyOf(
            storage,
            { ...storage.retention, ...own.retention },
            { ...storage.downsample, ...own.downsample },
            options.count,
          ),
        ]),
      ),
    });
    replay.end(index);
    shard.startUpkeep();
    admission.start(index, () => headBytes(shard));
    return new ShardRuntime(options, shard, metrics, admission, peers);
  }

  metricsSnapshot(): FamilySnapshot[] {
    return this.metrics.snapshot();
  }

  async close(): Promise<void> {
    this.admission.stop();
    await this.shard.close();
  }
}

/** The shard that keeps the totals of a tenant's delta points: any will do, always the same. */
function homeOfTenant(tenant: string, count: number): number {
  let h = 0;
  for (let i = 0; i < tenant.length; i++) h = Math.imul(h ^ tenant.charCodeAt(i), 0x5bd1e995);
  return ((h ^ (h >>> 15)) >>> 0) % count;
}

/** The head's bound is that of all tenants. */
function oldestIn(shard: TsdbShard, tenant: TenantId): number {
  const blocks = shard.blocks.of(tenant).reduce((least, b) => Math.min(least, b.minT), Infinity);
  return Math.min(blocks, shard.head.minT);
}

function policyOf(
  storage: Config['storage'],
  retention: { raw: number; '1m': number; '1h': number },
  downsample: { '1m': number; '1h': number },
  shards: number,
): TenantPolicy {
  return {
    retention: {
      rawMs: retention.raw,
      minuteMs: retention['1m'],
      hourMs: retention['1h'],
      maxBytes: Math.floor((storage.retention.size ?? 0) / shards),
    },
    downsample: {
      minuteAfterMs: downsample['1m'] === 0 ? null : downsample['1m'],
      hourAfterMs: downsample['1h'] === 0 ? null : downsample['1h'],
    },
  };
}

function adminOf(shard: TsdbShard): ShardAdmin {
  return {
    status: async (tenant, limit) => shard.status(tenant, limit),
    blocks: async tenant => shard.blockStatus(tenant),
    oldest: async tenant => oldestIn(shard, tenant),
    deleteSeries: ({ tenant, matcherSets, minT, maxT }) => shard.deleteSeries(tenant, matcherSets, minT, maxT),
    cleanTombstones: () => shard.cleanTombstones(),
    snapshot: (folder, skipHead) => shard.snapshot(folder, skipHead),
    flush: () => shard.upkeep.flushAll(),
  };
}

function headBytes(shard: TsdbShard): number {
  return Object.values(shard.head.stats().memory).reduce((sum, bytes) => sum + bytes, 0);
}

/** What a request brings is counted as its sender's: the program that sent it, and by which protocol. */
function bySender(ingest: IngestService, senders: ShardAdmission['senders']): IngestService {
  const nameOf = (request: IngestRequest): string =>
    `${request.protocol}: ${request.headers['user-agent']?.slice(0, 100) || 'without a User-Agent'}`;
  return {
    ingest: (request, body) => senders.run(nameOf(request), () => ingest.ingest(request, body)),
    ingestStream: (request, body) => senders.run(nameOf(request), () => ingest.ingestStream(request, body)),
  };
}

/** Counts queries and their time by endpoint and status. */
function timed(service: QueryService, metrics: MetricsRegistry): QueryService {
  const seconds = metrics.histogram(
    'sightline_query_duration_seconds',
    'Time from the arrival of a query to its first byte.',
    LATENCY_BUCKETS,
    ['endpoint'],
  );
  const total = metrics.counter('sightline_queries_total', 'Queries by endpoint and HTTP status.', [
    'endpoint',
    'status',
  ]);
  return {
    async handle(request, signal) {
      const began = performance.now();
      const response = await service.handle(request, signal);
      seconds.labels(request.endpoint).observe((performance.now() - began) / 1000);
      total.labels(request.endpoint, String(response.status)).inc();
      return response;
    },
    activeQueries: tenant => service.activeQueries(tenant),
    cancelQuery: (tenant, id) => service.cancelQuery(tenant, id),
  };
}
