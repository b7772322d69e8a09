import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gunzipSync, zstdDecompressSync } from 'node:zlib';
import { chooseEncoding, compressResponse } from './compress.ts';

test('what the client accepts', () => {
  const cases: [string, string][] = [
    ['', 'identity'],
    ['gzip', 'gzip'],
    ['gzip, deflate, br, zstd', 'zstd'],
    ['gzip;q=1.0, zstd;q=0.5', 'gzip'],
    ['zstd;q=0, gzip', 'gzip'],
    ['GZIP;Q=0.2', 'gzip'],
    ['*', 'gzip'],
    ['*;q=0', 'identity'],
    ['identity, gzip;q=0', 'identity'],
    ['br', 'identity'],
  ];
  for (const [header, encoding] of cases) assert.equal(chooseEncoding(header), encoding, header);
});

async function bytesOf(body: Uint8Array | AsyncIterable<Uint8Array>): Promise<Buffer> {
  if (body instanceof Uint8Array) return Buffer.from(body);
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

test('small bodies stay, others are compressed, whole or streamed', async () => {
  const small = compressResponse({ status: 200, headers: {}, body: Buffer.from('x') }, 'gzip');
  assert.equal(small.headers['content-encoding'], undefined);
  const text = Buffer.from('0123456789'.repeat(200_000));
  for (const size of [2000, text.length]) {
    const body = text.subarray(0, size);
    const gzip = compressResponse({ status: 200, headers: {}, body }, 'gzip');
    assert.equal(gzip.headers['content-encoding'], 'gzip');
    assert.deepEqual(gunzipSync(await bytesOf(gzip.body)), body);
    const zstd = compressResponse({ status: 200, headers: {}, body }, 'zstd');
    assert.deepEqual(zstdDecompressSync(await bytesOf(zstd.body)), body);
  }
});

test('a source that fails fails the stream, and leaving early stops the source', async () => {
  async function* broken() {
    yield Buffer.alloc(200_000, 'a');
    throw new Error('broken');
  }
  const response = compressResponse({ status: 200, headers: {}, body: broken() }, 'gzip');
  await assert.rejects(bytesOf(response.body), /broken/);

  let stopped: () => void = () => {};
  const end = new Promise<void>(resolve => {
    stopped = resolve;
  });
  async function* endless() {
    let state = 1;
    try {
      for (;;) {
        const chunk = new Uint8Array(100_000);
        for (let i = 0; i < chunk.length; i++) {
          state = (Math.imul(state, 1103515245) + 12345) >>> 0;
          chunk[i] = state >>> 24;
        }
        yield chunk;
      }
    } finally {
      stopped();
    }
  }
  const long = compressResponse({ status: 200, headers: {}, body: endless() }, 'gzip');
  assert.ok(!(long.body instanceof Uint8Array));
  for await (const chunk of long.body) {
    assert.ok(chunk.length > 0);
    break;
  }
  await end;
});
