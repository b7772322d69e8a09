import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { IngestRequest, IngestResponse, IngestService } from '../../src/contracts/ingest-service.ts';
import { ShuttingDownError } from '../../src/contracts/sample-sink.ts';
import { startServer, type TestServer } from './support.ts';

class Recorder implements IngestService {
  readonly seen: { request: IngestRequest; body: string }[] = [];
  answer: IngestResponse | Error = { status: 204, headers: {}, body: '' };

  async ingest(request: IngestRequest, body: Uint8Array): Promise<IngestResponse> {
    // The bytes may move to another thread: they must have a buffer of their own.
    assert.equal(body.byteOffset, 0);
    assert.equal(body.byteLength, body.buffer.byteLength);
    return this.record(request, Buffer.from(body).toString());
  }

  async ingestStream(request: IngestRequest, body: AsyncIterable<Uint8Array>): Promise<IngestResponse> {
    let text = '';
    for await (const chunk of body) text += Buffer.from(chunk).toString();
    return this.record(request, text);
  }

  private record(request: IngestRequest, body: string): IngestResponse {
    this.seen.push({ request, body });
    if (this.answer instanceof Error) throw this.answer;
    return this.answer;
  }
}

async function withServer(work: (server: TestServer, ingest: Recorder) => Promise<void>): Promise<void> {
  const ingest = new Recorder();
  const server = await startServer(undefined, {}, { ingest, writeBodyBytesMax: 1000 });
  try {
    await work(server, ingest);
  } finally {
    await server.close();
  }
}

test('write routes hand over bytes, protocol, tenant, parameters and headers', () =>
  withServer(async ({ url }, ingest) => {
    const write = await fetch(`${url}/api/v1/write`, {
      method: 'POST',
      headers: {
        'content-type': 'application/x-protobuf',
        'content-encoding': 'SNAPPY',
        'x-prometheus-remote-write-version': '0.1.0',
        'x-scope-orgid': 'team',
        'user-agent': 'test',
      },
      body: 'raw',
    });
    assert.equal(write.status, 204);
    assert.equal(await write.text(), '');
    const text = await fetch(`${url}/prometheus/api/v1/import/prometheus?extra_label=a%3Db`, {
      method: 'POST',
      body: 'm 1\n',
    });
    assert.equal(text.status, 204);
    const form = await fetch(`${url}/api/v1/import/prometheus`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: 'curl_sends_this 1\n',
    });
    assert.equal(form.status, 204);
    await fetch(`${url}/api/v1/import`, { method: 'POST', body: '{}\n' });
    assert.deepEqual(ingest.seen[0], {
      request: {
        protocol: 'remote-write',
        tenant: 'team',
        contentType: 'application/x-protobuf',
        contentEncoding: 'snappy',
        params: '',
        headers: { 'x-prometheus-remote-write-version': '0.1.0', 'user-agent': 'test' },
      },
      body: 'raw',
    });
    assert.deepEqual(
      ingest.seen.map(s => [s.request.protocol, s.request.tenant, s.request.params, s.body]),
      [
        ['remote-write', 'team', '', 'raw'],
        ['prometheus-text', 'default', 'extra_label=a%3Db', 'm 1\n'],
        ['prometheus-text', 'default', '', 'curl_sends_this 1\n'],
        ['json-lines', 'default', '', '{}\n'],
      ],
    );
  }));

test('refusals are relayed as text, with Retry-After', () =>
  withServer(async ({ url }, ingest) => {
    ingest.answer = { status: 400, headers: {}, body: 'out of bounds' };
    const bad = await fetch(`${url}/api/v1/write`, { method: 'POST', body: 'x' });
    assert.deepEqual([bad.status, await bad.text()], [400, 'out of bounds\n']);
    ingest.answer = new ShuttingDownError('draining');
    const draining = await fetch(`${url}/api/v1/write`, { method: 'POST', body: 'x' });
    assert.equal(draining.status, 503);
    assert.equal(draining.headers.get('retry-after'), '5');
    const self = await fetch(`${url}/api/v1/write`, {
      method: 'POST',
      headers: { 'x-scope-orgid': '_self' },
      body: 'x',
    });
    assert.equal(self.status, 403);
    assert.match(await self.text(), /own telemetry/);
    const seen = ingest.seen.length;
    const large = await fetch(`${url}/api/v1/write`, { method: 'POST', body: 'x'.repeat(1001) });
    assert.equal(large.status, 413);
    // And one that does not say how long it is.
    const unsized = new ReadableStream({
      pull(controller) {
        controller.enqueue(Buffer.alloc(400, 'x'));
      },
    });
    const endless = await fetch(`${url}/api/v1/write`, {
      method: 'POST',
      body: unsized,
      duplex: 'half',
    } as RequestInit);
    assert.equal(endless.status, 413);
    assert.match(await endless.text(), /larger than 1000 bytes/);
    assert.equal(ingest.seen.length, seen);
    // An import has no bound on its length.
    ingest.answer = { status: 204, headers: {}, body: '' };
    const long = await fetch(`${url}/api/v1/import/prometheus`, { method: 'POST', body: 'm 1\n'.repeat(1_000_000) });
    assert.equal(long.status, 204);
    assert.equal(ingest.seen.at(-1)?.body.length, 4_000_000);
  }));

test('without a writer the routes are not there', async () => {
  const server = await startServer();
  try {
    const response = await fetch(`${server.url}/api/v1/write`, { method: 'POST', body: 'x' });
    assert.equal(response.status, 404);
  } finally {
    await server.close();
  }
});
