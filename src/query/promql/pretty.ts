/**
 * Formats a query over several lines, as Prometheus' format_query does: whatever fits the width stays on one line, a
 * longer expression puts each part on its own, indented by two spaces a level. Operators stand on lines of their own
 * between their operands. Selectors are never split.
 */
import type { Expr } from './ast.ts';
import { printAggregateHead, printExpr, printOperator, printSubquerySuffix } from './print.ts';

/** Bytes in a line before it is split. */
const DEFAULT_WIDTH = 100;

export function prettyExpr(expr: Expr, width = DEFAULT_WIDTH): string {
  return new Formatter(width).format(expr, 0);
}

class Formatter {
  private readonly width: number;
  /** Texts by node: every level asks how long its parts are. */
  private readonly texts = new Map<Expr, string>();

  constructor(width: number) {
    this.width = width;
  }

  format(expr: Expr, level: number): string {
    const pad = '  '.repeat(level);
    switch (expr.kind) {
      case 'invariant':
        return this.format(expr.expr, level);
      case 'unary':
        return pad + expr.op + this.format(expr.expr, level).trim();
      case 'subquery':
        // Where it fits, the indent is left to whatever stands around it.
        if (this.fits(expr)) return this.text(expr);
        return this.format(expr.expr, level) + printSubquerySuffix(expr);
      case 'number':
      case 'string':
      case 'selector':
      case 'matrix':
      case 'duration':
        return pad + this.text(expr);
    }
    if (this.fits(expr)) return pad + this.text(expr);
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
    return Buffer.byteLength(this.text(expr)) <= this.width;
  }

  private text(expr: Expr): string {
    let text = this.texts.get(expr);
    if (text === undefined) {
      text = printExpr(expr);
      this.texts.set(expr, text);
    }
    return text;
  }
}
