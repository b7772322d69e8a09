/**
 * What the composition root asks of the metrics engine, whatever runs behind it: shards in worker threads, or one in this
 * thread. `openEngine` (main/engine.ts) is the only place that names the real one; tests pass their own.
 */

import type { Config } from '../config/schema.ts';
import type { TsdbAdmin } from '../contracts/admin.ts';
import type { CardinalityExplorer } from '../contracts/cardinality.ts';
import type { IngestService } from '../contracts/ingest-service.ts';
import type { QueryService } from '../contracts/query-service.ts';
import type { SampleSink } from '../contracts/sample-sink.ts';
import type { ScrapeStore } from '../contracts/scrape-store.ts';
import type { Clock } from '../lib/clock.ts';
import type { IdentityHasher } from '../lib/identity-hash.ts';
import type { Logger, LogLevel } from '../lib/log.ts';
import type { MetricsRegistry } from '../lib/metrics.ts';
import type { TenantId } from '../model/tenant.ts';
import type { RemoteReadSettings } from './remote-read-source.ts';
import type { ReplayProgress } from './replay-progress.ts';

export interface EngineOptions {
  /** The data folder's root; the engine keeps to `tsdb/` and `snapshots/` in it. */
  dataDir: string;
  /** Fixed for the folder. */
  shards: number;
  /** 32 bytes: keys the identity hashes. Workers make their own IdentityHasher of it. */
  identitySecret: Uint8Array;
  hasher: IdentityHasher;
  /** Limits and durations, in ms and bytes. */
  storage: Config['storage'];
  query: Config['query'];
  limits: Config['limits'];
  /** ADMISSION_BYTES, shared by all threads (pipeline/admission/board.ts). */
  admissionMemory: SharedArrayBuffer;
  clock: Clock;
  log: Logger;
  logLevel: LogLevel;
  /** Where shards tell how far their replay is. */
  replay: ReplayProgress;
  /** This thread's; join those of workers by `addSource`. */
  metrics: MetricsRegistry;
}

export interface Engine {
  /** For producers inside: this host's collector, own metrics. */
  sink: SampleSink;
  ingest: IngestService;
  /** Reads and stores what scrapes bring. */
  scrapes: ScrapeStore;
  query: QueryService;
  tsdb: TsdbAdmin;
  cardinality: CardinalityExplorer;
  /**
   * From the next append on, what a tenant gets is also written to the shards' outgoing queues, which remove their own oldest segments
   * beyond `bytesMax` per shard; null ends the queues and removes them.
   */
  setForward?(queue: { tenant: TenantId; bytesMax: number; overrunBytes: number } | null): Promise<void>;
  /** Where PromQL queries of the default tenant look besides the own storage. */
  setRemoteRead?(settings: RemoteReadSettings): Promise<void>;
  /** Threads besides the main one. */
  threads: number;
  /** Corrupt segments and blocks found since the start. */
  corruptions(): number;
  /** Of the engine's own threads. */
  setLogLevel(level: LogLevel): void;
  /** A reload has brought other limits. */
  setLimits(limits: Config['limits']): Promise<void>;
  /**
   * Stops accepting (ShuttingDownError from then on), finishes what runs, brings everything acknowledged to disk, ends the
   * workers. Called once.
   */
  close(): Promise<void>;
}

/** Resolves when everything acknowledged before is readable again (replay is done). `replay` tells progress meanwhile. */
export type OpenEngine = (options: EngineOptions) => Promise<Engine>;
