import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { authHeaders, HttpScrapeFetcher, type ScrapeRequest } from './http-fetcher.ts';

async function serve(t: TestContext, listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  return `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`;
}

function fetcher(t: TestContext): HttpScrapeFetcher {
  const made = new HttpScrapeFetcher('test/1');
  t.after(() => made.close());
  return made;
}

function request(url: string, changes: Partial<ScrapeRequest> = {}): ScrapeRequest {
  return { url, headers: {}, bodyBytesMax: 0, followRedirects: true, signal: new AbortController().signal, ...changes };
}

test('plain and packed bodies, with the headers sent', async t => {
  const url = await serve(t, (req, res) => {
    const body = Buffer.from(`agent ${req.headers['user-agent']}`);
    if (req.url === '/packed')
      res.writeHead(200, { 'content-encoding': 'gzip', 'content-type': 'x/y' }).end(gzipSync(body));
    else res.writeHead(200).end(body);
  });
  const plain = await fetcher(t).fetch(request(`${url}/`));
  assert.deepEqual([Buffer.from(plain.body).toString(), plain.contentType], ['agent test/1', '']);
  const packed = await fetcher(t).fetch(request(`${url}/packed`));
  assert.deepEqual([Buffer.from(packed.body).toString(), packed.contentType], ['agent test/1', 'x/y']);
});

test('a body over the limit is refused, packed or not', async t => {
  const url = await serve(t, (req, res) => {
    const body = Buffer.alloc(1 << 20);
    if (req.url === '/bomb') res.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(body));
    else res.writeHead(200).end(body);
  });
  for (const path of ['/', '/bomb']) {
    await assert.rejects(fetcher(t).fetch(request(url + path, { bodyBytesMax: 10_000 })), /body size limit exceeded/);
  }
});

test('other statuses and broken packing are errors', async t => {
  const url = await serve(t, (req, res) => {
    if (req.url === '/broken') res.writeHead(200, { 'content-encoding': 'gzip' }).end('not gzip');
    else if (req.url === '/odd') res.writeHead(200, { 'content-encoding': 'br' }).end('x');
    else res.writeHead(503).end();
  });
  await assert.rejects(fetcher(t).fetch(request(url)), /HTTP status 503/);
  await assert.rejects(fetcher(t).fetch(request(`${url}/broken`)), /header/);
  await assert.rejects(fetcher(t).fetch(request(`${url}/odd`)), /"br"/);
});

test('redirects are followed, credentials stay with their host', async t => {
  const seen: (string | undefined)[] = [];
  const other = await serve(t, (req, res) => {
    seen.push(req.headers.authorization);
    res.end('there');
  });
  const url = await serve(t, (req, res) => {
    seen.push(req.headers.authorization);
    if (req.url === '/loop') res.writeHead(302, { location: '/loop' }).end();
    else res.writeHead(301, { location: other }).end();
  });
  const result = await fetcher(t).fetch(request(url, { headers: { authorization: 'Bearer x' } }));
  assert.equal(Buffer.from(result.body).toString(), 'there');
  assert.deepEqual(seen, ['Bearer x', undefined]);
  await assert.rejects(fetcher(t).fetch(request(`${url}/loop`)), /10 redirects/);
  await assert.rejects(fetcher(t).fetch(request(url, { followRedirects: false })), /HTTP status 301/);
});

test('an abort ends a scrape that hangs', async t => {
  const url = await serve(t, () => {});
  const abort = new AbortController();
  const hanging = fetcher(t).fetch(request(url, { signal: abort.signal }));
  abort.abort(new Error('late'));
  await assert.rejects(hanging);
});

test('credentials from settings and files', t => {
  const dir = mkdtempSync(join(tmpdir(), 'sightline-auth-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  writeFileSync(join(dir, 'secret'), 's3cret\n');
  assert.deepEqual(authHeaders({ basic_auth: { username: 'u', password_file: 'secret' } }, dir), {
    authorization: `Basic ${Buffer.from('u:s3cret').toString('base64')}`,
  });
  assert.deepEqual(authHeaders({ authorization: { credentials_file: 'secret' } }, dir), {
    authorization: 'Bearer s3cret',
  });
  assert.deepEqual(authHeaders({ bearer_token: 't' }, dir), { authorization: 'Bearer t' });
  assert.deepEqual(authHeaders({ http_headers: new Map([['X-A', { values: ['1'], files: ['secret'] }]]) }, dir), {
    'x-a': '1, s3cret',
  });
  assert.throws(() => authHeaders({ bearer_token_file: 'missing' }, dir), /ENOENT/);
});
