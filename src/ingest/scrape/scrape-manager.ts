/**
 * ScrapeManager: runs a loop per target, and tells the API about them.
 *
 * `apply` takes a new set of jobs: targets whose labels, URL and job settings are unchanged keep their loops (and so their rhythm and
 * series), the others end with staleness markers or begin. Static targets only, so far.
 */
import { isDeepStrictEqual } from 'node:util';
import type { ScrapeStore } from '../../contracts/scrape-store.ts';
import type { ActiveTarget, DroppedTarget, TargetDirectory } from '../../contracts/targets.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log.ts';
import { type Counter, type Histogram, LATENCY_BUCKETS, type MetricsRegistry } from '../../lib/metrics.ts';
import { compareLabels, type Labels } from '../../model/labels.ts';
import type { MetadataEntry } from '../../model/sample-batch.ts';
import type { TenantId } from '../../model/tenant.ts';
import type { ScrapeFetcher } from './http-fetcher.ts';
import { compileRelabel } from './relabel.ts';
import type { ScrapeJob } from './scrape-job.ts';
import { type LoopDeps, ScrapeLoop } from './scrape-loop.ts';
import { buildTarget, discoveredLabels, type Target } from './target.ts';

export interface ScrapeManagerOptions {
  store: ScrapeStore;
  clock: Clock;
  log: Logger;
  metrics: MetricsRegistry;
  tenant: TenantId;
  fetcher: ScrapeFetcher;
}

/** Dropped targets remembered per job where the job does not say: enough to see why, not enough to hurt. */
const DROPPED_KEPT = 1000;

interface Pool {
  job: ScrapeJob;
  loops: Map<string, ScrapeLoop>;
  dropped: DroppedTarget[];
  droppedCount: number;
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
  private pools = new Map<string, Pool>();
  private ending: Promise<unknown> = Promise.resolve();
  private storeFailing = false;

  constructor(options: ScrapeManagerOptions) {
    this.options = options;
    this.own = ownMetrics(options.metrics, () => this.active(options.tenant).length);
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

  /** Makes these the jobs. Returns at once; targets that are gone end in the background. */
  apply(jobs: readonly ScrapeJob[]): void {
    const before = this.pools;
    const next = new Map<string, Pool>();
    const started: ScrapeLoop[] = [];
    for (const job of jobs) {
      const old = before.get(job.jobName);
      const keep = old !== undefined && isDeepStrictEqual(old.job, job) ? old.loops : new Map<string, ScrapeLoop>();
      const pool = this.makePool(job, keep, started);
      next.set(job.jobName, pool);
    }
    this.pools = next;
    const alive = new Set<ScrapeLoop>();
    const labelsAlive: Labels[] = [];
    for (const pool of next.values()) {
      for (const loop of pool.loops.values()) {
        alive.add(loop);
        labelsAlive.push(loop.target.labels);
      }
    }
    const gone = [...before.values()].flatMap(pool => [...pool.loops.values()]).filter(loop => !alive.has(loop));
    const keys = new Set(labelsAlive.map(labels => labels.join('\0')));
    // A target that goes on under new settings writes the same series: no markers between.
    const ends = gone.map(loop => loop.stop(!keys.has(loop.target.labels.join('\0'))));
    this.ending = Promise.allSettled([this.ending, ...ends]);
    for (const loop of started) loop.start();
    if (started.length > 0 || gone.length > 0) {
      this.options.log.info(
        { targets: alive.size, started: started.length, ended: gone.length },
        'scrape targets changed',
      );
    }
  }

  /** The process ends, the targets do not: no markers. */
  async stop(): Promise<void> {
    const loops = [...this.pools.values()].flatMap(pool => [...pool.loops.values()]);
    this.pools = new Map();
    await Promise.allSettled([this.ending, ...loops.map(loop => loop.stop(false))]);
  }

  active(tenant: TenantId): ActiveTarget[] {
    if (tenant !== this.options.tenant) return [];
    const out: ActiveTarget[] = [];
    for (const [scrapePool, pool] of [...this.pools].sort(([a], [b]) => (a < b ? -1 : 1))) {
      const loops = [...pool.loops.values()].sort((a, b) => compareLabels(a.target.labels, b.target.labels));
      for (const { target, status } of loops) {
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
    return tenant === this.options.tenant ? [...this.pools.values()].flatMap(pool => pool.dropped) : [];
  }

  droppedCounts(tenant: TenantId): Record<string, number> {
    if (tenant !== this.options.tenant) return {};
    return Object.fromEntries([...this.pools].map(([name, pool]) => [name, pool.droppedCount]));
  }

  scrapePools(tenant: TenantId): string[] {
    return tenant === this.options.tenant ? [...this.pools.keys()].sort() : [];
  }

  metadata(tenant: TenantId): { labels: Labels; entries: MetadataEntry[] }[] {
    if (tenant !== this.options.tenant) return [];
    const loops = [...this.pools.values()].flatMap(pool => [...pool.loops.values()]);
    return loops.map(loop => ({ labels: loop.target.labels, entries: [...loop.status.metadata] }));
  }

  private makePool(job: ScrapeJob, old: ReadonlyMap<string, ScrapeLoop>, started: ScrapeLoop[]): Pool {
    const pool: Pool = { job, loops: new Map(), dropped: [], droppedCount: 0 };
    for (const target of this.targetsOf(job, pool)) {
      let loop = old.get(target.key);
      if (loop === undefined) {
        loop = new ScrapeLoop(job, target, this.loopDeps);
        started.push(loop);
      }
      pool.loops.set(target.key, loop);
    }
    const over = job.targetLimit > 0 && pool.loops.size > job.targetLimit;
    const why = over ? `target_limit exceeded: ${pool.loops.size} targets, the limit is ${job.targetLimit}` : '';
    for (const loop of pool.loops.values()) loop.blocked = why;
    return pool;
  }

  private *targetsOf(job: ScrapeJob, pool: Pool): Generator<Target> {
    const relabel = compileRelabel(job.relabelConfigs, job.nameValidation === 'legacy');
    const kept = job.keepDroppedTargets > 0 ? job.keepDroppedTargets : DROPPED_KEPT;
    for (const group of job.staticConfigs) {
      for (const address of group.targets) {
        const result = buildTarget(job, relabel, discoveredLabels(job, address, group.labels));
        if (result.kind === 'target') {
          yield result.target;
          continue;
        }
        if (result.kind === 'failed') {
          this.options.log.warn({ job: job.jobName, address, reason: result.reason }, 'a target cannot be scraped');
        }
        pool.droppedCount++;
        if (pool.dropped.length < kept) {
          pool.dropped.push({ discoveredLabels: result.discovered, scrapePool: job.jobName });
        }
      }
    }
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
