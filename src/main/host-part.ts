/** Runs this host's collector as the configuration says, and makes it anew when that changes. */
import { hostname } from 'node:os';
import { isDeepStrictEqual } from 'node:util';
import type { Config } from '../config/schema.ts';
import type { SampleSink } from '../contracts/sample-sink.ts';
import { HostCollector } from '../ingest/host/host-collector.ts';
import type { Clock } from '../lib/clock.ts';
import type { IdentityHasher } from '../lib/identity-hash.ts';
import type { Logger } from '../lib/log.ts';
import type { MetricsRegistry } from '../lib/metrics.ts';
import { DEFAULT_TENANT } from '../model/tenant.ts';
import { hostFilter } from './host-filter.ts';

/** Where a node_exporter of this host would be scraped: its dashboards and our series go by the same instance. */
const NODE_EXPORTER_PORT = 9100;

export interface HostPartOptions {
  sink: SampleSink;
  hasher: IdentityHasher;
  clock: Clock;
  log: Logger;
  metrics: MetricsRegistry;
}

export class HostPart {
  private readonly options: HostPartOptions;
  private settings: Config['host'] | null = null;
  private collector: HostCollector | null = null;

  constructor(options: HostPartOptions) {
    this.options = options;
  }

  apply(settings: Config['host']): void {
    if (isDeepStrictEqual(settings, this.settings)) return;
    this.settings = settings;
    // What the next one still has goes on with its first round, after the markers.
    void this.collector?.end();
    this.collector = null;
    if (!settings.enabled) return;
    if (process.platform !== 'linux') {
      this.options.log.warn('the host collector reads Linux; it is off on this system');
      return;
    }
    this.collector = new HostCollector({
      ...this.options,
      tenant: DEFAULT_TENANT,
      intervalMs: settings.interval,
      instance: settings.instance === '' ? `${hostname()}:${NODE_EXPORTER_PORT}` : settings.instance,
      filter: hostFilter(settings),
    });
    this.collector.start();
  }

  /** For the end of the process: its series go on with the next start. */
  stop(): void {
    this.collector?.stop();
    this.collector = null;
  }
}
