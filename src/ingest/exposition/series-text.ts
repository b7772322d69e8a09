/**
 * The series part of an exposition line, `name{label="value",...}` or `{"name",label="value",...}`: finding its end, and
 * reading its labels.
 *
 *     series  = [name] [ "{" [item {"," item} [","]] "}" ]
 *     item    = '"' metric name '"'  |  label "=" '"' value '"'
 *     label   = [a-zA-Z_][a-zA-Z0-9_]*  |  '"' any text '"'
 *
 * The text format allows blanks between tokens and forgets about missing commas, as Prometheus' scraper does;
 * OpenMetrics allows neither. Escapes in quotes: \\ \" \n; a backslash before anything else stands for itself.
 */
import { isUtf8 } from '../../lib/kernel/js-backend.ts';
import type { LabelSet } from '../label-set.ts';
import { utf8 } from './float.ts';

export type ExpositionFormat = 'text' | 'openmetrics';

/** What is wrong with the input, and where: `at` is a byte offset in the array being read. */
export class TextError extends Error {
  override name = 'TextError';
  at: number;

  constructor(message: string, at: number) {
    super(message);
    this.at = at;
  }
}

const NAME_START = 1;
const LABEL_START = 2;
const DIGIT = 4;
const CLASS = new Uint8Array(256);
for (let c = 0; c < 256; c++) {
  const letter = (c >= 0x41 && c <= 0x5a) || (c >= 0x61 && c <= 0x7a) || c === 0x5f;
  if (letter) CLASS[c] = NAME_START | LABEL_START;
  else if (c === 0x3a) CLASS[c] = NAME_START;
  else if (c >= 0x30 && c <= 0x39) CLASS[c] = DIGIT;
}

const NEWLINE = 0x0a;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const NAME_BYTES = new TextEncoder().encode('__name__');

/** The end of the metric name at p; p itself if there is none. */
export function nameEnd(b: Uint8Array, p: number, end: number): number {
  if (p >= end || ((CLASS[b[p] as number] as number) & NAME_START) === 0) return p;
  let q = p + 1;
  while (q < end && CLASS[b[q] as number] !== 0) q++;
  return q;
}

export function skipBlanks(b: Uint8Array, p: number, end: number): number {
  let q = p;
  while (q < end && (b[q] === 0x20 || b[q] === 0x09)) q++;
  return q;
}

/** The position of the closing quote of the string that opens at p. */
export function closingQuote(b: Uint8Array, p: number, end: number): number {
  for (let q = p + 1; q < end; q++) {
    const c = b[q];
    if (c === QUOTE) return q;
    if (c === BACKSLASH) q++;
    else if (c === NEWLINE) throw new TextError('a quoted text runs past the end of the line', p);
  }
  throw new TextError('a quoted text is not closed', p);
}

/** The end of the series text at p, without checking what stands between the braces; p itself if none begins there. */
export function seriesEnd(b: Uint8Array, p: number, end: number, format: ExpositionFormat): number {
  const name = nameEnd(b, p, end);
  let q = format === 'text' ? skipBlanks(b, name, end) : name;
  if (b[q] !== 0x7b || q >= end) return name;
  for (q++; q < end; q++) {
    const c = b[q];
    if (c === 0x7d) return q + 1;
    if (c === QUOTE) q = closingQuote(b, q, end);
    else if (c === NEWLINE) break;
  }
  throw new TextError('expected } before the end of the line', Math.min(q, end));
}

/** Reads the labels of the series text [start, end) into `set`, the metric name as `__name__`; clears the set first. */
export function readSeries(b: Uint8Array, start: number, end: number, format: ExpositionFormat, set: LabelSet): void {
  set.clear();
  const name = nameEnd(b, start, end);
  let named = name > start;
  if (named) set.addBytes(NAME_BYTES, 0, NAME_BYTES.length, b, start, name);
  const open = skipBlanks(b, name, end);
  if (open < end) named = readBraces(b, open, end, format, set, named);
  if (!named) throw new TextError('the metric name is missing', start);
}

/** Reads the labels of an exemplar, `{...}` alone, into `set`; clears the set first. */
export function readExemplarLabels(b: Uint8Array, start: number, end: number, set: LabelSet): void {
  set.clear();
  readBraces(b, start, end, 'openmetrics', set, true);
}

/** Reads `{...}` at p, which reaches to `end`. Returns whether a metric name has been seen. */
function readBraces(
  b: Uint8Array,
  open: number,
  end: number,
  format: ExpositionFormat,
  set: LabelSet,
  alreadyNamed: boolean,
): boolean {
  const blanks = format === 'text';
  let named = alreadyNamed;
  let p = open + 1;
  for (let first = true; ; first = false) {
    if (blanks) p = skipBlanks(b, p, end);
    if (b[p] === 0x7d) break;
    if (!first) {
      if (b[p] === 0x2c) {
        p = blanks ? skipBlanks(b, p + 1, end) : p + 1;
        if (b[p] === 0x7d) break;
      } else if (!blanks) throw new TextError('expected a comma or } after a label', p);
    }
    const item = readItem(b, p, end, blanks, set, named);
    if (item.isName) named = true;
    p = item.end;
  }
  if (p !== end - 1) throw new TextError('unexpected text after }', p + 1);
  return named;
}

const item = { end: 0, isName: false };

function readItem(b: Uint8Array, p: number, end: number, blanks: boolean, set: LabelSet, named: boolean): typeof item {
  const quoted = b[p] === QUOTE;
  const labelStart = quoted ? p + 1 : p;
  const labelEnd = quoted ? closingQuote(b, p, end) : plainLabelEnd(b, p, end);
  let q = quoted ? labelEnd + 1 : labelEnd;
  if (blanks) q = skipBlanks(b, q, end);
  if (b[q] !== 0x3d) {
    if (!quoted || (b[q] !== 0x2c && b[q] !== 0x7d)) throw new TextError('expected = after a label name', q);
    if (named) throw new TextError('a second metric name', p);
    addText(set, NAME_BYTES, 0, NAME_BYTES.length, b, labelStart, labelEnd, p);
    item.end = q;
    item.isName = true;
    return item;
  }
  q = blanks ? skipBlanks(b, q + 1, end) : q + 1;
  if (b[q] !== QUOTE) throw new TextError('expected a quoted label value', q);
  const valueEnd = closingQuote(b, q, end);
  addText(set, b, labelStart, labelEnd, b, q + 1, valueEnd, p);
  item.end = valueEnd + 1;
  item.isName = false;
  return item;
}

function plainLabelEnd(b: Uint8Array, p: number, end: number): number {
  if (p >= end || ((CLASS[b[p] as number] as number) & LABEL_START) === 0)
    throw new TextError('expected a label name', p);
  let q = p + 1;
  // Colons are for metric names only.
  while (q < end && ((CLASS[b[q] as number] as number) & (LABEL_START | DIGIT)) !== 0) q++;
  return q;
}

function addText(
  set: LabelSet,
  names: Uint8Array,
  nameStart: number,
  nameEndAt: number,
  b: Uint8Array,
  valueStart: number,
  valueEnd: number,
  at: number,
): void {
  if (nameStart === nameEndAt) throw new TextError('a label name is empty', at);
  if (!isUtf8(names, nameStart, nameEndAt)) throw new TextError('a label name is not valid UTF-8', at);
  if (!isUtf8(b, valueStart, valueEnd)) throw new TextError('a label value is not valid UTF-8', valueStart);
  // Fast path: no escapes on either side.
  if (!hasBackslash(names, nameStart, nameEndAt) && !hasBackslash(b, valueStart, valueEnd)) {
    set.addBytes(names, nameStart, nameEndAt, b, valueStart, valueEnd);
  } else set.addStrings(unescapeText(names, nameStart, nameEndAt), unescapeText(b, valueStart, valueEnd));
  if (set.tooLarge) throw new TextError('the series has too many or too long labels', at);
}

function hasBackslash(b: Uint8Array, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (b[i] === BACKSLASH) return true;
  return false;
}

/** Text between quotes, escapes resolved. */
export function unescapeText(b: Uint8Array, start: number, end: number): string {
  const text = utf8(b, start, end);
  if (!text.includes('\\')) return text;
  return text.replace(/\\[\\"n]/g, m => (m === '\\n' ? '\n' : (m[1] as string)));
}

/** HELP text: in the text format quotes are not escaped. */
export function unescapeHelp(b: Uint8Array, start: number, end: number, format: ExpositionFormat): string {
  const text = utf8(b, start, end);
  if (!text.includes('\\')) return text;
  return text.replace(format === 'text' ? /\\[\\n]/g : /\\[\\"n]/g, m => (m === '\\n' ? '\n' : (m[1] as string)));
}
