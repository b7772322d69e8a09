/**
 * ShardLink: what one shard offers to other threads, as typed calls over an RpcPort, and the handlers that serve them.
 *
 * Both ends stand in one file so that a name or an argument cannot change on one side only.
 */
import type { BlockStatus, TsdbStatus } from '../contracts/admin.ts';
import type { LeafPlan, LeafSource, RawSeries } from '../contracts/leaf-source.ts';
import type { ExemplarSeries, LabelRequest, LabelResult } from '../contracts/sample-source.ts';
import { type RpcHandlers, type RpcPort, Transfer } from '../lib/rpc.ts';
import type { PackedRows } from '../model/batch-rows.ts';
import type { Labels } from '../model/labels.ts';
import type { Matcher } from '../model/matcher.ts';
import type { MetadataEntry } from '../model/sample-batch.ts';
import type { TenantId } from '../model/tenant.ts';
import { type PackedLeafResult, packLeafResult, unpackLeafResult } from '../query/promql/leaf-pack.ts';
import { appendPacked, type LocalShard, type PackedAnswer, type RemoteShard } from './shard-exchange.ts';
import type { IndexSource } from './sharded-source.ts';

type RawRequest = Parameters<LeafSource['selectRaw']>[1];

export interface DeleteRequest {
  tenant: TenantId;
  matcherSets: readonly (readonly Matcher[])[];
  minT: number;
  maxT: number;
}

/** What a shard can be asked beside reading and writing. */
export interface ShardAdmin {
  status(tenant: TenantId, limit: number): Promise<TsdbStatus>;
  blocks(tenant: TenantId): Promise<BlockStatus[]>;
  /** Time of the oldest sample, ms; Infinity where there is none. */
  oldest(tenant: TenantId): Promise<number>;
  deleteSeries(request: DeleteRequest): Promise<void>;
  cleanTombstones(): Promise<void>;
  /** Writes a copy of the shard into a folder of its own. */
  snapshot(folder: string, skipHead: boolean): Promise<void>;
  /** Brings everything in memory into blocks, merges what is due. For tests, tools and benchmarks. */
  flush(): Promise<void>;
}

/** One shard as other threads see it. */
export interface ShardHandle extends LeafSource, RemoteShard {
  index: IndexSource;
  admin: ShardAdmin;
}

export function shardHandle(rpc: RpcPort): ShardHandle {
  const call = <T>(method: string, args: unknown, signal?: AbortSignal) =>
    rpc.call<T>(method, args, signal === undefined ? {} : { signal });
  return {
    appendPacked: (tenant, packed, segments) =>
      rpc.call<PackedAnswer>('appendPacked', { tenant, packed, segments }, { transfer: [packed.buffer] }),
    evalLeaf: async (tenant, plan, signal) =>
      unpackLeafResult(await call<PackedLeafResult>('evalLeaf', { tenant, plan }, signal)),
    selectRaw: (tenant, request, signal) => call<RawSeries[]>('selectRaw', { tenant, request }, signal),
    index: {
      labelNames: (tenant, request, signal) => call<LabelResult>('labelNames', { tenant, request }, signal),
      labelValues: (tenant, name, request, signal) =>
        call<LabelResult>('labelValues', { tenant, name, request }, signal),
      series: (tenant, request, signal) =>
        call<{ series: Labels[]; truncated: boolean }>('series', { tenant, request }, signal),
      exemplars: (tenant, request, signal) => call<ExemplarSeries[]>('exemplars', { tenant, request }, signal),
      metadata: (tenant, metric, limit) => call<MetadataEntry[]>('metadata', { tenant, metric, limit }),
    },
    admin: {
      status: (tenant, limit) => call<TsdbStatus>('status', { tenant, limit }),
      blocks: tenant => call<BlockStatus[]>('blocks', { tenant }),
      oldest: tenant => call<number>('oldest', { tenant }),
      deleteSeries: request => call<void>('deleteSeries', request),
      cleanTombstones: () => call<void>('cleanTombstones', null),
      snapshot: (folder, skipHead) => call<void>('snapshot', { folder, skipHead }),
      flush: () => call<void>('flush', null),
    },
  };
}

export interface LocalParts {
  shard: LocalShard;
  leaves: LeafSource;
  index: IndexSource;
  admin: ShardAdmin;
}

/** The same shard on its own thread: no messages. */
export function localHandle(parts: LocalParts): ShardHandle {
  return {
    async appendPacked(tenant, packed, segments) {
      return { results: appendPacked(parts.shard, tenant, packed, segments), buffer: packed.buffer };
    },
    evalLeaf: (tenant, plan, signal) => parts.leaves.evalLeaf(tenant, plan, signal),
    selectRaw: (tenant, request, signal) => parts.leaves.selectRaw(tenant, request, signal),
    index: parts.index,
    admin: parts.admin,
  };
}

interface IndexArgs {
  tenant: TenantId;
  name: string;
  request: LabelRequest;
}

/** Serves a shard's handle to another thread. */
export function shardHandlers(own: ShardHandle): RpcHandlers {
  const handlers: { [method: string]: (args: never, signal: AbortSignal) => unknown } = {
    appendPacked: async (a: { tenant: TenantId; packed: PackedRows; segments: number[] }) => {
      const answer = await own.appendPacked(a.tenant, a.packed, a.segments);
      return new Transfer(answer, [answer.buffer]);
    },
    evalLeaf: async (a: { tenant: TenantId; plan: LeafPlan }, signal) => {
      const { packed, transfer } = packLeafResult(await own.evalLeaf(a.tenant, a.plan, signal));
      return new Transfer(packed, transfer);
    },
    selectRaw: (a: { tenant: TenantId; request: RawRequest }, signal) => own.selectRaw(a.tenant, a.request, signal),
    labelNames: (a: IndexArgs, signal) => own.index.labelNames(a.tenant, a.request, signal),
    labelValues: (a: IndexArgs, signal) => own.index.labelValues(a.tenant, a.name, a.request, signal),
    series: (a: IndexArgs, signal) => own.index.series(a.tenant, a.request, signal),
    exemplars: (a: IndexArgs, signal) => own.index.exemplars(a.tenant, a.request, signal),
    metadata: (a: { tenant: TenantId; metric: string | null; limit: number }) =>
      own.index.metadata(a.tenant, a.metric, a.limit),
    status: (a: { tenant: TenantId; limit: number }) => own.admin.status(a.tenant, a.limit),
    blocks: (a: { tenant: TenantId }) => own.admin.blocks(a.tenant),
    oldest: (a: { tenant: TenantId }) => own.admin.oldest(a.tenant),
    deleteSeries: (a: DeleteRequest) => own.admin.deleteSeries(a),
    cleanTombstones: () => own.admin.cleanTombstones(),
    snapshot: (a: { folder: string; skipHead: boolean }) => own.admin.snapshot(a.folder, a.skipHead),
    flush: () => own.admin.flush(),
  };
  return handlers as RpcHandlers;
}
