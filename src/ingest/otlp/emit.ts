/**
 * PointEmitter: one data point into the batch, as the series that it stands for: one of its own name for a number, `_count`, `_sum` and
 * `_bucket` (or one native histogram) for a histogram, `_count`, `_sum` and one per quantile for a summary.
 */

import { formatFloatF } from '../../lib/go-float.ts';
import { sipHash128, type TenantSeed } from '../../lib/identity-hash.ts';
import { ProtobufReader } from '../../lib/protobuf.ts';
import type { FloatHistogram } from '../../model/histogram.ts';
import { METRIC_NAME } from '../../model/labels.ts';
import type { BatchBuilder } from '../batch-builder.ts';
import { LabelSet, MAX_LABEL_SET_BYTES } from '../label-set.ts';
import { labelProblem } from '../remote-write/decode.ts';
import { histogramProblem } from '../remote-write/histogram.ts';
import { Rejections } from '../remote-write/rejections.ts';
import { AttributeError } from './attributes.ts';
import type { Contexts, MetricContext, MetricKind } from './contexts.ts';
import type { DeltaState, DeltaStore } from './delta.ts';
import { type DecodedExemplar, readExemplar } from './exemplars.ts';
import { customHistogram, exponentialHistogram, scaleProblem } from './native.ts';
import { FIELDS, type Point } from './point.ts';
import type { PointCache } from './point-cache.ts';
import type { OtlpSettings } from './settings.ts';

/** Labels of all series of one point, in bytes: a thousand buckets of a long label set would be a gigabyte. */
const MAX_POINT_LABEL_BYTES = 16 << 20;

const NO_EXEMPLARS: readonly DecodedExemplar[] = [];

export class PointEmitter {
  private readonly settings: OtlpSettings;
  private readonly builder: BatchBuilder;
  private readonly cache: PointCache;
  private readonly contexts: Contexts;
  private readonly labelSet = new LabelSet();
  private r: ProtobufReader | null = null;
  private seed: TenantSeed = new Uint32Array(4);
  private rejections = new Rejections();
  dropped = new Rejections();
  changedTotals = false;
  /** Bounds of the point at hand, as bytes to compare and to hash. */
  private boundsFloats = new Float64Array(64);
  private boundsBytes = new Uint8Array(this.boundsFloats.buffer);

  constructor(settings: OtlpSettings, builder: BatchBuilder, cache: PointCache, contexts: Contexts) {
    this.settings = settings;
    this.builder = builder;
    this.cache = cache;
    this.contexts = contexts;
  }

  /** Begins a request. */
  begin(r: ProtobufReader, seed: TenantSeed, rejections: Rejections): void {
    this.r = r;
    this.seed = seed;
    this.rejections = rejections;
    this.dropped = new Rejections();
    this.changedTotals = false;
  }

  /** A series entry of the batch by its row in the cache. */
  addRow(row: number): void {
    const { cache } = this;
    this.builder.addSeriesHashed(
      cache.labelBytes,
      cache.labelStart(row),
      cache.labelEnd(row),
      cache.rows,
      cache.hashAt(row),
    );
  }

  /** False where the point was refused. `deltas` is given for points of delta temporality. */
  emit(metric: MetricContext, kind: MetricKind, p: Point, deltas: DeltaStore | null): boolean {
    if (p.problem !== '') return this.refuse('invalid_histogram', metric, p.problem);
    switch (kind) {
      case 'gauge':
      case 'sum':
        return this.emitNumber(metric, p, deltas);
      case 'histogram':
        return this.settings.convertHistogramsToNhcb
          ? this.emitNative(metric, p, deltas, true)
          : this.emitClassic(metric, p, deltas);
      case 'exponential':
        return this.emitNative(metric, p, deltas, false);
      case 'summary':
        return this.emitSummary(metric, p);
    }
  }

  private emitNumber(metric: MetricContext, p: Point, deltas: DeltaStore | null): boolean {
    if (p.valueAt < 0 && !p.isStale) return this.refuse('invalid_value', metric, 'a point has no value');
    const group = this.group(metric, metric.key, 'number', p);
    if (group < 0) return false;
    const row = this.cache.firstRow(group);
    const { builder } = this;
    const r = this.r as ProtobufReader;
    if (p.isStale) {
      this.addRow(row);
      builder.addStale(p.timeMs);
      return true;
    }
    const low = r.u32At(p.valueAt);
    const high = r.u32At(p.valueAt + 4);
    if (deltas !== null) {
      const value = p.asInt ? (high | 0) * 4294967296 + low : r.doubleAt(p.valueAt);
      const start = p.startMs || p.timeMs;
      const state = deltas.number(this.cache.rows, this.cache.hashAt(row), start, p.timeMs, value);
      if (state === null) return this.refuseDelta(metric, deltas);
      this.changedTotals = true;
      this.addRow(row);
      builder.addSample(p.timeMs, state.value, startBefore(state, p.timeMs));
    } else {
      this.addRow(row);
      // A gauge's start means nothing to a rate.
      const start = metric.metadata.type === 'counter' ? p.startMs : 0;
      if (p.asInt) builder.addSample(p.timeMs, (high | 0) * 4294967296 + low, start);
      else builder.addSampleBits(p.timeMs, low, high, start);
    }
    for (const e of this.exemplarsOf(metric, p)) builder.addExemplar(e.timestampMs, e.value, e.labels);
    return true;
  }

  private emitClassic(metric: MetricContext, p: Point, deltas: DeltaStore | null): boolean {
    const problem = boundsProblem(p);
    if (problem !== '') return this.refuse('invalid_histogram', metric, problem);
    const group = this.group(metric, this.boundsKey(metric, p), 'histogram', p);
    if (group < 0) return false;
    const { cache } = this;
    const row = cache.firstRow(group);
    let totals: { count: number; sum: number; counts: readonly number[] } = p;
    let { startMs } = p;
    if (deltas !== null && !p.isStale) {
      const start = p.startMs || p.timeMs;
      const state = deltas.explicit(cache.rows, cache.hashAt(row), start, p.timeMs, p);
      if (state === null) return this.refuseDelta(metric, deltas);
      this.changedTotals = true;
      totals = state;
      startMs = startBefore(state, p.timeMs);
    }
    const { count, sum, counts } = totals;
    this.addValue(row, p, count, startMs);
    if (p.hasSum) this.addValue(row + 1, p, sum, startMs);
    const exemplars = this.exemplarsOf(metric, p);
    let below = 0;
    for (let i = 0; i < p.bounds.length; i++) {
      below += counts[i] ?? 0;
      this.addValue(row + 2 + i, p, below, startMs);
      if (exemplars.length > 0) this.addBucketExemplars(exemplars, p.bounds[i - 1], p.bounds[i] as number);
    }
    this.addValue(row + 2 + p.bounds.length, p, count, startMs);
    if (exemplars.length > 0) this.addBucketExemplars(exemplars, p.bounds.at(-1), Number.POSITIVE_INFINITY);
    return true;
  }

  private emitSummary(metric: MetricContext, p: Point): boolean {
    const group = this.group(metric, this.boundsKey(metric, p), 'summary', p);
    if (group < 0) return false;
    const row = this.cache.firstRow(group);
    this.addValue(row, p, p.count, p.startMs);
    this.addValue(row + 1, p, p.sum, p.startMs);
    for (let i = 0; i < p.bounds.length; i++) this.addValue(row + 2 + i, p, p.counts[i] as number, 0);
    return true;
  }

  private emitNative(metric: MetricContext, p: Point, deltas: DeltaStore | null, custom: boolean): boolean {
    const problem = custom ? boundsProblem(p) : scaleProblem(p.scale);
    if (problem !== '') return this.refuse('invalid_histogram', metric, problem);
    const group = this.group(metric, metric.key, 'number', p);
    if (group < 0) return false;
    const { builder, cache } = this;
    const row = cache.firstRow(group);
    if (p.isStale) {
      this.addRow(row);
      builder.addStale(p.timeMs);
      return true;
    }
    let h: FloatHistogram = custom
      ? customHistogram(p.bounds, withoutBuckets(p), p.count, p.sum)
      : exponentialHistogram(p);
    const unsound = histogramProblem(h);
    if (unsound !== '') return this.refuse('invalid_histogram', metric, unsound);
    let startMs = p.startMs;
    if (deltas !== null) {
      const state = deltas.native(cache.rows, cache.hashAt(row), p.startMs || p.timeMs, p.timeMs, h);
      if (state === null) return this.refuseDelta(metric, deltas);
      this.changedTotals = true;
      h = state.native as FloatHistogram;
      startMs = startBefore(state, p.timeMs);
    }
    this.addRow(row);
    builder.addHistogram(p.timeMs, h, startMs);
    for (const e of this.exemplarsOf(metric, p)) builder.addExemplar(e.timestampMs, e.value, e.labels);
    return true;
  }

  private addValue(row: number, p: Point, value: number, startMs: number): void {
    this.addRow(row);
    if (p.isStale) this.builder.addStale(p.timeMs);
    else this.builder.addSample(p.timeMs, value, startMs);
  }

  private addBucketExemplars(exemplars: readonly DecodedExemplar[], above: number | undefined, upTo: number): void {
    for (const e of exemplars) {
      if (e.value <= upTo && (above === undefined || e.value > above)) {
        this.builder.addExemplar(e.timestampMs, e.value, e.labels);
      }
    }
  }

  private exemplarsOf(metric: MetricContext, p: Point): readonly DecodedExemplar[] {
    // Fast path: few points have any.
    if (p.exemplars.length === 0) return NO_EXEMPLARS;
    const r = this.r as ProtobufReader;
    const out: DecodedExemplar[] = [];
    for (let i = 0; i < p.exemplars.length; i += 2) {
      r.reset(p.exemplars[i] as number, p.exemplars[i + 1] as number);
      const e = readExemplar(r, p.timeMs);
      if (typeof e !== 'string') out.push(e);
      else this.dropped.add('invalid_exemplar', 1, () => `metric ${JSON.stringify(metric.name)}: exemplar with ${e}`);
    }
    return out;
  }

  /** The metric's key together with the point's bounds, most often those of the point before. */
  private boundsKey(metric: MetricContext, p: Point): Uint32Array {
    const n = p.bounds.length;
    if (n > this.boundsFloats.length) {
      this.boundsFloats = new Float64Array(n * 2);
      this.boundsBytes = new Uint8Array(this.boundsFloats.buffer);
    }
    for (let i = 0; i < n; i++) this.boundsFloats[i] = p.bounds[i] as number;
    const bytes = this.boundsBytes.subarray(0, n * 8);
    const known = metric.boundsBytes;
    let same = known.length === bytes.length && n > 0;
    for (let i = 0; same && i < bytes.length; i++) same = known[i] === bytes[i];
    if (!same) {
      metric.boundsBytes = bytes.slice();
      sipHash128(metric.key, bytes, 0, bytes.length, metric.boundsKey, 0);
    }
    return metric.boundsKey;
  }

  /** The point's group in the cache, made where it is new; -1 where its labels cannot be kept. */
  private group(metric: MetricContext, key: Uint32Array, shape: 'number' | 'histogram' | 'summary', p: Point): number {
    const known = this.cache.find(key, p.bytes, p.attributesStart, p.attributesEnd);
    if (known >= 0) return known;
    const problem = this.checkLabels(metric, shape, p);
    if (problem !== '') {
      this.refuse('invalid_labels', metric, problem);
      return -1;
    }
    const group = this.cache.addGroup();
    const name = metric.promName;
    if (shape === 'number') this.cacheRow(name, '', '');
    else {
      const bound = shape === 'histogram' ? 'le' : 'quantile';
      this.cacheRow(`${name}_count`, '', '');
      this.cacheRow(`${name}_sum`, '', '');
      const rowName = shape === 'histogram' ? `${name}_bucket` : name;
      for (let i = 0; i < p.bounds.length; i++) this.cacheRow(rowName, bound, formatFloatF(p.bounds[i] as number));
      if (shape === 'histogram') this.cacheRow(rowName, bound, '+Inf');
    }
    return group;
  }

  /** Labels of the point at hand, name aside: what the rows of its group share. */
  private shared: Map<string, string> = new Map();

  private checkLabels(metric: MetricContext, shape: 'number' | 'histogram' | 'summary', p: Point): string {
    const { contexts } = this;
    const r = this.r as ProtobufReader;
    const reader = p.bytes === r.bytes ? r : new ProtobufReader(p.bytes);
    try {
      this.shared = contexts.pointLabels(
        reader,
        metric.scope,
        FIELDS[p.kind].attributes,
        p.attributesStart,
        p.attributesEnd,
      );
    } catch (error) {
      if (!(error instanceof AttributeError)) throw error;
      return `a point has ${error.message}`;
    }
    this.shared.delete(METRIC_NAME);
    if (shape === 'histogram') this.shared.delete('le');
    if (shape === 'summary') this.shared.delete('quantile');
    this.fill(metric.promName, '', '');
    const problem = labelProblem(this.labelSet);
    if (problem !== '') return problem;
    const rows = shape === 'number' ? 1 : p.bounds.length + 3;
    const bytes = this.labelSet.encodedSize() + 64;
    if (bytes > MAX_LABEL_SET_BYTES || bytes * rows > MAX_POINT_LABEL_BYTES) {
      return `${bytes} bytes of labels on ${rows} series are too much`;
    }
    return '';
  }

  private cacheRow(name: string, label: string, value: string): void {
    this.fill(name, label, value);
    this.labelSet.sort();
    this.cache.addRow(this.labelSet, this.seed);
  }

  private fill(name: string, label: string, value: string): void {
    const { labelSet } = this;
    labelSet.clear();
    labelSet.addStrings(METRIC_NAME, name);
    if (label !== '') labelSet.addStrings(label, value);
    for (const [key, text] of this.shared) labelSet.addStrings(key, text);
  }

  private refuse(reason: string, metric: MetricContext, why: string): false {
    this.rejections.add(reason, 1, () => `metric ${JSON.stringify(metric.name.slice(0, 200))}: ${why}`);
    return false;
  }

  private refuseDelta(metric: MetricContext, deltas: DeltaStore): false {
    return this.refuse(deltas.reason, metric, deltas.problem);
  }
}

/** A sample's start must lie before it. */
function startBefore(state: DeltaState, ms: number): number {
  return state.startMs < ms ? state.startMs : 0;
}

function boundsProblem(p: Point): string {
  const { bounds, counts } = p;
  if (counts.length !== bounds.length + 1 && (counts.length > 0 || bounds.length > 0)) {
    return `${counts.length} bucket counts do not fit ${bounds.length} bounds`;
  }
  for (let i = 1; i < bounds.length; i++) {
    if (!((bounds[i] as number) > (bounds[i - 1] as number))) {
      return `bound ${bounds[i]} comes after ${bounds[i - 1]}; bounds must ascend`;
    }
  }
  return Number.isNaN(bounds[0]) ? 'a bound is NaN' : '';
}

/** A histogram without buckets has its whole count in the one up to +Inf. */
function withoutBuckets(p: Point): readonly number[] {
  return p.counts.length === 0 ? [p.count] : p.counts;
}
