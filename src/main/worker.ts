/**
 * The entry of a shard's worker thread: opens the runtime, serves the main thread and the other shards.
 *
 * Peers connect before the shard is open; their calls wait for it.
 */
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import type { Config } from '../config/schema.ts';
import type { IngestRequest, IngestResponse } from '../contracts/ingest-service.ts';
import { createLogger, type LogLevel } from '../lib/log.ts';
import { type RpcHandlers, RpcPort } from '../lib/rpc.ts';
import type { SampleBatch } from '../model/sample-batch.ts';
import type { TenantId } from '../model/tenant.ts';
import type { LimitsConfig } from '../pipeline/admission/limits.ts';
import { explorerHandlers } from './admission-explorer.ts';
import { queryHandlers } from './query-link.ts';
import type { RemoteReadSettings } from './remote-read-source.ts';
import { ReplayProgress } from './replay-progress.ts';
import { scrapeHandlers } from './scrape-link.ts';
import { type ShardHandle, shardHandle, shardHandlers } from './shard-link.ts';
import { ShardRuntime } from './shard-runtime.ts';
import { IngestUploads } from './upload-link.ts';

export interface WorkerData {
  index: number;
  count: number;
  dir: string;
  identitySecret: Uint8Array;
  storage: Config['storage'];
  query: Config['query'];
  limits: LimitsConfig;
  changeMemory: SharedArrayBuffer;
  admissionMemory: SharedArrayBuffer;
  replayMemory: SharedArrayBuffer;
  logLevel: LogLevel;
  /** By shard index; null in the own place. */
  peers: (MessagePort | null)[];
}

if (parentPort === null) throw new Error('BUG: main/worker.ts runs only as a worker thread');
await run(parentPort, workerData as WorkerData);

async function run(main: MessagePort, data: WorkerData): Promise<void> {
  const root = createLogger({ level: data.logLevel });
  const log = root.child({ part: 'shard', shard: data.index });
  let opened: (runtime: ShardRuntime) => void = () => {};
  const runtime = new Promise<ShardRuntime>(resolve => {
    opened = resolve;
  });
  const links = data.peers.map(port =>
    port === null
      ? null
      : new RpcPort(
          port,
          later(async () => peerHandlers(await runtime)),
        ),
  );
  const peers = links.map((rpc): ShardHandle | null => (rpc === null ? null : shardHandle(rpc)));
  const ingestAt = (shard: number, request: IngestRequest, body: Uint8Array): Promise<IngestResponse> =>
    (links[shard] as RpcPort).call('ingest', { request, body });
  const handlers = later(async () => mainHandlers(await runtime));
  // Rejects with what is wrong with the folder; the main thread then ends the start.
  const open = async (): Promise<void> =>
    opened(await ShardRuntime.open({ ...data, replay: new ReplayProgress(data.replayMemory), log, ingestAt }, peers));
  // These do not wait for the runtime.
  const early: RpcHandlers = { open, logLevel: level => root.setLevel(level as LogLevel) };
  new RpcPort(main, new Proxy(handlers, { get: (all, method: string) => early[method] ?? all[method] }));
}

function peerHandlers(runtime: ShardRuntime): RpcHandlers {
  const handlers: { [method: string]: (args: never, signal: AbortSignal) => unknown } = {
    ingest: (a: { request: IngestRequest; body: Uint8Array }) => runtime.ingest.ingest(a.request, a.body),
  };
  return { ...shardHandlers(runtime.own), ...(handlers as RpcHandlers) };
}

function mainHandlers(runtime: ShardRuntime): RpcHandlers {
  const uploads = new IngestUploads(runtime.ingest);
  const handlers: { [method: string]: (args: never, signal: AbortSignal) => unknown } = {
    append: (a: { tenant: TenantId; batch: SampleBatch }) => runtime.sink.append(a.tenant, a.batch),
    ingest: (a: { request: IngestRequest; body: Uint8Array }) => runtime.ingest.ingest(a.request, a.body),
    ...(explorerHandlers(runtime.shard, runtime.admission) as typeof handlers),
    limits: (limits: LimitsConfig) => runtime.admission.replaceLimits(limits),
    metrics: () => runtime.metricsSnapshot(),
    setRemoteRead: (a: RemoteReadSettings) => runtime.remoteRead.configure(a),
    setForward: (a: { tenant: TenantId; bytesMax: number; overrunBytes: number } | null) => runtime.shard.setForward(a),
    close: () => runtime.close(),
  };
  return {
    ...shardHandlers(runtime.own),
    ...queryHandlers(runtime.query),
    ...uploads.handlers(),
    ...scrapeHandlers(runtime.scrapes),
    ...(handlers as RpcHandlers),
  };
}

/** Handlers that are made when the first call comes, once the runtime is there. */
function later(make: () => Promise<RpcHandlers>): RpcHandlers {
  let made: Promise<RpcHandlers> | null = null;
  return new Proxy({} as RpcHandlers, {
    get: (_target, method: string) => async (args: unknown, signal: AbortSignal) => {
      made ??= make();
      const handler = (await made)[method];
      if (handler === undefined) throw new Error(`BUG: no rpc handler called ${method}`);
      return handler(args, signal);
    },
    has: () => true,
  });
}
