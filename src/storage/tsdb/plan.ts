/**
 * Plans of a shard's upkeep: which blocks to merge, to downsample, to delete. Pure functions of the block list, so that
 * every decision can be tested without a disk.
 *
 * Blocks are cut along aligned windows. A merge fills the next larger window; the largest is 72 h, which is also the
 * unit of downsampling and the grain of retention. A window is merged when it is complete (newer data exists beyond it)
 * or when small late blocks have piled up in it.
 */

export const HOUR_MS = 3_600_000;
export const DAY_MS = 24 * HOUR_MS;
export const RAW = 0;
export const RES_1M = 60_000;
export const RES_1H = HOUR_MS;

/** Window sizes by resolution, ascending; blocks of a resolution grow through them. */
const WINDOWS: Record<number, readonly number[]> = {
  [RAW]: [2 * HOUR_MS, 12 * HOUR_MS, 72 * HOUR_MS],
  [RES_1M]: [72 * HOUR_MS],
  [RES_1H]: [72 * HOUR_MS, 30 * DAY_MS],
};

/** The unit in which raw data is downsampled. */
export const DOWNSAMPLE_WINDOW_MS = 72 * HOUR_MS;

/** Raw blocks go as a whole: their window is at most this part of the time they are kept, the smallest window excepted. */
const GRAINS = 4;

/** Late blocks in a window that has its big block are merged at this count, this share of its bytes, or this age. */
const LATE_COUNT = 8;
const LATE_SHARE = 0.1;
const LATE_AGE_MS = 24 * HOUR_MS;

export interface PlanBlock {
  id: string;
  /** Or the part of it that one policy governs (policies.ts). */
  tenant: string;
  /** Inclusive bounds of the samples, ms. */
  minT: number;
  maxT: number;
  /** 0 = raw, else the length of a bucket, ms. */
  resolutionMs: number;
  bytes: number;
  /** When its newest sample arrived here, ms. */
  arrivedMs: number;
}

export interface MergeJob<B> {
  kind: 'merge';
  tenant: string;
  resolutionMs: number;
  windowStart: number;
  windowMs: number;
  blocks: B[];
}

export interface DownsampleJob<B> {
  kind: 'downsample';
  tenant: string;
  fromMs: number;
  toMs: number;
  windowStart: number;
  blocks: B[];
}

export interface DownsamplePolicy {
  /** Age from which the 1 min level is written; null = never. */
  minuteAfterMs: number | null;
  hourAfterMs: number | null;
}

export interface RetentionPolicy {
  rawMs: number;
  minuteMs: number;
  hourMs: number;
  /** Over all blocks of the shard; 0 = no cap. */
  maxBytes: number;
}

export function windowStart(t: number, windowMs: number): number {
  return Math.floor(t / windowMs) * windowMs;
}

/** Where a flush cuts samples of this age: recent data in 2 h, older data in windows that need no further merge. */
export function flushWindowMs(t: number, nowMs: number): number {
  return t >= nowMs - DAY_MS ? 2 * HOUR_MS : 72 * HOUR_MS;
}

export interface FlushWindow {
  /** Inclusive bounds, ms. */
  start: number;
  end: number;
  /** Its block is not expected to be merged again soon. */
  stays: boolean;
}

/**
 * Where a flush cuts a tenant's samples.
 * @param starts of the 2 h windows that have samples, ascending
 * @param rawKeepMs how long raw samples are kept
 *
 * Windows that would be merged right after are written as one: those of old data, and those that end before the flush does, so
 * that nothing more is to come for them in order.
 */
export function flushWindows(
  starts: readonly number[],
  maxT: number,
  nowMs: number,
  rawKeepMs = Number.POSITIVE_INFINITY,
): FlushWindow[] {
  const windows: FlushWindow[] = [];
  for (let i = 0; i < starts.length; ) {
    const window = flushWindow(starts, i, maxT, nowMs, rawKeepMs);
    windows.push(window);
    while (i < starts.length && (starts[i] as number) <= window.end) i++;
  }
  return windows;
}

function flushWindow(
  starts: readonly number[],
  i: number,
  maxT: number,
  nowMs: number,
  rawKeepMs: number,
): FlushWindow {
  const t = starts[i] as number;
  const oldEnd = windowStart(nowMs - DAY_MS, 12 * HOUR_MS);
  for (const size of [72 * HOUR_MS, 12 * HOUR_MS]) {
    const start = windowStart(t, size);
    const end = start + size;
    const complete = end - 1 <= maxT && size <= rawKeepMs / GRAINS;
    // One alone will be merged with what has been flushed of its neighbours before.
    if (complete && i + 1 < starts.length && (starts[i + 1] as number) < end)
      return { start, end: end - 1, stays: true };
    if (t < oldEnd) return { start, end: Math.min(end, oldEnd) - 1, stays: true };
  }
  const start = windowStart(t, 2 * HOUR_MS);
  return { start, end: start + 2 * HOUR_MS - 1, stays: false };
}

/** The next merge that is due, smallest windows first; null when nothing is. */
export function planMerge<B extends PlanBlock>(
  blocks: readonly B[],
  nowMs: number,
  rawKeepMs: (tenant: string) => number = () => Number.POSITIVE_INFINITY,
): MergeJob<B> | null {
  for (const [key, group] of groupBy(blocks, b => `${b.tenant}\n${b.resolutionMs}`)) {
    const resolutionMs = Number(key.slice(key.indexOf('\n') + 1));
    const windows = WINDOWS[resolutionMs] ?? [DOWNSAMPLE_WINDOW_MS];
    const newest = Math.max(...group.map(b => b.maxT));
    const tenant = key.slice(0, key.indexOf('\n'));
    const widestMs = resolutionMs === RAW ? rawKeepMs(tenant) / GRAINS : Number.POSITIVE_INFINITY;
    for (let level = 0; level < windows.length; level++) {
      const windowMs = windows[level] as number;
      const tooWide = level > 0 && windowMs > widestMs;
      // What is wider than the window below has no grain to lose.
      const members = tooWide ? group.filter(b => !fits(b, windows[level - 1] as number)) : group;
      const job = dueInLevel(members, windowMs, newest, nowMs);
      if (job !== null) {
        return { kind: 'merge', tenant, resolutionMs, windowMs, ...job };
      }
    }
  }
  return null;
}

function dueInLevel<B extends PlanBlock>(
  group: readonly B[],
  windowMs: number,
  newest: number,
  nowMs: number,
): { windowStart: number; blocks: B[] } | null {
  const fitting = group.filter(b => fits(b, windowMs));
  for (const [, inWindow] of groupBy(fitting, b => String(windowStart(b.minT, windowMs)))) {
    if (inWindow.length < 2) continue;
    const start = windowStart((inWindow[0] as B).minT, windowMs);
    const complete = newest >= start + windowMs;
    if (!complete && !overlapping(inWindow)) continue;
    if (isDue(inWindow, nowMs)) return { windowStart: start, blocks: inWindow };
  }
  return null;
}

function fits(b: PlanBlock, windowMs: number): boolean {
  return windowStart(b.minT, windowMs) === windowStart(b.maxT, windowMs);
}

/** Cheap merges happen at once; rewriting one big block for a few late samples waits until it pays. */
function isDue(blocks: readonly PlanBlock[], nowMs: number): boolean {
  const big = blocks.reduce((a, b) => (b.bytes > a.bytes ? b : a));
  const rest = blocks.filter(b => b !== big);
  const restBytes = rest.reduce((sum, b) => sum + b.bytes, 0);
  if (restBytes >= big.bytes * LATE_SHARE) return true;
  if (rest.length >= LATE_COUNT) return true;
  return rest.some(b => nowMs - b.arrivedMs >= LATE_AGE_MS);
}

function overlapping(blocks: readonly PlanBlock[]): boolean {
  const sorted = [...blocks].sort((a, b) => a.minT - b.minT);
  return sorted.some((b, i) => i > 0 && b.minT <= (sorted[i - 1] as PlanBlock).maxT);
}

/**
 * The next downsampling that is due: all blocks of the finer level in one 72 h window that is old enough, where no
 * coarser block stands yet or one of the inputs is younger than it.
 */
export function planDownsample<B extends PlanBlock>(
  blocks: readonly B[],
  nowMs: number,
  policyOf: (tenant: string) => DownsamplePolicy,
  skip: (key: string) => boolean = () => false,
): DownsampleJob<B> | null {
  for (const [tenant, own] of groupBy(blocks, b => b.tenant)) {
    const policy = policyOf(tenant);
    const steps = [
      { from: RAW, to: RES_1M, after: policy.minuteAfterMs },
      { from: RES_1M, to: RES_1H, after: policy.hourAfterMs },
    ];
    for (const { from, to, after } of steps) {
      if (after === null) continue;
      const windows = groupBy(
        own.filter(b => b.resolutionMs === from || (to === RES_1H && b.resolutionMs === RAW)),
        b => String(windowStart(b.minT, DOWNSAMPLE_WINDOW_MS)),
      );
      for (const [key, candidates] of windows) {
        const start = Number(key);
        if (nowMs - (start + DOWNSAMPLE_WINDOW_MS) < after) continue;
        if (skip(downsampleKey(tenant, to, start))) continue;
        // The hour level is made of the minute level where that was written, else of raw.
        const finer = candidates.filter(b => b.resolutionMs === from);
        const inputs = finer.length > 0 ? finer : candidates;
        // Also in a block of a larger window, into which this one has been merged since.
        const end = start + DOWNSAMPLE_WINDOW_MS;
        const done = own.filter(b => b.resolutionMs === to && b.minT < end && b.maxT >= start);
        const doneAt = Math.max(...done.map(b => b.arrivedMs));
        if (done.length > 0 && inputs.every(b => b.arrivedMs <= doneAt)) continue;
        return {
          kind: 'downsample',
          tenant,
          fromMs: inputs[0]?.resolutionMs ?? from,
          toMs: to,
          windowStart: start,
          blocks: inputs,
        };
      }
    }
  }
  return null;
}

/** Names a downsampling, e.g. to remember that its result was not smaller and need not be tried again. */
export function downsampleKey(tenant: string, toMs: number, start: number): string {
  return `${tenant}/${toMs}/${start}`;
}

export interface RetentionInput<B> {
  blocks: readonly B[];
  nowMs: number;
  retentionOf: (tenant: string) => RetentionPolicy;
  downsampleOf: (tenant: string) => DownsamplePolicy;
  /** Whether a level was tried for a window and found no smaller (see `downsampleKey`). */
  refused: (key: string) => boolean;
  /** Cap over all these blocks; 0 = none. */
  maxBytes: number;
}

/**
 * The blocks whose time is over, and, beyond the size cap, the oldest ones. Age counts from the later of sample time
 * and arrival, so that nothing accepted expires at once. Where a coarser level was tried and refused because it would
 * not be smaller, the finer block stands in for it and is kept as long as that level would be; where it is still to be
 * written, the finer block waits for it.
 */
export function planRetention<B extends PlanBlock>(input: RetentionInput<B>): B[] {
  const { blocks, nowMs, maxBytes } = input;
  const doomed = new Set<B>();
  for (const b of blocks) {
    if (nowMs - Math.max(b.maxT, b.arrivedMs) > keepMs(b, input)) doomed.add(b);
  }
  if (maxBytes > 0) {
    const kept = blocks
      .filter(b => !doomed.has(b))
      .sort((x, y) => Math.max(x.maxT, x.arrivedMs) - Math.max(y.maxT, y.arrivedMs));
    let total = kept.reduce((sum, b) => sum + b.bytes, 0);
    for (const b of kept) {
      if (total <= maxBytes) break;
      doomed.add(b);
      total -= b.bytes;
    }
  }
  return [...doomed];
}

function keepMs<B extends PlanBlock>(block: B, input: RetentionInput<B>): number {
  const retention = input.retentionOf(block.tenant);
  if (block.resolutionMs >= RES_1H) return retention.hourMs;
  const downsample = input.downsampleOf(block.tenant);
  const start = windowStart(block.minT, DOWNSAMPLE_WINDOW_MS);
  /** How long the level below must stay for the sake of this one. */
  const forLevel = (toMs: number, afterMs: number | null, levelKeepMs: number): number => {
    if (afterMs === null) return 0;
    if (input.refused(downsampleKey(block.tenant, toMs, start))) return levelKeepMs;
    const written = input.blocks.some(
      o => o.tenant === block.tenant && o.resolutionMs === toMs && o.minT <= block.maxT && o.maxT >= block.minT,
    );
    return written ? 0 : Number.POSITIVE_INFINITY;
  };
  const forHour = forLevel(RES_1H, downsample.hourAfterMs, retention.hourMs);
  if (block.resolutionMs >= RES_1M) return Math.max(retention.minuteMs, forHour);
  const forMinute = forLevel(RES_1M, downsample.minuteAfterMs, Math.max(retention.minuteMs, forHour));
  return Math.max(retention.rawMs, forMinute);
}

function groupBy<T>(items: readonly T[], key: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const k = key(item);
    const group = groups.get(k);
    if (group === undefined) groups.set(k, [item]);
    else group.push(item);
  }
  return groups;
}
