/**
 * Lexer: PromQL text into tokens, one at a time.
 *
 * It works on UTF-8 bytes, because positions are byte offsets and because broken UTF-8 must be found, not repaired.
 * What a character means depends on where it stands: inside braces keywords are plain names; right behind `[` only
 * durations and their operators are expected. The first error ends the token stream (as an 'error' token whose text
 * is the message); its wording and position are Prometheus'.
 *
 * Token types are the text itself for operators, punctuation and (lower-cased) keywords, else one of the words below.
 */
import { describeRune, quote, quoteRune } from './parse-text.ts';

export interface Token {
  type: string;
  /** Byte offsets, end exclusive. */
  start: number;
  end: number;
  /** As written; of an 'error' the message. */
  text: string;
}

export const T_NUMBER = 'number';
export const T_DURATION = 'duration';
export const T_STRING = 'string';
export const T_IDENTIFIER = 'identifier';
export const T_METRIC_IDENTIFIER = 'metric identifier';
export const T_EOF = 'end of input';
export const T_ERROR = 'error';

export const AGGREGATORS: ReadonlySet<string> = new Set([
  ...['sum', 'avg', 'count', 'min', 'max', 'group', 'stddev', 'stdvar', 'topk', 'bottomk', 'count_values'],
  ...['quantile', 'limitk', 'limit_ratio'],
]);
const WORD_OPERATORS = new Set(['and', 'or', 'unless', 'atan2']);
const MODIFIERS = new Set([
  ...['offset', 'smoothed', 'anchored', 'by', 'without', 'on', 'ignoring', 'group_left', 'group_right'],
  ...['fill', 'fill_left', 'fill_right', 'bool'],
]);
const PREPROCESSORS = new Set(['start', 'end', 'step', 'range']);
const SYMBOL_OPERATORS = new Set([
  ...['+', '-', '*', '/', '%', '^', '==', '!=', '<', '<=', '>', '>=', '</', '>/', '=~', '!~', '@'],
]);
/** Words that stand for functions inside brackets. */
const DURATION_WORDS = new Set(['step', 'range', 'min_of', 'max_of']);

const isSpace = (c: number) => c === 32 || c === 9 || c === 10 || c === 13;
const isDigit = (c: number) => c >= 48 && c <= 57;
const isAlpha = (c: number) => c === 95 || (c >= 97 && c <= 122) || (c >= 65 && c <= 90);
const isWord = (c: number) => isAlpha(c) || isDigit(c);
const isHexDigit = (c: number) => isDigit(c) || (c >= 97 && c <= 102) || (c >= 65 && c <= 70);
const code = (s: string) => s.charCodeAt(0);

const [C_QUOTE, C_APOSTROPHE, C_BACKTICK, C_BACKSLASH] = [34, 39, 96, 92];
const [C_DOT, C_COLON, C_COMMA, C_HASH, C_UNDERSCORE] = [46, 58, 44, 35, 95];
const [C_LPAREN, C_RPAREN, C_LBRACKET, C_RBRACKET, C_LBRACE, C_RBRACE] = [40, 41, 91, 93, 123, 125];
const [C_EQ, C_BANG, C_TILDE, C_LT, C_GT, C_SLASH] = [61, 33, 126, 60, 62, 47];

const END = -1;

export class Lexer {
  readonly input: Buffer;
  /** Next byte to read. */
  pos = 0;
  private start = 0;
  private ended = false;
  private parenDepth = 0;
  private braceOpen = false;
  private bracketOpen = false;
  private gotColon = false;
  private gotDuration = false;
  /** Right behind `[`, up to the first number. */
  private inDuration = false;

  constructor(input: Buffer) {
    this.input = input;
  }

  next(): Token {
    if (this.ended) return this.token(T_EOF);
    if (this.inDuration) return this.durationToken();
    this.skipBlanks();
    return this.braceOpen ? this.braceToken() : this.statementToken();
  }

  /** Spaces and comments between tokens. */
  private skipBlanks(): void {
    for (;;) {
      const c = this.peek();
      if (isSpace(c)) this.pos++;
      else if (c === C_HASH) {
        while (this.pos < this.input.length && this.input[this.pos] !== 10 && this.input[this.pos] !== 13) this.pos++;
      } else break;
    }
    this.start = this.pos;
  }

  private peek(ahead = 0): number {
    return this.input[this.pos + ahead] ?? END;
  }

  private token(type: string): Token {
    const token = { type, start: this.start, end: this.pos, text: this.slice() };
    this.start = this.pos;
    return token;
  }

  private take(type: string, bytes: number): Token {
    this.pos += bytes;
    return this.token(type);
  }

  private slice(): string {
    return this.input.toString('utf8', this.start, this.pos);
  }

  private error(message: string): Token {
    this.ended = true;
    return { type: T_ERROR, start: this.start, end: this.input.length, text: message };
  }

  /** The character at `pos`: broken UTF-8 is U+FFFD of width 1. */
  private runeAt(pos: number): { rune: number; width: number } {
    const b = this.input[pos];
    if (b === undefined) return { rune: END, width: 0 };
    if (b < 0x80) return { rune: b, width: 1 };
    const width = b >= 0xc2 && b < 0xe0 ? 2 : b >= 0xe0 && b < 0xf0 ? 3 : b >= 0xf0 && b < 0xf5 ? 4 : 0;
    if (width === 0 || pos + width > this.input.length) return { rune: 0xfffd, width: 1 };
    const text = this.input.toString('utf8', pos, pos + width);
    const rune = text.codePointAt(0) as number;
    if (text.length !== (rune > 0xffff ? 2 : 1) || rune === 0xfffd) {
      const genuine = b === 0xef && this.input[pos + 1] === 0xbf && this.input[pos + 2] === 0xbd;
      return { rune: 0xfffd, width: genuine ? 3 : 1 };
    }
    return { rune, width };
  }

  private statementToken(): Token {
    const c = this.peek();
    if (c === END) return this.endToken();
    if (isDigit(c) || (c === C_DOT && isDigit(this.peek(1)))) return this.numberToken();
    if (isAlpha(c) || c === C_COLON) return this.bracketOpen ? this.wordInBracket(c) : this.wordToken();
    switch (c) {
      case C_QUOTE:
      case C_APOSTROPHE:
        return this.stringToken(c);
      case C_BACKTICK:
        return this.rawStringToken();
      case C_COMMA:
      case code('*'):
      case C_SLASH:
      case code('%'):
      case code('+'):
      case code('-'):
      case code('^'):
      case code('@'):
        return this.take(String.fromCharCode(c), 1);
      case C_EQ:
        if (this.peek(1) === C_EQ) return this.take('==', 2);
        this.pos++;
        if (this.peek() === C_TILDE) return this.error("unexpected character after '=': '~'");
        return this.token('=');
      case C_BANG: {
        if (this.peek(1) === C_EQ) return this.take('!=', 2);
        return this.error(`unexpected character after '!': ${quoteRune(this.runeAt(this.pos + 1).rune)}`);
      }
      case C_LT:
        if (this.peek(1) === C_EQ) return this.take('<=', 2);
        return this.peek(1) === C_SLASH ? this.take('</', 2) : this.take('<', 1);
      case C_GT:
        if (this.peek(1) === C_EQ) return this.take('>=', 2);
        return this.peek(1) === C_SLASH ? this.take('>/', 2) : this.take('>', 1);
      case C_LPAREN:
        this.parenDepth++;
        return this.take('(', 1);
      case C_RPAREN:
        return this.closeParen();
      case C_LBRACE:
        this.braceOpen = true;
        return this.take('{', 1);
      case C_LBRACKET:
        return this.openBracket();
      case C_RBRACKET:
        if (!this.bracketOpen) return this.error("unexpected right bracket ']'");
        this.bracketOpen = false;
        return this.take(']', 1);
    }
    return this.error(`unexpected character: ${quoteRune(this.runeAt(this.pos).rune)}`);
  }

  private endToken(): Token {
    if (this.parenDepth !== 0) return this.error('unclosed left parenthesis');
    if (this.bracketOpen) return this.error('unclosed left bracket');
    this.ended = true;
    return this.token(T_EOF);
  }

  private closeParen(): Token {
    const token = this.take(')', 1);
    this.parenDepth--;
    return this.parenDepth < 0 ? this.error("unexpected right parenthesis ')'") : token;
  }

  private openBracket(): Token {
    if (this.bracketOpen) return this.error("unexpected left bracket '['");
    const token = this.take('[', 1);
    this.gotColon = false;
    this.bracketOpen = true;
    this.inDuration = true;
    return token;
  }

  /** Between `[` and the first number; after it the ordinary rules hold again, with bracketOpen set. */
  private durationToken(): Token {
    while (isSpace(this.peek())) this.pos++;
    this.start = this.pos;
    const c = this.peek();
    if (c === END) return this.error('unexpected end of input in duration expression');
    if (isDigit(c) || (c === C_DOT && isDigit(this.peek(1)))) {
      this.gotDuration = true;
      this.inDuration = false;
      return this.numberToken();
    }
    switch (c) {
      case C_RBRACKET:
        this.bracketOpen = false;
        this.inDuration = false;
        return this.take(']', 1);
      case C_COLON: {
        const token = this.take(':', 1);
        if (!this.gotDuration) return this.error('unexpected colon before duration in duration expression');
        if (this.gotColon) return this.error('unexpected repeated colon in duration expression');
        this.gotColon = true;
        return token;
      }
      case C_LPAREN:
        this.parenDepth++;
        return this.take('(', 1);
      case C_RPAREN:
        return this.closeParen();
      case code('+'):
      case code('-'):
      case code('*'):
      case C_SLASH:
      case code('%'):
      case code('^'):
      case C_COMMA:
        return this.take(String.fromCharCode(c), 1);
    }
    const word = this.durationWord();
    if (word !== null) {
      // step() and range() are durations too: a colon may follow.
      this.gotDuration = true;
      return word;
    }
    return this.error(`unexpected character in duration expression: ${quoteRune(this.runeAt(this.start).rune)}`);
  }

  private wordInBracket(c: number): Token {
    if (c === C_COLON) {
      if (this.gotColon) return this.error("unexpected colon ':'");
      this.gotColon = true;
      return this.take(':', 1);
    }
    return this.durationWord() ?? this.error(`unexpected character: ${quoteRune(c)}, expected ':'`);
  }

  private durationWord(): Token | null {
    let end = this.pos;
    while (isAlpha(this.input[end] ?? END)) end++;
    const word = this.input.toString('latin1', this.pos, end).toLowerCase();
    if (!DURATION_WORDS.has(word)) return null;
    return this.take(word, end - this.pos);
  }

  private wordToken(): Token {
    while (isWord(this.peek()) || this.peek() === C_COLON) this.pos++;
    const word = this.slice();
    const lower = word.toLowerCase();
    if (lower === 'inf' || lower === 'nan') return this.token(T_NUMBER);
    if (lower.startsWith('fill') && MODIFIERS.has(lower)) {
      // A keyword only where it is called: `fill` may be a metric.
      return this.token(this.parenFollows() ? lower : T_IDENTIFIER);
    }
    if (AGGREGATORS.has(lower) || WORD_OPERATORS.has(lower) || MODIFIERS.has(lower) || PREPROCESSORS.has(lower)) {
      return this.token(lower);
    }
    return this.token(word.includes(':') ? T_METRIC_IDENTIFIER : T_IDENTIFIER);
  }

  private parenFollows(): boolean {
    let at = this.pos;
    while (isSpace(this.input[at] ?? END)) at++;
    return this.input[at] === C_LPAREN;
  }

  private braceToken(): Token {
    const c = this.peek();
    if (c === END) return this.error('unexpected end of input inside braces');
    if (isAlpha(c)) {
      while (isWord(this.peek())) this.pos++;
      return this.token(T_IDENTIFIER);
    }
    switch (c) {
      case C_COMMA:
        return this.take(',', 1);
      case C_QUOTE:
      case C_APOSTROPHE:
        return this.stringToken(c);
      case C_BACKTICK:
        return this.rawStringToken();
      case C_EQ:
        return this.peek(1) === C_TILDE ? this.take('=~', 2) : this.take('=', 1);
      case C_BANG:
        if (this.peek(1) === C_TILDE) return this.take('!~', 2);
        if (this.peek(1) === C_EQ) return this.take('!=', 2);
        return this.error(`unexpected character after '!' inside braces: ${quoteRune(this.runeAt(this.pos + 1).rune)}`);
      case C_LBRACE:
        return this.error("unexpected left brace '{'");
      case C_RBRACE:
        this.braceOpen = false;
        return this.take('}', 1);
    }
    return this.error(`unexpected character inside braces: ${quoteRune(this.runeAt(this.pos).rune)}`);
  }

  private stringToken(delimiter: number): Token {
    this.pos++;
    for (;;) {
      const { rune, width } = this.runeAt(this.pos);
      this.pos += width;
      if (rune === C_BACKSLASH) {
        const problem = this.skipEscape(delimiter);
        if (problem !== '') return this.error(problem);
      } else if (rune === 0xfffd) return this.error('invalid UTF-8 rune');
      else if (rune === END || rune === 10) return this.error('unterminated quoted string');
      else if (rune === delimiter) return this.token(T_STRING);
    }
  }

  private rawStringToken(): Token {
    this.pos++;
    for (;;) {
      const { rune, width } = this.runeAt(this.pos);
      this.pos += width;
      if (rune === 0xfffd) return this.error('invalid UTF-8 rune');
      if (rune === END) return this.error('unterminated raw string');
      if (rune === C_BACKTICK) return this.token(T_STRING);
    }
  }

  /** Behind a backslash. Empty, or what is wrong. */
  private skipEscape(delimiter: number): string {
    const { rune, width } = this.runeAt(this.pos);
    if (rune === END) return 'escape sequence not terminated';
    if (rune === delimiter || (rune < 0x80 && 'abfnrtv\\'.includes(String.fromCharCode(rune)))) {
      this.pos += width;
      return '';
    }
    let digits: number;
    let base = 16;
    let max = 0x10ffff;
    if (rune >= 48 && rune <= 55) {
      digits = 3;
      base = 8;
      max = 255;
    } else {
      this.pos += width;
      digits = rune === code('x') ? 2 : rune === code('u') ? 4 : rune === code('U') ? 8 : 0;
      if (digits === 0) return `unknown escape sequence ${describeRune(rune)}`;
    }
    let value = 0;
    for (let i = 0; i < digits; i++) {
      const { rune: digit, width: w } = this.runeAt(this.pos);
      if (digit === END) return 'escape sequence not terminated';
      const d = isHexDigit(digit) ? Number.parseInt(String.fromCharCode(digit), 16) : 16;
      if (d >= base) return `illegal character ${describeRune(digit)} in escape sequence`;
      value = value * base + d;
      this.pos += w;
    }
    if (value > max || (value >= 0xd800 && value < 0xe000)) {
      return 'escape sequence is an invalid Unicode code point';
    }
    return '';
  }

  private numberToken(): Token {
    if (this.scanNumber()) return this.token(T_NUMBER);
    if (this.scanDurationRest()) return this.token(T_DURATION);
    return this.error(`bad number or duration syntax: ${quote(this.slice())}`);
  }

  private acceptIf(set: string): boolean {
    const c = this.peek();
    if (c === END || c >= 0x80 || !set.includes(String.fromCharCode(c))) return false;
    this.pos++;
    return true;
  }

  /**
   * Skips a number, whose syntax the parser checks later: digits with dots, underscores and exponents between them.
   * False where it cannot be one; `pos` then stands where the doubt arose.
   */
  private scanNumber(): boolean {
    let isDigitHere = isDigit;
    if (this.peek() === 48) {
      this.pos++;
      if (this.acceptIf('xX')) {
        this.acceptIf('_');
        isDigitHere = isHexDigit;
      }
    }
    const hex = isDigitHere === isHexDigit;
    this.acceptIf('.');
    if (isDigitHere(this.peek())) this.pos++;
    let dotSeen = false;
    let exponentSeen = false;
    for (;;) {
      const c = this.peek();
      if (c === C_DOT) {
        this.pos++;
        if (dotSeen) return false;
        dotSeen = true;
        if (this.acceptIf('_.') || hex) return false;
      } else if (c === 101 || c === 69) {
        this.pos++;
        if (exponentSeen) return false;
        exponentSeen = true;
        this.acceptIf('+-');
        if (this.acceptIf('._eE') || this.peek() === END) return false;
      } else if (c === C_UNDERSCORE) {
        this.pos++;
        if (this.acceptIf('._eE') || this.peek() === END) return false;
      } else if (isDigitHere(c)) {
        while (isDigitHere(this.peek())) this.pos++;
      } else break;
    }
    return !isWord(this.peek());
  }

  /** Behind the digits of a would-be number: unit, digits, unit, ... The parser checks order and units. */
  private scanDurationRest(): boolean {
    if (!this.acceptIf('smhdwy')) return false;
    this.acceptIf('s');
    while (isDigit(this.peek())) {
      while (isDigit(this.peek())) this.pos++;
      if (!this.acceptIf('smhdw')) return false;
      this.acceptIf('s');
    }
    if (!isWord(this.peek())) return true;
    this.pos++;
    return false;
  }
}

/** How messages name a token: `identifier "x"`, `<op:+>`, `end of input`. */
export function describeToken(token: Token): string {
  const { type, text } = token;
  if (type === T_EOF) return T_EOF;
  if (type === T_IDENTIFIER || type === T_METRIC_IDENTIFIER) return `${type} ${quote(text)}`;
  if (type === T_NUMBER || type === T_DURATION || type === T_STRING) return `${type} ${shortQuote(text)}`;
  if (MODIFIERS.has(type)) return `<${text}>`;
  if (SYMBOL_OPERATORS.has(type) || WORD_OPERATORS.has(type)) return `<op:${text}>`;
  if (AGGREGATORS.has(type)) return `<aggr:${text}>`;
  return shortQuote(text);
}

function shortQuote(text: string): string {
  if (Buffer.byteLength(text) <= 10) return quote(text);
  return `${quote([...text].slice(0, 10).join(''))}...`;
}
