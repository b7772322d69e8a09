/**
 * TargetDirectory: what the scraper knows about its targets, for /api/v1/targets and its kin.
 *
 * Plain data, a fresh copy per call: the scraper may go on changing its own state. Implemented by the scraper.
 */
import type { Labels } from '../model/labels.ts';
import type { MetadataEntry } from '../model/sample-batch.ts';
import type { TenantId } from '../model/tenant.ts';

export type TargetHealth = 'up' | 'down' | 'unknown';

export interface ActiveTarget {
  /** Before relabelling, `__address__` and all. */
  discoveredLabels: Labels;
  labels: Labels;
  /** Job name. */
  scrapePool: string;
  scrapeUrl: string;
  /** The same URL as seen from outside; equal to scrapeUrl where that cannot be told. */
  globalUrl: string;
  /** '' where the last scrape succeeded. */
  lastError: string;
  /** ms since the epoch; 0 = never. */
  lastScrapeMs: number;
  /** Milliseconds. */
  lastScrapeDurationMs: number;
  health: TargetHealth;
  scrapeIntervalMs: number;
  scrapeTimeoutMs: number;
}

export interface DroppedTarget {
  discoveredLabels: Labels;
  scrapePool: string;
  /** For people: the rule that dropped it, or what it lacks. */
  reason: string;
  /** Place of that rule in `relabel_configs`, from 0; null where no rule dropped it. */
  rule: number | null;
}

/** One discovery section of a job. */
export interface DiscoveryStatus {
  scrapePool: string;
  /** file, http, dns, consul, kubernetes, docker */
  mechanism: string;
  /** What is asked, for people. */
  where: string;
  /** Found, before relabelling. */
  targets: number;
  /** Whether it has told of its targets at all since it began. */
  synced: boolean;
  /** '' where the last attempt went well. */
  lastError: string;
  /** ms since the epoch; 0 = never. */
  lastOkMs: number;
  lastErrorMs: number;
}

export interface TargetDirectory {
  /** Ordered by scrape pool, then by labels. */
  active(tenant: TenantId): ActiveTarget[];
  /** Dropped by relabelling; may be cut, `droppedCounts` is whole. */
  dropped(tenant: TenantId): DroppedTarget[];
  /** Dropped targets per scrape pool. */
  droppedCounts(tenant: TenantId): Record<string, number>;
  /** Names of all pools, sorted, those without targets included. */
  scrapePools(tenant: TenantId): string[];
  /** Discovery sections of all jobs, in the order of the configuration. */
  discovery(tenant: TenantId): DiscoveryStatus[];
  /** What each active target last exposed as type, help and unit. */
  metadata(tenant: TenantId): { labels: Labels; entries: MetadataEntry[] }[];
}
