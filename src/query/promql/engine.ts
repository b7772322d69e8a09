/**
 * PromqlEngine: text + times -> result. The public entry of this folder.
 *
 * A query is parsed, planned for its times (plan.ts), evaluated over the whole step grid (eval/), and shaped into the
 * result its kind asks for. The engine keeps no state between queries.
 */
import { type LeafNote, type LeafSource, PromqlEvalError, type RawSeries } from '../../contracts/leaf-source.ts';
import type { TenantId } from '../../model/tenant.ts';
import { type Grid, instantGrid, rangeGrid } from '../shared/grid.ts';
import { Annotations } from './annotations.ts';
import type { Expr, MatrixSelector } from './ast.ts';
import { EvalContext } from './eval/context.ts';
import { Evaluator } from './eval/evaluator.ts';
import { extendRaw } from './eval/raw-extended.ts';
import { evalSubquery, rawOfRows } from './eval/subquery.ts';
import { isEmptyRow, mergeSameLabels, type Row, sortRows, type Value, withoutMetadata } from './eval/value.ts';
import { parseKept } from './parsed-queries.ts';
import { planExpr } from './plan.ts';
import type { GridRow, QueryResult, QueryValue, StepCounts } from './result.ts';
import { documentedType, typeOf } from './validate.ts';

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
  /** The statistics say how many samples each step looked at. */
  countSteps?: boolean;
  signal?: AbortSignal;
}

export interface PromqlEngine {
  instant(params: QueryParams & { timeMs: number }): Promise<QueryResult>;
  range(params: QueryParams & { startMs: number; endMs: number; stepMs: number }): Promise<QueryResult>;
}

interface Times {
  startMs: number;
  endMs: number;
  stepMs: number;
}

export function createPromqlEngine(options: EngineOptions): PromqlEngine {
  return {
    instant: params => runQuery(options, params, { startMs: params.timeMs, endMs: params.timeMs, stepMs: 0 }),
    range: params => {
      const { startMs, endMs, stepMs } = params;
      if (!(stepMs > 0)) return Promise.reject(new PromqlEvalError(`step must be above 0, got ${stepMs} ms`));
      return runQuery(options, params, { startMs, endMs, stepMs });
    },
  };
}

async function runQuery(options: EngineOptions, params: QueryParams, times: Times): Promise<QueryResult> {
  const started = performance.now();
  const parsed = parseKept(params.query, options.features);
  const type = typeOf(parsed);
  const isRange = times.stepMs > 0;
  if (isRange && type !== 'scalar' && type !== 'vector') {
    throw new PromqlEvalError(
      `invalid expression type "${documentedType(type)}" for range query, must be Scalar or instant Vector`,
    );
  }
  const parsedAt = performance.now();
  const plan = planExpr(parsed, times);
  const notes = new Annotations(params.query);
  const ctx = new EvalContext(
    {
      tenant: params.tenant,
      source: options.source,
      lookbackMs: params.lookbackMs ?? options.lookbackMs,
      defaultSubqueryStepMs: options.defaultSubqueryStepMs,
      maxSamples: options.maxSamples,
      features: options.features,
      signal: params.signal,
      times,
      statsSelectors: plan.statsSelectors,
      countSteps: params.countSteps === true,
    },
    notes,
  );
  const evaluator = new Evaluator(ctx);
  let value: QueryValue;
  const grid = isRange ? rangeGrid(times.startMs, times.endMs, times.stepMs) : instantGrid(times.startMs);
  if (type === 'matrix') {
    value = { type: 'raw', series: await evalRaw(evaluator, plan.expr, times.startMs) };
    // One step, which took all that was read.
    ctx.counts?.set(grid, Float64Array.of(ctx.samplesRead));
  } else {
    ctx.checkSteps(grid.steps);
    ctx.countOn(grid);
    value = shape(cleaned(await evaluator.eval(plan.expr, grid)), grid, isRange);
  }
  return {
    value,
    warnings: notes.warnings(),
    infos: notes.infos(),
    stats: {
      samplesRead: ctx.samplesRead,
      peakSamples: ctx.peakSamples,
      ...(ctx.counts === null ? {} : { perStep: stepCounts(grid, ctx.counts.get(grid)) }),
      parseMs: parsedAt - started,
      evalMs: performance.now() - parsedAt,
    },
  };
}

function stepCounts(grid: Grid, counts: Float64Array = new Float64Array(0)): StepCounts {
  return { startMs: grid.startMs, stepMs: grid.stepMs, samples: counts };
}

/** Takes away the names whose removal was put off, and everything empty. */
function cleaned(value: Value): Value {
  if (value.kind !== 'vector') return value;
  return { ...value, rows: cleanedRows(value.rows) };
}

function cleanedRows(rows: readonly Row[]): Row[] {
  const kept = rows.filter(r => !isEmptyRow(r));
  if (!kept.some(r => r.dropName)) return kept;
  for (const row of kept) if (row.dropName) row.labels = withoutMetadata(row.labels);
  return mergeSameLabels(kept);
}

function shape(value: Value, grid: Grid, isRange: boolean): QueryValue {
  if (isRange) {
    const rows: GridRow[] =
      value.kind === 'scalar' ? [scalarRow(value.values)] : value.kind === 'vector' ? value.rows : [];
    return {
      type: 'matrix',
      startMs: grid.startMs,
      stepMs: grid.stepMs,
      steps: grid.steps,
      rows: sortRows(rows.map(({ labels, values, present, histograms }) => ({ labels, values, present, histograms }))),
    };
  }
  const timestampMs = grid.startMs;
  if (value.kind === 'scalar') return { type: 'scalar', timestampMs, value: value.values[0] as number };
  if (value.kind === 'string') return { type: 'string', timestampMs, value: value.value };
  const rows = value.ordered ? value.rows : sortRows(value.rows);
  return {
    type: 'vector',
    timestampMs,
    samples: rows.map(r => ({
      labels: r.labels,
      value: r.present[0] === 1 ? (r.values[0] as number) : 0,
      histogram: r.histograms?.[0] ?? null,
    })),
  };
}

function scalarRow(values: Float64Array): GridRow {
  return { labels: [], values, present: new Uint8Array(values.length).fill(1), histograms: null };
}

/** An instant query whose expression is a range selector or a subquery: the samples themselves. */
async function evalRaw(evaluator: Evaluator, e: Expr, timeMs: number): Promise<RawSeries[]> {
  if (e.kind === 'paren' || e.kind === 'invariant') return evalRaw(evaluator, e.expr, timeMs);
  if (e.kind === 'matrix') return sortRows(await evalMatrix(evaluator, e, timeMs));
  if (e.kind !== 'subquery') throw new Error(`BUG: a ${e.kind} expression is no matrix`);
  const { rows, grid } = await evalSubquery(evaluator, e, instantGrid(timeMs));
  return sortRows(rawOfRows(cleanedRows(rows), grid));
}

async function evalMatrix(evaluator: Evaluator, e: MatrixSelector, timeMs: number): Promise<RawSeries[]> {
  const { settings } = evaluator.ctx;
  const { selector, rangeMs } = e;
  const end = (selector.atMs ?? timeMs) - selector.offsetMs;
  const begin = end - rangeMs;
  const before = selector.extended === null ? 0 : settings.lookbackMs;
  const after = selector.extended === 'smoothed' ? settings.lookbackMs : 0;
  const notes: LeafNote[] = [];
  const series = await settings.source.selectRaw(
    settings.tenant,
    {
      matchers: selector.matchers,
      minT: begin - before + 1,
      maxT: end + after,
      stepMs: 0,
      rangeMs,
      func: '',
      maxSamples: settings.maxSamples,
      notes,
    },
    settings.signal,
  );
  for (const { message } of notes) evaluator.ctx.notes.warn(message, null);
  evaluator.ctx.samplesRead += series.reduce((n, s) => n + s.timestamps.length + s.histogramTimestamps.length, 0);
  if (selector.extended === null) return series;
  return series
    .map(s => extendRaw(s, begin, end, selector.extended === 'smoothed'))
    .filter(s => s.timestamps.length > 0);
}
