/**
 * Compensated summation (Neumaier's variant of Kahan's): beside the running sum it carries what rounding lost, so that
 * the order of the terms and large terms that cancel do not matter. One function, so that it inlines in hot loops:
 *
 *   const t = sum + inc;  lost += kahanError(inc, sum, t);  sum = t;   // ... result: sum + lost
 */

/** What was lost when `before + inc` was rounded to `after`. 0 once the sum is infinite. */
export function kahanError(inc: number, before: number, after: number): number {
  if (after === Number.POSITIVE_INFINITY || after === Number.NEGATIVE_INFINITY) return 0;
  return Math.abs(before) >= Math.abs(inc) ? before - after + inc : inc - after + before;
}
