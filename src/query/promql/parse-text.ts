/**
 * Text forms that PromQL takes from Go: quoted strings, numbers, and their notation in messages.
 *
 * Queries come from and go to tools written against Go's strconv, so quoting, unquoting and number formatting follow
 * it to the letter. Strings that hold bytes which are not UTF-8 (`"\xff"`) cannot be held by a JavaScript string: such
 * bytes become U+FFFD, as they would in any JSON answer.
 */
import { formatFloatF } from '../../lib/go-float.ts';

const ESCAPES: Readonly<Record<string, number>> = { a: 7, b: 8, f: 12, n: 10, r: 13, t: 9, v: 11 };
/** Go's unicode.IsPrint, apart from the ASCII space. */
const PRINTABLE = /[\p{L}\p{M}\p{N}\p{P}\p{S}]/u;

/** The string that a quoted literal stands for. The lexer has checked it already. */
export function unquote(literal: string): string {
  const body = literal.slice(1, -1);
  if (literal.charCodeAt(0) === 96 || !body.includes('\\')) return body;
  const parts: Buffer[] = [];
  let at = 0;
  while (at < body.length) {
    const next = body.indexOf('\\', at);
    if (next < 0) {
      parts.push(Buffer.from(body.slice(at)));
      break;
    }
    if (next > at) parts.push(Buffer.from(body.slice(at, next)));
    const kind = body[next + 1] as string;
    const simple = ESCAPES[kind];
    if (simple !== undefined) {
      parts.push(Buffer.of(simple));
      at = next + 2;
    } else if (kind === 'x') {
      parts.push(Buffer.of(Number.parseInt(body.slice(next + 2, next + 4), 16)));
      at = next + 4;
    } else if (kind === 'u' || kind === 'U') {
      const end = next + 2 + (kind === 'u' ? 4 : 8);
      parts.push(Buffer.from(String.fromCodePoint(Number.parseInt(body.slice(next + 2, end), 16))));
      at = end;
    } else if (kind >= '0' && kind <= '7') {
      parts.push(Buffer.of(Number.parseInt(body.slice(next + 1, next + 4), 8)));
      at = next + 4;
    } else {
      parts.push(Buffer.from(kind));
      at = next + 2;
    }
  }
  return Buffer.concat(parts).toString('utf8');
}

/** A double-quoted literal that reads back as `text`. */
export function quote(text: string): string {
  let out = '"';
  for (const char of text) out += escapeChar(char, '"');
  return `${out}"`;
}

/** A character in single quotes, as messages show it; -1 stands for the end of input. */
export function quoteRune(rune: number): string {
  if (rune < 0 || rune > 0x10ffff || (rune >= 0xd800 && rune < 0xe000)) return "'\ufffd'";
  if (rune === 0xfffd) return "'\ufffd'";
  return `'${escapeChar(String.fromCodePoint(rune), "'")}'`;
}

/** `U+0063 'c'`. */
export function describeRune(rune: number): string {
  const code = `U+${Math.max(rune, 0).toString(16).toUpperCase().padStart(4, '0')}`;
  const char = rune < 0 ? '' : String.fromCodePoint(rune);
  return char !== ' ' && !PRINTABLE.test(char) ? code : `${code} '${char}'`;
}

function escapeChar(char: string, delimiter: string): string {
  const code = char.codePointAt(0) as number;
  if (char === delimiter || char === '\\') return `\\${char}`;
  if (code >= 0x20 && code < 0x7f) return char;
  switch (code) {
    case 7:
      return '\\a';
    case 8:
      return '\\b';
    case 9:
      return '\\t';
    case 10:
      return '\\n';
    case 11:
      return '\\v';
    case 12:
      return '\\f';
    case 13:
      return '\\r';
  }
  if (code < 0x20 || code === 0x7f) return `\\x${code.toString(16).padStart(2, '0')}`;
  // U+FFFD is refused in query text, where it would mean broken UTF-8: so it is never printed as itself.
  if (code !== 0xfffd && PRINTABLE.test(char)) return char;
  return code > 0xffff ? `\\U${code.toString(16).padStart(8, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`;
}

/** Go's %f: six decimals. */
export function formatFixed6(value: number): string {
  if (!Number.isFinite(value)) return formatFloatF(value);
  return Math.abs(value) < 1e21 ? value.toFixed(6) : `${BigInt(value)}.000000`;
}

/**
 * The value of a number token: Go's integers (decimal, 0x, and a leading 0 for octal) where one fits 63 bits, else a
 * float; underscores between digits. Where it is none, `reason` says why.
 */
export function parseNumber(text: string): { value: number; reason: string } {
  const lower = text.toLowerCase();
  if (lower === 'inf') return { value: Number.POSITIVE_INFINITY, reason: '' };
  if (lower === 'nan') return { value: Number.NaN, reason: '' };
  const hex = lower.startsWith('0x');
  const plain = lower.replaceAll('_', '');
  const underscoresOk = hex ? !/__|_$/.test(lower) : !/__|_$|^_|[.e+-]_|_[.e+-]/.test(lower);
  if (underscoresOk) {
    if (hex && /^0x[0-9a-f]+$/.test(plain)) {
      const big = BigInt(plain);
      if (big < 1n << 63n) return { value: Number(big), reason: '' };
    } else if (/^0[0-7]+$/.test(plain)) {
      const big = BigInt(`0o${plain.slice(1)}`);
      if (big < 1n << 63n) return { value: Number(big), reason: '' };
    }
    if (!hex && /^([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?$/.test(plain)) {
      const value = Number(plain);
      if (Number.isFinite(value)) return { value, reason: '' };
      return failed(text, 'value out of range');
    }
  }
  return failed(text, 'invalid syntax');
}

function failed(text: string, why: string): { value: number; reason: string } {
  return { value: 0, reason: `strconv.ParseFloat: parsing ${quote(text)}: ${why}` };
}
