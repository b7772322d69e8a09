/**
 * ScrapeManager: runs a loop per target, and tells the API about them.
 *
 * `apply` takes a new set of jobs, discovery tells of new groups: either way, targets whose labels, URL and scrape settings are unchanged keep
 * their loops (and so their rhythm and series), the others end with staleness markers or begin.
 */
import { isDeepStrictEqual } from 'node:util';
import type { ScrapeStore } from '../../contracts/scrape-store.ts';
import type { ActiveTarget, DiscoveryStatus, DroppedTarget, TargetDirectory } from '../../contracts/targets.ts';
import type { Clock } from '../../lib/clock.ts';
import { errorText, type Logger } from '../../lib/log.ts';
import { type Counter, type Histogram, LATENCY_BUCKETS, type MetricsRegistry } from '../../lib/metrics.ts';
import { TimeSlice } from '../../lib/yield.ts';
import { compareLabels, type Labels, labelsKey } from '../../model/labels.ts';
import type { MetadataEntry } from '../../model/sample-batch.ts';
import type { TenantId } from '../../model/tenant.ts';
import type { TargetGroup } from '../discovery/target-group.ts';
import type { ScrapeFetcher } from './http-fetcher.ts';
import type { ScrapeJob } from './scrape-job.ts';
import { type LoopDeps, ScrapeLoop } from './scrape-loop.ts';
import { TargetPool } from './target-pool.ts';

export interface ScrapeManagerOptions {
  store: ScrapeStore;
  clock: Clock;
  log: Logger;
  metrics: MetricsRegistry;
  tenant: TenantId;
  fetcher: ScrapeFetcher;
  /** Where targets come from beside the jobs' static ones; stopped with the manager. */
  discovery?: TargetDiscovery;
}

export interface TargetDiscovery {
  apply(jobs: readonly ScrapeJob[]): void;
  /** Calls whenever `groupsOf` would say something else for some job. */
  onUpdate(listener: () => void): void;
  /** Groups that did not change are the same objects as before. */
  groupsOf(jobName: string): readonly TargetGroup[];
  status(): DiscoveryStatus[];
  stop(): void;
}

interface Pool {
  targets: TargetPool;
  loops: ReadonlyMap<string, ScrapeLoop>;
}

interface OwnMetrics {
  scrapes: Counter;
  failures: Counter;
  samples: Counter;
  late: Counter;
  appendFailures: Counter;
  duration: Histogram;
}

export class ScrapeManager implements TargetDirectory {
  private readonly options: ScrapeManagerOptions;
  private readonly own: OwnMetrics;
  private readonly loopDeps: LoopDeps;
  private pools: ReadonlyMap<string, Pool> = new Map();
  private jobs: readonly ScrapeJob[] = [];
  private outdated = false;
  private syncing = false;
  private stopped = false;
  private ending: Promise<unknown> = Promise.resolve();
  private storeFailing = false;

  constructor(options: ScrapeManagerOptions) {
    this.options = options;
    this.own = ownMetrics(options.metrics, () => {
      let count = 0;
      for (const pool of this.pools.values()) count += pool.loops.size;
      return count;
    });
    options.discovery?.onUpdate(() => this.sync());
    this.loopDeps = {
      clock: options.clock,
      log: options.log,
      fetcher: options.fetcher,
      store: options.store,
      tenant: options.tenant,
      onScrape: result => {
        this.own.scrapes.inc();
        this.own.duration.observe(result.seconds);
        this.own.samples.inc(result.samples);
        if (result.failed) this.own.failures.inc();
        if (result.late) this.own.late.inc();
        this.noteStore(result.storeError);
      },
    };
  }

  /**
   * Makes these the jobs. Returns at once: what can be done in some milliseconds is done, the rest follows; targets that are gone end in the
   * background.
   */
  apply(jobs: readonly ScrapeJob[]): void {
    this.jobs = jobs;
    this.options.discovery?.apply(jobs);
    this.sync();
  }

  /** The process ends, the targets do not: no markers. */
  async stop(): Promise<void> {
    this.stopped = true;
    this.options.discovery?.stop();
    const loops = [...this.pools.values()].flatMap(pool => [...pool.loops.values()]);
    this.pools = new Map();
    await Promise.allSettled([this.ending, ...loops.map(loop => loop.stop(false))]);
  }

  active(tenant: TenantId): ActiveTarget[] {
    if (tenant !== this.options.tenant) return [];
    const out: ActiveTarget[] = [];
    for (const [scrapePool, pool] of [...this.pools].sort(([a], [b]) => (a < b ? -1 : 1))) {
      const entries = [...pool.targets.targets.values()].sort((a, b) => compareLabels(a.labels, b.labels));
      for (const target of entries) {
        const { status } = pool.loops.get(target.key) as ScrapeLoop;
        out.push({
          discoveredLabels: target.discovered,
          labels: target.labels,
          scrapePool,
          scrapeUrl: target.url,
          globalUrl: target.url,
          lastError: status.lastError,
          lastScrapeMs: status.lastScrapeMs,
          lastScrapeDurationMs: status.lastScrapeDurationMs,
          health: status.health,
          scrapeIntervalMs: target.intervalMs,
          scrapeTimeoutMs: target.timeoutMs,
        });
      }
    }
    return out;
  }

  dropped(tenant: TenantId): DroppedTarget[] {
    return tenant === this.options.tenant ? [...this.pools.values()].flatMap(pool => pool.targets.dropped) : [];
  }

  droppedCounts(tenant: TenantId): Record<string, number> {
    if (tenant !== this.options.tenant) return {};
    return Object.fromEntries([...this.pools].map(([name, pool]) => [name, pool.targets.droppedCount]));
  }

  scrapePools(tenant: TenantId): string[] {
    return tenant === this.options.tenant ? [...this.pools.keys()].sort() : [];
  }

  discovery(tenant: TenantId): DiscoveryStatus[] {
    return tenant === this.options.tenant ? (this.options.discovery?.status() ?? []) : [];
  }

  metadata(tenant: TenantId): { labels: Labels; entries: MetadataEntry[] }[] {
    if (tenant !== this.options.tenant) return [];
    const loops = [...this.pools.values()].flatMap(pool => [...pool.loops.values()]);
    return loops.map(loop => ({ labels: loop.target.labels, entries: [...loop.status.metadata] }));
  }

  /** One pass after the other; what changes during one makes one more. */
  private sync(): void {
    this.outdated = true;
    if (this.syncing) return;
    this.syncing = true;
    void this.passes();
  }

  private async passes(): Promise<void> {
    try {
      while (this.outdated && !this.stopped) {
        this.outdated = false;
        await this.pass(new TimeSlice());
      }
    } catch (error) {
      this.options.log.error({ error: errorText(error) }, 'BUG: targets could not be brought up to date');
    } finally {
      this.syncing = false;
    }
  }

  /** Runs to its end at once where there is little to do. */
  private async pass(slice: TimeSlice): Promise<void> {
    const pools: TargetPool[] = [];
    for (const job of this.jobs) {
      const discovered = this.options.discovery?.groupsOf(job.jobName) ?? [];
      const steps = TargetPool.build(job, discovered, this.pools.get(job.jobName)?.targets);
      let step = steps.next();
      while (step.done !== true) {
        if (slice.due()) await slice.pause();
        step = steps.next();
      }
      pools.push(step.value);
    }
    if (!this.stopped) this.commit(pools);
  }

  private commit(pools: readonly TargetPool[]): void {
    const before = this.pools;
    const next = new Map<string, Pool>();
    const started: ScrapeLoop[] = [];
    for (const targets of pools) {
      next.set(targets.job.jobName, this.poolOf(targets, before.get(targets.job.jobName), started));
    }
    this.pools = next;
    const alive = new Set<ScrapeLoop>();
    for (const pool of next.values()) for (const loop of pool.loops.values()) alive.add(loop);
    const gone = [...before.values()].flatMap(pool => [...pool.loops.values()]).filter(loop => !alive.has(loop));
    if (started.length === 0 && gone.length === 0) return;
    const keys = new Set([...alive].map(loop => labelsKey(loop.target.labels)));
    // A target that goes on under new settings writes the same series: no markers between.
    const ends = gone.map(loop => loop.stop(!keys.has(labelsKey(loop.target.labels))));
    this.ending = Promise.allSettled([this.ending, ...ends]);
    for (const loop of started) loop.start();
    this.options.log.info(
      { targets: alive.size, started: started.length, ended: gone.length },
      'scrape targets changed',
    );
  }

  private poolOf(targets: TargetPool, before: Pool | undefined, started: ScrapeLoop[]): Pool {
    if (before?.targets === targets) return before;
    const { job } = targets;
    const keep = before !== undefined && sameScrapeSettings(before.targets.job, job);
    const loops = new Map<string, ScrapeLoop>();
    for (const target of targets.targets.values()) {
      let loop = keep ? before.loops.get(target.key) : undefined;
      const { intervalMs, timeoutMs } = loop?.target ?? target;
      if (loop === undefined || intervalMs !== target.intervalMs || timeoutMs !== target.timeoutMs) {
        loop = new ScrapeLoop(job, target, this.loopDeps);
        started.push(loop);
      }
      loops.set(target.key, loop);
    }
    const over = job.targetLimit > 0 && loops.size > job.targetLimit;
    const why = over ? `target_limit exceeded: ${loops.size} targets, the limit is ${job.targetLimit}` : '';
    for (const loop of loops.values()) loop.blocked = why;
    return { targets, loops };
  }

  private noteStore(error: string): void {
    if (error !== '') {
      this.own.appendFailures.inc();
      // Once per outage: every target meets the same.
      if (!this.storeFailing) this.options.log.warn({ error }, 'scraped samples cannot be stored');
    }
    this.storeFailing = error !== '';
  }
}

/** Settings that say which targets there are, and nothing about how one is scraped. */
const NOT_OF_A_SCRAPE = {
  staticConfigs: [],
  discovery: [],
  relabelConfigs: [],
  targetLimit: 0,
  keepDroppedTargets: 0,
};

function sameScrapeSettings(a: ScrapeJob, b: ScrapeJob): boolean {
  return a === b || isDeepStrictEqual({ ...a, ...NOT_OF_A_SCRAPE }, { ...b, ...NOT_OF_A_SCRAPE });
}

function ownMetrics(metrics: MetricsRegistry, targets: () => number): OwnMetrics {
  const gauge = metrics.gauge('sightline_scrape_targets', 'Targets that are scraped.');
  metrics.onCollect(() => gauge.set(targets()));
  return {
    scrapes: metrics.counter('sightline_scrapes_total', 'Scrapes done.'),
    failures: metrics.counter(
      'sightline_scrape_failures_total',
      'Scrapes that failed: no answer, a bad one, or over a limit.',
    ),
    samples: metrics.counter('sightline_scrape_samples_total', 'Samples scraped, after relabelling.'),
    late: metrics.counter('sightline_scrapes_late_total', 'Scrapes that took longer than their interval.'),
    appendFailures: metrics.counter('sightline_scrape_append_failures_total', 'Scrapes that could not be stored.'),
    duration: metrics.histogram(
      'sightline_scrape_duration_seconds',
      'Time of a scrape, storing included.',
      LATENCY_BUCKETS,
    ),
  };
}
