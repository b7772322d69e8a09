/**
 * AdmissionBoard: what the threads know together about tenants, in one SharedArrayBuffer: series of each tenant and of each of
 * its metrics, token buckets, who is above its fair share of memory, and how far memory is from its limit.
 *
 * Limits are of the process, series are in shards: each shard adds its own comings and goings to one counter per tenant, before
 * it makes a series, so a limit holds over all of them exactly. Rows are found by a hash with
 * open addressing and claimed by compare-and-swap; they are never given back. A full table tells its caller (-1), who then
 * counts for itself.
 */
import type { TenantId } from '../../model/tenant.ts';

const SHARDS_MAX = 64;
const TENANTS = 4096;
const METRICS = 1 << 16;
/** Rows of a table that are given out at most: beyond, probing gets long. */
const FILL = 0.8;

/** Per tenant, Int32: key, series, flags, lock. */
const KEY = 0;
const SERIES = 1;
const FLAGS = 2;
const LOCK = 3;
const TENANT_WORDS = 4;
/** Per tenant, Float64: tokens and time of the sample bucket, the same of the exemplar bucket. */
const BUCKET_DOUBLES = 4;
/** Per metric, Int32: key, series. */
const METRIC_WORDS = 2;
/** Per shard, Float64: heap used, heap limit, bytes of the head. */
const SHARD_DOUBLES = 3;

const ABOVE_SHARE = 1;

const HEADER_BYTES = 64;
const TENANT_BYTES = TENANTS * TENANT_WORDS * 4;
const BUCKET_BYTES = TENANTS * BUCKET_DOUBLES * 8;
const SHARD_BYTES = SHARDS_MAX * SHARD_DOUBLES * 8;
const METRIC_BYTES = METRICS * METRIC_WORDS * 4;

export const ADMISSION_BYTES: number = HEADER_BYTES + TENANT_BYTES + BUCKET_BYTES + SHARD_BYTES + METRIC_BYTES;

/** What becomes of tenants above their fair share of memory (0: nothing), and at last of all. */
export type Pressure = 0 | 1 | 2 | 3;

/** Header words. */
const PRESSURE = 0;
const TENANTS_USED = 1;
const METRICS_USED = 2;
/** Two words, a bit per shard. */
const FULL = 3;

export type Bucket = 'samples' | 'exemplars';

const encoder = new TextEncoder();

export class AdmissionBoard {
  private readonly header: Int32Array;
  private readonly rows: Int32Array;
  private readonly buckets: Float64Array;
  private readonly shards: Float64Array;
  private readonly metrics: Int32Array;
  private readonly known = new Map<TenantId, number>();

  /** @param memory ADMISSION_BYTES zeroed bytes, the same in every thread. */
  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(ADMISSION_BYTES)) {
    let at = HEADER_BYTES;
    this.header = new Int32Array(memory, 0, HEADER_BYTES / 4);
    this.buckets = new Float64Array(memory, at, TENANTS * BUCKET_DOUBLES);
    at += BUCKET_BYTES;
    this.shards = new Float64Array(memory, at, SHARDS_MAX * SHARD_DOUBLES);
    at += SHARD_BYTES;
    this.rows = new Int32Array(memory, at, TENANTS * TENANT_WORDS);
    at += TENANT_BYTES;
    this.metrics = new Int32Array(memory, at, METRICS * METRIC_WORDS);
  }

  /** The tenant's row; -1 where there are more tenants than rows. */
  row(tenant: TenantId): number {
    let row = this.known.get(tenant);
    if (row !== undefined) return row;
    const name = encoder.encode(tenant);
    row = claim(this.rows, TENANT_WORDS, TENANTS, this.header, TENANTS_USED, hash(name, 0, name.length, 0));
    if (this.known.size < TENANTS) this.known.set(tenant, row);
    return row;
  }

  series(row: number): number {
    return row < 0 ? 0 : Atomics.load(this.rows, row * TENANT_WORDS + SERIES);
  }

  /** Returns how many there were. */
  addSeries(row: number, n: number): number {
    return row < 0 ? 0 : Atomics.add(this.rows, row * TENANT_WORDS + SERIES, n);
  }

  /** The row of a tenant's metric, whose name is bytes[start, end); -1 where there are more metrics than rows. */
  metricRow(tenantRow: number, bytes: Uint8Array, start: number, end: number): number {
    if (tenantRow < 0) return -1;
    return claim(
      this.metrics,
      METRIC_WORDS,
      METRICS,
      this.header,
      METRICS_USED,
      hash(bytes, start, end, tenantRow + 1),
    );
  }

  metricSeries(row: number): number {
    return row < 0 ? 0 : Atomics.load(this.metrics, row * METRIC_WORDS + 1);
  }

  /** Returns how many there were. */
  addMetricSeries(row: number, n: number): number {
    return row < 0 ? 0 : Atomics.add(this.metrics, row * METRIC_WORDS + 1, n);
  }

  /**
   * Takes `n` tokens of a bucket that fills at `rate` per second up to `burst`; a full bucket gives any number once, so that a
   * request larger than the burst gets through at all. Returns 0, or the seconds until they would be there.
   */
  take(row: number, bucket: Bucket, n: number, rate: number, burst: number, nowMs: number): number {
    if (row < 0) return 0;
    const lock = row * TENANT_WORDS + LOCK;
    // A few nanoseconds of work under it. A thread that is put to sleep there costs the others this many looks, then one overshoot.
    for (let tries = 0; Atomics.compareExchange(this.rows, lock, 0, 1) !== 0; tries++) if (tries > 10_000) return 0;
    const at = row * BUCKET_DOUBLES + (bucket === 'samples' ? 0 : 2);
    const last = this.buckets[at + 1] as number;
    const grown = last === 0 ? burst : (this.buckets[at] as number) + (Math.max(0, nowMs - last) / 1000) * rate;
    const tokens = Math.min(burst, grown);
    const enough = tokens >= Math.min(n, burst);
    this.buckets[at] = enough ? tokens - n : tokens;
    this.buckets[at + 1] = nowMs;
    Atomics.store(this.rows, lock, 0);
    return enough ? 0 : (Math.min(n, burst) - tokens) / rate;
  }

  get pressure(): Pressure {
    return Atomics.load(this.header, PRESSURE) as Pressure;
  }

  set pressure(level: Pressure) {
    Atomics.store(this.header, PRESSURE, level);
  }

  /** Told by a shard thread when its disk begins or ceases to refuse what comes in. */
  noteFull(shard: number, full: boolean): void {
    const bit = 1 << (shard & 31);
    const word = FULL + (shard >>> 5);
    if (full) Atomics.or(this.header, word, bit);
    else Atomics.and(this.header, word, ~bit);
  }

  /** Whether any shard's disk refuses what comes in. */
  get full(): boolean {
    return (Atomics.load(this.header, FULL) | Atomics.load(this.header, FULL + 1)) !== 0;
  }

  isAboveShare(row: number): boolean {
    return row >= 0 && (Atomics.load(this.rows, row * TENANT_WORDS + FLAGS) & ABOVE_SHARE) !== 0;
  }

  /**
   * Marks the tenants that have at least as many series as an equal share of what memory bears would give them: that is `bearable` of
   * all series there are (0 to 1). Returns the share. One thread's work.
   */
  markShares(bearable: number): number {
    const counts: number[] = [];
    for (let row = 0; row < TENANTS; row++) {
      const n = this.series(row);
      if (n > 0) counts.push(n);
    }
    const share = fairShare(counts, bearable);
    for (let row = 0; row < TENANTS; row++) {
      if (Atomics.load(this.rows, row * TENANT_WORDS + KEY) === 0) continue;
      Atomics.store(this.rows, row * TENANT_WORDS + FLAGS, this.series(row) >= share && share > 0 ? ABOVE_SHARE : 0);
    }
    return share;
  }

  /** Told by each shard thread about itself. Bytes. */
  report(shard: number, heapUsed: number, heapLimit: number, headBytes: number): void {
    this.shards.set([heapUsed, heapLimit, headBytes], shard * SHARD_DOUBLES);
  }

  /** How full the fullest thread's heap is, 0 to 1. */
  get heapFill(): number {
    let fill = 0;
    for (let s = 0; s < SHARDS_MAX; s++) {
      const limit = this.shards[s * SHARD_DOUBLES + 1] as number;
      if (limit > 0) fill = Math.max(fill, (this.shards[s * SHARD_DOUBLES] as number) / limit);
    }
    return fill;
  }

  /** Bytes of all heads, by their own accounting. */
  get headBytes(): number {
    let bytes = 0;
    for (let s = 0; s < SHARDS_MAX; s++) bytes += this.shards[s * SHARD_DOUBLES + 2] as number;
    return bytes;
  }
}

/**
 * What each may have when `bearable` (0 to 1) of all that is used now is given out equally, nobody getting more than it uses.
 * Whoever has as much or more is who makes it scarce; one tenant alone always has.
 */
export function fairShare(used: readonly number[], bearable: number): number {
  const ascending = [...used].sort((a, b) => a - b);
  let left = ascending.reduce((sum, n) => sum + n, 0) * bearable;
  for (let i = 0; i < ascending.length; i++) {
    const share = left / (ascending.length - i);
    const own = ascending[i] as number;
    if (own >= share) return share;
    // It leaves room that the larger ones may use.
    left -= own;
  }
  // All is bearable, but for rounding.
  return ascending.at(-1) ?? 0;
}

/** The row of a key, made where it is new; -1 where the table is full. `wanted` has the key first, then where to look. */
function claim(
  table: Int32Array,
  words: number,
  size: number,
  header: Int32Array,
  used: number,
  wanted: readonly [key: number, home: number],
): number {
  const [key, home] = wanted;
  for (let i = home & (size - 1), probes = 0; probes < size; i = (i + 1) & (size - 1), probes++) {
    let there = Atomics.load(table, i * words);
    if (there === 0) {
      if (Atomics.load(header, used) >= size * FILL) return -1;
      there = Atomics.compareExchange(table, i * words, 0, key);
      if (there === 0) {
        Atomics.add(header, used, 1);
        return i;
      }
    }
    if (there === key) return i;
  }
  return -1;
}

/** Two independent 32-bit hashes; the first is never 0. */
function hash(bytes: Uint8Array, start: number, end: number, seed: number): [number, number] {
  let a = 0x811c9dc5 ^ seed;
  let b = 0x9747b28c + seed;
  for (let i = start; i < end; i++) {
    a = Math.imul(a ^ (bytes[i] as number), 0x01000193);
    b = Math.imul(b ^ (bytes[i] as number), 0x5bd1e995);
    b ^= b >>> 13;
  }
  a = Math.imul(a ^ (a >>> 15), 0x2c1b3c6d);
  a ^= a >>> 13;
  b = Math.imul(b ^ (b >>> 15), 0x297a2d39);
  b ^= b >>> 15;
  return [a === 0 ? 1 : a | 0, b >>> 0];
}
