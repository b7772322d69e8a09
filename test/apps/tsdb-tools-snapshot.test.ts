/** The whole program: a snapshot is a data folder of its own, with everything in it; deletes reach head and blocks and last. */
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type TestContext, test } from 'node:test';
import { SqliteStateStore } from '../../src/storage/state/sqlite-state-store.ts';
import { remoteWrite } from '../support/remote-write.ts';
import { runCli, Sightline } from '../support/sightline.ts';
import { assertSameRows, rawSamples, sampleCount } from '../tsdb-import/support.ts';

const CONFIG = 'host: {enabled: false}\nself: {interval: 1h}\n';
const HOUR_MS = 3_600_000;

/** `series` series with a sample every 15 s over [fromMs, toMs), the value telling series and time. */
async function write(server: Sightline, fromMs: number, toMs: number, series = 20): Promise<void> {
  const timestamps: number[] = [];
  for (let t = fromMs; t < toMs; t += 15_000) timestamps.push(t);
  const batch = Array.from({ length: series }, (_, i) => ({
    labels: ['__name__', 'kept_total', 'even', String(i % 2 === 0), 'i', String(i)],
    timestamps,
    values: Float64Array.from(timestamps, t => i * 1e6 + (t - fromMs) / 1000),
    exemplars: [{ labels: ['trace_id', `t${i}`], value: i, timestampMs: fromMs }],
  }));
  const metadata = [{ type: 1, metric: 'kept_total', help: 'Things kept.', unit: '' }];
  const { status, body } = await remoteWrite(server.url, batch, { metadata });
  assert.ok(status < 300, body);
}

async function start(t: TestContext): Promise<Sightline> {
  return Sightline.start(t, { config: CONFIG, args: ['--admin-api', '--shards', '2'] });
}

test('a snapshot starts as a data folder of its own, with the same answers', async t => {
  const server = await start(t);
  const now = Math.floor(Date.now() / 1000) * 1000;
  await write(server, now - 3 * HOUR_MS, now - HOUR_MS);
  assert.equal((await server.post('/api/v1/admin/tsdb/flush', '')).status, 204);
  await write(server, now - HOUR_MS, now);
  const store = new SqliteStateStore(join(server.dir, 'data', 'state', 'state.sqlite'), () => now);
  await store.put({ kind: 'dashboard', tenant: 'default', id: 'one', value: { title: 'mine' }, author: 'test' });
  await store.close();
  const want = await rawSamples(server.url, 'kept_total', '4h', now / 1000);
  assert.equal(sampleCount(want), 20 * 3 * 240);
  const { status, body } = await server.post('/api/v1/admin/tsdb/snapshot', '');
  assert.equal(status, 200, body);
  const { name } = (JSON.parse(body) as { data: { name: string } }).data;
  const exemplars = await server.get(`/api/v1/query_exemplars?query=kept_total&start=0&end=${now / 1000}`);
  const metadata = await server.get('/api/v1/metadata');
  assert.match(exemplars, /t19/);
  assert.match(metadata, /Things kept/);

  // What comes after the snapshot is not in it.
  await server.post('/api/v1/import/prometheus', `later 1 ${now}\n`);
  const copy = mkdtempSync(join(tmpdir(), 'sightline-snapshot-'));
  t.after(() => rmSync(copy, { recursive: true, force: true }));
  const folder = join(server.dir, 'data', 'snapshots', name);
  const second = await Sightline.start(t, {
    config: CONFIG,
    args: ['--admin-api'],
    prepare: dir => cpSync(folder, join(dir, 'data'), { recursive: true }),
  });
  assertSameRows(await rawSamples(second.url, 'kept_total', '4h', now / 1000), want, 'kept_total');
  assert.equal((await second.query('later', now / 1000)).length, 0);
  assert.equal(await second.get(`/api/v1/query_exemplars?query=kept_total&start=0&end=${now / 1000}`), exemplars);
  assert.equal(await second.get('/api/v1/metadata'), metadata);
  const state = new DatabaseSync(join(second.dir, 'data', 'state', 'state.sqlite'), { readOnly: true });
  assert.match(JSON.stringify(state.prepare('SELECT * FROM object').all()), /mine/);
  state.close();
  // A snapshot is independent: nothing in it changes with its origin, nor the origin with it.
  const verified = await runCli(['tsdb', 'verify', '--data-dir', folder]);
  assert.equal(verified.code, 0, verified.stdout);
});

test('deleted samples are gone from head and blocks, after a restart, and from disk after cleaning', async t => {
  const server = await start(t);
  const now = Math.floor(Date.now() / 1000) * 1000;
  await write(server, now - 3 * HOUR_MS, now - HOUR_MS);
  await server.post('/api/v1/admin/tsdb/flush', '');
  await write(server, now - HOUR_MS, now);
  const before = await rawSamples(server.url, 'kept_total', '4h', now / 1000);
  // Half of the series, the two middle quarters of the last two hours: half of it in blocks, half in the head.
  const from = (now - 1.5 * HOUR_MS) / 1000;
  const to = (now - 0.5 * HOUR_MS) / 1000;
  const deletion = `match[]=${encodeURIComponent('kept_total{even="true"}')}&start=${from}&end=${to}`;
  const answer = await server.post(`/api/v1/admin/tsdb/delete_series`, deletion, {
    'content-type': 'application/x-www-form-urlencoded',
  });
  assert.equal(answer.status, 204, answer.body);
  const want = before.map(row =>
    row.metric.even === 'false' ? row : { ...row, values: (row.values ?? []).filter(([at]) => at < from || at > to) },
  );
  assert.equal(sampleCount(before) - sampleCount(want), 10 * 241);
  const check = async (when: string): Promise<void> => {
    assertSameRows(await rawSamples(server.url, 'kept_total', '4h', now / 1000), want, when);
  };
  await check('at once');
  assert.equal(await server.stop(), 0);
  await server.launch();
  await check('after a stop');
  await server.kill();
  await server.launch();
  await check('after kill -9');
  await server.post('/api/v1/admin/tsdb/flush', '');
  await check('after a flush');
  const tombstones = (): string[] =>
    readdirSync(join(server.dir, 'data', 'tsdb'), { recursive: true, encoding: 'utf8' }).filter(name =>
      name.endsWith('.tombstones'),
    );
  const cleaned = await server.post('/api/v1/admin/tsdb/clean_tombstones', '');
  assert.equal(cleaned.status, 204, cleaned.body);
  assert.deepEqual(tombstones(), []);
  await check('after cleaning');
  await server.stop();
  const inspected = await runCli(['tsdb', 'inspect', '--data-dir', join(server.dir, 'data')]);
  assert.equal(inspected.code, 0, inspected.stderr);
  assert.match(inspected.stdout, new RegExp(`tenant default: \\d+ blocks, ${sampleCount(want)} samples`));
});
