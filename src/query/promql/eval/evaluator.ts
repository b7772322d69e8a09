/**
 * The evaluator: a planned tree and a grid to a value, bottom up, each node over the whole grid at once.
 *
 * Leaves (selectors, range functions over them, and partial aggregates on top) go to the LeafSource; everything above
 * works on rows. Step-invariant subtrees are evaluated at one step and spread. Operands of a binary operator are evaluated
 * side by side, so that their leaves run on all shards together.
 */
import { type LeafPlan, type LeafRow, PromqlEvalError } from '../../../contracts/leaf-source.ts';
import { scaleHistogram } from '../../../model/histogram-math.ts';
import { METRIC_NAME } from '../../../model/labels.ts';
import { endOf, type Grid } from '../../shared/grid.ts';
import type { Aggregate, Binary, Call, Expr, MatrixSelector, Position, StepInvariant, VectorSelector } from '../ast.ts';
import { ANCHORED_FUNCTIONS, keepsName, RANGE_FUNCTIONS, SMOOTHED_FUNCTIONS } from '../functions/range-table.ts';
import { finishPartial } from '../leaf-aggregate.ts';
import { typeOf } from '../validate.ts';
import { aggregateRows, aggregateValues, countValues, isPartialOp } from './aggregate.ts';
import { setOperation, vectorScalar, vectorVector } from './binary.ts';
import type { EvalContext } from './context.ts';
import { arithmetic, compare, isComparison, isSetOperator } from './operators.ts';
import { selectRows } from './select.ts';
import { evalSubquery, rangeFunctionOverRows } from './subquery.ts';
import {
  countPoints,
  isEmptyRow,
  mergeSameLabels,
  type Row,
  refuseSameLabels,
  type Value,
  type VectorValue,
  vectorOf,
  withoutMetadata,
} from './value.ts';
import { absentRows, evalVectorCall } from './vector-call.ts';

export class Evaluator {
  readonly ctx: EvalContext;

  constructor(ctx: EvalContext) {
    this.ctx = ctx;
  }

  async eval(e: Expr, grid: Grid): Promise<Value> {
    if (grid.steps === 0) return emptyValue(e);
    switch (e.kind) {
      case 'number':
        return { kind: 'scalar', values: new Float64Array(grid.steps).fill(e.value) };
      case 'string':
        return { kind: 'string', value: e.value };
      case 'paren':
        return this.eval(e.expr, grid);
      case 'invariant':
        return this.evalInvariant(e, grid);
      case 'selector':
        return this.evalLeaf(e, grid, { func: 'instant', selector: e, rangeMs: 0, args: [], pos: e.pos }, null);
      case 'unary':
        return this.evalUnary(e.op, await this.eval(e.expr, grid));
      case 'binary':
        return this.evalBinary(e, grid);
      case 'aggregate':
        return this.evalAggregate(e, grid);
      case 'call':
        return this.evalCall(e, grid);
      case 'subquery':
        return vectorOf((await evalSubquery(this, e, grid)).rows);
      case 'matrix':
      case 'duration':
        throw new PromqlEvalError(`cannot evaluate a ${e.kind} expression here`);
    }
  }

  async evalVector(e: Expr, grid: Grid): Promise<VectorValue> {
    const value = await this.eval(e, grid);
    if (value.kind === 'vector') return value;
    throw new Error(`BUG: expected a vector, got a ${value.kind}`);
  }

  async evalScalar(e: Expr, grid: Grid): Promise<Float64Array> {
    const value = await this.eval(e, grid);
    if (value.kind === 'scalar') return value.values;
    throw new Error(`BUG: expected a scalar, got a ${value.kind}`);
  }

  /** Keeps the books and the labels in order after a node made `value` of operands with `before` samples. */
  finish(value: Value, before: number): Value {
    if (value.kind === 'vector') this.ctx.replace(before, countPoints(value.rows));
    return value;
  }

  private async evalInvariant(e: StepInvariant, grid: Grid): Promise<Value> {
    const once = { startMs: grid.startMs, stepMs: 0, steps: 1 };
    if (this.ctx.counts?.has(grid) === true) this.ctx.countOn(once);
    const value = await this.eval(e.expr, once);
    this.ctx.countOnce(once, grid);
    if (grid.steps === 1 || value.kind === 'string') return value;
    if (value.kind === 'scalar') {
      return { kind: 'scalar', values: new Float64Array(grid.steps).fill(value.values[0] as number) };
    }
    const before = countPoints(value.rows);
    // Counted before room is made for it.
    this.ctx.replace(before, before * grid.steps);
    const rows = value.rows.map(row => ({
      ...row,
      values: new Float64Array(grid.steps).fill(row.values[0] as number),
      present: new Uint8Array(grid.steps).fill(row.present[0] as number),
      histograms: row.histograms === null ? null : new Array(grid.steps).fill(row.histograms[0] ?? null),
    }));
    return vectorOf(rows);
  }

  /** Asks the source for a leaf, with a partial aggregate on top where one is given. */
  private async evalLeaf(e: Expr, grid: Grid, leaf: Leaf, aggregate: Aggregate | null): Promise<VectorValue> {
    const { ctx } = this;
    const { features, lookbackMs } = ctx.settings;
    checkExtended(leaf);
    const drops = !keepsName(leaf.func);
    const plan: LeafPlan = {
      matchers: leaf.selector.matchers,
      startMs: grid.startMs,
      endMs: endOf(grid),
      stepMs: grid.steps === 1 ? 0 : grid.stepMs,
      offsetMs: leaf.selector.offsetMs,
      atMs: leaf.selector.atMs,
      rangeMs: leaf.rangeMs,
      lookbackMs,
      func: leaf.func,
      args: leaf.args,
      dropName: drops && !ctx.delayedNames,
      aggregate:
        aggregate !== null && isPartialOp(aggregate.op)
          ? { op: aggregate.op, without: aggregate.without, labels: aggregate.grouping }
          : null,
      extended: leaf.selector.extended,
      maxSamples: ctx.room,
      startTimestamps: features.startTimestamps,
      typeAndUnitLabels: features.typeAndUnitLabels,
      histogramStats: ctx.settings.statsSelectors.has(leaf.selector),
      countSteps: ctx.counts?.has(grid) === true,
    };
    const result = await ctx.settings.source.evalLeaf(ctx.settings.tenant, plan, ctx.settings.signal);
    ctx.noteLeaf(result, grid);
    this.noteAll(result.warnings, leaf.pos, e, (m, p) => ctx.notes.warn(m, p));
    this.noteAll(result.infos, leaf.pos, e, (m, p) => ctx.notes.info(m, p));
    const rows = result.rows.map(r => rowOfLeaf(r, drops && ctx.delayedNames));
    ctx.replace(0, countPoints(rows));
    if (aggregate !== null && isPartialOp(aggregate.op)) {
      if (result.declined === true) {
        return vectorOf(await aggregateRows(ctx, aggregate, rows, grid.steps));
      }
      for (const row of result.rows) finishPartial(aggregate.op, row);
      return vectorOf(rows.filter(r => !isEmptyRow(r)));
    }
    if (plan.dropName && !fixesName(leaf.selector) && leaf.func !== 'absent_over_time') refuseSameLabels(rows);
    return vectorOf(rows);
  }

  private noteAll(
    notes: readonly { message: string; of?: 'function' | 'aggregate' | 'source' }[],
    pos: Position,
    e: Expr,
    add: (message: string, pos: Position | null) => void,
  ): void {
    const aggregatePos = e.kind === 'aggregate' ? e.expr.pos : pos;
    for (const n of notes) add(n.message, n.of === 'source' ? null : n.of === 'aggregate' ? aggregatePos : pos);
  }

  private evalUnary(op: '+' | '-', value: Value): Value {
    if (op === '+' || value.kind === 'string') return value;
    if (value.kind === 'scalar') return { kind: 'scalar', values: value.values.map(v => -v) };
    for (const row of value.rows) {
      for (let i = 0; i < row.values.length; i++) row.values[i] = -(row.values[i] as number);
      if (row.histograms !== null)
        row.histograms = row.histograms.map(h => (h === null ? null : scaleHistogram(h, -1)));
    }
    return { ...value, rows: this.dropNames(value.rows) };
  }

  /** The rows are another quantity now: their names go, at once or from the final result. */
  dropNames(rows: Row[]): Row[] {
    if (this.ctx.delayedNames) {
      for (const row of rows) row.dropName = true;
      return rows;
    }
    for (const row of rows) row.labels = withoutMetadata(row.labels);
    return mergeSameLabels(rows);
  }

  private async evalBinary(e: Binary, grid: Grid): Promise<Value> {
    const [left, right] = await Promise.all([this.eval(e.left, grid), this.eval(e.right, grid)]);
    if (left.kind === 'scalar' && right.kind === 'scalar') {
      return { kind: 'scalar', values: scalarScalar(e, left.values, right.values) };
    }
    const before =
      (left.kind === 'vector' ? countPoints(left.rows) : 0) + (right.kind === 'vector' ? countPoints(right.rows) : 0);
    const rows = await this.binaryRows(e, left, right, grid.steps);
    const ordered = left.kind === 'vector' && left.ordered && (right.kind === 'scalar' || isSetOperator(e.op));
    return this.finish(vectorOf(mergeSameLabels(rows), ordered), before);
  }

  private async binaryRows(e: Binary, left: Value, right: Value, steps: number): Promise<Row[]> {
    const { notes, delayedNames } = this.ctx;
    if (this.ctx.due()) await this.ctx.pause();
    if (left.kind === 'vector' && right.kind === 'vector') {
      if (isSetOperator(e.op)) return setOperation(e, left.rows, right.rows, steps);
      return vectorVector(this.ctx, e, left.rows, right.rows, steps);
    }
    if (left.kind === 'vector' && right.kind === 'scalar') {
      return vectorScalar(e, left.rows, right.values, false, notes, delayedNames);
    }
    if (left.kind === 'scalar' && right.kind === 'vector') {
      return vectorScalar(e, right.rows, left.values, true, notes, delayedNames);
    }
    throw new Error(`BUG: ${e.op} between ${left.kind} and ${right.kind}`);
  }

  private async evalAggregate(e: Aggregate, grid: Grid): Promise<Value> {
    const leaf = isPartialOp(e.op) ? await this.leafOf(e.expr, grid) : null;
    // Without delayed removal a name that goes may leave two series alike, which only the engine can see.
    if (leaf !== null && (this.ctx.delayedNames || keepsName(leaf.func) || fixesName(leaf.selector))) {
      const value = await this.evalLeaf(e, grid, leaf, e);
      if (this.ctx.delayedNames && !keepsName(leaf.func)) for (const row of value.rows) row.dropName = true;
      return value;
    }
    const param = e.param === null || e.op === 'count_values' ? null : await this.evalScalar(e.param, grid);
    const input = await this.evalVector(e.expr, grid);
    const before = countPoints(input.rows);
    const rows = await this.aggregate(e, param, input.rows, grid.steps);
    const ordered = (e.op === 'topk' || e.op === 'bottomk') && grid.steps === 1;
    return this.finish(vectorOf(rows, ordered), before);
  }

  private aggregate(e: Aggregate, param: Float64Array | null, rows: Row[], steps: number): Promise<Row[]> {
    const { ctx } = this;
    switch (e.op) {
      case 'topk':
      case 'bottomk':
      case 'limitk':
      case 'limit_ratio':
        return selectRows(ctx, e, param as Float64Array, rows, steps);
      case 'stddev':
      case 'stdvar':
      case 'quantile':
        return aggregateValues(ctx, e, param, rows, steps);
      case 'count_values':
        return countValues(ctx, e, this.valueLabel(e), rows, steps);
      default:
        return aggregateRows(ctx, e, rows, steps);
    }
  }

  private valueLabel(e: Aggregate): string {
    const param = e.param as Expr & { value: string };
    // Bytes that are no UTF-8 have become U+FFFD in the parser; the query still has them as they were written.
    if (param.value === '' || param.value.includes('\ufffd')) {
      throw new PromqlEvalError(`invalid label name ${this.ctx.notes.sourceText(param.pos)}`);
    }
    return param.value;
  }

  /** What `e` asks of a selector, where it is nothing but a leaf. */
  private async leafOf(e: Expr, grid: Grid): Promise<Leaf | null> {
    if (e.kind === 'selector') return { func: 'instant', selector: e, rangeMs: 0, args: [], pos: e.pos };
    if (e.kind !== 'call' || e.func === 'absent_over_time') return null;
    const matrix = e.args.find(a => a.kind === 'matrix') as MatrixSelector | undefined;
    if (matrix === undefined || !RANGE_FUNCTIONS.has(e.func)) return null;
    return this.rangeLeaf(e, matrix, grid);
  }

  private async rangeLeaf(e: Call, matrix: MatrixSelector, grid: Grid): Promise<Leaf> {
    return {
      func: e.func,
      selector: matrix.selector,
      rangeMs: matrix.rangeMs,
      args: await this.scalarArgs(e, grid),
      pos: (e.args[0] as Expr).pos,
    };
  }

  private async scalarArgs(e: Call, grid: Grid): Promise<Float64Array[]> {
    const out: Float64Array[] = [];
    for (const a of e.args) if (typeOf(a) === 'scalar') out.push(await this.evalScalar(a, grid));
    return out;
  }

  private async evalCall(e: Call, grid: Grid): Promise<Value> {
    if (RANGE_FUNCTIONS.has(e.func)) return this.evalRangeCall(e, grid);
    const first = e.args[0];
    if ((e.func === 'timestamp' || e.func === 'start_timestamp') && first !== undefined) {
      const inner = first.kind === 'invariant' ? first.expr : first;
      if (inner.kind === 'selector') {
        return this.evalLeaf(e, grid, { func: e.func, selector: inner, rangeMs: 0, args: [], pos: inner.pos }, null);
      }
    }
    return evalVectorCall(this, e, grid);
  }

  private async evalRangeCall(e: Call, grid: Grid): Promise<Value> {
    const ranged = e.args.find(a => typeOf(a) === 'matrix') as Expr;
    let value: VectorValue;
    if (ranged.kind === 'matrix') value = await this.evalLeaf(e, grid, await this.rangeLeaf(e, ranged, grid), null);
    else if (ranged.kind === 'subquery') {
      value = vectorOf(await rangeFunctionOverRows(this, e, ranged, await this.scalarArgs(e, grid), grid));
    } else throw new Error(`BUG: ${e.func} over ${ranged.kind}`);
    if (e.func === 'absent_over_time') return vectorOf(absentRows(ranged, value.rows, grid));
    return value;
  }

  /** The leaf of info(): which info series are there, and since when. */
  infoLeaf(selector: VectorSelector, grid: Grid): Promise<VectorValue> {
    return this.evalLeaf(selector, grid, { func: 'info', selector, rangeMs: 0, args: [], pos: selector.pos }, null);
  }
}

interface Leaf {
  func: string;
  selector: VectorSelector;
  rangeMs: number;
  args: Float64Array[];
  /** Where notes about the function point to. */
  pos: Position;
}

function emptyValue(e: Expr): Value {
  const type = typeOf(e);
  if (type === 'scalar') return { kind: 'scalar', values: new Float64Array(0) };
  return vectorOf([]);
}

function rowOfLeaf(r: LeafRow, dropName: boolean): Row {
  return { labels: r.labels, dropName, values: r.values, present: r.present, histograms: r.histograms };
}

/** All series of the selector have one name, so that dropping it leaves them different. */
function fixesName(selector: VectorSelector): boolean {
  return selector.matchers.some(m => m.name === METRIC_NAME && m.op === '=' && m.value !== '');
}

function checkExtended(leaf: Leaf): void {
  const { extended } = leaf.selector;
  if (extended === null || leaf.rangeMs === 0) return;
  const allowed = extended === 'anchored' ? ANCHORED_FUNCTIONS : SMOOTHED_FUNCTIONS;
  if (!allowed.includes(leaf.func)) {
    throw new PromqlEvalError(
      `${extended} modifier can only be used with: ${allowed.join(', ')} - not with ${leaf.func}`,
    );
  }
}

function scalarScalar(e: Binary, a: Float64Array, b: Float64Array): Float64Array {
  const out = new Float64Array(a.length);
  for (let i = 0; i < out.length; i++) {
    const x = a[i] as number;
    const y = b[i] as number;
    out[i] = isComparison(e.op) ? (compare(e.op, x, y) ? 1 : 0) : arithmetic(e.op, x, y);
  }
  return out;
}
