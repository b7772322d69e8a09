/**
 * Kernels: range functions over plain float series, all windows of the grid in one call.
 */
import type { SeriesWindow } from './window.ts';

export interface RangeKernel {
  /** Reads start timestamps: where a series has some, the general path is taken. */
  needsStarts: boolean;
  /** Fills `values` and `present` for every step; false where no step has a value. */
  run(s: SeriesWindow, args: readonly Float64Array[], values: Float64Array, present: Uint8Array): boolean;
}

export function kernelFor(_func: string): RangeKernel | null {
  return null;
}
