/**
 * Subqueries: the inner expression over a grid of its own, whose rows then serve as the samples of range functions.
 *
 * Inner steps are multiples of the subquery's step since the epoch, so that neighbouring outer steps see the same inner
 * samples. Start timestamps end here, and so do counter-reset hints: between samples that were picked by step they say nothing.
 */
import type { RawSeries } from '../../../contracts/leaf-source.ts';
import { growSampleBuffer, newSampleBuffer, type SampleBuffer } from '../../../contracts/sample-source.ts';
import type { FloatHistogram } from '../../../model/histogram.ts';
import { HINT_COUNTER_RESET, HINT_NOT_COUNTER_RESET, HINT_UNKNOWN } from '../../../model/histogram.ts';
import { withHint } from '../../../model/histogram-math.ts';
import { getLabel, METRIC_NAME } from '../../../model/labels.ts';
import { endOf, type Grid, rangeGrid, timeAt } from '../../shared/grid.ts';
import type { Call, Expr, Subquery } from '../ast.ts';
import { LeafNotes, NOTES } from '../functions/notes.ts';
import { FLOAT, HISTOGRAM, RangeCall } from '../functions/range-call.ts';
import { keepsName, RANGE_FUNCTIONS } from '../functions/range-table.ts';
import { newWindowSet, SeriesWindow } from '../functions/window.ts';
import { addWindowCounts } from '../leaf.ts';
import type { Evaluator } from './evaluator.ts';
import { countPoints, isEmptyRow, mergeSameLabels, newRow, putHistogram, type Row, withoutMetadata } from './value.ts';

/** The inner rows and the grid they are on, for all windows of the outer grid. */
export async function evalSubquery(ev: Evaluator, e: Subquery, grid: Grid): Promise<{ rows: Row[]; grid: Grid }> {
  const inner = innerGrid(ev, e, grid);
  const value = await ev.eval(e.expr, inner);
  if (value.kind === 'vector') return { rows: value.rows, grid: inner };
  if (value.kind === 'scalar') {
    const row = newRow([], inner.steps);
    row.values.set(value.values);
    row.present.fill(1);
    return { rows: [row], grid: inner };
  }
  throw new Error('BUG: a subquery of a string');
}

function innerGrid(ev: Evaluator, e: Subquery, grid: Grid): Grid {
  const step = e.stepMs > 0 ? e.stepMs : ev.ctx.settings.defaultSubqueryStepMs;
  const from = (e.atMs ?? grid.startMs) - e.offsetMs - e.rangeMs;
  const to = (e.atMs ?? endOf(grid)) - e.offsetMs;
  // The window is open at its left end.
  const start = Math.floor(from / step) * step + step;
  const inner = rangeGrid(start, to, step);
  ev.ctx.checkSteps(inner.steps);
  return inner;
}

/** A range function over a subquery's rows. */
export async function rangeFunctionOverRows(
  ev: Evaluator,
  e: Call,
  subquery: Subquery,
  args: readonly Float64Array[],
  grid: Grid,
): Promise<Row[]> {
  const inner = await evalSubquery(ev, subquery, grid);
  const set = newWindowSet(
    grid,
    { atMs: subquery.atMs, offsetMs: subquery.offsetMs, rangeMs: subquery.rangeMs, extended: null },
    0,
    0,
  );
  const notes = new LeafNotes();
  const window = new SeriesWindow(set);
  const call = new RangeCall(window, args, notes);
  const func = RANGE_FUNCTIONS.get(e.func) as (c: RangeCall) => 0 | 1 | 2;
  const drops = !keepsName(e.func);
  const buffer = newSampleBuffer(inner.grid.steps);
  const counts = ev.ctx.counts?.get(grid);
  const out: Row[] = [];
  for (const row of inner.rows) {
    if (ev.ctx.due()) await ev.ctx.pause();
    fillBuffer(buffer, row, inner.grid);
    window.attach(row.labels, buffer, false);
    window.locate();
    if (counts !== undefined) addWindowCounts(window, counts);
    const result = newRow(row.labels, grid.steps);
    for (let i = 0; i < grid.steps; i++) {
      call.moveTo(i);
      const outcome = func(call);
      if (outcome === FLOAT) {
        result.values[i] = call.value;
        result.present[i] = 1;
      } else if (outcome === HISTOGRAM) putHistogram(result, i, call.histogram as FloatHistogram);
    }
    if (isEmptyRow(result)) continue;
    noteNonCounter(ev, e, row, result, notes);
    result.dropName = drops || row.dropName;
    if (drops && !ev.ctx.delayedNames) result.labels = withoutMetadata(row.labels);
    out.push(result);
  }
  const pos = (e.args[0] as Expr).pos;
  for (const n of notes.warnings) ev.ctx.notes.warn(n.message, pos);
  for (const n of notes.infos) ev.ctx.notes.info(n.message, pos);
  const merged = ev.ctx.delayedNames ? out : mergeSameLabels(out);
  ev.ctx.replace(countPoints(inner.rows), countPoints(merged));
  return merged;
}

function noteNonCounter(ev: Evaluator, e: Call, row: Row, result: Row, notes: LeafNotes): void {
  if (e.func !== 'rate' && e.func !== 'increase') return;
  const name = getLabel(row.labels, METRIC_NAME);
  if (name === '' || result.present.indexOf(1) < 0) return;
  if (ev.ctx.settings.features.typeAndUnitLabels) {
    const type = getLabel(row.labels, '__type__');
    if (type !== 'counter' && type !== 'histogram') notes.info(NOTES.possibleNonCounterLabel(name, type));
  } else if (!/(_total|_sum|_count|_bucket)$/.test(name)) notes.info(NOTES.possibleNonCounter(name));
}

function fillBuffer(buffer: SampleBuffer, row: Row, grid: Grid): void {
  growSampleBuffer(buffer, grid.steps);
  buffer.length = 0;
  buffer.histogramLength = 0;
  for (let i = 0; i < grid.steps; i++) {
    if (row.present[i] === 1) {
      buffer.timestamps[buffer.length] = timeAt(grid, i);
      buffer.values[buffer.length++] = row.values[i] as number;
      continue;
    }
    const h = row.histograms?.[i] ?? null;
    if (h === null) continue;
    buffer.histogramTimestamps[buffer.histogramLength] = timeAt(grid, i);
    buffer.histograms[buffer.histogramLength++] = forgetResetHint(h);
  }
}

function forgetResetHint(h: FloatHistogram): FloatHistogram {
  const known = h.counterResetHint === HINT_COUNTER_RESET || h.counterResetHint === HINT_NOT_COUNTER_RESET;
  return known ? withHint(h, HINT_UNKNOWN) : h;
}

/** Rows as raw series, for a query whose result is the subquery itself. */
export function rawOfRows(rows: readonly Row[], grid: Grid): RawSeries[] {
  const out: RawSeries[] = [];
  const buffer = newSampleBuffer(grid.steps);
  for (const row of rows) {
    fillBuffer(buffer, { ...row, histograms: null }, grid);
    const histogramTimestamps: number[] = [];
    const histograms: FloatHistogram[] = [];
    row.histograms?.forEach((h, i) => {
      if (h === null) return;
      histogramTimestamps.push(timeAt(grid, i));
      histograms.push(h);
    });
    if (buffer.length + histograms.length === 0) continue;
    out.push({
      labels: row.labels,
      timestamps: buffer.timestamps.slice(0, buffer.length),
      values: buffer.values.slice(0, buffer.length),
      startTimestamps: null,
      histogramTimestamps,
      histograms,
      histogramStartTimestamps: null,
    });
  }
  return out;
}
