/**
 * HostCollector: this host's CPU, load, memory, disks, file systems and network, under node_exporter's names, so that its
 * dashboards and alerts fit as they are. Linux: reads /proc, /sys and statfs; no child processes.
 *
 * Every round runs each collector by itself: one that fails (a kernel without that file) costs its own series, is counted, and shows
 * in node_scrape_collector_success. Series carry job="node" and instance="<host name>:9100", where a node_exporter of
 * this host would usually be scraped: moving from or to one keeps the series' names.
 */
import type { SampleSink } from '../../contracts/sample-sink.ts';
import { type Clock, everyAligned, type Timer } from '../../lib/clock.ts';
import type { IdentityHasher } from '../../lib/identity-hash.ts';
import { errorText, type Logger } from '../../lib/log.ts';
import type { Counter, Family, Gauge, MetricsRegistry } from '../../lib/metrics.ts';
import type { TenantId } from '../../model/tenant.ts';
import { BatchBuilder } from '../batch-builder.ts';
import { CpuCollector } from './cpu.ts';
import { DiskCollector } from './disk.ts';
import { FileSystemCollector } from './filesystem.ts';
import { HostFiles } from './host-files.ts';
import { type HostSamples, HostWriter } from './host-writer.ts';
import { collectMemory, collectPressure, collectVmstat } from './memory.ts';
import { collectNetstat, collectSockstat, collectSoftnet, NetworkDeviceCollector } from './network.ts';
import {
  collectConntrack,
  collectEntropy,
  collectFileHandles,
  collectLoad,
  collectProcesses,
  collectTime,
  SystemInfoCollector,
} from './system.ts';

/** What is left out, decided by the configuration's expressions. */
export interface HostFilter {
  mountPoint(path: string): boolean;
  fsType(type: string): boolean;
  disk(device: string): boolean;
  network(device: string): boolean;
}

export interface HostCollectorOptions {
  sink: SampleSink;
  hasher: IdentityHasher;
  tenant: TenantId;
  clock: Clock;
  log: Logger;
  metrics: MetricsRegistry;
  intervalMs: number;
  instance: string;
  filter: HostFilter;
  files?: HostFiles;
}

type Collect = (files: HostFiles, out: HostSamples, nowMs: number) => void | Promise<void>;

/** Help and type are told again this often, for stores that expire them with the data. */
const METADATA_EVERY_ROUNDS = 240;

export class HostCollector {
  private readonly options: HostCollectorOptions;
  private readonly files: HostFiles;
  private readonly builder: BatchBuilder;
  private readonly writer: HostWriter;
  private readonly collectors: readonly (readonly [string, Collect])[];
  private readonly failures: Family<Counter>;
  private readonly appendFailures: Counter;
  private readonly roundSeconds: Gauge;
  private readonly told = new Set<string>();
  private timer: Timer | null = null;
  private rounds = 0;
  private described = 0;
  /** The round under way. */
  private running: Promise<void> | null = null;
  private sinkFailing = false;

  constructor(options: HostCollectorOptions) {
    this.options = options;
    this.files = options.files ?? new HostFiles();
    this.builder = new BatchBuilder(options.hasher, options.hasher.tenantSeed(options.tenant));
    this.writer = new HostWriter(this.builder, { job: 'node', instance: options.instance });
    this.collectors = collectorsOf(options.filter);
    const { metrics } = options;
    this.failures = metrics.counter(
      'sightline_host_collector_failures_total',
      'Rounds in which a part of the host collector failed.',
      ['collector'],
    );
    this.appendFailures = metrics.counter(
      'sightline_host_append_failures_total',
      'Rounds of host metrics that could not be stored.',
    );
    this.roundSeconds = metrics.gauge(
      'sightline_host_round_seconds',
      'Time of the last round on the main thread, storing not included.',
    );
  }

  /** The first round comes at once, the next in step with the wall clock. */
  start(): void {
    const { clock, intervalMs } = this.options;
    void this.round(Math.round(clock.now()));
    this.timer = everyAligned(clock, intervalMs, 0, timestampMs => this.round(timestampMs));
  }

  stop(): void {
    this.timer?.cancel();
    this.timer = null;
  }

  /** Stops for good: every series ends with a staleness marker, at once, so that nothing is taken for its present value. */
  async end(): Promise<void> {
    this.stop();
    const timestampMs = Math.round(this.options.clock.now());
    while (this.running !== null) await this.running;
    await this.store(async () => {
      this.writer.begin(timestampMs);
      this.writer.endMissing();
    });
  }

  /** Collects and appends once; never rejects. */
  async round(timestampMs: number): Promise<void> {
    // The builder's memory is the store's until the append settles.
    if (this.running !== null) return;
    await this.store(() => this.collect(timestampMs));
  }

  private async store(fill: () => Promise<void>): Promise<void> {
    const work = async (): Promise<void> => {
      try {
        await fill();
        await this.options.sink.append(this.options.tenant, this.builder.finish());
        this.sinkFailing = false;
      } catch (error) {
        this.appendFailures.inc();
        if (!this.sinkFailing) this.options.log.warn({ error: errorText(error) }, 'host metrics cannot be stored');
        this.sinkFailing = true;
      } finally {
        this.running = null;
      }
    };
    this.running = work();
    await this.running;
  }

  private async collect(timestampMs: number): Promise<void> {
    const { writer } = this;
    const { clock } = this.options;
    writer.begin(timestampMs);
    let totalMs = 0;
    for (const [name, collect] of this.collectors) {
      const began = clock.monotonic();
      const ok = await this.run(name, collect, timestampMs);
      const tookMs = clock.monotonic() - began;
      totalMs += tookMs;
      const labels = ['collector', name];
      writer.gauge('node_scrape_collector_success', 'Whether a collector succeeded.', ok ? 1 : 0, labels);
      writer.gauge('node_scrape_collector_duration_seconds', 'Duration of a collector scrape.', tookMs / 1000, labels);
    }
    writer.gauge('up', 'Whether the last round worked.', 1);
    writer.gauge('scrape_duration_seconds', 'Duration of the last round.', totalMs / 1000);
    this.roundSeconds.set(totalMs / 1000);
    writer.endMissing();
    if (this.rounds++ % METADATA_EVERY_ROUNDS === 0 || writer.seriesCount !== this.described) writer.addMetadata();
    this.described = writer.seriesCount;
  }

  private async run(name: string, collect: Collect, timestampMs: number): Promise<boolean> {
    try {
      const done = collect(this.files, this.writer, timestampMs);
      if (done !== undefined) await done;
      this.told.delete(name);
      return true;
    } catch (error) {
      this.failures.labels(name).inc();
      if (!this.told.has(name)) {
        this.options.log.warn({ collector: name, error: errorText(error) }, 'a part of the host collector fails');
      }
      this.told.add(name);
      return false;
    }
  }
}

function collectorsOf(filter: HostFilter): readonly (readonly [string, Collect])[] {
  const cpu = new CpuCollector();
  const disk = new DiskCollector(device => filter.disk(device));
  const fileSystem = new FileSystemCollector((path, type) => filter.mountPoint(path) || filter.fsType(type));
  const network = new NetworkDeviceCollector(device => filter.network(device));
  const system = new SystemInfoCollector();
  return [
    ['stat', (files, out) => cpu.collect(files, out)],
    ['loadavg', collectLoad],
    ['meminfo', collectMemory],
    ['vmstat', collectVmstat],
    ['pressure', collectPressure],
    ['diskstats', (files, out) => disk.collect(files, out)],
    ['filesystem', (files, out) => fileSystem.collect(files, out)],
    ['netdev', (files, out) => network.collect(files, out)],
    ['netclass', (files, out) => network.collectClass(files, out)],
    ['netstat', collectNetstat],
    ['sockstat', collectSockstat],
    ['softnet', collectSoftnet],
    ['filefd', collectFileHandles],
    ['processes', collectProcesses],
    ['entropy', collectEntropy],
    ['conntrack', collectConntrack],
    ['time', (_files, out, nowMs) => collectTime(nowMs, out)],
    ['uname', (files, out) => system.collect(files, out)],
  ];
}
