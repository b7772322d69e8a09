/** OTLP's doors as the wire sees them: paths, forms, compression, partial success, what is refused and how. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import zlib from 'node:zlib';
import { type ChannelCredentials, Client, credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import { hashToken } from '../../src/api/auth/passwords.ts';
import { metricsFromJson } from '../../src/ingest/otlp/json.ts';
import { attributes, request } from '../../src/ingest/otlp/testing.ts';
import { ProtobufReader } from '../../src/lib/protobuf.ts';
import { needs, runProgramOrThrow } from '../support/programs.ts';
import { Sightline } from '../support/sightline.ts';

const WRITER = 'writer-token-0123456789';
const READER = 'reader-token-0123456789';
const QUIET = 'host: {enabled: false}\n';
const METRICS = '/opentelemetry.proto.collector.metrics.v1.MetricsService/Export';

function now(): string {
  return `${Date.now()}000000`;
}

function gauge(name: string, value: number, more: object = {}): unknown {
  return request([{ name, gauge: { dataPoints: [{ timeUnixNano: now(), asInt: value, ...more }] } }]);
}

function protobuf(json: unknown): Uint8Array {
  return metricsFromJson(Buffer.from(JSON.stringify(json))).slice();
}

interface Answer {
  status: number;
  headers: Headers;
  bytes: Buffer;
}

async function post(url: string, body: Uint8Array | string, headers: Record<string, string>): Promise<Answer> {
  const response = await fetch(url, { method: 'POST', body: body as string, headers });
  return { status: response.status, headers: response.headers, bytes: Buffer.from(await response.arrayBuffer()) };
}

/** One call; the error or the answer's bytes. */
function call(
  address: string,
  body: Uint8Array,
  options: { path?: string; metadata?: Metadata; gzip?: boolean; tls?: ChannelCredentials } = {},
): Promise<Buffer | ServiceError> {
  const client = new Client(address, options.tls ?? credentials.createInsecure(), {
    'grpc.default_compression_algorithm': options.gzip === true ? 2 : 0,
    'grpc.max_send_message_length': -1,
  });
  const same = (bytes: Buffer): Buffer => bytes;
  return new Promise(done => {
    const metadata = options.metadata ?? new Metadata();
    client.makeUnaryRequest(options.path ?? METRICS, same, same, Buffer.from(body), metadata, (error, answer) => {
      client.close();
      done(error ?? (answer as Buffer));
    });
  });
}

/** rejected_data_points and error_message. */
function partialOf(bytes: Uint8Array): [number, string] {
  const r = new ProtobufReader(bytes);
  let rejected = 0;
  let message = '';
  while (r.more()) {
    assert.equal(r.field(), 1);
    const outer = r.enter();
    while (r.more()) {
      if (r.field() === 1) rejected = r.unsigned();
      else {
        const start = r.span();
        message = Buffer.from(bytes.subarray(start, r.at)).toString();
      }
    }
    r.leave(outer);
  }
  return [rejected, message];
}

test('HTTP: paths, forms, compression, answers in the form of the question', async t => {
  const server = await Sightline.start(t, { config: QUIET });
  const proto = { 'content-type': 'application/x-protobuf' };
  const json = { 'content-type': 'application/json; charset=utf-8' };
  const urls = [`${server.otlpHttp}/v1/metrics`, `${server.url}/v1/metrics`, `${server.url}/api/v1/otlp/v1/metrics`];
  for (const [i, url] of urls.entries()) {
    const answer = await post(url, protobuf(gauge(`path${i}`, i)), proto);
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get('content-type'), 'application/x-protobuf');
    assert.equal(answer.bytes.length, 0);
    assert.equal((await server.query(`path${i}`))[0]?.value[1], String(i));
  }
  const url = urls[0] as string;
  const ok = await post(url, JSON.stringify(gauge('json', 5)), json);
  assert.deepEqual([ok.status, ok.headers.get('content-type'), ok.bytes.toString()], [200, 'application/json', '{}']);
  const packers = { gzip: zlib.gzipSync, zstd: zlib.zstdCompressSync, deflate: zlib.deflateSync };
  for (const [encoding, pack] of Object.entries(packers)) {
    const body = pack(protobuf(gauge(encoding, 7)));
    assert.equal((await post(url, body, { ...proto, 'content-encoding': encoding })).status, 200, encoding);
    assert.equal((await server.query(encoding))[0]?.value[1], '7', encoding);
  }
  const other = { ...proto, 'x-scope-orgid': 'team-a' };
  assert.equal((await post(url, protobuf(gauge('theirs', 1)), other)).status, 200);
  assert.deepEqual(await server.query('theirs'), []);
});

test('HTTP: partial success and refusals', async t => {
  const server = await Sightline.start(t, { config: `${QUIET}otlp: {max_body: 64KiB}\n` });
  const proto = { 'content-type': 'application/x-protobuf' };
  const json = { 'content-type': 'application/json' };
  const url = `${server.otlpHttp}/v1/metrics`;
  const time = now();
  const mixed = request([
    { name: 'good', gauge: { dataPoints: [{ timeUnixNano: time, asInt: 1 }] } },
    { name: 'bad', gauge: { dataPoints: [{ timeUnixNano: time }, { asInt: 1 }] } },
  ]);
  const partly = await post(url, protobuf(mixed), proto);
  assert.equal(partly.status, 200);
  const [rejected, message] = partialOf(partly.bytes);
  assert.equal(rejected, 2);
  assert.match(message, /1 refused, invalid_value: metric "bad": a point has no value; 1 refused, invalid_timestamp/);
  const asJson = JSON.parse((await post(url, JSON.stringify(mixed), json)).bytes.toString());
  assert.equal(asJson.partialSuccess.rejectedDataPoints, '2');
  assert.equal((await server.query('good')).length, 1);

  const status = async (body: Uint8Array | string, headers: Record<string, string>, path = '/v1/metrics') =>
    post(`${server.otlpHttp}${path}`, body, headers);
  const broken = await status('{"resourceMetrics": 1}', json);
  assert.equal(broken.status, 400);
  assert.deepEqual(JSON.parse(broken.bytes.toString()), {
    code: 3,
    message: 'no ExportMetricsServiceRequest: resourceMetrics: must be a list',
  });
  assert.equal((await status(Buffer.from([0x0a, 0x05]), proto)).status, 400);
  assert.equal((await status(Buffer.from('zzz'), { ...proto, 'content-encoding': 'gzip' })).status, 400);
  assert.equal((await status('x', { ...proto, 'content-encoding': 'br' })).status, 415);
  assert.equal((await status('x', { 'content-type': 'text/plain' })).status, 415);
  assert.equal((await status(new Uint8Array(70_000), proto)).status, 413);
  // 100 MiB of zeros in a hundred KB.
  const bomb = zlib.gzipSync(Buffer.alloc(100 << 20)).subarray(0, 65_000);
  assert.ok([400, 413].includes((await status(bomb, { ...proto, 'content-encoding': 'gzip' })).status));
  for (const signal of ['logs', 'traces']) {
    const later = await status('{}', json, `/v1/${signal}`);
    assert.equal(later.status, 404);
    assert.match(later.bytes.toString(), new RegExp(`${signal} are not taken by this version`));
  }
  assert.equal((await status(protobuf(gauge('x', 1)), { ...proto, 'x-scope-orgid': '_self' })).status, 403);
  assert.equal((await status(protobuf(gauge('x', 1)), { ...proto, 'x-scope-orgid': 'no/name' })).status, 400);
  const metrics = await server.get('/metrics');
  assert.match(metrics, /sightline_otlp_requests_total\{status="200",transport="http"\} 2\n/);
  assert.match(metrics, /sightline_otlp_rejected_points_total\{transport="http"\} 4\n/);
});

test('gRPC: gzip, tenants, partial success, refusals', async t => {
  const server = await Sightline.start(t, { config: `${QUIET}otlp: {max_body: 64KiB}\n` });
  const address = server.otlpGrpc;
  assert.deepEqual(await call(address, protobuf(gauge('plain', 1))), Buffer.alloc(0));
  assert.deepEqual(await call(address, protobuf(gauge('packed', 2)), { gzip: true }), Buffer.alloc(0));
  assert.equal((await server.query('packed'))[0]?.value[1], '2');
  const metadata = new Metadata();
  metadata.set('x-scope-orgid', 'team-b');
  assert.deepEqual(await call(address, protobuf(gauge('theirs', 1)), { metadata }), Buffer.alloc(0));
  assert.deepEqual(await server.query('theirs'), []);
  const partly = await call(address, protobuf(gauge('bad', 1, { timeUnixNano: '0' })));
  assert.deepEqual(partialOf(partly as Buffer)[0], 1);
  const failed = async (body: Uint8Array, options = {}): Promise<[number, string]> => {
    const error = (await call(address, body, options)) as ServiceError;
    return [error.code, error.details];
  };
  assert.deepEqual(await failed(Buffer.from([0x0a, 0x05])), [
    3,
    'no ExportMetricsServiceRequest: a length runs past the end of its message (byte 0 of the message)',
  ]);
  assert.equal((await failed(new Uint8Array(70_000)))[0], 8);
  // Packed it is small.
  assert.equal((await failed(new Uint8Array(50 << 20), { gzip: true }))[0], 8);
  for (const [signal, service] of [
    ['logs', 'Logs'],
    ['trace', 'Trace'],
  ]) {
    const path = `/opentelemetry.proto.collector.${signal}.v1.${service}Service/Export`;
    const [code, details] = await failed(new Uint8Array(0), { path });
    assert.equal(code, 12);
    assert.match(details, /are not taken by this version/);
  }
});

test('a port that is taken is a warning, everything else runs; settings take effect on a reload', async t => {
  const first = await Sightline.start(t, { config: QUIET });
  const taken = first.otlpGrpc;
  const server = await Sightline.start(t, { config: QUIET, args: ['--otlp-grpc', taken, '--otlp-http', 'off'] });
  assert.match(
    server.stderr + server.stdout,
    /OTLP\/gRPC is shut: .* is in use by another program.*--otlp-grpc HOST:PORT/,
  );
  assert.equal(server.otlpGrpc, '');
  const proto = { 'content-type': 'application/x-protobuf' };
  assert.equal((await post(`${server.url}/v1/metrics`, protobuf(gauge('up.still', 1)), proto)).status, 200);
  assert.equal((await server.query('up_still')).length, 1);
  writeFileSync(join(server.dir, 'sightline.yaml'), `${QUIET}otlp: {translation_strategy: NoTranslation}\n`);
  assert.equal((await server.post('/-/reload', '')).status, 200);
  assert.equal((await post(`${server.url}/v1/metrics`, protobuf(gauge('up.now', 1)), proto)).status, 200);
  assert.equal((await server.query('{"up.now"}')).length, 1);
});

test('a Prometheus file holds for names, and what sightline.yaml says wins', async t => {
  const server = await Sightline.start(t, {
    config: `${QUIET}prometheus: {file: prometheus.yml}\notlp: {promote_scope_metadata: true}\n`,
    files: {
      'prometheus.yml':
        'otlp: {translation_strategy: NoTranslation, promote_scope_metadata: false, promote_resource_attributes: [host.name]}\n',
    },
  });
  const json = request(
    [
      {
        name: 'a.b',
        gauge: { dataPoints: [{ timeUnixNano: now(), asInt: 1, attributes: attributes({ 'c.d': 'e' }) }] },
      },
    ],
    {
      'service.name': 's',
      'host.name': 'h',
    },
  );
  const answer = await post(`${server.url}/v1/metrics`, JSON.stringify(json), { 'content-type': 'application/json' });
  assert.equal(answer.status, 200);
  const [found] = await server.query('{"a.b"}');
  assert.deepEqual(found?.metric, {
    __name__: 'a.b',
    'c.d': 'e',
    'host.name': 'h',
    job: 's',
    otel_scope_name: 'lib',
    otel_scope_version: '1.2',
  });
  assert.doesNotMatch(await server.get('/metrics'), /sightline_config_unsupported\{[^}]*key="otlp/);
});

test('where sign-in is asked for, both doors ask for it, and a token holds for its tenant and rights', async t => {
  const tokens = [
    `{name: agent, sha256: ${hashToken(WRITER)}, tenant: a, rights: [write]}`,
    `{name: grafana, sha256: ${hashToken(READER)}, tenant: a, rights: [read]}`,
  ];
  const server = await Sightline.start(t, { config: `${QUIET}auth: {tokens: [${tokens.join(', ')}]}\n` });
  const body = protobuf(gauge('x', 1));
  const http = async (token: string, tenant = ''): Promise<number> => {
    const headers = {
      'content-type': 'application/x-protobuf',
      ...(token === '' ? {} : { authorization: `Bearer ${token}` }),
      ...(tenant === '' ? {} : { 'x-scope-orgid': tenant }),
    };
    return (await post(`${server.otlpHttp}/v1/metrics`, body, headers)).status;
  };
  assert.deepEqual([await http(''), await http('wrong'), await http(READER)], [401, 401, 403]);
  assert.deepEqual([await http(WRITER), await http(WRITER, 'a'), await http(WRITER, 'b')], [200, 200, 403]);
  const grpc = async (token: string, tenant = ''): Promise<number> => {
    const metadata = new Metadata();
    if (token !== '') metadata.set('authorization', `Bearer ${token}`);
    if (tenant !== '') metadata.set('x-scope-orgid', tenant);
    const answer = await call(server.otlpGrpc, body, { metadata });
    return answer instanceof Error ? answer.code : 0;
  };
  assert.deepEqual([await grpc(''), await grpc('wrong'), await grpc(READER)], [16, 16, 7]);
  assert.deepEqual([await grpc(WRITER), await grpc(WRITER, 'a'), await grpc(WRITER, 'b')], [0, 0, 7]);
});

test('a gRPC door that other machines reach speaks TLS where the main port does', {
  skip: needs('openssl'),
}, async t => {
  const certificate = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
  const names = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
  const server = await Sightline.start(t, {
    config:
      `${QUIET}http: {tls: {cert_file: server.pem, key_file: server.key}}\n` +
      `auth: {tokens: [{name: agent, sha256: ${hashToken(WRITER)}, tenant: a, rights: [write]}]}\n`,
    args: ['--otlp-grpc', '0.0.0.0:0'],
    prepare: dir =>
      runProgramOrThrow('openssl', [...certificate, ...names, '-keyout', 'server.key', '-out', 'server.pem'], dir),
  });
  const port = server.otlpGrpc.split(':')[1];
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${WRITER}`);
  const tls = credentials.createSsl(readFileSync(join(server.dir, 'server.pem')));
  assert.deepEqual(await call(`localhost:${port}`, protobuf(gauge('x', 1)), { metadata, tls }), Buffer.alloc(0));
  assert.ok((await call(`localhost:${port}`, protobuf(gauge('x', 1)), { metadata })) instanceof Error);
});

test('a door that other machines would reach stays shut where nobody has to sign in', async t => {
  const server = await Sightline.start(t, { config: QUIET, args: ['--otlp-http', '0.0.0.0:0'] });
  assert.equal(server.otlpHttp, '(off)');
  assert.match(
    server.stderr + server.stdout,
    /OTLP\/HTTP is shut: 0\.0\.0\.0:0 can be reached from other machines, and nobody/,
  );
});
