/**
 * Tokens of the sample values behind a series in test scripts, where blanks matter and `x`, `_` and `{{` are symbols.
 *
 * Inside `{{ }}` words are keys or hints, and in brackets there are numbers only. Wording follows Prometheus.
 */
import { ParseAbort, type ParseProblem } from './errors.ts';
import { quote, quoteRune } from './parse-text.ts';

export interface ValueToken {
  /**
   * 'blank', 'number', 'word', 'key' (of a histogram, its colon still ahead), 'hint', 'end', 'error', or the symbol
   * itself.
   */
  type: string;
  start: number;
  end: number;
  text: string;
}

const KEYS: ReadonlySet<string> = new Set([
  ...['schema', 'sum', 'count', 'z_bucket', 'z_bucket_w', 'custom_values', 'buckets', 'offset'],
  ...['n_buckets', 'n_offset', 'counter_reset_hint'],
]);
const HINTS: ReadonlySet<string> = new Set(['unknown', 'reset', 'not_reset', 'gauge']);

const NUMBER = /[0-9]*\.?[0-9]*(?:[eE][+-]?[0-9]+)?/y;
const WORD = /[A-Za-z_][A-Za-z0-9_:]*/y;
const KEY = /[A-Za-z_]+/y;
const BLANKS = /[ \t\r\n]+/y;

export class ValueScanner {
  private readonly text: string;
  private readonly errors: ParseProblem[];
  private pos: number;
  private ahead: ValueToken | null = null;
  private inHistogram = false;
  private inBuckets = false;

  /** Scans input[offset, end). Bytes stand for characters: only ASCII means anything here. */
  constructor(input: Buffer, offset: number, errors: ParseProblem[]) {
    this.text = input.toString('latin1');
    this.pos = offset;
    this.errors = errors;
  }

  peek(): ValueToken {
    if (this.ahead === null) {
      this.ahead = this.scan();
      if (this.ahead.type === 'error') this.fail(this.ahead, this.ahead.text);
    }
    return this.ahead;
  }

  accept(type: string): ValueToken | null {
    const token = this.peek();
    if (token.type !== type) return null;
    this.ahead = null;
    return token;
  }

  problem(pos: { start: number; end: number }, message: string): void {
    this.errors.push({ start: pos.start, end: pos.end, message });
  }

  /** A finding behind which nothing makes sense. */
  fail(pos: { start: number; end: number }, message: string): never {
    this.problem(pos, message);
    throw new ParseAbort();
  }

  unexpected(where: string, expected = ''): never {
    const token = this.peek();
    let what = quote(token.text);
    if (token.type === 'end') what = 'end of input';
    else if (token.type === 'number') what = `number ${what}`;
    else if (token.type === 'word') what = `identifier ${what}`;
    else if (token.type === '+' || token.type === '-') what = `<op:${token.text}>`;
    return this.fail(token, `unexpected ${what} in ${where}${expected === '' ? '' : `, expected ${expected}`}`);
  }

  private scan(): ValueToken {
    const { text, pos } = this;
    if (pos >= text.length) {
      return this.inHistogram
        ? this.error(`histogram description incomplete unexpected: ${quoteRune(-1)}`)
        : this.make('end', 0);
    }
    const blanks = this.match(BLANKS);
    if (blanks > 0) {
      const token = this.make('blank', blanks);
      // However many there are, messages show one.
      return { ...token, end: token.start + 1, text: token.text.slice(0, 1) };
    }
    if (this.inBuckets) return this.scanBuckets();
    return this.inHistogram ? this.scanHistogram() : this.scanValue();
  }

  private scanValue(): ValueToken {
    const { text, pos } = this;
    const c = text[pos] as string;
    if (text.startsWith('{{', pos)) {
      this.inHistogram = true;
      return this.make('{{', 2);
    }
    if ('+-x_'.includes(c)) return this.make(c, 1);
    if (isNumberStart(text, pos)) return this.scanNumber();
    const word = this.match(WORD);
    if (word > 0) return this.make(isSpecialNumber(text.slice(pos, pos + word)) ? 'number' : 'word', word);
    return this.error(`unexpected character in series sequence: ${quoteRune(c.charCodeAt(0))}`);
  }

  private scanHistogram(): ValueToken {
    const { text, pos } = this;
    const c = text[pos] as string;
    if (text.startsWith('}}', pos)) {
      this.inHistogram = false;
      return this.make('}}', 2);
    }
    if (c === ':' || c === '-') return this.make(c, 1);
    if (c === '[') {
      this.inBuckets = true;
      return this.make('[', 1);
    }
    if (c >= '0' && c <= '9') return this.scanNumber();
    const length = this.match(KEY);
    if (length === 0) return this.error(`histogram description incomplete unexpected: ${quoteRune(c.charCodeAt(0))}`);
    const word = text.slice(pos, pos + length);
    const lower = word.toLowerCase();
    if (KEYS.has(lower)) {
      return text[pos + length] === ':' ? this.make('key', length) : this.error('missing `:` for histogram descriptor');
    }
    if (isSpecialNumber(word)) return this.make('number', length);
    if (HINTS.has(lower)) return this.make('hint', length);
    return this.error(`bad histogram descriptor found: ${quote(word)}`);
  }

  private scanBuckets(): ValueToken {
    const { text, pos } = this;
    const c = text[pos] as string;
    if (c === ']') {
      this.inBuckets = false;
      return this.make(']', 1);
    }
    if (c === '-') return this.make('-', 1);
    if (c >= '0' && c <= '9') return this.scanNumber();
    const word = this.match(KEY);
    if (word > 0 && isSpecialNumber(text.slice(pos, pos + word))) return this.make('number', word);
    return this.error(`invalid character in buckets description: ${quoteRune(c.charCodeAt(0))}`);
  }

  private scanNumber(): ValueToken {
    const length = this.match(NUMBER);
    const next = this.text[this.pos + length] ?? '';
    // `3x4` repeats; any other letter makes it no number.
    if (next !== 'x' && /[A-Za-z0-9_.]/.test(next)) {
      return this.error(`bad number syntax: ${quote(this.text.slice(this.pos, this.pos + length))}`);
    }
    return this.make('number', length);
  }

  private match(pattern: RegExp): number {
    pattern.lastIndex = this.pos;
    return pattern.exec(this.text)?.[0].length ?? 0;
  }

  private make(type: string, length: number): ValueToken {
    const start = this.pos;
    this.pos += length;
    return { type, start, end: this.pos, text: this.text.slice(start, this.pos) };
  }

  private error(message: string): ValueToken {
    return { type: 'error', start: this.pos, end: this.text.length, text: message };
  }
}

function isNumberStart(text: string, pos: number): boolean {
  return /[0-9]/.test(text[pos] ?? '') || (text[pos] === '.' && /[0-9]/.test(text[pos + 1] ?? ''));
}

function isSpecialNumber(word: string): boolean {
  const lower = word.toLowerCase();
  return lower === 'inf' || lower === 'nan';
}
