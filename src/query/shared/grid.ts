/**
 * Grid: the times a query is evaluated at: start, start + step, ... All times are whole milliseconds. An instant query
 * is a grid of one step. Every vector value in the engine is a set of rows over one grid.
 */
export interface Grid {
  startMs: number;
  /** 0 only where there is one step. */
  stepMs: number;
  steps: number;
}

export function instantGrid(timeMs: number): Grid {
  return { startMs: timeMs, stepMs: 0, steps: 1 };
}

/** Every step from start up to and including end. */
export function rangeGrid(startMs: number, endMs: number, stepMs: number): Grid {
  return { startMs, stepMs, steps: endMs < startMs ? 0 : Math.floor((endMs - startMs) / stepMs) + 1 };
}

export function timeAt(grid: Grid, step: number): number {
  return grid.startMs + step * grid.stepMs;
}

export function endOf(grid: Grid): number {
  return grid.startMs + Math.max(0, grid.steps - 1) * grid.stepMs;
}
