/**
 * What the scraper is told: jobs with their targets' labels and limits, in ms and bytes. Structurally what the configuration
 * of a Prometheus file gives; this folder knows nothing of configuration files.
 */
import type { RelabelRule } from './relabel.ts';

export interface ScrapeHttpSettings {
  basic_auth?: { username?: string; username_file?: string; password?: string; password_file?: string };
  authorization?: { type?: string; credentials?: string; credentials_file?: string };
  bearer_token?: string;
  bearer_token_file?: string;
  follow_redirects?: boolean;
  http_headers?: ReadonlyMap<string, { values?: string[]; secrets?: string[]; files?: string[] }>;
}

export interface ScrapeJob {
  jobName: string;
  scrapeIntervalMs: number;
  scrapeTimeoutMs: number;
  metricsPath: string;
  scheme: string;
  params: ReadonlyMap<string, readonly string[]>;
  honorLabels: boolean;
  honorTimestamps: boolean;
  trackTimestampsStaleness: boolean;
  enableCompression: boolean;
  extraScrapeMetrics: boolean;
  scrapeProtocols: readonly string[];
  fallbackScrapeProtocol: string;
  nameValidation: 'utf8' | 'legacy';
  bodySizeLimit: number;
  sampleLimit: number;
  targetLimit: number;
  labelLimit: number;
  labelNameLengthLimit: number;
  labelValueLengthLimit: number;
  keepDroppedTargets: number;
  httpClient: ScrapeHttpSettings;
  staticConfigs: readonly { targets: readonly string[]; labels: ReadonlyMap<string, string> }[];
  relabelConfigs: readonly RelabelRule[];
  metricRelabelConfigs: readonly RelabelRule[];
  /** Folder that relative file names in `httpClient` are relative to. */
  baseDir: string;
}
