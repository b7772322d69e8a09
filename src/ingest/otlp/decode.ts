/**
 * ExportMetricsServiceRequest -> SampleBatch, straight from the wire bytes: no message objects, and for points seen before no label text
 * either (contexts.ts, point-cache.ts). OTLP/JSON is brought into these bytes first (json.ts).
 *
 * Protobuf fields may come in any order, so each level is walked twice: once for what its points need to know (resource, scope,
 * name, temporality), skipping over the rest by its length, and once for the points. Bytes that are no protobuf throw, and nothing of the
 * request may be stored. Points that cannot be kept are left out and counted in `rejected`, by reason and with an example that names
 * the metric.
 */
import type { Rejection } from '../../contracts/sample-sink.ts';
import { sipHash128, type TenantSeed } from '../../lib/identity-hash.ts';
import { ProtobufReader } from '../../lib/protobuf.ts';
import { METRIC_NAME } from '../../model/labels.ts';
import type { SampleBatch } from '../../model/sample-batch.ts';
import { BatchBuilder } from '../batch-builder.ts';
import { LabelSet } from '../label-set.ts';
import { isKeepableTime, labelProblem, WriteDecodeError } from '../remote-write/decode.ts';
import { Rejections } from '../remote-write/rejections.ts';
import { Contexts, type MetricContext, type MetricHeader, type MetricKind, type ResourceContext } from './contexts.ts';
import type { DeltaStore } from './delta.ts';
import { PointEmitter } from './emit.ts';
import { Point } from './point.ts';
import { PointCache } from './point-cache.ts';
import type { OtlpSettings } from './settings.ts';

export interface DecodedMetrics {
  batch: SampleBatch;
  /** Points that are in the batch. */
  points: number;
  /** Points left out. */
  rejected: Rejection[];
  /** Exemplars left out. */
  dropped: Rejection[];
  /** Whether totals of delta points were moved on: the request must not be decoded twice. */
  changedTotals: boolean;
}

/** The request has delta points, and their totals are kept elsewhere. Nothing has been changed. */
export class DeltaPointsError extends Error {
  override name = 'DeltaPointsError';
}

/** One stretch of the point cache. ms. */
const STRETCH_MS = 120_000;
/** Of one request: what a batch may hold, far above what senders put in one. */
const MAX_SERIES = 1 << 20;
const MAX_LABEL_BYTES = 256 << 20;

const KINDS: Readonly<Record<number, MetricKind>> = {
  5: 'gauge',
  7: 'sum',
  9: 'histogram',
  10: 'exponential',
  11: 'summary',
};
const DELTA = 1;
const CUMULATIVE = 2;
const EMPTY = new Uint8Array(0);

export class OtlpDecoder {
  private readonly settings: OtlpSettings;
  private readonly now: () => number;
  private readonly contexts: Contexts;
  private readonly cache = new PointCache();
  private readonly builder = new BatchBuilder({ hash: sipHash128 }, new Uint32Array(4));
  private readonly point = new Point();
  private readonly emitter: PointEmitter;
  private seed: TenantSeed = new Uint32Array(4);
  private r = new ProtobufReader(EMPTY);
  private rejections = new Rejections();
  private stretchMs = 0;
  private deltas: DeltaStore | null = null;
  private points = 0;
  /** Of the resource being read. ms. */
  private earliestMs = 0;
  private latestMs = 0;
  private readonly labelSet = new LabelSet();

  /** `now`: ms since the epoch. */
  constructor(settings: OtlpSettings, now: () => number) {
    this.settings = settings;
    this.now = now;
    this.contexts = new Contexts(settings);
    this.emitter = new PointEmitter(settings, this.builder, this.cache, this.contexts);
  }

  /**
   * The batch is valid until the next call. `deltas` null: throws DeltaPointsError at the first point that would need it.
   * `tenant` seeds identities. Throws ProtobufError and WriteDecodeError.
   */
  decode(message: Uint8Array, seed: TenantSeed, deltas: DeltaStore | null): DecodedMetrics {
    const nowMs = this.now();
    if (nowMs - this.stretchMs >= STRETCH_MS) {
      this.stretchMs = nowMs;
      this.cache.nextStretch();
    }
    this.r = new ProtobufReader(message);
    this.seed = seed;
    this.deltas = deltas;
    this.rejections = new Rejections();
    this.points = 0;
    this.builder.reset(seed);
    this.emitter.begin(this.r, seed, this.rejections);
    const { r } = this;
    while (r.more()) {
      if (r.field() !== 1) {
        r.skip();
        continue;
      }
      const outer = r.enter();
      this.readResourceMetrics(r.at, r.end);
      r.leave(outer);
    }
    return {
      batch: this.builder.finish(),
      points: this.points,
      rejected: this.rejections.list(),
      dropped: this.emitter.dropped.list(),
      changedTotals: this.emitter.changedTotals,
    };
  }

  private readResourceMetrics(start: number, end: number): void {
    const { r } = this;
    let resourceStart = start;
    let resourceEnd = start;
    while (r.more()) {
      if (r.field() === 1) {
        resourceStart = r.span();
        resourceEnd = r.at;
      } else r.skip();
    }
    const resource = this.contexts.resource(r, this.seed, resourceStart, resourceEnd);
    this.earliestMs = Number.POSITIVE_INFINITY;
    this.latestMs = 0;
    r.reset(start, end);
    while (r.more()) {
      if (r.field() !== 2) {
        r.skip();
        continue;
      }
      const outer = r.enter();
      this.readScopeMetrics(resource, r.at, r.end);
      r.leave(outer);
    }
    if (this.latestMs > 0 && resource.targetInfo !== null) this.writeTargetInfo(resource, resource.targetInfo);
  }

  private readScopeMetrics(resource: ResourceContext, start: number, end: number): void {
    const { r } = this;
    let scopeStart = start;
    let scopeEnd = start;
    let urlStart = start;
    let urlEnd = start;
    while (r.more()) {
      const field = r.field();
      if (field === 1) {
        scopeStart = r.span();
        scopeEnd = r.at;
      } else if (field === 3) {
        urlStart = r.span();
        urlEnd = r.at;
      } else r.skip();
    }
    const scope = this.contexts.scope(r, resource, scopeStart, scopeEnd, urlStart, urlEnd);
    r.reset(start, end);
    while (r.more()) {
      if (r.field() !== 2) {
        r.skip();
        continue;
      }
      const outer = r.enter();
      const metricEnd = r.end;
      const found = this.readMetricHeader();
      if (found !== null) {
        const { header, headerStart, headerEnd, dataStart, dataEnd } = found;
        const metric = this.contexts.metric(r, scope, headerStart, headerEnd, header);
        r.reset(dataStart, dataEnd);
        this.readPoints(metric, found.problem, header);
      }
      r.reset(metricEnd, metricEnd);
      r.leave(outer);
    }
  }

  private readonly found = {
    header: { kind: 'gauge', monotonic: false, delta: false } as MetricHeader,
    headerStart: 0,
    headerEnd: 0,
    dataStart: 0,
    dataEnd: 0,
    problem: '',
  };

  /** Walks the Metric message that the reader stands in; null where it has no data. */
  private readMetricHeader(): typeof this.found | null {
    const { r, found } = this;
    const start = r.at;
    let kind: MetricKind | undefined;
    let dataFrom = start;
    let headerBehind = false;
    while (r.more()) {
      const from = r.at;
      const field = r.field();
      const known = KINDS[field];
      if (known === undefined) {
        if (kind !== undefined && field <= 3) headerBehind = true;
        r.skip();
        continue;
      }
      kind = known;
      dataFrom = from;
      found.dataStart = r.span();
      found.dataEnd = r.at;
    }
    if (kind === undefined) return null;
    // Name, description and unit stand before the data as all known encoders write them; if not, all of it is the header.
    found.headerStart = start;
    found.headerEnd = headerBehind ? r.end : dataFrom;
    found.header.kind = kind;
    found.header.monotonic = false;
    found.header.delta = false;
    found.problem = '';
    if (kind !== 'gauge' && kind !== 'summary') this.readTemporality();
    return found;
  }

  private readTemporality(): void {
    const { r, found } = this;
    const { end } = r;
    let temporality = 0;
    r.reset(found.dataStart, found.dataEnd);
    while (r.more()) {
      const field = r.field();
      if (field === 2) temporality = r.unsigned();
      else if (field === 3 && found.header.kind === 'sum') found.header.monotonic = r.unsigned() !== 0;
      else r.skip();
    }
    r.reset(end, end);
    found.header.delta = temporality === DELTA;
    if (temporality === DELTA && this.settings.delta === 'refuse') {
      found.problem =
        'its temporality is delta, which otlp.delta refuses: have the sender report cumulative temporality';
    } else if (temporality !== DELTA && temporality !== CUMULATIVE) {
      found.problem = `its aggregation temporality is ${temporality}; 1 (delta) and 2 (cumulative) have a meaning`;
    }
  }

  private readPoints(metric: MetricContext, temporalityProblem: string, header: MetricHeader): void {
    const { r, point } = this;
    const { kind, delta } = header;
    if (delta && temporalityProblem === '' && this.deltas === null) throw new DeltaPointsError('delta points');
    let sent = false;
    while (r.more()) {
      if (r.field() !== 1) {
        r.skip();
        continue;
      }
      const outer = r.enter();
      point.read(r, kind);
      const pointEnd = r.end;
      if (metric.problem !== '') this.refuse('invalid_labels', metric, metric.problem);
      else if (temporalityProblem !== '') this.refuse('invalid_temporality', metric, temporalityProblem);
      else if (this.keepPoint(metric, kind, delta)) sent = true;
      r.reset(pointEnd, pointEnd);
      r.leave(outer);
    }
    if (sent && metric.metadataSentIn !== this.cache.generation) {
      metric.metadataSentIn = this.cache.generation;
      this.builder.addMetadata(metric.metadata);
    }
  }

  private keepPoint(metric: MetricContext, kind: MetricKind, delta: boolean): boolean {
    const { point } = this;
    const ms = point.timeMs;
    if (ms === 0 || !isKeepableTime(ms)) {
      this.refuse('invalid_timestamp', metric, ms === 0 ? 'a point has no time' : `a point's time is ${ms} ms`);
      return false;
    }
    if (this.builder.seriesCount > MAX_SERIES || this.builder.labelByteCount > MAX_LABEL_BYTES) {
      throw new WriteDecodeError(
        `the request makes more than ${MAX_SERIES} samples, or more than ${MAX_LABEL_BYTES} bytes of labels: send smaller batches`,
        'tooLarge',
      );
    }
    if (point.startMs > ms) point.startMs = 0;
    if (!this.emitter.emit(metric, kind, point, delta ? this.deltas : null)) return false;
    this.points++;
    if (ms < this.earliestMs) this.earliestMs = ms;
    if (ms > this.latestMs) this.latestMs = ms;
    return true;
  }

  private refuse(reason: string, metric: MetricContext, why: string): void {
    this.rejections.add(reason, 1, () => `metric ${JSON.stringify(metric.name.slice(0, 200))}: ${why}`);
  }

  /** From the first to the last point of the resource, no farther apart than queries look back. */
  private writeTargetInfo(resource: ResourceContext, labels: ReadonlyMap<string, string>): void {
    const { cache, builder, labelSet } = this;
    let group = cache.find(resource.key, TARGET_INFO, 0, TARGET_INFO.length);
    if (group < 0) {
      labelSet.clear();
      labelSet.addStrings(METRIC_NAME, 'target_info');
      for (const [name, value] of labels) if (name !== METRIC_NAME) labelSet.addStrings(name, value);
      const problem = labelProblem(labelSet);
      if (problem !== '') {
        this.emitter.dropped.add('invalid_labels', 1, () => `target_info: ${problem}`);
        return;
      }
      group = cache.addGroup();
      cache.addRow(labelSet, this.seed);
      builder.addMetadata(TARGET_INFO_METADATA);
    }
    this.emitter.addRow(cache.firstRow(group));
    const step = Math.max(1000, this.settings.lookbackMs / 2);
    const first = Math.max(this.earliestMs, this.latestMs - step * MAX_TARGET_INFO);
    for (let ms = first; ms < this.latestMs; ms += step) builder.addSample(Math.floor(ms), 1);
    builder.addSample(this.latestMs, 1);
  }
}

/** Samples of target_info in one request. */
const MAX_TARGET_INFO = 100;
const TARGET_INFO = new TextEncoder().encode('target_info');
const TARGET_INFO_METADATA = { metric: 'target_info', type: 'info', help: 'Target metadata', unit: '' };
