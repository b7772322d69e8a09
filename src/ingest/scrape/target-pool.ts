/**
 * TargetPool: what the targets of one job are, made of its groups. Groups that did not change are not looked at again: relabelling some
 * ten thousand pods takes a second, and most updates are about one of them.
 */
import { isDeepStrictEqual } from 'node:util';
import type { DroppedTarget } from '../../contracts/targets.ts';
import type { TargetGroup } from '../discovery/target-group.ts';
import type { ScrapeJob } from './scrape-job.ts';
import { type Target, TargetMaker } from './target.ts';

/** Dropped targets remembered per job where the job does not say: enough to see why, not enough to hurt. */
const DROPPED_KEPT = 1000;
/** Targets of one job; each takes some kilobytes even where it never answers. */
export const JOB_TARGETS_MAX = 100_000;

interface GroupResult {
  targets: readonly Target[];
  /** Not all of them, where there are many. */
  dropped: readonly DroppedTarget[];
  droppedCount: number;
}

export class TargetPool {
  readonly job: ScrapeJob;
  readonly groups: readonly TargetGroup[];
  readonly targets = new Map<string, Target>();
  readonly dropped: DroppedTarget[] = [];
  droppedCount = 0;
  private readonly statics: readonly TargetGroup[];
  private readonly results: Map<TargetGroup, GroupResult>;

  private constructor(job: ScrapeJob, statics: readonly TargetGroup[], groups: readonly TargetGroup[]) {
    this.job = job;
    this.statics = statics;
    this.groups = groups;
    this.results = new Map();
  }

  /** Work in steps: a caller may pause after each. `before` is the pool that it takes the place of. */
  static *build(
    job: ScrapeJob,
    discovered: readonly TargetGroup[],
    before: TargetPool | undefined,
  ): Generator<void, TargetPool> {
    const same = before !== undefined && sameTargetSettings(before.job, job);
    const sameStatics = same && isDeepStrictEqual(before.job.staticConfigs, job.staticConfigs);
    const statics = sameStatics ? before.statics : staticGroups(job);
    const groups = [...statics, ...discovered];
    if (same && isDeepStrictEqual(before.job, job) && sameItems(before.groups, groups)) return before;
    const pool = new TargetPool(job, statics, groups);
    const maker = new TargetMaker(job);
    const kept = job.keepDroppedTargets > 0 ? job.keepDroppedTargets : DROPPED_KEPT;
    for (const group of groups) {
      let result = same ? before.results.get(group) : undefined;
      if (result === undefined) {
        const steps = groupSteps(maker, job.jobName, group, kept);
        let step = steps.next();
        while (step.done !== true) {
          yield;
          step = steps.next();
        }
        result = step.value;
      }
      pool.take(group, result, kept);
    }
    return pool;
  }

  private take(group: TargetGroup, result: GroupResult, kept: number): void {
    this.results.set(group, result);
    for (const target of result.targets) {
      if (this.targets.size < JOB_TARGETS_MAX || this.targets.has(target.key)) {
        if (!this.targets.has(target.key)) this.targets.set(target.key, target);
        continue;
      }
      this.droppedCount++;
      const reason = `the job has more than ${JOB_TARGETS_MAX} targets`;
      const { discovered: discoveredLabels } = target;
      if (this.dropped.length < kept) {
        this.dropped.push({ discoveredLabels, scrapePool: this.job.jobName, reason, rule: null });
      }
    }
    this.droppedCount += result.droppedCount;
    for (const dropped of result.dropped) if (this.dropped.length < kept) this.dropped.push(dropped);
  }
}

/** Targets made between two steps. */
const STEP_TARGETS = 50;

function* groupSteps(
  maker: TargetMaker,
  scrapePool: string,
  group: TargetGroup,
  kept: number,
): Generator<void, GroupResult> {
  const targets: Target[] = [];
  const dropped: DroppedTarget[] = [];
  let droppedCount = 0;
  for (const [i, own] of group.targets.entries()) {
    if (i % STEP_TARGETS === 0) yield;
    const result = maker.make(group, own);
    if (result.kind === 'target') {
      targets.push(result.target);
      continue;
    }
    droppedCount++;
    const { discovered: discoveredLabels, reason, rule } = result;
    if (dropped.length < kept) dropped.push({ discoveredLabels, scrapePool, reason, rule });
  }
  return { targets, dropped, droppedCount };
}

function staticGroups(job: ScrapeJob): TargetGroup[] {
  return job.staticConfigs.map(({ targets, labels }, i) => ({
    source: `static/${i}`,
    labels,
    targets: targets.map(address => new Map([['__address__', address]])),
  }));
}

/** Whether the same group gives the same targets under both. */
function sameTargetSettings(a: ScrapeJob, b: ScrapeJob): boolean {
  if (a === b) return true;
  const parts = (job: ScrapeJob): unknown => [
    job.jobName,
    job.scrapeIntervalMs,
    job.scrapeTimeoutMs,
    job.metricsPath,
    job.scheme,
    job.params,
    job.nameValidation,
    job.relabelConfigs,
    job.keepDroppedTargets,
  ];
  return isDeepStrictEqual(parts(a), parts(b));
}

function sameItems<T>(a: readonly T[], b: readonly T[]): boolean {
  return a.length === b.length && a.every((item, i) => item === b[i]);
}
