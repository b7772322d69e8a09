/**
 * ScrapeStore: where the bodies of scrapes go to be read and stored, away from the thread that fetches them.
 *
 * A target is opened once and scraped many times; what is known of its series stays with whoever implements this (a shard worker).
 * All of it is plain data, so that it may cross threads. Calls for one target come one after the other.
 */
import type { Labels } from '../model/labels.ts';
import type { MetadataEntry } from '../model/sample-batch.ts';
import type { TenantId } from '../model/tenant.ts';

export interface RelabelRule {
  sourceLabels: readonly string[];
  separator: string;
  regex: string;
  modulus: number;
  targetLabel: string;
  replacement: string;
  action: string;
}

/** How a job's bodies are read. 0 = no limit, in all limits. */
export interface ScrapeReadSettings {
  honorLabels: boolean;
  honorTimestamps: boolean;
  trackTimestampsStaleness: boolean;
  extraScrapeMetrics: boolean;
  fallbackScrapeProtocol: string;
  nameValidation: 'utf8' | 'legacy';
  scrapeNativeHistograms: boolean;
  alwaysScrapeClassicHistograms: boolean;
  convertClassicHistograms: boolean;
  nativeHistogramBucketLimit: number;
  /** 0 = as fine as it comes. */
  nativeHistogramMinBucketFactor: number;
  bodySizeLimit: number;
  sampleLimit: number;
  labelLimit: number;
  labelNameLengthLimit: number;
  labelValueLengthLimit: number;
  metricRelabelConfigs: readonly RelabelRule[];
}

export interface ScrapeSpec {
  tenant: TenantId;
  /** What the target's series carry. */
  labels: Labels;
  timeoutMs: number;
  settings: ScrapeReadSettings;
}

export interface ScrapeBody {
  contentType: string;
  /** '' (identity), gzip, zstd. */
  contentEncoding: string;
  /** As it came; belongs to the store from here on. */
  bytes: Uint8Array;
}

export interface ScrapeResult {
  timestampMs: number;
  /** What fetching took. */
  fetchMs: number;
  /** null where there was no answer; `error` then says why. */
  body: ScrapeBody | null;
  error: string;
  /** The body was larger than body_size_limit. */
  tooLarge: boolean;
}

export interface ScrapeOutcome {
  /** '' where all went in; else why the scrape counts as failed, and up is 0. */
  error: string;
  scraped: number;
  added: number;
  /** '' where it was stored, whatever it was. */
  storeError: string;
  /** What the target said of its metrics, where it is told anew; null = as before. */
  metadata: MetadataEntry[] | null;
}

export interface ScrapeStore {
  /** The id is the caller's, and new. */
  open(id: number, spec: ScrapeSpec): void;
  /** Reads and stores one scrape with its report (`up` and its companions). Never rejects for what a target sends. */
  scrape(id: number, result: ScrapeResult): Promise<ScrapeOutcome>;
  /** Forgets the target; `goneAtMs` other than 0: the target is gone, all its series get a staleness marker of that time. */
  close(id: number, goneAtMs: number): Promise<void>;
}
