/**
 * Point: the fields of one data point, as the decoder needs them. One object is reused for all points: nothing is allocated for a point of
 * numbers. The message types give the same fields other numbers; `FIELDS` has them by kind.
 */
import { type ProtobufReader, WIRE_BYTES } from '../../lib/protobuf.ts';
import type { MetricKind } from './contexts.ts';
import type { DenseBuckets } from './native.ts';

/** Buckets of an explicit histogram, quantiles of a summary: each becomes a series. */
export const MAX_BOUNDS = 1000;
/** Dense buckets of one side of an exponential histogram. SDKs keep 160. */
const MAX_EXPONENTIAL = 1 << 16;
/** Exemplars of one point; more are left out. */
const MAX_EXEMPLARS = 256;

/** NoRecordedValue: the series has ended here. */
const FLAG_NO_VALUE = 1;

/** Field numbers by kind; 0 = it has none. */
export const FIELDS: Readonly<Record<MetricKind, { attributes: number; flags: number; exemplars: number }>> = {
  gauge: { attributes: 7, flags: 8, exemplars: 5 },
  sum: { attributes: 7, flags: 8, exemplars: 5 },
  histogram: { attributes: 9, flags: 10, exemplars: 8 },
  exponential: { attributes: 1, flags: 10, exemplars: 11 },
  summary: { attributes: 7, flags: 8, exemplars: 0 },
};

type Distribution = Exclude<MetricKind, 'gauge' | 'sum'>;

export class Point {
  kind: MetricKind = 'gauge';
  /** The fields of the attributes: one stretch of `bytes`, tags included. */
  bytes: Uint8Array = new Uint8Array(0);
  attributesStart = 0;
  attributesEnd = 0;
  startMs = 0;
  /** 0 = none given. */
  timeMs = 0;
  flags = 0;
  /** Of a number: where its bits stand (`asInt`: as a signed integer); -1 = none. */
  valueAt = -1;
  asInt = false;
  count = 0;
  sum = 0;
  hasSum = false;
  /** Upper bounds, or quantiles. */
  readonly bounds: number[] = [];
  /** Why the point cannot be kept, found while it was read; or ''. */
  problem = '';
  /** Counts by bucket, or values by quantile. */
  readonly counts: number[] = [];
  scale = 0;
  zeroCount = 0;
  zeroThreshold = 0;
  readonly positive: DenseBuckets = { offset: 0, counts: [] };
  readonly negative: DenseBuckets = { offset: 0, counts: [] };
  /** Start and end of each exemplar's message. */
  readonly exemplars: number[] = [];
  /** Where attributes that do not stand together are put together. */
  private scattered = new Uint8Array(256);

  get isStale(): boolean {
    return (this.flags & FLAG_NO_VALUE) !== 0;
  }

  /** Reads the message that the reader stands in. */
  read(r: ProtobufReader, kind: MetricKind): void {
    this.kind = kind;
    this.bytes = r.bytes;
    this.attributesStart = r.at;
    this.attributesEnd = r.at;
    this.startMs = 0;
    this.timeMs = 0;
    this.flags = 0;
    this.valueAt = -1;
    this.problem = '';
    this.exemplars.length = 0;
    if (kind === 'gauge' || kind === 'sum') this.readNumber(r);
    else this.readDistribution(r, kind);
  }

  private readNumber(r: ProtobufReader): void {
    while (r.more()) {
      const from = r.at;
      switch (r.field()) {
        case 2:
          this.startMs = readMs(r);
          break;
        case 3:
          this.timeMs = readMs(r);
          break;
        case 4:
          this.valueAt = r.fixed64();
          this.asInt = false;
          break;
        case 5:
          this.addExemplar(r);
          break;
        case 6:
          this.valueAt = r.fixed64();
          this.asInt = true;
          break;
        case 7:
          this.addAttribute(r, from);
          break;
        case 8:
          this.flags = r.unsigned();
          break;
        default:
          r.skip();
      }
    }
  }

  /** Histograms and summaries share most fields, attributes, flags and exemplars under numbers of their own. */
  private readDistribution(r: ProtobufReader, kind: Distribution): void {
    this.clearHistogram();
    const { attributes, flags, exemplars } = FIELDS[kind];
    while (r.more()) {
      const from = r.at;
      const field = r.field();
      if (field === attributes) this.addAttribute(r, from);
      else if (field === 2) this.startMs = readMs(r);
      else if (field === 3) this.timeMs = readMs(r);
      else if (field === 4) this.count = readFixed(r);
      else if (field === 5) {
        this.sum = r.double();
        this.hasSum = true;
      } else if (field === flags) this.flags = r.unsigned();
      else if (field === exemplars) this.addExemplar(r);
      else if (kind === 'histogram') this.readBuckets(r, field);
      else if (kind === 'exponential') this.readExponential(r, field);
      else if (field === 6) this.readQuantile(r);
      else r.skip();
    }
    // A summary's sum is a plain field: not written where it is 0.
    if (kind === 'summary') this.hasSum = true;
  }

  private readBuckets(r: ProtobufReader, field: number): void {
    if (field === 6) this.readNumbers(r, this.counts, MAX_BOUNDS + 1, false);
    else if (field === 7) this.readNumbers(r, this.bounds, MAX_BOUNDS, true);
    else r.skip();
  }

  private readExponential(r: ProtobufReader, field: number): void {
    switch (field) {
      case 6:
        this.scale = r.zigzag();
        break;
      case 7:
        this.zeroCount = readFixed(r);
        break;
      case 8:
        readDense(r, this.positive);
        break;
      case 9:
        readDense(r, this.negative);
        break;
      case 14:
        this.zeroThreshold = r.double();
        break;
      default:
        r.skip();
    }
  }

  private readQuantile(r: ProtobufReader): void {
    if (this.bounds.length >= MAX_BOUNDS) {
      this.problem = `more than ${MAX_BOUNDS} quantiles`;
      r.skip();
      return;
    }
    let quantile = 0;
    let value = 0;
    const outer = r.enter();
    while (r.more()) {
      const field = r.field();
      if (field === 1) quantile = r.double();
      else if (field === 2) value = r.double();
      else r.skip();
    }
    r.leave(outer);
    this.bounds.push(quantile);
    this.counts.push(value);
  }

  /** Repeated doubles or fixed64, packed or one by one. */
  private readNumbers(r: ProtobufReader, into: number[], limit: number, doubles: boolean): void {
    const packed = r.wire === WIRE_BYTES;
    const start = packed ? r.span() : r.fixed64();
    const end = packed ? r.at : start + 8;
    if ((end - start) % 8 !== 0) throw r.error('packed numbers do not fill their length', start);
    if (into.length + (end - start) / 8 > limit) {
      this.problem = `more than ${MAX_BOUNDS} bounds`;
      return;
    }
    for (let p = start; p < end; p += 8) {
      into.push(doubles ? r.doubleAt(p) : r.u32At(p + 4) * 4294967296 + r.u32At(p));
    }
  }

  private clearHistogram(): void {
    this.count = 0;
    this.sum = 0;
    this.hasSum = false;
    this.bounds.length = 0;
    this.counts.length = 0;
    this.scale = 0;
    this.zeroCount = 0;
    this.zeroThreshold = 0;
    this.positive.offset = 0;
    this.positive.counts.length = 0;
    this.negative.offset = 0;
    this.negative.counts.length = 0;
  }

  private addExemplar(r: ProtobufReader): void {
    const start = r.span();
    if (this.exemplars.length < 2 * MAX_EXEMPLARS) this.exemplars.push(start, r.at);
  }

  /** `from` is where the field's tag stands. */
  private addAttribute(r: ProtobufReader, from: number): void {
    r.span();
    // Fast path: attributes stand together, as all known encoders write them.
    if (this.bytes === r.bytes) {
      if (this.attributesEnd === this.attributesStart) {
        this.attributesStart = from;
        this.attributesEnd = r.at;
        return;
      }
      if (this.attributesEnd === from) {
        this.attributesEnd = r.at;
        return;
      }
    }
    const have = this.attributesEnd - this.attributesStart;
    const need = have + r.at - from;
    const target = need > this.scattered.length ? new Uint8Array(need * 2) : this.scattered;
    if (target !== this.bytes) target.set(this.bytes.subarray(this.attributesStart, this.attributesEnd));
    target.set(r.bytes.subarray(from, r.at), have);
    this.scattered = target;
    this.bytes = target;
    this.attributesStart = 0;
    this.attributesEnd = need;
  }
}

/** Nanoseconds as whole milliseconds, exactly: 2^32 ns are 4294 ms and 967296 ns. */
export function readMs(r: ProtobufReader): number {
  const at = r.fixed64();
  const low = r.u32At(at);
  const high = r.u32At(at + 4);
  return high * 4294 + Math.floor((high * 967296 + low) / 1e6);
}

function readFixed(r: ProtobufReader): number {
  const at = r.fixed64();
  return r.u32At(at + 4) * 4294967296 + r.u32At(at);
}

function readDense(r: ProtobufReader, into: DenseBuckets): void {
  const outer = r.enter();
  while (r.more()) {
    switch (r.field()) {
      case 1:
        into.offset = r.zigzag();
        break;
      case 2:
        r.unsignedsInto(into.counts, MAX_EXPONENTIAL);
        break;
      default:
        r.skip();
    }
  }
  r.leave(outer);
}
