/**
 * The staleness marker: a NaN with a bit pattern of its own that says "this series ended here".
 *
 * It survives copies between typed arrays, but not a trip through a plain array, arithmetic, or structured clone of
 * a bare number: so markers are only ever moved typed array to typed array, and tested through a Uint32 view.
 * Source: Prometheus model/value (StaleNaN 0x7ff0000000000002, normal NaN 0x7ff8000000000001).
 */

const scratch = new Float64Array(1);
const words = new Uint32Array(scratch.buffer);

export const STALE_HI = 0x7ff00000;
export const STALE_LO = 0x00000002;

/** Writes the marker into a float column. */
export function putStale(values: Float64Array, at: number): void {
  new Uint32Array(values.buffer, values.byteOffset + at * 8, 2).set([STALE_LO, STALE_HI]);
}

/** Whether values[at] is the marker. */
export function isStale(values: Float64Array, at: number): boolean {
  const v = values[at] as number;
  // Fast path: anything that is not a NaN.
  if (v === v) return false;
  scratch[0] = v;
  return words[0] === STALE_LO && words[1] === STALE_HI;
}
