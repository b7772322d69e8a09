/** The queries of the benchmark, over the data of query-series.ts. */
export interface BenchQuery {
  name: string;
  expression: string;
  /** 0: an instant query at the end. */
  rangeMs: number;
  stepMs: number;
  /** Heavy ones are run once more under a ping probe. */
  heavy: boolean;
}

const MINUTE = 60_000;
const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const REQUESTS = 'bench_requests_total';
const ONE = '{instance="10.20.0.3:8080",method="METHOD_3",path="/api/v1/resources/4/items"}';
const TEN = '{instance="10.20.0.3:8080",method="METHOD_3"}';

function range(name: string, expression: string, rangeMs: number, stepMs: number, heavy = false): BenchQuery {
  return { name, expression, rangeMs, stepMs, heavy };
}

export const QUERIES: BenchQuery[] = [
  range('sum(rate) 1h', `sum(rate(${REQUESTS}[5m]))`, HOUR, 15_000, true),
  range('sum(rate) 24h', `sum(rate(${REQUESTS}[5m]))`, DAY, 2 * MINUTE, true),
  range('sum by (rate) 1h', `sum by (path) (rate(${REQUESTS}[5m]))`, HOUR, 15_000, true),
  range('sum by (rate) 24h', `sum by (path) (rate(${REQUESTS}[5m]))`, DAY, 2 * MINUTE, true),
  range('max_over_time 1h', 'max by (path) (max_over_time(bench_queue_depth[10m]))', HOUR, 15_000, true),
  range(
    'histogram_quantile 1h',
    'histogram_quantile(0.99, rate(bench_latency_seconds_bucket[5m]))',
    HOUR,
    MINUTE,
    true,
  ),
  range('topk 1h', `topk(10, rate(${REQUESTS}[5m]))`, HOUR, MINUTE, true),
  range(
    'join 10k x 10k 1h',
    `sum by (path) (${REQUESTS} / on (instance, method, path) bench_queue_depth)`,
    HOUR,
    MINUTE,
    true,
  ),
  range('1 series 1h', `rate(${REQUESTS}${ONE}[5m])`, HOUR, 15_000),
  range('1 series 24h', `rate(${REQUESTS}${ONE}[5m])`, DAY, 2 * MINUTE),
  range('10 series 1h', `rate(${REQUESTS}${TEN}[5m])`, HOUR, 15_000),
  range('10 series raw 1h', `bench_queue_depth${TEN}`, HOUR, 15_000),
  range('10 series instant', `rate(${REQUESTS}${TEN}[5m])`, 0, 0),
  range('1000 series raw 1h', 'bench_queue_depth{method="METHOD_3"}', HOUR, MINUTE),
  range('30 days', 'sum(rate(bench_daily_total[1h]))', 30 * DAY, HOUR),
  range('90 days', 'avg by (device) (avg_over_time(bench_daily_level[6h]))', 90 * DAY, 6 * HOUR),
];
