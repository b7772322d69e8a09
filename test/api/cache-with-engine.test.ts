/** The result cache over the real engine: random queries and windows, late samples between them, against uncached answers. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ChangeFeed, FRESH_ZONE_MS } from '../../src/contracts/query-service.ts';
import { labelsFromRecord } from '../../src/model/labels.ts';
import { ResultCache } from '../../src/query/cache/result-cache.ts';
import { createPromqlEngine } from '../../src/query/promql/engine.ts';
import { createLocalLeafSource } from '../../src/query/promql/leaf.ts';
import { DEFAULT_FEATURES, parseExpr } from '../../src/query/promql/parser.ts';
import { printExpr } from '../../src/query/promql/print.ts';
import type { QueryResult } from '../../src/query/promql/result.ts';
import { MemorySource } from '../support/memory-source.ts';

const QUERIES = [
  'm',
  'sum(m)',
  'rate(m[5m])',
  'sum by (i) (rate(m[3m]))',
  'max_over_time(m[2m])',
  'avg(m) - m offset 3m',
  'm offset -4m',
  'topk(1, m)',
  'count_values("v", m > 50)',
  'm > 60',
  'm{i="1"} and on() m{i="2"} > 20',
  'absent(m{i="3"})',
  'quantile_over_time(0.5, m[4m])',
  'max_over_time(rate(m[2m])[6m:1m])',
  'delta(m[5m])',
  'stddev(m)',
  'label_replace(m, "x", "$1", "i", "(.)")',
  'time() - timestamp(m)',
  'm * on(i) group_left n',
  'histogram_quantile(0.9, m)',
  'sort_desc(sum without (i) (m))',
];

function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

function texts(result: QueryResult): string[] {
  const { value } = result;
  if (value.type !== 'matrix') assert.fail();
  const out: string[] = [];
  for (const row of value.rows) {
    for (let k = 0; k < value.steps; k++) {
      // Sums over sliding windows may differ in their last digits with where the window of steps began.
      if (row.present[k] === 1)
        out.push(
          `${row.labels.join()}@${value.startMs + k * value.stepMs}=${(row.values[k] as number).toPrecision(11)}`,
        );
    }
  }
  return out;
}

test('answers with and without the cache agree', async () => {
  for (let seed = 1; seed <= 6; seed++) {
    const random = randomOf(seed * 7919);
    const int = (n: number) => Math.floor(random() * n);
    let now = 1_700_000_000_000;
    const source = new MemorySource();
    const log: { sequence: number; t: number }[] = [];
    const write = (name: string, i: number, t: number) => {
      source.append('t', labelsFromRecord({ __name__: name, i: String(i) }), [{ t, value: int(100) }]);
      if (t < now - FRESH_ZONE_MS) log.push({ sequence: log.length + 1, t });
    };
    const changes: ChangeFeed = {
      current: () => log.length,
      oldestChangedSince: (_tenant, sequence) => Math.min(...log.filter(e => e.sequence > sequence).map(e => e.t)),
    };
    const engine = createPromqlEngine({
      source: createLocalLeafSource(source),
      lookbackMs: 300_000,
      defaultSubqueryStepMs: 60_000,
      maxSamples: 1e6,
      features: { ...DEFAULT_FEATURES, delayedNameRemoval: false, startTimestamps: false, typeAndUnitLabels: false },
    });
    const cache = new ResultCache({
      engine,
      changes,
      now: () => now,
      parse: query => {
        const expr = parseExpr(query);
        return { expr, canonical: printExpr(expr) };
      },
      lookbackMs: 300_000,
      freshMs: FRESH_ZONE_MS,
      bytesMax: 10_000_000,
    });
    for (let t = now - 3_600_000; t < now; t += 30_000) {
      for (let i = 0; i < 3; i++) if (random() < 0.9) write('m', i, t);
      write('n', 1, t);
    }
    for (let round = 0; round < 120; round++) {
      const what = random();
      if (what < 0.2) {
        now += int(5) * 15_000;
        for (let i = 0; i < 3; i++) write('m', i, now - int(30_000));
      } else if (what < 0.25) write('m', int(4), now - int(3_600_000));
      else {
        const query = QUERIES[int(QUERIES.length)] as string;
        const stepMs = 60_000;
        const endMs = Math.floor((now - int(1_200_000)) / stepMs) * stepMs;
        const params = { tenant: 't', query, startMs: endMs - int(40) * stepMs, endMs, stepMs };
        const at = `seed ${seed} round ${round}: ${query}`;
        const [got, want] = [await cache.range(params), await engine.range(params)];
        assert.deepEqual(texts(got), texts(want), at);
        for (const info of want.infos) assert.ok(got.infos.includes(info), at);
      }
    }
    assert.ok(cache.stats().partial + cache.stats().hits > 15, JSON.stringify(cache.stats()));
  }
});
