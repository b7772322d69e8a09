import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { MessageChannel } from 'node:worker_threads';
import { RpcPort, Transfer } from './rpc.ts';

function pair(handlers: ConstructorParameters<typeof RpcPort>[1]): { client: RpcPort; close(): void } {
  const { port1, port2 } = new MessageChannel();
  const client = new RpcPort(port1, {});
  new RpcPort(port2, handlers);
  return { client, close: () => port1.close() };
}

test('a call resolves with the handler result, buffers moved', async () => {
  const { client, close } = pair({
    double: args => (args as number) * 2,
    bytes: () => {
      const b = new Uint8Array([1, 2, 3]);
      return new Transfer(b, [b.buffer]);
    },
  });
  assert.equal(await client.call('double', 21), 42);
  assert.deepEqual([...(await client.call<Uint8Array>('bytes', null))], [1, 2, 3]);
  close();
});

test('an error keeps its name, message and code', async () => {
  const { client, close } = pair({
    fail: () => {
      throw Object.assign(new RangeError('too far'), { code: 'FAR' });
    },
  });
  await assert.rejects(client.call('fail', null), { name: 'RangeError', message: 'too far', code: 'FAR' });
  await assert.rejects(client.call('unknown', null), /no rpc handler called unknown/);
  close();
});

test('aborting a call rejects it at once and fires the handler signal', async () => {
  let seen = false;
  let started: () => void = () => {};
  const running = new Promise<void>(resolve => {
    started = resolve;
  });
  const { client, close } = pair({
    wait: (_args, signal) =>
      new Promise((_resolve, reject) => {
        started();
        signal.addEventListener('abort', () => {
          seen = true;
          reject(new Error('stopped'));
        });
      }),
  });
  const abort = new AbortController();
  const call = client.call('wait', null, { signal: abort.signal });
  await running;
  abort.abort(new Error('client went away'));
  await assert.rejects(call, /client went away/);
  while (!seen) await setImmediate();
  close();
});

test('a stream delivers all chunks in order and holds back a fast sender', async () => {
  let sent = 0;
  const { client, close } = pair({
    count: async function* () {
      for (; sent < 50; sent++) yield new Uint8Array([sent]);
    },
  });
  const got: number[] = [];
  for await (const chunk of client.callStream('count', null)) {
    got.push(chunk[0] as number);
    for (let i = 0; i < 3; i++) await setImmediate();
    assert.ok(sent <= got.length + 10, `sender ran ahead: ${sent} sent, ${got.length} taken`);
  }
  assert.deepEqual(
    got,
    Array.from({ length: 50 }, (_, i) => i),
  );
  close();
});

test('leaving a stream early stops the sender; a failing stream rejects the reader', async () => {
  let sent = 0;
  let ended = false;
  const { client, close } = pair({
    endless: async function* () {
      try {
        for (;;) yield new Uint8Array([sent++ & 0xff]);
      } finally {
        ended = true;
      }
    },
    broken: async function* () {
      yield new Uint8Array([1]);
      throw new Error('disk gone');
    },
  });
  for await (const _ of client.callStream('endless', null)) break;
  while (!ended) await setImmediate();
  assert.ok(sent < 20);
  await assert.rejects(async () => {
    for await (const _ of client.callStream('broken', null));
  }, /disk gone/);
  close();
});

test('close fails what is under way and what comes later', async () => {
  const { client, close } = pair({ never: () => new Promise(() => {}) });
  const call = client.call('never', null);
  client.close(new Error('worker died'));
  await assert.rejects(call, /worker died/);
  await assert.rejects(client.call('never', null), /worker died/);
  close();
});
