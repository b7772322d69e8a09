/**
 * The texts of PromQL's annotations, in one place, and LeafNotes, where a leaf collects its own. Positions are added by
 * the engine. Users and dashboards match on these texts, so they are Prometheus' to the letter.
 */
import type { LeafNote } from '../../../contracts/leaf-source.ts';
import { formatFloatG, formatFloatPrecision } from '../../../lib/go-float.ts';

const W = 'PromQL warning: ';
const I = 'PromQL info: ';

export type HistogramOperation = 'addition' | 'subtraction' | 'aggregation';

/** Go's %q for what stands in names: quotes, backslashes and control characters escaped. */
export function goQuote(s: string): string {
  let out = '"';
  for (const c of s) {
    const code = c.codePointAt(0) as number;
    if (c === '"' || c === '\\') out += `\\${c}`;
    else if (c === '\n') out += '\\n';
    else if (c === '\t') out += '\\t';
    else if (c === '\r') out += '\\r';
    else if (code < 0x20 || code === 0x7f) out += `\\x${code.toString(16).padStart(2, '0')}`;
    else out += c;
  }
  return `${out}"`;
}

function forName(text: string, name: string): string {
  return name === '' ? text : `${text} for metric name ${goQuote(name)}`;
}

export const NOTES = {
  invalidQuantile: (q: number) => `${W}quantile value should be between 0 and 1, got ${formatFloatG(q)}`,
  invalidRatio: (r: number, to: number) =>
    `${W}ratio value should be between -1 and 1, got ${formatFloatG(r)}, capping to ${formatFloatG(to)}`,
  badBucketLabel: (name: string, value: string) =>
    forName(`${W}bucket label "le" is missing or has a malformed value of ${goQuote(value)}`, name),
  mixedFloatsHistograms: (name: string) =>
    `${W}encountered a mix of histograms and floats for metric name ${goQuote(name)}`,
  mixedFloatsHistogramsAggregation: () => `${W}encountered a mix of histograms and floats for aggregation`,
  mixedClassicNative: (name: string) => forName(`${W}vector contains a mix of classic and native histograms`, name),
  notCounter: (name: string) => `${W}this native histogram metric is not a counter: ${goQuote(name)}`,
  notGauge: (name: string) => `${W}this native histogram metric is not a gauge: ${goQuote(name)}`,
  mixedExponentialCustom: (name: string) =>
    `${W}vector contains a mix of histograms with exponential and custom buckets schemas for metric name ${goQuote(name)}`,
  incompatibleBucketLayout: (op: string) => `${W}incompatible bucket layout encountered for binary operator ${op}`,
  counterResetCollision: (op: HistogramOperation) => `${W}conflicting counter resets during histogram ${op}`,
  startTimeOverlap: (name: string) =>
    `${W}sample has start time that overlaps with previous sample timestamp for metric ${goQuote(name)}`,
  sortInRange: () => `${W}sort is ineffective for range queries since results are always ordered by labels`,
  possibleNonCounter: (name: string) =>
    `${I}metric might not be a counter, name does not end in _total/_sum/_count/_bucket: ${goQuote(name)}`,
  possibleNonCounterLabel: (name: string, type: string) =>
    `${I}metric might not be a counter, __type__ label is not set to "counter" or "histogram", got ${goQuote(type)}: ${goQuote(name)}`,
  incompatibleTypes: (left: string, op: string, right: string) =>
    `${I}incompatible sample types encountered for binary operator ${goQuote(op)}: ${left} ${op} ${right}`,
  histogramIgnoredInAggregation: (op: string) => `${I}ignored histogram in ${op} aggregation`,
  histogramIgnoredInMixedRange: (name: string) =>
    `${I}ignored histograms in a range containing both floats and histograms for metric name ${goQuote(name)}`,
  quantileNaNResult: (name: string) =>
    forName(`${I}input to histogram_quantile has NaN observations, result is NaN`, name),
  quantileNaNSkew: (name: string) =>
    forName(`${I}input to histogram_quantile has NaN observations, result is skewed higher`, name),
  fractionNaNs: (name: string) =>
    forName(`${I}input to histogram_fraction has NaN observations, which are excluded from all fractions`, name),
  mismatchedCustomBuckets: (op: HistogramOperation) => `${I}mismatched custom buckets were reconciled during ${op}`,
  forcedMonotonicity: (name: string) =>
    forName(
      `${I}input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)`,
      name,
    ),
  forcedMonotonicityDetail: (
    minBucket: number,
    maxBucket: number,
    maxDiff: number,
    samples: number,
    from: string,
    to: string,
  ) =>
    `, from buckets ${formatFloatG(minBucket)} to ${formatFloatG(maxBucket)}, with a max diff of ${formatFloatPrecision(maxDiff, 2)}, over ${samples} samples from ${from} to ${to}`,
} as const;

/** At most this many different notes of a kind per leaf: one per metric is useful, one per series of a bad selector is not. */
const NOTES_MAX = 1000;

/** What a leaf has to say, each text once. */
export class LeafNotes {
  readonly warnings: LeafNote[] = [];
  readonly infos: LeafNote[] = [];
  private readonly seen = new Set<string>();

  warn(message: string, of: 'function' | 'aggregate' | 'source' = 'function'): void {
    this.add(this.warnings, message, of);
  }

  info(message: string, of: 'function' | 'aggregate' | 'source' = 'function'): void {
    this.add(this.infos, message, of);
  }

  private add(list: LeafNote[], message: string, of: 'function' | 'aggregate' | 'source'): void {
    const key = of + message;
    if (this.seen.has(key) || list.length >= NOTES_MAX) return;
    this.seen.add(key);
    list.push(of === 'function' ? { message } : { message, of });
  }
}
