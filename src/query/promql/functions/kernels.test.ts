/** Kernels against the general functions, on seeded random series and grids. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newSampleBuffer } from '../../../contracts/sample-source.ts';
import { putStale } from '../../../model/stale.ts';
import { kernelFor } from './kernels.ts';
import { LeafNotes } from './notes.ts';
import { FLOAT, RangeCall } from './range-call.ts';
import { INSTANT_FUNCTIONS, RANGE_FUNCTIONS } from './range-table.ts';
import { dropStale, newWindowSet, SeriesWindow } from './window.ts';

function generator(seed: number): () => number {
  let s = seed;
  return () => {
    s ^= s << 13;
    s ^= s >>> 17;
    s ^= s << 5;
    return (s >>> 0) / 2 ** 32;
  };
}

function randomSeries(random: () => number, stale: boolean) {
  const n = Math.floor(random() * 300);
  const buffer = newSampleBuffer(n + 1);
  const kind = Math.floor(random() * 5);
  let t = 1_000_000;
  let v = random() * 10;
  for (let i = 0; i < n; i++) {
    t += 1 + Math.floor(random() * (random() < 0.05 ? 400_000 : 20_000));
    buffer.timestamps[i] = t;
    if (kind === 0) v = random() < 0.05 ? 0 : v + random() * 5;
    else if (kind === 1) v = (random() - 0.5) * 1e3;
    else if (kind === 2) v = Math.floor(random() * 3);
    else if (kind === 3)
      v = [1e308, -1e308, 1, Number.NaN, Number.POSITIVE_INFINITY, -0][Math.floor(random() * 6)] as number;
    else v = random() < 0.5 ? 1e16 * (random() - 0.5) : random();
    buffer.values[i] = v;
    if (stale && random() < 0.05) putStale(buffer.values, i);
  }
  buffer.length = n;
  return buffer;
}

function close(a: number, b: number): boolean {
  if (Object.is(a, b) || a === b || (a !== a && b !== b)) return true;
  return Math.abs(a - b) <= 1e-9 * Math.max(1e-9, Math.abs(a), Math.abs(b));
}

const names = [...RANGE_FUNCTIONS.keys(), ...INSTANT_FUNCTIONS.keys()].filter(f => kernelFor(f) !== null);

test('the functions that queries use most have kernels', () => {
  for (const f of ['rate', 'increase', 'sum_over_time', 'avg_over_time', 'max_over_time', 'instant']) {
    assert.ok(names.includes(f), f);
  }
});

for (const name of names) {
  test(`kernel of ${name} gives what the general path gives`, () => {
    const random = generator(20_260_101);
    for (let round = 0; round < 300; round++) {
      const instant = INSTANT_FUNCTIONS.has(name);
      const buffer = randomSeries(random, instant);
      if (!instant) dropStale(buffer);
      const rangeMs = 1 + Math.floor(random() * 900_000);
      const grid = {
        startMs: 900_000 + Math.floor(random() * 500_000),
        stepMs: 1 + Math.floor(random() * 100_000),
        steps: 1 + Math.floor(random() * 40),
      };
      const offsetMs = Math.floor((random() - 0.5) * 100_000);
      const atMs = random() < 0.1 ? 2_000_000 : null;
      const set = newWindowSet(grid, { atMs, offsetMs, rangeMs, extended: null }, 0, 0);
      const series = new SeriesWindow(set);
      series.attach([], buffer, false);
      series.locate();
      const values = new Float64Array(grid.steps);
      const present = new Uint8Array(grid.steps).fill(1);
      const any = kernelFor(name)?.run(series, [], values, present);
      const call = new RangeCall(series, [], new LeafNotes());
      const general = (RANGE_FUNCTIONS.get(name) ?? INSTANT_FUNCTIONS.get(name)) as (c: RangeCall) => number;
      let expectAny = false;
      for (let i = 0; i < grid.steps; i++) {
        call.moveTo(i);
        const outcome = general(call);
        const where = `round ${round} step ${i}`;
        assert.equal(present[i], outcome === FLOAT ? 1 : 0, where);
        if (outcome !== FLOAT) continue;
        expectAny = true;
        const got = values[i] as number;
        assert.ok(close(got, call.value), `${where}: kernel ${got}, general ${call.value}`);
      }
      assert.equal(any, expectAny, `round ${round}`);
    }
  });
}
