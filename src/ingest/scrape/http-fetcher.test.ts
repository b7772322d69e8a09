import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { serveHttp } from '../../lib/http-client/testing.ts';
import { HttpScrapeFetcher, isTooLarge, type ScrapeRequest } from './http-fetcher.ts';

function fetcher(t: TestContext, heldBytesMax?: number): HttpScrapeFetcher {
  const made = new HttpScrapeFetcher('test/1', heldBytesMax);
  t.after(() => made.close());
  return made;
}

function request(url: string, changes: Partial<ScrapeRequest> = {}): ScrapeRequest {
  const signal = AbortSignal.timeout(20_000);
  return { url, headers: {}, bodyBytesMax: 0, settings: {}, baseDir: '/', signal, ...changes };
}

test('bodies come as they were sent, with their types, and are counted until they are released', async t => {
  const packed = gzipSync('a 1\n');
  const url = await serveHttp(t, (req, res) => {
    if (req.url === '/packed') res.writeHead(200, { 'content-encoding': 'gzip', 'content-type': 'x/y' }).end(packed);
    else res.writeHead(200).end(`agent ${req.headers['user-agent']}`);
  });
  const made = fetcher(t);
  const plain = await made.fetch(request(`${url}/`));
  assert.deepEqual(
    [Buffer.from(plain.body.bytes).toString(), plain.body.contentType, plain.body.contentEncoding],
    ['agent test/1', '', ''],
  );
  assert.equal(made.heldBytes, 12);
  const { body, release } = await made.fetch(request(`${url}/packed`));
  assert.deepEqual([body.contentType, body.contentEncoding], ['x/y', 'gzip']);
  assert.deepEqual(Buffer.from(body.bytes), packed);
  plain.release();
  plain.release();
  release();
  assert.equal(made.heldBytes, 0);
});

test('statuses other than 200 are errors, and an endless body behind one is not read', async t => {
  let closed: () => void = () => {};
  const gone = new Promise<void>(done => {
    closed = done;
  });
  const url = await serveHttp(t, (_req, res) => {
    res.writeHead(503);
    const more = (): void => {
      if (res.write(Buffer.alloc(1 << 16))) setImmediate(more);
      else res.once('drain', more);
    };
    res.on('error', () => {});
    res.on('close', () => closed());
    more();
  });
  await assert.rejects(fetcher(t).fetch(request(url)), /server returned HTTP status 503/);
  await gone;
});

test('an endless body ends at the limit, and holds nothing afterwards', async t => {
  const url = await serveHttp(t, (_req, res) => {
    const more = (): void => {
      if (res.destroyed) return;
      if (res.write(Buffer.alloc(1 << 16, 'x'))) setImmediate(more);
      else res.once('drain', more);
    };
    more();
  });
  const made = fetcher(t);
  await assert.rejects(made.fetch(request(url, { bodyBytesMax: 3 << 20 })), isTooLarge);
  assert.equal(made.heldBytes, 0);
});

test('large bodies at once are bounded together; small ones still come through', async t => {
  const url = await serveHttp(t, (req, res) => res.end(Buffer.alloc(req.url === '/big' ? 3 << 20 : 1000)));
  const made = fetcher(t, 4 << 20);
  const first = await made.fetch(request(`${url}/big`));
  await assert.rejects(made.fetch(request(`${url}/big`)), /too many large bodies at once/);
  (await made.fetch(request(`${url}/small`))).release();
  first.release();
  (await made.fetch(request(`${url}/big`))).release();
  assert.equal(made.heldBytes, 0);
});

test('jobs with equal settings share connections', async t => {
  const ports = new Set<number | undefined>();
  const url = await serveHttp(t, (req, res) => {
    ports.add(req.socket.remotePort);
    res.end(String(req.headers.authorization));
  });
  const made = fetcher(t);
  for (const token of ['a', 'a', 'b']) {
    const { body } = await made.fetch(request(url, { settings: { bearer_token: token, http_headers: new Map() } }));
    assert.equal(Buffer.from(body.bytes).toString(), `Bearer ${token}`);
  }
  assert.equal(ports.size, 2);
});

test('an abort ends a scrape that hangs', async t => {
  const url = await serveHttp(t, () => {});
  const abort = new AbortController();
  const hanging = fetcher(t).fetch(request(url, { signal: abort.signal }));
  abort.abort(new Error('late'));
  await assert.rejects(hanging, /late/);
});
