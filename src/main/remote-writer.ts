/**
 * RemoteWriter: outgoing remote write as the main thread sees it: switches the shards' queues on and off with the configuration, runs the
 * thread that sends, and starts that anew should it die. Where nothing is configured there is neither queue nor thread.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { LoadedConfig } from '../config/load.ts';
import type { Clock, Timer } from '../lib/clock.ts';
import { errorText, type Logger, type LogLevel } from '../lib/log.ts';
import type { FamilySnapshot, MetricsRegistry } from '../lib/metrics.ts';
import { RpcPort } from '../lib/rpc.ts';
import { DEFAULT_TENANT } from '../model/tenant.ts';
import type { Engine } from './ports.ts';
import type { RemoteEndpointStatus, RemoteSettings, RemoteWorkerData } from './remote-protocol.ts';

export interface RemoteWriterOptions {
  dataDir: string;
  shards: number;
  userAgent: string;
  clock: Clock;
  log: Logger;
  logLevel: LogLevel;
  metrics: MetricsRegistry;
}

const RESTART_MS = 1000;
/**
 * Of the queue's bound; beyond it and some seconds' writes the shards themselves remove segments. They cannot tell who misses what,
 * so this is only for a sending thread that stands still.
 */
const OVERRUN = 2;
const OVERRUN_SLACK_BYTES = 64 * 1024 * 1024;

export class RemoteWriter {
  private readonly options: RemoteWriterOptions;
  private engine: Pick<Engine, 'setForward' | 'setRemoteRead'> | null = null;
  private thread: { worker: Worker; rpc: RpcPort } | null = null;
  private settings: RemoteSettings | null = null;
  private restart: Timer | null = null;
  /** Changes follow each other. */
  private last: Promise<void> = Promise.resolve();
  private closing = false;

  constructor(options: RemoteWriterOptions) {
    this.options = options;
    options.metrics.addSource(async () => (await this.ask<FamilySnapshot[]>('metrics')) ?? []);
  }

  /** Before the engine takes its first sample, so that none is missed. */
  async open(engine: Pick<Engine, 'setForward' | 'setRemoteRead'>, loaded: LoadedConfig): Promise<void> {
    this.engine = engine;
    this.apply(loaded, true);
    await this.last;
  }

  apply(loaded: LoadedConfig, starting = false): void {
    const { config, prometheus } = loaded;
    const settings: RemoteSettings = {
      endpoints: prometheus.remoteWrite,
      externalLabels: prometheus.global.externalLabels,
      queue: { bytesMax: config.forward.max_bytes, ageMaxMs: config.forward.max_age },
      starting,
    };
    const { externalLabels } = settings;
    const remoteRead = { endpoints: prometheus.remoteRead, externalLabels };
    this.last = this.last
      .then(() => this.engine?.setRemoteRead?.(remoteRead))
      .then(() => this.change(settings))
      .catch(error => this.options.log.error({ error: errorText(error) }, 'remote write cannot be configured'));
  }

  async status(): Promise<RemoteEndpointStatus[]> {
    return (await this.ask<RemoteEndpointStatus[]>('status')) ?? [];
  }

  async close(): Promise<void> {
    this.closing = true;
    this.restart?.cancel();
    await this.last;
    await this.endThread();
  }

  private async change(settings: RemoteSettings): Promise<void> {
    if (this.closing) return;
    const wasOn = this.settings !== null && this.settings.endpoints.length > 0;
    const on = settings.endpoints.length > 0;
    this.settings = settings;
    if (!on) {
      await this.endThread();
      if (wasOn || settings.starting) await this.engine?.setForward?.(null);
      rmSync(join(this.options.dataDir, 'remote-write'), { recursive: true, force: true });
      return;
    }
    const bytesMax = settings.queue.bytesMax / this.options.shards;
    const overrunBytes = bytesMax * OVERRUN + OVERRUN_SLACK_BYTES;
    await this.engine?.setForward?.({ tenant: DEFAULT_TENANT, bytesMax, overrunBytes });
    this.startThread();
    await this.thread?.rpc.call('configure', settings);
  }

  private startThread(): void {
    if (this.thread !== null) return;
    const { dataDir, shards, userAgent, logLevel, log, clock } = this.options;
    const data: RemoteWorkerData = { dataDir, shards, userAgent, logLevel };
    const worker = new Worker(new URL('./remote-worker.ts', import.meta.url), {
      workerData: data,
      name: 'remote write',
    });
    const rpc = new RpcPort(worker, {});
    this.thread = { worker, rpc };
    let dead = false;
    const gone = (error: Error): void => {
      if (dead) return;
      dead = true;
      rpc.close(error);
      if (this.thread?.worker !== worker) return;
      this.thread = null;
      if (this.closing) return;
      log.error({ error: errorText(error) }, 'the thread of remote write ended; starting it again');
      this.restart = clock.after(RESTART_MS, () => {
        this.last = this.last.then(() => this.again()).catch(again => gone(again as Error));
      });
    };
    worker.on('error', gone);
    worker.on('exit', code => gone(new Error(`ended with code ${code}`)));
  }

  private async again(): Promise<void> {
    if (this.closing || this.settings === null || this.settings.endpoints.length === 0) return;
    this.startThread();
    await this.thread?.rpc.call('configure', { ...this.settings, starting: false });
  }

  private async endThread(): Promise<void> {
    const thread = this.thread;
    if (thread === null) return;
    this.thread = null;
    await thread.rpc.call('close', null).catch(() => {});
    await thread.worker.terminate();
  }

  private async ask<T>(what: string): Promise<T | null> {
    const thread = this.thread;
    return thread === null ? null : thread.rpc.call<T>(what, null).catch(() => null);
  }
}
