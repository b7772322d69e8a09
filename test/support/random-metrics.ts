/**
 * Seeded random metrics for comparisons with another Prometheus: counters with resets, gauges, gaps, staleness markers, classic and
 * native histograms.
 *
 * Samples stand 7 to 13 ms past a whole second, so that no window of whole seconds begins at one of them: 3.x leaves that sample out,
 * 2.x does not. Values are multiples of 1/8 below 2^30, so that sums do not depend on their order. Counters fall back to
 * a large number, never to about 0: 3.x and 2.x extrapolate towards 0 differently.
 */
import type { FloatHistogram } from '../../src/model/histogram.ts';
import type { Random } from './random.ts';
import type { WriteSeries } from './remote-write.ts';

const STALE = 0x7ff0000000000002n;

export const JOBS = ['api', 'db', 'web'] as const;
export const INSTANCES = ['a:80', 'b:80', 'c:80'] as const;
export const CODES = ['200', '404', '500'] as const;

export interface MetricsOptions {
  startMs: number;
  endMs: number;
  stepMs: number;
}

export function randomMetrics(random: Random, options: MetricsOptions): WriteSeries[] {
  const out: WriteSeries[] = [];
  for (const job of JOBS) {
    for (const instance of INSTANCES) {
      const base = { job, instance };
      for (const code of CODES) {
        if (random.chance(0.15)) continue;
        out.push(floats({ __name__: 'requests_total', ...base, code }, random, options, counter(random)));
        out.push(floats({ __name__: 'errors_total', ...base, code }, random, options, counter(random)));
      }
      out.push(floats({ __name__: 'temperature', ...base }, random, options, gauge(random)));
      if (random.chance(0.8)) out.push(floats({ __name__: 'queue', ...base }, random, options, steps(random)));
      out.push(floats({ __name__: 'up', ...base }, random, options, () => (random.chance(0.9) ? 1 : 0)));
      out.push(...classic(base, random, options));
      out.push(native(base, random, options));
    }
    out.push(floats({ __name__: 'limit', job }, random, options, () => 100 * (JOBS.indexOf(job) + 1)));
  }
  return out;
}

function counter(random: Random): () => number {
  let value = 1e6 + random.int(1e6);
  return () => {
    value = random.chance(0.02) ? 1e5 + random.int(1e5) : value + random.int(800) / 8;
    return value;
  };
}

function gauge(random: Random): () => number {
  let value = random.int(800) / 8;
  return () => {
    value += (random.int(161) - 80) / 8;
    return value;
  };
}

function steps(random: Random): () => number {
  let value = random.int(10);
  return () => {
    if (random.chance(0.1)) value = random.int(10);
    return value;
  };
}

/** When a series has samples: with gaps, and now and then a staleness marker in front of one. */
function times(random: Random, o: MetricsOptions): { t: number; stale: boolean }[] {
  const out: { t: number; stale: boolean }[] = [];
  const offset = random.int(o.stepMs / 1000) * 1000;
  const gappy = random.chance(0.4);
  for (let t = o.startMs + offset; t <= o.endMs; t += o.stepMs) {
    const at = t + 7 + random.int(7);
    if (gappy && random.chance(0.02)) {
      if (random.chance(0.5)) out.push({ t: at, stale: true });
      t += o.stepMs * random.between(1, 40);
      continue;
    }
    if (random.chance(0.01)) continue;
    out.push({ t: at, stale: false });
  }
  return out;
}

function floats(labels: Record<string, string>, random: Random, o: MetricsOptions, next: () => number): WriteSeries {
  const when = times(random, o);
  const values = new Float64Array(when.length);
  const words = new BigUint64Array(values.buffer);
  when.forEach(({ stale }, i) => {
    if (stale) words[i] = STALE;
    else values[i] = next();
  });
  return { labels: flat(labels), timestamps: when.map(w => w.t), values };
}

function classic(base: Record<string, string>, random: Random, o: MetricsOptions): WriteSeries[] {
  const bounds = ['0.1', '0.5', '1', '5', '+Inf'];
  const when = times(random, o).filter(w => !w.stale);
  const counts = bounds.map(() => 1e5);
  const columns = bounds.map(() => new Float64Array(when.length));
  const sums = new Float64Array(when.length);
  const totals = new Float64Array(when.length);
  let sum = 1e5;
  for (let i = 0; i < when.length; i++) {
    let below = 0;
    for (let b = 0; b < bounds.length; b++) {
      counts[b] = (counts[b] as number) + random.int(20);
      below += counts[b] as number;
      (columns[b] as Float64Array)[i] = below;
    }
    sum += random.int(100) / 8;
    sums[i] = sum;
    totals[i] = below;
  }
  const timestamps = when.map(w => w.t);
  const name = (suffix: string, more: Record<string, string> = {}): string[] =>
    flat({ __name__: `latency_${suffix}`, ...base, ...more });
  return [
    ...bounds.map((le, b) => ({ labels: name('bucket', { le }), timestamps, values: columns[b] as Float64Array })),
    { labels: name('sum'), timestamps, values: sums },
    { labels: name('count'), timestamps, values: totals },
  ];
}

/** Integer native histograms that only grow, all of schema 1 with the same buckets. */
function native(base: Record<string, string>, random: Random, o: MetricsOptions): WriteSeries {
  const when = times(random, o).filter(w => !w.stale);
  const buckets = [1000, 1000, 1000, 1000];
  let zeroCount = 1000;
  let sum = 1e4;
  const histograms = when.map(({ t }) => {
    for (let b = 0; b < buckets.length; b++) buckets[b] = (buckets[b] as number) + random.int(10);
    zeroCount += random.int(3);
    sum += random.int(200) / 8;
    const count = zeroCount + buckets.reduce((a, b) => a + b, 0);
    const histogram: FloatHistogram = {
      schema: 1,
      zeroThreshold: 2 ** -10,
      zeroCount,
      count,
      sum,
      positiveSpans: [-2, 2, 1, 2],
      positiveBuckets: [...buckets],
      negativeSpans: [],
      negativeBuckets: [],
      customValues: [],
      counterResetHint: 0,
      integer: true,
    };
    return { timestampMs: t, histogram };
  });
  return { labels: flat({ __name__: 'sizes', ...base }), timestamps: [], values: new Float64Array(0), histograms };
}

function flat(labels: Record<string, string>): string[] {
  return Object.entries(labels)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flat();
}

/** Requests of a slice of time each, oldest first, as receivers that refuse late samples need them. */
export function* inSlices(all: readonly WriteSeries[], o: MetricsOptions, sliceMs: number): Generator<WriteSeries[]> {
  for (let from = o.startMs; from <= o.endMs; from += sliceMs) {
    const slice: WriteSeries[] = [];
    for (const s of all) {
      const first = s.timestamps.findIndex(t => t >= from);
      let end = first;
      while (first >= 0 && end < s.timestamps.length && (s.timestamps[end] as number) < from + sliceMs) end++;
      const histograms = s.histograms?.filter(h => h.timestampMs >= from && h.timestampMs < from + sliceMs) ?? [];
      if (end <= first && histograms.length === 0) continue;
      slice.push({
        labels: s.labels,
        timestamps: first < 0 ? [] : s.timestamps.slice(first, end),
        values: first < 0 ? new Float64Array(0) : s.values.slice(first, end),
        histograms,
      });
    }
    if (slice.length > 0) yield slice;
  }
}
