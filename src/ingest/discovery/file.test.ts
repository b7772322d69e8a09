import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { discoveryRig } from '../../../test/support/discovery-rig.ts';

function folder(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'sightline-sd-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** As programs should: readers see the old file or the new one. */
function put(dir: string, name: string, text: string): void {
  writeFileSync(join(dir, `.${name}.tmp`), text);
  renameSync(join(dir, `.${name}.tmp`), join(dir, name));
}

test('JSON and YAML files by pattern; new, changed and removed ones are seen', async t => {
  const dir = folder(t);
  put(dir, 'a.json', '[{"targets": ["a:1", "a:2"], "labels": {"x": "y"}}, {"targets": ["b:1"]}]');
  put(dir, 'b.yml', '- targets: ["c:1"]\n  labels: {version: 1.10, on: yes}\n');
  const files = ['*.json', 'b.yml', 'missing/*.yml'];
  const rig = discoveryRig(t, { mechanism: 'file', files, refreshIntervalMs: 300_000, baseDir: dir });
  await rig.until(() => rig.addresses().length === 4);
  assert.deepEqual(rig.found()[`${dir}/a.json:0`], [
    { x: 'y', __meta_filepath: `${dir}/a.json`, __address__: 'a:1' },
    { x: 'y', __meta_filepath: `${dir}/a.json`, __address__: 'a:2' },
  ]);
  assert.deepEqual(rig.found()[`${dir}/b.yml:0`], [
    { version: '1.10', on: 'yes', __meta_filepath: `${dir}/b.yml`, __address__: 'c:1' },
  ]);
  put(dir, 'new.json', '[{"targets": ["n:1"]}]');
  await rig.until(() => rig.addresses().includes('n:1'), 'a new file');
  put(dir, 'a.json', '[{"targets": ["a:2"]}]');
  await rig.until(() => rig.addresses().join() === 'a:2,c:1,n:1', 'a changed file');
  rmSync(join(dir, 'new.json'));
  await rig.until(() => rig.addresses().join() === 'a:2,c:1', 'a removed file');
  mkdirSync(join(dir, 'missing'));
  put(join(dir, 'missing'), 'late.yml', '- targets: [late:1]\n');
  await rig.until(() => rig.addresses().includes('late:1'), 'a file in a folder that came later');
});

test('a file that cannot be used keeps what it had, and is told until it is mended', async t => {
  const dir = folder(t);
  put(dir, 'a.json', '[{"targets": ["a:1"]}]');
  put(dir, 'b.yml', '- targets: [b:1]\n');
  const rig = discoveryRig(t, {
    mechanism: 'file',
    files: ['a.json', 'b.yml'],
    refreshIntervalMs: 60_000,
    baseDir: dir,
  });
  await rig.until(() => rig.addresses().length === 2);
  for (const bad of [
    '[{"targets": ["a:1"]}, null]',
    '[{"targets": "a:1"}]',
    '[{"target": ["a:1"]}]',
    '[{"targets": ["a:1"], "labels": {"x": 1}}]',
    '{"targets": []}',
    '[{"targets": ["a:1"]',
  ]) {
    put(dir, 'a.json', bad);
    await rig.until(() => rig.provider.status.lastError !== '', bad);
    assert.match(rig.provider.status.lastError, /a\.json: /);
    assert.deepEqual(rig.addresses(), ['a:1', 'b:1']);
    // The good one beside it goes on.
    put(dir, 'b.yml', `- targets: [b:1]\n  labels: {n: "${bad.length}"}\n`);
    await rig.until(() => rig.found()[`${dir}/b.yml:0`]?.[0]?.n === String(bad.length), 'the other file');
    assert.match(rig.provider.status.lastError, /a\.json: /);
    put(dir, 'a.json', '[{"targets": ["a:1"]}]');
    await rig.until(() => rig.provider.status.lastError === '', 'the mended file');
  }
  rmSync(join(dir, 'a.json'));
  await rig.until(() => rig.addresses().join() === 'b:1');
});

test('files of the reference suite', {
  skip: process.env.SIGHTLINE_SUITES === undefined && 'skipped: needs SIGHTLINE_SUITES',
}, async t => {
  const baseDir = join(process.env.SIGHTLINE_SUITES ?? '', '04-prom-rules-config', 'file-sd');
  const good = ['valid.json', 'valid.yml', 'valid2.yml', 'valid3.yml'];
  const rig = discoveryRig(t, { mechanism: 'file', files: good, refreshIntervalMs: 60_000, baseDir });
  await rig.until(() => rig.provider.hasSynced);
  assert.equal(rig.provider.status.lastError, '');
  assert.deepEqual(Object.keys(rig.found()).length, 9);
  for (const bad of ['invalid_nil.json', 'invalid_nil.yml']) {
    const refused = discoveryRig(t, { mechanism: 'file', files: [bad], refreshIntervalMs: 60_000, baseDir });
    await refused.until(() => refused.provider.status.lastError !== '');
    assert.match(refused.provider.status.lastError, /target group 2 is empty/);
    assert.deepEqual(refused.addresses(), []);
  }
});
