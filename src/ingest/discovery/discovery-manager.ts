/**
 * DiscoveryManager: a provider for each discovery section of the jobs, shared by jobs that say the same, and what they found, per job.
 *
 * Changes are gathered: the first is told after a moment, the next ones 5 s apart, so that a cluster that restarts makes some updates and not
 * thousands. A job whose sections change keeps the targets of the old ones until the new ones have told theirs (or for half a
 * minute): a reload makes no gap.
 */
import { createHash } from 'node:crypto';
import type { DiscoveryStatus } from '../../contracts/targets.ts';
import type { Clock, Timer } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log.ts';
import type { Counter, Family, Gauge, MetricsRegistry } from '../../lib/metrics.ts';
import { createDiscoverer } from './create.ts';
import type { Discoverer, DiscoveryContext } from './discoverer.ts';
import { Provider } from './provider.ts';
import { type DiscoverySection, describeSection } from './sections.ts';
import type { TargetGroup } from './target-group.ts';

export interface DiscoveryJob {
  jobName: string;
  discovery: readonly DiscoverySection[];
}

export interface DiscoveryManagerOptions {
  clock: Clock;
  log: Logger;
  metrics: MetricsRegistry;
  openHttp: DiscoveryContext['openHttp'];
  create?: (section: DiscoverySection) => Discoverer;
  random?: () => number;
}

/** Before the first of several changes is told. */
const SETTLE_MS = 100;
/** Between two tellings, at least. */
const UPDATE_MS = 5000;
/** How long the targets of replaced sections are kept for those that follow. */
const RETAIN_MS = 30_000;

interface Job {
  providers: readonly Provider[];
  /** Of sections that are gone, while the new ones have not told theirs. */
  retained: readonly TargetGroup[];
  retainUntilMs: number;
}

export class DiscoveryManager {
  private readonly options: DiscoveryManagerOptions;
  private readonly metrics: OwnMetrics;
  private providers = new Map<string, Provider>();
  private jobs = new Map<string, Job>();
  private readonly dirty = new Set<Provider>();
  private timer: Timer | null = null;
  private retainTimer: Timer | null = null;
  private toldAtMs = Number.NEGATIVE_INFINITY;
  private listener: (jobNames: ReadonlySet<string>) => void = () => {};

  constructor(options: DiscoveryManagerOptions) {
    this.options = options;
    this.metrics = new OwnMetrics(options.metrics);
    options.metrics.onCollect(() => this.metrics.collect(this.status()));
  }

  /** Called with the jobs whose groups are other than they were. */
  onUpdate(listener: (jobNames: ReadonlySet<string>) => void): void {
    this.listener = listener;
  }

  /** Makes these the jobs. Sections that are there already go on. */
  apply(jobs: readonly DiscoveryJob[]): void {
    const next = new Map<string, Provider>();
    const nextJobs = new Map<string, Job>();
    const nowMs = this.options.clock.monotonic();
    for (const { jobName, discovery } of jobs) {
      const providers = [...new Set(discovery.map(section => this.provider(section, next)))];
      const before = this.jobs.get(jobName);
      const gone = before?.providers.filter(provider => !providers.includes(provider)) ?? [];
      const waiting = providers.some(provider => !provider.hasSynced);
      const old =
        before === undefined ? [] : [...before.retained, ...gone.flatMap(provider => [...provider.current()])];
      nextJobs.set(jobName, { providers, retained: waiting ? old : [], retainUntilMs: nowMs + RETAIN_MS });
    }
    const before = this.providers;
    this.providers = next;
    this.jobs = nextJobs;
    for (const [key, provider] of before) {
      if (next.has(key)) continue;
      this.dirty.delete(provider);
      provider.stop();
    }
    for (const [key, provider] of next) if (!before.has(key)) provider.start();
    this.scheduleRetained();
  }

  /** Groups of a job as they are now; a group that did not change is the same object as before. */
  groupsOf(jobName: string): TargetGroup[] {
    const job = this.jobs.get(jobName);
    if (job === undefined) return [];
    return [...job.retained, ...job.providers.flatMap(provider => [...provider.current()])];
  }

  /** By job and section, in the order of the configuration. */
  status(): DiscoveryStatus[] {
    return [...this.jobs].flatMap(([jobName, job]) =>
      job.providers.map(({ section, targetCount, hasSynced, status }) => ({
        scrapePool: jobName,
        mechanism: section.mechanism,
        where: describeSection(section),
        targets: targetCount,
        synced: hasSynced,
        ...status,
      })),
    );
  }

  stop(): void {
    this.timer?.cancel();
    this.retainTimer?.cancel();
    for (const provider of this.providers.values()) provider.stop();
    this.providers = new Map();
    this.jobs = new Map();
  }

  private provider(section: DiscoverySection, next: Map<string, Provider>): Provider {
    const key = keyOf(section);
    const known = next.get(key) ?? this.providers.get(key);
    const { clock, log, openHttp, random = Math.random, create = createDiscoverer } = this.options;
    const { mechanism } = section;
    const provider: Provider =
      known ??
      new Provider({
        section,
        discoverer: create(section),
        clock,
        log: log.child({ mechanism, where: describeSection(section) }),
        openHttp,
        random,
        onChange: () => this.changed(provider),
        onAttempt: failed => this.metrics.attempt(mechanism, failed),
        onRefused: () => this.metrics.refused.labels(mechanism).inc(),
      });
    next.set(key, provider);
    return provider;
  }

  private changed(provider: Provider): void {
    this.dirty.add(provider);
    this.schedule();
  }

  private schedule(): void {
    if (this.timer !== null) return;
    const { clock } = this.options;
    const waitMs = Math.max(SETTLE_MS, this.toldAtMs + UPDATE_MS - clock.monotonic());
    this.timer = clock.after(waitMs, () => {
      this.timer = null;
      this.tell();
    });
  }

  private tell(): void {
    const nowMs = this.options.clock.monotonic();
    const names = new Set<string>();
    for (const [name, job] of this.jobs) {
      const settled = job.providers.every(provider => provider.hasSynced) || nowMs >= job.retainUntilMs;
      if (settled && job.retained.length > 0) {
        job.retained = [];
        names.add(name);
      }
      if (job.providers.some(provider => this.dirty.has(provider))) names.add(name);
    }
    this.dirty.clear();
    this.toldAtMs = nowMs;
    if (names.size === 0) return;
    this.metrics.updates.inc();
    this.listener(names);
  }

  /** Retained targets end in time, even where their followers never tell of any. */
  private scheduleRetained(): void {
    this.retainTimer?.cancel();
    this.retainTimer = null;
    if (![...this.jobs.values()].some(job => job.retained.length > 0)) return;
    this.retainTimer = this.options.clock.after(RETAIN_MS, () => this.schedule());
  }
}

/** Equal for sections that say the same; hashed, for there are secrets in it. */
function keyOf(section: DiscoverySection): string {
  const plain = JSON.stringify(section, (_key, value: unknown) => (value instanceof Map ? [...value] : value));
  return createHash('sha256').update(plain).digest('hex');
}

class OwnMetrics {
  readonly updates: Counter;
  readonly refused: Family<Counter>;
  private readonly refreshes: Family<Counter>;
  private readonly failures: Family<Counter>;
  private readonly targets: Family<Gauge>;
  private readonly failing: Family<Gauge>;
  private told = '';

  constructor(metrics: MetricsRegistry) {
    this.updates = metrics.counter('sightline_sd_updates_total', 'Changes of targets handed to the scraper.');
    this.refreshes = metrics.counter(
      'sightline_sd_refreshes_total',
      'Answers and attempts of discovery, by mechanism.',
      ['mechanism'],
    );
    this.failures = metrics.counter(
      'sightline_sd_failures_total',
      'Attempts of discovery that failed; the targets found before are kept.',
      ['mechanism'],
    );
    this.refused = metrics.counter(
      'sightline_sd_refused_groups_total',
      'Groups of targets left out because they break a bound.',
      ['mechanism'],
    );
    this.targets = metrics.gauge('sightline_sd_targets', 'Targets found, before relabelling.', ['job', 'mechanism']);
    this.failing = metrics.gauge('sightline_sd_failing', 'Discovery sections of a job whose last attempt failed.', [
      'job',
      'mechanism',
    ]);
  }

  attempt(mechanism: string, failed: boolean): void {
    this.refreshes.labels(mechanism).inc();
    if (failed) this.failures.labels(mechanism).inc();
  }

  collect(sections: readonly DiscoveryStatus[]): void {
    const sums = new Map<string, { jobName: string; mechanism: string; targets: number; failing: number }>();
    for (const { scrapePool: jobName, mechanism, targets, lastError } of sections) {
      const key = `${mechanism} ${jobName}`;
      const sum = sums.get(key) ?? { jobName, mechanism, targets: 0, failing: 0 };
      sum.targets += targets;
      if (lastError !== '') sum.failing++;
      sums.set(key, sum);
    }
    // Anew only where others are there than before: a forgotten child's place is not given back.
    const keys = [...sums.keys()].join('\0');
    if (keys !== this.told) {
      this.targets.clear();
      this.failing.clear();
      this.told = keys;
    }
    for (const { jobName, mechanism, targets, failing } of sums.values()) {
      this.targets.labels(jobName, mechanism).set(targets);
      this.failing.labels(jobName, mechanism).set(failing);
    }
  }
}
