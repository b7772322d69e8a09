/** The service unit: read by systemd's own checker where there is one, and held together with the program's defaults. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadConfig } from '../../src/config/load.ts';
import { needs } from '../support/programs.ts';
import { runProgram } from '../support/sightline.ts';

const FOLDER = join(import.meta.dirname, '..', '..', 'deploy', 'systemd');
const unit = readFileSync(join(FOLDER, 'sightline.service'), 'utf8');

function setting(name: string): string {
  const found = new RegExp(`^${name}=(.*)$`, 'm').exec(unit);
  assert.ok(found !== null, `${name} is not set`);
  return found[1] as string;
}

test('stopping gets more time than running requests do', () => {
  const { config } = loadConfig(join(FOLDER, 'sightline.yaml'), {}, () => '');
  assert.ok(Number(setting('TimeoutStopSec')) * 1000 >= 2 * config.http.shutdown_grace);
});

test('it is held to its folders, and may compile', () => {
  assert.equal(setting('ProtectSystem'), 'strict');
  assert.equal(setting('StateDirectory'), 'sightline');
  assert.match(setting('ExecStart'), / --data-dir \/var\/lib\/sightline$/);
  assert.match(setting('ExecReload'), /-HUP \$MAINPID$/);
  assert.doesNotMatch(unit, /^MemoryDenyWriteExecute=(yes|true|1)/m);
});

test('systemd has nothing to say against it', { skip: needs('systemd-analyze') }, async t => {
  const dir = mkdtempSync(join(tmpdir(), 'sightline-unit-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const file = join(dir, 'sightline.service');
  // The checker looks for the program, which is not installed here.
  writeFileSync(file, unit.replace('/opt/sightline/node_modules/node/bin/node', process.execPath));
  const { code, stdout, stderr } = await runProgram('systemd-analyze', ['verify', '--man=no', file]);
  assert.equal(code, 0, stdout + stderr);
  assert.doesNotMatch(stderr, /sightline\.service/);
});
