import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../../test/support/manual-clock.ts';
import type { SlowQuery } from '../../contracts/query-service.ts';
import { ActiveQueries, type QueryStart } from './active-queries.ts';
import { FairQueue } from './fair-queue.ts';

const never = new AbortController().signal;

async function settled(): Promise<void> {
  for (let i = 0; i < 5; i++) await Promise.resolve();
}

test('a tenant runs up to its bound, then waits, then is refused', async () => {
  const queue = new FairQueue(10);
  const bounds = { concurrency: 2, waitingMax: 1 };
  const a = await queue.acquire('t', bounds, never);
  await queue.acquire('t', bounds, never);
  let third: (() => void) | null = null;
  const waiting = queue.acquire('t', bounds, never).then(release => {
    third = release;
  });
  await settled();
  assert.equal(third, null);
  await assert.rejects(queue.acquire('t', bounds, never), { name: 'QueueFullError', message: /tenant "t"/ });
  // Another tenant is not held up.
  await queue.acquire('u', bounds, never);
  a();
  await waiting;
  assert.notEqual(third, null);
  assert.deepEqual(queue.counts(), { running: 3, waiting: 0 });
});

test('free slots go to the tenant with the fewest running', async () => {
  const queue = new FairQueue(2);
  const bounds = { concurrency: 2, waitingMax: 100 };
  const order: string[] = [];
  const releases: (() => void)[] = [];
  const run = (tenant: string) =>
    queue.acquire(tenant, bounds, never).then(release => {
      order.push(tenant);
      releases.push(release);
    });
  const all = [run('big'), run('big'), run('big'), run('big'), run('big'), run('small'), run('small')];
  await settled();
  assert.deepEqual(order, ['big', 'big']);
  while (order.length < 7) {
    (releases.shift() as () => void)();
    await settled();
  }
  await Promise.all(all);
  // One each while both wait: the burst of five does not go first.
  assert.deepEqual(order.slice(2, 5), ['small', 'big', 'small']);
  for (const release of releases) release();
  assert.deepEqual(queue.counts(), { running: 0, waiting: 0 });
});

test('a waiter that is aborted leaves the queue', async () => {
  const queue = new FairQueue(1);
  const bounds = { concurrency: 1, waitingMax: 5 };
  const first = await queue.acquire('t', bounds, never);
  const abort = new AbortController();
  const waiting = queue.acquire('t', bounds, abort.signal);
  abort.abort(new Error('gone'));
  await assert.rejects(waiting, /gone/);
  assert.deepEqual(queue.counts(), { running: 1, waiting: 0 });
  first();
  first(); // A second release must not free another's slot.
  assert.deepEqual(queue.counts(), { running: 0, waiting: 0 });
});

function harness(concurrency = 1) {
  const clock = new ManualClock();
  const slow: SlowQuery[] = [];
  const queries = new ActiveQueries({
    queue: new FairQueue(concurrency),
    clock,
    idPrefix: 'q',
    slowQueryMs: 500,
    onSlowQuery: q => slow.push(q),
  });
  const start = (tenant: string, timeoutMs = 30_000): QueryStart => ({
    tenant,
    endpoint: 'query',
    query: 'up',
    startMs: 0,
    endMs: 0,
    stepMs: 0,
    timeoutMs,
    origin: 'test',
    bounds: { concurrency, waitingMax: 5 },
  });
  return { queries, clock, start, slow };
}

test('active queries are listed by tenant and can be cancelled', async () => {
  const { queries, clock, start, slow } = harness();
  const running = await queries.begin(start('a'));
  const waiting = queries.begin(start('b'));
  await clock.advance(200);
  assert.deepEqual(
    queries.list(null).map(q => [q.id, q.tenant, q.state, q.elapsedMs, q.waitedMs]),
    [
      ['q1', 'a', 'running', 200, 0],
      ['q2', 'b', 'waiting', 200, 200],
    ],
  );
  assert.equal(queries.list('b').length, 1);
  assert.equal(queries.cancel('b', 'q1'), false);
  assert.equal(queries.cancel(null, 'q9'), false);
  assert.equal(queries.cancel('a', 'q1'), true);
  assert.equal((running.signal.reason as Error).name, 'QueryCanceledError');
  assert.equal(queries.list('a')[0]?.state, 'cancelling');
  const outcome = { status: 499, samplesRead: 7, responseBytes: 0, error: 'x' };
  running.end(outcome);
  const second = await waiting;
  assert.equal(slow.length, 0);
  await clock.advance(600);
  second.end({ ...outcome, status: 200 });
  assert.equal(slow.length, 1);
  assert.equal(slow[0]?.samplesRead, 7);
  assert.equal(slow[0]?.waitedMs, 200);
  assert.deepEqual(queries.list(null), []);
  assert.equal(clock.timerCount, 0);
});

test('the deadline says whether the query waited or ran', async () => {
  const { queries, clock, start } = harness();
  const running = await queries.begin(start('a', 1000));
  const waiting = assert.rejects(queries.begin(start('a', 1000)), {
    name: 'QueueTimeoutError',
    message: /^query timed out in query queue/,
  });
  await clock.advance(1000);
  assert.equal((running.signal.reason as Error).name, 'QueryTimeoutError');
  assert.match((running.signal.reason as Error).message, /^query timed out in expression evaluation.*1s/);
  await waiting;
});

test('a client that is gone is not queued', async () => {
  const { queries, start } = harness();
  await assert.rejects(queries.begin(start('a'), AbortSignal.abort()), { name: 'QueryCanceledError' });
  assert.deepEqual(queries.list(null), []);
  await assert.rejects(queries.begin(start('a', 0)), { name: 'QueryTimeoutError' });
  assert.deepEqual(queries.list(null), []);
});

test('once evaluated, a query holds no slot and only the sending deadline', async () => {
  const { queries, clock, start } = harness();
  const first = await queries.begin(start('a', 1000));
  first.evaluated();
  const second = await queries.begin(start('a', 1000));
  await clock.advance(1000);
  assert.equal(first.signal.aborted, false);
  assert.equal(second.signal.aborted, true);
  await clock.advance(10 * 60_000);
  assert.equal(first.signal.aborted, true);
  const outcome = { status: 200, samplesRead: 0, responseBytes: 0, error: '' };
  first.end(outcome);
  second.end(outcome);
  assert.deepEqual(queries.list(null), []);
  assert.equal(clock.timerCount, 0);
});
