/** Scraping behind TLS, client certificates, passwords in files, OAuth2 and a proxy; and that no secret shows anywhere. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';
import { hasOpenssl, makeCertificates, serveHttp, serveHttps } from '../../src/lib/http-client/testing.ts';
import { until } from '../support/programs.ts';
import { Sightline } from '../support/sightline.ts';

const BODY = 'a 1\n';
const TYPE = { 'content-type': 'text/plain; version=0.0.4' };

interface Target {
  labels: Record<string, string>;
  health: string;
  lastError: string;
}

test('targets that want to know who asks', { skip: hasOpenssl() ? false : 'needs openssl' }, async t => {
  const made = makeCertificates(t);
  const pair = made.sign('server', 'test.local', 'DNS:test.local');
  made.sign('client', 'scraper');
  const only =
    (authorization: string) =>
    (req: { headers: { authorization?: string } }, res: import('node:http').ServerResponse) => {
      if (req.headers.authorization === authorization) res.writeHead(200, TYPE).end(BODY);
      else res.writeHead(401).end(`you sent ${req.headers.authorization}`);
    };
  let password = 'first-s3cret';
  const basic = await serveHttp(t, (req, res) =>
    only(`Basic ${Buffer.from(`me:${password}`).toString('base64')}`)(req, res),
  );
  const tls = await serveHttps(t, { ...pair, ca: made.ca, requestCert: true, rejectUnauthorized: true }, (_req, res) =>
    res.writeHead(200, TYPE).end(BODY),
  );
  const tokens = await serveHttp(t, (_req, res) =>
    res.end(JSON.stringify({ access_token: 't0ken-s3cret', token_type: 'Bearer', expires_in: 3600 })),
  );
  const oauth = await serveHttp(t, only('Bearer t0ken-s3cret'));
  const header = await serveHttp(t, (req, res) => {
    if (req.headers['x-key'] === 'header-s3cret') res.writeHead(200, TYPE).end(BODY);
    else res.writeHead(403).end();
  });
  const relayed: string[] = [];
  const proxy = createServer((req, res) => {
    relayed.push(String(req.url));
    res.writeHead(200, TYPE).end(BODY);
  });
  await new Promise<void>(done => proxy.listen(0, '127.0.0.1', done));
  t.after(() => {
    proxy.closeAllConnections();
    proxy.close();
  });
  const proxyPort = (proxy.address() as { port: number }).port;
  const host = (url: string): string => url.replace('http://', '');
  const job = (name: string, target: string, settings: string): string =>
    `  - {job_name: ${name}, scrape_interval: 1s, scrape_timeout: 1s, static_configs: [{targets: ["${target}"]}], ${settings}}\n`;
  const prometheus =
    'scrape_configs:\n' +
    job('basic', host(basic), 'basic_auth: {username: me, password_file: password}') +
    job(
      'tls',
      `127.0.0.1:${tls.port}`,
      'scheme: https, tls_config: {ca_file: ca.crt, cert_file: client.crt, key_file: client.key, server_name: test.local}',
    ) +
    job('oauth', host(oauth), `oauth2: {client_id: me, client_secret: client-s3cret, token_url: "${tokens}"}`) +
    job('header', host(header), 'http_headers: {X-Key: {secrets: [header-s3cret]}}') +
    job('wrong', host(oauth), 'authorization: {credentials: wrong-s3cret}') +
    job(
      'proxy',
      'far.test:80',
      `proxy_url: "http://pu:proxy-s3cret@127.0.0.1:${proxyPort}", proxy_connect_header: {Proxy-Authorization: [connect-s3cret]}`,
    );
  const server = await Sightline.start(t, {
    config: 'host: {enabled: false}\nlog: {level: debug}\nprometheus: {file: prometheus.yml}\n',
    prepare: dir => {
      for (const name of ['client.crt', 'client.key', 'ca.crt']) made.copyTo(name, dir);
      writeFileSync(join(dir, 'password'), password);
      writeFileSync(join(dir, 'prometheus.yml'), prometheus);
    },
  });
  const targets = async (): Promise<Map<string, Target>> => {
    const body = JSON.parse(await server.get('/api/v1/targets')) as { data: { activeTargets: Target[] } };
    return new Map(body.data.activeTargets.map(one => [one.labels.job as string, one]));
  };
  const allUp = async (): Promise<boolean> => {
    const found = await targets();
    return ['basic', 'tls', 'oauth', 'header', 'proxy'].every(name => found.get(name)?.health === 'up');
  };
  await until('all are up', allUp).catch(async error => {
    throw new Error(`${(error as Error).message}: ${JSON.stringify([...(await targets()).values()])}`);
  });
  assert.deepEqual(new Set(relayed), new Set(['http://far.test/metrics']));
  await until('the wrong one is down', async () =>
    (await targets()).get('wrong')?.lastError.includes('HTTP status 401'),
  );
  // The password is changed on both sides, with no word to the server.
  password = 'second-s3cret';
  await until('the old password fails', async () => (await targets()).get('basic')?.health === 'down');
  writeFileSync(join(server.dir, 'password'), password);
  await until('the new password works', async () => (await targets()).get('basic')?.health === 'up');
  for (const path of ['/api/v1/targets', '/api/v1/status/config', '/metrics', '/api/v1/status/flags']) {
    assert.doesNotMatch(await server.get(path), /s3cret/, path);
  }
  assert.doesNotMatch(server.stdout + server.stderr, /s3cret/);
  assert.equal((await server.query('count(up{job="tls"})'))[0]?.value[1], '1');
});
