/**
 * Loading a script's series into a store.
 *
 * Two things happen to the samples on the way, so that every store shows what a Prometheus head would after the same
 * appends: counter histograms get the reset hints that follow from their neighbours, and `load_with_nhcb` adds to each
 * family of classic buckets its native form with custom bounds.
 */
import { parseFloatGo } from '../../lib/go-float.ts';
import {
  type CounterResetHint,
  CUSTOM_BUCKETS_SCHEMA,
  type FloatHistogram,
  HINT_COUNTER_RESET,
  HINT_GAUGE,
  HINT_NOT_COUNTER_RESET,
  HINT_UNKNOWN,
} from '../../model/histogram.ts';
import { spansOfIndices } from '../../model/histogram-buckets.ts';
import { detectReset, withHint } from '../../model/histogram-math.ts';
import { dropLabels, getLabel, type Labels, labelsKey, METRIC_NAME, withLabel } from '../../model/labels.ts';
import { parseSeriesDescription, parseStartTimestampDescription } from '../promql/series-description.ts';
import { type Line, type LoadCommand, ScriptError } from './script.ts';

/** One sample to store: a float, a staleness marker (which a bare number could not carry) or a histogram. */
export interface TestSample {
  t: number;
  stale?: boolean;
  value?: number;
  histogram?: FloatHistogram;
  startTimestamp?: number;
}

export interface TestSeries {
  labels: Labels;
  samples: TestSample[];
}

export function seriesOfLoad(command: LoadCommand): TestSeries[] {
  // Of two lines for one series in a load the later counts.
  const byKey = new Map<string, TestSeries>();
  let starts: (number | null)[] | null = null;
  for (const line of command.series) {
    if (/@st$/.test(firstWord(line.text))) {
      starts = described(line, () => parseStartTimestampDescription(line.text).offsetsMs);
      continue;
    }
    const { labels, values } = described(line, () => parseSeriesDescription(line.text));
    const samples: TestSample[] = [];
    values.forEach((v, k) => {
      if (v.omitted) return;
      const t = k * command.intervalMs;
      const offset = starts?.[k] ?? null;
      const startTimestamp = offset === null ? {} : { startTimestamp: t + offset };
      if (v.stale) samples.push({ t, stale: true, ...startTimestamp });
      else if (v.histogram !== null) samples.push({ t, histogram: v.histogram, ...startTimestamp });
      else samples.push({ t, value: v.value, ...startTimestamp });
    });
    starts = null;
    byKey.set(labelsKey(labels), { labels, samples });
  }
  const out = [...byKey.values()];
  if (command.withNhcb) out.push(...customBucketSeries(out));
  return out;
}

/** A series up to its first blank outside of braces and quotes. */
function firstWord(text: string): string {
  let depth = 0;
  let quote = '';
  for (let i = 0; i < text.length; i++) {
    const c = text[i] as string;
    if (quote !== '') {
      if (c === '\\') i++;
      else if (c === quote) quote = '';
    } else if (c === '"' || c === "'" || c === '`') quote = c;
    else if (c === '{') depth++;
    else if (c === '}') depth--;
    else if (depth === 0 && /\s/.test(c)) return text.slice(0, i);
  }
  return text;
}

export function described<T>(line: Line, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw new ScriptError(line.number, `invalid series line: ${(error as Error).message}`);
  }
}

/** The reset hint each histogram of a series has once it is stored after those before it. */
export class ResetHints {
  private readonly last = new Map<string, FloatHistogram | null>();

  apply(series: TestSeries): TestSeries {
    const key = labelsKey(series.labels);
    let last = this.last.get(key) ?? null;
    const samples = series.samples.map(s => {
      if (s.histogram === undefined) {
        last = null;
        return s;
      }
      const histogram = withHint(s.histogram, hintAfter(last, s.histogram));
      last = histogram;
      return { ...s, histogram };
    });
    this.last.set(key, last);
    return { labels: series.labels, samples };
  }
}

function hintAfter(last: FloatHistogram | null, h: FloatHistogram): CounterResetHint {
  if (h.counterResetHint === HINT_GAUGE || h.counterResetHint === HINT_COUNTER_RESET) return h.counterResetHint;
  if (last === null || last.counterResetHint === HINT_GAUGE) return HINT_UNKNOWN;
  if (h.schema !== last.schema || h.zeroThreshold !== last.zeroThreshold) return HINT_UNKNOWN;
  // A reset that was found and not sent is not marked: whoever reads the sample finds it again.
  return detectReset(withHint(h, HINT_UNKNOWN), last) ? HINT_UNKNOWN : HINT_NOT_COUNTER_RESET;
}

interface ClassicFamily {
  labels: Labels;
  byTime: Map<number, { buckets: { upper: number; count: number }[]; sum: number; count: number | null }>;
}

const LE = new Set(['le']);

function customBucketSeries(series: readonly TestSeries[]): TestSeries[] {
  const families = new Map<string, ClassicFamily>();
  for (const s of series) {
    const name = getLabel(s.labels, METRIC_NAME);
    const suffix = /_(bucket|sum|count)$/.exec(name)?.[1];
    if (suffix === undefined) continue;
    const base = withLabel(dropLabels(s.labels, LE), METRIC_NAME, name.slice(0, -suffix.length - 1));
    const key = labelsKey(base);
    const family = families.get(key) ?? { labels: base, byTime: new Map() };
    families.set(key, family);
    const upper = suffix === 'bucket' ? parseFloatGo(getLabel(s.labels, 'le')) : null;
    if (suffix === 'bucket' && upper === null) continue;
    for (const sample of s.samples) {
      if (sample.value === undefined) continue;
      const at = family.byTime.get(sample.t) ?? { buckets: [], sum: 0, count: null };
      family.byTime.set(sample.t, at);
      if (upper !== null) at.buckets.push({ upper, count: sample.value });
      else if (suffix === 'sum') at.sum = sample.value;
      else at.count = sample.value;
    }
  }
  const out: TestSeries[] = [];
  for (const { labels, byTime } of families.values()) {
    const samples: TestSample[] = [];
    for (const [t, at] of [...byTime].sort((a, b) => a[0] - b[0])) {
      if (at.buckets.length > 0) samples.push({ t, histogram: customBuckets(at.buckets, at.sum, at.count) });
    }
    if (samples.length > 0) out.push({ labels, samples });
  }
  return out;
}

function customBuckets(buckets: { upper: number; count: number }[], sum: number, count: number | null): FloatHistogram {
  buckets.sort((a, b) => a.upper - b.upper);
  const finite = buckets.filter(b => b.upper !== Number.POSITIVE_INFINITY);
  const total = count ?? (buckets[buckets.length - 1] as { count: number }).count;
  const counts: number[] = [];
  let before = 0;
  for (const b of finite) {
    counts.push(b.count - before);
    before = b.count;
  }
  counts.push(total - before);
  const { spans, counts: kept } = spansOfIndices(
    counts.map((_, i) => i),
    counts,
  );
  return {
    schema: CUSTOM_BUCKETS_SCHEMA,
    zeroThreshold: 0,
    zeroCount: 0,
    count: total,
    sum,
    positiveSpans: spans,
    positiveBuckets: kept,
    negativeSpans: [],
    negativeBuckets: [],
    customValues: finite.map(b => b.upper),
    counterResetHint: HINT_UNKNOWN,
    integer: false,
  };
}
