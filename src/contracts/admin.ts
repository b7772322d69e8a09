/**
 * Ports for what the API shows about the process itself and lets an administrator do: build, configuration, flags, run-time and
 * storage statistics, deletes, snapshots; and the rule engine's state for /rules and /alerts.
 *
 * All results are plain data. Times are ms since the epoch, durations milliseconds; the API turns them into what clients expect.
 */
import type { Labels } from '../model/labels.ts';
import type { Matcher } from '../model/matcher.ts';
import type { TenantId } from '../model/tenant.ts';

export interface BuildInfo {
  version: string;
  revision: string;
  branch: string;
  buildUser: string;
  /** As `20261122-15:04:05`, or ''. */
  buildDate: string;
}

export interface RuntimeInfo {
  startTimeMs: number;
  /** Working directory. */
  cwd: string;
  hostname: string;
  reloadConfigSuccess: boolean;
  lastConfigTimeMs: number;
  /** Corrupt segments and blocks found since the start. */
  corruptionCount: number;
  /** Worker threads, the main one included. */
  threads: number;
  cpuCores: number;
  memoryLimitBytes: number;
  /** As the user gave it: `15d`, `15d or 10GiB`. */
  storageRetention: string;
}

export interface StatusSource {
  buildInfo(): BuildInfo;
  runtimeInfo(): RuntimeInfo | Promise<RuntimeInfo>;
  /** The running configuration as YAML, secrets masked. */
  configYaml(): string | Promise<string>;
  /** Flag name (without dashes) to its value as text. */
  flags(): Record<string, string>;
}

/** Rows of the top-N lists of /status/tsdb, largest first. */
export interface NamedCount {
  name: string;
  value: number;
}

export interface TsdbStatus {
  numSeries: number;
  numLabelPairs: number;
  chunkCount: number;
  minTimeMs: number;
  maxTimeMs: number;
  seriesCountByMetricName: NamedCount[];
  labelValueCountByLabelName: NamedCount[];
  memoryInBytesByLabelName: NamedCount[];
  seriesCountByLabelValuePair: NamedCount[];
}

/** A block at rest, for /status/tsdb/blocks. */
export interface BlockStatus {
  id: string;
  minTimeMs: number;
  maxTimeMs: number;
  samples: number;
  series: number;
  chunks: number;
  bytes: number;
  level: number;
  /** 0 = raw, else the width of a downsampled point. */
  resolutionMs: number;
}

export interface ReplayStatus {
  /** Segments. */
  first: number;
  last: number;
  current: number;
  state: 'waiting' | 'in progress' | 'done';
}

export interface TsdbAdmin {
  status(tenant: TenantId, limit: number): Promise<TsdbStatus>;
  blocks(tenant: TenantId): Promise<BlockStatus[]>;
  replay(): ReplayStatus;
  /** Deletes samples in [minT, maxT] of the series matching each set; on resolve no query shows them. Bounds may be infinite. */
  deleteSeries(
    tenant: TenantId,
    matcherSets: readonly (readonly Matcher[])[],
    minT: number,
    maxT: number,
  ): Promise<void>;
  /** Rewrites blocks so that deleted samples leave the disk. */
  cleanTombstones(): Promise<void>;
  /** Brings everything in memory into blocks and merges what is due. For tools, tests and benchmarks: it happens by itself. */
  flush(): Promise<void>;
  /** Hard-links a consistent copy; resolves to the folder's name under `snapshots/`. */
  snapshot(options: { skipHead: boolean }): Promise<string>;
}

export interface AlertState {
  labels: Labels;
  annotations: Labels;
  state: 'pending' | 'firing' | 'inactive';
  activeAtMs: number;
  /** 0 = not kept firing. */
  keepFiringSinceMs: number;
  value: number;
}

interface RuleStateBase {
  name: string;
  query: string;
  labels: Labels;
  health: 'ok' | 'err' | 'unknown';
  lastError: string;
  evaluationTimeMs: number;
  /** 0 = never. */
  lastEvaluationMs: number;
}

export interface AlertingRuleState extends RuleStateBase {
  type: 'alerting';
  state: 'pending' | 'firing' | 'inactive' | 'unknown';
  durationMs: number;
  keepFiringForMs: number;
  annotations: Labels;
  alerts: AlertState[];
}

export interface RecordingRuleState extends RuleStateBase {
  type: 'recording';
}

export interface RuleGroupState {
  name: string;
  file: string;
  rules: (AlertingRuleState | RecordingRuleState)[];
  intervalMs: number;
  /** 0 = no limit. */
  limit: number;
  evaluationTimeMs: number;
  lastEvaluationMs: number;
}

export interface RulesDirectory {
  /** Ordered by file, then group name. */
  groups(tenant: TenantId): RuleGroupState[];
  /** URLs of notification receivers that speak Alertmanager's API. */
  alertmanagers(tenant: TenantId): { active: string[]; dropped: string[] };
}
