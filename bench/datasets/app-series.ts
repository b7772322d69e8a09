/**
 * Series of a fleet of web services, for the ingest benchmarks: 12 labels, about 300 bytes of names and values (340
 * encoded) each, as Kubernetes service discovery makes them. A pod has 1,000 series:
 *
 *   200 http_requests_total            counter   5 methods x 10 paths x 4 statuses
 *   480 http_request_duration_seconds_bucket     4 methods x 10 paths x 12 le
 *    40 ..._sum, 40 ..._count                    4 methods x 10 paths
 *   240 gauges                                   8 names x 30 pools
 */
import { mix, mixUnit } from '../lib/random.ts';
import { LabelSlab } from '../lib/write-request.ts';

export const SERIES_PER_POD = 1000;
const BUCKETS = ['0.005', '0.01', '0.025', '0.05', '0.1', '0.25', '0.5', '1', '2.5', '5', '10', '+Inf'];
const METHODS = ['GET', 'POST', 'PUT', 'DELETE', 'PATCH'];
const STATUSES = ['200', '400', '404', '500'];
const PATHS = [
  '/api/v1/orders/{id}',
  '/api/v1/orders',
  '/api/v1/customers/{id}/addresses',
  '/api/v1/customers/{id}',
  '/api/v1/payments/{id}/refunds',
  '/api/v1/payments',
  '/api/v1/baskets/{id}/items',
  '/api/v1/baskets',
  '/api/v2/search/suggestions',
  '/healthz',
];
const GAUGES = [
  'runtime_memory_heap_bytes',
  'connection_pool_in_use',
  'queue_depth_items',
  'cache_hit_ratio',
  'worker_utilisation_ratio',
  'open_file_descriptors',
  'replication_delay_seconds',
  'thread_pool_active_threads',
];
const SERVICES = ['checkout-api', 'payments-gateway', 'customer-profile', 'basket-service', 'search-frontend'];

type Kind = 'counter' | 'bucket' | 'sum' | 'gauge';

/** Label bytes of all series in one slab, and the state from which their next values come. */
export class AppSeries {
  readonly count: number;
  readonly labels = new LabelSlab();
  private readonly values: Float64Array;
  private readonly kinds: Kind[] = [];
  private readonly seed: number;
  /** Mean bytes of names and values of a label set. */
  readonly labelTextBytes: number;

  constructor(count: number, seed: number) {
    this.count = count;
    this.seed = seed;
    this.values = new Float64Array(count);
    let textBytes = 0;
    for (let i = 0; i < count; i++) {
      const { labels, kind } = describe(i, seed);
      for (const name of Object.keys(labels)) textBytes += name.length + (labels[name] as string).length;
      this.labels.add(labels);
      this.kinds.push(kind);
      this.values[i] = kind === 'gauge' ? Math.floor(mixUnit(i, seed) * 1000) : Math.floor(mixUnit(i, seed) * 1e6);
    }
    this.labelTextBytes = textBytes / count;
  }

  /** The value of series `i` in scrape `round`; rounds must be asked for in order, each once. */
  next(i: number, round: number): number {
    const random = mixUnit(i ^ this.seed, round);
    const kind = this.kinds[i] as Kind;
    let value = this.values[i] as number;
    if (kind === 'counter') value += busy(i) ? Math.floor(random * 200) : 0;
    else if (kind === 'bucket') value += busy(i) ? Math.floor(random * 40) : 0;
    else if (kind === 'sum') value += busy(i) ? random * 12.5 : 0;
    else value = nextGauge(i % GAUGES.length, value, random);
    this.values[i] = value;
    return value;
  }
}

/** A third of the counters of a real fleet do not move between two scrapes. */
function busy(i: number): boolean {
  return mix(i, 77) % 3 !== 0;
}

function nextGauge(shape: number, value: number, random: number): number {
  if (shape === 0) return Math.max(0, value + Math.floor((random - 0.5) * 64) * 4096);
  if (shape === 3 || shape === 4) return Math.round(random * 1000) / 1000;
  if (shape === 6) return random * 2.5;
  return Math.max(0, value + Math.floor((random - 0.5) * 10));
}

function describe(i: number, seed: number): { labels: Record<string, string>; kind: Kind } {
  const podIndex = Math.floor(i / SERIES_PER_POD);
  const within = i % SERIES_PER_POD;
  const id = mix(podIndex, seed);
  const service = SERVICES[podIndex % SERVICES.length] as string;
  const address = `10.${(podIndex >> 16) & 255}.${(podIndex >> 8) & 255}.${podIndex & 255}`;
  const labels: Record<string, string> = {
    cluster: 'production-eu-west-1',
    container: service,
    instance: `${address}:8080`,
    job: 'kubernetes-pods',
    namespace: `commerce-${podIndex % 7}`,
    node: `ip-${address.replaceAll('.', '-')}.eu-west-1.compute.internal`,
    pod: `${service}-${(id >>> 4).toString(36)}-${(id % 60466176).toString(36)}`,
    version: `2026.11.${podIndex % 3}-${(mix(podIndex % 3, seed) >>> 0).toString(16)}`,
  };
  if (within < 200) {
    labels.__name__ = 'http_requests_total';
    labels.method = METHODS[within % 5] as string;
    labels.path = PATHS[Math.floor(within / 5) % 10] as string;
    labels.status = STATUSES[Math.floor(within / 50)] as string;
    return { labels, kind: 'counter' };
  }
  if (within < 760) {
    const [suffix, at] =
      within < 680 ? ['_bucket', within - 200] : within < 720 ? ['_sum', within - 680] : ['_count', within - 720];
    const cell = suffix === '_bucket' ? Math.floor((at as number) / 12) : (at as number);
    labels.__name__ = `http_request_duration_seconds${suffix}`;
    labels.method = METHODS[cell % 4] as string;
    labels.path = PATHS[Math.floor(cell / 4)] as string;
    labels.protocol = 'HTTP/2.0';
    if (suffix === '_bucket') labels.le = BUCKETS[(at as number) % 12] as string;
    return { labels, kind: suffix === '_sum' ? 'sum' : 'bucket' };
  }
  const gauge = within - 760;
  labels.__name__ = GAUGES[gauge % 8] as string;
  labels.pool = `pool-${Math.floor(gauge / 8)}`;
  labels.component = 'request-pipeline';
  labels.team = 'commerce-platform';
  return { labels, kind: 'gauge' };
}
