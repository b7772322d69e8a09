/**
 * OTLP/JSON -> the protobuf bytes of the same request, so that one decoder serves both.
 *
 * The proto3 JSON mapping with OTLP's own rules: 64-bit integers as strings or numbers, trace and span ids in hex (not base64),
 * enums as numbers (names are taken too), lowerCamelCase names, the original snake_case ones accepted; unknown fields and nulls are
 * left out. The tables below are the messages of opentelemetry/proto, field by field.
 */
import { ProtobufWriter } from '../../lib/protobuf.ts';

export type JsonType =
  | 'string'
  | 'bool'
  | 'bytes'
  | 'hex'
  | 'double'
  | 'fixed64'
  | 'sfixed64'
  | 'int64'
  | 'uint64'
  | 'uint32'
  | 'sint32'
  | 'enum';

/** Number in the message, type or message name, and whether it repeats. */
export interface JsonField {
  number: number;
  type: JsonType | MessageName;
  repeated?: true;
  names?: Readonly<Record<string, number>>;
}

export type JsonMessage = Readonly<Record<string, JsonField>>;

const TEMPORALITY = {
  AGGREGATION_TEMPORALITY_UNSPECIFIED: 0,
  AGGREGATION_TEMPORALITY_DELTA: 1,
  AGGREGATION_TEMPORALITY_CUMULATIVE: 2,
};

const NUMBER_POINT = {
  attributes: { number: 7, type: 'KeyValue', repeated: true },
  startTimeUnixNano: { number: 2, type: 'fixed64' },
  timeUnixNano: { number: 3, type: 'fixed64' },
  asDouble: { number: 4, type: 'double' },
  asInt: { number: 6, type: 'sfixed64' },
  exemplars: { number: 5, type: 'Exemplar', repeated: true },
  flags: { number: 8, type: 'uint32' },
} as const;

/** By message; field names in lowerCamelCase. */
export const MESSAGES = {
  ExportMetricsServiceRequest: { resourceMetrics: { number: 1, type: 'ResourceMetrics', repeated: true } },
  ResourceMetrics: {
    resource: { number: 1, type: 'Resource' },
    scopeMetrics: { number: 2, type: 'ScopeMetrics', repeated: true },
    schemaUrl: { number: 3, type: 'string' },
  },
  Resource: {
    attributes: { number: 1, type: 'KeyValue', repeated: true },
    droppedAttributesCount: { number: 2, type: 'uint32' },
  },
  ScopeMetrics: {
    scope: { number: 1, type: 'InstrumentationScope' },
    metrics: { number: 2, type: 'Metric', repeated: true },
    schemaUrl: { number: 3, type: 'string' },
  },
  InstrumentationScope: {
    name: { number: 1, type: 'string' },
    version: { number: 2, type: 'string' },
    attributes: { number: 3, type: 'KeyValue', repeated: true },
    droppedAttributesCount: { number: 4, type: 'uint32' },
  },
  Metric: {
    name: { number: 1, type: 'string' },
    description: { number: 2, type: 'string' },
    unit: { number: 3, type: 'string' },
    gauge: { number: 5, type: 'Gauge' },
    sum: { number: 7, type: 'Sum' },
    histogram: { number: 9, type: 'Histogram' },
    exponentialHistogram: { number: 10, type: 'ExponentialHistogram' },
    summary: { number: 11, type: 'Summary' },
    metadata: { number: 12, type: 'KeyValue', repeated: true },
  },
  Gauge: { dataPoints: { number: 1, type: 'NumberDataPoint', repeated: true } },
  Sum: {
    dataPoints: { number: 1, type: 'NumberDataPoint', repeated: true },
    aggregationTemporality: { number: 2, type: 'enum', names: TEMPORALITY },
    isMonotonic: { number: 3, type: 'bool' },
  },
  Histogram: {
    dataPoints: { number: 1, type: 'HistogramDataPoint', repeated: true },
    aggregationTemporality: { number: 2, type: 'enum', names: TEMPORALITY },
  },
  ExponentialHistogram: {
    dataPoints: { number: 1, type: 'ExponentialHistogramDataPoint', repeated: true },
    aggregationTemporality: { number: 2, type: 'enum', names: TEMPORALITY },
  },
  Summary: { dataPoints: { number: 1, type: 'SummaryDataPoint', repeated: true } },
  NumberDataPoint: NUMBER_POINT,
  HistogramDataPoint: {
    attributes: { number: 9, type: 'KeyValue', repeated: true },
    startTimeUnixNano: { number: 2, type: 'fixed64' },
    timeUnixNano: { number: 3, type: 'fixed64' },
    count: { number: 4, type: 'fixed64' },
    sum: { number: 5, type: 'double' },
    bucketCounts: { number: 6, type: 'fixed64', repeated: true },
    explicitBounds: { number: 7, type: 'double', repeated: true },
    exemplars: { number: 8, type: 'Exemplar', repeated: true },
    flags: { number: 10, type: 'uint32' },
    min: { number: 11, type: 'double' },
    max: { number: 12, type: 'double' },
  },
  ExponentialHistogramDataPoint: {
    attributes: { number: 1, type: 'KeyValue', repeated: true },
    startTimeUnixNano: { number: 2, type: 'fixed64' },
    timeUnixNano: { number: 3, type: 'fixed64' },
    count: { number: 4, type: 'fixed64' },
    sum: { number: 5, type: 'double' },
    scale: { number: 6, type: 'sint32' },
    zeroCount: { number: 7, type: 'fixed64' },
    positive: { number: 8, type: 'Buckets' },
    negative: { number: 9, type: 'Buckets' },
    flags: { number: 10, type: 'uint32' },
    exemplars: { number: 11, type: 'Exemplar', repeated: true },
    min: { number: 12, type: 'double' },
    max: { number: 13, type: 'double' },
    zeroThreshold: { number: 14, type: 'double' },
  },
  Buckets: {
    offset: { number: 1, type: 'sint32' },
    bucketCounts: { number: 2, type: 'uint64', repeated: true },
  },
  SummaryDataPoint: {
    attributes: { number: 7, type: 'KeyValue', repeated: true },
    startTimeUnixNano: { number: 2, type: 'fixed64' },
    timeUnixNano: { number: 3, type: 'fixed64' },
    count: { number: 4, type: 'fixed64' },
    sum: { number: 5, type: 'double' },
    quantileValues: { number: 6, type: 'ValueAtQuantile', repeated: true },
    flags: { number: 8, type: 'uint32' },
  },
  ValueAtQuantile: { quantile: { number: 1, type: 'double' }, value: { number: 2, type: 'double' } },
  Exemplar: {
    filteredAttributes: { number: 7, type: 'KeyValue', repeated: true },
    timeUnixNano: { number: 2, type: 'fixed64' },
    asDouble: { number: 3, type: 'double' },
    asInt: { number: 6, type: 'sfixed64' },
    spanId: { number: 4, type: 'hex' },
    traceId: { number: 5, type: 'hex' },
  },
  KeyValue: { key: { number: 1, type: 'string' }, value: { number: 2, type: 'AnyValue' } },
  AnyValue: {
    stringValue: { number: 1, type: 'string' },
    boolValue: { number: 2, type: 'bool' },
    intValue: { number: 3, type: 'int64' },
    doubleValue: { number: 4, type: 'double' },
    arrayValue: { number: 5, type: 'ArrayValue' },
    kvlistValue: { number: 6, type: 'KeyValueList' },
    bytesValue: { number: 7, type: 'bytes' },
  },
  ArrayValue: { values: { number: 1, type: 'AnyValue', repeated: true } },
  KeyValueList: { values: { number: 1, type: 'KeyValue', repeated: true } },
} as const satisfies Record<string, Record<string, unknown>>;

/** What is wrong with the body, with the path in it. */
export class OtlpJsonError extends Error {
  override name = 'OtlpJsonError';
}

/** Nesting, which only values of attributes can drive up. */
const MAX_DEPTH = 100;

const words = new Uint32Array(2);
const big = new BigUint64Array(words.buffer);
const encoder = new TextEncoder();

/** Throws OtlpJsonError. */
export function metricsFromJson(body: Uint8Array): Uint8Array {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch (error) {
    throw new OtlpJsonError(`the body is not JSON: ${(error as Error).message}`);
  }
  const writer = new ProtobufWriter(body.length + 1024);
  writeMessage(writer, 'ExportMetricsServiceRequest', value, '', 0);
  return writer.finish();
}

type MessageName = keyof typeof MESSAGES;

function writeMessage(w: ProtobufWriter, message: MessageName, value: unknown, path: string, depth: number): void {
  if (depth > MAX_DEPTH) throw new OtlpJsonError(`${path}: nested deeper than ${MAX_DEPTH}`);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new OtlpJsonError(`${path === '' ? 'the body' : path}: must be an object`);
  }
  const fields = MESSAGES[message] as JsonMessage;
  for (const [key, content] of Object.entries(value)) {
    if (content === null) continue;
    const name = Object.hasOwn(fields, key) ? key : camelCase(key);
    const field = Object.hasOwn(fields, name) ? fields[name] : undefined;
    if (field === undefined) continue;
    const at = path === '' ? key : `${path}.${key}`;
    if (field.repeated !== true) writeField(w, field, content, at, depth);
    else if (!Array.isArray(content)) throw new OtlpJsonError(`${at}: must be a list`);
    else writeRepeated(w, field, content, at, depth);
  }
}

function writeRepeated(
  w: ProtobufWriter,
  field: JsonField,
  list: readonly unknown[],
  path: string,
  depth: number,
): void {
  if (field.type === 'double') {
    w.packedDoubles(
      field.number,
      list.map((v, i) => toDouble(v, `${path}[${i}]`)),
    );
    return;
  }
  for (let i = 0; i < list.length; i++) writeField(w, field, list[i], `${path}[${i}]`, depth);
}

function writeField(w: ProtobufWriter, field: JsonField, value: unknown, path: string, depth: number): void {
  const { number, type } = field;
  switch (type) {
    case 'string':
      if (typeof value !== 'string') throw new OtlpJsonError(`${path}: must be a string`);
      w.blob(number, encoder.encode(value));
      return;
    case 'bool':
      if (typeof value !== 'boolean') throw new OtlpJsonError(`${path}: must be true or false`);
      w.varint(number, value ? 1 : 0);
      return;
    case 'bytes':
    case 'hex':
      w.blob(number, toBytes(value, type, path));
      return;
    case 'double':
      w.double(number, toDouble(value, path));
      return;
    case 'fixed64':
    case 'sfixed64':
      big[0] = BigInt.asUintN(64, toBig(value, path, type === 'sfixed64'));
      w.doubleFrom(number, words, 0);
      return;
    case 'int64':
    case 'uint64':
      writeBigVarint(w, number, toBig(value, path, type === 'int64'));
      return;
    case 'uint32':
    case 'sint32': {
      const n = Number(toBig(value, path, type === 'sint32'));
      if (Math.abs(n) > 0xffffffff) throw new OtlpJsonError(`${path}: ${n} does not fit 32 bits`);
      if (type === 'uint32') w.varint(number, n);
      else w.zigzag(number, n);
      return;
    }
    case 'enum':
      w.varint(number, toEnum(value, field, path));
      return;
    default: {
      const start = w.begin(number);
      writeMessage(w, type as MessageName, value, path, depth + 1);
      w.close(start);
    }
  }
}

/** ProtobufWriter takes numbers; an integer beyond 2^53 is put together here. */
function writeBigVarint(w: ProtobufWriter, number: number, value: bigint): void {
  const n = Number(value);
  if (Number.isSafeInteger(n)) {
    w.varint(number, n);
    return;
  }
  const bytes: number[] = [number * 8];
  let rest = BigInt.asUintN(64, value);
  while (rest >= 0x80n) {
    bytes.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  w.raw(Uint8Array.from(bytes));
}

function toBig(value: unknown, path: string, signed: boolean): bigint {
  let n: bigint | null = null;
  if (typeof value === 'number' && Number.isInteger(value)) n = BigInt(value);
  else if (typeof value === 'string' && /^[+-]?\d{1,20}$/.test(value)) n = BigInt(value);
  else if (typeof value === 'string' && value !== '' && Number.isSafeInteger(Number(value))) n = BigInt(Number(value));
  if (n === null) throw new OtlpJsonError(`${path}: must be a whole number, or one in a string`);
  const fits = signed ? BigInt.asIntN(64, n) === n : BigInt.asUintN(64, n) === n;
  if (!fits) throw new OtlpJsonError(`${path}: ${n} does not fit 64 bits${signed ? '' : ' without a sign'}`);
  return n;
}

function toDouble(value: unknown, path: string): number {
  if (typeof value === 'number') return value;
  if (value === 'NaN') return Number.NaN;
  if (value === 'Infinity') return Number.POSITIVE_INFINITY;
  if (value === '-Infinity') return Number.NEGATIVE_INFINITY;
  if (typeof value === 'string' && value.trim() !== '' && Number.isFinite(Number(value))) return Number(value);
  throw new OtlpJsonError(`${path}: must be a number, or one in a string`);
}

function toBytes(value: unknown, type: 'bytes' | 'hex', path: string): Uint8Array {
  if (typeof value === 'string') {
    if (type === 'hex' && /^([0-9a-fA-F]{2})*$/.test(value)) return Buffer.from(value, 'hex');
    if (type === 'bytes' && /^[A-Za-z0-9+/_-]*={0,2}$/.test(value)) return Buffer.from(value, 'base64');
  }
  throw new OtlpJsonError(`${path}: must be text in ${type === 'hex' ? 'hex' : 'base64'}`);
}

function toEnum(value: unknown, field: JsonField, path: string): number {
  if (typeof value === 'number' && Number.isInteger(value) && Math.abs(value) <= 0x7fffffff) return value;
  if (typeof value === 'string') {
    const names = field.names ?? {};
    if (Object.hasOwn(names, value)) return names[value] as number;
    if (/^\d{1,9}$/.test(value)) return Number(value);
  }
  throw new OtlpJsonError(`${path}: must be the number of an enum value`);
}

/** snake_case names are known as well. */
function camelCase(name: string): string {
  return name.replace(/_([a-z0-9])/g, (_all, c: string) => c.toUpperCase());
}
