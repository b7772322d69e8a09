import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type TestContext, test } from 'node:test';
import { MIGRATIONS, migrate, schemaVersion } from './migrations.ts';
import { SqliteStateStore } from './sqlite-state-store.ts';

function tempFile(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'sightline-state-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return join(dir, 'state.sqlite');
}

function open(t: TestContext, file: string): SqliteStateStore {
  let time = 1000;
  const store = new SqliteStateStore(file, () => time++);
  t.after(() => store.close());
  return store;
}

const key = { kind: 'dashboard', tenant: 'default', id: 'home' };

test('each change is a version, kept as history, and survives reopening', async t => {
  const file = tempFile(t);
  const store = open(t, file);
  assert.equal(await store.get(key), null);
  assert.equal((await store.put({ ...key, value: { a: 1 }, author: 'ann' })).version, 1);
  assert.equal((await store.put({ ...key, value: { a: 2 }, author: 'bob', note: 'raise' })).version, 2);
  store.close();
  const again = open(t, file);
  const now = await again.get(key);
  assert.deepEqual([now?.version, now?.value, now?.author, now?.note], [2, { a: 2 }, 'bob', 'raise']);
  assert.deepEqual(
    (await again.history(key, 10)).map(o => [o.version, o.value]),
    [
      [2, { a: 2 }],
      [1, { a: 1 }],
    ],
  );
  assert.deepEqual((await again.getVersion(key, 1))?.value, { a: 1 });
});

test('a change made from an old version is refused', async t => {
  const store = open(t, tempFile(t));
  await store.put({ ...key, value: 1, author: 'ann', expectedVersion: 0 });
  await assert.rejects(store.put({ ...key, value: 2, author: 'bob', expectedVersion: 0 }), {
    name: 'StateConflictError',
  });
  await assert.rejects(store.delete(key, { author: 'bob', expectedVersion: 7 }), { name: 'StateConflictError' });
  assert.equal((await store.get(key))?.value, 1);
});

test('deleting leaves history; a new object of that id goes on counting', async t => {
  const store = open(t, tempFile(t));
  await store.put({ ...key, value: 1, author: 'ann' });
  assert.equal(await store.delete(key, { author: 'ann' }), true);
  assert.equal(await store.delete(key, { author: 'ann' }), false);
  assert.equal(await store.get(key), null);
  assert.deepEqual(await store.list('dashboard', null), []);
  const back = await store.put({ ...key, value: 2, author: 'ann', expectedVersion: 0 });
  assert.equal(back.version, 3);
  assert.deepEqual(
    (await store.history(key, 10)).map(o => o.deleted),
    [false, true, false],
  );
});

test('lists are per kind and tenant, ordered; a failing batch changes nothing', async t => {
  const store = open(t, tempFile(t));
  await store.putAll([
    { kind: 'k', tenant: 'b', id: '2', value: 1, author: '' },
    { kind: 'k', tenant: 'a', id: '1', value: 1, author: '' },
    { kind: 'other', tenant: 'a', id: '0', value: 1, author: '' },
  ]);
  assert.deepEqual(
    (await store.list('k', null)).map(o => o.id),
    ['1', '2'],
  );
  assert.deepEqual(
    (await store.list('k', 'b')).map(o => o.id),
    ['2'],
  );
  await assert.rejects(
    store.putAll([
      { kind: 'k', tenant: 'a', id: '3', value: 1, author: '' },
      { kind: 'k', tenant: 'a', id: '1', value: 9, author: '', expectedVersion: 5 },
    ]),
  );
  assert.deepEqual(
    (await store.list('k', 'a')).map(o => o.id),
    ['1'],
  );
  await assert.rejects(store.put({ kind: 'k', tenant: '../x', id: '1', value: 1, author: '' }), RangeError);
  await assert.rejects(store.put({ kind: 'k', tenant: 'a', id: '1', value: null, author: '' }), RangeError);
});

test('prune keeps the newest versions and forgets what was deleted long ago', async t => {
  const store = open(t, tempFile(t));
  for (let i = 0; i < 5; i++) await store.put({ ...key, value: i, author: '' });
  const gone = { ...key, id: 'gone' };
  await store.put({ ...gone, value: 1, author: '' });
  await store.delete(gone, { author: '' });
  await store.prune({ keep: 2, deletedBeforeMs: 1e9 });
  assert.deepEqual(
    (await store.history(key, 10)).map(o => o.version),
    [5, 4],
  );
  assert.deepEqual(await store.history(gone, 10), []);
  assert.equal((await store.get(key))?.value, 4);
});

test('a file of schema version 1 is upgraded with its contents', async t => {
  const file = tempFile(t);
  const db = new DatabaseSync(file);
  migrate(db, file, MIGRATIONS.slice(0, 1));
  const row = `('dashboard', 'default', 'home', 1, '{"old":true}', 'ann', 5)`;
  db.exec(`INSERT INTO object VALUES ${row}; INSERT INTO history VALUES ${row}`);
  db.close();
  const store = open(t, file);
  const object = await store.get(key);
  assert.deepEqual([object?.value, object?.note, object?.timeMs], [{ old: true }, '', 5]);
  assert.equal((await store.put({ ...key, value: 1, author: 'b', note: 'n' })).version, 2);
});

test('a file of a newer program is refused and left as it was', t => {
  const file = tempFile(t);
  const db = new DatabaseSync(file);
  db.exec('PRAGMA user_version = 99');
  db.close();
  assert.throws(() => new SqliteStateStore(file, Date.now), { name: 'StateVersionError', message: /newer Sightline/ });
  const after = new DatabaseSync(file);
  assert.equal(schemaVersion(after), 99);
  after.close();
});

test('a failing migration leaves the old schema', t => {
  const file = tempFile(t);
  const db = new DatabaseSync(file);
  const broken = [
    ...MIGRATIONS,
    () => {
      throw new Error('no');
    },
  ];
  assert.throws(() => migrate(db, file, broken), /cannot upgrade/);
  assert.equal(schemaVersion(db), 0);
  assert.deepEqual(db.prepare(`SELECT name FROM sqlite_master`).all(), []);
  db.close();
});

test('a backup opens as a store of its own', async t => {
  const file = tempFile(t);
  const store = open(t, file);
  await store.put({ ...key, value: 7, author: '' });
  await store.backup(`${file}.bak`);
  assert.equal((await open(t, `${file}.bak`).get(key))?.value, 7);
});
