/**
 * What the scraper is told: jobs with their targets' labels and limits, in ms and bytes. Structurally what the configuration
 * of a Prometheus file gives; this folder knows nothing of configuration files.
 */
import type { RelabelRule, ScrapeReadSettings } from '../../contracts/scrape-store.ts';
import type { HttpClientSettings } from '../../lib/http-client/settings.ts';
import type { DiscoverySection } from '../discovery/sections.ts';

export interface ScrapeJob extends ScrapeReadSettings {
  jobName: string;
  scrapeIntervalMs: number;
  scrapeTimeoutMs: number;
  metricsPath: string;
  scheme: string;
  params: ReadonlyMap<string, readonly string[]>;
  enableCompression: boolean;
  /** In order of preference. */
  scrapeProtocols: readonly string[];
  /** What targets are asked to do with names beyond the classic ones: allow-utf-8, underscores, dots, values. */
  nameEscaping: string;
  targetLimit: number;
  keepDroppedTargets: number;
  httpClient: HttpClientSettings;
  staticConfigs: readonly { targets: readonly string[]; labels: ReadonlyMap<string, string> }[];
  discovery: readonly DiscoverySection[];
  relabelConfigs: readonly RelabelRule[];
  /** Folder that relative file names in `httpClient` are relative to. */
  baseDir: string;
}
