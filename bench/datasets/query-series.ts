/**
 * Data of the query benchmarks, seeded and the same for every contestant:
 *
 *   bench_requests_total      counter    10,000 series   15 s   24 h   100 instances x 10 methods x 10 paths
 *   bench_queue_depth         gauge      10,000 series   15 s    2 h   same labels, for joins and max_over_time
 *   bench_latency_seconds     histogram   1,000 x 12     15 s    2 h   100 instances x 10 paths x 12 le
 *   bench_daily_total         counter        50 series   60 s   90 d
 *   bench_daily_level         gauge          50 series   60 s   90 d
 *
 * Each family carries the labels of a real service, about 300 bytes. Samples of one series travel many to a request, as
 * from a sender that catches up: the load is not what is measured here.
 */
import { mix, mixUnit } from '../lib/random.ts';
import { LabelSlab } from '../lib/write-request.ts';

export interface QuerySizes {
  instances: number;
  hours: number;
  recentHours: number;
  days: number;
  stepMs: number;
}

export const FULL: QuerySizes = { instances: 100, hours: 24, recentHours: 2, days: 90, stepMs: 15_000 };
export const QUICK: QuerySizes = { instances: 10, hours: 24, recentHours: 2, days: 90, stepMs: 60_000 };

const METHODS = 10;
const PATHS = 10;
const BUCKETS = ['0.005', '0.01', '0.025', '0.05', '0.1', '0.25', '0.5', '1', '2.5', '5', '10', '+Inf'];
const DAILY_SERIES = 50;
const DAILY_STEP_MS = 60_000;

export interface Family {
  name: string;
  stepMs: number;
  startMs: number;
  count: number;
  labels: LabelSlab;
  /** Samples of series `index` at the times given, in order; keeps its state between calls. */
  fill(index: number, times: Float64Array, values: Float64Array, count: number): void;
  /** Milliseconds after the grid at which a series is scraped. */
  offsetMs(index: number): number;
}

/** Every family, for data that ends at `endMs` (a multiple of a minute). */
export function families(sizes: QuerySizes, endMs: number, seed: number): Family[] {
  const hour = 3_600_000;
  const service = sizes.instances * METHODS * PATHS;
  return [
    counters('bench_requests_total', service, sizes.stepMs, endMs - sizes.hours * hour, seed, serviceLabels),
    gauges('bench_queue_depth', service, sizes.stepMs, endMs - sizes.recentHours * hour, seed + 1, serviceLabels),
    histograms(sizes.instances * PATHS, sizes.stepMs, endMs - sizes.recentHours * hour, seed + 2),
    counters('bench_daily_total', DAILY_SERIES, DAILY_STEP_MS, endMs - sizes.days * 24 * hour, seed + 3, dailyLabels),
    gauges('bench_daily_level', DAILY_SERIES, DAILY_STEP_MS, endMs - sizes.days * 24 * hour, seed + 4, dailyLabels),
  ];
}

function instanceLabels(instance: number): Record<string, string> {
  const address = `10.20.${instance >> 8}.${instance & 255}`;
  return {
    cluster: 'production-eu-west-1',
    container: 'checkout-api',
    instance: `${address}:8080`,
    job: 'kubernetes-pods',
    namespace: `commerce-${instance % 7}`,
    node: `ip-${address.replaceAll('.', '-')}.eu-west-1.compute.internal`,
    pod: `checkout-api-${mix(instance, 3).toString(36)}-${(mix(instance, 5) % 60466176).toString(36)}`,
    version: `2026.11.${instance % 3}`,
  };
}

export function serviceLabels(index: number): Record<string, string> {
  const within = index % (METHODS * PATHS);
  return {
    ...instanceLabels(Math.floor(index / (METHODS * PATHS))),
    method: `METHOD_${within % METHODS}`,
    path: `/api/v1/resources/${Math.floor(within / METHODS)}/items`,
    status: '200',
  };
}

function dailyLabels(index: number): Record<string, string> {
  return { ...instanceLabels(index), device: `disk${index % 5}` };
}

function slab(name: string, count: number, labelsOf: (index: number) => Record<string, string>): LabelSlab {
  const labels = new LabelSlab();
  for (let i = 0; i < count; i++) labels.add({ ...labelsOf(i), __name__: name });
  return labels;
}

type LabelsOf = (index: number) => Record<string, string>;

/**
 * Integer counters as requests make them: from silent ones (a fifth) over some events an hour to a thousand a scrape,
 * Poisson distributed, with a restart now and then.
 */
export function counters(
  name: string,
  count: number,
  stepMs: number,
  startMs: number,
  seed: number,
  labelsOf: LabelsOf,
): Family {
  const state = new Float64Array(count);
  for (let i = 0; i < count; i++) state[i] = mix(i, seed) % 100_000;
  return {
    name,
    stepMs,
    startMs,
    count,
    labels: slab(name, count, labelsOf),
    offsetMs: index => offset(Math.floor(index / 100), stepMs),
    fill(index, times, values, samples) {
      let value = state[index] as number;
      const perScrape = mix(index, seed + 8) % 5 === 0 ? 0 : 10 ** (mixUnit(index, seed + 9) * 4 - 1);
      for (let k = 0; k < samples; k++) {
        const tick = Math.floor((times[k] as number) / stepMs);
        const hash = mix(index ^ seed, tick);
        value = hash < RESTART_BELOW ? 0 : value + poisson(perScrape, hash);
        values[k] = value;
      }
      state[index] = value;
    },
  };
}

/** Of 2^32: a restart in 50,000 scrapes. */
const RESTART_BELOW = 85_899;

/** An event count with the given mean, from 32 random bits. */
function poisson(mean: number, hash: number): number {
  if (mean === 0) return 0;
  if (mean > 20) {
    // Near enough to normal: three uniforms of 10 bits each.
    const sum = (hash & 1023) + ((hash >>> 10) & 1023) + ((hash >>> 20) & 1023);
    return Math.max(0, Math.round(mean + Math.sqrt(mean) * (sum / 512 - 2.997)));
  }
  const random = hash / 4294967296;
  let term = Math.exp(-mean);
  let below = term;
  let count = 0;
  while (random > below && count < 100) {
    count++;
    term *= mean / count;
    below += term;
  }
  return count;
}

/** Gauges: whole numbers, numbers with two decimals, and full doubles, a third each. */
export function gauges(
  name: string,
  count: number,
  stepMs: number,
  startMs: number,
  seed: number,
  labelsOf: LabelsOf,
): Family {
  const state = new Float64Array(count);
  for (let i = 0; i < count; i++) state[i] = 50 + (mix(i, seed) % 400);
  return {
    name,
    stepMs,
    startMs,
    count,
    labels: slab(name, count, labelsOf),
    offsetMs: index => offset(Math.floor(index / 100), stepMs),
    fill(index, times, values, samples) {
      let value = state[index] as number;
      for (let k = 0; k < samples; k++) {
        const random = mixUnit(index ^ seed, Math.floor((times[k] as number) / stepMs));
        value = Math.max(1, value + (random - 0.5) * 12);
        values[k] = index % 3 === 0 ? Math.round(value) : index % 3 === 1 ? Math.round(value * 100) / 100 : value;
      }
      state[index] = value;
    },
  };
}

/** Classic histograms: cumulative buckets that grow together. Series index = histogram x 12 + bucket. */
export function histograms(count: number, stepMs: number, startMs: number, seed: number): Family {
  const name = 'bench_latency_seconds_bucket';
  const state = new Float64Array(count * BUCKETS.length);
  return {
    name,
    stepMs,
    startMs,
    count: count * BUCKETS.length,
    labels: slab(name, count * BUCKETS.length, index => {
      const histogram = Math.floor(index / BUCKETS.length);
      return {
        ...instanceLabels(Math.floor(histogram / PATHS)),
        path: `/api/v1/resources/${histogram % PATHS}/items`,
        le: BUCKETS[index % BUCKETS.length] as string,
      };
    }),
    offsetMs: index => offset(Math.floor(index / BUCKETS.length / PATHS), stepMs),
    fill(index, times, values, samples) {
      const histogram = Math.floor(index / BUCKETS.length);
      const bucket = index % BUCKETS.length;
      const centre = 3 + (histogram % 5);
      let value = state[index] as number;
      for (let k = 0; k < samples; k++) {
        const requests = mix(histogram ^ seed, Math.floor((times[k] as number) / stepMs)) % 60;
        // The share of the requests that a bucket and all below it hold: a logistic curve over the bucket number.
        const share = bucket === BUCKETS.length - 1 ? 1 : 1 / (1 + Math.exp((centre - bucket) * 1.3));
        value += Math.floor(requests * share);
        values[k] = value;
      }
      state[index] = value;
    },
  };
}

function offset(target: number, stepMs: number): number {
  return (target * 7919) % stepMs;
}
