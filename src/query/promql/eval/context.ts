/** EvalContext: what all nodes of one query share: where data comes from, limits, notes, features, the times asked for. */
import type { LeafResult, LeafSource } from '../../../contracts/leaf-source.ts';
import { TimeSlice } from '../../../lib/yield.ts';
import type { TenantId } from '../../../model/tenant.ts';
import type { Grid } from '../../shared/grid.ts';
import type { Annotations } from '../annotations.ts';
import type { Expr } from '../ast.ts';
import type { EngineFeatures } from '../engine.ts';
import { tooManySamples } from '../leaf-merge.ts';
import type { PlanTimes } from '../plan.ts';

export interface EvalSettings {
  tenant: TenantId;
  source: LeafSource;
  lookbackMs: number;
  defaultSubqueryStepMs: number;
  maxSamples: number;
  features: EngineFeatures;
  signal: AbortSignal | undefined;
  /** Of the whole query: what start(), end(), step() and range() answer. */
  times: PlanTimes;
  statsSelectors: ReadonlySet<Expr>;
  /** Whether samples are counted step by step. */
  countSteps: boolean;
}

export class EvalContext {
  readonly settings: EvalSettings;
  readonly notes: Annotations;
  samplesRead = 0;
  peakSamples = 0;
  /**
   * Samples by step of each grid that counts, where the query asks for them: the outer one, and those of what is evaluated once
   * for all of its steps. What a subquery reads does not count, what is read of its result does.
   */
  readonly counts: Map<Grid, Float64Array> | null;
  private live = 0;
  private readonly slice = new TimeSlice();

  constructor(settings: EvalSettings, notes: Annotations) {
    this.settings = settings;
    this.notes = notes;
    this.counts = settings.countSteps ? new Map() : null;
  }

  /** Begins to count samples by step of the grid, where that is asked for. */
  countOn(grid: Grid): void {
    this.counts?.set(grid, new Float64Array(grid.steps));
  }

  /** What was counted on a grid of one step happened at each step of another. */
  countOnce(once: Grid, grid: Grid): void {
    const total = this.counts?.get(once)?.[0] ?? 0;
    const into = this.counts?.get(grid);
    if (into !== undefined) for (let i = 0; i < into.length; i++) into[i] = (into[i] as number) + total;
  }

  get delayedNames(): boolean {
    return this.settings.features.delayedNameRemoval;
  }

  /** Samples that the query may still take. */
  get room(): number {
    return Math.max(0, this.settings.maxSamples - this.live);
  }

  /** Refuses a grid that is too large for even one series. */
  checkSteps(steps: number): void {
    if (steps > this.settings.maxSamples) throw tooManySamples(this.settings.maxSamples);
  }

  noteLeaf(result: LeafResult, grid: Grid): void {
    this.samplesRead += result.samplesRead;
    const into = this.counts?.get(grid);
    if (into !== undefined) {
      result.samplesPerStep?.forEach((n, i) => {
        into[i] = (into[i] as number) + n;
      });
    }
    this.peakSamples = Math.max(this.peakSamples, this.live + result.peakSamples);
  }

  /** A node's result took the place of its operands'. */
  replace(before: number, after: number): void {
    this.live += after - before;
    this.peakSamples = Math.max(this.peakSamples, this.live);
    if (this.live > this.settings.maxSamples) throw tooManySamples(this.settings.maxSamples);
  }

  /** A turn of the event loop is due. Ask between rows or steps of loops that may take long, then await `pause`. */
  due(): boolean {
    return this.slice.due();
  }

  async pause(): Promise<void> {
    await this.slice.pause(this.settings.signal);
  }
}
