/**
 * StatsdState: what StatsD clients have sent, aggregated: counters that only grow, gauges, sets, timers as summaries or histograms.
 *
 * `take` is called per line; `flush` writes every series that is not idle into a batch, at each interval. A name met before costs two
 * look-ups. Bounded: a series beyond the bound is dropped by reason `too_many_series`, series idle longer than their ttl go with a
 * staleness marker. Counters begin with the process: their start time goes with them.
 */
import type { BatchBuilder } from '../batch-builder.ts';
import { openMetricsFloat } from '../exposition/to-batch.ts';
import { LabelSet } from '../label-set.ts';
import { readStatsdLine, type StatsdLine, StatsdLineError, type StatsdSample, type StatsdType } from './line.ts';
import { labelName, type Mapped, type Mapping, type MetricClass, type ObserverOptions } from './mapping.ts';
import { WindowSketch } from './sketch.ts';

export interface StatsdStateOptions {
  mapping: Mapping;
  seriesMax: number;
  /** Counts what is dropped. */
  onDropped: (reason: string, count: number) => void;
}

type Kind = 'counter' | 'gauge' | 'set' | 'summary' | 'histogram';

interface Series {
  kind: Kind;
  name: string;
  /** Flat, without the name. */
  labels: string[];
  ttlMs: number;
  startMs: number;
  lastMs: number;
  /** Of counters and gauges; the sum of observations. */
  value: number;
  /** Of observations. */
  count: number;
  members: Set<string> | null;
  observer: ObserverOptions;
  sketch: WindowSketch | null;
  buckets: Float64Array | null;
  /** Written at least once: worth a marker when it goes. */
  written: boolean;
}

const CLASSES: Readonly<Record<StatsdType, MetricClass>> = {
  c: 'counter',
  g: 'gauge',
  s: 'gauge',
  ms: 'observer',
  h: 'observer',
  d: 'observer',
};
/** Members of one set in one interval. */
const MEMBERS_MAX = 100_000;

export class StatsdState {
  private options: StatsdStateOptions;
  private readonly series = new Map<string, Series>();
  /** Name, tags and type as they came -> series; null where a rule drops it. */
  private readonly known = new Map<string, { series: Series; scale: number } | null>();
  private readonly kinds = new Map<string, { kind: Kind; series: number; help: string }>();
  private readonly set = new LabelSet();
  private gone: Series[] = [];

  constructor(options: StatsdStateOptions) {
    this.options = options;
  }

  get seriesCount(): number {
    return this.series.size;
  }

  /** Other rules from here on; what is there keeps its name until it is idle. */
  setOptions(options: StatsdStateOptions): void {
    this.options = options;
    this.known.clear();
  }

  /** Samples taken of one line. */
  take(line: string, nowMs: number): number {
    let parsed: StatsdLine;
    try {
      parsed = readStatsdLine(line);
    } catch (error) {
      if (!(error instanceof StatsdLineError)) throw error;
      this.options.onDropped(error.reason, 1);
      return 0;
    }
    const tags = parsed.tags.join('\u0000');
    let taken = 0;
    for (const sample of parsed.samples) {
      const found = this.find(parsed, tags, sample, nowMs);
      if (found === null) continue;
      this.add(found.series, sample, found.scale, nowMs);
      taken++;
    }
    return taken;
  }

  private find(
    line: StatsdLine,
    tags: string,
    sample: StatsdSample,
    nowMs: number,
  ): { series: Series; scale: number } | null {
    const key = `${sample.type}\u0000${line.name}\u0000${tags}`;
    const known = this.known.get(key);
    if (known !== undefined) {
      if (known === null) this.options.onDropped('mapping', 1);
      return known;
    }
    const mapped = this.options.mapping.map(line.name, CLASSES[sample.type]);
    if (this.known.size >= 4 * this.options.seriesMax) this.known.clear();
    if (mapped === null) {
      this.known.set(key, null);
      this.options.onDropped('mapping', 1);
      return null;
    }
    const series = this.open(mapped, line.tags, sample.type, nowMs);
    if (series === null) return null;
    // Timers are milliseconds on the wire and seconds among metrics.
    const found = { series, scale: sample.type === 'ms' ? mapped.scale / 1000 : mapped.scale };
    this.known.set(key, found);
    return found;
  }

  private open(mapped: Mapped, tags: readonly string[], type: StatsdType, nowMs: number): Series | null {
    const kind = kindOf(type, mapped.observer);
    const labels = labelsOf(mapped, tags);
    const key = `${mapped.name}\u0000${labels.join('\u0000')}`;
    const present = this.series.get(key);
    if (present !== undefined) {
      if (present.kind === kind) return present;
      this.options.onDropped('type_conflict', 1);
      return null;
    }
    const family = this.kinds.get(mapped.name);
    if (family !== undefined && family.kind !== kind) {
      this.options.onDropped('type_conflict', 1);
      return null;
    }
    if (this.series.size >= this.options.seriesMax) {
      this.options.onDropped('too_many_series', 1);
      return null;
    }
    const { observer, ttlMs } = mapped;
    const series: Series = {
      kind,
      name: mapped.name,
      labels,
      ttlMs,
      startMs: nowMs,
      lastMs: nowMs,
      value: 0,
      count: 0,
      members: kind === 'set' ? new Set() : null,
      observer,
      sketch: kind === 'summary' ? new WindowSketch(observer.windowMs) : null,
      buckets: kind === 'histogram' ? new Float64Array(observer.buckets.length) : null,
      written: false,
    };
    this.series.set(key, series);
    if (family === undefined) this.kinds.set(mapped.name, { kind, series: 1, help: mapped.help });
    else family.series++;
    return series;
  }

  private add(series: Series, sample: StatsdSample, scale: number, nowMs: number): void {
    series.lastMs = nowMs;
    const value = sample.value * scale;
    switch (series.kind) {
      case 'counter':
        // A counter that sinks is no counter.
        if (value < 0) this.options.onDropped('negative_counter', 1);
        else series.value += value / sample.rate;
        return;
      case 'gauge':
        series.value = sample.relative ? series.value + value : value;
        return;
      case 'set':
        if ((series.members as Set<string>).size < MEMBERS_MAX) (series.members as Set<string>).add(sample.text);
        else if (!(series.members as Set<string>).has(sample.text)) this.options.onDropped('set_full', 1);
        return;
      default:
        observe(series, value, 1 / sample.rate, nowMs);
    }
  }

  /** Writes every series into the batch and lets idle ones go. */
  flush(builder: BatchBuilder, timeMs: number): void {
    for (const [key, series] of this.series) {
      if (series.ttlMs > 0 && timeMs - series.lastMs > series.ttlMs) {
        this.series.delete(key);
        this.leaveFamily(series.name);
        if (series.written) this.gone.push(series);
      }
    }
    if (this.gone.length > 0) this.known.clear();
    for (const [metric, { kind, help }] of this.kinds) {
      builder.addMetadata({ metric, type: kind === 'set' ? 'gauge' : kind, help, unit: '' });
    }
    for (const series of this.series.values()) {
      this.write(builder, series, timeMs, false);
      series.written = true;
    }
    for (const series of this.gone) this.write(builder, series, timeMs, true);
    this.gone = [];
  }

  private leaveFamily(name: string): void {
    const family = this.kinds.get(name);
    if (family !== undefined && --family.series === 0) this.kinds.delete(name);
  }

  private write(builder: BatchBuilder, series: Series, timeMs: number, stale: boolean): void {
    const put = (name: string, label: string, labelText: string, value: number, startMs: number): void => {
      this.set.clear();
      this.set.addStrings('__name__', name);
      for (let i = 0; i < series.labels.length; i += 2) {
        this.set.addStrings(series.labels[i] as string, series.labels[i + 1] as string);
      }
      if (label !== '') this.set.addStrings(label, labelText);
      this.set.sort();
      builder.addSeriesSet(this.set);
      if (stale) builder.addStale(timeMs);
      else builder.addSample(timeMs, value, startMs);
    };
    const { name, kind, startMs, observer } = series;
    // A start time must lie before the sample.
    const start = startMs < timeMs ? startMs : 0;
    if (kind === 'counter') put(name, '', '', series.value, start);
    else if (kind === 'gauge') put(name, '', '', series.value, 0);
    else if (kind === 'set') {
      put(name, '', '', (series.members as Set<string>).size, 0);
      series.members?.clear();
    } else {
      if (kind === 'summary') {
        const values = new Float64Array(observer.quantiles.length);
        series.sketch?.quantiles(observer.quantiles, timeMs, values);
        for (const [i, quantile] of observer.quantiles.entries()) {
          put(name, 'quantile', openMetricsFloat(quantile), values[i] as number, 0);
        }
      } else {
        let below = 0;
        for (const [i, bound] of observer.buckets.entries()) {
          below += (series.buckets as Float64Array)[i] as number;
          put(`${name}_bucket`, 'le', openMetricsFloat(bound), below, start);
        }
        put(`${name}_bucket`, 'le', '+Inf', series.count, start);
      }
      put(`${name}_sum`, '', '', series.value, start);
      put(`${name}_count`, '', '', series.count, start);
    }
  }
}

function observe(series: Series, value: number, weight: number, nowMs: number): void {
  series.value += value * weight;
  series.count += weight;
  if (series.sketch !== null) {
    series.sketch.add(value, weight, nowMs);
    return;
  }
  const { buckets } = series.observer;
  // Few bounds, and most observations are small: the first that fits.
  for (let i = 0; i < buckets.length; i++) {
    if (value <= (buckets[i] as number)) {
      const counts = series.buckets as Float64Array;
      counts[i] = (counts[i] as number) + weight;
      return;
    }
  }
}

function kindOf(type: StatsdType, observer: ObserverOptions): Kind {
  if (type === 'c') return 'counter';
  if (type === 'g') return 'gauge';
  if (type === 's') return 'set';
  return observer.type;
}

function labelsOf(mapped: Mapped, tags: readonly string[]): string[] {
  const labels = new Map<string, string>();
  for (let i = 0; i < tags.length; i += 2) labels.set(labelName(tags[i] as string), tags[i + 1] as string);
  for (let i = 0; i < mapped.labels.length; i += 2) {
    const name = mapped.labels[i] as string;
    if (!mapped.honorTags || !labels.has(name)) labels.set(name, mapped.labels[i + 1] as string);
  }
  // Would take the place of what this writes itself.
  for (const own of ['__name__', 'le', 'quantile']) {
    const value = labels.get(own);
    if (value === undefined) continue;
    labels.delete(own);
    labels.set(`exported_${own.replaceAll('_', '')}`, value);
  }
  return [...labels]
    .filter(([, value]) => value !== '')
    .sort((a, b) => (a[0] < b[0] ? -1 : 1))
    .flat();
}
