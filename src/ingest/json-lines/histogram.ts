/**
 * Native histograms in JSON lines, an extension of ours: a line with "histograms" in place of "values".
 *
 *     {"metric":{"__name__":"latency_seconds"},"histograms":[{"schema":3,"zeroThreshold":1e-128,"zeroCount":0,"count":3,"sum":0.7,
 *     "positiveSpans":[-6,2],"positiveBuckets":[1,2],"negativeSpans":[],"negativeBuckets":[],"customValues":[],"counterResetHint":0,
 *     "integer":true}],"timestamps":[1549891472010]}
 *
 * Spans are [offset, length, offset, length, ...], bucket counts are absolute. A sum that JSON cannot say is "NaN", "Infinity" or
 * "-Infinity". What a sender leaves out is empty, 0 or false.
 */
import { type CounterResetHint, type FloatHistogram, HINT_UNKNOWN } from '../../model/histogram.ts';
import { histogramProblem, MAX_KEPT_SCHEMA } from '../remote-write/histogram.ts';

/** Entries of one list, as remote write has it. */
const ENTRIES_MAX = 1 << 16;
const TEXTS: ReadonlyMap<unknown, number> = new Map<unknown, number>([
  ['NaN', Number.NaN],
  ['Infinity', Number.POSITIVE_INFINITY],
  ['-Infinity', Number.NEGATIVE_INFINITY],
]);
const NUMBERS = ['schema', 'zeroThreshold', 'zeroCount', 'count', 'sum', 'counterResetHint'] as const;
const LISTS = ['positiveSpans', 'positiveBuckets', 'negativeSpans', 'negativeBuckets', 'customValues'] as const;
const KEYS: ReadonlySet<string> = new Set([...NUMBERS, ...LISTS, 'integer']);

/** The histogram, or what is wrong with it. */
export function histogramOfJson(value: unknown): FloatHistogram | string {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'it is not an object';
  const from = value as Record<string, unknown>;
  const stranger = Object.keys(from).find(key => !KEYS.has(key));
  if (stranger !== undefined) return `it has the unknown key ${JSON.stringify(stranger)}`;
  const numbers: Record<string, number> = {};
  for (const key of NUMBERS) {
    const n = numberOf(from[key] ?? 0);
    if (n === null) return `"${key}" is not a number`;
    numbers[key] = n;
  }
  const lists: Record<string, number[]> = {};
  for (const key of LISTS) {
    const list = from[key] ?? [];
    if (!Array.isArray(list) || list.length > ENTRIES_MAX)
      return `"${key}" is not a list of up to ${ENTRIES_MAX} numbers`;
    const of = list.map(numberOf);
    if (of.includes(null)) return `"${key}" holds what is not a number`;
    lists[key] = of as number[];
  }
  if (typeof (from.integer ?? false) !== 'boolean') return '"integer" is neither true nor false';
  const histogram = { ...numbers, ...lists, integer: from.integer === true } as unknown as FloatHistogram;
  const problem = shapeProblem(histogram) || histogramProblem(histogram);
  return problem === '' ? histogram : problem;
}

/** What remote write's messages cannot hold in the first place. */
function shapeProblem(h: FloatHistogram): string {
  if (!Number.isInteger(h.schema) || h.schema > MAX_KEPT_SCHEMA) return `schema ${h.schema} is not kept`;
  const hint: CounterResetHint = h.counterResetHint;
  if (!Number.isInteger(hint) || hint < HINT_UNKNOWN || hint > 3)
    return `the counter reset hint ${hint} is not one of 0 to 3`;
  for (const spans of [h.positiveSpans, h.negativeSpans]) {
    if (spans.length % 2 !== 0) return 'a span has no length';
    if (!spans.every((n, i) => Number.isInteger(n) && (i % 2 === 0 || n >= 0))) return 'a span is not of whole numbers';
  }
  if (!h.integer) return '';
  const whole = [h.count, h.zeroCount, ...h.positiveBuckets, ...h.negativeBuckets].every(Number.isInteger);
  return whole ? '' : 'a count is not whole, though "integer" is true';
}

function numberOf(value: unknown): number | null {
  return typeof value === 'number' ? value : (TEXTS.get(value) ?? null);
}
