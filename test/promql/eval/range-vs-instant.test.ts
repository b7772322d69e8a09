/**
 * A range query must say at every step what an instant query says at that time. Seeded random queries over random data
 * (counters with resets, gauges with gaps and staleness, both kinds of histograms), whole rows against single steps, and
 * shards against one store on the way.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FloatHistogram } from '../../../src/model/histogram.ts';
import { labelsFromRecord, labelsKey } from '../../../src/model/labels.ts';
import { createPromqlEngine, type PromqlEngine } from '../../../src/query/promql/engine.ts';
import { createLocalLeafSource } from '../../../src/query/promql/leaf.ts';
import { createShardedLeafSource } from '../../../src/query/promql/leaf-merge.ts';
import type { QueryValue } from '../../../src/query/promql/result.ts';
import { sameFloat, sameHistogram } from '../../../src/query/promqltest/compare.ts';
import { TEST_FEATURES } from '../../../src/query/promqltest/runner.ts';
import { type MemorySample, MemorySource } from '../../support/memory-source.ts';

const SEED = 20_261_122;
const QUERIES = 600;
const START = 300_000;
const STEP = 37_000;
const STEPS = 14;

let seed = SEED;
function random(): number {
  seed ^= seed << 13;
  seed ^= seed >>> 17;
  seed ^= seed << 5;
  return (seed >>> 0) / 2 ** 32;
}

function pick<T>(list: readonly T[]): T {
  return list[Math.floor(random() * list.length)] as T;
}

function histogram(k: number, custom: boolean): FloatHistogram {
  return {
    schema: custom ? -53 : k % 2,
    zeroThreshold: custom ? 0 : 0.001,
    zeroCount: custom ? 0 : 1,
    count: 3 * k + (custom ? 0 : 1),
    sum: 5 * k,
    positiveSpans: [0, 2],
    positiveBuckets: [k, 2 * k],
    negativeSpans: [],
    negativeBuckets: [],
    customValues: custom ? [1, 5] : [],
    counterResetHint: 0,
    integer: false,
  };
}

function fill(sources: readonly MemorySource[], whole: MemorySource): void {
  const add = (record: Record<string, string>, sample: (k: number) => Partial<MemorySample> | null): void => {
    const samples: MemorySample[] = [];
    for (let k = 0; k < 60; k++) {
      const s = random() < 0.15 ? null : sample(k);
      if (s !== null) samples.push({ t: k * 15_000 + Math.floor(random() * 500), ...s });
    }
    const labels = labelsFromRecord(record);
    whole.append('t', labels, samples);
    pick(sources).append('t', labels, samples);
  };
  for (const job of ['a', 'b']) {
    for (const i of ['1', '2', '3']) {
      let counter = 0;
      add({ __name__: 'c_total', job, i }, () => {
        counter = random() < 0.05 ? 0 : counter + random() * 10;
        return { value: counter };
      });
      add({ __name__: 'g', job, i }, () => {
        if (random() < 0.1) return { stale: true };
        return { value: random() < 0.05 ? Number.NaN : Math.round((random() - 0.5) * 20) };
      });
    }
    for (const le of ['0.5', '1', '+Inf']) {
      add({ __name__: 'h_bucket', job, le }, k => ({ value: k * (le === '0.5' ? 1 : le === '1' ? 3 : 4) }));
    }
    add({ __name__: 'nh', job, i: '1' }, k => ({ histogram: histogram(k + 1, false) }));
    add({ __name__: 'nh', job, i: '2' }, k => ({ histogram: histogram(k + 1, job === 'b') }));
  }
  add({ __name__: 'mixed', job: 'a' }, k => (k % 7 < 3 ? { value: k } : { histogram: histogram(k, false) }));
  add({ __name__: 'target_info', job: 'a', instance: '' }, () => ({ value: 1 }));
}

const RANGE_FUNCTIONS = [
  'rate',
  'increase',
  'delta',
  'irate',
  'idelta',
  'sum_over_time',
  'avg_over_time',
  'min_over_time',
  'max_over_time',
  'count_over_time',
  'stddev_over_time',
  'last_over_time',
  'first_over_time',
  'present_over_time',
  'changes',
  'resets',
  'deriv',
  'mad_over_time',
  'ts_of_max_over_time',
  'absent_over_time',
];
const FUNCTIONS = [
  'abs',
  'ceil',
  'sgn',
  'timestamp',
  'absent',
  'histogram_count',
  'histogram_avg',
  'sort',
  '-',
  'hour',
];
const AGGREGATES = ['sum', 'avg', 'min', 'max', 'count', 'group', 'stddev'];
const OPERATORS = ['+', '-', '*', '/', '%', '==', '!=', '>', '<=', '> bool', 'and', 'or', 'unless'];

function selector(): string {
  const name = pick(['c_total', 'g', 'nh', 'mixed', 'g', 'c_total']);
  const matcher = pick(['', '', '{job="a"}', '{i=~"1|2"}', '{job!="b",i!="3"}', '{job="none"}']);
  return name + matcher;
}

function modifier(): string {
  return pick(['', '', '', '', ' offset 1m', ' offset -45s', ' @ 400', ' @ end()', ' @ start() offset 30s']);
}

function scalar(): string {
  return pick(['0', '1', '2.5', '-1', 'time() / 100', 'scalar(g{job="a",i="1"})']);
}

function vector(depth: number): string {
  if (depth <= 0) return selector() + modifier();
  switch (Math.floor(random() * 9)) {
    case 0:
      return selector() + modifier();
    case 1:
      return `${pick(RANGE_FUNCTIONS)}(${selector()}[${pick(['1m', '90s', '4m', '10s'])}]${modifier()})`;
    case 2: {
      const inner = vector(depth - 1);
      return `${pick(RANGE_FUNCTIONS)}((${inner})[${pick(['2m', '5m'])}:${pick(['', '20s', '1m'])}]${modifier()})`;
    }
    case 3:
      return `${pick(FUNCTIONS)}(${vector(depth - 1)})`;
    case 4:
    case 5: {
      const by = pick(['', ' by (job)', ' by (i)', ' without (i)', ' by (job, i)']);
      if (random() < 0.3) {
        const k = pick([
          'topk(2, ',
          'bottomk(1, ',
          'limitk(2, ',
          `quantile(${pick(['0.5', '0.9'])}, `,
          'count_values("v", ',
        ]);
        return `${k.replace('(', `${by} (`)}${vector(depth - 1)})`;
      }
      return `${pick(AGGREGATES)}${by} (${vector(depth - 1)})`;
    }
    case 6: {
      const on = pick([' on (job, i)', ' ignoring (le)', ' on (job) group_left ()', ' on (i) group_right ()', '']);
      const op = pick(OPERATORS);
      const matching = op === 'and' || op === 'or' || op === 'unless' ? on.replace(/ group.*/, '') : on;
      return `(${vector(depth - 1)}) ${op}${matching} (${vector(depth - 1)})`;
    }
    case 7:
      return random() < 0.5
        ? `(${vector(depth - 1)}) ${pick(OPERATORS.slice(0, 10))} ${scalar()}`
        : `${scalar()} ${pick(OPERATORS.slice(0, 10))} (${vector(depth - 1)})`;
    default:
      return pick([
        'histogram_quantile(0.9, rate(h_bucket[2m]))',
        'histogram_quantile(0.5, nh)',
        'histogram_fraction(0, 2, nh)',
        'sum by (le) (rate(h_bucket[2m]))',
        `clamp_max(${vector(depth - 1)}, ${scalar()})`,
        `label_replace(${vector(depth - 1)}, "j", "$1", "job", "(.*)")`,
        'predict_linear(g[3m], 60)',
        `quantile_over_time(${pick(['0.1', '0.5', '2'])}, g[3m])`,
      ]);
  }
}

type Point = { value: number; histogram: FloatHistogram | null };

function pointsAt(value: QueryValue, step: number): Map<string, Point> {
  const out = new Map<string, Point>();
  if (value.type === 'vector') for (const s of value.samples) out.set(labelsKey(s.labels), s);
  if (value.type === 'matrix') {
    for (const row of value.rows) {
      const h = row.histograms?.[step] ?? null;
      if (h !== null) out.set(labelsKey(row.labels), { value: 0, histogram: h });
      else if (row.present[step] === 1)
        out.set(labelsKey(row.labels), { value: row.values[step] as number, histogram: null });
    }
  }
  return out;
}

function compare(a: Map<string, Point>, b: Map<string, Point>, where: string): void {
  assert.deepEqual([...a.keys()].sort(), [...b.keys()].sort(), where);
  for (const [key, x] of a) {
    const y = b.get(key) as Point;
    assert.equal(x.histogram === null, y.histogram === null, where);
    const same =
      x.histogram === null
        ? sameFloat(x.value, y.value)
        : sameHistogram(x.histogram, y.histogram as FloatHistogram, false);
    assert.ok(same, `${where}: ${x.value} and ${y.value}`);
  }
}

async function outcome(run: Promise<{ value: QueryValue }>): Promise<{ value: QueryValue } | { error: string }> {
  try {
    return await run;
  } catch (error) {
    const e = error as Error;
    // Anything but an answer to the user is a bug.
    if (!['PromqlEvalError', 'QueryLimitError'].includes(e.name))
      throw new Error(`${e.name}: ${e.message}`, { cause: e });
    return { error: e.message };
  }
}

test(`range and instant queries agree (seed ${SEED})`, async () => {
  const whole = new MemorySource();
  const parts = [new MemorySource(), new MemorySource(), new MemorySource()];
  fill(parts, whole);
  const engineOver = (source: Parameters<typeof createPromqlEngine>[0]['source']): PromqlEngine =>
    createPromqlEngine({
      source,
      lookbackMs: 120_000,
      defaultSubqueryStepMs: 60_000,
      maxSamples: 1e7,
      features: TEST_FEATURES,
    });
  const one = engineOver(createLocalLeafSource(whole));
  const sharded = engineOver(createShardedLeafSource(parts.map(createLocalLeafSource)));
  let compared = 0;
  let points = 0;
  for (let n = 0; n < QUERIES; n++) {
    const query = vector(3);
    const usesBounds = /start\(\)|end\(\)/.test(query);
    const times = { tenant: 't', query, startMs: START, endMs: START + (STEPS - 1) * STEP, stepMs: STEP };
    const range = await outcome(one.range(times));
    const merged = await outcome(sharded.range(times));
    assert.equal('error' in range, 'error' in merged, query);
    if ('error' in range || 'error' in merged) continue;
    for (let i = 0; i < STEPS; i++)
      compare(pointsAt(range.value, i), pointsAt(merged.value, i), `sharded ${query} step ${i}`);
    if (usesBounds) continue;
    for (let i = 0; i < STEPS; i++) {
      const instant = await outcome(one.instant({ tenant: 't', query, timeMs: START + i * STEP }));
      assert.ok(
        !('error' in instant),
        `${query} step ${i}: the range query gave a result, the instant one ${JSON.stringify(instant)}`,
      );
      const at = pointsAt(range.value, i);
      compare(pointsAt(instant.value, 0), at, `${query} step ${i}`);
      points += at.size;
    }
    compared++;
  }
  assert.ok(compared > QUERIES / 4 && points > 1000, `only ${compared} queries compared, ${points} points`);
  console.log(`${compared} queries, ${points} points`);
});
