/**
 * SelfCollector: appends this program's own metrics to tenant `_self`, in step with the wall clock, so that its dashboards and
 * alerts need no scraper. The samples are those of /metrics, with job and instance added.
 */
import type { AppendResult, SampleSink } from '../../contracts/sample-sink.ts';
import { type Clock, everyAligned, type Timer } from '../../lib/clock.ts';
import type { IdentityHasher } from '../../lib/identity-hash.ts';
import { errorText, type Logger } from '../../lib/log.ts';
import type { Counter, FamilySnapshot, MetricsRegistry } from '../../lib/metrics.ts';
import { labelsFromMap } from '../../model/labels.ts';
import { SELF_TENANT } from '../../model/tenant.ts';
import { BatchBuilder } from '../batch-builder.ts';

export interface SelfCollectorOptions {
  registry: MetricsRegistry;
  sink: SampleSink;
  hasher: IdentityHasher;
  clock: Clock;
  log: Logger;
  intervalMs: number;
  /** Value of the `instance` label. */
  instance: string;
}

export class SelfCollector {
  private readonly options: SelfCollectorOptions;
  private readonly builder: BatchBuilder;
  private readonly failures: Counter;
  private timer: Timer | null = null;
  private failing = false;
  private busy = false;

  constructor(options: SelfCollectorOptions) {
    this.options = options;
    this.builder = new BatchBuilder(options.hasher, options.hasher.tenantSeed(SELF_TENANT));
    this.failures = options.registry.counter(
      'sightline_self_append_failures_total',
      'Rounds of own metrics that could not be stored.',
    );
  }

  /** The first round comes at once. */
  start(): void {
    void this.round(Math.round(this.options.clock.now()));
    this.schedule(this.options.intervalMs);
  }

  setInterval(intervalMs: number): void {
    if (intervalMs === this.options.intervalMs) return;
    this.options.intervalMs = intervalMs;
    if (this.timer !== null) this.schedule(intervalMs);
  }

  stop(): void {
    this.timer?.cancel();
    this.timer = null;
  }

  /** Collects and appends once; resolves when stored or given up. */
  async round(timestampMs: number): Promise<AppendResult | null> {
    // The builder's memory is the store's until the append settles.
    if (this.busy) return null;
    this.busy = true;
    try {
      const families = await this.options.registry.gather();
      fillBatch(this.builder, families, timestampMs, this.options.instance);
      const result = await this.options.sink.append(SELF_TENANT, this.builder.finish());
      this.failing = false;
      return result;
    } catch (error) {
      this.failures.inc();
      // Once per outage: every 15 s the same line helps nobody.
      if (!this.failing) this.options.log.warn({ error: errorText(error) }, 'own metrics cannot be stored');
      this.failing = true;
      return null;
    } finally {
      this.busy = false;
    }
  }

  private schedule(intervalMs: number): void {
    this.timer?.cancel();
    this.timer = everyAligned(this.options.clock, intervalMs, 0, async timestampMs => {
      await this.round(timestampMs);
    });
  }
}

function fillBatch(
  builder: BatchBuilder,
  families: readonly FamilySnapshot[],
  timestampMs: number,
  instance: string,
): void {
  builder.reset();
  for (const family of families) {
    builder.addMetadata({ metric: family.name, type: family.type, help: family.help, unit: '' });
    for (const sample of family.samples) {
      const labels = new Map([
        ['__name__', sample.name],
        ['job', 'sightline'],
        ['instance', instance],
      ]);
      for (let i = 0; i < sample.labels.length; i += 2)
        labels.set(sample.labels[i] as string, sample.labels[i + 1] as string);
      builder.addSeries(labelsFromMap(labels));
      builder.addSample(timestampMs, sample.value);
    }
  }
}
