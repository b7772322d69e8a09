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
