/** PromqlEngine: text + range -> result. The public entry of this folder. (Skeleton: signatures are the contract.) */
import type { LeafSource } from '../../contracts/leaf-source.ts';
import type { TenantId } from '../../model/tenant.ts';
import type { QueryResult } from './result.ts';

export interface EngineOptions {
  source: LeafSource;
  /** Default look-back of instant selectors, ms. */
  lookbackMs: number;
  /** Step of subqueries that give none, ms. */
  defaultSubqueryStepMs: number;
  /** Samples a query may load at once, over all series. */
  maxSamples: number;
  features: EngineFeatures;
}

/** Off in Prometheus by default unless told otherwise; the promqltest runner turns all on. */
export interface EngineFeatures {
  experimentalFunctions: boolean;
  durationExpressions: boolean;
  extendedRangeSelectors: boolean;
  fillModifiers: boolean;
  delayedNameRemoval: boolean;
  startTimestamps: boolean;
  typeAndUnitLabels: boolean;
}

export interface QueryParams {
  tenant: TenantId;
  query: string;
  lookbackMs?: number;
  signal?: AbortSignal;
}

export interface PromqlEngine {
  instant(params: QueryParams & { timeMs: number }): Promise<QueryResult>;
  range(params: QueryParams & { startMs: number; endMs: number; stepMs: number }): Promise<QueryResult>;
}
