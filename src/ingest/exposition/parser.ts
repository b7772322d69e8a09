/**
 * ExpositionParser: an exposition, entry by entry, from bytes: Prometheus text 0.0.4 and OpenMetrics 1.0.
 *
 * `next()` returns the kind of the next entry and fills the public fields; there is no object per line. A series is
 * found by its extent only (`seriesStart`, `seriesEnd`): whoever has met the same bytes before need not read its labels
 * again (series-cache.ts), others call `readSeries`. What is accepted follows Prometheus' scraper: lenient about blanks
 * and commas in text, strict in OpenMetrics, which must also end in `# EOF`.
 *
 * Errors carry line and column (in bytes, from 1). After an error, `skipLine` goes on with the next line.
 */
import { parseFloatBytes, utf8 } from './float.ts';
import type { SeriesCache } from './series-cache.ts';
import {
  closingQuote,
  type ExpositionFormat,
  nameEnd,
  seriesEnd,
  skipBlanks,
  TextError,
  unescapeHelp,
  unescapeText,
} from './series-text.ts';

export const ENTRY_END = 0;
export const ENTRY_SERIES = 1;
export const ENTRY_TYPE = 2;
export const ENTRY_HELP = 3;
export const ENTRY_UNIT = 4;
export const ENTRY_COMMENT = 5;
export type EntryKind = 0 | 1 | 2 | 3 | 4 | 5;

export class ExpositionError extends Error {
  override name = 'ExpositionError';
  /** From 1. */
  readonly line: number;
  /** In bytes, from 1. */
  readonly column: number;

  constructor(message: string, line: number, column: number) {
    super(`line ${line}, column ${column}: ${message}`);
    this.line = line;
    this.column = column;
  }
}

const OPENMETRICS_TYPES = new Set([
  'counter',
  'gauge',
  'histogram',
  'gaugehistogram',
  'summary',
  'info',
  'stateset',
  'unknown',
]);

const NEWLINE = 0x0a;
const SPACE = 0x20;
const HASH = 0x23;
const TAB = 0x09;

export class ExpositionParser {
  readonly format: ExpositionFormat;
  bytes: Uint8Array = new Uint8Array(0);
  private view = new DataView(this.bytes.buffer);
  /** Series of earlier texts, whose ends need not be looked for. */
  known: SeriesCache | null = null;
  private at = 0;
  private end = 0;
  /** Line of the entry, from 1, and where it begins. */
  line = 1;
  lineStart = 0;
  private nextLine = 1;
  private nextLineStart = 0;
  /** Whether `# EOF` has been read. */
  private finished = false;

  // The entry that `next` returned.
  seriesStart = 0;
  seriesEnd = 0;
  /** [0] is the value of a sample, [1] that of its exemplar. */
  readonly values = new Float64Array(2);
  hasTimestamp = false;
  timestampMs = 0;
  hasExemplar = false;
  /** `{...}` of the exemplar. */
  exemplarStart = 0;
  exemplarEnd = 0;
  exemplarHasTimestamp = false;
  exemplarTimestampMs = 0;
  /** Of TYPE, HELP and UNIT entries. */
  metric = '';
  text = '';
  private readonly scratch = new Float64Array(1);

  constructor(format: ExpositionFormat) {
    this.format = format;
  }

  /** Begins with new bytes; `line` is the number of their first line. */
  reset(bytes: Uint8Array, start = 0, end = bytes.length, line = 1): void {
    if (bytes !== this.bytes) {
      this.bytes = bytes;
      this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    }
    this.at = start;
    this.end = end;
    this.nextLine = line;
    this.nextLineStart = start;
    this.line = line;
    this.lineStart = start;
    this.finished = false;
  }

  next(): EntryKind {
    try {
      return this.format === 'text' ? this.nextText() : this.nextOpenMetrics();
    } catch (error) {
      throw error instanceof TextError ? this.positioned(error) : error;
    }
  }

  /** After an error: goes on behind the line in which it happened. Returns false at the end of the text. */
  skipLine(): boolean {
    if (this.lineStart >= this.end) return false;
    this.finishLine(this.lineEnd(this.lineStart));
    return true;
  }

  /** Where the next entry begins, and the number of its line. */
  position(): { at: number; line: number } {
    return { at: this.at, line: this.nextLine };
  }

  /** An error about the current entry, for callers that find one. */
  positioned(error: TextError): ExpositionError {
    return new ExpositionError(error.message, this.line, error.at - this.lineStart + 1);
  }

  private nextText(): EntryKind {
    const b = this.bytes;
    for (;;) {
      this.line = this.nextLine;
      this.lineStart = this.nextLineStart;
      const p = skipBlanks(b, this.at, this.end);
      if (p >= this.end) {
        this.at = p;
        return ENTRY_END;
      }
      const c = b[p];
      if (c === NEWLINE) {
        this.finishLine(p);
        continue;
      }
      if (c === 0x0d && (p + 1 === this.end || b[p + 1] === NEWLINE)) {
        this.finishLine(p + 1);
        continue;
      }
      return c === HASH ? this.textComment(p) : this.textSample(p);
    }
  }

  private textComment(hash: number): EntryKind {
    const b = this.bytes;
    const eol = this.lineEnd(hash);
    const p = skipBlanks(b, hash + 1, eol);
    const kind = p > hash + 1 ? keyword(b, p, eol) : ENTRY_COMMENT;
    if (kind !== ENTRY_TYPE && kind !== ENTRY_HELP) return this.comment(hash, eol);
    const name = skipBlanks(b, p + 4, eol);
    // A bare `# HELP` is a comment.
    if (name === p + 4 || name === eol) return this.comment(hash, eol);
    const after = this.metaName(name, eol);
    const text = skipBlanks(b, after, eol);
    if (text === after && text < eol) throw new TextError('invalid metric name in a comment', after);
    const textEnd = eol > text && b[eol - 1] === 0x0d ? eol - 1 : eol;
    if (kind === ENTRY_HELP) this.text = unescapeHelp(b, text, textEnd, 'text');
    else this.text = this.typeName(text, textEnd);
    this.finishLine(eol);
    return kind;
  }

  private typeName(start: number, end: number): string {
    let last = end;
    while (last > start && (this.bytes[last - 1] === SPACE || this.bytes[last - 1] === TAB)) last--;
    const type = utf8(this.bytes, start, last).toLowerCase();
    if (type === 'untyped') return 'unknown';
    if (type === 'gauge_histogram') return 'gaugehistogram';
    if (!OPENMETRICS_TYPES.has(type)) throw new TextError(`invalid metric type ${JSON.stringify(type)}`, start);
    return type;
  }

  private comment(start: number, eol: number): EntryKind {
    this.seriesStart = start;
    this.seriesEnd = eol;
    this.finishLine(eol);
    return ENTRY_COMMENT;
  }

  private textSample(start: number): EntryKind {
    const b = this.bytes;
    const end = this.end;
    const after = this.endOfSeries(start);
    if (after === start) throw new TextError('expected a metric name or a comment', start);
    this.seriesStart = start;
    this.seriesEnd = after;
    let p = skipBlanks(b, after, end);
    if (p === after && b[after - 1] !== 0x7d) throw new TextError('expected a blank or { after the metric name', after);
    let q = wordEnd(b, p, end);
    if (q === p) throw new TextError('expected a value', p);
    this.value(p, q, 0);
    p = skipBlanks(b, q, end);
    this.hasTimestamp = false;
    this.hasExemplar = false;
    if (p < end && b[p] !== NEWLINE && b[p] !== 0x0d) {
      q = wordEnd(b, p, end);
      this.timestampMs = this.integer(p, q);
      this.hasTimestamp = true;
      p = skipBlanks(b, q, end);
    }
    if (b[p] === 0x0d && p < end) p++;
    if (p < end && b[p] !== NEWLINE) throw new TextError('unexpected text after the sample', p);
    this.finishLine(p);
    return ENTRY_SERIES;
  }

  private endOfSeries(start: number): number {
    // Fast path: the series that stood here the last time.
    const known = this.known?.match(this.bytes, this.view, start, this.end) ?? -1;
    return known >= 0 ? known : seriesEnd(this.bytes, start, this.end, this.format);
  }

  private nextOpenMetrics(): EntryKind {
    const b = this.bytes;
    this.line = this.nextLine;
    this.lineStart = this.nextLineStart;
    const p = this.at;
    if (p >= this.end) {
      if (!this.finished) throw new TextError('the exposition does not end with # EOF', p);
      return ENTRY_END;
    }
    if (this.finished) throw new TextError('unexpected text after # EOF', p);
    return b[p] === HASH ? this.openMetricsComment(p) : this.openMetricsSample(p);
  }

  private openMetricsComment(hash: number): EntryKind {
    const b = this.bytes;
    const eol = this.lineEnd(hash);
    const p = hash + 2;
    if (b[hash + 1] !== SPACE) throw new TextError('expected # TYPE, # HELP, # UNIT or # EOF', hash);
    if (eol - p >= 3 && b[p] === 0x45 && b[p + 1] === 0x4f && b[p + 2] === 0x46) {
      if (eol !== p + 3) throw new TextError('unexpected text after # EOF', p + 3);
      this.finished = true;
      this.finishLine(eol);
      return this.nextOpenMetrics();
    }
    const kind = keyword(b, p, eol);
    if (kind === ENTRY_COMMENT || b[p + 4] !== SPACE) {
      throw new TextError('expected # TYPE, # HELP, # UNIT or # EOF', hash);
    }
    const after = this.metaName(p + 5, eol);
    if (after === eol || b[after] !== SPACE) throw new TextError('expected a blank and a text after the name', after);
    if (eol === this.end) throw new TextError('the line is not ended', eol);
    const text = after + 1;
    if (kind === ENTRY_HELP) this.text = unescapeHelp(b, text, eol, 'openmetrics');
    else this.text = utf8(b, text, eol);
    if (kind === ENTRY_TYPE && !OPENMETRICS_TYPES.has(this.text)) {
      throw new TextError(`invalid metric type ${JSON.stringify(this.text)}`, text);
    }
    if (kind === ENTRY_UNIT && this.text !== '' && !this.metric.endsWith(`_${this.text}`)) {
      throw new TextError(
        `unit ${JSON.stringify(this.text)} is not a suffix of metric ${JSON.stringify(this.metric)}`,
        text,
      );
    }
    this.finishLine(eol);
    return kind;
  }

  private openMetricsSample(start: number): EntryKind {
    const b = this.bytes;
    const end = this.end;
    const after = this.endOfSeries(start);
    if (after === start) throw new TextError('expected a metric name or a comment', start);
    this.seriesStart = start;
    this.seriesEnd = after;
    let p = this.spacedNumber(after, 0, 'a value');
    this.hasTimestamp = false;
    this.hasExemplar = false;
    if (b[p] === SPACE && p < end && b[p + 1] !== HASH) {
      p = this.spacedTimestamp(p);
      this.timestampMs = this.scratch[0] as number;
      this.hasTimestamp = true;
    }
    if (b[p] === SPACE && b[p + 1] === HASH && p + 1 < end) p = this.exemplar(p);
    if (p < end && b[p] !== NEWLINE) throw new TextError('unexpected text after the sample', p);
    this.finishLine(p);
    return ENTRY_SERIES;
  }

  /** ` # {labels} value [timestamp]` at p. */
  private exemplar(at: number): number {
    const b = this.bytes;
    if (b[at + 2] !== SPACE || b[at + 3] !== 0x7b) throw new TextError('expected # { before an exemplar', at + 1);
    this.exemplarStart = at + 3;
    this.exemplarEnd = seriesEnd(b, at + 3, this.end, 'openmetrics');
    this.hasExemplar = true;
    let p = this.spacedNumber(this.exemplarEnd, 1, 'a value after the exemplar labels');
    this.exemplarHasTimestamp = false;
    if (b[p] === SPACE && p < this.end) {
      p = this.spacedTimestamp(p);
      this.exemplarTimestampMs = this.scratch[0] as number;
      this.exemplarHasTimestamp = true;
    }
    return p;
  }

  /** One blank and a number at p, into values[slot]. Returns the end of it. */
  private spacedNumber(p: number, slot: number, what: string): number {
    if (p >= this.end || this.bytes[p] !== SPACE) throw new TextError(`expected ${what}`, Math.min(p, this.end));
    const q = spacedWordEnd(this.bytes, p + 1, this.end);
    if (q === p + 1) throw new TextError(`expected ${what}`, q);
    this.value(p + 1, q, slot);
    return q;
  }

  /** One blank and a time in seconds at p; the milliseconds go to scratch[0]. */
  private spacedTimestamp(p: number): number {
    const q = spacedWordEnd(this.bytes, p + 1, this.end);
    if (q === p + 1 || !parseFloatBytes(this.bytes, p + 1, q, this.scratch)) {
      throw new TextError('expected a timestamp in seconds', p + 1);
    }
    const ms = (this.scratch[0] as number) * 1000;
    if (!Number.isFinite(ms)) throw new TextError('the timestamp is not finite', p + 1);
    this.scratch[0] = Math.trunc(ms);
    return q;
  }

  private value(start: number, end: number, slot: number): void {
    if (!parseFloatBytes(this.bytes, start, end, this.scratch)) {
      throw new TextError(
        `${JSON.stringify(utf8(this.bytes, start, Math.min(end, start + 40)))} is not a number`,
        start,
      );
    }
    this.values[slot] = this.scratch[0] as number;
  }

  /** A timestamp of the text format: whole milliseconds. */
  private integer(start: number, end: number): number {
    let p = start;
    const negative = this.bytes[p] === 0x2d;
    if (negative) p++;
    let n = 0;
    const digits = p;
    for (; p < end; p++) {
      const c = this.bytes[p] as number;
      if (c < 0x30 || c > 0x39) break;
      n = n * 10 + (c - 0x30);
    }
    if (p !== end || p === digits || n > Number.MAX_SAFE_INTEGER) {
      throw new TextError('expected a timestamp in whole milliseconds', start);
    }
    return negative ? -n : n;
  }

  /** A metric name at p, plain or quoted; returns its end. */
  private metaName(p: number, eol: number): number {
    const b = this.bytes;
    if (b[p] === 0x22 && p < eol) {
      const close = closingQuote(b, p, eol);
      this.metric = unescapeText(b, p + 1, close);
      return close + 1;
    }
    const after = nameEnd(b, p, eol);
    if (after === p) throw new TextError('expected a metric name', p);
    this.metric = utf8(b, p, after);
    return after;
  }

  private lineEnd(p: number): number {
    const eol = this.bytes.indexOf(NEWLINE, p);
    return eol < 0 || eol > this.end ? this.end : eol;
  }

  private finishLine(eol: number): void {
    this.at = Math.min(eol + 1, this.end);
    this.nextLine = this.line + 1;
    this.nextLineStart = this.at;
  }
}

function keyword(b: Uint8Array, p: number, eol: number): EntryKind {
  if (eol - p < 4) return ENTRY_COMMENT;
  const word =
    ((b[p] as number) << 24) | ((b[p + 1] as number) << 16) | ((b[p + 2] as number) << 8) | (b[p + 3] as number);
  // 'HELP', 'TYPE', 'UNIT'
  if (word === 0x48454c50) return ENTRY_HELP;
  if (word === 0x54595045) return ENTRY_TYPE;
  if (word === 0x554e4954) return ENTRY_UNIT;
  return ENTRY_COMMENT;
}

/** Up to a blank, a line end or a brace. */
function wordEnd(b: Uint8Array, p: number, end: number): number {
  let q = p;
  for (; q < end; q++) {
    const c = b[q] as number;
    if (c === SPACE || c === TAB || c === NEWLINE || c === 0x0d || c === 0x7b) break;
  }
  return q;
}

function spacedWordEnd(b: Uint8Array, p: number, end: number): number {
  let q = p;
  while (q < end && b[q] !== SPACE && b[q] !== NEWLINE) q++;
  return q;
}
