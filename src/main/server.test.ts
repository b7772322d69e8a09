import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { FakeEngine } from '../../test/support/fake-engine.ts';
import { until } from '../../test/support/programs.ts';
import { silentLogger } from '../lib/log.ts';
import { parseServeOptions } from './options.ts';
import { SightlineServer } from './server.ts';

interface Rig {
  server: SightlineServer;
  engine: FakeEngine;
  dir: string;
}

/** The doors of OpenTelemetry have fixed ports by default. */
const NO_OTLP = ['--otlp-grpc', 'off', '--otlp-http', 'off'];

async function start(t: TestContext, args: string[] = [], files: Record<string, string> = {}): Promise<Rig> {
  const dir = mkdtempSync(join(tmpdir(), 'sightline-server-'));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(dir, name), text);
  const config = files['sightline.yaml'] === undefined ? [] : ['--config', join(dir, 'sightline.yaml')];
  const all = ['--data-dir', join(dir, 'data'), '--http', '127.0.0.1:0', ...NO_OTLP, ...config, ...args];
  const engine = new FakeEngine();
  const server = await SightlineServer.start(parseServeOptions(all, {}), {
    openEngine: engine.open,
    log: silentLogger,
  });
  t.after(async () => {
    await server.close();
    rmSync(dir, { recursive: true, force: true });
  });
  return { server, engine, dir };
}

async function text(url: string, init?: RequestInit): Promise<string> {
  const response = await fetch(url, init);
  return `${response.status} ${await response.text()}`;
}

test('a fresh server is healthy and ready, exposes its metrics and collects itself and the host', async t => {
  const { server, engine } = await start(t);
  assert.match(await text(`${server.url}/-/healthy`), /^200 /);
  assert.match(await text(`${server.url}/-/ready`), /^200 /);
  const metrics = await text(`${server.url}/metrics`);
  for (const name of [
    'process_resident_memory_bytes',
    'nodejs_eventloop_lag_p99_seconds',
    'sightline_build_info',
    'sightline_config_last_reload_successful 1',
  ]) {
    assert.ok(metrics.includes(name), name);
  }
  assert.match(await text(`${server.url}/sightline/api/openapi.json`), /^200 .*getConfigStatus/);
  assert.match(await text(`${server.url}/sightline/api/queries`), /^200 /);
  assert.match(await text(`${server.url}/nothing/here`), /^404 there is no GET \/nothing\/here/);
  assert.match(await text(`${server.url}/api/v1/query?query=1`), /^200 .*"data":"query"/);
  assert.match(await text(`${server.url}/`), /^200 .*<html/is);
  await until('own metrics and host metrics', async () => engine.sink.batches >= 2);
  const tenants = new Set(engine.sink.samples.map(sample => sample.tenant));
  assert.ok(tenants.has('_self'));
  assert.ok(tenants.has('default') || process.platform !== 'linux');
});

test('the page and the API are served under the path of the external URL, and without it', async t => {
  const { server } = await start(t, ['--external-url', 'https://example.org/obs/']);
  assert.match(await text(`${server.url}/obs/-/healthy`), /^200 /);
  assert.match(await text(`${server.url}/-/healthy`), /^200 /);
  assert.match(await text(`${server.url}/obs/api/v1/query?query=1`), /^200 /);
  assert.match(await text(`${server.url}/observe/-/healthy`), /^404 /);
  const redirect = await fetch(`${server.url}/obs`, { redirect: 'manual' });
  assert.deepEqual([redirect.status, redirect.headers.get('location')], [302, '/obs/']);
});

test('until the engine is open, writes and queries are told to come back', async t => {
  const dir = mkdtempSync(join(tmpdir(), 'sightline-server-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const engine = new FakeEngine();
  let opened = (): void => {};
  engine.replay = new Promise(resolve => {
    opened = resolve;
  });
  let listening = '';
  const log = {
    ...silentLogger,
    info: (fields: Record<string, unknown> | string) => {
      if (typeof fields === 'object' && typeof fields.url === 'string') listening = fields.url;
    },
  };
  const args = ['--data-dir', join(dir, 'data'), '--http', '127.0.0.1:0', ...NO_OTLP];
  const starting = SightlineServer.start(parseServeOptions(args, {}), { openEngine: engine.open, log });
  await until('the socket', async () => listening !== '');
  assert.match(await text(`${listening}/-/healthy`), /^200 /);
  assert.match(await text(`${listening}/-/ready`), /^503 starting/);
  assert.match(await text(`${listening}/api/v1/query?query=1`), /^503 .*starting/);
  assert.match(await text(`${listening}/api/v1/write`, { method: 'POST', body: 'x' }), /^503 /);
  engine.options?.replay.begin(0);
  engine.options?.replay.at(0, 3, 9, 5);
  assert.match(await text(`${listening}/api/v1/status/walreplay`), /"min":3,"max":9,"current":5,"state":"in progress"/);
  opened();
  const server = await starting;
  assert.match(await text(`${server.url}/-/ready`), /^200 /);
  await server.close();
  assert.equal(engine.closed, true);
});

test('a changed file is taken at once, a bad one leaves the old running and says so', async t => {
  const target = createServer((_request, response) =>
    response.writeHead(200, { 'content-type': 'text/plain' }).end('a 1\n'),
  );
  await new Promise<void>(done => target.listen(0, '127.0.0.1', done));
  t.after(() => {
    target.closeAllConnections();
    target.close();
  });
  const address = target.address();
  const port = typeof address === 'object' ? address?.port : 0;
  const jobs = (interval: string): string =>
    `host: {enabled: false}\nscrape_configs:\n  - job_name: j\n    scrape_interval: ${interval}\n    scrape_timeout: 1s\n    static_configs: [{targets: ["127.0.0.1:${port}"]}]\n    ec2_sd_configs: [{region: "x"}]\n`;
  const { server, engine, dir } = await start(t, [], { 'sightline.yaml': jobs('1s') });
  await until('a scrape', async () => engine.sink.lines().some(line => line.startsWith('a{')));
  const targets = (await (await fetch(`${server.url}/api/v1/targets`)).json()) as {
    data: { activeTargets: { health: string }[] };
  };
  assert.equal(targets.data.activeTargets[0]?.health, 'up');
  assert.match(
    await text(`${server.url}/metrics`),
    /sightline_config_unsupported\{file="[^"]*sightline\.yaml",key="scrape_configs\.ec2_sd_configs"\} 1/,
  );

  writeFileSync(join(dir, 'sightline.yaml'), jobs('1sec'));
  await until('the refusal', async () =>
    (await text(`${server.url}/metrics`)).includes('sightline_config_last_reload_successful 0'),
  );
  const status = await text(`${server.url}/sightline/api/config`);
  assert.match(status, /"success":false.*1sec/);
  assert.match(await text(`${server.url}/-/reload`, { method: 'POST' }), /^500 .*sightline\.yaml:4:/s);
  engine.sink.clear();
  await until('the old configuration still scrapes', async () =>
    engine.sink.lines().some(line => line.startsWith('a{')),
  );

  assert.equal(engine.logLevel, 'info');
  writeFileSync(join(dir, 'sightline.yaml'), `${jobs('2s')}data_dir: elsewhere\nlog: {level: warn}\n`);
  await until('the new configuration', async () =>
    (await text(`${server.url}/metrics`)).includes('sightline_config_last_reload_successful 1'),
  );
  assert.equal(server.reloader.current.prometheus.scrapeConfigs[0]?.scrapeIntervalMs, 2000);
  assert.equal(engine.logLevel, 'warn');
  assert.deepEqual(server.reloader.status().needsRestart, []);
  assert.match(await text(`${server.url}/-/reload`, { method: 'POST' }), /^200 /);
});

test('the configuration is shown with its secrets masked', async t => {
  const yaml =
    'scrape_configs:\n  - job_name: j\n    basic_auth: {username: u, password: hunter2}\n    static_configs: [{targets: []}]\n';
  const { server } = await start(t, [], {
    'sightline.yaml': `prometheus: {file: p.yml}\n${yaml.replace('job_name: j', 'job_name: i')}`,
    'p.yml': yaml,
  });
  const shown = await text(`${server.url}/api/v1/status/config`);
  assert.match(shown, /<secret>/);
  assert.doesNotMatch(shown, /hunter2/);
});

test('what cannot start says why and leaves nothing behind', async t => {
  const { server, dir } = await start(t);
  const failing = (args: string[]): Promise<SightlineServer> =>
    SightlineServer.start(parseServeOptions(args, {}), { openEngine: new FakeEngine().open, log: silentLogger });
  const port = new URL(server.url).port;
  await assert.rejects(failing(['--data-dir', join(dir, 'other'), '--http', `127.0.0.1:${port}`, ...NO_OTLP]), {
    name: 'ListenError',
    message: /is in use by another program/,
  });
  await assert.rejects(failing(['--data-dir', join(dir, 'data'), '--http', '127.0.0.1:0', ...NO_OTLP]), {
    code: 'locked',
  });
  await assert.rejects(failing(['--data-dir', join(dir, 'x'), '--http', '0.0.0.0:0']), /--insecure/);
  await assert.rejects(failing(['--config', join(dir, 'none.yaml')]), { name: 'ConfigError' });
  // The folder of the start that failed is free again.
  const engine = new FakeEngine();
  const again = await SightlineServer.start(
    parseServeOptions(['--data-dir', join(dir, 'other'), '--http', '127.0.0.1:0', ...NO_OTLP], {}),
    {
      openEngine: engine.open,
      log: silentLogger,
    },
  );
  await again.close();
});
