/** A first start that is killed at any moment leaves a folder that the next start can use. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Random } from '../support/random.ts';
import { CLI, Sightline } from '../support/sightline.ts';

const KILLS = 9;

test('a first start that is killed leaves nothing in the way of the next', async t => {
  const dir = mkdtempSync(join(tmpdir(), 'sightline-first-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const random = new Random(20261122);
  const data = join(dir, 'data');
  const config = join(dir, 'sightline.yaml');
  writeFileSync(config, 'host: {enabled: false}\n');
  const ends: string[] = [];
  for (let i = 0; i < KILLS; i++) {
    // Every third time in a folder that does not exist yet.
    if (i % 3 === 0) rmSync(data, { recursive: true, force: true });
    const args = [
      CLI,
      'serve',
      '--http',
      '127.0.0.1:0',
      '--otlp-grpc',
      'off',
      '--otlp-http',
      'off',
      '--data-dir',
      data,
      '--config',
      config,
      '--shards',
      '3',
    ];
    const child = spawn(process.execPath, args, { cwd: dir, stdio: ['ignore', 'ignore', 'pipe'] });
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', text => {
      stderr += text;
    });
    const gone = new Promise<number | null>(resolve => child.once('close', resolve));
    // From before the folder is made to after the shards are open.
    for (let waited = 0; waited < 400 && !existsSync(join(data, 'lock')); waited++) await delay(2);
    await delay(random.int(250));
    child.kill('SIGKILL');
    const code = await gone;
    assert.equal(code, null, `start ${i} ended by itself with ${code}: ${stderr}`);
    ends.push(existsSync(join(data, 'sightline-format.json')) ? 'format' : 'nothing');
  }
  const server = await Sightline.start(t, { config: 'host: {enabled: false}\n', args: ['--data-dir', data] });
  assert.equal((await server.post('/api/v1/import/prometheus', 'a 1\n')).status, 204);
  assert.equal(await server.stop(), 0);
  t.diagnostic(`killed with ${ends.join(', ')}`);
});
