/** The quantile of plain values, as `quantile` and quantile_over_time have it. */

/** Sorts `values` in place. NaN counts as smaller than everything; between two values the result is interpolated. */
export function quantileOf(q: number, values: Float64Array): number {
  const n = values.length;
  if (n === 0 || q !== q) return Number.NaN;
  if (q < 0) return Number.NEGATIVE_INFINITY;
  if (q > 1) return Number.POSITIVE_INFINITY;
  values.sort();
  // Typed arrays sort NaN to the end: count them, so that index 0 means the first of them.
  let nans = 0;
  while (nans < n && values[n - 1 - nans] !== values[n - 1 - nans]) nans++;
  const at = (i: number): number => (i < nans ? Number.NaN : (values[i - nans] as number));
  const rank = q * (n - 1);
  const lower = Math.max(0, Math.floor(rank));
  const upper = Math.min(n - 1, lower + 1);
  const weight = rank - Math.floor(rank);
  return at(lower) * (1 - weight) + at(upper) * weight;
}
