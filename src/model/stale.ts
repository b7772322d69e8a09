/**
 * The staleness marker: a NaN with a bit pattern of its own that says "this series ended here".
 *
 * It is a signalling NaN, and a number that passes through a variable may come back as a quiet one: V8's middle tier
 * (Maglev, on by default in Node 26) does that to `scratch[0] = v` in about every eighth call of a hot function, and to some
 * element-wise copies; plain arrays, arithmetic and structured clone of a bare number do it too. So markers are only
 * moved as bytes (`TypedArray.set`, `copyWithin`, `slice`) or as words of a Uint32Array view, and are tested
 * where they stand. stale.test.ts pins it.
 * Source: Prometheus model/value (StaleNaN 0x7ff0000000000002, normal NaN 0x7ff8000000000001).
 */

export const STALE_HI = 0x7ff00000;
export const STALE_LO = 0x00000002;

/** The words of the last buffer asked about: columns are asked about row by row. */
let words: Uint32Array = new Uint32Array(0);

function wordsOf(values: Float64Array): Uint32Array {
  // The length too: a growable buffer may have grown since.
  if (words.buffer !== values.buffer || words.byteLength + 4 <= values.buffer.byteLength)
    words = new Uint32Array(values.buffer, 0, values.buffer.byteLength >>> 2);
  return words;
}

/** Writes the marker into a float column. */
export function putStale(values: Float64Array, at: number): void {
  new Uint32Array(values.buffer, values.byteOffset + at * 8, 2).set([STALE_LO, STALE_HI]);
}

/** Whether values[at] is the marker. */
export function isStale(values: Float64Array, at: number): boolean {
  const v = values[at] as number;
  // Fast path: anything that is not a NaN.
  if (v === v) return false;
  const view = wordsOf(values);
  const w = (values.byteOffset >>> 2) + 2 * at;
  return view[w] === STALE_LO && view[w + 1] === STALE_HI;
}
