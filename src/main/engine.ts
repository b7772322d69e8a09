/**
 * The metrics engine as the main thread sees it: one worker thread per shard, all connected to each other.
 *
 * The main thread hands whole request bodies and queries to a worker and relays the answers. Bodies go round robin; a query goes
 * by its text, so that a dashboard's panels find their cached results in the worker that has them.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import type { ActiveQuery, QueryRequest } from '../contracts/query-service.ts';
import type { AppendResult } from '../contracts/sample-sink.ts';
import { errorText } from '../lib/log.ts';
import type { FamilySnapshot } from '../lib/metrics.ts';
import { RpcPort } from '../lib/rpc.ts';
import { LimitsTable } from '../pipeline/admission/limits.ts';
import { changeFeedBytes } from '../storage/tsdb/change-feed.ts';
import { clusterExplorer } from './admission-explorer.ts';
import { limitsConfig } from './admission-limits.ts';
import { clusterAdmin } from './cluster-admin.ts';
import type { Engine, EngineOptions, OpenEngine } from './ports.ts';
import { queryServiceOver } from './query-link.ts';
import { ownedBuffer, scrapeStoreOver } from './scrape-link.ts';
import { shardHandle } from './shard-link.ts';
import { upload } from './upload-link.ts';
import type { WorkerData } from './worker.ts';

interface ShardThread {
  worker: Worker;
  rpc: RpcPort;
}

export const openEngine: OpenEngine = async (options: EngineOptions): Promise<Engine> => {
  const threads = startThreads(options);
  let closing = false;
  for (const [index, { worker, rpc }] of threads.entries()) {
    const gone = (error: Error): void => {
      rpc.close(error);
      if (closing) return;
      // Its rows cannot be served nor acknowledged by anyone else: better a supervised restart than half a database.
      options.log.fatal({ shard: index, error: errorText(error) }, 'a shard thread died; ending the process');
      process.exit(70);
    };
    worker.on('error', gone);
    worker.on('exit', code => gone(new Error(`the shard thread ended with code ${code}`)));
  }
  const close = async (): Promise<void> => {
    const results = await Promise.allSettled(threads.map(t => t.rpc.call<void>('close', null)));
    closing = true;
    await Promise.all(threads.map(t => t.worker.terminate()));
    for (const r of results) if (r.status === 'rejected') throw r.reason;
  };
  try {
    await Promise.all(threads.map(t => t.rpc.call<void>('open', null)));
  } catch (error) {
    closing = true;
    await Promise.all(threads.map(t => t.worker.terminate()));
    throw error;
  }
  return front(options, threads, close);
};

function front(options: EngineOptions, threads: readonly ShardThread[], close: () => Promise<void>): Engine {
  let turn = 0;
  const next = (): RpcPort => (threads[turn++ % threads.length] as ShardThread).rpc;
  const services = threads.map(t => queryServiceOver(t.rpc));
  const shards = threads.map(t => shardHandle(t.rpc));
  const limitsTable = new LimitsTable(limitsConfig(options.limits));
  const admin = clusterAdmin(shards, options);
  /** By shard, as of the last gathering of metrics (every 15 s for tenant _self). */
  const damaged = new Array<number>(threads.length).fill(0);
  for (const [shard, { rpc }] of threads.entries()) {
    options.metrics.addSource(async () => {
      const families = await rpc.call<FamilySnapshot[]>('metrics', null);
      damaged[shard] = sumOf(families, 'sightline_tsdb_quarantined_files');
      return families;
    }, ['shard', String(shard)]);
  }
  return {
    sink: {
      // Cloned, not transferred: producers reuse their batch.
      append: (tenant, batch) => next().call<AppendResult>('append', { tenant, batch }),
    },
    ingest: {
      ingest: (request, body) => next().call('ingest', { request, body }, { transfer: ownedBuffer(body) }),
      ingestStream: (request, body) => upload(next(), request, body),
    },
    scrapes: scrapeStoreOver(
      threads.map(t => t.rpc),
      error => options.log.error({ error: errorText(error) }, 'a scrape target could not be opened'),
    ),
    query: {
      handle: (request, signal) =>
        (services[homeOf(request, services.length)] as (typeof services)[number]).handle(request, signal),
      activeQueries: async tenant => {
        const all: ActiveQuery[][] = await Promise.all(services.map(s => s.activeQueries(tenant)));
        return all.flat().sort((a, b) => a.receivedAtMs - b.receivedAtMs);
      },
      cancelQuery: async (tenant, id) => {
        const answers = await Promise.all(services.map(s => s.cancelQuery(tenant, id)));
        return answers.some(found => found);
      },
    },
    tsdb: admin.tsdb,
    setRemoteRead: async settings => {
      await Promise.all(threads.map(t => t.rpc.call<void>('setRemoteRead', settings)));
    },
    setForward: async queue => {
      await Promise.all(threads.map(t => t.rpc.call<void>('setForward', queue)));
    },
    cardinality: clusterExplorer(
      threads.map(t => t.rpc),
      limitsTable,
    ),
    threads: threads.length,
    setLogLevel: level => {
      for (const { rpc } of threads) void rpc.call<void>('logLevel', level);
    },
    corruptions: () => damaged.reduce((sum, n) => sum + n, 0),
    setLimits: async limits => {
      const plain = limitsConfig(limits);
      limitsTable.replace(plain);
      await Promise.all(threads.map(t => t.rpc.call<void>('limits', plain)));
    },
    close,
  };
}

function sumOf(families: readonly FamilySnapshot[], name: string): number {
  const family = families.find(f => f.name === name);
  return family === undefined ? 0 : family.samples.reduce((sum, s) => sum + s.value, 0);
}

function startThreads(options: EngineOptions): ShardThread[] {
  const count = options.shards;
  const limits = limitsConfig(options.limits);
  const admissionMemory = options.admissionMemory;
  const changeMemory = new SharedArrayBuffer(changeFeedBytes(count));
  const ports = mesh(count);
  return ports.map((peers, index) => {
    const dir = join(options.dataDir, 'tsdb', `shard-${String(index).padStart(3, '0')}`);
    mkdirSync(dir, { recursive: true });
    const data: WorkerData = {
      index,
      count,
      dir,
      identitySecret: options.identitySecret,
      storage: options.storage,
      query: options.query,
      limits,
      changeMemory,
      admissionMemory,
      replayMemory: options.replay.memory,
      logLevel: options.logLevel,
      peers,
    };
    const transfer = peers.filter((p): p is MessagePort => p !== null);
    const worker = new Worker(new URL('./worker.ts', import.meta.url), {
      workerData: data,
      transferList: transfer,
      name: `shard ${index}`,
    });
    return { worker, rpc: new RpcPort(worker, {}) };
  });
}

/** A channel between every two shards: [i][j] is shard i's end of the one to shard j. */
function mesh(count: number): (MessagePort | null)[][] {
  const ends: (MessagePort | null)[][] = Array.from({ length: count }, () =>
    new Array<MessagePort | null>(count).fill(null),
  );
  for (let i = 0; i < count; i++) {
    for (let j = i + 1; j < count; j++) {
      const { port1, port2 } = new MessageChannel();
      (ends[i] as (MessagePort | null)[])[j] = port1;
      (ends[j] as (MessagePort | null)[])[i] = port2;
    }
  }
  return ends;
}

/** By tenant and query text, whatever the time range: so a moving dashboard keeps to one cache. */
function homeOf(request: QueryRequest, count: number): number {
  const text = new URLSearchParams(request.params).get('query') ?? request.params;
  let h = 0;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x5bd1e995);
  for (let i = 0; i < request.tenant.length; i++) h = Math.imul(h ^ request.tenant.charCodeAt(i), 0x5bd1e995);
  return ((h ^ (h >>> 15)) >>> 0) % count;
}
