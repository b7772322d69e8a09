import assert from 'node:assert/strict';
import { test } from 'node:test';
import zlib from 'node:zlib';
import { Random } from '../../../test/support/random.ts';
import { RecordingSink } from '../../../test/support/recording-sink.ts';
import type { IngestRequest, IngestResponse } from '../../contracts/ingest-service.ts';
import { IdentityHasher } from '../../lib/identity-hash.ts';
import { ProtobufWriter } from '../../lib/protobuf.ts';
import { writeDatadog } from './write.ts';

const NOW = 1_700_000_000_000;
const hasher = new IdentityHasher(new Uint8Array(32));

async function write(
  body: Uint8Array | object,
  about: Partial<IngestRequest> = {},
): Promise<{ sink: RecordingSink; answer: IngestResponse }> {
  const sink = new RecordingSink();
  const request: IngestRequest = {
    protocol: 'datadog-v1',
    tenant: 'default',
    contentType: 'application/json',
    contentEncoding: '',
    params: '',
    headers: {},
    ...about,
  };
  const bytes = body instanceof Uint8Array ? body : Buffer.from(JSON.stringify(body));
  return { sink, answer: await writeDatadog({ hasher, sink, now: () => NOW }, request, bytes) };
}

test('v1: points, host, device, tags, every compression', async () => {
  const series = {
    metric: 'system.load.1',
    points: [
      [1_600_000_000, 0.5],
      [1_600_000_010, 0.7],
    ],
    host: 'h1',
    device: 'sda',
    type: 'rate',
    interval: 10,
    source_type_name: 'System',
    tags: ['env:prod:eu', 'solo', 'host:other', 'env:second'],
  };
  const body = Buffer.from(JSON.stringify({ series: [series, { metric: 'now', points: [[0, 1]] }] }));
  const labels =
    '{"system.load.1", device="sda", env="prod:eu", exported_host="other", host="h1", solo="no_label_value", source_type_name="System"}';
  for (const [encoding, packed] of [
    ['', body],
    ['gzip', zlib.gzipSync(body)],
    ['deflate', zlib.deflateSync(body)],
    ['zstd', zlib.zstdCompressSync(body)],
  ] as const) {
    const { sink, answer } = await write(packed, { contentEncoding: encoding });
    assert.equal(answer.status, 202, answer.body);
    assert.equal(answer.body, '{"status":"ok"}');
    assert.deepEqual(sink.lines(1_600_000_000_000), [`${labels} 0.5`]);
    assert.deepEqual(sink.lines(1_600_000_010_000), [`${labels} 0.7`]);
    assert.deepEqual(sink.lines(NOW), ['now 1']);
  }
});

test('v2: JSON and protobuf of the same payload are the same samples', async () => {
  const json = {
    series: [
      {
        metric: 'a b..c',
        type: 3,
        points: [{ timestamp: 1_600_000_000, value: 1.5 }],
        resources: [
          { type: 'host', name: 'h' },
          { type: 'pod', name: 'p-1' },
        ],
        tags: ['k:v'],
        source_type_name: 'x',
      },
    ],
  };
  const w = new ProtobufWriter();
  const series = w.begin(1);
  for (const [type, name] of [
    ['host', 'h'],
    ['pod', 'p-1'],
  ] as const) {
    const resource = w.begin(1);
    w.string(1, type);
    w.string(2, name);
    w.close(resource);
  }
  w.string(2, 'a b..c');
  w.string(3, 'k:v');
  const point = w.begin(4);
  w.double(1, 1.5);
  w.varint(2, 1_600_000_000);
  w.close(point);
  w.varint(5, 3);
  w.string(7, 'x');
  w.close(series);
  const one = await write(json, { protocol: 'datadog-v2' });
  const two = await write(w.finish().slice(), { protocol: 'datadog-v2', contentType: 'application/x-protobuf' });
  assert.equal(one.answer.status, 202, one.answer.body);
  assert.equal(two.answer.status, 202, two.answer.body);
  assert.deepEqual(one.sink.samples, two.sink.samples);
  assert.deepEqual(one.sink.lines(1_600_000_000_000), [
    '{"a_b..c", host="h", k="v", pod="p-1", source_type_name="x"} 1.5',
  ]);
});

test('series that cannot be kept are named, the others stored', async () => {
  const good = { metric: 'ok', points: [[1_600_000_000, 1]] };
  const bad = [{}, { metric: 5 }, { metric: 'p', points: [[1]] }, { metric: 'q', points: [['x', 1]] }, null];
  const { sink, answer } = await write({ series: [good, ...bad, { metric: 't', points: [[-5, 1]] }, good] });
  assert.equal(answer.status, 400);
  assert.deepEqual(sink.lines(), ['ok 1', 'ok 1']);
  assert.match(answer.body, /5 refused, bad_series: series 1 /);
  assert.match(answer.body, /1 refused, invalid_timestamp: series 6 /);
});

test('payloads that are none', async () => {
  assert.equal((await write(Buffer.from('{'))).answer.status, 400);
  assert.equal((await write({ series: 1 })).answer.status, 400);
  assert.equal((await write(Buffer.from('x'), { contentEncoding: 'gzip' })).answer.status, 400);
  assert.equal((await write(Buffer.from('x'), { contentEncoding: 'br' })).answer.status, 400);
  const bomb = zlib.gzipSync(Buffer.alloc(70 << 20, 0x20));
  assert.equal((await write(bomb, { contentEncoding: 'gzip' })).answer.status, 413);
});

test('fuzz: mutated protobuf and JSON never throw', async () => {
  const random = new Random(99);
  const w = new ProtobufWriter();
  const series = w.begin(1);
  w.string(2, 'metric');
  w.string(3, 'k:v');
  const point = w.begin(4);
  w.double(1, 1.5);
  w.varint(2, 1_600_000_000);
  w.close(point);
  w.close(series);
  const protobuf = w.finish().slice();
  const json = Buffer.from('{"series":[{"metric":"m","points":[[1600000000,1]],"tags":["a:b"],"host":"h"}]}');
  for (let round = 0; round < 4000; round++) {
    const isJson = random.chance(0.5);
    const bytes = Buffer.from(isJson ? json : protobuf);
    for (let i = 0; i <= random.int(4); i++) bytes[random.int(bytes.length)] = random.int(256);
    const { answer } = await write(
      bytes,
      isJson ? {} : { protocol: 'datadog-v2', contentType: 'application/x-protobuf' },
    );
    assert.ok([202, 400].includes(answer.status), answer.body);
  }
});
