/**
 * What the parts of the parser share: the current token, the findings so far, and where errors are explained.
 *
 * Prometheus explains an unexpected token by the innermost construct that says what it had hoped for ("in grouping
 * opts, expected label"), and otherwise not at all. `contexts` is that stack. A syntax error ends the parse (later
 * findings would be guesses); wrong types, unknown functions and the like are collected and the parse goes on.
 */
import type { Position } from './ast.ts';
import { ParseAbort, type ParseProblem } from './errors.ts';
import { describeToken, Lexer, T_EOF, T_ERROR, type Token } from './lexer.ts';

/** Which experimental parts of the language are accepted. */
export interface ParserFeatures {
  experimentalFunctions: boolean;
  durationExpressions: boolean;
  extendedRangeSelectors: boolean;
  fillModifiers: boolean;
}

/** As a Prometheus server without feature flags. */
export const DEFAULT_FEATURES: ParserFeatures = {
  experimentalFunctions: false,
  durationExpressions: false,
  extendedRangeSelectors: false,
  fillModifiers: false,
};

export const ALL_FEATURES: ParserFeatures = {
  experimentalFunctions: true,
  durationExpressions: true,
  extendedRangeSelectors: true,
  fillModifiers: true,
};

/** Bytes of a query. Far above what people and dashboards write; keeps parsing under some 100 ms. */
export const MAX_QUERY_BYTES = 1 << 20;
/** Parentheses, calls and the like inside each other. Each level costs five JavaScript frames. */
export const MAX_NESTING = 400;

export interface ErrorContext {
  /** `grouping opts`; '' where Prometheus says nothing more than "unexpected x". */
  where: string;
  /** `"," or ")"` */
  expected: string;
  /** Called after the finding was noted: some constructs add one of their own. */
  afterwards?: () => void;
}

export class ParseState {
  readonly features: ParserFeatures;
  readonly input: Buffer;
  readonly errors: ParseProblem[] = [];
  readonly contexts: ErrorContext[] = [];
  /** End of the last closing token that was read. */
  lastClosing = 0;
  private readonly lexer: Lexer;
  private readonly ahead: Token[] = [];
  private depth = 0;

  constructor(text: string | Uint8Array, features: ParserFeatures) {
    this.features = features;
    this.input = typeof text === 'string' ? Buffer.from(text, 'utf8') : Buffer.from(text);
    this.lexer = new Lexer(this.input);
  }

  checkLength(): void {
    if (this.input.length <= MAX_QUERY_BYTES) return;
    this.problem(
      { start: 0, end: 0 },
      `query of ${this.input.length} bytes is too long, the limit is ${MAX_QUERY_BYTES}: split it into several`,
    );
    throw new ParseAbort();
  }

  /** The next token, which stays. An error of the lexer is noted when it is first seen. */
  peek(): Token {
    return this.ahead[0] ?? this.read();
  }

  /** The one after it. */
  peekSecond(): Token {
    this.peek();
    return this.ahead[1] ?? this.read();
  }

  private read(): Token {
    const token = this.lexer.next();
    if (token.type === T_ERROR) this.problem(token, token.text);
    else if (CLOSING.has(token.type)) this.lastClosing = token.end;
    this.ahead.push(token);
    return token;
  }

  /** Takes the next token; the last one (end or error) stays. */
  next(): Token {
    const token = this.peek();
    if (token.type !== T_ERROR && token.type !== T_EOF) this.ahead.shift();
    return token;
  }

  /** Takes the next token where it is of this type. */
  accept(type: string): Token | null {
    return this.peek().type === type ? this.next() : null;
  }

  expect(type: string): Token {
    return this.accept(type) ?? this.unexpected();
  }

  /** Where in the input the lexer stands: behind the token taken last, if nothing was peeked at. */
  get offset(): number {
    return this.lexer.pos;
  }

  problem(pos: Position, message: string): void {
    this.errors.push({ start: pos.start, end: pos.end, message });
  }

  /** Notes that the next token does not belong here, as the innermost context (or the one given) says it. */
  unexpected(context: ErrorContext | undefined = this.contexts.at(-1)): never {
    const token = this.peek();
    if (token.type !== T_ERROR) {
      let message = `unexpected ${describeToken(token)}`;
      if (context !== undefined && context.where !== '') message += ` in ${context.where}`;
      if (context !== undefined && context.expected !== '') message += `, expected ${context.expected}`;
      this.problem(token, message);
    }
    context?.afterwards?.();
    throw new ParseAbort();
  }

  /** Runs `body` with errors explained by `context`. */
  within<T>(context: ErrorContext, body: () => T): T {
    this.contexts.push(context);
    const result = body();
    this.contexts.pop();
    return result;
  }

  enter(): void {
    if (++this.depth <= MAX_NESTING) return;
    this.problem(this.peek(), `expression is nested more than ${MAX_NESTING} levels deep`);
    throw new ParseAbort();
  }

  leave(): void {
    this.depth--;
  }
}

const CLOSING = new Set(['}', ')', ']', 'duration', 'number']);
