/**
 * Formats a query over several lines, as Prometheus' format_query does: whatever fits the width stays on one line, a
 * longer expression puts each part on its own, indented by two spaces a level. Operators stand on lines of their own
 * between their operands. Selectors are never split.
 */
import type { Expr } from './ast.ts';
import { printAggregateHead, printExpr, printOperator, printSubquerySuffix } from './print.ts';

/** Bytes in a line before it is split. */
const DEFAULT_WIDTH = 100;
/** Indentation may not outgrow the query: 16 MiB of spaces. */
const MAX_PADDING = 1 << 24;

export class FormatError extends Error {
  override name = 'FormatError';
}

/** Throws FormatError where the result would be absurdly large. */
export function prettyExpr(expr: Expr, width = DEFAULT_WIDTH): string {
  return new Formatter(width).format(expr, 0);
}

class Formatter {
  private readonly width: number;
  /** Bytes of a node on one line: every level asks how long its parts are. */
  private readonly lengths = new Map<Expr, number>();
  /** Spaces written so far. */
  private padding = 0;

  constructor(width: number) {
    this.width = width;
  }

  format(expr: Expr, level: number): string {
    const pad = '  '.repeat(level);
    this.padding += pad.length;
    if (this.padding > MAX_PADDING) throw new FormatError('query is nested too deeply to be formatted over lines');
    switch (expr.kind) {
      case 'invariant':
        return this.format(expr.expr, level);
      case 'unary':
        return pad + expr.op + this.format(expr.expr, level).trim();
      case 'subquery':
        // Where it fits, the indent is left to whatever stands around it.
        if (this.fits(expr)) return printExpr(expr);
        return this.format(expr.expr, level) + printSubquerySuffix(expr);
      case 'number':
      case 'string':
      case 'selector':
      case 'matrix':
      case 'duration':
        return pad + printExpr(expr);
    }
    if (this.fits(expr)) return pad + printExpr(expr);
    switch (expr.kind) {
      case 'aggregate': {
        const args = expr.param === null ? [expr.expr] : [expr.param, expr.expr];
        return this.block(pad, printAggregateHead(expr), args, level);
      }
      case 'call':
        return this.block(pad, expr.func, expr.args, level);
      case 'paren':
        return this.block(pad, '', [expr.expr], level);
      case 'binary': {
        const left = this.format(expr.left, level + 1);
        const right = this.format(expr.right, level + 1);
        return `${left}\n${pad}${printOperator(expr)}\n${right}`;
      }
    }
  }

  private block(pad: string, head: string, parts: readonly Expr[], level: number): string {
    const body = parts.map(part => this.format(part, level + 1)).join(',\n');
    return `${pad}${head}(\n${body}\n${pad})`;
  }

  private fits(expr: Expr): boolean {
    return this.length(expr) <= this.width;
  }

  private length(expr: Expr): number {
    const known = this.lengths.get(expr);
    if (known !== undefined) return known;
    const length = this.measure(expr);
    this.lengths.set(expr, length);
    return length;
  }

  /** As long as printExpr's text, without building it for every level anew. */
  private measure(expr: Expr): number {
    switch (expr.kind) {
      case 'binary':
        return this.length(expr.left) + Buffer.byteLength(printOperator(expr)) + 2 + this.length(expr.right);
      case 'paren':
        return this.length(expr.expr) + 2;
      case 'unary':
        return this.length(expr.expr) + 1;
      case 'invariant':
        return this.length(expr.expr);
      case 'subquery':
        return this.length(expr.expr) + Buffer.byteLength(printSubquerySuffix(expr));
      case 'call':
        return expr.func.length + 2 + this.list(expr.args);
      case 'aggregate':
        return (
          Buffer.byteLength(printAggregateHead(expr)) +
          2 +
          this.list(expr.param === null ? [expr.expr] : [expr.param, expr.expr])
        );
      default:
        return Buffer.byteLength(printExpr(expr));
    }
  }

  private list(parts: readonly Expr[]): number {
    let total = Math.max(0, parts.length - 1) * 2;
    for (const part of parts) total += this.length(part);
    return total;
  }
}
