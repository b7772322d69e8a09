/**
 * Suite 08, metrics part: the protocol's own examples, message definitions and specification. There are no verdicts upstream, so the
 * cases are made from what the specification says a server MUST do, over HTTP and gRPC, with the suite's example requests; and every
 * field of the message definitions must be known to the JSON reader under its name, number and type.
 */
import { gzipSync } from 'node:zlib';
import { Client, credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import { type JsonField, MESSAGES, metricsFromJson } from '../../src/ingest/otlp/json.ts';
import { Sightline } from '../support/sightline.ts';
import { suiteBytes } from './read-suite.ts';
import type { Score, SuiteContext } from './score.ts';

const FOLDER = '08-otlp';
const JSON_TYPE = 'application/json';
const PROTOBUF_TYPE = 'application/x-protobuf';
const EXPORT = '/opentelemetry.proto.collector.metrics.v1.MetricsService/Export';
/** When the example's points are: 2018. */
const EXAMPLE_S = 1_544_712_660.3;
const CONFIG =
  'host: {enabled: false}\nstorage: {retention: {raw: 100y}, downsample: {1m: 0s, 1h: 0s}}\notlp: {http: "127.0.0.1:0", grpc: "127.0.0.1:0"}\n';

/** Of the example request, under the default translation. */
const EXAMPLE_VALUES: readonly [string, number][] = [
  ['my_counter_total{job="my.service",my_counter_attr="some value"}', 5],
  ['my_gauge_ratio{job="my.service",my_gauge_attr="some value"}', 10],
  ['my_histogram_bucket{le="1",my_histogram_attr="some value"}', 1],
  ['my_histogram_bucket{le="+Inf"}', 2],
  ['my_histogram_count', 2],
  ['my_histogram_sum', 2],
  ['histogram_count(my_exponential_histogram{my_exponential_histogram_attr="some value"})', 3],
  ['histogram_sum(my_exponential_histogram)', 10],
  ['histogram_fraction(-1, 2, my_exponential_histogram) * 3', 1],
];

export async function runOtlp(context: SuiteContext, score: Score): Promise<void> {
  messages(context.suites, score);
  const server = await Sightline.start(context, { config: CONFIG, args: ['--shards', '2'] });
  const http = new Http(server.otlpHttp, score);
  const example = suiteBytes(context.suites, FOLDER, 'examples', 'metrics.json');
  await examples(server, http, example, score);
  await otherBodies(context.suites, http);
  await partialSuccess(http, example);
  await grpc(server, example, score);
}

// The message definitions.

const PROTO_FILES = [
  'collector/metrics/v1/metrics_service.proto',
  'metrics/v1/metrics.proto',
  'resource/v1/resource.proto',
  'common/v1/common.proto',
];
/** Messages that are no part of a request to store metrics. */
const NOT_READ = new Set(['ExportMetricsServiceResponse', 'ExportMetricsPartialSuccess', 'MetricsData', 'EntityRef']);

interface ProtoField {
  message: string;
  name: string;
  type: string;
  number: number;
  repeated: boolean;
}

/** Fields with the short names of their messages, nested ones too; comments and enums are passed over. */
function fieldsOf(proto: string): ProtoField[] {
  const fields: ProtoField[] = [];
  const open: string[] = [];
  for (const line of proto.replace(/\/\/.*$/gm, '').split('\n')) {
    const block = /^\s*(message|enum|oneof|service)\s+(\w+)\s*\{/.exec(line);
    if (block !== null) {
      // A oneof's fields are those of the message around it.
      const inside = block[1] === 'message' ? (block[2] as string) : block[1] === 'oneof' ? (open.at(-1) ?? '') : '';
      if (!line.includes('}')) open.push(inside);
      continue;
    }
    const field = /^\s*(repeated\s+|optional\s+)?([\w.]+)\s+(\w+)\s*=\s*(\d+)\s*(\[[^\]]*\])?;/.exec(line);
    const message = open.at(-1) ?? '';
    if (field !== null && message !== '' && field[2] !== 'reserved') {
      fields.push({
        message,
        name: (field[3] as string).replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase()),
        type: (field[2] as string).split('.').at(-1) as string,
        number: Number(field[4]),
        repeated: field[1]?.trim() === 'repeated',
      });
    } else if (/^\s*\}/.test(line)) open.pop();
  }
  return fields;
}

function messages(suites: string, score: Score): void {
  const known = MESSAGES as Readonly<Record<string, Readonly<Record<string, JsonField>>>>;
  for (const file of PROTO_FILES) {
    const proto = Buffer.from(suiteBytes(suites, FOLDER, 'proto/opentelemetry/proto', file)).toString();
    for (const field of fieldsOf(proto)) {
      if (NOT_READ.has(field.message) || NOT_READ.has(field.type)) continue;
      if (field.name.endsWith('Strindex')) {
        score.leaveOut('a field of the profiles signal alone');
        continue;
      }
      const ours = shortNamed(known, field.message)?.[field.name];
      score.judge(`proto/${file} ${field.message}.${field.name}`, fieldProblem(field, ours));
    }
  }
}

/** Nested messages may carry the name of the outer one in front. */
function shortNamed<T>(known: Readonly<Record<string, T>>, name: string): T | undefined {
  return known[name] ?? Object.entries(known).find(([key]) => key.endsWith(name))?.[1];
}

function fieldProblem(field: ProtoField, ours: JsonField | undefined): string {
  if (ours === undefined) return 'is not known';
  if (ours.number !== field.number) return `has number ${field.number}, not ${ours.number}`;
  if ((ours.repeated === true) !== field.repeated) return `repeated: ${field.repeated}`;
  const type = ours.type === 'hex' ? 'bytes' : ours.type === 'enum' ? 'AggregationTemporality' : ours.type;
  return type.endsWith(field.type) ? '' : `has type ${field.type}, not ${type}`;
}

// Over HTTP.

interface HttpAnswer {
  status: number;
  type: string;
  body: Buffer;
}

class Http {
  private readonly url: string;
  private readonly score: Score;

  constructor(url: string, score: Score) {
    this.url = url;
    this.score = score;
  }

  /** Sends a request and judges its answer; '' of `problem` is right. */
  async judge(
    name: string,
    body: Uint8Array,
    headers: Record<string, string>,
    problem: (answer: HttpAnswer) => string,
  ): Promise<void> {
    const response = await fetch(`${this.url}/v1/metrics`, { method: 'POST', body: body as never, headers });
    const answer = {
      status: response.status,
      type: response.headers.get('content-type') ?? '',
      body: Buffer.from(await response.arrayBuffer()),
    };
    this.score.judge(`http ${name}`, problem(answer));
  }
}

/** All was taken: 200, the type of the request, and no partial_success. */
function taken(type: string): (answer: HttpAnswer) => string {
  return ({ status, type: got, body }) => {
    const told = `${status} ${got} ${body.toString().slice(0, 300)}`;
    if (status !== 200 || !got.startsWith(type)) return `must be 200 with ${type}: ${told}`;
    if (type === PROTOBUF_TYPE)
      return body.length === 0 ? '' : `partial_success must not be set: ${body.toString('hex')}`;
    return 'partialSuccess' in (JSON.parse(body.toString()) as object) ? `partialSuccess must not be set: ${told}` : '';
  };
}

/** A request that cannot be read: 400 and a Status with a message, in the form of the request. */
function badRequest(type: string): (answer: HttpAnswer) => string {
  return ({ status, type: got, body }) => {
    const told = `${status} ${got} ${body.toString().slice(0, 300)}`;
    if (status !== 400 || !got.startsWith(type)) return `must be 400 with ${type}: ${told}`;
    if (type === JSON_TYPE) {
      const { message } = JSON.parse(body.toString()) as { message?: unknown };
      return typeof message === 'string' && message !== '' ? '' : `no message: ${told}`;
    }
    // google.rpc.Status: the message is text in field 2.
    const at = body.indexOf(0x12);
    return at >= 0 && (body[at + 1] ?? 0) > 0 ? '' : `no message: ${body.toString('hex')}`;
  };
}

/** The example in both forms, plain and gzipped, each into a tenant of its own; then what is stored. */
async function examples(server: Sightline, http: Http, example: Uint8Array, score: Score): Promise<void> {
  const forms: readonly [string, string, Uint8Array][] = [
    ['json', JSON_TYPE, example],
    ['protobuf', PROTOBUF_TYPE, metricsFromJson(example)],
  ];
  for (const [form, type, body] of forms) {
    for (const encoding of ['', 'gzip']) {
      const tenant = `${form}${encoding}`;
      const headers = { 'content-type': type, 'x-scope-orgid': tenant, 'content-encoding': encoding };
      if (encoding === '') Reflect.deleteProperty(headers, 'content-encoding');
      const sentBody = encoding === 'gzip' ? gzipSync(body) : body;
      await http.judge(`examples/metrics.json ${form} ${encoding}`, sentBody, headers, taken(type));
      await stored(server, tenant, `http ${form} ${encoding}`, score);
    }
  }
}

async function stored(server: Sightline, tenant: string, name: string, score: Score): Promise<void> {
  for (const [expression, wanted] of EXAMPLE_VALUES) {
    const query = `/api/v1/query?time=${EXAMPLE_S}&query=${encodeURIComponent(expression)}`;
    const response = await fetch(server.url + query, { headers: { 'x-scope-orgid': tenant } });
    const text = await response.text();
    const { data } = JSON.parse(text) as { data?: { result: { value: [number, string] }[] } };
    const values = data?.result.map(row => Number(row.value[1])) ?? [];
    const right = values.length === 1 && values[0] === wanted;
    score.judge(`${name} ${expression}`, right ? '' : `[${values}] instead of ${wanted}: ${text.slice(0, 300)}`);
  }
}

async function otherBodies(suites: string, http: Http): Promise<void> {
  const json = { 'content-type': JSON_TYPE };
  const protobuf = { 'content-type': PROTOBUF_TYPE };
  await http.judge('empty request, json', Buffer.from('{}'), json, taken(JSON_TYPE));
  await http.judge('empty request, protobuf', new Uint8Array(0), protobuf, taken(PROTOBUF_TYPE));
  // Fields with unknown names must be ignored: requests of other signals have nothing else.
  for (const name of ['trace', 'logs', 'events']) {
    const body = suiteBytes(suites, FOLDER, 'examples', `${name}.json`);
    await http.judge(`unknown fields: examples/${name}.json`, body, json, taken(JSON_TYPE));
  }
  await http.judge('no JSON', Buffer.from('{"resourceMetrics": ['), json, badRequest(JSON_TYPE));
  await http.judge('no protobuf', Buffer.from('no protobuf at all'), protobuf, badRequest(PROTOBUF_TYPE));
  const broken = { ...protobuf, 'content-encoding': 'gzip' };
  await http.judge('no gzip', Buffer.from('no gzip at all'), broken, badRequest(PROTOBUF_TYPE));
}

/** One point that cannot be stored among those that can: 200, the number refused and why. */
async function partialSuccess(http: Http, example: Uint8Array): Promise<void> {
  const request = JSON.parse(Buffer.from(example).toString()) as {
    resourceMetrics: { scopeMetrics: { metrics: { histogram?: { dataPoints: { bucketCounts: string[] }[] } }[] }[] }[];
  };
  const metrics = request.resourceMetrics[0]?.scopeMetrics[0]?.metrics ?? [];
  const point = metrics.find(m => m.histogram !== undefined)?.histogram?.dataPoints[0];
  // One bound makes two buckets.
  point?.bucketCounts.push('1', '1', '1');
  const headers = { 'content-type': JSON_TYPE, 'x-scope-orgid': 'partial' };
  await http.judge('partial success', Buffer.from(JSON.stringify(request)), headers, ({ status, body }) => {
    interface Reply {
      partialSuccess?: { rejectedDataPoints?: string | number; errorMessage?: string };
    }
    const { partialSuccess: partial } = JSON.parse(body.toString()) as Reply;
    const right = status === 200 && Number(partial?.rejectedDataPoints) === 1 && (partial?.errorMessage ?? '') !== '';
    return right ? '' : `${status} ${body}`;
  });
}

// Over gRPC.

async function grpc(server: Sightline, example: Uint8Array, score: Score): Promise<void> {
  const client = new Client(server.otlpGrpc, credentials.createInsecure());
  const request = Buffer.from(metricsFromJson(example));
  const call = (body: Buffer, tenant: string): Promise<{ error: ServiceError | null; reply: Buffer }> => {
    const metadata = new Metadata();
    metadata.set('x-scope-orgid', tenant);
    const same = (bytes: Buffer): Buffer => bytes;
    return new Promise(done =>
      client.makeUnaryRequest(EXPORT, same, same, body, metadata, (error, reply) =>
        done({ error, reply: reply ?? Buffer.alloc(0) }),
      ),
    );
  };
  try {
    const whole = await call(request, 'grpc');
    const problem = whole.error?.message ?? (whole.reply.length === 0 ? '' : 'partial_success must not be set');
    score.judge('grpc examples/metrics.json', problem);
    await stored(server, 'grpc', 'grpc', score);
    const empty = await call(Buffer.alloc(0), 'grpc');
    score.judge('grpc empty request', empty.error?.message ?? '');
    const bad = await call(Buffer.from('no protobuf at all'), 'grpc');
    // INVALID_ARGUMENT: not to be sent again.
    score.judge('grpc no protobuf', bad.error?.code === 3 ? '' : `must be code 3: ${bad.error?.message ?? 'taken'}`);
  } finally {
    client.close();
  }
}
