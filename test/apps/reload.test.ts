/** What a reload changes in a running process. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { until } from '../support/programs.ts';
import { Sightline } from '../support/sightline.ts';

test('the host collector switched off: its series end at once, and come back', {
  skip: process.platform !== 'linux',
}, async t => {
  const config = (enabled: boolean): string => `host: {enabled: ${enabled}, interval: 1s}\nself: {interval: 1h}\n`;
  const server = await Sightline.start(t, { config: config(true), args: ['--config', 'sightline.yaml'] });
  const set = async (enabled: boolean): Promise<void> => {
    writeFileSync(join(server.dir, 'sightline.yaml'), config(enabled));
    assert.equal((await server.post('/-/reload', '')).status, 200);
  };
  const series = async (): Promise<number> => Number((await server.query('count({job="node"})'))[0]?.value[1] ?? 0);
  await until('host metrics', async () => (await series()) > 100);
  await set(false);
  // Not after the look-back of five minutes: the markers count.
  await until('the end of all', async () => (await series()) === 0);
  await set(true);
  await until('host metrics again', async () => (await series()) > 100);
});

test('the level of the log follows a reload, in the shard threads too', async t => {
  const config = (level: string): string =>
    `host: {enabled: false}\nself: {interval: 1h}\nhttp: {admin_api: true}\nstorage: {shards: 1}\nlog: {level: ${level}}\n`;
  const server = await Sightline.start(t, { config: config('error'), args: ['--config', 'sightline.yaml'] });
  let n = 0;
  // A snapshot flushes the head, which the shard's thread tells at level info.
  const flush = async (): Promise<string> => {
    const from = server.stdout.length;
    const row = `flushed ${n} ${Date.now() - 60_000 * (10 - n++)}\n`;
    assert.equal((await server.post('/api/v1/import/prometheus', row)).status, 204);
    assert.equal((await server.post('/api/v1/admin/tsdb/snapshot', '')).status, 200);
    return server.stdout.slice(from);
  };
  const set = async (level: string): Promise<void> => {
    writeFileSync(join(server.dir, 'sightline.yaml'), config(level));
    assert.equal((await server.post('/-/reload', '')).status, 200);
  };
  assert.doesNotMatch(await flush(), /"info"/);
  await set('info');
  await until('the line of a flush', async () =>
    /"level":"info".*"part":"shard".*flushed the head/.test(await flush()),
  );
  await set('error');
  const from = server.stdout.length;
  await flush();
  assert.doesNotMatch(server.stdout.slice(from), /flushed the head/);
});
