import assert from 'node:assert/strict';
import { createVerify, generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import { connect, createServer as createNetServer } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { type Clock, systemClock } from '../clock.ts';
import { HttpClient, type HttpResponse } from './http-client.ts';
import type { HttpClientSettings } from './settings.ts';
import { hasOpenssl, makeCertificates, serveHttp, serveHttps, tempFolder } from './testing.ts';

interface Extra {
  baseDir?: string;
  clock?: Clock;
  environment?: Record<string, string>;
}

function client(t: TestContext, settings: HttpClientSettings, extra: Extra = {}): HttpClient {
  const made = new HttpClient(settings, { baseDir: '/', userAgent: 'test/1', environment: {}, ...extra });
  t.after(() => made.close());
  return made;
}

function get(from: HttpClient, url: string, bodyBytesMax = 1 << 20): Promise<HttpResponse> {
  return from.request({ url, bodyBytesMax, signal: AbortSignal.timeout(20_000) });
}

const text = (response: HttpResponse): string => Buffer.from(response.body).toString();

/** Answers with the headers it got. */
const echo = (t: TestContext): Promise<string> =>
  serveHttp(t, (req, res) => res.end(JSON.stringify({ method: req.method, ...req.headers })));

async function echoed(from: HttpClient, url: string): Promise<IncomingHttpHeaders> {
  return JSON.parse(text(await get(from, url)));
}

test('headers: basic, bearer, own ones; files are read anew for each request', async t => {
  const url = await echo(t);
  const baseDir = tempFolder(t);
  const file = join(baseDir, 'secret');
  writeFileSync(file, 'one\n');
  const basic = client(t, { basic_auth: { username: 'u', password_file: 'secret' } }, { baseDir });
  assert.equal((await echoed(basic, url)).authorization, `Basic ${Buffer.from('u:one').toString('base64')}`);
  writeFileSync(file, 'two\n');
  assert.equal((await echoed(basic, url)).authorization, `Basic ${Buffer.from('u:two').toString('base64')}`);
  const typed = client(t, { authorization: { type: 'Token', credentials_file: 'secret' } }, { baseDir });
  assert.equal((await echoed(typed, url)).authorization, 'Token two');
  assert.equal((await echoed(client(t, { bearer_token: 'b' }), url)).authorization, 'Bearer b');
  const own = client(
    t,
    { http_headers: new Map([['X-Own', { values: ['a'], secrets: ['b'], files: ['secret'] }]]) },
    { baseDir },
  );
  const headers = await echoed(own, url);
  assert.deepEqual([headers['x-own'], headers['user-agent']], ['a, b, two', 'test/1']);
  await assert.rejects(get(client(t, { bearer_token_file: '/no/such/file' }), url), /no such file/);
});

test('a user in the URL is its authorization unless the settings have one', async t => {
  const url = (await echo(t)).replace('//', '//me:pw@');
  assert.equal((await echoed(client(t, {}), url)).authorization, `Basic ${Buffer.from('me:pw').toString('base64')}`);
  assert.equal((await echoed(client(t, { bearer_token: 'b' }), url)).authorization, 'Bearer b');
});

test('redirects are followed, bounded, and take no credentials to another host', async t => {
  const other = await echo(t);
  const url = await serveHttp(t, (req, res) => {
    if (req.url === '/away') res.writeHead(302, { location: other }).end();
    else if (req.url === '/here') res.writeHead(307, { location: '/end' }).end();
    else if (req.url === '/end') res.end(JSON.stringify(req.headers));
    else if (req.url === '/file') res.writeHead(302, { location: 'file:///etc/passwd' }).end();
    else res.writeHead(301, { location: `/loop${Math.random()}` }).end();
  });
  const settings: HttpClientSettings = { bearer_token: 'b', http_headers: new Map([['x-key', { secrets: ['s'] }]]) };
  const made = client(t, settings);
  const same = await echoed(made, `${url}/here`);
  assert.deepEqual([same.authorization, same['x-key']], ['Bearer b', 's']);
  const away = await echoed(made, `${url}/away`);
  assert.deepEqual([away.authorization, away['x-key'], away['user-agent']], [undefined, undefined, 'test/1']);
  await assert.rejects(get(made, `${url}/loop`), /stopped after 10 redirects/);
  await assert.rejects(get(made, `${url}/file`), /redirected to file:/);
  assert.equal((await get(client(t, { follow_redirects: false }), `${url}/away`)).status, 302);
});

test('bodies are unpacked within the bound; lying lengths and cut ones are errors', async t => {
  const big = Buffer.alloc(100_000, 'x');
  const url = await serveHttp(t, (req, res) => {
    if (req.url === '/gzip') res.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(big));
    else if (req.url === '/zstd') res.writeHead(200, { 'content-encoding': 'zstd' }).end(zstdCompressSync(big));
    else if (req.url === '/br') res.writeHead(200, { 'content-encoding': 'br' }).end('x');
    else if (req.url === '/bad') res.writeHead(200, { 'content-encoding': 'gzip' }).end('not gzip');
    else if (req.url === '/short') {
      res.writeHead(200, { 'content-length': '1000' });
      res.write('x');
      setImmediate(() => res.destroy());
    } else res.end(big);
  });
  const made = client(t, {});
  for (const path of ['/', '/gzip', '/zstd']) {
    assert.equal((await get(made, url + path)).body.length, big.length);
    await assert.rejects(get(made, url + path, 5000), /body size limit exceeded: more than 5000 bytes/);
  }
  const raw = await made.requestRaw({ url: `${url}/gzip`, bodyBytesMax: 5000, signal: AbortSignal.timeout(9000) });
  assert.equal(raw.headers['content-encoding'], 'gzip');
  assert.deepEqual(Buffer.from(raw.body), gzipSync(big));
  await assert.rejects(get(made, `${url}/br`), /packed with "br"/);
  await assert.rejects(get(made, `${url}/bad`), /header check/);
  await assert.rejects(get(made, `${url}/short`), /aborted|closed before|hang up/);
});

test('connections are kept alive; one that the server has closed meanwhile is replaced', async t => {
  let connections = 0;
  let requests = 0;
  const server = createNetServer(socket => {
    connections++;
    socket.on('error', () => {});
    socket.on('data', () => {
      requests++;
      // The second request on the first connection meets a reset.
      if (requests === 2) socket.resetAndDestroy();
      else socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok');
    });
  });
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done));
  t.after(() => server.close());
  const made = client(t, {});
  const url = `http://127.0.0.1:${(server.address() as { port: number }).port}/`;
  assert.equal(text(await get(made, url)), 'ok');
  assert.equal(text(await get(made, url)), 'ok');
  assert.equal(text(await get(made, url)), 'ok');
  assert.deepEqual([connections, requests], [2, 4]);
  made.close();
});

test('OAuth2: one token for all, renewed at its end, on 401 and with a new secret', async t => {
  let hands = 1_000_000;
  const clock: Clock = { ...systemClock, monotonic: () => hands };
  const baseDir = tempFolder(t);
  writeFileSync(join(baseDir, 'secret'), 'geheim');
  const asked: string[] = [];
  const tokens = await serveHttp(t, (req, res) => {
    let body = '';
    req.on('data', chunk => {
      body += chunk;
    });
    req.on('end', () => {
      // This one takes secrets in the body only.
      if (req.headers.authorization !== undefined) return void res.writeHead(401).end();
      asked.push(body);
      res.end(JSON.stringify({ access_token: `t${asked.length}`, token_type: 'bearer', expires_in: 100 }));
    });
  });
  let refuse = false;
  const url = await serveHttp(t, (req, res) => {
    if (refuse) res.statusCode = 401;
    res.end(JSON.stringify(req.headers));
  });
  const oauth2 = {
    client_id: 'me',
    client_secret_file: 'secret',
    scopes: ['a', 'b'],
    token_url: tokens,
    endpoint_params: new Map([['audience', 'them']]),
  };
  const made = client(t, { oauth2 }, { baseDir, clock });
  const all = await Promise.all([1, 2, 3].map(() => echoed(made, url)));
  assert.deepEqual(
    all.map(h => h.authorization),
    ['Bearer t1', 'Bearer t1', 'Bearer t1'],
  );
  assert.equal(asked[0], 'grant_type=client_credentials&client_id=me&client_secret=geheim&scope=a+b&audience=them');
  hands += 95_000;
  assert.equal((await echoed(made, url)).authorization, 'Bearer t2');
  refuse = true;
  assert.equal((await echoed(made, url)).authorization, 'Bearer t2');
  refuse = false;
  assert.equal((await echoed(made, url)).authorization, 'Bearer t3');
  writeFileSync(join(baseDir, 'secret'), 'neues Geheimnis');
  assert.equal((await echoed(made, url)).authorization, 'Bearer t4');
  assert.match(asked[3] as string, /client_secret=neues\+Geheimnis/);
});

test('OAuth2: an assertion signed with a key', async t => {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const token_url = await serveHttp(t, (req, res) => {
    let body = '';
    req.on('data', chunk => {
      body += chunk;
    });
    req.on('end', () => {
      const form = new URLSearchParams(body);
      const [header = '', claims = '', signature = ''] = (form.get('assertion') ?? '').split('.');
      const sound = createVerify('RSA-SHA384')
        .update(`${header}.${claims}`)
        .verify(publicKey, Buffer.from(signature, 'base64url'));
      const said = JSON.parse(Buffer.from(claims, 'base64url').toString());
      const kid = JSON.parse(Buffer.from(header, 'base64url').toString()).kid;
      res.end(JSON.stringify({ access_token: `${sound} ${kid} ${said.iss} ${said.extra} ${form.get('grant_type')}` }));
    });
  });
  const oauth2 = {
    client_id: 'me',
    client_certificate_key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    client_certificate_key_id: 'k1',
    signature_algorithm: 'RS384',
    grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer',
    claims: new Map([['extra', 'x']]),
    token_url,
  };
  assert.equal(
    (await echoed(client(t, { oauth2 }), await echo(t))).authorization,
    'Bearer true k1 me x urn:ietf:params:oauth:grant-type:jwt-bearer',
  );
});

test('OAuth2: a refusal says its status and no secret', async t => {
  const token_url = await serveHttp(t, (_req, res) => res.writeHead(403).end('geheim'));
  const made = client(t, { oauth2: { client_id: 'me', client_secret: 'geheim', token_url } });
  await assert.rejects(get(made, 'http://127.0.0.1:1/'), (error: Error) => {
    assert.match(error.message, /the token endpoint refuses: HTTP status 403/);
    return !error.message.includes('geheim');
  });
});

test('a proxy: relayed for http, by no_proxy not, and from the environment', async t => {
  const url = await echo(t);
  const seen: string[] = [];
  const proxy = await serveHttp(t, (req, res) => {
    seen.push(`${req.method} ${req.url} ${req.headers['proxy-authorization']} ${req.headers.authorization}`);
    res.end('{}');
  });
  const withUser = proxy.replace('//', '//pu:pp@');
  await get(client(t, { proxy_url: withUser, bearer_token: 'b' }), `${url}/x?y=1`);
  assert.deepEqual(seen, [`GET ${url}/x?y=1 Basic ${Buffer.from('pu:pp').toString('base64')} Bearer b`]);
  await get(client(t, { proxy_url: proxy, no_proxy: 'example.com' }), url);
  assert.equal(seen.length, 1);
  const environment = { http_proxy: proxy, NO_PROXY: 'direct.test' };
  await get(client(t, { proxy_from_environment: true }, { environment }), 'http://far.test/z');
  assert.match(seen[1] as string, /^GET http:\/\/far\.test\/z /);
});

const skip = hasOpenssl() ? false : 'needs openssl';

test('TLS: own authority, server name, client certificate, all exchanged without a new client', { skip }, async t => {
  const made = makeCertificates(t);
  const server = made.sign('server', 'test.local', 'DNS:test.local');
  made.sign('me', 'first');
  const options = { ca: made.ca, requestCert: true, rejectUnauthorized: true, ...server };
  const { port } = await serveHttps(t, options, (req, res) => {
    res.end(
      (req.socket as unknown as { getPeerCertificate(): { subject: { CN: string } } }).getPeerCertificate().subject.CN,
    );
  });
  const url = `https://127.0.0.1:${port}/`;
  const tls = { ca_file: 'ca.crt', cert_file: 'me.crt', key_file: 'me.key', server_name: 'test.local' };
  const at = { baseDir: made.folder };
  const good = client(t, { tls_config: tls }, at);
  assert.equal(text(await get(good, url)), 'first');
  made.sign('me', 'second');
  assert.equal(text(await get(good, url)), 'second');
  await assert.rejects(get(client(t, { tls_config: { ...tls, server_name: 'else.local' } }, at), url), /altnames/);
  await assert.rejects(get(client(t, { tls_config: { ...tls, ca_file: '' } }, at), url), /certificate|issuer/);
  const loose = client(t, { tls_config: { ...tls, ca_file: '', server_name: '', insecure_skip_verify: true } }, at);
  assert.equal(text(await get(loose, url)), 'second');
  await assert.rejects(
    get(client(t, { tls_config: { ...tls, max_version: 'TLS11' } }, at), url),
    /version|protocol|alert/i,
  );
});

test('TLS through a proxy by CONNECT, with its headers', { skip }, async t => {
  const made = makeCertificates(t);
  const server = made.sign('server', 'test.local', 'DNS:test.local');
  const { port } = await serveHttps(t, server, (req, res) => res.end(`${req.headers.authorization}`));
  const seen: string[] = [];
  const proxy = createServer();
  proxy.on('connect', (req, socket) => {
    seen.push(`${req.url} ${req.headers['x-via']} ${req.headers.authorization}`);
    if (req.headers['x-via'] !== 'yes') return void socket.end('HTTP/1.1 407 no\r\n\r\n');
    const to = connect(port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 ok\r\n\r\n');
      to.pipe(socket).pipe(to);
    });
    for (const end of [to, socket]) end.on('error', () => {});
  });
  await new Promise<void>(done => proxy.listen(0, '127.0.0.1', done));
  t.after(() => proxy.close());
  const settings: HttpClientSettings = {
    tls_config: { ca: made.ca },
    bearer_token: 'b',
    proxy_url: `http://127.0.0.1:${(proxy.address() as { port: number }).port}`,
    proxy_connect_header: new Map([['X-Via', ['yes']]]),
  };
  const through = client(t, settings);
  assert.equal(text(await get(through, `https://test.local:${port}/`)), 'Bearer b');
  assert.equal(text(await get(through, `https://test.local:${port}/`)), 'Bearer b');
  assert.deepEqual(seen, [`test.local:${port} yes undefined`]);
  const refused = client(t, { ...settings, proxy_connect_header: new Map() });
  await assert.rejects(
    get(refused, `https://test.local:${port}/`),
    /refuses to connect .* 407|CONNECT with HTTP status 407/,
  );
  through.close();
});

test('streams give chunks as they come and can be left', async t => {
  let closed: () => void = () => {};
  const gone = new Promise<void>(done => {
    closed = done;
  });
  const url = await serveHttp(t, (req, res) => {
    res.write('one');
    req.on('close', () => closed());
  });
  const { status, body, close } = await client(t, {}).stream({ url, signal: AbortSignal.timeout(20_000) });
  for await (const chunk of body) {
    assert.deepEqual([status, Buffer.from(chunk).toString()], [200, 'one']);
    break;
  }
  close();
  await gone;
});

test('an abort ends the request with its reason, whatever the server does', async t => {
  const url = await serveHttp(t, (req, res) => {
    if (req.url === '/drip') res.write('x');
  });
  for (const path of ['/hang', '/drip']) {
    const abort = new AbortController();
    const answer = client(t, {}).request({ url: url + path, bodyBytesMax: 100, signal: abort.signal });
    setImmediate(() => abort.abort(new Error('too late')));
    await assert.rejects(answer, /too late/);
  }
});
