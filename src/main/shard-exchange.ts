/**
 * ShardExchange: the SampleSink in front of all shards, as one worker sees them.
 *
 * The worker that decoded a batch appends the series of its own shard straight from the batch; series of other shards are
 * packed into an outgoing buffer per shard and tenant, which leaves once per turn of the event loop, however many requests
 * arrived in it. A series' labels go along the first time only; a shard that does not know a hash (any more) says so, and the
 * request's rows are sent once more with all labels, which is harmless: equal samples settle to one. The
 * buffers come back with the answer and are used again.
 *
 * A request is acknowledged when every shard that got a part of it has written its WAL.
 */
import type { AppendResult, Rejection, SampleSink } from '../contracts/sample-sink.ts';
import { SeenHashes } from '../lib/hash-set.ts';
import { BatchRows, type PackedRows, unpackRows } from '../model/batch-rows.ts';
import type { SampleBatch } from '../model/sample-batch.ts';
import type { TenantId } from '../model/tenant.ts';

/** One shard's own append: synchronous, durable against kill -9 on return. */
export interface LocalShard {
  /** Appends the `count` series whose indices stand in `rows`, or all where rows is null. */
  appendRows(tenant: TenantId, batch: SampleBatch, rows: Uint32Array | null, count: number): AppendResult;
}

/** Another shard, behind its port. */
export interface RemoteShard {
  /** `segments` are the series counts of the requests packed together. The buffer comes back with the results. */
  appendPacked(tenant: TenantId, packed: PackedRows, segments: number[]): Promise<PackedAnswer>;
}

export interface PackedAnswer {
  results: AppendResult[];
  buffer: ArrayBuffer;
}

/** Series that one shard remembers having sent to another: 12 MB at most. */
const SEEN_MAX = 1_000_000;

/** Which shard a series belongs to: by the last word of its identity hash. */
export function shardOf(hashes: Uint32Array, series: number, shardCount: number): number {
  return (hashes[series * 4 + 3] as number) % shardCount;
}

export class ShardExchange implements SampleSink {
  private readonly ownIndex: number;
  private readonly local: LocalShard;
  /** By shard index; null in the own place. */
  private readonly outboxes: (Outbox | null)[];
  private rows: Uint32Array[];

  constructor(ownIndex: number, local: LocalShard, remotes: readonly (RemoteShard | null)[]) {
    this.ownIndex = ownIndex;
    this.local = local;
    this.outboxes = remotes.map(remote => (remote === null ? null : new Outbox(remote)));
    this.rows = remotes.map(() => new Uint32Array(1024));
  }

  async append(tenant: TenantId, batch: SampleBatch, again: () => SampleBatch = () => batch): Promise<AppendResult> {
    const result = await this.appendOnce(tenant, batch, true);
    if ((result.unknownSeries ?? 0) === 0) return result;
    for (const outbox of this.outboxes) outbox?.forget();
    const whole = await this.appendOnce(tenant, again(), false);
    // What went in the first time came as a duplicate now.
    const before = result.samples + result.histograms - (result.duplicates ?? 0);
    whole.duplicates = Math.max(0, (whole.duplicates ?? 0) - before);
    whole.newSeries = (whole.newSeries ?? 0) + (result.newSeries ?? 0);
    return whole;
  }

  /** Everything is copied before the first await. */
  private async appendOnce(tenant: TenantId, batch: SampleBatch, byHash: boolean): Promise<AppendResult> {
    const shardCount = this.outboxes.length;
    // Fast path: one shard.
    if (shardCount === 1) return this.local.appendRows(tenant, batch, null, batch.seriesCount);
    const counts = this.partition(batch, shardCount);
    const waiting: Promise<AppendResult>[] = [];
    for (let shard = 0; shard < shardCount; shard++) {
      const outbox = this.outboxes[shard];
      if (outbox == null || counts[shard] === 0) continue;
      waiting.push(outbox.add(tenant, batch, this.rows[shard] as Uint32Array, counts[shard] as number, byHash));
    }
    const ownRows = this.rows[this.ownIndex] as Uint32Array;
    const own = this.appendOwn(tenant, batch, ownRows, counts[this.ownIndex] as number);
    // One failing shard fails the request; the sender's retry is harmless where a part went in.
    const settled = await Promise.allSettled(waiting);
    if (own instanceof Error) throw own;
    const results = [own];
    for (const s of settled) {
      if (s.status === 'rejected') throw s.reason;
      results.push(s.value);
    }
    return mergeResults(results);
  }

  /** An error is returned, not thrown, so that the other shards' parts are still awaited. */
  private appendOwn(tenant: TenantId, batch: SampleBatch, rows: Uint32Array, count: number): AppendResult | Error {
    try {
      return this.local.appendRows(tenant, batch, rows, count);
    } catch (error) {
      return error as Error;
    }
  }

  private partition(batch: SampleBatch, shardCount: number): Uint32Array {
    const counts = new Uint32Array(shardCount);
    const n = batch.seriesCount;
    if ((this.rows[0] as Uint32Array).length < n) this.rows = this.rows.map(() => new Uint32Array(n * 2));
    const { hashes } = batch;
    for (let i = 0; i < n; i++) {
      const shard = shardOf(hashes, i, shardCount);
      const at = counts[shard] as number;
      (this.rows[shard] as Uint32Array)[at] = i;
      counts[shard] = at + 1;
    }
    return counts;
  }
}

/** What leaves for one shard at the end of this turn of the event loop. */
class Outbox {
  private readonly remote: RemoteShard;
  private readonly parcels = new Map<TenantId, Parcel>();
  /** Emptied builders, kept for their memory; and buffers that came back. */
  private readonly spareRows: BatchRows[] = [];
  private readonly spareBuffers: ArrayBuffer[] = [];
  private readonly seen = new SeenHashes(SEEN_MAX);
  private readonly isSeen = (hashes: Uint32Array, at: number): boolean => this.seen.seen(hashes, at);
  private scheduled = false;

  constructor(remote: RemoteShard) {
    this.remote = remote;
  }

  add(tenant: TenantId, batch: SampleBatch, rows: Uint32Array, count: number, byHash: boolean): Promise<AppendResult> {
    let parcel = this.parcels.get(tenant);
    if (parcel === undefined) {
      parcel = { rows: this.spareRows.pop() ?? new BatchRows(), segments: [], waiters: [] };
      this.parcels.set(tenant, parcel);
    }
    parcel.rows.add(batch, rows, count, byHash ? this.isSeen : null);
    parcel.segments.push(count);
    const { waiters } = parcel;
    if (!this.scheduled) {
      this.scheduled = true;
      setImmediate(() => this.flush());
    }
    return new Promise((resolve, reject) => waiters.push({ resolve, reject }));
  }

  /** The receiver has lost series, or refused them: all labels go along once more. */
  forget(): void {
    this.seen.clear();
  }

  private flush(): void {
    this.scheduled = false;
    for (const [tenant, parcel] of this.parcels) {
      const packed = parcel.rows.take(this.spareBuffers.pop() ?? null);
      if (this.spareRows.length < 4) this.spareRows.push(parcel.rows);
      this.remote.appendPacked(tenant, packed, parcel.segments).then(
        answer => this.answered(parcel, answer),
        error => {
          // Whether it was applied is not known: nothing may be taken for known there.
          this.forget();
          for (const w of parcel.waiters) w.reject(error);
        },
      );
    }
    this.parcels.clear();
  }

  private answered(parcel: Parcel, answer: PackedAnswer): void {
    if (this.spareBuffers.length < 4) this.spareBuffers.push(answer.buffer);
    // Series refused by the gate are known by their hash there, too.
    if (answer.results.some(r => r.rejected.some(({ reason }) => reason === 'invalid'))) this.forget();
    for (const [i, w] of parcel.waiters.entries()) w.resolve(answer.results[i] as AppendResult);
  }
}

interface Parcel {
  rows: BatchRows;
  segments: number[];
  waiters: { resolve(result: AppendResult): void; reject(error: Error): void }[];
}

/** The receiving side of `appendPacked`: each request's rows on their own, so that each gets its own counts. */
export function appendPacked(
  shard: LocalShard,
  tenant: TenantId,
  packed: PackedRows,
  segments: readonly number[],
): AppendResult[] {
  const batch = unpackRows(packed);
  if (segments.length === 1) return [shard.appendRows(tenant, batch, null, batch.seriesCount)];
  let next = 0;
  return segments.map(count => {
    const rows = new Uint32Array(count);
    for (let k = 0; k < count; k++) rows[k] = next++;
    return shard.appendRows(tenant, batch, rows, count);
  });
}

export function mergeResults(results: readonly AppendResult[]): AppendResult {
  const total: AppendResult = {
    samples: 0,
    histograms: 0,
    exemplars: 0,
    rejected: [],
    unknownSeries: 0,
    duplicates: 0,
    newSeries: 0,
  };
  for (const r of results) {
    total.samples += r.samples;
    total.histograms += r.histograms;
    total.exemplars += r.exemplars;
    total.unknownSeries = (total.unknownSeries ?? 0) + (r.unknownSeries ?? 0);
    total.duplicates = (total.duplicates ?? 0) + (r.duplicates ?? 0);
    total.newSeries = (total.newSeries ?? 0) + (r.newSeries ?? 0);
    for (const rejection of r.rejected) addRejection(total.rejected, rejection);
  }
  return total;
}

function addRejection(into: Rejection[], rejection: Rejection): void {
  const same = into.find(r => r.reason === rejection.reason);
  if (same === undefined) into.push({ ...rejection });
  else {
    same.count += rejection.count;
    if (same.example === '') same.example = rejection.example;
  }
}
