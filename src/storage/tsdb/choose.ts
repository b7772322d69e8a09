/**
 * Choosing the resolution a query reads: for every stretch of time the coarsest level that still answers it well, finer
 * data where that level is missing, coarser data only where nothing else is left.
 *
 * A window that would hold under two points of a level is answered from finer data; so the wanted level follows from
 * the step and the window (`wantedResolution`), and the blocks from that (`chooseBlocks`).
 */
import { HOUR_MS, RAW, RES_1H, RES_1M } from './plan.ts';

/** Coverage is counted in whole cells, so that the seconds between two neighbouring blocks are not a gap. */
const CELL_MS = 2 * HOUR_MS;

export interface Extent {
  minT: number;
  maxT: number;
  resolutionMs: number;
}

export interface Choice<B> {
  block: B;
  /** Inclusive bounds in which this block is to be read, ms. */
  minT: number;
  maxT: number;
}

/**
 * The coarsest resolution of which every step and every window sees at least two points.
 * @param stepMs 0 for an instant query: then the finest.
 * @param windowMs the range of a range selector, or the look-back of an instant one.
 */
export function wantedResolution(stepMs: number, windowMs: number): number {
  for (const resolution of [RES_1H, RES_1M]) {
    if (stepMs >= resolution && windowMs >= 2 * resolution) return resolution;
  }
  return RAW;
}

/** Which blocks to read where, within [minT, maxT]; `coarsest` is the coarsest resolution used (0 = raw only). */
export function chooseBlocks<B extends Extent>(
  blocks: readonly B[],
  minT: number,
  maxT: number,
  wantedMs: number,
): { choices: Choice<B>[]; coarsest: number } {
  const overlapping = blocks.filter(b => b.maxT >= minT && b.minT <= maxT);
  const choices: Choice<B>[] = [];
  // Fast path: one resolution only.
  if (overlapping.every(b => b.resolutionMs === RAW)) {
    for (const block of overlapping) choices.push({ block, minT, maxT });
    return { choices, coarsest: RAW };
  }
  let open: [number, number][] = [[minT, maxT]];
  let coarsest = RAW;
  for (const level of levelOrder(overlapping, wantedMs)) {
    const own = overlapping.filter(b => b.resolutionMs === level);
    for (const block of own) {
      for (const [from, to] of open) {
        if (block.maxT < from || block.minT > to) continue;
        choices.push({ block, minT: from, maxT: to });
        coarsest = Math.max(coarsest, level);
      }
    }
    open = subtract(open, own.map(cells));
    if (open.length === 0) break;
  }
  return { choices, coarsest };
}

/** Best first: the wanted resolution, finer ones, then coarser ones. */
export function levelOrder(blocks: readonly Extent[], wantedMs: number): number[] {
  const levels = [...new Set(blocks.map(b => b.resolutionMs))];
  const fine = levels.filter(r => r <= wantedMs).sort((a, b) => b - a);
  const coarse = levels.filter(r => r > wantedMs).sort((a, b) => a - b);
  return [...fine, ...coarse];
}

export function cells(extent: Extent): [number, number] {
  return [Math.floor(extent.minT / CELL_MS) * CELL_MS, (Math.floor(extent.maxT / CELL_MS) + 1) * CELL_MS - 1];
}

export function subtract(open: readonly [number, number][], covered: readonly [number, number][]): [number, number][] {
  let rest = [...open];
  for (const [from, to] of covered) {
    const next: [number, number][] = [];
    for (const [a, b] of rest) {
      if (to < a || from > b) {
        next.push([a, b]);
        continue;
      }
      if (a < from) next.push([a, from - 1]);
      if (b > to) next.push([to + 1, b]);
    }
    rest = next;
  }
  return rest;
}
