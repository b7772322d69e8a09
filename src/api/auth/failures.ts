/**
 * FailedSignIns: how often wrong credentials came lately, by address or by whatever else the caller counts under. After `burst` wrong
 * ones the next must wait, which makes guessing hopeless and keeps slow password hashes from being a lever.
 *
 * A token bucket per key. Bounded: with more keys than KNOWN_MAX, the ones that failed longest ago are forgotten.
 */
const KNOWN_MAX = 10_000;

interface Bucket {
  left: number;
  atMs: number;
}

export class FailedSignIns {
  private readonly now: () => number;
  private readonly burst: number;
  private readonly refillMs: number;
  /** In the order of their last failure. */
  private readonly buckets = new Map<string, Bucket>();

  /**
   * @param now monotonic, ms
   * @param burst wrong tries at once
   * @param refillMs one more try per this time
   */
  constructor(now: () => number, burst: number, refillMs: number) {
    this.now = now;
    this.burst = burst;
    this.refillMs = refillMs;
  }

  /** Seconds to wait; 0 = may try. */
  waitS(key: string): number {
    const bucket = this.buckets.get(key);
    if (bucket === undefined) return 0;
    this.refill(bucket);
    return bucket.left >= 1 ? 0 : Math.ceil(((1 - bucket.left) * this.refillMs) / 1000);
  }

  failed(key: string): void {
    const bucket = this.buckets.get(key) ?? { left: this.burst, atMs: this.now() };
    this.refill(bucket);
    bucket.left = Math.max(0, bucket.left - 1);
    this.buckets.delete(key);
    this.buckets.set(key, bucket);
    if (this.buckets.size <= KNOWN_MAX) return;
    for (const oldest of this.buckets.keys()) {
      this.buckets.delete(oldest);
      return;
    }
  }

  private refill(bucket: Bucket): void {
    const now = this.now();
    bucket.left = Math.min(this.burst, bucket.left + (now - bucket.atMs) / this.refillMs);
    bucket.atMs = now;
  }
}

/** One customer's network: an IPv4 address, or the first 64 bits of an IPv6 one. */
export function networkOf(address: string): string {
  if (!address.includes(':') || address.startsWith('::ffff:')) return address;
  const [head = '', tail] = address.split('%')[0]?.split('::') ?? [];
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - left.length - right.length);
  return [...left, ...new Array<string>(zeros).fill('0'), ...right].slice(0, 4).join(':');
}
