/**
 * histogram_quantile, histogram_quantiles and histogram_fraction over a vector that may hold both kinds of histograms:
 * native ones as samples, classic ones as series by `le`. Where both stand for the same labels at a step, neither counts.
 */

import { formatFloatG, parseFloatGo } from '../../../lib/go-float.ts';
import type { FloatHistogram } from '../../../model/histogram.ts';
import { dropLabels, getLabel, type Labels, labelsKey, METRIC_NAME, withLabel } from '../../../model/labels.ts';
import { type Grid, timeAt } from '../../shared/grid.ts';
import type { Call, Expr, Position } from '../ast.ts';
import { type ClassicBucket, classicFraction, classicQuantile } from '../functions/classic-histogram.ts';
import { nativeFraction, nativeQuantile } from '../functions/histogram-quantile.ts';
import { NOTES } from '../functions/notes.ts';
import type { Evaluator } from './evaluator.ts';
import { countPoints, isEmptyRow, newRow, type Row, type Value, vectorOf } from './value.ts';
import { arg, stringArg } from './vector-call.ts';

const LE = new Set(['le']);

/** One histogram series of either kind. */
interface Family {
  labels: Labels;
  metric: string;
  dropName: boolean;
  /** Rows of native histograms with these labels (one). */
  native: Row[];
  /** Bucket rows by ascending bound. */
  classic: { upper: number; row: Row }[];
}

interface Computation {
  native(h: FloatHistogram, family: Family, step: number): number;
  classic(buckets: ClassicBucket[], family: Family, step: number): number;
}

function families(ev: Evaluator, rows: readonly Row[], pos: Position): Family[] {
  const byKey = new Map<string, Family>();
  const familyOf = (labels: Labels, row: Row): Family => {
    const key = labelsKey(labels);
    let f = byKey.get(key);
    if (f === undefined) {
      f = { labels, metric: getLabel(labels, METRIC_NAME), dropName: row.dropName, native: [], classic: [] };
      byKey.set(key, f);
    }
    return f;
  };
  for (const row of rows) {
    if (row.histograms?.some(h => h !== null)) familyOf(row.labels, row).native.push(row);
    if (row.present.indexOf(1) < 0) continue;
    const le = getLabel(row.labels, 'le');
    const upper = parseFloatGo(le);
    if (upper === null) {
      const name = ev.ctx.delayedNames ? getLabel(row.labels, METRIC_NAME) : '';
      ev.ctx.notes.warn(NOTES.badBucketLabel(name, le), pos);
      continue;
    }
    familyOf(dropLabels(row.labels, LE), row).classic.push({ upper, row });
  }
  const out = [...byKey.values()];
  for (const f of out) f.classic.sort((a, b) => a.upper - b.upper);
  return out;
}

async function compute(
  ev: Evaluator,
  list: readonly Family[],
  grid: Grid,
  pos: Position,
  c: Computation,
): Promise<Row[]> {
  const out: Row[] = [];
  for (const f of list) {
    if (ev.ctx.due()) await ev.ctx.pause();
    const row = newRow(f.labels, grid.steps);
    row.dropName = f.dropName;
    for (let i = 0; i < grid.steps; i++) {
      let h: FloatHistogram | null = null;
      for (const n of f.native) h ??= n.histograms?.[i] ?? null;
      const buckets: ClassicBucket[] = [];
      for (const b of f.classic) {
        if (b.row.present[i] === 1) buckets.push({ upper: b.upper, count: b.row.values[i] as number });
      }
      if (h !== null && buckets.length > 0) {
        ev.ctx.notes.warn(NOTES.mixedClassicNative(ev.ctx.delayedNames ? f.metric : ''), pos);
        continue;
      }
      if (h !== null) row.values[i] = c.native(h, f, i);
      else if (buckets.length > 0) row.values[i] = c.classic(buckets, f, i);
      else continue;
      row.present[i] = 1;
    }
    if (!isEmptyRow(row)) out.push(row);
  }
  return out;
}

function noteQuantiles(ev: Evaluator, q: Float64Array, pos: Position): void {
  for (const v of q) if (!(v >= 0 && v <= 1)) ev.ctx.notes.warn(NOTES.invalidQuantile(v), pos);
}

function quantileComputation(ev: Evaluator, q: Float64Array, grid: Grid, pos: Position): Computation {
  // Without delayed removal the name is gone by the time that notes are made.
  const name = (f: Family): string => (ev.ctx.delayedNames ? f.metric : '');
  return {
    native(h, f, step) {
      const result = nativeQuantile(q[step] as number, h);
      if (result.nan === 'result') ev.ctx.notes.info(NOTES.quantileNaNResult(name(f)), pos);
      if (result.nan === 'skew') ev.ctx.notes.info(NOTES.quantileNaNSkew(name(f)), pos);
      return result.value;
    },
    classic(buckets, f, step) {
      const result = classicQuantile(q[step] as number, buckets);
      if (result.forced !== null) {
        ev.ctx.notes.forcedMonotonicity({ name: name(f), timeMs: timeAt(grid, step), ...result.forced }, pos);
      }
      return result.value;
    },
  };
}

export async function histogramQuantileCall(ev: Evaluator, e: Call, grid: Grid): Promise<Value> {
  const q = await ev.evalScalar(arg(e, 0), grid);
  const input = await ev.evalVector(arg(e, 1), grid);
  const before = countPoints(input.rows);
  const [qPos, vectorPos] = [arg(e, 0).pos, arg(e, 1).pos];
  noteQuantiles(ev, q, qPos);
  const list = families(ev, input.rows, vectorPos);
  const rows = await compute(ev, list, grid, vectorPos, quantileComputation(ev, q, grid, vectorPos));
  return ev.finish(vectorOf(ev.dropNames(rows)), before);
}

export async function histogramQuantilesCall(ev: Evaluator, e: Call, grid: Grid): Promise<Value> {
  const input = await ev.evalVector(arg(e, 0), grid);
  const before = countPoints(input.rows);
  const label = stringArg(e, 1);
  const pos = arg(e, 0).pos;
  const list = families(ev, input.rows, pos);
  const rows: Row[] = [];
  for (let k = 2; k < e.args.length; k++) {
    const expr = e.args[k] as Expr;
    const q = await ev.evalScalar(expr, grid);
    noteQuantiles(ev, q, expr.pos);
    const computed = await compute(ev, list, grid, pos, quantileComputation(ev, q, grid, pos));
    for (const row of computed) rows.push(...splitByQuantile(row, label, q));
  }
  return ev.finish(vectorOf(ev.dropNames(rows)), before);
}

/** A row per distinct quantile value: the label follows the value, which may change from step to step. */
function splitByQuantile(row: Row, label: string, q: Float64Array): Row[] {
  const byText = new Map<string, Row>();
  for (let i = 0; i < q.length; i++) {
    if (row.present[i] === 0) continue;
    const text = quantileText(q[i] as number);
    let out = byText.get(text);
    if (out === undefined) {
      out = newRow(withLabel(row.labels, label, text), q.length);
      out.dropName = row.dropName;
      byText.set(text, out);
    }
    out.values[i] = row.values[i] as number;
    out.present[i] = 1;
  }
  return [...byText.values()];
}

/** OpenMetrics' way: whole numbers keep a `.0`. */
function quantileText(q: number): string {
  const text = formatFloatG(q);
  return /^-?\d+$/.test(text) ? `${text}.0` : text;
}

export async function histogramFractionCall(ev: Evaluator, e: Call, grid: Grid): Promise<Value> {
  const lower = await ev.evalScalar(arg(e, 0), grid);
  const upper = await ev.evalScalar(arg(e, 1), grid);
  const input = await ev.evalVector(arg(e, 2), grid);
  const before = countPoints(input.rows);
  const pos = arg(e, 2).pos;
  const list = families(ev, input.rows, pos);
  const rows = await compute(ev, list, grid, pos, {
    native(h, f, step) {
      const [from, to] = [lower[step] as number, upper[step] as number];
      if (h.sum !== h.sum && h.count !== 0 && from < to)
        ev.ctx.notes.info(NOTES.fractionNaNs(ev.ctx.delayedNames ? f.metric : ''), pos);
      return nativeFraction(from, to, h);
    },
    classic: (buckets, _, step) => classicFraction(lower[step] as number, upper[step] as number, buckets),
  });
  return ev.finish(vectorOf(ev.dropNames(rows)), before);
}
