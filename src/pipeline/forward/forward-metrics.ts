/** Metrics of outgoing remote write, by endpoint; named after Prometheus' own. */
import {
  type Counter,
  type Family,
  type Gauge,
  type Histogram,
  LATENCY_BUCKETS,
  type MetricsRegistry,
} from '../../lib/metrics.ts';

/** Why rows were not sent. */
export type DropReason =
  | 'too_old'
  | 'queue_full'
  | 'queue_age'
  | 'histograms_off'
  | 'exemplars_off'
  | 'custom_buckets_in_1_0'
  | 'unexplained'
  | 'relabelled';

export interface EndpointMetrics {
  samples: Counter;
  histograms: Counter;
  exemplars: Counter;
  metadata: Counter;
  bytes: Counter;
  requests(status: string): Counter;
  failed: Counter;
  retried: Counter;
  dropped(reason: DropReason): Counter;
  pending: Gauge;
  queueBytes: Gauge;
  lanes: Gauge;
  lanesMax: Gauge;
  highestQueued: Gauge;
  highestSent: Gauge;
  duration: Histogram;
}

const NAMES = ['remote_name', 'url'] as const;
const PREFIX = 'sightline_remote_storage_';

export class ForwardMetrics {
  private readonly counters = new Map<string, Family<Counter>>();
  private readonly gauges = new Map<string, Family<Gauge>>();
  private readonly duration: Family<Histogram>;
  private readonly registry: MetricsRegistry;

  constructor(registry: MetricsRegistry) {
    this.registry = registry;
    this.duration = registry.histogram(
      `${PREFIX}sent_batch_duration_seconds`,
      'Time of a request, from the first try to its answer.',
      LATENCY_BUCKETS,
      NAMES,
    );
  }

  of(name: string, url: string): EndpointMetrics {
    const counter = (key: string, help: string): Counter => this.counter(key, help, NAMES).labels(name, url);
    const gauge = (key: string, help: string): Gauge => this.gauge(key, help).labels(name, url);
    const requests = this.counter('requests_total', 'Requests by status; "error" where no answer came.', [
      ...NAMES,
      'status',
    ]);
    const dropped = this.counter('samples_dropped_total', 'Rows that were not sent, by reason.', [...NAMES, 'reason']);
    return {
      samples: counter('samples_total', 'Samples that the receiver has taken.'),
      histograms: counter('histograms_total', 'Native histograms that the receiver has taken.'),
      exemplars: counter('exemplars_total', 'Exemplars that the receiver has taken.'),
      metadata: counter('metadata_total', 'Metadata entries that the receiver has taken.'),
      bytes: counter('bytes_total', 'Compressed bytes of requests that were taken.'),
      failed: counter('samples_failed_total', 'Rows that the receiver has refused for good.'),
      retried: counter('samples_retried_total', 'Rows of requests that were sent once more.'),
      requests: status => requests.labels(name, url, status),
      dropped: reason => dropped.labels(name, url, reason),
      pending: gauge('samples_pending', 'Rows read from the queue that are not answered yet.'),
      queueBytes: gauge('queue_bytes', 'Bytes of the queue on disk that are still to be sent.'),
      lanes: gauge('shards', 'Parallel senders.'),
      lanesMax: gauge('shards_max', 'Most parallel senders there may be.'),
      highestQueued: gauge('highest_timestamp_in_seconds', 'Newest timestamp read from the queue.'),
      highestSent: gauge('queue_highest_sent_timestamp_seconds', 'Newest timestamp that the receiver has taken.'),
      duration: this.duration.labels(name, url),
    };
  }

  private counter(key: string, help: string, labels: readonly string[]): Family<Counter> {
    return memo(this.counters, key, () => this.registry.counter(PREFIX + key, help, labels));
  }

  private gauge(key: string, help: string): Family<Gauge> {
    return memo(this.gauges, key, () => this.registry.gauge(PREFIX + key, help, NAMES));
  }
}

function memo<T>(map: Map<string, T>, key: string, make: () => T): T {
  const known = map.get(key);
  if (known !== undefined) return known;
  const made = make();
  map.set(key, made);
  return made;
}
