/**
 * Admission through a whole process: the offending series is refused and told, the rest is stored, `up` stays 1; limits change on a
 * reload; rates are answered 429; and the ledger accounts for every item.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { EXPLODING, explode } from '../support/explosion.ts';
import { remoteWrite, type WriteSeries } from '../support/remote-write.ts';
import { Sightline } from '../support/sightline.ts';

const QUIET = 'host: {enabled: false}\nself: {interval: 1h}\nlog: {level: warn}\n';

function series(labels: Record<string, string>, t = Date.now(), value = 1): WriteSeries {
  return { labels: Object.entries(labels).flat(), timestamps: [t], values: Float64Array.of(value) };
}

/** Value of a family's samples whose labels hold all of `labels`, summed. */
async function metric(server: Sightline, name: string, labels: Record<string, string> = {}): Promise<number> {
  let sum = 0;
  for (const line of (await server.get('/metrics')).split('\n')) {
    if (!line.startsWith(`${name}{`) && !line.startsWith(`${name} `)) continue;
    if (!Object.entries(labels).every(([k, v]) => line.includes(`${k}="${v}"`))) continue;
    sum += Number(line.slice(line.lastIndexOf(' ') + 1));
  }
  return sum;
}

async function count(server: Sightline, selector: string): Promise<number> {
  return Number((await server.query(`count(${selector})`))[0]?.value[1] ?? 0);
}

test('only the series with a blocked label is refused; the sender is told what to do; nothing counts as lost', async t => {
  const server = await Sightline.start(t, { config: QUIET, args: ['--shards', '2'] });
  const now = Date.now();
  const request = (time: number): WriteSeries[] => [
    ...Array.from({ length: 50 }, (_, i) => series({ __name__: 'good', i: String(i) }, time)),
    ...Array.from({ length: 30 }, (_, i) => series({ __name__: 'logins_total', user_id: String(i) }, time)),
    series({ __name__: 'spans', 'session.id': 'x' }, time),
  ];
  for (let round = 0; round < 4; round++) {
    const { status, body } = await remoteWrite(server.url, request(now - 60_000 + round * 1000), {
      v2: round % 2 === 1,
    });
    assert.equal(status, 400);
    assert.match(body, /31 refused, label_blocked: metric (logins_total|spans): label "(user_id|session\.id)"/);
    assert.match(body, /limits\.blocked_labels.*labeldrop/);
    assert.match(body, /stored: 50 samples/);
  }
  assert.equal(await count(server, 'good'), 50);
  assert.equal(await count(server, '{user_id!=""}'), 0);
  const owner = { signal: 'metrics', tenant: 'default' };
  const received = await metric(server, 'sightline_ingest_received_items_total', owner);
  assert.equal(received, 4 * 81);
  assert.equal(await metric(server, 'sightline_ingest_stored_items_total', owner), 4 * 50);
  assert.equal(
    await metric(server, 'sightline_ingest_refused_items_total', { ...owner, reason: 'label_blocked' }),
    4 * 31,
  );
  assert.equal(await metric(server, 'sightline_ingest_dropped_items_total', owner), 0);
  await remoteWrite(server.url, [series({ __name__: 'good', i: '0' }, now - 57_000)]);
  assert.equal(await metric(server, 'sightline_ingest_duplicate_items_total', owner), 1);
});

test('limits of series hold over all shards, per tenant, and change on a reload', async t => {
  const limits = (all: string) => `${QUIET}limits: {active_series: ${all}, tenants: {small: {active_series: 50}}}\n`;
  const server = await Sightline.start(t, { config: limits('500'), args: ['--shards', '3'] });
  const many = (n: number, name = 'm') => Array.from({ length: n }, (_, i) => series({ __name__: name, i: String(i) }));
  const first = await remoteWrite(server.url, many(1000));
  assert.equal(first.status, 400);
  assert.match(first.body, /500 refused, too_many_series: metric m: .*limits\.active_series/);
  assert.match((await remoteWrite(server.url, many(100), { tenant: 'small' })).body, /50 refused, too_many_series/);
  // What is there goes on.
  const known = (await server.query('m'))[0]?.metric.i ?? '';
  assert.equal((await remoteWrite(server.url, [series({ __name__: 'm', i: known })])).status, 204);
  // Refused ones are known by their hash, wherever they are sent from.
  for (let round = 0; round < 4; round++) {
    assert.match((await remoteWrite(server.url, many(1000))).body, /500 refused, too_many_series: metric m/);
  }
  // Counts survive a crash.
  await server.kill();
  await server.launch();
  assert.match((await remoteWrite(server.url, many(10, 'other'))).body, /10 refused, too_many_series: metric other/);
  writeFileSync(join(server.dir, 'sightline.yaml'), limits('2000'));
  assert.equal((await fetch(`${server.url}/-/reload`, { method: 'POST' })).status, 200);
  let status = 0;
  for (let tries = 0; tries < 100 && status !== 204; tries++) {
    status = (await remoteWrite(server.url, many(1000))).status;
  }
  assert.equal(status, 204);
  assert.equal(await count(server, 'm'), 1000);
});

test('too many samples per second are answered 429 with Retry-After, and nothing of them is stored', async t => {
  const config = `${QUIET}limits: {tenants: {fast: {samples_per_second: 10, samples_burst: 100}}}\n`;
  const server = await Sightline.start(t, { config });
  const many = Array.from({ length: 100 }, (_, i) => series({ __name__: 'm', i: String(i) }));
  assert.equal((await remoteWrite(server.url, many, { tenant: 'fast' })).status, 204);
  const refused = await remoteWrite(server.url, many, { tenant: 'fast' });
  assert.equal(refused.status, 429);
  assert.match(refused.body, /tenant "fast" sends more than 10 samples\/s \(limits\.samples_per_second, burst 100\)/);
  assert.ok(Number(refused.headers.get('retry-after')) >= 1);
  assert.equal((await remoteWrite(server.url, many)).status, 204, 'other tenants go on');
  const labels = { tenant: 'fast', reason: 'rate_limited' };
  assert.equal(await metric(server, 'sightline_ingest_deferred_items_total', labels), 100);
  assert.equal(await metric(server, 'sightline_ingest_received_items_total', { tenant: 'fast' }), 100);
});

test('a scraped target that explodes keeps up = 1, and its other series', async t => {
  let scrapes = 0;
  const target = createServer((_request, response) => {
    scrapes++;
    const users = Array.from({ length: 200 }, (_, i) => `hits_total{user_id="${i}"} 1\n`).join('');
    const paths = Array.from({ length: 200 }, (_, i) => `paths_total{path="${scrapes}-${i}"} 1\n`).join('');
    response.setHeader('content-type', 'text/plain; version=0.0.4');
    response.end(`fine 1\n${users}${paths}`);
  });
  await new Promise<void>(done => target.listen(0, '127.0.0.1', done));
  t.after(() => target.close());
  const { port } = target.address() as AddressInfo;
  const job = `{job_name: a, scrape_interval: 1s, scrape_timeout: 1s, static_configs: [{targets: ['127.0.0.1:${port}']}]}`;
  const config = `${QUIET}limits: {active_series: 300}\nscrape_configs: [${job}]\n`;
  const server = await Sightline.start(t, { config });
  for (let tries = 0; scrapes < 4 && tries < 200; tries++) await sleep(50);
  assert.equal((await server.query('up'))[0]?.value[1], '1');
  assert.equal((await server.query('fine'))[0]?.value[1], '1');
  assert.equal(await count(server, '{user_id!=""}'), 0);
  const total = await count(server, '{__name__!=""}');
  assert.ok(total <= 300 + 10, `${total} series`);
  const refused = { tenant: 'default', reason: 'too_many_series' };
  assert.ok((await metric(server, 'sightline_ingest_refused_items_total', refused)) > 0);
});

test('an explosion, small: the limit holds, the other tenant reads what it writes', async t => {
  const limit = 5000;
  const config = `${QUIET}limits: {tenants: {${EXPLODING}: {active_series: ${limit}}}}\n`;
  const server = await Sightline.start(t, { config, args: ['--shards', '2'] });
  const plan = { series: 25_000, reason: 'too_many_series' as const, perRequest: 1000, connections: 3, seed: 7 };
  const report = await explode(server, plan);
  assert.equal(report.refused, plan.series - limit);
  const owner = { signal: 'metrics', tenant: EXPLODING };
  assert.equal(await metric(server, 'sightline_ingest_received_items_total', owner), plan.series);
  assert.equal(await metric(server, 'sightline_ingest_stored_items_total', owner), limit);
  assert.equal(await metric(server, 'sightline_ingest_refused_items_total', owner), plan.series - limit);
});

test('short of memory: pushes are put off with Retry-After, queries are answered, and it ends with a reload', async t => {
  const server = await Sightline.start(t, { config: QUIET });
  const write = () => remoteWrite(server.url, [series({ __name__: 'm' })]);
  assert.equal((await write()).status, 204);
  const reload = async (limits: string): Promise<void> => {
    writeFileSync(join(server.dir, 'sightline.yaml'), `${QUIET}${limits}`);
    assert.equal((await fetch(`${server.url}/-/reload`, { method: 'POST' })).status, 200);
  };
  const until = async (status: number): Promise<Awaited<ReturnType<typeof write>>> => {
    for (let tries = 0; ; tries++) {
      const answer = await write();
      if (answer.status === status || tries > 400) return answer;
      await sleep(25);
    }
  };
  await reload('limits: {memory: 1MiB}\n');
  const refused = await until(429);
  assert.equal(refused.status, 429);
  assert.match(refused.body, /memory is short, and tenant "default" uses its fair share/);
  assert.ok(Number(refused.headers.get('retry-after')) > 0);
  assert.equal(await count(server, 'm'), 1);
  assert.equal(await metric(server, 'sightline_memory_pressure'), 3);
  assert.ok((await metric(server, 'sightline_ingest_deferred_items_total', { reason: 'memory_pressure' })) > 0);
  await reload('');
  assert.equal((await until(204)).status, 204);
});

test('OTLP: an attribute user.id is refused as a partial success that says so', async t => {
  const server = await Sightline.start(t, { config: QUIET });
  const point = (attributes: Record<string, string>) => ({
    attributes: Object.entries(attributes).map(([key, stringValue]) => ({ key, value: { stringValue } })),
    timeUnixNano: String(Date.now() * 1e6),
    asDouble: 1,
  });
  const dataPoints = [point({ 'user.id': '7' }), point({ route: '/' }), point({ 'session.id': 'x' })];
  const metrics = [{ name: 'logins', gauge: { dataPoints } }];
  const body = JSON.stringify({ resourceMetrics: [{ scopeMetrics: [{ metrics }] }] });
  const answer = await server.post('/v1/metrics', body, { 'content-type': 'application/json' });
  assert.equal(answer.status, 200, answer.body);
  const { partialSuccess } = JSON.parse(answer.body) as {
    partialSuccess: { rejectedDataPoints: string | number; errorMessage: string };
  };
  assert.equal(Number(partialSuccess.rejectedDataPoints), 2);
  assert.match(
    partialSuccess.errorMessage,
    /label_blocked.*metric logins: label "(user|session)_id".*limits\.blocked_labels/,
  );
  assert.equal(await count(server, 'logins'), 1);
});

test('the PromQL of the objective, as the docs have it, is answered from own metrics', async t => {
  const config = 'host: {enabled: false}\nself: {interval: 1s}\nlog: {level: warn}\n';
  const server = await Sightline.start(t, { config });
  const text = readFileSync(join(import.meta.dirname, '..', '..', 'docs', 'metrics.md'), 'utf8');
  const blocks = [...text.matchAll(/```promql\n([\s\S]*?)```/g)].flatMap(m => (m[1] as string).split(/\n\n/));
  assert.equal(blocks.length, 3);
  const ask = async (query: string): Promise<{ metric: Record<string, string>; value: [number, string] }[]> => {
    const body = new URLSearchParams({ query });
    const answer = await fetch(`${server.url}/api/v1/query`, {
      method: 'POST',
      body,
      headers: { 'x-scope-orgid': '_self' },
    });
    const { data, error } = (await answer.json()) as { data: { result: never[] }; error?: string };
    assert.equal(error, undefined, query);
    return data.result;
  };
  for (let round = 0; round < 200; round++) {
    await remoteWrite(server.url, [series({ __name__: 'm' })]);
    const [share] = (await ask(blocks[0] as string)).filter(r => r.metric.tenant === 'default');
    const [budget] = (await ask(blocks[1] as string)).filter(r => r.metric.tenant === 'default');
    if (share !== undefined && budget !== undefined && Number(budget.value[1]) > 0) {
      assert.equal(share.metric.signal, 'metrics');
      assert.equal(share.value[1], '1');
      const [left] = (await ask(blocks[2] as string)).filter(r => r.metric.tenant === 'default');
      assert.ok(Number(left?.value[1]) > 0);
      return;
    }
    await sleep(50);
  }
  assert.fail('own metrics did not come');
});
