/**
 * Benchmark of leaves: a function and a sum over 10,000 series of 240 samples each, 60 steps. The samples come from
 * typed arrays that the source hands out by copying, as a decoder would write them.
 *
 *   node src/query/promql/leaf.bench.ts [rounds]
 */
import type { LeafPlan } from '../../contracts/leaf-source.ts';
import { growSampleBuffer, type SampleSource } from '../../contracts/sample-source.ts';
import { labelsFromRecord } from '../../model/labels.ts';
import { createLocalLeafSource } from './leaf.ts';

const SERIES = 10_000;
const SAMPLES = 240;
const STEP_MS = 15_000;
const STEPS = 60;

/** Counters with 0.5 % resets and jittered times; seeded (xorshift32). */
function makeData(): { timestamps: Float64Array[]; values: Float64Array[] } {
  let seed = 20_260_822;
  const random = (): number => {
    seed ^= seed << 13;
    seed ^= seed >>> 17;
    seed ^= seed << 5;
    return (seed >>> 0) / 2 ** 32;
  };
  const timestamps: Float64Array[] = [];
  const values: Float64Array[] = [];
  for (let s = 0; s < SERIES; s++) {
    const t = new Float64Array(SAMPLES);
    const v = new Float64Array(SAMPLES);
    let value = 0;
    const resets = s % 50 === 0;
    for (let i = 0; i < SAMPLES; i++) {
      t[i] = 1_700_000_000_000 + i * STEP_MS + Math.floor(random() * 200);
      value = resets && random() < 0.005 ? 0 : value + random() * 100;
      v[i] = value;
    }
    timestamps.push(t);
    values.push(v);
  }
  return { timestamps, values };
}

const data = makeData();
const labels = Array.from({ length: SERIES }, (_, s) =>
  labelsFromRecord({ __name__: 'bench_total', instance: `host-${s % 500}:9100`, job: 'bench', code: String(s % 20) }),
);

const source = {
  select: async () => ({
    count: SERIES,
    labels: (i: number) => labels[i] ?? [],
    read: (i: number, into: Parameters<typeof growSampleBuffer>[0]) => {
      growSampleBuffer(into, SAMPLES);
      into.timestamps.set(data.timestamps[i] as Float64Array);
      into.values.set(data.values[i] as Float64Array);
      into.length = SAMPLES;
      into.histogramLength = 0;
    },
    infos: [],
    close: () => {},
  }),
} as unknown as SampleSource;

const leaf = createLocalLeafSource(source);
const start = 1_700_000_000_000 + 5 * 60_000;

function plan(func: string, rangeMs: number, by: string[] | null): LeafPlan {
  return {
    matchers: [],
    startMs: start,
    endMs: start + (STEPS - 1) * 55_000,
    stepMs: 55_000,
    offsetMs: 0,
    atMs: null,
    rangeMs,
    lookbackMs: 300_000,
    func,
    args: [],
    dropName: true,
    aggregate: by === null ? null : { op: 'sum', without: false, labels: by },
    extended: null,
    maxSamples: 1e9,
  };
}

const cases: [string, LeafPlan][] = [
  ['sum(rate[5m])', plan('rate', 300_000, [])],
  ['sum by (code)(rate[5m])', plan('rate', 300_000, ['code'])],
  ['sum by (instance, code)(rate[5m])', plan('rate', 300_000, ['instance', 'code'])],
  ['rate[5m]', plan('rate', 300_000, null)],
  ['sum(increase[30m])', plan('increase', 1_800_000, [])],
  ['sum(sum_over_time[5m])', plan('sum_over_time', 300_000, [])],
  ['sum(avg_over_time[30m])', plan('avg_over_time', 1_800_000, [])],
  ['sum(max_over_time[30m])', plan('max_over_time', 1_800_000, [])],
  ['sum(instant)', plan('instant', 0, [])],
];

const rounds = Number(process.argv[2] ?? 7);
let sink = 0;
for (const [name, p] of cases) {
  let best = Number.POSITIVE_INFINITY;
  for (let k = 0; k < rounds; k++) {
    const began = process.cpuUsage();
    const result = await leaf.evalLeaf('bench', p);
    const used = process.cpuUsage(began);
    best = Math.min(best, (used.user + used.system) / 1e6);
    if (result.rows.length === 0) throw new Error('the benchmark computed nothing');
    sink += result.rows[0]?.values[STEPS - 1] ?? 0;
  }
  const rate = (SERIES * SAMPLES) / best / 1e6;
  console.log(
    `${name.padEnd(36)} ${(best * 1000).toFixed(1).padStart(8)} ms CPU  ${rate.toFixed(1).padStart(7)} M samples/s`,
  );
}
console.log(`(sink ${sink})`);
