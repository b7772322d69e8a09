/**
 * Ports of the cardinality explorer: which metrics, labels, values and targets a tenant's active series come from, and what
 * relabel rules would save. Plain data; a shard answers for its own series, and the parts can be put together.
 */
import type { TenantId } from '../model/tenant.ts';

export interface CardinalityScope {
  /** Only series of this metric; '' = of all. */
  metric: string;
  /** Only series that have this label; '' = all. */
  label: string;
  /** Rows per list. */
  limit: number;
}

export interface MetricCount {
  name: string;
  series: number;
}

export interface LabelCount {
  name: string;
  /** Different values. Exact up to about a thousand, within some percent above. */
  values: number;
  /** Series that have the label. */
  series: number;
}

export interface PairCount {
  label: string;
  value: string;
  series: number;
}

export interface TargetCount {
  job: string;
  instance: string;
  series: number;
}

export interface CardinalityView {
  /** Active series in the scope. */
  series: number;
  metrics: MetricCount[];
  labels: LabelCount[];
  pairs: PairCount[];
  /** Of the scope's label, if it has one. */
  values: { value: string; series: number }[];
  targets: TargetCount[];
}

/** One shard's view: label values as sketches, so that those of several shards can be united. */
export interface CardinalityPart extends Omit<CardinalityView, 'labels'> {
  labels: { name: string; series: number; sketch: Uint32Array; values: number }[];
}

/** What rules would do to the active series of one shard. */
export interface SavingsPart {
  /** Active series, and how many of them were looked at before the time was over. */
  total: number;
  looked: number;
  /** Of those looked at: dropped, and with other labels than before. */
  dropped: number;
  changed: number;
  /** Identities of what is left, pairs of words: those whose first word is 0 in the bits of `mask`. */
  identities: Uint32Array;
  mask: number;
  metrics: { name: string; before: number; dropped: number; changed: number }[];
}

/** Who brings new series, by their own name for themselves. */
export interface SenderCount {
  sender: string;
  /** Series made in the running hour, and in the last 24 hours. */
  thisHour: number;
  lastDay: number;
}

export interface RelabelSavings {
  /** Active series now, and what they would be. */
  before: number;
  after: number;
  saved: number;
  /** Dropped as a whole; given other labels; become the same as another series, so that their samples collide. */
  dropped: number;
  changed: number;
  merged: number;
  /** Whether all series were looked at; else the figures are an estimate from `looked` of them. */
  complete: boolean;
  looked: number;
  metrics: { name: string; before: number; dropped: number; changed: number }[];
}

export interface CardinalityExplorer {
  view(tenant: TenantId, scope: CardinalityScope): Promise<CardinalityView>;
  /** @param yaml a list as under metric_relabel_configs. Throws a ConfigError where it is none. */
  savings(tenant: TenantId, yaml: string, budgetMs: number): Promise<RelabelSavings>;
  senders(tenant: TenantId): Promise<SenderCount[]>;
  /** Series per tenant. */
  tenants(): Promise<{ tenant: TenantId; series: number; limit: number }[]>;
}

/** What a day looked like; small, kept for a week or so. */
export interface CardinalitySnapshot {
  /** Days since the epoch. */
  day: number;
  timeMs: number;
  series: number;
  /** The largest: metric and series, label and values. */
  metrics: [name: string, series: number][];
  labels: [name: string, values: number][];
}

export interface CardinalityHistory {
  /** As it was yesterday and a week ago, or the nearest day of which something is known; null where nothing is. */
  before(tenant: TenantId): Promise<{ yesterday: CardinalitySnapshot | null; lastWeek: CardinalitySnapshot | null }>;
}
