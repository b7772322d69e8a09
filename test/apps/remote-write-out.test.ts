/** Outgoing remote write of the whole process: to other servers, through an outage, and through kill -9. */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type FloatHistogram, HINT_UNKNOWN } from '../../src/model/histogram.ts';
import { findProgram, freePort, needs, startProgram, until } from '../support/programs.ts';
import { startPrometheus } from '../support/real-prometheus.ts';
import { RemoteReceiver } from '../support/remote-receiver.ts';
import { remoteWrite, type WriteSeries } from '../support/remote-write.ts';
import { Sightline } from '../support/sightline.ts';

export function series(name: string, from: number, count: number, stepMs = 1000): WriteSeries {
  return {
    labels: ['__name__', name, 'job', 'test'],
    timestamps: Array.from({ length: count }, (_, i) => from + i * stepMs),
    values: Float64Array.from({ length: count }, (_, i) => i),
  };
}

test('samples reach a real Prometheus, with external labels, relabelled', { skip: needs('prometheus') }, async t => {
  const prometheus = await startPrometheus(t);
  const server = await Sightline.start(t, {
    config: 'prometheus: {file: prometheus.yml}\nhost: {enabled: false}\n',
    files: {
      'prometheus.yml': `
global: {external_labels: {cluster: one}}
remote_write:
  - url: ${prometheus.url}/api/v1/write
    queue_config: {batch_send_deadline: 100ms}
    send_exemplars: true
    send_native_histograms: true
    write_relabel_configs: [{source_labels: [__name__], regex: secret, action: drop}]
`,
    },
  });
  const now = Date.now() - 20_000;
  const answer = await remoteWrite(server.url, [series('m', now, 10), series('secret', now, 10)]);
  assert.equal(answer.status, 204);
  const values = await until('samples', async () => {
    const text = await (await fetch(`${prometheus.url}/api/v1/query?query=${encodeURIComponent('m[5m]')}`)).json();
    const result = (text as { data: { result: { metric: object; values: unknown[] }[] } }).data.result;
    return result.length > 0 && result;
  });
  assert.deepEqual(values[0]?.metric, { __name__: 'm', job: 'test', cluster: 'one' });
  assert.equal(values[0]?.values.length, 10);
  const secret = await (await fetch(`${prometheus.url}/api/v1/series?match[]=secret`)).json();
  assert.deepEqual((secret as { data: unknown[] }).data, []);
  const status = JSON.parse(await server.get('/sightline/api/remote-write'));
  assert.equal(status.endpoints[0].sentSamples, 10);
  assert.equal(status.endpoints[0].droppedSamples.relabelled, 10);
});

const config = (url: string, extra = ''): { config: string; files: Record<string, string> } => ({
  config: `prometheus: {file: prometheus.yml}\nhost: {enabled: false}\n${extra}`,
  files: {
    'prometheus.yml': `
remote_write:
  - url: ${url}
    name: far
    queue_config: {batch_send_deadline: 50ms, min_backoff: 20ms, max_backoff: 200ms}
`,
  },
});

interface Status {
  sentSamples: number;
  failedSamples: number;
  pendingSamples: number;
  queueBytes: number;
  droppedSamples: Record<string, number>;
  lastError: string;
}

async function statusOf(server: Sightline): Promise<Status> {
  return JSON.parse(await server.get('/sightline/api/remote-write')).endpoints[0];
}

function assertInOrder(receiver: RemoteReceiver, name: string): void {
  let last = 0;
  for (const request of receiver.requests) {
    if (request.status >= 300) continue;
    for (const s of request.series) {
      if (s.labels.__name__ !== name) continue;
      for (const sample of s.samples) {
        assert.ok(sample.timestampMs >= last, `${name}: ${sample.timestampMs} came after ${last}`);
        last = sample.timestampMs;
      }
    }
  }
}

test('what came in during an outage is sent after it, in order, and ingest never waits', async t => {
  const receiver = await RemoteReceiver.start(t);
  const server = await Sightline.start(t, config(receiver.url));
  const { port } = receiver;
  await receiver.stop();
  const from = Date.now() - 3_600_000;
  for (let i = 0; i < 30; i++) {
    const batch = Array.from({ length: 20 }, (_, k) => series(`m${k}`, from + i * 100_000, 100));
    assert.equal((await remoteWrite(server.url, batch)).status, 204);
  }
  await until('the failure', async () => (await statusOf(server)).lastError !== '');
  const back = await RemoteReceiver.start(t, port);
  // Half of the first answers are failures of their own.
  back.plan = (_request, i) =>
    i < 10 && i % 2 === 0 ? { status: 503, headers: { 'retry-after': '0' } } : { status: 204 };
  await until('everything', async () => (await statusOf(server)).sentSamples === 60_000);
  for (let k = 0; k < 20; k++) {
    assert.equal(back.taken(`m${k}`).size, 3000);
    assertInOrder(back, `m${k}`);
  }
  const { droppedSamples, failedSamples } = await statusOf(server);
  assert.deepEqual([droppedSamples, failedSamples], [{}, 0]);
});

test('kill -9 loses nothing that was acknowledged, before and while the receiver is away', async t => {
  const receiver = await RemoteReceiver.start(t);
  const server = await Sightline.start(t, config(receiver.url));
  const { port } = receiver;
  const from = Date.now() - 3_600_000;
  let sent = 0;
  const push = async (): Promise<void> => {
    const batch = Array.from({ length: 5 }, (_, k) => series(`m${k}`, from + sent * 10_000, 10));
    assert.equal((await remoteWrite(server.url, batch)).status, 204);
    sent++;
  };
  for (let i = 0; i < 5; i++) await push();
  await until('the first', async () => receiver.taken('m0').size > 0);
  for (let i = 0; i < 20; i++) await push();
  await server.kill();
  await receiver.stop();
  await server.launch();
  for (let i = 0; i < 20; i++) await push();
  await server.kill();
  await server.launch();
  for (let i = 0; i < 5; i++) await push();
  const back = await RemoteReceiver.start(t, port);
  await until('everything', async () => {
    const all = new Set([...receiver.taken('m4').keys(), ...back.taken('m4').keys()]);
    return all.size === sent * 10;
  });
  for (let k = 0; k < 5; k++) {
    const all = new Map([...receiver.taken(`m${k}`), ...back.taken(`m${k}`)]);
    assert.equal(all.size, sent * 10, `m${k}`);
    assertInOrder(back, `m${k}`);
  }
});

test('a queue at its bound drops the oldest, counts it, and goes on', async t => {
  const receiver = await RemoteReceiver.start(t);
  const server = await Sightline.start(t, config(receiver.url, 'forward: {max_bytes: 2MiB}\n'));
  const { port } = receiver;
  await receiver.stop();
  const from = Date.now() - 3_600_000;
  let sent = 0;
  for (let i = 0; i < 60; i++) {
    const batch = Array.from({ length: 100 }, (_, k) => series(`m${k}`, from + i * 50_000, 50));
    assert.equal((await remoteWrite(server.url, batch)).status, 204);
    sent += 5000;
  }
  await until('drops', async () => ((await statusOf(server)).droppedSamples.queue_full ?? 0) > 0);
  const back = await RemoteReceiver.start(t, port);
  await until('the rest', async () => {
    const s = await statusOf(server);
    return s.sentSamples + (s.droppedSamples.queue_full ?? 0) === sent && s.pendingSamples === 0;
  });
  // The newest are there.
  for (let k = 0; k < 100; k++) assert.ok(back.taken(`m${k}`).has(from + 59 * 50_000 + 49_000), `m${k}`);
  for (let k = 0; k < 100; k++) assertInOrder(back, `m${k}`);
});

test('a reload adds, changes and removes endpoints; one that goes takes its queue along', async t => {
  const receiver = await RemoteReceiver.start(t);
  const second = await RemoteReceiver.start(t);
  const server = await Sightline.start(t, config(receiver.url));
  const write = (text: string): void => writeFileSync(join(server.dir, 'prometheus.yml'), text);
  const from = Date.now() - 60_000;
  await remoteWrite(server.url, [series('one', from, 5)]);
  await until('one', async () => receiver.taken('one').size === 5);
  const both = [receiver.url, second.url]
    .map((url, i) => `  - {url: "${url}", name: n${i === 0 ? 'far' : i}, queue_config: {batch_send_deadline: 50ms}}\n`)
    .join('');
  write(`remote_write:\n${both.replace('nfar', 'far')}`);
  assert.equal((await server.post('/-/reload', '')).status, 200);
  await until(
    'two endpoints',
    async () => JSON.parse(await server.get('/sightline/api/remote-write')).endpoints.length === 2,
  );
  await remoteWrite(server.url, [series('two', from, 5)]);
  await until('two', async () => receiver.taken('two').size === 5 && second.taken('two').size === 5);
  // The second began where it was added.
  assert.equal(second.taken('one').size, 0);
  write('remote_write: []\n');
  assert.equal((await server.post('/-/reload', '')).status, 200);
  await until('no queue', async () => !existsSync(join(server.dir, 'data', 'tsdb', 'shard-000', 'forward')));
  await remoteWrite(server.url, [series('three', from, 5)]);
  assert.equal(receiver.taken('three').size, 0);
});

async function sendsEverything(t: TestContext, url: string, message: string): Promise<void> {
  const server = await Sightline.start(t, {
    config: 'prometheus: {file: prometheus.yml}\nhost: {enabled: false}\n',
    files: {
      'prometheus.yml': `
remote_write:
  - url: ${url}/api/v1/write
    protobuf_message: ${message}
    queue_config: {batch_send_deadline: 100ms}
    send_exemplars: true
    send_native_histograms: true
    metadata_config: {send_interval: 1s}
`,
    },
  });
  const now = Date.now() - 5000;
  const histogram: FloatHistogram = {
    schema: 0,
    zeroThreshold: 0.001,
    zeroCount: 1,
    count: 6,
    sum: 12,
    positiveSpans: [0, 2],
    positiveBuckets: [2, 3],
    negativeSpans: [],
    negativeBuckets: [],
    customValues: [],
    counterResetHint: HINT_UNKNOWN,
    integer: true,
  };
  const sent: WriteSeries[] = [
    {
      ...series('requests_total', now, 3),
      startTimestamps: [now - 1000, now - 1000, now - 1000],
      metadata: { type: 1, help: 'Requests.', unit: '' },
      exemplars: [{ labels: ['trace_id', 'abc'], value: 1, timestampMs: now }],
    },
    {
      labels: ['__name__', 'latency', 'job', 'test'],
      timestamps: [],
      values: new Float64Array(0),
      histograms: [{ timestampMs: now, histogram }],
    },
  ];
  assert.equal((await remoteWrite(server.url, sent, { v2: true })).status, 204);
  const ask = async (path: string): Promise<unknown> =>
    ((await (await fetch(`${url}/api/v1/${path}`)).json()) as { data: unknown }).data;
  const count = await until('the histogram', async () => {
    const data = (await ask('query?query=histogram_count(latency)')) as { result: { value: [number, string] }[] };
    return data.result[0]?.value[1];
  });
  assert.equal(count, '6');
  const exemplars = await until('the exemplar', async () => {
    const range = `start=${now / 1000 - 60}&end=${now / 1000 + 60}`;
    const data = (await ask(`query_exemplars?query=requests_total&${range}`)) as { exemplars: { labels: object }[] }[];
    return data[0]?.exemplars;
  });
  assert.deepEqual(exemplars[0]?.labels, { trace_id: 'abc' });
  const status = await until('the count', async () => {
    const now = await statusOf(server);
    return now.pendingSamples === 0 && now;
  });
  assert.deepEqual([status.sentSamples, status.failedSamples], [4, 0]);
}

test('1.0 to a real Prometheus: histograms and exemplars', { skip: needs('prometheus') }, async t => {
  const prometheus = await startPrometheus(t, { args: ['--enable-feature=exemplar-storage'] });
  await sendsEverything(t, prometheus.url, 'prometheus.WriteRequest');
});

test('2.0 to another Sightline: histograms, exemplars, metadata', async t => {
  const other = await Sightline.start(t, { config: 'host: {enabled: false}\n' });
  await sendsEverything(t, other.url, 'io.prometheus.write.v2.Request');
  const { data } = JSON.parse(await other.get('/api/v1/metadata?metric=requests_total'));
  assert.deepEqual(data.requests_total, [{ type: 'counter', help: 'Requests.', unit: '' }]);
});

test('samples reach a real VictoriaMetrics', { skip: needs('victoria-metrics') }, async t => {
  const port = await freePort();
  const dir = mkdtempSync(join(tmpdir(), 'sightline-vm-'));
  startProgram(t, findProgram('victoria-metrics'), [
    `-storageDataPath=${dir}`,
    `-httpListenAddr=127.0.0.1:${port}`,
    '-retentionPeriod=1',
    '-search.latencyOffset=0s',
  ]);
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const url = `http://127.0.0.1:${port}`;
  await until('VictoriaMetrics', async () => (await fetch(`${url}/health`)).ok);
  const server = await Sightline.start(t, config(`${url}/api/v1/write`));
  const now = Date.now() - 60_000;
  assert.equal((await remoteWrite(server.url, [series('m', now, 10)])).status, 204);
  const found = await until('samples', async () => {
    await fetch(`${url}/internal/force_flush`);
    const text = await (await fetch(`${url}/api/v1/export?match[]=m`)).text();
    return text !== '' && (JSON.parse(text.split('\n')[0] as string) as { values: number[] }).values;
  });
  assert.deepEqual(found, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
});
