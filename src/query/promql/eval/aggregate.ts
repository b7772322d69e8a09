/**
 * Aggregates over rows: the ones that make a new row per group. topk and its kin, which pick rows, are in select.ts.
 *
 * sum, avg, count, min, max and group share their float columns with the leaves (leaf-aggregate.ts). Histograms of a sum or
 * average are gathered by step and added up at the end.
 */
import { formatFloatF } from '../../../lib/go-float.ts';
import type { FloatHistogram } from '../../../model/histogram.ts';
import { formatHistogram } from '../../../model/histogram-format.ts';
import { avgHistograms, sumHistograms } from '../../../model/histogram-math.ts';
import { EMPTY_LABELS, getLabel, type Labels, METRIC_NAME, withLabel } from '../../../model/labels.ts';
import type { Annotations } from '../annotations.ts';
import type { Aggregate, Position } from '../ast.ts';
import { NOTES } from '../functions/notes.ts';
import { quantileOf } from '../functions/quantile.ts';
import { finishPartial, Grouping, PartialAggregate, type PartialOp } from '../leaf-aggregate.ts';
import type { EvalContext } from './context.ts';
import { isEmptyRow, newRow, presenceOf, putHistogram, type Row } from './value.ts';

export function isPartialOp(op: Aggregate['op']): op is PartialOp {
  return op === 'sum' || op === 'avg' || op === 'count' || op === 'min' || op === 'max' || op === 'group';
}

interface HistogramGroup {
  /** Histograms of the group by step, in the order of the rows. */
  byStep: (FloatHistogram[] | undefined)[];
  metric: string;
}

export async function aggregateRows(
  ctx: EvalContext,
  e: Aggregate,
  rows: readonly Row[],
  steps: number,
): Promise<Row[]> {
  const { notes } = ctx;
  const op = e.op as PartialOp;
  const grouping = new Grouping(e.without, e.grouping);
  const partial = new PartialAggregate(op, steps);
  const dropName: boolean[] = [];
  const histograms: (HistogramGroup | undefined)[] = [];
  for (const row of rows) {
    if (ctx.due()) await ctx.pause();
    const group = grouping.indexOf(row.labels);
    const labels = grouping.labels[group] as Labels;
    partial.fold(group, labels, row.values, row.present);
    dropName[group] = dropName[group] === true || row.dropName;
    if (row.histograms === null) continue;
    for (let i = 0; i < steps; i++) {
      const h = row.histograms[i] ?? null;
      if (h === null) continue;
      if (op === 'count' || op === 'group') partial.foldHistogramStep(group, labels, i);
      else if (op === 'min' || op === 'max') notes.info(NOTES.histogramIgnoredInAggregation(op), e.expr.pos);
      else gather(histograms, group, i, h, row);
    }
  }
  const out: Row[] = [];
  partial.rows.forEach((state, group) => {
    finishPartial(op, state);
    const row: Row = {
      labels: state.labels,
      dropName: dropName[group] === true,
      values: state.values,
      present: state.present,
      histograms: null,
    };
    const gathered = histograms[group];
    if (gathered !== undefined) addHistogramGroups(row, gathered, op, notes, e.expr.pos);
    if (!isEmptyRow(row)) out.push(row);
  });
  return out;
}

function gather(
  groups: (HistogramGroup | undefined)[],
  group: number,
  step: number,
  h: FloatHistogram,
  row: Row,
): void {
  let g = groups[group];
  if (g === undefined) {
    g = { byStep: [], metric: getLabel(row.labels, METRIC_NAME) };
    groups[group] = g;
  }
  const list = g.byStep[step];
  if (list === undefined) g.byStep[step] = [h];
  else list.push(h);
}

function addHistogramGroups(row: Row, group: HistogramGroup, op: PartialOp, notes: Annotations, pos: Position): void {
  for (let i = 0; i < row.values.length; i++) {
    const list = group.byStep[i];
    if (list === undefined) continue;
    if (row.present[i] === 1) {
      row.present[i] = 0;
      notes.warn(NOTES.mixedFloatsHistogramsAggregation(), pos);
      continue;
    }
    const { result, collision, reconciled } = op === 'sum' ? sumHistograms(list) : avgHistograms(list);
    if (reconciled) notes.info(NOTES.mismatchedCustomBuckets('aggregation'), pos);
    if (result === null) {
      notes.warn(NOTES.mixedExponentialCustom(group.metric), pos);
      continue;
    }
    if (collision) notes.warn(NOTES.counterResetCollision('aggregation'), pos);
    putHistogram(row, i, result);
  }
}

/** stddev, stdvar and quantile: functions of all floats of a group at a step. */
export async function aggregateValues(
  ctx: EvalContext,
  e: Aggregate,
  param: Float64Array | null,
  rows: readonly Row[],
  steps: number,
): Promise<Row[]> {
  const { notes } = ctx;
  if (e.op === 'quantile') noteQuantiles(param as Float64Array, notes, (e.param as NonNullable<typeof e.param>).pos);
  const grouping = new Grouping(e.without, e.grouping);
  const members: Row[][] = [];
  for (const row of rows) {
    const group = grouping.indexOf(row.labels);
    const list = members[group];
    if (list === undefined) members[group] = [row];
    else list.push(row);
    if (row.histograms?.some(h => h !== null)) notes.info(NOTES.histogramIgnoredInAggregation(e.op), e.expr.pos);
  }
  const out: Row[] = [];
  for (const [index, group] of members.entries()) {
    const row = newRow(grouping.labels[index] as Labels, steps);
    row.dropName = group.some(r => r.dropName);
    const scratch = new Float64Array(group.length);
    for (let i = 0; i < steps; i++) {
      if (ctx.due()) await ctx.pause();
      let n = 0;
      for (const r of group) if (r.present[i] === 1) scratch[n++] = r.values[i] as number;
      if (n === 0) continue;
      row.present[i] = 1;
      if (e.op === 'quantile') {
        row.values[i] = quantileOf((param as Float64Array)[i] as number, scratch, n);
      } else {
        const variance = varianceOf(scratch, n);
        row.values[i] = e.op === 'stddev' ? Math.sqrt(variance) : variance;
      }
    }
    if (!isEmptyRow(row)) out.push(row);
  }
  return out;
}

function noteQuantiles(q: Float64Array, notes: Annotations, pos: Position): void {
  let min = Number.POSITIVE_INFINITY;
  let max = Number.NEGATIVE_INFINITY;
  let nan = false;
  for (const v of q) {
    if (v !== v) nan = true;
    if (v < min) min = v;
    if (v > max) max = v;
  }
  if (nan) notes.warn(NOTES.invalidQuantile(Number.NaN), pos);
  if (max > 1) notes.warn(NOTES.invalidQuantile(max), pos);
  if (min < 0) notes.warn(NOTES.invalidQuantile(min), pos);
}

/** Welford's; a first value that is not finite spoils the rest. */
function varianceOf(values: Float64Array, n: number): number {
  let mean = values[0] as number;
  let sum = Number.isFinite(mean) ? 0 : Number.NaN;
  for (let i = 1; i < n; i++) {
    const v = values[i] as number;
    const d = v - mean;
    mean += d / (i + 1);
    sum += d * (v - mean);
  }
  return sum / n;
}

/** count_values: a row per group and distinct value, the value as a label. */
export async function countValues(
  ctx: EvalContext,
  e: Aggregate,
  label: string,
  rows: readonly Row[],
  steps: number,
): Promise<Row[]> {
  const grouping = new Grouping(e.without, e.without ? e.grouping : [...e.grouping, label]);
  const out: Row[] = [];
  for (const row of rows) {
    if (ctx.due()) await ctx.pause();
    const present = presenceOf(row);
    for (let i = 0; i < steps; i++) {
      if (present[i] === 0) continue;
      const h = row.histograms?.[i] ?? null;
      const text = h === null ? formatFloatF(row.values[i] as number) : formatHistogram(h);
      const group = grouping.indexOf(withLabel(row.labels, label, text));
      let counted = out[group];
      if (counted === undefined) {
        counted = newRow(grouping.labels[group] ?? EMPTY_LABELS, steps);
        out[group] = counted;
      }
      counted.values[i] = (counted.values[i] as number) + 1;
      counted.present[i] = 1;
    }
  }
  return out;
}
