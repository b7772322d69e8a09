/** What the main thread and the thread of outgoing remote write say to each other. */
import type { RemoteWriteConfig } from '../config/prometheus/model.ts';
import type { ForwardPosition } from '../contracts/forward-source.ts';
import type { LogLevel } from '../lib/log.ts';

export interface RemoteWorkerData {
  dataDir: string;
  shards: number;
  userAgent: string;
  logLevel: LogLevel;
}

export interface RemoteSettings {
  endpoints: RemoteWriteConfig[];
  externalLabels: ReadonlyMap<string, string>;
  queue: { bytesMax: number; ageMaxMs: number };
  /** New endpoints get what came since the start of the process; else what comes from now on. */
  starting: boolean;
}

export interface RemoteEndpointStatus {
  name: string;
  /** Without a password. */
  url: string;
  protocol: string;
  shards: number;
  pendingSamples: number;
  queueBytes: number;
  sentSamples: number;
  failedSamples: number;
  /** By reason. */
  droppedSamples: Record<string, number>;
  /** ms since the epoch; 0 while nothing was sent. */
  highestSentTimestampMs: number;
  lastError: string;
}

/** By endpoint, then by shard. */
export type Cursors = Record<string, ForwardPosition[]>;
