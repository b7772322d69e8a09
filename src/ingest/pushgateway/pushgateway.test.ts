import assert from 'node:assert/strict';
import { test } from 'node:test';
import zlib from 'node:zlib';
import { ManualClock } from '../../../test/support/manual-clock.ts';
import { Random } from '../../../test/support/random.ts';
import { RecordingSink } from '../../../test/support/recording-sink.ts';
import type { IngestRequest } from '../../contracts/ingest-service.ts';
import { IdentityHasher } from '../../lib/identity-hash.ts';
import { createLogger } from '../../lib/log.ts';
import { MetricsRegistry } from '../../lib/metrics.ts';
import { ProtobufWriter } from '../../lib/protobuf.ts';
import { SqliteStateStore } from '../../storage/state/sqlite-state-store.ts';
import { createIngestService } from '../ingest-service.ts';
import { Gateway } from './gateway.ts';
import { GroupPathError, groupLabels } from './group-path.ts';
import { type NormalisedPush, normalisePush } from './normalise.ts';

const PROTOBUF = 'application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited';

function normalise(body: string | Uint8Array, about: Partial<IngestRequest> = {}): NormalisedPush & { status: number } {
  const labels = JSON.stringify([['job', 'j']]);
  const request: IngestRequest = {
    protocol: 'pushgateway',
    tenant: 'default',
    contentType: '',
    contentEncoding: '',
    params: new URLSearchParams({ labels }).toString(),
    headers: {},
    ...about,
  };
  const answer = normalisePush(request, Buffer.from(body));
  return { status: answer.status, ...(JSON.parse(answer.body) as NormalisedPush) };
}

test('paths name groups', () => {
  assert.deepEqual(groupLabels('job/a/z/1/instance/b'), [
    ['instance', 'b'],
    ['job', 'a'],
    ['z', '1'],
  ]);
  assert.deepEqual(groupLabels('job@base64/YS9i/p@base64/=/q/x%20y/'), [
    ['job', 'a/b'],
    ['p', ''],
    ['q', 'x y'],
  ]);
  assert.deepEqual(groupLabels('job/a/job/b'), [['job', 'a']]);
  for (const path of ['job/', 'job', 'x/a', 'job/a/b', 'job/a/__x/1', 'job/a/a-b/1', 'job@base64/!', 'job/%zz']) {
    assert.throws(() => groupLabels(path), GroupPathError, path);
  }
});

test('text: families, types by suffix, labels of the path over those pushed', () => {
  const { families, error } = normalise(
    '# HELP h a "help"\\n\n# TYPE h histogram\nh_bucket{le="1",job="x"} 1\nh_bucket{le="+Inf"} 2\nh_sum 3\nh_count 2\n' +
      '# TYPE c counter\nc{a="",b="q\\"\\n"} 5\nfree_count 1\nx NaN\npush_time_seconds 9\n',
  );
  assert.equal(error, '');
  assert.deepEqual(
    families.map(({ name, type, samples }) => [name, type, samples.map(s => s.join(' '))]),
    [
      ['h', 'histogram', ['1 h_bucket job j le 1.0', '2 h_bucket job j le +Inf', '3 h_sum job j', '2 h_count job j']],
      ['c', 'counter', ['5 c b q"\n job j']],
      ['free_count', 'untyped', ['1 free_count job j']],
      ['x', 'untyped', ['NaN x job j']],
    ],
  );
});

test('refusals: timestamps, doubles, cut off, late TYPE, too large', () => {
  assert.equal(normalise('a 1 1000\n').contentError, true);
  assert.match(normalise('a 1 1000\n').error, /must not have timestamps/);
  assert.match(normalise('a 1\na 2\n').error, /collected before/);
  assert.match(normalise('a{job="1"} 1\na{job="2"} 2\n').error, /collected before/);
  assert.match(normalise('a 1').error, /cut off/);
  assert.match(normalise('a 1\n# TYPE a counter\n').error, /comes behind its samples/);
  assert.match(normalise('a{ 1\n').error, /^text format parsing error in line 1/);
  assert.match(normalise(zlib.gzipSync(Buffer.alloc(5 << 20, 0x0a)), { contentEncoding: 'gzip' }).error, /larger than/);
  assert.match(normalise('a 1\n', { contentEncoding: 'br' }).error, /not supported/);
});

/** One MetricFamily with its length in front. */
function family(write: (w: ProtobufWriter) => void): Buffer {
  const w = new ProtobufWriter();
  write(w);
  const body = w.finish();
  return Buffer.concat([Buffer.of(body.length), body]);
}

function sampleFamilies(): Buffer {
  return Buffer.concat([
    family(w => {
      w.string(1, 'c');
      w.varint(3, 0);
      const metric = w.begin(4);
      const label = w.begin(1);
      w.string(1, 'a');
      w.string(2, 'b');
      w.close(label);
      const counter = w.begin(3);
      w.double(1, 7);
      w.close(counter);
      w.close(metric);
    }),
    family(w => {
      w.string(1, 'h');
      w.varint(3, 4);
      const metric = w.begin(4);
      const histogram = w.begin(7);
      w.varint(1, 3);
      w.double(2, 1.5);
      const bucket = w.begin(3);
      w.varint(1, 2);
      w.double(2, 0.5);
      w.close(bucket);
      w.close(histogram);
      w.close(metric);
    }),
    family(w => {
      w.string(1, 's');
      w.varint(3, 2);
      const metric = w.begin(4);
      const summary = w.begin(4);
      w.varint(1, 2);
      w.double(2, 5);
      const quantile = w.begin(3);
      w.double(1, 0.5);
      w.double(2, 2.5);
      w.close(quantile);
      w.close(summary);
      w.close(metric);
    }),
  ]);
}

test('protobuf, as Go pushes it', () => {
  const { families, error } = normalise(sampleFamilies(), { contentType: PROTOBUF });
  assert.equal(error, '');
  assert.deepEqual(
    families.map(({ name, type, samples }) => [name, type, samples.map(s => s.join(' '))]),
    [
      ['c', 'counter', ['7 c a b job j']],
      ['h', 'histogram', ['2 h_bucket job j le 0.5', '3 h_bucket job j le +Inf', '1.5 h_sum job j', '3 h_count job j']],
      ['s', 'summary', ['2.5 s job j quantile 0.5', '5 s_sum job j', '2 s_count job j']],
    ],
  );
});

test('fuzz: mutated pushes are taken or refused', () => {
  const random = new Random(5);
  const text = Buffer.from('# TYPE h histogram\nh_bucket{le="1"} 1\nh_sum 3\nx{a="b"} 1\n');
  const protobuf = sampleFamilies();
  for (let round = 0; round < 6000; round++) {
    const isText = random.chance(0.5);
    const bytes = Buffer.from(isText ? text : protobuf);
    for (let i = 0; i <= random.int(5); i++) bytes[random.int(bytes.length)] = random.int(256);
    const { status, error } = normalise(bytes, { contentType: isText ? '' : PROTOBUF });
    assert.ok(status === 200 ? error === '' : status === 400 && error !== '');
  }
});

function open(t: { after(fn: () => void): void }, overrides: { groupsMax?: number; bytesMax?: number } = {}) {
  const clock = new ManualClock(1_700_000_000_000);
  const sink = new RecordingSink();
  const state = new SqliteStateStore(':memory:', () => clock.now());
  t.after(() => state.close());
  const hasher = new IdentityHasher(new Uint8Array(32));
  const ingest = createIngestService({
    kernel: null as never,
    hasher,
    sink,
    now: () => clock.now(),
    onInternalError: error => {
      throw error;
    },
  });
  const make = (): Gateway =>
    new Gateway({
      ingest,
      state,
      clock,
      log: createLogger({ level: 'fatal' }),
      metrics: new MetricsRegistry(),
      intervalMs: 15_000,
      groupsMax: 100,
      bytesMax: 1 << 20,
      ...overrides,
    });
  return { clock, sink, state, make };
}

async function put(gateway: Gateway, path: string, text: string, replace = true, tenant = 'default') {
  const body = Buffer.from(text);
  return gateway.push({ tenant, path, contentType: '', contentEncoding: '', body, replace });
}

test('groups are written at once and at every interval, across a restart, until deleted', async t => {
  const { clock, sink, make, state } = open(t);
  let gateway = make();
  await gateway.start();
  assert.equal((await put(gateway, 'job/a', 'x 1\ny 2\n')).status, 200);
  const times = ['push_failure_time_seconds{job="a"} 0', 'push_time_seconds{job="a"} 1700000000'];
  assert.deepEqual(sink.lines(clock.now()), [...times, 'x{job="a"} 1', 'y{job="a"} 2']);
  sink.clear();
  await clock.advance(15_000);
  assert.equal(sink.lines().length, 4);
  gateway.stop();
  gateway = make();
  await gateway.start();
  sink.clear();
  await clock.advance(15_000);
  assert.deepEqual(sink.lines(), [...times, 'x{job="a"} 1', 'y{job="a"} 2']);
  // POST keeps the other families, PUT does not.
  sink.clear();
  await put(gateway, 'job/a', 'x 3\n', false);
  assert.ok(sink.lines().includes('x{job="a"} 3') && sink.lines().includes('y{job="a"} 2'));
  sink.clear();
  await put(gateway, 'job/a', 'x 4\n');
  assert.ok(sink.lines().includes('y{job="a"} STALE'));
  assert.ok(sink.lines().includes('x{job="a"} 4'));
  sink.clear();
  assert.equal((await gateway.delete('default', 'job/a')).status, 202);
  assert.deepEqual(sink.lines(), [
    'push_failure_time_seconds{job="a"} STALE',
    'push_time_seconds{job="a"} STALE',
    'x{job="a"} STALE',
  ]);
  sink.clear();
  await clock.advance(15_000);
  assert.deepEqual(sink.lines(), []);
  assert.deepEqual(await state.list('push_group', null), []);
  assert.deepEqual(await state.history({ kind: 'push_group', tenant: 'default', id: 'x' }, 10), []);
  gateway.stop();
});

test('what does not fit the other groups is refused and marks the group', async t => {
  const { make } = open(t);
  const gateway = make();
  await gateway.start();
  t.after(() => gateway.stop());
  await put(gateway, 'job/a', '# TYPE x counter\nx 1\n');
  const refused = await put(gateway, 'job/b', '# TYPE x gauge\nx 1\n');
  assert.equal(refused.status, 400);
  assert.match(
    refused.body,
    /^pushed metrics are invalid or inconsistent with existing metrics: metric x is a counter/,
  );
  assert.match(gateway.expose('default'), /push_failure_time_seconds\{job="b"\} 1\.7e\+09\n/);
  assert.match(gateway.expose('default'), /push_time_seconds\{job="b"\} 0\n/);
  assert.equal(gateway.list('default').find(g => g.labels.job === 'b')?.lastPushOk, false);
  // The same series from another group.
  await put(gateway, 'job/c', 'y{instance="1"} 1\n');
  assert.match((await put(gateway, 'job/c/instance/1', 'y 1\n')).body, /collected before/);
  // A type may change where no other group holds the metric.
  assert.equal((await put(gateway, 'job/a', '# TYPE x gauge\nx 1\n')).status, 200);
  // Another tenant is another gateway.
  assert.equal((await put(gateway, 'job/a', '# TYPE x counter\nx 1\n', true, 'other')).status, 200);
  await gateway.wipe('default');
  assert.equal(gateway.expose('default'), '');
  assert.notEqual(gateway.expose('other'), '');
});

test('bounds of groups and bytes', async t => {
  const { make } = open(t, { groupsMax: 2, bytesMax: 3000 });
  const gateway = make();
  await gateway.start();
  t.after(() => gateway.stop());
  assert.equal((await put(gateway, 'job/a', 'x 1\n')).status, 200);
  assert.equal((await put(gateway, 'job/b', 'x 1\n')).status, 200);
  assert.match((await put(gateway, 'job/c', 'x 1\n')).body, /there are 2 groups already/);
  assert.equal((await put(gateway, 'job/b', 'x 2\n')).status, 200);
  assert.match((await put(gateway, 'job/b', `x{l="${'y'.repeat(4000)}"} 1\n`)).body, /more than 3000 bytes/);
  assert.equal(gateway.list('default').length, 2);
});
