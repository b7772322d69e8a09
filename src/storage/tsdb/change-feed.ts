/**
 * SharedChangeFeed: tells result caches, in whatever thread, which past times have been altered since they looked.
 *
 * All shards write to one SharedArrayBuffer: a process-wide sequence and, per shard and tenant bucket, a short stack of
 * (sequence, oldest altered time) entries. Tenants share a bucket by hash: a collision only makes a cache forget too much.
 * An entry is dominated, and dropped, when a later one altered an older time; so times ascend with sequences and the
 * first entry after a given sequence holds the minimum. When a stack is full its two oldest entries become one.
 *
 * Order that keeps caches right: a shard calls `note` after the change can be read and before it is acknowledged; a
 * reader takes `current` before it evaluates.
 */
import type { TenantId } from '../../model/tenant.ts';

const BUCKETS = 64;
const STACK = 32;
/** Per bucket: a version (odd while being written) and a count, as Int32. */
const META_WORDS = 2;
const HEADER_BYTES = 64;
const META_BYTES = BUCKETS * META_WORDS * 4;
const ENTRY_BYTES = BUCKETS * STACK * 16;
const SHARD_BYTES = META_BYTES + ENTRY_BYTES;

export function changeFeedBytes(shardCount: number): number {
  return HEADER_BYTES + shardCount * SHARD_BYTES;
}

export class SharedChangeFeed {
  private readonly sequence: BigInt64Array;
  private readonly meta: Int32Array[] = [];
  /** (sequence, time) pairs, oldest first. */
  private readonly entries: Float64Array[] = [];

  /** @param memory changeFeedBytes(shardCount) zeroed bytes, the same in every thread. */
  constructor(memory: SharedArrayBuffer, shardCount: number) {
    this.sequence = new BigInt64Array(memory, 0, 1);
    for (let s = 0; s < shardCount; s++) {
      const at = HEADER_BYTES + s * SHARD_BYTES;
      this.meta.push(new Int32Array(memory, at, META_BYTES / 4));
      this.entries.push(new Float64Array(memory, at + META_BYTES, ENTRY_BYTES / 8));
    }
  }

  /** Only the shard's own thread may write its part. */
  note(shard: number, tenant: TenantId, oldestMs: number): void {
    const sequence = Number(Atomics.add(this.sequence, 0, 1n)) + 1;
    const meta = this.meta[shard] as Int32Array;
    const entries = this.entries[shard] as Float64Array;
    const bucket = bucketOf(tenant);
    const base = bucket * STACK * 2;
    Atomics.add(meta, bucket * META_WORDS, 1);
    let count = meta[bucket * META_WORDS + 1] as number;
    while (count > 0 && (entries[base + count * 2 - 1] as number) >= oldestMs) count--;
    if (count === STACK) {
      // The two oldest become one: the later sequence, the older time.
      entries[base + 2 + 1] = entries[base + 1] as number;
      entries.copyWithin(base, base + 2, base + STACK * 2);
      count--;
    }
    entries[base + count * 2] = sequence;
    entries[base + count * 2 + 1] = oldestMs;
    meta[bucket * META_WORDS + 1] = count + 1;
    Atomics.add(meta, bucket * META_WORDS, 1);
  }

  /** Everything of the tenant may differ from before. */
  noteAll(shard: number, tenant: TenantId): void {
    this.note(shard, tenant, Number.NEGATIVE_INFINITY);
  }

  current(_tenant: TenantId): number {
    return Number(Atomics.load(this.sequence, 0));
  }

  oldestChangedSince(tenant: TenantId, sequence: number): number {
    const bucket = bucketOf(tenant);
    let oldest = Number.POSITIVE_INFINITY;
    for (let s = 0; s < this.meta.length; s++) oldest = Math.min(oldest, this.oldestInShard(s, bucket, sequence));
    return oldest;
  }

  private oldestInShard(shard: number, bucket: number, sequence: number): number {
    const meta = this.meta[shard] as Int32Array;
    const entries = this.entries[shard] as Float64Array;
    for (let tries = 0; tries < 1000; tries++) {
      const version = Atomics.load(meta, bucket * META_WORDS);
      if (version & 1) continue;
      const count = meta[bucket * META_WORDS + 1] as number;
      let found = Number.POSITIVE_INFINITY;
      for (let i = 0; i < count; i++) {
        const at = (bucket * STACK + i) * 2;
        if ((entries[at] as number) <= sequence) continue;
        found = entries[at + 1] as number;
        break;
      }
      if (Atomics.load(meta, bucket * META_WORDS) === version) return found;
    }
    return Number.NEGATIVE_INFINITY; // Never quiet: distrust everything.
  }
}

function bucketOf(tenant: TenantId): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < tenant.length; i++) h = Math.imul(h ^ tenant.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d);
  return (h >>> 26) % BUCKETS;
}
