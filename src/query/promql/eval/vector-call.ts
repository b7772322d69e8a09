/** Calls of functions over instant vectors and scalars: everything but range functions. */
import { PromqlEvalError } from '../../../contracts/leaf-source.ts';
import type { FloatHistogram } from '../../../model/histogram.ts';
import { compareLabels, EMPTY_LABELS, getLabel } from '../../../model/labels.ts';
import { type Grid, timeAt } from '../../shared/grid.ts';
import type { Call, Expr } from '../ast.ts';
import { histogramVariance } from '../functions/histogram-quantile.ts';
import { compareNatural, labelJoin, labelReplace, labelsOfMatchers } from '../functions/labels.ts';
import { NOTES } from '../functions/notes.ts';
import { clamp, DATE_FUNCTIONS, FLOAT_FUNCTIONS, roundTo } from '../functions/scalar-math.ts';
import type { Evaluator } from './evaluator.ts';
import { histogramFractionCall, histogramQuantileCall, histogramQuantilesCall } from './histogram-call.ts';
import { evalInfo } from './info.ts';
import { byValue } from './select.ts';
import {
  countPoints,
  isEmptyRow,
  mergeSameLabels,
  newRow,
  presenceOf,
  type Row,
  type Value,
  vectorOf,
} from './value.ts';

const HISTOGRAM_FUNCTIONS: ReadonlyMap<string, (h: FloatHistogram) => number> = new Map<
  string,
  (h: FloatHistogram) => number
>([
  ['histogram_count', h => h.count],
  ['histogram_sum', h => h.sum],
  ['histogram_avg', h => h.sum / h.count],
  ['histogram_stdvar', histogramVariance],
  ['histogram_stddev', h => Math.sqrt(histogramVariance(h))],
]);

export async function evalVectorCall(ev: Evaluator, e: Call, grid: Grid): Promise<Value> {
  const float = FLOAT_FUNCTIONS.get(e.func);
  if (float !== undefined) return mapFloats(ev, e, grid, () => float);
  const histogram = HISTOGRAM_FUNCTIONS.get(e.func);
  if (histogram !== undefined) return mapHistograms(ev, e, grid, histogram);
  const date = DATE_FUNCTIONS.get(e.func);
  if (date !== undefined) return evalDate(ev, e, grid, date);
  switch (e.func) {
    case 'time':
      return scalarOf(grid, i => timeAt(grid, i) / 1000);
    case 'pi':
      return scalarOf(grid, () => Math.PI);
    case 'start':
      return scalarOf(grid, () => ev.ctx.settings.times.startMs / 1000);
    case 'end':
      return scalarOf(grid, () => ev.ctx.settings.times.endMs / 1000);
    case 'step':
      return scalarOf(grid, () => ev.ctx.settings.times.stepMs / 1000);
    case 'range':
      return scalarOf(grid, () => (ev.ctx.settings.times.endMs - ev.ctx.settings.times.startMs) / 1000);
    case 'min_of':
    case 'max_of': {
      const [a, b] = await scalars(ev, e, grid, 0);
      const pick = e.func === 'min_of' ? Math.min : Math.max;
      return scalarOf(grid, i => pick((a as Float64Array)[i] as number, (b as Float64Array)[i] as number));
    }
    case 'scalar':
      return scalarOfVector((await ev.evalVector(arg(e, 0), grid)).rows, grid);
    case 'vector': {
      const row = newRow(EMPTY_LABELS, grid.steps);
      row.values.set(await ev.evalScalar(arg(e, 0), grid));
      row.present.fill(1);
      return ev.finish(vectorOf([row]), 0);
    }
    case 'clamp': {
      const [min, max] = await scalars(ev, e, grid, 1);
      return clampRows(ev, e, grid, min as Float64Array, max as Float64Array);
    }
    case 'clamp_min':
      return clampRows(ev, e, grid, await ev.evalScalar(arg(e, 1), grid), null);
    case 'clamp_max':
      return clampRows(ev, e, grid, null, await ev.evalScalar(arg(e, 1), grid));
    case 'round': {
      const nearest = e.args.length > 1 ? await ev.evalScalar(arg(e, 1), grid) : null;
      return mapFloats(ev, e, grid, i => v => roundTo(v, nearest === null ? 1 : (nearest[i] as number)));
    }
    case 'timestamp':
    case 'start_timestamp':
      return timestamps(ev, e, grid);
    case 'absent':
      return ev.finish(vectorOf(absentRows(arg(e, 0), (await ev.evalVector(arg(e, 0), grid)).rows, grid)), 0);
    case 'sort':
    case 'sort_desc':
    case 'sort_by_label':
    case 'sort_by_label_desc':
      return sorted(ev, e, grid);
    case 'label_replace':
    case 'label_join':
      return relabelled(ev, e, grid);
    case 'histogram_quantile':
      return histogramQuantileCall(ev, e, grid);
    case 'histogram_quantiles':
      return histogramQuantilesCall(ev, e, grid);
    case 'histogram_fraction':
      return histogramFractionCall(ev, e, grid);
    case 'info':
      return evalInfo(ev, e, grid);
    default:
      throw new PromqlEvalError(`unknown function with name ${JSON.stringify(e.func)}`);
  }
}

export function arg(e: Call, i: number): Expr {
  return e.args[i] as Expr;
}

export function stringArg(e: Call, i: number): string {
  let a = arg(e, i);
  while (a.kind === 'paren' || a.kind === 'invariant') a = a.expr;
  if (a.kind === 'string') return a.value;
  throw new PromqlEvalError(`argument ${i + 1} of ${e.func}() must be a string literal`);
}

async function scalars(ev: Evaluator, e: Call, grid: Grid, from: number): Promise<Float64Array[]> {
  return Promise.all(e.args.slice(from).map(a => ev.evalScalar(a, grid)));
}

function scalarOf(grid: Grid, f: (step: number) => number): Value {
  const values = new Float64Array(grid.steps);
  for (let i = 0; i < grid.steps; i++) values[i] = f(i);
  return { kind: 'scalar', values };
}

/** The one float of the vector, else NaN. */
function scalarOfVector(rows: readonly Row[], grid: Grid): Value {
  const values = new Float64Array(grid.steps).fill(Number.NaN);
  const seen = new Uint8Array(grid.steps);
  for (const row of rows) {
    for (let i = 0; i < grid.steps; i++) {
      if (row.present[i] === 0) continue;
      values[i] = seen[i] === 0 ? (row.values[i] as number) : Number.NaN;
      seen[i] = 1;
    }
  }
  return { kind: 'scalar', values };
}

/** Changes every float; histograms drop out, and names with them. */
async function mapFloats(
  ev: Evaluator,
  e: Call,
  grid: Grid,
  at: (step: number) => (v: number) => number,
): Promise<Value> {
  const input = await ev.evalVector(arg(e, 0), grid);
  const before = countPoints(input.rows);
  const functions = Array.from({ length: grid.steps }, (_, i) => at(i));
  const rows: Row[] = [];
  for (const row of input.rows) {
    row.histograms = null;
    if (row.present.indexOf(1) < 0) continue;
    for (let i = 0; i < grid.steps; i++) {
      row.values[i] = (functions[i] as (v: number) => number)(row.values[i] as number);
    }
    rows.push(row);
  }
  return ev.finish({ ...input, rows: ev.dropNames(rows) }, before);
}

async function mapHistograms(ev: Evaluator, e: Call, grid: Grid, f: (h: FloatHistogram) => number): Promise<Value> {
  const input = await ev.evalVector(arg(e, 0), grid);
  const before = countPoints(input.rows);
  const rows: Row[] = [];
  for (const row of input.rows) {
    if (row.histograms === null) continue;
    const out = newRow(row.labels, grid.steps);
    out.dropName = row.dropName;
    for (let i = 0; i < grid.steps; i++) {
      const h = row.histograms[i] ?? null;
      if (h === null) continue;
      out.values[i] = f(h);
      out.present[i] = 1;
    }
    if (!isEmptyRow(out)) rows.push(out);
  }
  return ev.finish({ ...input, rows: ev.dropNames(rows) }, before);
}

async function evalDate(ev: Evaluator, e: Call, grid: Grid, f: (seconds: number) => number): Promise<Value> {
  if (e.args.length > 0) return mapFloats(ev, e, grid, () => f);
  const row = newRow(EMPTY_LABELS, grid.steps);
  for (let i = 0; i < grid.steps; i++) row.values[i] = f(Math.trunc(timeAt(grid, i) / 1000));
  row.present.fill(1);
  return ev.finish(vectorOf([row]), 0);
}

async function clampRows(
  ev: Evaluator,
  e: Call,
  grid: Grid,
  min: Float64Array | null,
  max: Float64Array | null,
): Promise<Value> {
  const input = await ev.evalVector(arg(e, 0), grid);
  const before = countPoints(input.rows);
  const rows: Row[] = [];
  for (const row of input.rows) {
    row.histograms = null;
    for (let i = 0; i < grid.steps; i++) {
      const low = min === null ? Number.NEGATIVE_INFINITY : (min[i] as number);
      const high = max === null ? Number.POSITIVE_INFINITY : (max[i] as number);
      if (high < low) row.present[i] = 0;
      else row.values[i] = clamp(row.values[i] as number, low, high);
    }
    if (!isEmptyRow(row)) rows.push(row);
  }
  return ev.finish({ ...input, rows: ev.dropNames(rows) }, before);
}

/** timestamp() of computed values: the time of evaluation. Their start timestamps are unknown. */
async function timestamps(ev: Evaluator, e: Call, grid: Grid): Promise<Value> {
  const input = await ev.evalVector(arg(e, 0), grid);
  if (e.func === 'start_timestamp') return ev.finish(vectorOf([]), countPoints(input.rows));
  const before = countPoints(input.rows);
  for (const row of input.rows) {
    row.present = presenceOf(row).slice();
    row.histograms = null;
    for (let i = 0; i < grid.steps; i++) row.values[i] = timeAt(grid, i) / 1000;
  }
  return ev.finish({ ...input, rows: ev.dropNames(input.rows) }, before);
}

/** 1 at the steps where no row has anything; labels as far as the selector fixes them. */
export function absentRows(e: Expr, rows: readonly Row[], grid: Grid): Row[] {
  const row = newRow(absentLabels(e), grid.steps);
  row.values.fill(1);
  row.present.fill(1);
  for (const r of rows) {
    const present = presenceOf(r);
    for (let i = 0; i < grid.steps; i++) if (present[i] === 1) row.present[i] = 0;
  }
  return isEmptyRow(row) ? [] : [row];
}

function absentLabels(e: Expr): readonly string[] {
  if (e.kind === 'selector') return labelsOfMatchers(e.matchers);
  if (e.kind === 'matrix') return labelsOfMatchers(e.selector.matchers);
  return e.kind === 'invariant' || e.kind === 'paren' ? absentLabels(e.expr) : EMPTY_LABELS;
}

async function sorted(ev: Evaluator, e: Call, grid: Grid): Promise<Value> {
  const input = await ev.evalVector(arg(e, 0), grid);
  const isRange = ev.ctx.settings.times.stepMs !== 0;
  if (isRange) ev.ctx.notes.warn(NOTES.sortInRange(), e.pos);
  const descending = e.func.endsWith('_desc');
  const direction = descending ? -1 : 1;
  let rows = input.rows;
  if (e.func === 'sort' || e.func === 'sort_desc') {
    for (const row of rows) row.histograms = null;
    rows = rows.filter(r => !isEmptyRow(r));
    if (grid.steps === 1) {
      rows.sort((a, b) => compareLabels(a.labels, b.labels));
      rows.sort((a, b) => byValue(a.values[0] as number, b.values[0] as number, descending ? 1 : -1));
    }
  } else {
    const names = e.args.slice(1).map((_, i) => stringArg(e, i + 1));
    rows.sort((a, b) => {
      for (const name of names) {
        const order = compareNatural(getLabel(a.labels, name), getLabel(b.labels, name));
        if (order !== 0) return direction * order;
      }
      return direction * compareLabels(a.labels, b.labels);
    });
  }
  return ev.finish(vectorOf(rows, true), countPoints(input.rows));
}

async function relabelled(ev: Evaluator, e: Call, grid: Grid): Promise<Value> {
  const input = await ev.evalVector(arg(e, 0), grid);
  const before = countPoints(input.rows);
  if (e.func === 'label_replace') {
    labelReplace(input.rows, stringArg(e, 1), stringArg(e, 2), stringArg(e, 3), stringArg(e, 4));
  } else {
    const sources = e.args.slice(3).map((_, i) => stringArg(e, i + 3));
    labelJoin(input.rows, stringArg(e, 1), stringArg(e, 2), sources);
  }
  return ev.finish({ ...input, rows: mergeSameLabels(input.rows) }, before);
}
