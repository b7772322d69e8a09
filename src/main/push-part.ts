/**
 * PushPart: the ways in that are not HTTP bodies alone: Pushgateway groups with their keeper, the StatsD and Graphite doors, and what a
 * configuration says about names.
 *
 * Doors open before the engine (a taken port ends the start at once) and are answered by nobody until `start`. Addresses need a restart;
 * the mapping and the numbers of StatsD take effect on a reload.
 */
import { dirname, isAbsolute, join } from 'node:path';
import type { Config } from '../config/schema.ts';
import { parseHostPort } from '../config/schema.ts';
import type { IngestService, PushNaming } from '../contracts/ingest-service.ts';
import type { PushGateway } from '../contracts/push-gateway.ts';
import type { SampleSink } from '../contracts/sample-sink.ts';
import type { StateStore } from '../contracts/state-store.ts';
import { Gateway } from '../ingest/pushgateway/gateway.ts';
import type { Clock } from '../lib/clock.ts';
import type { IdentityHasher } from '../lib/identity-hash.ts';
import { errorText, type Logger } from '../lib/log.ts';
import type { MetricsRegistry } from '../lib/metrics.ts';
import { isLoopback } from './http-server.ts';
import { UsageError } from './options.ts';
import { type DoorTaker, LineDoor } from './push-doors.ts';
import { GraphiteFeeder } from './push-graphite.ts';
import { loadMapping, StatsdFeeder, type StatsdSettings } from './push-statsd.ts';

export interface PushPartOptions {
  config: Config['push'];
  /** Folder that a relative mapping file is relative to. */
  configFile: string;
  ingest: IngestService;
  sink: SampleSink;
  state: StateStore;
  hasher: IdentityHasher;
  clock: Clock;
  log: Logger;
  metrics: MetricsRegistry;
  /** Doors may stand open to other machines. */
  insecure: boolean;
}

type DoorConfig = Pick<
  Config['push']['graphite'],
  'listen' | 'tcp' | 'udp' | 'max_connections' | 'max_lines_per_second'
>;

export class PushPart {
  private readonly options: PushPartOptions;
  private config: Config['push'];
  private readonly keeper: Gateway | null;
  private statsd: StatsdFeeder | null = null;
  private graphite: GraphiteFeeder | null = null;
  private readonly doors: LineDoor[] = [];
  private readonly samples;
  private readonly dropped;

  constructor(options: PushPartOptions) {
    this.options = options;
    this.config = options.config;
    const { metrics, config } = options;
    this.samples = metrics.counter('sightline_push_samples_total', 'Samples taken by the push doors.', ['protocol']);
    this.dropped = metrics.counter(
      'sightline_push_dropped_total',
      'Lines, packets and samples that push doors and protocols threw away.',
      ['protocol', 'reason'],
    );
    const series = metrics.gauge('sightline_push_statsd_series', 'Series that StatsD aggregation holds.');
    metrics.onCollect(() => series.set(this.statsd?.seriesCount ?? 0));
    this.keeper = config.gateway.enabled
      ? new Gateway({
          ...options,
          log: options.log.child({ door: 'pushgateway' }),
          intervalMs: config.gateway.interval,
          groupsMax: config.gateway.max_groups,
          bytesMax: config.gateway.max_bytes,
        })
      : null;
  }

  get gateway(): PushGateway | null {
    return this.keeper;
  }

  /** Addresses of the open doors, for people: `statsd 127.0.0.1:8125`. */
  readonly listening: string[] = [];

  naming(): PushNaming {
    const { influx, dots } = this.config;
    return { influx: { separator: influx.separator, dbLabel: influx.db_label }, dots };
  }

  drop(protocol: string, reason: string, count = 1): void {
    this.dropped.labels(protocol, reason).inc(count);
  }

  /** Rejects where an address cannot be had or the mapping is wrong. */
  async openDoors(): Promise<void> {
    const { statsd, graphite } = this.config;
    const { ingest, sink, hasher, clock, log } = this.options;
    const ports = { ingest, sink, hasher, clock };
    if (statsd.listen !== '' || statsd.unix !== '') {
      const settings = this.statsdSettings();
      const feeder = new StatsdFeeder(settings, mappingOf(settings), {
        ...ports,
        log: log.child({ door: 'statsd' }),
        onTaken: samples => this.samples.labels('statsd').inc(samples),
        onDropped: (reason, count) => this.drop('statsd', reason, count),
      });
      this.statsd = feeder;
      await this.openDoor('statsd', statsd, statsd.unix, feeder);
    }
    if (graphite.listen !== '') {
      const feeder = new GraphiteFeeder({
        ...ports,
        tenant: graphite.tenant,
        naming: () => this.naming(),
        log: log.child({ door: 'graphite' }),
        onStored: samples => this.samples.labels('graphite').inc(samples),
        onDropped: (reason, count) => this.drop('graphite', reason, count),
      });
      this.graphite = feeder;
      await this.openDoor('graphite', graphite, '', feeder);
    }
  }

  /** The engine is there. */
  async start(): Promise<void> {
    await this.keeper?.start();
  }

  apply(config: Config['push']): void {
    this.config = config;
    this.keeper?.setInterval(config.gateway.interval);
    if (this.statsd === null) return;
    try {
      const settings = this.statsdSettings();
      this.statsd.apply(settings, loadMapping(settings));
    } catch (error) {
      this.options.log.error(
        { error: errorText(error) },
        'the StatsD mapping cannot be used; the old one keeps working',
      );
    }
  }

  /** Doors first; then what they took goes to the store. */
  async stop(): Promise<void> {
    await Promise.all(this.doors.splice(0).map(door => door.close()));
    this.keeper?.stop();
    await this.statsd?.stop();
    await this.graphite?.drain();
    this.statsd = null;
    this.graphite = null;
  }

  private async openDoor(protocol: string, config: DoorConfig, unix: string, taker: DoorTaker): Promise<void> {
    const { host, port } = config.listen === '' ? { host: '', port: 0 } : parseHostPort(config.listen);
    if (host !== '' && !isLoopback(host) && !this.options.insecure) {
      throw new UsageError(
        `push.${protocol}.listen: ${config.listen} can be reached from other machines, and ${protocol} knows no sign-in: listen on ` +
          '127.0.0.1, or say --insecure where the network is trusted.',
      );
    }
    const door = new LineDoor({
      host,
      port,
      udp: host !== '' && config.udp,
      tcp: host !== '' && config.tcp,
      unix,
      connectionsMax: config.max_connections,
      linesPerSecond: config.max_lines_per_second,
      taker,
      onDropped: (reason, count) => this.drop(protocol, reason, count),
      clock: this.options.clock,
      log: this.options.log.child({ door: protocol }),
    });
    this.doors.push(door);
    try {
      await door.open();
    } catch (error) {
      throw new UsageError(`push.${protocol}: cannot listen on ${config.listen || unix}: ${(error as Error).message}`);
    }
    const where = [host === '' ? '' : `${host}:${door.port}`, unix].filter(text => text !== '').join(' and ');
    this.listening.push(`${protocol} ${where}`);
    this.options.log.info({ protocol, address: where }, 'a push door is open');
  }

  private statsdSettings(): StatsdSettings {
    const { statsd } = this.config;
    const file = statsd.mapping_file;
    return {
      tenant: statsd.tenant,
      flushIntervalMs: statsd.flush_interval,
      seriesMax: statsd.max_series,
      ttlMs: statsd.ttl,
      observer: statsd.observer,
      buckets: statsd.buckets,
      quantiles: statsd.quantiles,
      windowMs: statsd.quantile_window,
      mappingFile: file === '' || isAbsolute(file) ? file : join(dirname(this.options.configFile), file),
    };
  }
}

function mappingOf(settings: StatsdSettings): ReturnType<typeof loadMapping> {
  try {
    return loadMapping(settings);
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}
