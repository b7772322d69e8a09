import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request } from 'node:http';
import { describe, test } from 'node:test';
import { ANONYMOUS, type Principal } from '../../src/contracts/auth.ts';
import type { SlowQuery } from '../../src/contracts/query-service.ts';
import type { SampleSource } from '../../src/contracts/sample-source.ts';
import { DEFAULT_QUERY_LIMITS } from '../../src/query/limits/query-limits.ts';
import { ManualClock, settle } from '../support/manual-clock.ts';
import { NOW, STEP, sampleData, startServer, type TestServer } from './support.ts';

/** A source whose answers to `select` wait until the test opens the gate. */
function gatedSource(): { source: SampleSource; open(): void; waiting(): number; entered: Promise<void> } {
  const inner = sampleData();
  let open = () => {};
  let waiting = 0;
  let enter = () => {};
  const entered = new Promise<void>(resolve => {
    enter = resolve;
  });
  const gate = new Promise<void>(resolve => {
    open = resolve;
  });
  const source = Object.create(inner) as SampleSource;
  source.select = async (tenant, wanted, signal) => {
    waiting++;
    enter();
    await gate;
    signal?.throwIfAborted();
    return inner.select(tenant, wanted, signal);
  };
  return { source, open, waiting: () => waiting, entered };
}

interface Failure {
  status: string;
  errorType: string;
  error: string;
}

async function failureOf(response: Promise<Response>): Promise<Failure & { code: number; retryAfter: string | null }> {
  const r = await response;
  return { ...((await r.json()) as Failure), code: r.status, retryAfter: r.headers.get('retry-after') };
}

async function until(condition: () => Promise<boolean> | boolean): Promise<void> {
  for (let i = 0; i < 2000; i++) {
    if (await condition()) return;
    await settle(1);
  }
  assert.fail('it did not come to pass');
}

async function using(server: TestServer, work: (server: TestServer) => Promise<void>): Promise<void> {
  try {
    await work(server);
  } finally {
    await server.close();
  }
}

describe('guard rails', () => {
  test('a running query is listed and can be cancelled', async () => {
    const { source, open, entered } = gatedSource();
    await using(await startServer(source), async ({ url }) => {
      const answer = failureOf(fetch(`${url}/api/v1/query?query=up`));
      await entered;
      const list = async (query = '', headers = {}) =>
        (
          (await (await fetch(`${url}/sightline/api/queries${query}`, { headers })).json()) as {
            queries: { id: string; query: string; state: string }[];
          }
        ).queries;
      const [active] = await list();
      assert.equal(active?.query, 'up');
      assert.equal(active?.state, 'running');
      assert.deepEqual(await list('', { 'x-scope-orgid': 'other' }), []);
      assert.equal((await list('?tenant=*', { 'x-scope-orgid': 'other' })).length, 1);
      const cancel = (id: string, headers = {}) =>
        fetch(`${url}/sightline/api/queries/${id}`, { method: 'DELETE', headers });
      assert.equal((await cancel(active.id, { 'x-scope-orgid': 'other' })).status, 404);
      assert.equal((await cancel('nope')).status, 404);
      assert.equal((await cancel(active.id)).status, 204);
      const failure = await answer;
      assert.equal(failure.code, 499);
      assert.equal(failure.errorType, 'canceled');
      assert.match(failure.error, /^query was canceled/);
      open();
      assert.deepEqual(await list(), []);
    });
  });

  test('a client that goes away stops its query', async () => {
    const { source, open, entered } = gatedSource();
    await using(await startServer(source), async ({ url, handler }) => {
      const client = request(`${url}/api/v1/query?query=up`);
      client.on('error', () => {});
      client.end();
      await entered;
      client.destroy();
      await until(async () => (await handler.activeQueries(null)).length === 0);
      assert.deepEqual(handler.queueCounts(), { running: 0, waiting: 0 });
      open();
    });
  });

  test('the deadline answers 503 and says what to narrow; the parameter only shortens it', async () => {
    const { source, entered } = gatedSource();
    const clock = new ManualClock(NOW);
    const slow: SlowQuery[] = [];
    await using(await startServer(source, { clock, onSlowQuery: q => slow.push(q) }), async ({ url, handler }) => {
      const long = failureOf(fetch(`${url}/api/v1/query?query=up&timeout=1h`));
      await entered;
      const short = failureOf(fetch(`${url}/api/v1/query?query=up&timeout=2s`));
      await until(async () => (await handler.activeQueries(null)).length === 2);
      await clock.advance(2000);
      const first = await short;
      assert.equal(first.code, 503);
      assert.equal(first.errorType, 'timeout');
      assert.match(first.error, /^query timed out in expression evaluation: .*2s.*shorter time range/);
      await clock.advance(28_000);
      assert.match((await long).error, /30s/);
      assert.deepEqual(
        slow.map(q => [q.query, q.status, q.elapsedMs]),
        [['up', 503, 30_000]],
      );
    });
  });

  test('concurrency per tenant: the next wait, the ones after are refused, other tenants go on', async () => {
    const { source, open, waiting } = gatedSource();
    const limits = { ...DEFAULT_QUERY_LIMITS, concurrency: 2, waitingMax: 1 };
    await using(await startServer(source, { limitsOf: () => limits }), async ({ url, handler }) => {
      const ask = (tenant: string) => fetch(`${url}/api/v1/query?query=up`, { headers: { 'x-scope-orgid': tenant } });
      const running = [ask('a'), ask('a'), ask('a')];
      await until(async () => (await handler.activeQueries('a')).length === 3 && waiting() === 2);
      const refused = await failureOf(ask('a'));
      assert.equal(refused.code, 429);
      assert.equal(refused.retryAfter, '5');
      assert.match(refused.error, /too many queries: 2 of tenant "a" run and 1 wait/);
      const other = ask('b');
      await until(() => waiting() === 3);
      assert.deepEqual(handler.queueCounts(), { running: 3, waiting: 1 });
      open();
      for (const response of await Promise.all([...running, other])) assert.equal(response.status, 200);
    });
  });

  test('waiting out the deadline in the queue is 503 with Retry-After', async () => {
    const { source, open, entered } = gatedSource();
    const clock = new ManualClock(NOW);
    const limits = { ...DEFAULT_QUERY_LIMITS, concurrency: 1 };
    await using(await startServer(source, { clock, limitsOf: () => limits }), async ({ url, handler }) => {
      const first = fetch(`${url}/api/v1/query?query=up`);
      await entered;
      const second = failureOf(fetch(`${url}/api/v1/query?query=up&timeout=1s`));
      await until(async () => (await handler.activeQueries(null)).length === 2);
      await clock.advance(1000);
      const failure = await second;
      assert.equal(failure.code, 503);
      assert.equal(failure.retryAfter, '5');
      assert.match(failure.error, /^query timed out in query queue/);
      open();
      assert.equal((await first).status, 200);
    });
  });

  test('the range limit counts windows and offsets, and names reason and remedy', async () => {
    const limits = { ...DEFAULT_QUERY_LIMITS, rangeMaxMs: 3_600_000 };
    const signedIn: Principal = { ...ANONYMOUS, via: 'token', rights: new Set(['read']) };
    await using(await startServer(sampleData(), { limitsOf: () => limits }, {}, signedIn), async ({ url }) => {
      const s = NOW / 1000;
      const cases: [string, number][] = [
        [`query_range?query=up&start=${s - 3000}&end=${s}&step=60`, 200],
        [`query_range?query=up&start=${s - 3600}&end=${s}&step=60`, 422],
        ['query?query=rate(up[30m])', 200],
        ['query?query=rate(up[2h])', 422],
        ['query?query=up offset 2h', 422],
        ['query?query=max_over_time(rate(up[40m])[30m:1m])', 422],
        [`query?query=up @ ${s - 7200}`, 422],
      ];
      for (const [path, code] of cases) {
        const response = await fetch(`${url}/api/v1/${path}`);
        assert.equal(response.status, code, path);
        if (code === 422)
          assert.match(((await response.json()) as Failure).error, /exceeds the limit of 1 h.*shorter range/);
      }
    });
  });

  test('the sample bound is 422', async () => {
    const source = sampleData();
    await using(await startServer(source, { rawSamplesMax: 1 }), async ({ url }) => {
      const response = await fetch(`${url}/federate?match[]=up`);
      assert.equal(response.status, 422);
      assert.match(await response.text(), /exceeded sample limit \(1\)/);
    });
  });

  test('an internal error is reported, and answered 500', async () => {
    const source = Object.create(sampleData()) as SampleSource;
    source.labelNames = () => Promise.reject(new TypeError('BUG: x'));
    const reported: string[] = [];
    await using(await startServer(source, { onInternalError: e => reported.push(e.message) }), async ({ url }) => {
      const failure = await failureOf(fetch(`${url}/api/v1/labels`));
      assert.deepEqual([failure.code, failure.errorType, failure.error], [500, 'internal', 'BUG: x']);
      assert.deepEqual(reported, ['BUG: x']);
    });
  });

  test('a large answer is streamed at the pace of the client, and stops when it goes', async () => {
    const source = sampleData();
    for (let i = 0; i < 300; i++) {
      const samples = [];
      for (let t = NOW - 3_600_000; t <= NOW; t += STEP) samples.push({ t, value: Math.sin(t + i) });
      source.append('default', ['__name__', 'wide', 'i', String(i)], samples);
    }
    await using(await startServer(source), async ({ url, handler }) => {
      const s = NOW / 1000;
      const path = `/api/v1/query_range?query=wide&start=${s - 3600}&end=${s}&step=15`;
      const client = request(url + path);
      client.end();
      const [response] = (await once(client, 'response')) as [import('node:http').IncomingMessage];
      response.on('error', () => {});
      assert.equal(response.headers['transfer-encoding'], 'chunked');
      await once(response, 'readable');
      assert.equal((await handler.activeQueries(null)).length, 1);
      // Sending holds no slot.
      assert.deepEqual(handler.queueCounts(), { running: 0, waiting: 0 });
      client.destroy();
      await until(async () => (await handler.activeQueries(null)).length === 0);
      const whole = (await (await fetch(url + path)).json()) as { data: { result: { values: unknown[] }[] } };
      assert.equal(whole.data.result.length, 300);
      assert.ok(whole.data.result.every(r => r.values.length === 241));
    });
  });

  test('an answer nobody reads leaves nothing behind', async () => {
    const source = sampleData();
    for (let i = 0; i < 300; i++) {
      const samples = [];
      for (let t = NOW - 3_600_000; t <= NOW; t += STEP) samples.push({ t, value: Math.sin(t + i) });
      source.append('default', ['__name__', 'wide', 'i', String(i)], samples);
    }
    await using(await startServer(source), async ({ handler }) => {
      for (const acceptEncoding of ['', 'gzip']) {
        const s = NOW / 1000;
        const response = await handler.handle({
          endpoint: 'query_range',
          tenant: 'default',
          params: `query=wide&start=${s - 3600}&end=${s}&step=15`,
          name: '',
          body: null,
          accept: '',
          acceptEncoding,
          origin: 'test',
        });
        assert.equal((await handler.activeQueries(null)).length, 1);
        assert.ok(!(response.body instanceof Uint8Array));
        await response.body[Symbol.asyncIterator]().return?.();
        assert.equal((await handler.activeQueries(null)).length, 0);
      }
    });
  });
});
