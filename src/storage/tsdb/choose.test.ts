import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseBlocks, wantedResolution } from './choose.ts';
import { HOUR_MS, RAW, RES_1H, RES_1M } from './plan.ts';

const b = (name: string, fromH: number, toH: number, resolutionMs: number) => ({
  name,
  minT: fromH * HOUR_MS + 5000,
  maxT: toH * HOUR_MS - 10_000,
  resolutionMs,
});

function choose(blocks: ReturnType<typeof b>[], fromH: number, toH: number, wanted: number): string {
  const { choices, coarsest } = chooseBlocks(blocks, fromH * HOUR_MS, toH * HOUR_MS - 1, wanted);
  const parts = choices.map(c => `${c.block.name}[${c.minT / HOUR_MS},${(c.maxT + 1) / HOUR_MS})`);
  return `${parts.join(' ')} ${coarsest}`;
}

test('the wanted resolution gives each step and window two points', () => {
  assert.equal(wantedResolution(0, 24 * HOUR_MS), RAW);
  assert.equal(wantedResolution(60_000, 120_000), RES_1M);
  assert.equal(wantedResolution(60_000, 119_999), RAW);
  assert.equal(wantedResolution(59_999, 600_000), RAW);
  assert.equal(wantedResolution(2 * HOUR_MS, 2 * HOUR_MS), RES_1H);
});

test('raw only: every overlapping block, as it is', () => {
  assert.equal(choose([b('x', 0, 2, RAW), b('y', 2, 4, RAW), b('z', 9, 10, RAW)], 0, 6, RES_1H), 'x[0,6) y[0,6) 0');
});

test('the wanted level where it exists, finer elsewhere, coarser only as a last resort', () => {
  const blocks = [
    b('h', 0, 8, RES_1H),
    b('m1', 4, 8, RES_1M),
    b('m2', 8, 12, RES_1M),
    b('r1', 8, 12, RAW),
    b('r2', 12, 16, RAW),
  ];
  assert.equal(choose(blocks, 0, 16, RAW), `r1[0,16) r2[0,16) m1[0,8) h[0,4) ${RES_1H}`);
  assert.equal(choose(blocks, 0, 16, RES_1M), `m1[0,16) m2[0,16) r2[12,16) h[0,4) ${RES_1H}`);
  assert.equal(choose(blocks, 8, 16, RAW), 'r1[8,16) r2[8,16) 0');
});
