/**
 * The PromQL syntax tree. Built by parser.ts, checked by validate.ts, printed by print.ts, evaluated by eval/.
 *
 * Positions are UTF-8 byte offsets into the query text, end exclusive, as Prometheus reports them.
 * Durations that are expressions (`[5m + 1m]`, `offset step()*2`) stand in `...Expr` fields and are resolved to
 * numbers, per query, before evaluation.
 */
import type { FloatHistogram } from '../../model/histogram.ts';
import type { Matcher } from '../../model/matcher.ts';

export interface Position {
  start: number;
  end: number;
}

export type ValueType = 'none' | 'scalar' | 'vector' | 'matrix' | 'string';

export type Expr =
  | NumberLiteral
  | StringLiteral
  | VectorSelector
  | MatrixSelector
  | Subquery
  | Call
  | Aggregate
  | Binary
  | Unary
  | Paren
  | StepInvariant
  | DurationExpr;

export interface NumberLiteral {
  kind: 'number';
  pos: Position;
  value: number;
  /** Written as a duration (`5m`): printed back as one. */
  duration: boolean;
}

export interface StringLiteral {
  kind: 'string';
  pos: Position;
  value: string;
}

/** What selectors and subqueries share. */
export interface TimeModifiers {
  /** `offset`, ms; may be negative. */
  offsetMs: number;
  offsetExpr: Expr | null;
  /** `@ 123.4`, ms; null where not given. */
  atMs: number | null;
  /** `@ start()` or `@ end()`; resolved to atMs before evaluation. */
  atBound: 'start' | 'end' | null;
}

export interface VectorSelector extends TimeModifiers {
  kind: 'selector';
  pos: Position;
  /** The metric name as written before the braces, or ''. `matchers` holds it too. */
  name: string;
  matchers: Matcher[];
  /** `anchored` and `smoothed` extended range selectors. */
  extended: 'anchored' | 'smoothed' | null;
}

export interface MatrixSelector {
  kind: 'matrix';
  pos: Position;
  selector: VectorSelector;
  rangeMs: number;
  rangeExpr: Expr | null;
}

export interface Subquery extends TimeModifiers {
  kind: 'subquery';
  pos: Position;
  expr: Expr;
  rangeMs: number;
  rangeExpr: Expr | null;
  /** 0 = the default evaluation interval. */
  stepMs: number;
  stepExpr: Expr | null;
}

export interface Call {
  kind: 'call';
  pos: Position;
  func: string;
  args: Expr[];
}

export type AggregateOp =
  | 'sum'
  | 'avg'
  | 'count'
  | 'min'
  | 'max'
  | 'group'
  | 'stddev'
  | 'stdvar'
  | 'topk'
  | 'bottomk'
  | 'count_values'
  | 'quantile'
  | 'limitk'
  | 'limit_ratio';

export interface Aggregate {
  kind: 'aggregate';
  pos: Position;
  op: AggregateOp;
  expr: Expr;
  param: Expr | null;
  grouping: string[];
  without: boolean;
}

export type BinaryOp =
  | '+'
  | '-'
  | '*'
  | '/'
  | '%'
  | '^'
  | 'atan2'
  | '=='
  | '!='
  | '<'
  | '<='
  | '>'
  | '>='
  | 'and'
  | 'or'
  | 'unless'
  /** Histogram trims: keep what is below / above a bound. */
  | '</'
  | '>/';

export interface VectorMatching {
  card: 'one-to-one' | 'many-to-one' | 'one-to-many' | 'many-to-many';
  /** on(...) where true, ignoring(...) where false. */
  on: boolean;
  labels: string[];
  /** group_left / group_right labels to copy from the one side. */
  include: string[];
  /** `fill`, `fill_left`, `fill_right` values; null where not given. */
  fillLeft: number | null;
  fillRight: number | null;
}

export interface Binary {
  kind: 'binary';
  pos: Position;
  op: BinaryOp;
  left: Expr;
  right: Expr;
  /** Present when both sides are vectors. */
  matching: VectorMatching | null;
  returnBool: boolean;
}

export interface Unary {
  kind: 'unary';
  pos: Position;
  op: '+' | '-';
  expr: Expr;
}

export interface Paren {
  kind: 'paren';
  pos: Position;
  expr: Expr;
}

/** Marks a subtree whose value does not depend on the step; put in by the planner, never by the parser. */
export interface StepInvariant {
  kind: 'invariant';
  pos: Position;
  expr: Expr;
}

/** A duration computed from other durations: only inside brackets and after `offset`. */
export interface DurationExpr {
  kind: 'duration';
  pos: Position;
  /** step, range, min, max are functions there: `max(step(), 5s)`. */
  op: '+' | '-' | '*' | '/' | '%' | '^' | 'step' | 'range' | 'min' | 'max';
  left: Expr | null;
  right: Expr | null;
  /** Written in parentheses. */
  wrapped: boolean;
}

/** A sample of the test language's `<series> <values>` lines: a number, a histogram, or a gap. */
export interface SequenceValue {
  omitted: boolean;
  stale: boolean;
  value: number;
  histogram: FloatHistogram | null;
  /** The histogram literal named its counter_reset_hint: only then does a comparison look at it. */
  hintSet: boolean;
}
