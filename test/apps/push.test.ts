/** Push clients that people have, against the real program: prom-client, hot-shots, both Influx clients, Graphite's plain lines. */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { connect } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { InfluxDB, Point, setLogger } from '@influxdata/influxdb-client';
import { StatsD } from 'hot-shots';
import { InfluxDB as InfluxV1 } from 'influx';
import { Counter, Gauge, Histogram, Pushgateway, Registry, Summary } from 'prom-client';
import { hashToken, newToken } from '../../src/api/auth/passwords.ts';
import { freePort, until } from '../support/programs.ts';
import { Sightline } from '../support/sightline.ts';

const QUIET = 'host: {enabled: false}\n';

/** Value of the only series that the expression gives, or undefined. */
async function sampleValue(server: Sightline, expression: string): Promise<number | undefined> {
  const result = await server.query(expression);
  return result.length === 1 ? Number(result[0]?.value[1]) : undefined;
}

async function becomes(server: Sightline, expression: string, value: number): Promise<void> {
  await until(`${expression} to be ${value}`, async () => (await sampleValue(server, expression)) === value);
}

test('prom-client pushes, adds and deletes; groups survive a kill and come back at every interval', async t => {
  const server = await Sightline.start(t, { config: `${QUIET}push: {gateway: {interval: 1s}}\n` });
  const register = new Registry();
  const done = new Gauge({ name: 'job_last_success_seconds', help: 'When it ended.', registers: [register] });
  const rows = new Counter({ name: 'job_rows_total', help: 'Rows.', labelNames: ['kind'], registers: [register] });
  const sizes = new Histogram({ name: 'job_size', help: 'Sizes.', buckets: [1, 10], registers: [register] });
  const times = new Summary({ name: 'job_time', help: 'Times.', percentiles: [0.5], registers: [register] });
  done.set(123);
  rows.inc({ kind: 'a "quoted" one' }, 7);
  sizes.observe(5);
  times.observe(2);
  const gateway = new Pushgateway(server.url, {}, register);
  const group = { jobName: 'nightly', groupings: { instance: 'db/1' } };
  await gateway.push(group);
  // Written before the push was answered.
  assert.equal(await sampleValue(server, 'job_last_success_seconds{job="nightly",instance="db/1"}'), 123);
  assert.equal(await sampleValue(server, 'job_rows_total{kind="a \\"quoted\\" one"}'), 7);
  assert.equal(await sampleValue(server, 'job_size_bucket{le="10.0"}'), 1);
  assert.equal(await sampleValue(server, 'job_time{quantile="0.5"}'), 2);
  assert.ok(((await sampleValue(server, 'push_time_seconds{job="nightly"}')) ?? 0) > 1.7e9);
  const metadata = await server.get('/api/v1/metadata?metric=job_rows_total');
  assert.match(metadata, /"type":"counter","unit":"","help":"Rows\."|"help":"Rows\."/);

  const other = new Registry();
  new Gauge({ name: 'job_last_success_seconds', help: 'When it ended.', registers: [other] }).set(124);
  await new Pushgateway(server.url, {}, other).pushAdd(group);
  assert.equal(await sampleValue(server, 'job_last_success_seconds'), 124);
  assert.equal(await sampleValue(server, 'job_rows_total'), 7);

  await server.kill();
  await server.launch();
  const began = Date.now() / 1000;
  await until('the group to be written again', async () => {
    const [sample] = await server.query('timestamp(job_rows_total)');
    return sample !== undefined && Number(sample.value[1]) >= began;
  });
  assert.equal(await sampleValue(server, 'job_last_success_seconds'), 124);
  const groups = JSON.parse(await server.get('/api/v1/metrics')) as {
    data: {
      labels: Record<string, string>;
      last_push_successful: boolean;
      job_size: { metrics: { count: string }[] };
    }[];
  };
  assert.deepEqual(groups.data[0]?.labels, { instance: 'db/1', job: 'nightly' });
  assert.equal(groups.data[0]?.last_push_successful, true);
  assert.equal(groups.data[0]?.job_size.metrics[0]?.count, '1');

  await new Pushgateway(server.url, {}, register).delete(group);
  assert.deepEqual(await server.query('{job="nightly"}'), []);
  assert.equal(await server.get('/pushgateway/metrics'), '');
});

test('a push that does not fit is refused as a whole and leaves its failure', async t => {
  const server = await Sightline.start(t, { config: QUIET });
  const send = async (method: string, path: string, body: string): Promise<[number, string]> => {
    const response = await fetch(server.url + path, { method, body });
    return [response.status, await response.text()];
  };
  assert.deepEqual(await send('PUT', '/metrics/job/a', '# TYPE m counter\nm 1\n'), [200, '']);
  const [status, text] = await send('PUT', '/metrics/job/b', '# TYPE m gauge\nm 1\nn 2\n');
  assert.equal(status, 400);
  assert.match(text, /pushed metrics are invalid or inconsistent with existing metrics/);
  assert.equal((await send('POST', '/metrics/job/a', 'n 1 1000\n'))[0], 400);
  assert.deepEqual(await server.query('n'), []);
  await send('PUT', '/metrics/job/b', '');
  assert.ok(((await sampleValue(server, 'push_failure_time_seconds{job="b"}')) ?? 0) > 1.7e9);
  assert.equal((await send('PUT', '/api/v1/admin/wipe', ''))[0], 404);
});

async function statsdServer(t: TestContext, more = '') {
  const port = await freePort();
  const config = `${QUIET}push:\n  statsd:\n    listen: 127.0.0.1:${port}\n    flush_interval: 1s\n    unix: statsd.sock\n${more}`;
  const files = {
    'mapping.yml':
      'mappings:\n- match: "app.*.latency"\n  name: app_latency_seconds\n  labels: {app: $1}\n  observer_type: histogram\n  histogram_options: {buckets: [0.1, 1]}\n',
  };
  const server = await Sightline.start(t, { config, files });
  return { server, port };
}

test('hot-shots over UDP, TCP and a Unix stream: counters, gauges, sets, timers, tags, rules', async t => {
  const { server, port } = await statsdServer(t, '    mapping_file: mapping.yml\n');
  const udp = new StatsD({ host: '127.0.0.1', port, globalTags: { env: 'test' }, errorHandler: assert.fail });
  udp.increment('req.ok', 3);
  udp.increment('req.ok', 2, ['route:a']);
  udp.gauge('temp', 21.5);
  udp.gaugeDelta('temp', -1);
  udp.unique('users', 'x');
  udp.timing('app.web.latency', 250);
  udp.distribution('size', 10);
  udp.event('deploy', 'done');
  udp.check('health', 0);
  await new Promise(done => udp.close(done));
  for (const target of [{ host: '127.0.0.1', port }, { path: join(server.dir, 'statsd.sock') }]) {
    const socket = connect(target as { host: string; port: number });
    const stream = new StatsD({ protocol: 'stream', stream: socket, errorHandler: assert.fail });
    stream.increment('over.stream', 1);
    await new Promise(done => stream.close(done));
    socket.end();
  }
  await becomes(server, 'sum(req_ok)', 5);
  await becomes(server, 'req_ok{route="a",env="test"}', 2);
  await becomes(server, 'temp{env="test"}', 20.5);
  await becomes(server, 'app_latency_seconds_bucket{app="web",le="1.0"}', 1);
  await becomes(server, 'app_latency_seconds_sum', 0.25);
  await becomes(server, 'size_count', 1);
  await becomes(server, 'over_stream', 2);
  await becomes(server, 'max_over_time(users[1m])', 1);
  const metrics = await server.get('/metrics');
  assert.match(metrics, /sightline_push_dropped_total\{protocol="statsd",reason="event"\} 1/);
  assert.match(metrics, /sightline_push_dropped_total\{protocol="statsd",reason="service_check"\} 1/);
});

test('Graphite lines over TCP and UDP, bad ones counted', async t => {
  const port = await freePort();
  const server = await Sightline.start(t, { config: `${QUIET}push: {graphite: {listen: "127.0.0.1:${port}"}}\n` });
  const now = Math.floor(Date.now() / 1000);
  const tcp = connect(port, '127.0.0.1');
  tcp.write(`servers.web.load;dc=eu 1.5 ${now}\nbad\n`);
  tcp.end('half.line 2');
  const udp = createSocket('udp4');
  await new Promise(done => udp.send(`over.udp 3 ${now}\n`, port, '127.0.0.1', done));
  udp.close();
  await becomes(server, '{"servers.web.load",dc="eu"}', 1.5);
  await becomes(server, '{"half.line"}', 2);
  await becomes(server, '{"over.udp"}', 3);
  assert.match(await server.get('/metrics'), /sightline_push_dropped_total\{protocol="graphite",reason="bad_line"\} 1/);
});

// What it would say is what the test looks at.
setLogger({ error: () => {}, warn: () => {} });

test('both Influx clients write; what is refused reaches them', async t => {
  const server = await Sightline.start(t, { config: QUIET });
  const now = Date.now();
  const v2 = new InfluxDB({ url: server.url, token: 'any' });
  const writer = v2.getWriteApi('org', 'bucket', 'ms', { maxRetries: 0, gzipThreshold: 1 });
  writer.writePoint(
    new Point('cpu load')
      .tag('host', 'a b')
      .floatField('usage', 0.5)
      .intField('n', 3)
      .booleanField('up', true)
      .timestamp(now),
  );
  await writer.close();
  assert.equal(await sampleValue(server, '{"cpu load_usage",host="a b",db="bucket"}'), 0.5);
  assert.equal(await sampleValue(server, '{"cpu load_n"}'), 3);
  assert.equal(await sampleValue(server, '{"cpu load_up"}'), 1);
  const failing = v2.getWriteApi('org', 'bucket', 'ms', { maxRetries: 0 });
  failing.writeRecord(`ok f=1 ${now}`);
  failing.writeRecord('broken');
  await assert.rejects(failing.close(), /partial write: line 2: /);
  assert.equal(await sampleValue(server, 'ok_f'), 1);

  const { hostname, port } = new URL(server.url);
  const v1 = new InfluxV1({ host: hostname, port: Number(port), database: 'tele' });
  assert.equal((await v1.ping(5000))[0]?.online, true);
  await v1.createDatabase('tele');
  assert.deepEqual(await v1.getDatabaseNames(), ['_internal']);
  await v1.writePoints([{ measurement: 'mem', tags: { host: 'x' }, fields: { used: 42 }, timestamp: new Date(now) }]);
  assert.equal(await sampleValue(server, 'mem_used{db="tele",host="x"}'), 42);
});

test('credentials are found where push clients put them, and nowhere else', async t => {
  const token = newToken();
  const config = `${QUIET}auth: {tokens: [{name: writer, sha256: ${hashToken(token)}, rights: [write]}]}\n`;
  const server = await Sightline.start(t, { config });
  const status = async (path: string, headers: Record<string, string> = {}, body = 'm f=1\n'): Promise<number> =>
    (await fetch(server.url + path, { method: 'POST', body, headers })).status;
  assert.equal(await status('/write'), 401);
  assert.equal(await status(`/write?u=anyone&p=${token}`), 204);
  assert.equal(await status('/write?u=anyone&p=wrong'), 401);
  assert.equal(await status('/api/v2/write', { authorization: `Token ${token}` }), 204);
  assert.equal(await status('/datadog/api/v1/series', { 'dd-api-key': token }, '{"series":[]}'), 202);
  assert.equal(await status(`/datadog/api/v1/series?api_key=${token}`, {}, '{"series":[]}'), 202);
  assert.equal(await status(`/api/v1/import/prometheus?u=anyone&p=${token}&api_key=${token}`, {}, 'm 1\n'), 401);
  assert.equal(await status('/metrics/job/j', { authorization: `Bearer ${token}` }, 'm 1\n'), 200);
  assert.equal((await fetch(`${server.url}/ping?u=a&p=${token}`)).status, 204);
  assert.equal(
    (await fetch(`${server.url}/api/v1/metrics`, { headers: { authorization: `Bearer ${token}` } })).status,
    403,
  );
});
