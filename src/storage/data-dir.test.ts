import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { DataDir, type DataDirError, FORMAT_FILE, FORMAT_VERSION } from './data-dir.ts';

function tempDir(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'sightline-data-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return join(dir, 'data');
}

const base = { shards: 2, version: '0.1.0', now: () => 1_700_000_000_000 };

test('a new folder gets a format file with a secret of its own; opening again keeps both', t => {
  const path = tempDir(t);
  const first = DataDir.open({ ...base, path });
  assert.equal(first.created, true);
  assert.equal(first.identitySecret.length, 32);
  assert.equal(statSync(join(path, FORMAT_FILE)).mode & 0o777, 0o600);
  first.close();
  const second = DataDir.open({ ...base, path, shards: 7 });
  assert.deepEqual([second.created, second.shards], [false, 2]);
  assert.deepEqual(second.identitySecret, first.identitySecret);
  assert.deepEqual(DataDir.inspect(path).identitySecret, first.identitySecret);
  second.close();
  const other = DataDir.open({ ...base, path: tempDir(t) });
  assert.notDeepEqual(other.identitySecret, first.identitySecret);
  other.close();
});

test('a second opener is told who holds the folder, from this process and from another', t => {
  const path = tempDir(t);
  const held = DataDir.open({ ...base, path });
  const locked = { name: 'DataDirError', code: 'locked', message: new RegExp(`process ${process.pid} `) };
  assert.throws(() => DataDir.open({ ...base, path }), locked);
  const script = `import { DataDir } from ${JSON.stringify(new URL('./data-dir.ts', import.meta.url).href)};
    try { DataDir.open({ path: ${JSON.stringify(path)}, shards: 1, version: 'x', now: Date.now }); console.log('opened'); }
    catch (error) { console.log(error.code + ': ' + error.message); }`;
  const run = (): string =>
    spawnSync(process.execPath, ['--input-type=module-typescript', '-e', script], { encoding: 'utf8' }).stdout;
  assert.match(run(), new RegExp(`^locked: .*process ${process.pid} `));
  held.close();
  assert.match(run(), /^opened/);
  // The other process ended without closing: the lock went with it.
  DataDir.open({ ...base, path }).close();
});

test('a folder of a newer format is refused and not touched', t => {
  const path = tempDir(t);
  DataDir.open({ ...base, path }).close();
  const file = join(path, FORMAT_FILE);
  const newer = readFileSync(file, 'utf8').replace(`"format": ${FORMAT_VERSION}`, `"format": ${FORMAT_VERSION + 1}`);
  writeFileSync(file, newer);
  assert.throws(() => DataDir.open({ ...base, path }), { code: 'newer', message: /newer Sightline/ });
  assert.equal(readFileSync(file, 'utf8'), newer);
});

test('a folder that holds something else is refused', t => {
  const path = tempDir(t);
  DataDir.open({ ...base, path }).close();
  rmSync(join(path, FORMAT_FILE));
  DataDir.open({ ...base, path }).close();
  rmSync(join(path, FORMAT_FILE));
  writeFileSync(join(path, 'thesis.txt'), '');
  assert.throws(() => DataDir.open({ ...base, path }), { code: 'foreign', message: /thesis\.txt/ });
  assert.equal(existsSync(join(path, FORMAT_FILE)), false);
});

test('a damaged format file is named, not replaced', t => {
  const path = tempDir(t);
  DataDir.open({ ...base, path }).close();
  const file = join(path, FORMAT_FILE);
  for (const text of ['', '{}', '[]', 'null', '{"format":1}', '{"format":1,"shards":2,"identitySecret":"abc"}']) {
    writeFileSync(file, text);
    assert.throws(
      () => DataDir.open({ ...base, path }),
      (error: DataDirError) => error.code === 'damaged',
      text,
    );
    assert.equal(readFileSync(file, 'utf8'), text);
  }
});

test('an older folder is upgraded step by step; a step that fails is tried again next time', t => {
  const path = tempDir(t);
  DataDir.open({ ...base, path }).close();
  const ran: string[] = [];
  let broken = true;
  const upgrades = [
    () => {
      ran.push('1->2');
    },
    () => {
      if (broken) throw new Error('disk full');
      ran.push('2->3');
    },
  ];
  assert.throws(() => DataDir.open({ ...base, path, upgrades }), /disk full/);
  broken = false;
  const dir = DataDir.open({ ...base, path, upgrades });
  assert.deepEqual(ran, ['1->2', '2->3']);
  assert.equal(dir.upgradedFrom, 2);
  dir.close();
  assert.throws(() => DataDir.open({ ...base, path }), { code: 'newer' });
});
