/** What a Prometheus configuration says, as the parts of this program get it: defaults filled in, durations in ms, sizes in bytes. */
import type { DiscoverySection } from './discovery-sections.ts';
import type { HttpClientSettings } from './http-client.ts';
import type { NameValidation, RelabelConfig } from './relabel.ts';

export interface GlobalConfig {
  scrapeIntervalMs: number;
  scrapeTimeoutMs: number;
  evaluationIntervalMs: number;
  externalLabels: ReadonlyMap<string, string>;
}

export interface StaticGroup {
  targets: string[];
  labels: ReadonlyMap<string, string>;
}

export interface ScrapeConfig {
  jobName: string;
  scrapeIntervalMs: number;
  scrapeTimeoutMs: number;
  metricsPath: string;
  scheme: string;
  /** Query parameters of the scrape URL. */
  params: ReadonlyMap<string, readonly string[]>;
  honorLabels: boolean;
  honorTimestamps: boolean;
  trackTimestampsStaleness: boolean;
  enableCompression: boolean;
  extraScrapeMetrics: boolean;
  /** In order of preference. */
  scrapeProtocols: readonly string[];
  /** '' = none. */
  fallbackScrapeProtocol: string;
  nameValidation: NameValidation;
  /** allow-utf-8, underscores, dots or values. */
  nameEscaping: string;
  scrapeNativeHistograms: boolean;
  alwaysScrapeClassicHistograms: boolean;
  convertClassicHistograms: boolean;
  nativeHistogramBucketLimit: number;
  nativeHistogramMinBucketFactor: number;
  /** 0 = no limit, in all of these. */
  bodySizeLimit: number;
  sampleLimit: number;
  targetLimit: number;
  labelLimit: number;
  labelNameLengthLimit: number;
  labelValueLengthLimit: number;
  keepDroppedTargets: number;
  httpClient: HttpClientSettings;
  staticConfigs: StaticGroup[];
  /** Where further targets come from. */
  discovery: DiscoverySection[];
  relabelConfigs: RelabelConfig[];
  metricRelabelConfigs: RelabelConfig[];
  /** Folder that relative file names in it are relative to. */
  baseDir: string;
}

/** `otlp`, by its own keys; what the file does not give is absent. */
export interface OtlpTranslation {
  translation_strategy?: string | undefined;
  promote_resource_attributes?: string[] | undefined;
  promote_all_resource_attributes?: boolean | undefined;
  ignore_resource_attributes?: string[] | undefined;
  keep_identifying_resource_attributes?: boolean | undefined;
  convert_histograms_to_nhcb?: boolean | undefined;
  promote_scope_metadata?: boolean | undefined;
  label_name_underscore_sanitization?: boolean | undefined;
  label_name_preserve_multiple_underscores?: boolean | undefined;
}

/** Where samples go out to. */
export interface RemoteWriteConfig {
  /** '' where the file gives none. */
  name: string;
  url: string;
  remoteTimeoutMs: number;
  headers: ReadonlyMap<string, string>;
  writeRelabelConfigs: RelabelConfig[];
  sendExemplars: boolean;
  sendNativeHistograms: boolean;
  protobufMessage: RemoteWriteMessage;
  queue: RemoteQueueConfig;
  metadata: { send: boolean; sendIntervalMs: number; maxSamplesPerSend: number };
  httpClient: HttpClientSettings;
  baseDir: string;
}

export type RemoteWriteMessage = 'prometheus.WriteRequest' | 'io.prometheus.write.v2.Request';

export interface RemoteQueueConfig {
  /** Samples in memory per parallel sender. */
  capacity: number;
  minShards: number;
  maxShards: number;
  maxSamplesPerSend: number;
  batchSendDeadlineMs: number;
  minBackoffMs: number;
  maxBackoffMs: number;
  retryOnHttp429: boolean;
  /** 0 = none. */
  sampleAgeLimitMs: number;
}

/** Where queries look besides the own storage. */
export interface RemoteReadConfig {
  name: string;
  url: string;
  remoteTimeoutMs: number;
  /** Most bytes of one frame of a streamed answer. */
  chunkedReadLimit: number;
  headers: ReadonlyMap<string, string>;
  readRecent: boolean;
  /** Asked only by selectors that have all of these as equality matchers. */
  requiredMatchers: ReadonlyMap<string, string>;
  filterExternalLabels: boolean;
  httpClient: HttpClientSettings;
  baseDir: string;
}

export interface PrometheusConfig {
  global: GlobalConfig;
  scrapeConfigs: ScrapeConfig[];
  otlp: OtlpTranslation;
  remoteWrite: RemoteWriteConfig[];
  remoteRead: RemoteReadConfig[];
}

export const GLOBAL_DEFAULTS: GlobalConfig = Object.freeze({
  scrapeIntervalMs: 60_000,
  scrapeTimeoutMs: 10_000,
  evaluationIntervalMs: 60_000,
  externalLabels: new Map<string, string>(),
});

export const SCRAPE_PROTOCOLS = [
  'OpenMetricsText0.0.1',
  'OpenMetricsText1.0.0',
  'PrometheusProto',
  'PrometheusText0.0.4',
  'PrometheusText1.0.0',
] as const;

export const DEFAULT_SCRAPE_PROTOCOLS: readonly string[] = [
  'OpenMetricsText1.0.0',
  'OpenMetricsText0.0.1',
  'PrometheusText1.0.0',
  'PrometheusText0.0.4',
];

export const PROTO_FIRST_SCRAPE_PROTOCOLS: readonly string[] = ['PrometheusProto', ...DEFAULT_SCRAPE_PROTOCOLS];
