/**
 * The thread of outgoing remote write: follows the shards' queues on disk and sends what is in them to every configured endpoint.
 *
 * A thread of its own: encoding and compressing for a slow or distant receiver takes no time from ingest or queries, and if it dies, the
 * queue on disk is all it needs to go on.
 */
import { join } from 'node:path';
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import type { RemoteWriteConfig } from '../config/prometheus/model.ts';
import type { ForwardPosition } from '../contracts/forward-source.ts';
import { systemClock } from '../lib/clock.ts';
import { createLogger, errorText, type Logger } from '../lib/log.ts';
import { MetricsRegistry } from '../lib/metrics.ts';
import { type RpcHandlers, RpcPort } from '../lib/rpc.ts';
import { ForwardMetrics } from '../pipeline/forward/forward-metrics.ts';
import { ForwardBounds } from '../storage/tsdb/forward/forward-bounds.ts';
import { forwardDir, listForward } from '../storage/tsdb/forward/segments.ts';
import { nodeFiles } from '../storage/tsdb/wal/files.ts';
import { RemoteCursors } from './remote-cursors.ts';
import { keysOf, RemoteEndpoint } from './remote-endpoint.ts';
import type { RemoteSettings, RemoteWorkerData } from './remote-protocol.ts';

const UPKEEP_EVERY_MS = 1000;

class RemoteThread {
  private readonly data: RemoteWorkerData;
  private readonly log: Logger;
  private readonly registry = new MetricsRegistry();
  private readonly metrics = new ForwardMetrics(this.registry);
  private readonly dirs: string[];
  private readonly bounds: ForwardBounds;
  private readonly cursors: RemoteCursors;
  private endpoints: RemoteEndpoint[] = [];
  private settings: RemoteSettings | null = null;
  private complained = false;

  constructor(data: RemoteWorkerData) {
    this.data = data;
    this.log = createLogger({ level: data.logLevel }).child({ part: 'remote-write' });
    this.dirs = Array.from({ length: data.shards }, (_, i) =>
      forwardDir(join(data.dataDir, 'tsdb', `shard-${String(i).padStart(3, '0')}`)),
    );
    this.bounds = new ForwardBounds(nodeFiles, this.dirs);
    this.cursors = new RemoteCursors(join(data.dataDir, 'remote-write', 'cursors.json'));
    setInterval(() => this.upkeep(), UPKEEP_EVERY_MS);
  }

  handlers(): RpcHandlers {
    return {
      configure: settings => this.configure(settings as RemoteSettings),
      metrics: () => this.registry.snapshot(),
      status: () => this.endpoints.map(e => e.status()),
      close: () => this.close(),
    };
  }

  private configure(settings: RemoteSettings): void {
    this.settings = settings;
    const keys = keysOf(settings.endpoints);
    const kept: RemoteEndpoint[] = [];
    // What ends says where it stood before its successor begins there.
    const going = this.endpoints.filter(e => {
      const config = settings.endpoints[keys.indexOf(e.key)];
      return config === undefined || !e.is(config, settings.externalLabels);
    });
    const stood = new Map(going.map(e => [e.key, e.endpoint.answered()]));
    for (const endpoint of going) endpoint.stop();
    for (const [i, config] of settings.endpoints.entries()) {
      const key = keys[i] as string;
      const running = this.endpoints.find(e => e.key === key && !going.includes(e));
      kept.push(running ?? this.start(key, config, settings, stood.get(key) ?? this.cursors.of(key)));
    }
    this.endpoints = kept;
    this.upkeep();
  }

  private start(
    key: string,
    config: RemoteWriteConfig,
    settings: RemoteSettings,
    known: readonly ForwardPosition[] | null,
  ): RemoteEndpoint {
    const positions = this.dirs.map((dir, shard) => known?.[shard] ?? (settings.starting ? newestIn(dir) : null));
    const endpoint = new RemoteEndpoint(key, config, settings.externalLabels, positions, {
      dirs: this.dirs,
      userAgent: this.data.userAgent,
      clock: systemClock,
      log: this.log,
      metrics: this.metrics,
    });
    endpoint.endpoint.start();
    return endpoint;
  }

  private upkeep(): void {
    if (this.settings === null) return;
    try {
      const readers = this.endpoints.map(e => e.endpoint);
      this.bounds.enforce(readers, this.settings.queue, systemClock.now());
      for (const e of this.endpoints) e.noteQueue(this.bounds.behind(e.endpoint));
      this.cursors.save(Object.fromEntries(this.endpoints.map(e => [e.key, e.endpoint.answered()])));
      this.complained = false;
    } catch (error) {
      if (!this.complained) this.log.error({ error: errorText(error) }, 'the outgoing queue cannot be kept in order');
      this.complained = true;
    }
  }

  private close(): void {
    this.upkeep();
    for (const endpoint of this.endpoints) endpoint.stop();
    this.endpoints = [];
    this.settings = null;
  }
}

/** The beginning of the segment that this process has made. */
function newestIn(dir: string): ForwardPosition | null {
  const segment = listForward(nodeFiles, dir).at(-1);
  return segment === undefined ? null : { segment, offset: 16 };
}

if (parentPort === null) throw new Error('BUG: main/remote-worker.ts runs only as a worker thread');
new RpcPort(parentPort as MessagePort, new RemoteThread(workerData as RemoteWorkerData).handlers());
