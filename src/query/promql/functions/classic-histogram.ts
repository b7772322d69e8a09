/**
 * Quantiles and fractions of classic histograms: cumulative counts by upper bound (`le`). Counts scraped apart from each
 * other need not rise from bucket to bucket; differences beyond rounding are levelled out, and said.
 */

export interface ClassicBucket {
  upper: number;
  count: number;
}

export interface ClassicQuantile {
  value: number;
  /** Set where counts fell and were levelled. */
  forced: { minBucket: number; maxBucket: number; maxDiff: number } | null;
}

/** `buckets` ascending by bound, not empty; changed in place. */
export function classicQuantile(q: number, buckets: ClassicBucket[]): ClassicQuantile {
  const plain = (value: number): ClassicQuantile => ({ value, forced: null });
  if (q !== q) return plain(Number.NaN);
  if (q < 0) return plain(Number.NEGATIVE_INFINITY);
  if (q > 1) return plain(Number.POSITIVE_INFINITY);
  if ((buckets[buckets.length - 1] as ClassicBucket).upper !== Number.POSITIVE_INFINITY) return plain(Number.NaN);
  coalesce(buckets);
  const forced = level(buckets);
  const last = buckets.length - 1;
  if (last < 1) return plain(Number.NaN);
  const observations = (buckets[last] as ClassicBucket).count;
  if (observations === 0) return plain(Number.NaN);
  let rank = q * observations;
  let b = 0;
  while (b < last && !((buckets[b] as ClassicBucket).count >= rank)) b++;
  const bucket = buckets[b] as ClassicBucket;
  if (b === last) return { value: (buckets[last - 1] as ClassicBucket).upper, forced };
  if (b === 0 && bucket.upper <= 0) return { value: bucket.upper, forced };
  let start = 0;
  let count = bucket.count;
  if (b > 0) {
    const below = buckets[b - 1] as ClassicBucket;
    start = below.upper;
    count -= below.count;
    rank -= below.count;
  }
  return { value: start + (bucket.upper - start) * (rank / count), forced };
}

/** Adds up buckets of one bound (`le="1"` and `le="1.0"`). */
function coalesce(buckets: ClassicBucket[]): void {
  let out = 0;
  for (let i = 1; i < buckets.length; i++) {
    const b = buckets[i] as ClassicBucket;
    const last = buckets[out] as ClassicBucket;
    if (b.upper === last.upper) last.count += b.count;
    else buckets[++out] = b;
  }
  buckets.length = out + 1;
}

/** Differences up to this share of the counts are rounding. */
const TOLERANCE = 1e-12;

function level(buckets: ClassicBucket[]): ClassicQuantile['forced'] {
  let forced: ClassicQuantile['forced'] = null;
  let prev = (buckets[0] as ClassicBucket).count;
  for (let i = 1; i < buckets.length; i++) {
    const b = buckets[i] as ClassicBucket;
    if (b.count === prev) continue;
    if (nearlyEqual(prev, b.count)) b.count = prev;
    else if (b.count < prev) {
      const diff = prev - b.count;
      if (forced === null) forced = { minBucket: b.upper, maxBucket: b.upper, maxDiff: diff };
      else {
        forced.maxBucket = b.upper;
        forced.maxDiff = Math.max(forced.maxDiff, diff);
      }
      b.count = prev;
    } else prev = b.count;
  }
  return forced;
}

function nearlyEqual(a: number, b: number): boolean {
  if (a !== a && b !== b) return true;
  const sum = Math.abs(a) + Math.abs(b);
  if (a === 0 || b === 0 || sum < 2.2250738585072014e-308) {
    return Math.abs(a - b) < TOLERANCE * 2.2250738585072014e-308;
  }
  return Math.abs(a - b) / Math.min(sum, Number.MAX_VALUE) < TOLERANCE;
}

/** `buckets` ascending by bound, not empty; changed in place. */
export function classicFraction(lower: number, upper: number, buckets: ClassicBucket[]): number {
  if ((buckets[buckets.length - 1] as ClassicBucket).upper !== Number.POSITIVE_INFINITY) return Number.NaN;
  coalesce(buckets);
  const count = (buckets[buckets.length - 1] as ClassicBucket).count;
  if (count === 0 || lower !== lower || upper !== upper) return Number.NaN;
  if (lower >= upper) return 0;
  const from = Math.min(rankBelow(lower, buckets), count);
  const to = Math.min(rankBelow(upper, buckets), count);
  return (to - from) / count;
}

function rankBelow(v: number, buckets: readonly ClassicBucket[]): number {
  let rank = 0;
  for (let i = 0; i < buckets.length; i++) {
    const b = buckets[i] as ClassicBucket;
    let start = i === 0 ? Number.NEGATIVE_INFINITY : (buckets[i - 1] as ClassicBucket).upper;
    if (i === 0 && b.upper > 0) start = 0;
    if (start >= v) return rank;
    if (b.upper > v) {
      // Nothing can be said about where observations lie in a bucket without an end.
      if (start === Number.NEGATIVE_INFINITY) return b.count;
      return rank + ((b.count - rank) * (v - start)) / (b.upper - start);
    }
    rank = b.count;
  }
  return Number.POSITIVE_INFINITY;
}
