/** `sightline tsdb inspect | verify | quarantine` on a folder that the whole program wrote and this test damaged. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { remoteWrite } from '../support/remote-write.ts';
import { runCli, Sightline } from '../support/sightline.ts';
import { contentsOf } from '../tsdb-import/support.ts';

const CONFIG = 'host: {enabled: false}\nself: {interval: 1h}\n';
const NOW = Math.floor(Date.now() / 1000) * 1000;
/** In two windows that are never merged: a block each. */
const WINDOW_MS = 72 * 3_600_000;
const SECOND = (Math.floor(NOW / WINDOW_MS) - 1) * WINDOW_MS + 1.5 * 3_600_000;
const FIRST = SECOND - WINDOW_MS;

/** 30 series with exemplars and metadata; `samples` of each, 15 s apart up to `endMs`. */
async function write(server: Sightline, metric: string, endMs: number, samples: number): Promise<void> {
  const timestamps = Array.from({ length: samples }, (_, k) => endMs - (samples - 1 - k) * 15_000);
  const series = Array.from({ length: 30 }, (_, i) => ({
    labels: ['__name__', metric, 'i', String(i)],
    timestamps,
    values: Float64Array.from(timestamps, (_t, k) => Math.sqrt(k + i)),
    exemplars: [{ labels: ['trace_id', `${metric}${i}`], value: i, timestampMs: endMs }],
  }));
  const metadata = [{ type: 2, metric, help: `About ${metric}.`, unit: '' }];
  assert.ok((await remoteWrite(server.url, series, { metadata })).status < 300);
}

/** Two blocks, one with a deletion, and as much again in the head; killed, so that its log is as it was written. */
async function writtenFolder(t: TestContext): Promise<{ server: Sightline; data: string; shard: string }> {
  const server = await Sightline.start(t, { config: CONFIG, args: ['--admin-api', '--shards', '1'] });
  await write(server, 'first', FIRST, 200);
  await server.post('/api/v1/admin/tsdb/flush', '');
  await write(server, 'second', SECOND, 200);
  await server.post('/api/v1/admin/tsdb/flush', '');
  await server.post('/api/v1/admin/tsdb/delete_series?match[]=second{i="3"}', '');
  for (let k = 20; k >= 0; k--) await write(server, 'third', NOW - k * 60_000, 4);
  await server.kill();
  const data = join(server.dir, 'data');
  return { server, data, shard: join(data, 'tsdb', 'shard-000') };
}

function flip(path: string, at: number): void {
  const bytes = readFileSync(path);
  const place = at < 0 ? bytes.length + at : at;
  bytes[place] = (bytes[place] as number) ^ 0x55;
  writeFileSync(path, bytes);
}

function filesIn(dir: string, ending: string): string[] {
  return readdirSync(dir, { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith(ending) && !name.includes('quarantine'))
    .map(name => join(dir, name))
    .sort();
}

test('inspect lists what there is; verify finds nothing in a sound folder; neither changes a byte', async t => {
  const { data } = await writtenFolder(t);
  const before = contentsOf(data);
  const inspected = await runCli(['tsdb', 'inspect', '--data-dir', data]);
  assert.equal(inspected.code, 0, inspected.stderr);
  assert.match(inspected.stdout, /1 shards/);
  assert.match(inspected.stdout, /series log: \d+ series/);
  assert.match(inspected.stdout, /WAL segment.*2520 samples|WAL segments: \d+ files/);
  assert.match(inspected.stdout, /exemplar segments?.* exemplars/);
  assert.match(inspected.stdout, / default +raw +\S+ to \S+ +level 1 +30 series +6000 samples/);
  assert.match(inspected.stdout, /1 series with deletions/);
  assert.match(inspected.stdout, /tenant default: \d+ blocks, 12000 samples/);
  const verified = await runCli(['tsdb', 'verify', '--data-dir', data]);
  assert.equal(verified.code, 0, verified.stdout);
  assert.match(verified.stdout, /no damage found/);
  assert.deepEqual(contentsOf(data), before);
});

test('verify names every damaged file and place, quarantine sets them aside, the rest serves', async t => {
  const { server, data, shard } = await writtenFolder(t);
  const [tombstones] = filesIn(shard, '.tombstones');
  const stoned = (tombstones as string).replace('.tombstones', '.block');
  const sound = filesIn(join(shard, 'blocks', 'default'), '.block').find(path => path !== stoned) as string;
  const wal = filesIn(shard, '.wal')[0] as string;
  const exemplars = filesIn(shard, '.exemplars')[0] as string;
  const metadata = join(shard, 'metadata', 'metadata.log');
  flip(sound, 40);
  flip(tombstones as string, -1);
  flip(wal, Math.floor(readFileSync(wal).length / 2));
  flip(exemplars, 60);
  flip(metadata, 40);
  const before = contentsOf(data);

  const verified = await runCli(['tsdb', 'verify', '--data-dir', data]);
  assert.equal(verified.code, 1, verified.stdout);
  assert.deepEqual(contentsOf(data), before);
  for (const path of [sound, tombstones as string, wal, exemplars, metadata]) {
    const line = verified.stdout.split('\n').find(text => text.startsWith(path));
    assert.match(line ?? '', /at byte \d+/, `${path} in\n${verified.stdout}`);
  }
  assert.match(verified.stdout, /5 damaged files/);

  const moved = await runCli(['tsdb', 'quarantine', '--data-dir', data]);
  assert.equal(moved.code, 0, moved.stdout + moved.stderr);
  assert.match(moved.stdout, /5 files moved aside/);
  // With damaged tombstones nobody knows what was deleted: the block goes too.
  for (const path of [sound, stoned, tombstones as string]) {
    assert.ok(!existsSync(path) && existsSync(join(shard, 'quarantine', basename(path))), path);
  }
  for (const path of [exemplars, metadata]) assert.ok(existsSync(join(shard, 'quarantine', basename(path))), path);
  assert.ok(readdirSync(join(shard, 'head', 'quarantine')).length > 0);
  const again = await runCli(['tsdb', 'verify', '--data-dir', data]);
  assert.equal(again.code, 0, again.stdout);

  await server.launch();
  const third = await server.query('count(count_over_time(third[1h]))', NOW / 1000);
  assert.equal(third[0]?.value[1], '30');
  assert.deepEqual(await server.query('{__name__=~"first|second"}', FIRST / 1000), []);
  assert.deepEqual(await server.query('{__name__=~"first|second"}', SECOND / 1000), []);
});

test('the tools refuse a folder that is in use or none of ours', async t => {
  const server = await Sightline.start(t, { config: CONFIG });
  const inUse = await runCli(['tsdb', 'quarantine', '--data-dir', join(server.dir, 'data')]);
  assert.equal(inUse.code, 1);
  assert.match(inUse.stderr, /in use by process/);
  assert.equal((await runCli(['tsdb', 'inspect', '--data-dir', join(server.dir, 'data')])).code, 0);
  for (const action of ['inspect', 'verify', 'quarantine']) {
    const missing = await runCli(['tsdb', action, '--data-dir', join(server.dir, 'missing')]);
    assert.equal(missing.code, 1, action);
    assert.match(missing.stderr, /is not a Sightline data folder/);
    assert.ok(!existsSync(join(server.dir, 'missing')), action);
  }
});
