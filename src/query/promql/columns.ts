/**
 * Columns of result rows, cut from larger arrays: a query over ten thousand series makes ten thousand rows, and as many
 * small ArrayBuffers would cost more than what is computed in them. The pieces are disjoint, and zero when handed out. A
 * piece that is kept keeps its whole slab (32 KB), so long columns get an array of their own.
 */

const SLAB_SLOTS = 4096;

let floats = new Float64Array(0);
let floatsUsed = 0;
let marks = new Uint8Array(0);
let marksUsed = 0;

/** Zeros, one per step. */
export function newValues(steps: number): Float64Array {
  if (steps * 8 > SLAB_SLOTS) return new Float64Array(steps);
  if (floatsUsed + steps > floats.length) {
    floats = new Float64Array(SLAB_SLOTS);
    floatsUsed = 0;
  }
  const from = floatsUsed;
  floatsUsed += steps;
  return new Float64Array(floats.buffer, from * 8, steps);
}

/** Zeros, one per step: where a row has a float. */
export function newPresence(steps: number): Uint8Array {
  if (steps * 8 > SLAB_SLOTS) return new Uint8Array(steps);
  if (marksUsed + steps > marks.length) {
    marks = new Uint8Array(SLAB_SLOTS);
    marksUsed = 0;
  }
  const from = marksUsed;
  marksUsed += steps;
  return new Uint8Array(marks.buffer, from, steps);
}
