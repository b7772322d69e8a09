/** Programs that people have: promtool asks, a real Prometheus and a vmagent write. Each is skipped where it is not installed. */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { findProgram, freePort, needs, startProgram, until } from '../support/programs.ts';
import { runProgram, Sightline } from '../support/sightline.ts';

const QUIET = 'host: {enabled: false}\n';

test('promtool query commands work', { skip: needs('promtool') }, async t => {
  const server = await Sightline.start(t, { config: QUIET });
  const now = Math.floor(Date.now() / 1000);
  const lines = Array.from({ length: 61 }, (_, i) => `req_total{code="200"} ${i * 5} ${(now - 60 + i) * 1000}`);
  const { status, body } = await server.post('/api/v1/import/prometheus', `${lines.join('\n')}\n`);
  assert.ok(status < 300, body);
  const promtool = async (...args: string[]): Promise<string> => {
    const result = await runProgram(findProgram('promtool'), ['query', ...args]);
    assert.equal(result.code, 0, result.stderr);
    return result.stdout;
  };
  const at = `--time=${now}`;
  assert.match(await promtool('instant', at, server.url, 'req_total'), /req_total\{code="200"\} => 300 @/);
  assert.match(await promtool('instant', at, server.url, 'rate(req_total[30s])'), /\{code="200"\} => 5 @/);
  const range = [`--start=${now - 60}`, `--end=${now}`, '--step=30s'];
  assert.match(
    await promtool('range', ...range, server.url, 'req_total'),
    /req_total\{code="200"\} =>\n0 @.*\n150 @.*\n300 @/,
  );
  assert.match(
    await promtool('series', '--match=req_total', `--start=${now - 60}`, `--end=${now}`, server.url),
    /code="200"/,
  );
  assert.match(await promtool('labels', `--start=${now - 60}`, `--end=${now}`, server.url, 'code'), /^200$/m);
});

test('a real Prometheus remote-writes into it', { skip: needs('prometheus') }, async t => {
  const server = await Sightline.start(t, { config: QUIET });
  const port = await freePort();
  const dir = join(server.dir, 'prometheus');
  mkdirSync(dir);
  writeFileSync(
    join(dir, 'prometheus.yml'),
    `global: {scrape_interval: 1s, scrape_timeout: 1s}
remote_write: [{url: "${server.url}/api/v1/write", queue_config: {batch_send_deadline: 1s}}]
scrape_configs: [{job_name: prom, static_configs: [{targets: ["127.0.0.1:${port}"]}]}]
`,
  );
  startProgram(t, findProgram('prometheus'), [
    `--config.file=${join(dir, 'prometheus.yml')}`,
    `--storage.tsdb.path=${join(dir, 'data')}`,
    `--web.listen-address=127.0.0.1:${port}`,
  ]);
  const up = await until('samples of Prometheus', async () => {
    const result = await server.query('up{job="prom"}');
    return result[0]?.value[1] === '1' && result;
  });
  assert.equal(up[0]?.metric.instance, `127.0.0.1:${port}`);
  await until('its own view of remote write', async () => {
    const result = await server.query('prometheus_remote_storage_samples_failed_total');
    return result.length > 0 && result.every(series => series.value[1] === '0');
  });
});

test('a real vmagent scrapes and remote-writes into it', { skip: needs('vmagent') }, async t => {
  const server = await Sightline.start(t, { config: QUIET });
  const port = await freePort();
  const dir = join(server.dir, 'vmagent');
  mkdirSync(dir);
  writeFileSync(
    join(dir, 'scrape.yml'),
    `global: {scrape_interval: 1s}\nscrape_configs: [{job_name: agent, static_configs: [{targets: ["127.0.0.1:${port}"]}]}]\n`,
  );
  startProgram(t, findProgram('vmagent'), [
    `-httpListenAddr=127.0.0.1:${port}`,
    `-promscrape.config=${join(dir, 'scrape.yml')}`,
    `-remoteWrite.url=${server.url}/api/v1/write`,
    `-remoteWrite.tmpDataPath=${join(dir, 'tmp')}`,
    '-remoteWrite.flushInterval=1s',
  ]);
  await until('samples of vmagent', async () => {
    const result = await server.query('up{job="agent"}');
    return result[0]?.value[1] === '1';
  });
});

test('it scrapes a real node_exporter and a real Prometheus', {
  skip: needs('prometheus-node-exporter', 'prometheus'),
}, async t => {
  const nodePort = await freePort();
  const promPort = await freePort();
  startProgram(t, findProgram('prometheus-node-exporter'), [`--web.listen-address=127.0.0.1:${nodePort}`]);
  const jobs = `${QUIET}scrape_configs:
  - job_name: node
    scrape_interval: 1s
    scrape_timeout: 1s
    static_configs: [{targets: ["127.0.0.1:${nodePort}"]}]
  - job_name: prom
    scrape_interval: 1s
    scrape_timeout: 1s
    static_configs: [{targets: ["127.0.0.1:${promPort}"]}]
`;
  const server = await Sightline.start(t, { config: jobs });
  const dir = join(server.dir, 'prometheus');
  mkdirSync(dir);
  writeFileSync(join(dir, 'prometheus.yml'), 'scrape_configs: []\n');
  startProgram(t, findProgram('prometheus'), [
    `--config.file=${join(dir, 'prometheus.yml')}`,
    `--storage.tsdb.path=${join(dir, 'data')}`,
    `--web.listen-address=127.0.0.1:${promPort}`,
  ]);
  await until('both targets to be up', async () => {
    const result = await server.query('sum(up)');
    return result[0]?.value[1] === '2';
  });
  const scraped = await server.query('scrape_samples_scraped{job="node"}');
  assert.ok(Number(scraped[0]?.value[1]) > 200);
  const targets = JSON.parse(await server.get('/api/v1/targets?state=active')) as {
    data: { activeTargets: { health: string; scrapePool: string }[] };
  };
  assert.deepEqual(
    targets.data.activeTargets.map(target => [target.scrapePool, target.health]),
    [
      ['node', 'up'],
      ['prom', 'up'],
    ],
  );
  const metadata = JSON.parse(await server.get('/api/v1/metadata?metric=node_load1')) as {
    data: Record<string, { type: string }[]>;
  };
  assert.equal(metadata.data.node_load1?.[0]?.type, 'gauge');
});
