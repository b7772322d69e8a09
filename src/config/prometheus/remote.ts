/** remote_write and remote_read of a Prometheus file with Prometheus' defaults filled in. */
import { type HttpClientSettings, httpClientFields } from './http-client.ts';
import type { RemoteReadConfig, RemoteWriteConfig, RemoteWriteMessage } from './model.ts';
import type { RemoteReadSection, RemoteWriteSection } from './sections.ts';

/** As in Prometheus. */
export const REMOTE_WRITE_DEFAULTS = Object.freeze({
  remoteTimeoutMs: 30_000,
  message: 'prometheus.WriteRequest',
  queue: Object.freeze({
    capacity: 10_000,
    minShards: 1,
    maxShards: 50,
    maxSamplesPerSend: 2000,
    batchSendDeadlineMs: 5000,
    minBackoffMs: 30,
    maxBackoffMs: 5000,
  }),
  metadata: Object.freeze({ sendIntervalMs: 60_000, maxSamplesPerSend: 2000 }),
});
const REMOTE_READ_DEFAULTS = Object.freeze({ remoteTimeoutMs: 60_000, chunkedReadLimit: 50 << 20 });

export function toRemoteWrite(section: RemoteWriteSection, baseDir: string): RemoteWriteConfig {
  const { queue_config: queue = {}, metadata_config: metadata = {} } = section;
  const { queue: q, metadata: m, remoteTimeoutMs, message } = REMOTE_WRITE_DEFAULTS;
  return {
    name: section.name ?? '',
    url: section.url ?? '',
    remoteTimeoutMs: section.remote_timeout || remoteTimeoutMs,
    headers: section.headers ?? new Map(),
    writeRelabelConfigs: section.write_relabel_configs ?? [],
    sendExemplars: section.send_exemplars ?? false,
    sendNativeHistograms: section.send_native_histograms ?? false,
    protobufMessage: (section.protobuf_message ?? message) as RemoteWriteMessage,
    queue: {
      capacity: queue.capacity ?? q.capacity,
      minShards: queue.min_shards ?? q.minShards,
      maxShards: queue.max_shards ?? q.maxShards,
      maxSamplesPerSend: queue.max_samples_per_send ?? q.maxSamplesPerSend,
      batchSendDeadlineMs: queue.batch_send_deadline ?? q.batchSendDeadlineMs,
      minBackoffMs: queue.min_backoff ?? q.minBackoffMs,
      maxBackoffMs: queue.max_backoff ?? q.maxBackoffMs,
      retryOnHttp429: queue.retry_on_http_429 ?? false,
      sampleAgeLimitMs: queue.sample_age_limit ?? 0,
    },
    metadata: {
      send: metadata.send ?? true,
      sendIntervalMs: metadata.send_interval ?? m.sendIntervalMs,
      maxSamplesPerSend: metadata.max_samples_per_send ?? m.maxSamplesPerSend,
    },
    httpClient: httpOf(section),
    baseDir,
  };
}

export function toRemoteRead(section: RemoteReadSection, baseDir: string): RemoteReadConfig {
  return {
    name: section.name ?? '',
    url: section.url ?? '',
    remoteTimeoutMs: section.remote_timeout || REMOTE_READ_DEFAULTS.remoteTimeoutMs,
    chunkedReadLimit: section.chunked_read_limit ?? REMOTE_READ_DEFAULTS.chunkedReadLimit,
    headers: section.headers ?? new Map(),
    readRecent: section.read_recent ?? false,
    requiredMatchers: section.required_matchers ?? new Map(),
    filterExternalLabels: section.filter_external_labels ?? true,
    httpClient: httpOf(section),
    baseDir,
  };
}

function httpOf(section: HttpClientSettings): HttpClientSettings {
  const all = section as Record<string, unknown>;
  return Object.fromEntries(
    Object.keys(httpClientFields)
      .filter(key => all[key] !== undefined)
      .map(key => [key, all[key]]),
  ) as HttpClientSettings;
}
