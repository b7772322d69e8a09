import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  DAY_MS,
  downsampleKey,
  flushWindows,
  HOUR_MS,
  type PlanBlock,
  planDownsample,
  planMerge,
  planRetention,
  RAW,
  RES_1H,
  RES_1M,
} from './plan.ts';

const DAY0 = 72 * HOUR_MS * 100; // An aligned start of everything.

function block(id: string, fromH: number, toH: number, more: Partial<PlanBlock> = {}): PlanBlock {
  return {
    id,
    tenant: 'default',
    minT: DAY0 + fromH * HOUR_MS,
    maxT: DAY0 + toH * HOUR_MS - 1,
    resolutionMs: RAW,
    bytes: 1000,
    arrivedMs: DAY0 + toH * HOUR_MS,
    ...more,
  };
}

const ids = (blocks: readonly PlanBlock[] | undefined) => blocks?.map(b => b.id).join(' ');
const hours = (h: number) => DAY0 + h * HOUR_MS;

test('merge: a 12 h window is merged once newer data stands beyond it', () => {
  const six = Array.from({ length: 6 }, (_, i) => block(`b${i}`, i * 2, i * 2 + 2));
  assert.equal(planMerge(six, hours(12)), null);
  const job = planMerge([...six, block('next', 12, 14)], hours(14));
  assert.equal(ids(job?.blocks), 'b0 b1 b2 b3 b4 b5');
  assert.equal(job?.windowMs, 12 * HOUR_MS);
});

test('merge: overlapping blocks are merged at once, the smallest window first', () => {
  const job = planMerge([block('a', 0, 2), block('late', 1, 2), block('b', 2, 4)], hours(4));
  assert.equal(ids(job?.blocks), 'a late');
});

test('merge: a few late samples do not rewrite a big block until they are many, large, or a day old', () => {
  const big = block('big', 0, 72, { bytes: 1e6 });
  const late = block('late', 10, 11, { bytes: 10, arrivedMs: hours(80) });
  const newer = block('newer', 72, 74);
  assert.equal(planMerge([big, late, newer], hours(81)), null);
  assert.equal(ids(planMerge([big, late, newer], hours(80 + 24))?.blocks), 'big late');
  const many = Array.from({ length: 8 }, (_, i) =>
    block(`l${i}`, i * 3, i * 3 + 1, { bytes: 10, arrivedMs: hours(80) }),
  );
  assert.ok(planMerge([big, ...many, newer], hours(81)) !== null);
});

test('merge: tenants and resolutions never mix', () => {
  const blocks = [block('a', 0, 2), block('b', 1, 2, { tenant: 'other' }), block('c', 1, 2, { resolutionMs: RES_1M })];
  assert.equal(planMerge(blocks, hours(3)), null);
});

test('downsample: raw after 7 days to 1 min, then to 1 h, each window once', () => {
  const policy = () => ({ minuteAfterMs: 7 * DAY_MS, hourAfterMs: 30 * DAY_MS });
  const raw = block('raw', 0, 72);
  assert.equal(planDownsample([raw], hours(72) + 7 * DAY_MS - 1, policy), null);
  const now = hours(72) + 7 * DAY_MS;
  assert.equal(ids(planDownsample([raw], now, policy)?.blocks), 'raw');
  const minute = block('minute', 0, 72, { resolutionMs: RES_1M, arrivedMs: now });
  assert.equal(planDownsample([raw, minute], now, policy), null);
  const hour = planDownsample([minute], hours(72) + 30 * DAY_MS, policy);
  assert.deepEqual([hour?.fromMs, hour?.toMs, ids(hour?.blocks)], [RES_1M, RES_1H, 'minute']);
  const late = block('late', 3, 4, { arrivedMs: now + 1 });
  assert.equal(ids(planDownsample([raw, late, minute], now + 2, policy)?.blocks), 'raw late');
  assert.equal(
    planDownsample([raw], now, policy, key => key === downsampleKey('default', RES_1M, DAY0)),
    null,
  );
});

test('downsample: a window that has since been merged into a larger one is not written again', () => {
  const policy = () => ({ minuteAfterMs: null, hourAfterMs: DAY_MS });
  const now = hours(30 * 24);
  const windows = Array.from({ length: 3 }, (_, i) => block(`raw${i}`, i * 72, i * 72 + 72, { arrivedMs: now }));
  const month = block('month', 0, 216, { resolutionMs: RES_1H, arrivedMs: now });
  assert.equal(planDownsample([...windows, month], now, policy), null);
  const late = block('late', 75, 76, { arrivedMs: now + 1 });
  assert.equal(ids(planDownsample([...windows, late, month], now + 2, policy)?.blocks), 'raw1 late');
});

const keep = { rawMs: 15 * DAY_MS, minuteMs: 90 * DAY_MS, hourMs: 400 * DAY_MS, maxBytes: 0 };
const retention = (blocks: PlanBlock[], nowMs: number, more = {}) =>
  ids(
    planRetention({
      blocks,
      nowMs,
      retentionOf: () => keep,
      downsampleOf: () => ({ minuteAfterMs: null, hourAfterMs: null }),
      refused: () => false,
      maxBytes: 0,
      ...more,
    }),
  );

test('retention: by the later of sample time and arrival', () => {
  const old = block('old', 0, 2);
  const backfilled = block('backfilled', 0, 2, { arrivedMs: hours(2) + 20 * DAY_MS });
  assert.equal(retention([old, backfilled], hours(2) + 15 * DAY_MS), '');
  assert.equal(retention([old, backfilled], hours(2) + 15 * DAY_MS + 1), 'old');
  assert.equal(retention([old, backfilled], hours(2) + 36 * DAY_MS), 'old backfilled');
});

test('retention: raw waits for a level still to be written, and stands in for one that was refused', () => {
  const raw = block('raw', 0, 72);
  const on = { downsampleOf: () => ({ minuteAfterMs: 7 * DAY_MS, hourAfterMs: null }) };
  const at = (days: number) => hours(72) + days * DAY_MS;
  assert.equal(retention([raw], at(50), on), '');
  const minute = block('minute', 0, 72, { resolutionMs: RES_1M });
  assert.equal(retention([raw, minute], at(50), on), 'raw');
  assert.equal(retention([raw, minute], at(91), on), 'raw minute');
  const refused = { ...on, refused: (key: string) => key === downsampleKey('default', RES_1M, DAY0) };
  assert.equal(retention([raw], at(50), refused), '');
  assert.equal(retention([raw], at(91), refused), 'raw');
});

test('retention: beyond the size cap the oldest go first', () => {
  const blocks = [block('c', 4, 6), block('a', 0, 2), block('b', 2, 4)];
  assert.equal(retention(blocks, hours(6), { maxBytes: 2000 }), 'a');
  assert.equal(retention(blocks, hours(6), { maxBytes: 999 }), 'a b c');
});

/** Windows as [first hour, hours]; every 2 h window in the span has samples. */
function flushed(
  fromHour: number,
  toHour: number,
  maxHour: number,
  nowHour: number,
  rawKeepHours?: number,
): number[][] {
  const starts: number[] = [];
  for (let h = fromHour; h < toHour; h += 2) starts.push(h * HOUR_MS);
  const keepMs = rawKeepHours === undefined ? undefined : rawKeepHours * HOUR_MS;
  const windows = flushWindows(starts, maxHour * HOUR_MS - 1, nowHour * HOUR_MS, keepMs);
  for (const t of starts) assert.equal(windows.filter(w => w.start <= t && t <= w.end).length, 1, 'each in one window');
  for (const w of windows) assert.equal(w.stays, w.end - w.start > 2 * HOUR_MS);
  return windows.map(w => [w.start / HOUR_MS, (w.end + 1 - w.start) / HOUR_MS]);
}

test('a flush writes the windows that merges would make, where no more is to come for them', () => {
  // What is new waits in small windows; a window that is complete, or old, is written as one.
  assert.deepEqual(flushed(94, 96, 96, 97), [[94, 2]]);
  assert.deepEqual(flushed(72, 100, 100, 100), [
    [72, 12],
    [84, 12],
    [96, 2],
    [98, 2],
  ]);
  assert.deepEqual(flushed(0, 150, 150, 150), [
    [0, 72],
    [72, 72],
    [144, 2],
    [146, 2],
    [148, 2],
  ]);
  // One alone meets its neighbours in a merge, unless it is old.
  assert.deepEqual(flushed(142, 144, 144, 144), [[142, 2]]);
  assert.deepEqual(flushed(40, 42, 144, 144), [[0, 72]]);
  // What is old is one piece in a window that is not complete, too.
  assert.deepEqual(flushed(76, 140, 140, 140), [
    [72, 36],
    [108, 12],
    [120, 12],
    [132, 2],
    [134, 2],
    [136, 2],
    [138, 2],
  ]);
  // Samples that are kept for two days leave in pieces of half a day.
  assert.deepEqual(flushed(120, 146, 146, 146, 48), [
    [120, 12],
    [132, 12],
    [144, 2],
  ]);
  assert.deepEqual(flushed(120, 126, 144, 144, 0), [
    [120, 2],
    [122, 2],
    [124, 2],
  ]);
});
