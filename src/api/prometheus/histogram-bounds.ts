/** The upper bound of a native histogram's bucket. */
import { CUSTOM_BUCKETS_SCHEMA } from '../../model/histogram.ts';

export function bucketBound(schema: number, index: number, customValues: readonly number[]): number {
  if (schema === CUSTOM_BUCKETS_SCHEMA) {
    if (index < 0) return Number.NEGATIVE_INFINITY;
    return index < customValues.length ? (customValues[index] as number) : Number.POSITIVE_INFINITY;
  }
  const exponent = index * 2 ** -schema;
  // The last bucket of finite numbers ends at the largest of them.
  if (exponent === 1024) return Number.MAX_VALUE;
  return 2 ** exponent;
}
