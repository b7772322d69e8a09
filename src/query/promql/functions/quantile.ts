/** The quantile of plain values, as `quantile` and quantile_over_time have it. */

/** Of the first n values, which it sorts in place. NaN counts as smaller than everything; between two values the result is interpolated. */
export function quantileOf(q: number, values: Float64Array, n = values.length): number {
  if (n === 0 || q !== q) return Number.NaN;
  if (q < 0) return Number.NEGATIVE_INFINITY;
  if (q > 1) return Number.POSITIVE_INFINITY;
  if (n <= INSERTION_MAX) insertionSort(values, n);
  else (n === values.length ? values : values.subarray(0, n)).sort();
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

/** Below this a plain loop beats the call of a sort. */
const INSERTION_MAX = 48;

/** NaN to the end, as typed arrays sort it. */
function insertionSort(values: Float64Array, n: number): void {
  for (let i = 1; i < n; i++) {
    const x = values[i] as number;
    if (x !== x) continue;
    let k = i;
    for (; k > 0; k--) {
      const y = values[k - 1] as number;
      if (y <= x) break;
      values[k] = y;
    }
    values[k] = x;
  }
}
