/**
 * Checks a parsed query: types of operands and arguments, argument counts, selectors that select everything.
 *
 * Findings go to the parser's state, in the order in which Prometheus reports them. It also settles what only types
 * tell: `matching` is taken off binary expressions that do not join two vectors, and set operators become
 * many-to-many. Long chains (`a + b + c ...`) make deep left-leaning trees; those are walked in a loop.
 */
import type { Aggregate, Binary, Call, Expr, Position, Subquery, ValueType, VectorSelector } from './ast.ts';
import { matchesEmpty } from './matcher-check.ts';
import type { ParseState } from './parse-state.ts';
import { quote } from './parse-text.ts';
import { FUNCTIONS } from './signatures.ts';

/** Height of the tree. Evaluation, unlike parsing, recurses into chains too. */
export const MAX_TREE_HEIGHT = 1000;

const COMPARISONS: ReadonlySet<string> = new Set(['==', '!=', '<', '<=', '>', '>=']);
const SET_OPERATORS: ReadonlySet<string> = new Set(['and', 'or', 'unless']);

export function validate(expr: Expr, state: ParseState): void {
  check(expr, state, false);
  if (state.errors.length === 0 && height(expr) > MAX_TREE_HEIGHT) {
    state.problem(
      expr.pos,
      `expression is more than ${MAX_TREE_HEIGHT} levels deep: put parentheses around parts of long operator chains, or use a regular expression matcher`,
    );
  }
}

/** The static type of an expression. Iterative along chains, linear in the size of the tree's spine. */
export function typeOf(expr: Expr): ValueType {
  let node = expr;
  for (;;) {
    switch (node.kind) {
      case 'number':
      case 'duration':
        return 'scalar';
      case 'string':
        return 'string';
      case 'selector':
      case 'aggregate':
        return 'vector';
      case 'matrix':
      case 'subquery':
        return 'matrix';
      case 'call':
        return FUNCTIONS.get(node.func)?.returnType ?? 'none';
      case 'binary':
        if (typeOf(node.right) !== 'scalar') return 'vector';
        node = node.left;
        // A chain is scalar where every part is; any other left side makes it a vector.
        if (node.kind !== 'binary') return typeOf(node) === 'scalar' ? 'scalar' : 'vector';
        break;
      case 'unary':
      case 'paren':
      case 'invariant':
        node = node.expr;
        break;
    }
  }
}

/** The type's name in messages. */
export function documentedType(type: ValueType): string {
  return type === 'vector' ? 'instant vector' : type === 'matrix' ? 'range vector' : type;
}

function check(expr: Expr, state: ParseState, emptyAllowed: boolean): ValueType {
  const spine: (Binary | Subquery)[] = [];
  let node = expr;
  while (node.kind === 'binary' || node.kind === 'subquery') {
    spine.push(node);
    node = node.kind === 'binary' ? node.left : node.expr;
  }
  let type = checkNode(node, state, emptyAllowed);
  for (let i = spine.length - 1; i >= 0; i--) {
    const outer = spine[i] as Binary | Subquery;
    if (outer.kind === 'binary') {
      type = checkBinary(outer, type, check(outer.right, state, false), state);
    } else {
      if (type !== 'vector') {
        state.problem(outer.pos, `subquery is only allowed on instant vector, got ${type} instead`);
      }
      type = 'matrix';
    }
  }
  return type;
}

function checkNode(node: Exclude<Expr, Binary | Subquery>, state: ParseState, emptyAllowed: boolean): ValueType {
  switch (node.kind) {
    case 'number':
    case 'duration':
      return 'scalar';
    case 'string':
      return 'string';
    case 'selector':
      checkSelector(node, state, emptyAllowed);
      return 'vector';
    case 'matrix':
      checkSelector(node.selector, state, false);
      return 'matrix';
    case 'aggregate':
      checkAggregate(node, state);
      return 'vector';
    case 'call':
      return checkCall(node, state);
    case 'paren':
    case 'invariant':
      return check(node.expr, state, false);
    case 'unary': {
      const type = check(node.expr, state, false);
      if (type !== 'scalar' && type !== 'vector') {
        state.problem(
          node.pos,
          `unary expression only allowed on expressions of type scalar or instant vector, got ${quote(documentedType(type))}`,
        );
      }
      return type;
    }
  }
}

function checkSelector(selector: VectorSelector, state: ParseState, emptyAllowed: boolean): void {
  if (selector.name !== '') {
    // The last matcher is the name written before the braces.
    for (const matcher of selector.matchers.slice(0, -1)) {
      if (matcher.name !== '__name__') continue;
      state.problem(
        selector.pos,
        `metric name must not be set twice: ${quote(selector.name)} or ${quote(matcher.value)}`,
      );
    }
    return;
  }
  if (!emptyAllowed && selector.matchers.every(matchesEmpty)) {
    state.problem(selector.pos, 'vector selector must contain at least one non-empty matcher');
  }
}

function checkAggregate(node: Aggregate, state: ParseState): void {
  expectType(node.expr, 'vector', 'aggregation expression', state);
  if (node.param === null) return;
  expectType(node.param, node.op === 'count_values' ? 'string' : 'scalar', 'aggregation parameter', state);
}

function expectType(node: Expr, wanted: ValueType, where: string, state: ParseState): void {
  const type = check(node, state, false);
  if (type === wanted) return;
  state.problem(node.pos, `expected type ${documentedType(wanted)} in ${where}, got ${documentedType(type)}`);
}

function checkCall(node: Call, state: ParseState): ValueType {
  const signature = FUNCTIONS.get(node.func);
  if (signature === undefined) return 'none';
  const { argTypes, variadic, name } = signature;
  const given = node.args.length;
  const call = `argument(s) in call to ${quote(name)}, got ${given}`;
  if (variadic === 0) {
    if (given !== argTypes.length) state.problem(node.pos, `expected ${argTypes.length} ${call}`);
  } else {
    const least = argTypes.length - 1;
    const most = least + variadic;
    if (given < least) state.problem(node.pos, `expected at least ${least} ${call}`);
    else if (variadic > 0 && given > most) state.problem(node.pos, `expected at most ${most} ${call}`);
  }
  const labelsOnly = name === 'info' && given > 1;
  if (labelsOnly) checkInfoSelector(node, node.args[1] as Expr, state);
  for (let i = 0; i < given; i++) {
    if (i >= argTypes.length && variadic === 0) break;
    const arg = node.args[i] as Expr;
    const wanted = argTypes[Math.min(i, argTypes.length - 1)] as ValueType;
    const type = check(arg, state, labelsOnly && i === 1 && arg.kind === 'selector');
    if (type === wanted) continue;
    state.problem(
      arg.pos,
      `expected type ${documentedType(wanted)} in call to function ${quote(name)}, got ${documentedType(type)}`,
    );
  }
  return signature.returnType;
}

/** The second argument of info(): a selector without a name, which may match anything. */
function checkInfoSelector(call: Call, arg: Expr, state: ParseState): void {
  const type = typeOf(arg);
  if (type !== 'vector') {
    state.problem(call.pos, `expected type instant vector in call to function "info", got ${documentedType(type)}`);
  }
  if (arg.kind !== 'selector') state.problem(arg.pos, 'expected label selectors only');
  else if (arg.name !== '') {
    state.problem(arg.pos, 'expected label selectors only, got vector selector instead');
  }
}

function checkBinary(node: Binary, left: ValueType, right: ValueType, state: ParseState): ValueType {
  const { op, matching } = node;
  const isSet = SET_OPERATORS.has(op);
  const isComparison = COMPARISONS.has(op);
  if (node.returnBool && !isComparison) {
    state.problem(operatorRange(node, state.input), 'bool modifier can only be used on comparison operators');
  }
  if (isComparison && !node.returnBool && left === 'scalar' && right === 'scalar') {
    state.problem(operatorRange(node, state.input), 'comparisons between scalars must use BOOL modifier');
  }
  if (matching !== null) {
    if (isSet && matching.card === 'one-to-one') matching.card = 'many-to-many';
    for (const label of matching.on ? matching.labels : []) {
      for (const included of matching.include) {
        if (label !== included) continue;
        state.problem(
          operatorRange(node, state.input),
          `label ${quote(label)} must not occur in ON and GROUP clause at once`,
        );
      }
    }
  }
  for (const [type, side] of [
    [left, node.left],
    [right, node.right],
  ] as const) {
    if (type === 'scalar' || type === 'vector') continue;
    state.problem(side.pos, 'binary expression must contain only scalar and instant vector types');
  }
  if (matching !== null) checkMatching(node, left === 'vector' && right === 'vector', isSet, state);
  if (isSet && (left === 'scalar' || right === 'scalar')) {
    state.problem(node.pos, `set operator ${quote(op)} not allowed in binary scalar expression`);
  }
  return left === 'scalar' && right === 'scalar' ? 'scalar' : 'vector';
}

function checkMatching(node: Binary, vectors: boolean, isSet: boolean, state: ParseState): void {
  const matching = node.matching;
  if (matching === null) return;
  const filled = matching.fillLeft !== null || matching.fillRight !== null;
  if (!vectors) {
    if (matching.labels.length > 0) {
      state.problem(node.pos, 'vector matching only allowed between instant vectors');
    }
    if (filled) state.problem(node.pos, 'filling in missing series only allowed between instant vectors');
    node.matching = null;
  } else if (isSet) {
    if (matching.card !== 'many-to-many') {
      state.problem(node.pos, `no grouping allowed for ${quote(node.op)} operation`);
      state.problem(node.pos, 'set operations must always be many-to-many');
    }
    if (filled) state.problem(node.pos, 'filling in missing series not allowed for set operators');
  }
}

/** Where the operator and its modifiers stand, without the space around them. */
function operatorRange(node: Binary, input: Uint8Array): Position {
  let start = node.left.pos.end;
  while (isSpace(input[start])) start++;
  let end = node.right.pos.start - 1;
  while (isSpace(input[end])) end--;
  return { start, end };
}

function isSpace(byte: number | undefined): boolean {
  return byte === 32 || byte === 9 || byte === 10 || byte === 13;
}

function height(root: Expr): number {
  let highest = 0;
  const open: { node: Expr; depth: number }[] = [{ node: root, depth: 1 }];
  for (let top = open.pop(); top !== undefined; top = open.pop()) {
    highest = Math.max(highest, top.depth);
    for (const child of children(top.node)) open.push({ node: child, depth: top.depth + 1 });
  }
  return highest;
}

/** The direct parts of an expression, computed durations included. */
export function children(node: Expr): Expr[] {
  switch (node.kind) {
    case 'number':
    case 'string':
      return [];
    case 'selector':
      return present(node.offsetExpr);
    case 'matrix':
      return [node.selector, ...present(node.rangeExpr)];
    case 'subquery':
      return [node.expr, ...present(node.rangeExpr), ...present(node.stepExpr), ...present(node.offsetExpr)];
    case 'call':
      return node.args;
    case 'aggregate':
      return [...present(node.param), node.expr];
    case 'binary':
      return [node.left, node.right];
    case 'duration':
      return [...present(node.left), ...present(node.right)];
    case 'unary':
    case 'paren':
    case 'invariant':
      return [node.expr];
  }
}

function present(expr: Expr | null): Expr[] {
  return expr === null ? [] : [expr];
}
