/**
 * Choosing the resolution series by series, where blocks of one stretch of time may differ in which series they have: with
 * storage.rules one series keeps its raw samples for years while its neighbours have only points of an hour left.
 *
 * The order of preference is that of choose.ts; but a block stands aside for a better one only in those of its series that the
 * better one has. Costs a look into the index of every block of the range, so it is for folders that have known rules, and for
 * samples that came when the others of their time had gone.
 */
import type { SampleBuffer } from '../../contracts/sample-source.ts';
import type { Labels } from '../../model/labels.ts';
import { cells, type Extent, levelOrder, subtract } from './choose.ts';
import type { PartSet } from './part.ts';
import type { PartRead } from './series-set.ts';

/** Selects in one block, within inclusive bounds. */
export type SelectIn<B> = (block: B, minT: number, maxT: number) => PartSet;

interface Better {
  /** Inclusive bounds of what it covers, ms. */
  cells: [number, number];
  resolutionMs: number;
  hashes: Uint32Array;
  /** Made when first asked; null before. */
  keys: Set<string> | null;
}

export interface ReadBySeries<B> {
  block: B;
  read: PartRead;
}

/** Whether a finer block that is past its time stands beside a coarser one: what it has came late, its neighbours have gone. */
export function hasStragglers<B extends Extent>(blocks: readonly B[], pastItsTime: (block: B) => boolean): boolean {
  const coarser = blocks.filter(b => b.resolutionMs > 0);
  if (coarser.length === 0) return false;
  return blocks.some(
    b => coarser.some(c => c.resolutionMs > b.resolutionMs && c.minT <= b.maxT && c.maxT >= b.minT) && pastItsTime(b),
  );
}

/** What to read of which block within [minT, maxT]. Sets with nothing to read are closed here; the others are the caller's. */
export function* chooseBySeries<B extends Extent>(
  blocks: readonly B[],
  minT: number,
  maxT: number,
  wantedMs: number,
  select: SelectIn<B>,
): Generator<ReadBySeries<B>> {
  const overlapping = blocks.filter(b => b.maxT >= minT && b.minT <= maxT);
  const better: Better[] = [];
  for (const level of levelOrder(overlapping, wantedMs)) {
    for (const block of overlapping.filter(b => b.resolutionMs === level).sort((a, b) => a.minT - b.minT)) {
      const set = select(block, minT, maxT);
      const [from, to] = cells(block);
      const above = better.filter(b => b.resolutionMs !== level && b.cells[0] <= to && b.cells[1] >= from);
      better.push({ cells: [from, to], resolutionMs: level, hashes: set.hashes, keys: null });
      const left = above.length === 0 ? set : withoutBetter(set, above, minT, maxT);
      if (left.count === 0) left.close();
      else yield { block, read: { set: left, minT, maxT } };
    }
  }
}

/** The series of the set, in the times for which no better block has them. */
function withoutBetter(set: PartSet, above: readonly Better[], minT: number, maxT: number): PartSet {
  const members: number[] = [];
  const times: [number, number][][] = [];
  const known = new Map<string, [number, number][]>();
  for (let i = 0; i < set.count; i++) {
    let signature = '';
    const having: [number, number][] = [];
    for (let k = 0; k < above.length; k++) {
      const b = above[k] as Better;
      if (!has(b, set.hashes, i)) continue;
      signature += `${k} `;
      having.push(b.cells);
    }
    let open = known.get(signature);
    if (open === undefined) {
      open = subtract([[minT, maxT]], having);
      known.set(signature, open);
    }
    if (open.length === 0) continue;
    members.push(i);
    times.push(open);
  }
  return new PartialSet(set, members, times);
}

function has(block: Better, hashes: Uint32Array, i: number): boolean {
  const own = block.hashes;
  // Fast path: blocks with the same series have them in the same place.
  if (4 * i + 4 <= own.length && sameHash(own, hashes, i)) return true;
  if (block.keys === null) {
    block.keys = new Set();
    for (let k = 0; k < own.length; k += 4) block.keys.add(own.subarray(k, k + 4).join());
  }
  return block.keys.has(hashes.subarray(4 * i, 4 * i + 4).join());
}

function sameHash(a: Uint32Array, b: Uint32Array, i: number): boolean {
  for (let w = 4 * i; w < 4 * i + 4; w++) if (a[w] !== b[w]) return false;
  return true;
}

/** Some series of a set, each in some times only. */
class PartialSet implements PartSet {
  readonly hashes: Uint32Array;
  private readonly set: PartSet;
  private readonly members: readonly number[];
  private readonly times: readonly (readonly [number, number][])[];

  constructor(set: PartSet, members: readonly number[], times: readonly (readonly [number, number][])[]) {
    this.set = set;
    this.members = members;
    this.times = times;
    this.hashes = new Uint32Array(4 * members.length);
    members.forEach((m, k) => {
      this.hashes.set(set.hashes.subarray(4 * m, 4 * m + 4), 4 * k);
    });
  }

  get count(): number {
    return this.members.length;
  }

  labels(i: number): Labels {
    return this.set.labels(this.members[i] as number);
  }

  read(i: number, minT: number, maxT: number, into: SampleBuffer): void {
    for (const [from, to] of this.times[i] as readonly [number, number][]) {
      if (to < minT || from > maxT) continue;
      this.set.read(this.members[i] as number, Math.max(from, minT), Math.min(to, maxT), into);
    }
  }

  close(): void {
    this.set.close();
  }
}
