/**
 * Data for suite 02's queries: the metrics of the demo service that they ask for, three instances of it, made up here with a fixed
 * seed. Samples lie off the steps of the queries: whether a range holds the sample at its very beginning is where versions of
 * Prometheus differ.
 */
import { Random } from '../support/random.ts';
import type { WriteSeries } from '../support/remote-write.ts';

/** 2023-11-14T22:13:20Z. */
export const END_MS = 1_700_000_000_000;
/** Offsets and ranges of the suite reach an hour back, and so does the range asked for. */
const SPAN_MS = 3 * 3_600_000;
export const START_MS: number = END_MS - SPAN_MS;
const STEP_MS = 15_000;
const SAMPLES = SPAN_MS / STEP_MS;
const OFF_STEP_MS = 7000;

const INSTANCES = ['demo.promlabs.com:10000', 'demo.promlabs.com:10001', 'demo.promlabs.com:10002'];
const BOUNDS = ['0.0001', '0.001', '0.01', '0.1', '1', '10', '+Inf'];

/** The value at each sample; NaN leaves it out. */
type Course = (index: number) => number;

export function demoSeries(seed: number): WriteSeries[] {
  const random = new Random(seed);
  const rows: WriteSeries[] = [];
  const add = (name: string, instance: string, labels: readonly string[], course: Course): void => {
    rows.push(seriesOf(['__name__', name, 'instance', instance, 'job', 'demo', ...labels], course));
  };
  const counter = (perSample: number): Course => {
    let total = random.int(1000);
    return index => {
      // Restarts now and then, for resets.
      total = index > 0 && random.int(200) === 0 ? 0 : total + perSample * random.between(0, 2);
      return total;
    };
  };
  for (const instance of INSTANCES) {
    for (const type of ['buffers', 'cached', 'free', 'used']) {
      const level = random.between(1, 8) * 1e9;
      add('demo_memory_usage_bytes', instance, ['type', type], () =>
        Math.round(level * (0.5 + random.int(1000) / 1000)),
      );
    }
    for (const mode of ['idle', 'system', 'user'])
      add('demo_cpu_usage_seconds_total', instance, ['mode', mode], counter(5));
    const cpus = random.between(1, 8);
    add('demo_num_cpus', instance, [], () => cpus);
    add('demo_disk_usage_bytes', instance, [], index => 1e9 + index * 1000 + random.int(5000));
    const firstRun = START_MS / 1000;
    add('demo_batch_last_success_timestamp_seconds', instance, [], index => firstRun + Math.floor(index / 20) * 300);
    add('demo_intermittent_metric', instance, [], index => (index % 40 < 20 ? index : Number.NaN));
    for (const path of ['/api/bar', '/api/foo']) histogram(random, instance, path, add);
  }
  return rows;
}

function histogram(
  random: Random,
  instance: string,
  path: string,
  add: (name: string, instance: string, labels: readonly string[], course: Course) => void,
): void {
  // Buckets are cumulative: each is the one below and something more.
  const counts = BOUNDS.map(() => new Float64Array(SAMPLES));
  for (let i = 0; i < SAMPLES; i++) {
    let within = 0;
    for (const bucket of counts) {
      within += random.int(5);
      bucket[i] = (i === 0 ? 0 : (bucket[i - 1] as number)) + within;
    }
  }
  const labels = ['method', 'GET', 'path', path, 'status', '200'];
  counts.forEach((bucket, b) => {
    const le = ['le', BOUNDS[b] as string];
    add('demo_api_request_duration_seconds_bucket', instance, [...le, ...labels], i => bucket[i] as number);
  });
  add('demo_api_request_duration_seconds_count', instance, labels, i => counts.at(-1)?.[i] as number);
  add('demo_api_request_duration_seconds_sum', instance, labels, i => (counts.at(-1)?.[i] as number) / 8);
}

function seriesOf(labels: string[], course: Course): WriteSeries {
  const timestamps: number[] = [];
  const values: number[] = [];
  for (let i = 0; i < SAMPLES; i++) {
    const value = course(i);
    if (Number.isNaN(value)) continue;
    timestamps.push(START_MS + i * STEP_MS + OFF_STEP_MS);
    values.push(value);
  }
  return { labels, timestamps, values: Float64Array.from(values) };
}
