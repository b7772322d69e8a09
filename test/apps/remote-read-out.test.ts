/** Queries that are joined with what other servers have: a real Prometheus, one that answers in samples alone, and one that is broken. */
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { needs, until } from '../support/programs.ts';
import { startPrometheus } from '../support/real-prometheus.ts';
import { remoteWrite, type WriteSeries } from '../support/remote-write.ts';
import { Sightline } from '../support/sightline.ts';

interface Answer {
  data: { result: { metric: Record<string, string>; values: [number, string][]; value: [number, string] }[] };
  warnings?: string[];
}

const NOW = Math.floor(Date.now() / 60_000) * 60_000;

/** One sample a minute, counted from `from` minutes ago. */
function minutes(labels: Record<string, string>, from: number, count: number): WriteSeries {
  return {
    labels: Object.entries(labels).flat(),
    timestamps: Array.from({ length: count }, (_, i) => NOW - (from - i) * 60_000),
    values: Float64Array.from({ length: count }, (_, i) => from - i),
  };
}

async function query(server: Sightline, path: string, params: Record<string, string | number>): Promise<Answer> {
  const text = new URLSearchParams(Object.entries(params).map(([k, v]) => [k, String(v)]));
  return JSON.parse(await server.get(`/api/v1/${path}?${text}`)) as Answer;
}

async function start(t: TestContext, yml: string): Promise<Sightline> {
  return Sightline.start(t, {
    config: 'prometheus: {file: prometheus.yml}\nhost: {enabled: false}\n',
    files: { 'prometheus.yml': yml },
  });
}

test('own samples and those of a real Prometheus are one series', { skip: needs('prometheus') }, async t => {
  const prometheus = await startPrometheus(t);
  const far = [
    minutes({ __name__: 'm', job: 'a', site: 'one' }, 50, 30),
    minutes({ __name__: 'm', job: 'far', site: 'one' }, 50, 30),
    minutes({ __name__: 'm', job: 'b', site: 'two' }, 50, 30),
  ];
  assert.equal((await remoteWrite(prometheus.url, far)).status, 204);
  const server = await start(
    t,
    `global: {external_labels: {site: one}}
remote_read:
  - {url: "${prometheus.url}/api/v1/read", name: far}
  - {url: "${prometheus.url}/api/v1/read", name: never, required_matchers: {ask: "yes"}, read_recent: true}
`,
  );
  // The own storage begins where the other ends.
  assert.equal((await remoteWrite(server.url, [minutes({ __name__: 'm', job: 'a' }, 20, 20)])).status, 204);
  const range = { start: NOW / 1000 - 3000, end: NOW / 1000 - 60, step: 60 };
  const joined = await query(server, 'query_range', { query: 'm{job="a"}', ...range });
  assert.deepEqual(
    joined.data.result.map(r => [r.metric, r.values.length]),
    [[{ __name__: 'm', job: 'a' }, 50]],
  );
  // Counted over both, evaluated in one.
  const sum = await query(server, 'query', { query: 'sum(count_over_time(m{job=~".+"}[1h]))', time: NOW / 1000 });
  assert.equal(sum.data.result[0]?.value[1], '80');
  const raw = await query(server, 'query', { query: 'm{job="far"}[1h]', time: NOW / 1000 });
  assert.deepEqual(
    raw.data.result.map(r => [r.metric, r.values.length]),
    [[{ __name__: 'm', job: 'far' }, 30]],
  );
  // The other site is asked for by its name alone.
  const two = await query(server, 'query', { query: 'count_over_time(m{site="two"}[1h])', time: NOW / 1000 });
  assert.deepEqual(
    two.data.result.map(r => [r.metric.site, r.value[1]]),
    [['two', '30']],
  );
  assert.equal(sum.warnings, undefined);
});

test('a server that fails is a warning, and recent times are its business only where it is told so', async t => {
  let asked = 0;
  const broken = createServer((_request, response) => {
    asked++;
    response.writeHead(500).end('out of order today');
  });
  await new Promise<void>(done => broken.listen(0, '127.0.0.1', done));
  t.after(() => broken.close());
  const url = `http://127.0.0.1:${(broken.address() as AddressInfo).port}/read`;
  const server = await start(t, `remote_read: [{url: "${url}", name: old}]\n`);
  assert.equal((await remoteWrite(server.url, [minutes({ __name__: 'm', job: 'a' }, 20, 20)])).status, 204);
  const now = { query: 'm', time: NOW / 1000 - 60 };
  assert.equal((await query(server, 'query', now)).data.result.length, 1);
  assert.equal(asked, 0);
  for (const expression of ['count_over_time(m[1h])', 'm[1h]']) {
    const old = await query(server, 'query', { query: expression, time: NOW / 1000 });
    assert.equal(old.data.result.length, 1);
    assert.match(old.warnings?.join() ?? '', /remote read from old failed: status 500: out of order today/);
  }
});

test('a Sightline asks a Sightline, recent times too', async t => {
  const far = await Sightline.start(t, { config: 'host: {enabled: false}\n' });
  assert.equal((await remoteWrite(far.url, [minutes({ __name__: 'm', job: 'far' }, 5, 5)])).status, 204);
  const server = await start(t, `remote_read: [{url: "${far.url}/api/v1/read", read_recent: true}]\n`);
  const answer = await until('both', async () => {
    await remoteWrite(server.url, [minutes({ __name__: 'm', job: 'near' }, 5, 5)]);
    const found = await query(server, 'query', { query: 'm', time: NOW / 1000 - 60 });
    return found.data.result.length === 2 && found;
  });
  assert.deepEqual(answer.data.result.map(r => r.metric.job).sort(), ['far', 'near']);
});
