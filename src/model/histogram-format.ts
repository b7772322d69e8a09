/** A native histogram as one line of text, as count_values labels it: `{count:4, sum:9, (1,2]:3, (2,4]:1}`. */
import { formatFloatG } from '../lib/go-float.ts';
import type { FloatHistogram } from './histogram.ts';
import { type Bucket, negativeBuckets, positiveBuckets, zeroBucket } from './histogram-buckets.ts';

export function formatHistogram(h: FloatHistogram): string {
  const buckets: Bucket[] = negativeBuckets(h).reverse();
  if (h.zeroCount !== 0) buckets.push(zeroBucket(h));
  buckets.push(...positiveBuckets(h));
  const parts = [`count:${formatFloatG(h.count)}`, `sum:${formatFloatG(h.sum)}`];
  for (const b of buckets) if (b.count !== 0) parts.push(formatBucket(b));
  return `{${parts.join(', ')}}`;
}

function formatBucket(b: Bucket): string {
  const open = b.lowerInclusive ? '[' : '(';
  const close = b.upperInclusive ? ']' : ')';
  return `${open}${formatFloatG(b.lower)},${formatFloatG(b.upper)}${close}:${formatFloatG(b.count)}`;
}
