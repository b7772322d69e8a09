/**
 * Native histograms as test scripts write them: `{{schema:1 sum:2 count:3 buckets:[1 2] offset:-1}}`.
 *
 * Every key is optional and means 0 or nothing when absent. `buckets` are consecutive from `offset` on, so a literal
 * has at most one span a side; printing fills gaps between spans with zeros.
 */
import { formatFloatG } from '../../lib/go-float.ts';
import {
  type CounterResetHint,
  CUSTOM_BUCKETS_SCHEMA,
  type FloatHistogram,
  HINT_COUNTER_RESET,
  HINT_GAUGE,
  HINT_NOT_COUNTER_RESET,
  HINT_UNKNOWN,
} from '../../model/histogram.ts';
import { indicesOfSpans } from '../../model/histogram-buckets.ts';
import { parseNumber, quote } from './parse-text.ts';
import type { ValueScanner } from './series-scanner.ts';

const HINTS: Readonly<Record<string, CounterResetHint>> = {
  unknown: HINT_UNKNOWN,
  reset: HINT_COUNTER_RESET,
  not_reset: HINT_NOT_COUNTER_RESET,
  gauge: HINT_GAUGE,
};
const WHERE = 'histogram description';
const EXPECTED = 'histogram description key, e.g. buckets:[5 10 7]';

/** What the keys said: one number each, or a list. */
interface Fields {
  numbers: Map<string, number>;
  lists: Map<string, number[]>;
  hint: CounterResetHint | null;
}

/** Reads from `{{` to `}}`. */
export function parseHistogramLiteral(scanner: ValueScanner): { histogram: FloatHistogram; hintSet: boolean } {
  if (scanner.accept('{{') === null) scanner.unexpected('series values');
  const fields: Fields = { numbers: new Map(), lists: new Map(), hint: null };
  if (scanner.accept('blank') === null && scanner.peek().type !== '}}') parseFields(scanner, fields);
  if (scanner.accept('}}') === null) scanner.unexpected('series values');
  return { histogram: build(fields), hintSet: fields.hint !== null };
}

function parseFields(scanner: ValueScanner, fields: Fields): void {
  const seen = new Set<string>();
  for (;;) {
    const key =
      scanner.accept('key') ??
      scanner.unexpected(seen.size === 0 ? 'series values' : WHERE, seen.size === 0 ? '' : EXPECTED);
    const name = key.text.toLowerCase();
    if (seen.has(name)) scanner.problem({ start: 0, end: 0 }, `duplicate key ${quote(name)} in histogram`);
    seen.add(name);
    if (scanner.accept(':') === null) scanner.unexpected('series values');
    parseField(scanner, name, fields);
    const blank = scanner.accept('blank');
    if (scanner.peek().type === '}}') return;
    if (blank === null) scanner.unexpected(WHERE, EXPECTED);
  }
}

function parseField(scanner: ValueScanner, name: string, fields: Fields): void {
  switch (name) {
    case 'counter_reset_hint': {
      const hint = scanner.accept('hint') ?? scanner.unexpected('series values');
      fields.hint = HINTS[hint.text.toLowerCase()] as CounterResetHint;
      return;
    }
    case 'buckets':
    case 'n_buckets':
    case 'custom_values':
      fields.lists.set(name, parseList(scanner));
      return;
    case 'schema':
    case 'offset':
    case 'n_offset':
      fields.numbers.set(name, parseInteger(scanner));
      return;
    case 'z_bucket_w':
      fields.numbers.set(name, parseUnsigned(scanner));
      return;
    default:
      fields.numbers.set(name, parseSigned(scanner));
  }
}

function parseList(scanner: ValueScanner): number[] {
  if (scanner.accept('[') === null) scanner.unexpected('series values');
  const list = [parseSigned(scanner)];
  for (;;) {
    const blank = scanner.accept('blank');
    if (scanner.accept(']') !== null) return list;
    if (blank === null) scanner.unexpected('series values');
    list.push(parseSigned(scanner));
  }
}

function parseSigned(scanner: ValueScanner): number {
  const negative = scanner.accept('-') !== null;
  const value = parseUnsigned(scanner);
  return negative ? -value : value;
}

function parseUnsigned(scanner: ValueScanner): number {
  const token = scanner.accept('number') ?? scanner.unexpected('series values');
  const { value, reason } = parseNumber(token.text);
  if (reason !== '') scanner.problem(token, `error parsing number: ${reason}`);
  return value;
}

/** Schemas and offsets: 32 bits. */
function parseInteger(scanner: ValueScanner): number {
  const negative = scanner.accept('-') !== null;
  const token = scanner.accept('number') ?? scanner.unexpected('series values');
  if (!/^[0-9]+$/.test(token.text) || Number(token.text) > 0x7fffffff) {
    const why = `strconv.ParseUint: parsing ${quote(token.text)}: invalid syntax`;
    scanner.fail(token, `invalid repetition in series values: ${why}`);
  }
  const value = Number(token.text);
  return negative && value !== 0 ? -value : value;
}

function build({ numbers, lists, hint }: Fields): FloatHistogram {
  const number = (name: string) => numbers.get(name) ?? 0;
  const positiveBuckets = lists.get('buckets') ?? [];
  const negativeBuckets = lists.get('n_buckets') ?? [];
  return {
    schema: number('schema'),
    zeroThreshold: number('z_bucket_w'),
    zeroCount: number('z_bucket'),
    count: number('count'),
    sum: number('sum'),
    positiveSpans: positiveBuckets.length === 0 ? [] : [number('offset'), positiveBuckets.length],
    positiveBuckets,
    negativeSpans: negativeBuckets.length === 0 ? [] : [number('n_offset'), negativeBuckets.length],
    negativeBuckets,
    customValues: lists.get('custom_values') ?? [],
    counterResetHint: hint ?? HINT_UNKNOWN,
    integer: false,
  };
}

/** The literal of a histogram, as failure messages of test scripts show it. */
export function printHistogramLiteral(h: FloatHistogram): string {
  const parts: string[] = [];
  const add = (key: string, value: number) => {
    if (value !== 0) parts.push(`${key}:${formatFloatG(value)}`);
  };
  add('schema', h.schema);
  add('count', h.count);
  add('sum', h.sum);
  add('z_bucket', h.zeroCount);
  add('z_bucket_w', h.zeroThreshold);
  if (h.schema === CUSTOM_BUCKETS_SCHEMA) parts.push(`custom_values:${printList(h.customValues)}`);
  for (const [name, hint] of Object.entries(HINTS)) {
    if (hint !== HINT_UNKNOWN && hint === h.counterResetHint) parts.push(`counter_reset_hint:${name}`);
  }
  printSide('', h.positiveSpans, h.positiveBuckets, parts);
  printSide('n_', h.negativeSpans, h.negativeBuckets, parts);
  return `{{${parts.join(' ')}}}`;
}

function printSide(prefix: string, spans: readonly number[], buckets: readonly number[], out: string[]): void {
  const indices = indicesOfSpans(spans);
  const first = indices[0];
  const last = indices.at(-1);
  if (first === undefined || last === undefined) return;
  // An absurd gap would make an absurd text.
  if (last - first > 10_000) {
    out.push(`${prefix}buckets:[${buckets.length} in ${spans.length / 2} spans]`);
    return;
  }
  const dense = new Array<number>(last - first + 1).fill(0);
  for (let i = 0; i < indices.length; i++) dense[(indices[i] as number) - first] = buckets[i] ?? 0;
  if (first !== 0) out.push(`${prefix}offset:${first}`);
  out.push(`${prefix}buckets:${printList(dense)}`);
}

function printList(values: readonly number[]): string {
  return `[${values.map(formatFloatG).join(' ')}]`;
}
