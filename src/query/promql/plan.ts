/**
 * Planning: from the parsed tree to one that can be evaluated for given times.
 *
 * Computed durations become numbers, `@ start()` and `@ end()` become times, parentheses vanish, and the largest subtrees whose
 * value is the same at every step are wrapped in StepInvariant nodes, to be evaluated once. The parsed tree stays
 * untouched, so that it can be kept for other times.
 */

import { PromqlEvalError } from '../../contracts/leaf-source.ts';
import type { DurationExpr, Expr, Position, VectorSelector } from './ast.ts';
import { children } from './validate.ts';

export interface PlanTimes {
  startMs: number;
  endMs: number;
  stepMs: number;
}

/** Their value follows the evaluation time even where their argument does not. */
const TIME_DEPENDENT = new Set([
  'days_in_month',
  'day_of_month',
  'day_of_week',
  'day_of_year',
  'hour',
  'minute',
  'month',
  'year',
  'predict_linear',
  'time',
  'timestamp',
  'start_timestamp',
]);

export interface QueryPlan {
  expr: Expr;
  /** Selectors of which only histograms' counts and sums matter in the end. */
  statsSelectors: ReadonlySet<Expr>;
}

export function planExpr(expr: Expr, times: PlanTimes): QueryPlan {
  const planned = wrapped(new Planner(times).plan(expr));
  const statsSelectors = new Set<Expr>();
  findStatsSelectors(planned, false, statsSelectors);
  return { expr: planned, statsSelectors };
}

const STATS_FUNCTIONS = new Set(['histogram_count', 'histogram_sum', 'histogram_avg']);
const BUCKET_FUNCTIONS = new Set(['histogram_quantile', 'histogram_quantiles', 'histogram_fraction']);

function findStatsSelectors(e: Expr, stats: boolean, found: Set<Expr>): void {
  if (e.kind === 'selector' && stats) found.add(e);
  // Subqueries pick samples by step, so that neighbours say nothing about resets any more.
  if (e.kind === 'subquery' || (e.kind === 'call' && BUCKET_FUNCTIONS.has(e.func))) return;
  const below = stats || (e.kind === 'call' && STATS_FUNCTIONS.has(e.func));
  if (e.kind === 'matrix') findStatsSelectors(e.selector, below, found);
  else for (const c of children(e)) findStatsSelectors(c, below, found);
}

interface Planned {
  expr: Expr;
  /** The value does not depend on the step. */
  invariant: boolean;
  /** Worth wrapping: literals and range selectors are not. */
  wrap: boolean;
}

function wrapped(p: Planned): Expr {
  return p.invariant && p.wrap ? { kind: 'invariant', pos: p.expr.pos, expr: p.expr } : p.expr;
}

class Planner {
  private readonly times: PlanTimes;

  constructor(times: PlanTimes) {
    this.times = times;
  }

  plan(e: Expr): Planned {
    switch (e.kind) {
      case 'number':
      case 'string':
        return { expr: e, invariant: true, wrap: false };
      case 'paren': {
        const inner = this.plan(e.expr);
        // The parentheses go, their position stays: notes point at them.
        return { ...inner, expr: inner.expr };
      }
      case 'selector': {
        const expr = this.selector(e);
        return { expr, invariant: expr.atMs !== null, wrap: true };
      }
      case 'matrix': {
        const selector = this.selector(e.selector);
        const rangeMs = e.rangeExpr === null ? e.rangeMs : this.duration(e.rangeExpr, false);
        return { expr: { ...e, selector, rangeMs, rangeExpr: null }, invariant: selector.atMs !== null, wrap: false };
      }
      case 'subquery': {
        const inner = this.plan(e.expr);
        const atMs = this.at(e.atMs, e.atBound);
        return {
          expr: {
            ...e,
            expr: wrapped({ ...inner, wrap: inner.wrap || inner.invariant }),
            atMs,
            atBound: null,
            offsetMs: e.offsetExpr === null ? e.offsetMs : this.duration(e.offsetExpr, true),
            offsetExpr: null,
            rangeMs: e.rangeExpr === null ? e.rangeMs : this.duration(e.rangeExpr, false),
            rangeExpr: null,
            stepMs: e.stepExpr === null ? e.stepMs : this.duration(e.stepExpr, false),
            stepExpr: null,
          },
          invariant: atMs !== null,
          wrap: false,
        };
      }
      case 'unary': {
        const inner = this.plan(e.expr);
        return { ...inner, expr: { ...e, expr: inner.expr } };
      }
      case 'call': {
        const args = e.args.map(a => this.plan(a));
        if (!TIME_DEPENDENT.has(e.func) && args.every(a => a.invariant)) {
          return { expr: { ...e, args: args.map(a => a.expr) }, invariant: true, wrap: true };
        }
        return { expr: { ...e, args: args.map(wrapped) }, invariant: false, wrap: false };
      }
      case 'aggregate': {
        const inner = this.plan(e.expr);
        const param = e.param === null ? null : this.plan(e.param);
        if (inner.invariant && (param === null || param.invariant)) {
          return { expr: { ...e, expr: inner.expr, param: param?.expr ?? null }, invariant: true, wrap: true };
        }
        return {
          expr: { ...e, expr: wrapped(inner), param: param === null ? null : wrapped(param) },
          invariant: false,
          wrap: false,
        };
      }
      case 'binary': {
        const left = this.plan(e.left);
        const right = this.plan(e.right);
        if (left.invariant && right.invariant) {
          return { expr: { ...e, left: left.expr, right: right.expr }, invariant: true, wrap: true };
        }
        return { expr: { ...e, left: wrapped(left), right: wrapped(right) }, invariant: false, wrap: false };
      }
      case 'invariant':
        return { expr: e, invariant: true, wrap: false };
      case 'duration':
        throw new PromqlEvalError('duration expression outside of a range, step or offset');
    }
  }

  private selector(e: VectorSelector): VectorSelector {
    return {
      ...e,
      atMs: this.at(e.atMs, e.atBound),
      atBound: null,
      offsetMs: e.offsetExpr === null ? e.offsetMs : this.duration(e.offsetExpr, true),
      offsetExpr: null,
    };
  }

  private at(atMs: number | null, bound: 'start' | 'end' | null): number | null {
    if (bound === 'start') return this.times.startMs;
    if (bound === 'end') return this.times.endMs;
    return atMs;
  }

  /** Milliseconds, cut to whole ones. */
  private duration(e: Expr, mayBeNegative: boolean): number {
    const seconds = this.seconds(e);
    const place = `${e.pos.start}:${e.pos.end}`;
    if (!mayBeNegative && !(seconds > 0)) throw new PromqlEvalError(`${place}: duration must be greater than 0`);
    if (!(Math.abs(seconds) <= Number.MAX_SAFE_INTEGER / 1000)) {
      throw new PromqlEvalError(`${place}: duration is out of range`);
    }
    return Math.trunc(seconds * 1000);
  }

  private seconds(e: Expr): number {
    if (e.kind === 'number') return e.value;
    if (e.kind === 'paren') return this.seconds(e.expr);
    if (e.kind === 'unary') return e.op === '-' ? -this.seconds(e.expr) : this.seconds(e.expr);
    if (e.kind !== 'duration') throw new PromqlEvalError(`unexpected duration expression of kind ${e.kind}`);
    return this.operation(e);
  }

  private operation(e: DurationExpr): number {
    if (e.op === 'step') return this.times.stepMs / 1000;
    if (e.op === 'range') return (this.times.endMs - this.times.startMs) / 1000;
    const right = e.right === null ? 0 : this.seconds(e.right);
    if (e.left === null) return e.op === '-' ? -right : right;
    const left = this.seconds(e.left);
    if (e.right === null) return left;
    switch (e.op) {
      case '+':
        return left + right;
      case '-':
        return left - right;
      case '*':
        return left * right;
      case '/':
        return left / nonZero(right, 'division by zero', e.pos);
      case '%':
        return left % nonZero(right, 'modulo by zero', e.pos);
      case '^':
        return left ** right;
      case 'min':
        return Math.min(left, right);
      case 'max':
        return Math.max(left, right);
    }
  }
}

function nonZero(v: number, problem: string, pos: Position): number {
  if (v === 0) throw new PromqlEvalError(`${pos.start}:${pos.end}: ${problem}`);
  return v;
}
