/**
 * FailedSignIns: how often an address has given wrong credentials lately. After BURST wrong ones it must wait, which makes guessing
 * hopeless and keeps slow password hashes from being a lever.
 *
 * A token bucket per address, IPv6 by its /64. Bounded: with more addresses than KNOWN_MAX, the ones that failed longest ago
 * are forgotten.
 */
const BURST = 10;
/** One more try per this time, ms. */
const REFILL_MS = 6000;
const KNOWN_MAX = 10_000;

interface Bucket {
  left: number;
  atMs: number;
}

export class FailedSignIns {
  private readonly now: () => number;
  /** In the order of their last failure. */
  private readonly buckets = new Map<string, Bucket>();

  /** @param now monotonic, ms */
  constructor(now: () => number) {
    this.now = now;
  }

  /** Seconds to wait; 0 = may try. */
  waitS(address: string): number {
    const bucket = this.buckets.get(networkOf(address));
    if (bucket === undefined) return 0;
    this.refill(bucket);
    return bucket.left >= 1 ? 0 : Math.ceil(((1 - bucket.left) * REFILL_MS) / 1000);
  }

  failed(address: string): void {
    const key = networkOf(address);
    const bucket = this.buckets.get(key) ?? { left: BURST, atMs: this.now() };
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
    bucket.left = Math.min(BURST, bucket.left + (now - bucket.atMs) / REFILL_MS);
    bucket.atMs = now;
  }
}

/** One customer's network: an IPv4 address, or the first 64 bits of an IPv6 one. */
function networkOf(address: string): string {
  if (!address.includes(':') || address.startsWith('::ffff:')) return address;
  const [head = '', tail] = address.split('%')[0]?.split('::') ?? [];
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - left.length - right.length);
  return [...left, ...new Array<string>(zeros).fill('0'), ...right].slice(0, 4).join(':');
}
