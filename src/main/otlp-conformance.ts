/**
 * The metrics part of the OTLP conformance material (a folder with `proto/` and `examples/`, as opentelemetry-proto has them), as a count of
 * checks passed and failed.
 *
 * There are no vectors upstream. So it is checked that every message and field of the proto files is one that the JSON mapping knows,
 * under the same number and type, and the other way round; that no field number has another meaning; and that the example body becomes the
 * series that it says, in JSON and in protobuf.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { OtlpDecoder } from '../ingest/otlp/decode.ts';
import { DeltaStore } from '../ingest/otlp/delta.ts';
import { type JsonField, type JsonMessage, MESSAGES, metricsFromJson } from '../ingest/otlp/json.ts';
import { DEFAULT_OTLP_SETTINGS } from '../ingest/otlp/settings.ts';
import { decodeLabels, formatLabels } from '../model/labels.ts';

export interface ConformanceScore {
  passed: number;
  failed: number;
  /** One line each. */
  failures: string[];
}

const FILES = [
  'collector/metrics/v1/metrics_service',
  'metrics/v1/metrics',
  'common/v1/common',
  'resource/v1/resource',
];

/** Messages of those files that are no part of what a sender of metrics sends. */
const NOT_SENT = new Set(['MetricsData', 'ExportMetricsServiceResponse', 'ExportMetricsPartialSuccess', 'EntityRef']);
/** By `Message.field`: references into tables that other signals have, or about entities: read by nobody here. */
const NOT_READ = new Set(['Resource.entityRefs', 'KeyValue.keyStrindex', 'AnyValue.stringValueStrindex']);
/** Types on the wire as the JSON tables name them. */
const TYPES: Readonly<Record<string, string>> = {
  string: 'string',
  bool: 'bool',
  bytes: 'bytes',
  double: 'double',
  fixed64: 'fixed64',
  sfixed64: 'sfixed64',
  int64: 'int64',
  uint64: 'uint64',
  uint32: 'uint32',
  sint32: 'sint32',
  AggregationTemporality: 'enum',
};

interface ProtoField {
  message: string;
  name: string;
  number: number;
  type: string;
  repeated: boolean;
}

/** `folder` holds `proto/opentelemetry/proto/...` and `examples/metrics.json`. */
export function otlpMetricsConformance(folder: string): ConformanceScore {
  const score: ConformanceScore = { passed: 0, failed: 0, failures: [] };
  const check = (what: string, right: boolean): void => {
    if (right) score.passed++;
    else {
      score.failed++;
      score.failures.push(what);
    }
  };
  const fields = FILES.flatMap(file =>
    fieldsOf(readFileSync(join(folder, 'proto/opentelemetry/proto', `${file}.proto`), 'utf8')),
  );
  for (const field of fields) checkField(field, check);
  const known = new Set(fields.map(f => `${f.message}.${f.name}`));
  for (const [message, own] of Object.entries(MESSAGES)) {
    for (const name of Object.keys(own))
      check(`${message}.${name} is in no proto file`, known.has(`${message}.${name}`));
  }
  checkExample(readFileSync(join(folder, 'examples/metrics.json')), check);
  return score;
}

function checkField(field: ProtoField, check: (what: string, right: boolean) => void): void {
  const where = `${field.message}.${field.name}`;
  if (NOT_READ.has(where)) return;
  const own = (MESSAGES as Record<string, JsonMessage>)[field.message]?.[field.name] as JsonField | undefined;
  check(`${where} is not known`, own !== undefined);
  if (own === undefined) return;
  check(`${where} has the number ${field.number}, not ${own.number}`, own.number === field.number);
  // Ids are bytes on the wire and hex in JSON.
  const type = own.type === 'hex' ? 'bytes' : own.type;
  check(`${where} has the type ${field.type}, not ${own.type}`, type === (TYPES[field.type] ?? field.type));
  check(`${where}: repeated`, (own.repeated === true) === field.repeated);
}

/** Fields of all messages that senders send; nested messages by their own name. */
function fieldsOf(proto: string): ProtoField[] {
  const out: ProtoField[] = [];
  const open: string[] = [];
  for (const line of proto.replace(/\/\*[\s\S]*?\*\//g, '').split('\n')) {
    const code = line.replace(/\/\/.*/, '').trim();
    const begins = /^(message|oneof|enum|service|extend)\s+(\w+)?/.exec(code);
    if (begins !== null && code.includes('{')) {
      // Fields of a oneof are the message's.
      open.push(begins[1] === 'oneof' ? (open.at(-1) ?? '') : begins[1] === 'message' ? (begins[2] as string) : '');
      if (code.includes('}')) open.pop();
      continue;
    }
    if (code.startsWith('}')) {
      open.pop();
      continue;
    }
    const field = /^(repeated\s+|optional\s+)?([\w.]+)\s+(\w+)\s*=\s*(\d+)/.exec(code);
    const message = open.at(-1) ?? '';
    if (field === null || message === '' || NOT_SENT.has(message)) continue;
    out.push({
      message,
      name: (field[3] as string).replace(/_([a-z0-9])/g, (_all, c: string) => c.toUpperCase()),
      number: Number(field[4]),
      type: (field[2] as string).split('.').at(-1) as string,
      repeated: field[1]?.startsWith('repeated') === true,
    });
  }
  return out;
}

/** What the example of opentelemetry-proto says, as series. */
const EXAMPLE = [
  'my_counter_total{job="my.service", my_counter_attr="some value"} 5',
  'my_gauge_ratio{job="my.service", my_gauge_attr="some value"} 10',
  'my_histogram_count{job="my.service", my_histogram_attr="some value"} 2',
  'my_histogram_sum{job="my.service", my_histogram_attr="some value"} 2',
  'my_histogram_bucket{job="my.service", le="1", my_histogram_attr="some value"} 1',
  'my_histogram_bucket{job="my.service", le="+Inf", my_histogram_attr="some value"} 2',
  'my_exponential_histogram{job="my.service", my_exponential_histogram_attr="some value"} count 3 sum 10 zero 1',
];

function checkExample(body: Uint8Array, check: (what: string, right: boolean) => void): void {
  const decoder = new OtlpDecoder(DEFAULT_OTLP_SETTINGS, () => 0);
  // Its sums and histograms are of delta temporality.
  const deltas = new DeltaStore(() => 0);
  deltas.maxSeries = 100;
  const { batch, rejected, points } = decoder.decode(metricsFromJson(body), new Uint32Array(4), deltas);
  const found: string[] = [];
  for (let i = 0; i < batch.seriesCount; i++) {
    const labels = formatLabels(decodeLabels(batch.labelBytes, batch.labelStart[i], batch.labelEnd[i]));
    const row = batch.sampleStart[i] as number;
    if (row < (batch.sampleStart[i + 1] as number)) found.push(`${labels} ${batch.values[row]}`);
    for (const { series, histogram: h } of batch.histograms ?? []) {
      if (series === i) found.push(`${labels} count ${h.count} sum ${h.sum} zero ${h.zeroCount}`);
    }
  }
  for (const line of EXAMPLE) check(`the example gives no ${line}`, found.includes(line));
  check(`the example gives ${found.length} series, not ${EXAMPLE.length}`, found.length === EXAMPLE.length);
  check(`of the example ${points} points are kept`, points === 4 && rejected.length === 0);
}
