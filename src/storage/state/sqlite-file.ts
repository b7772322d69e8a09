/**
 * The state database as a file: opened, brought to the newest schema, its statements prepared; also on a disk without a byte left.
 *
 * In WAL mode connections share an index in a file of its own, `-shm`, made anew by the first of them. Where there is no room for it,
 * a connection can do without: it keeps the index to itself and locks all others out. Where not even the log (`-wal`) can be made, an
 * orderly end has left the whole in one file, which is read as one that nobody changes. Both are makeshifts for reading what is
 * there: SQLite refuses changes by itself.
 */
import { statSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import { hasRoom } from '../../lib/disk-space.ts';
import { MIGRATIONS, migrate, schemaVersion } from './migrations.ts';

/** SQLite's result codes: the disk is full, a file could not be extended or written, a file could not be made. */
const SQLITE_FULL = 13;
const SQLITE_IOERR = 10;
const SQLITE_CANTOPEN = 14;
/** What a change to a file opened for reading gets. */
const SQLITE_READONLY = 8;

const COLUMNS = 'kind, tenant, id, version, json, author, note, time_ms';

const STATEMENTS = {
  getRow: `SELECT ${COLUMNS} FROM object WHERE kind = ? AND tenant = ? AND id = ?`,
  getOld: `SELECT ${COLUMNS} FROM history WHERE kind = ? AND tenant = ? AND id = ? AND version = ?`,
  upsert: `INSERT OR REPLACE INTO object (${COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
  remember: `INSERT INTO history (${COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
  listAll: `SELECT ${COLUMNS} FROM object WHERE kind = ? AND json IS NOT NULL ORDER BY id, tenant`,
  listTenant: `SELECT ${COLUMNS} FROM object WHERE kind = ? AND tenant = ? AND json IS NOT NULL ORDER BY id`,
  listHistory: `SELECT ${COLUMNS} FROM history WHERE kind = ? AND tenant = ? AND id = ? ORDER BY version DESC LIMIT ?`,
  forget: 'DELETE FROM history WHERE kind = ? AND tenant = ? AND id = ? AND version < ?',
  remove: 'DELETE FROM object WHERE kind = ? AND tenant = ? AND id = ?',
} as const;

export interface SqliteFile {
  db: DatabaseSync;
  /** There was no room to open it as usual. */
  makeshift: boolean;
  run: { [name in keyof typeof STATEMENTS]: StatementSync };
}

/** Opens or creates the file and upgrades its schema. */
export function openSqliteFile(file: string): SqliteFile {
  try {
    return open(file, false);
  } catch (error) {
    if (!mayBeFull(error) || hasRoom(dirname(file))) throw error;
    for (const makeshift of [() => open(file, true), () => openUnchanging(file)]) {
      try {
        return makeshift();
      } catch {
        // It was something else, or there is not even room for that: the first error tells.
      }
    }
    throw error;
  }
}

function open(file: string, alone: boolean): SqliteFile {
  const db = new DatabaseSync(file);
  try {
    if (alone) db.exec('PRAGMA locking_mode = EXCLUSIVE');
    db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000');
    migrate(db, file);
    return { db, makeshift: alone, run: prepared(db) };
  } catch (error) {
    db.close();
    throw error;
  }
}

function openUnchanging(file: string): SqliteFile {
  // What is in the log would be left out.
  if ((statSync(`${file}-wal`, { throwIfNoEntry: false })?.size ?? 0) > 0) throw new Error(`${file} has a log`);
  const url = pathToFileURL(file);
  url.searchParams.set('immutable', '1');
  const db = new DatabaseSync(url, { readOnly: true });
  try {
    if (schemaVersion(db) !== MIGRATIONS.length) throw new Error(`${file} must be upgraded first`);
    return { db, makeshift: true, run: prepared(db) };
  } catch (error) {
    db.close();
    throw error;
  }
}

function prepared(db: DatabaseSync): SqliteFile['run'] {
  const run = Object.entries(STATEMENTS).map(([name, sql]) => [name, db.prepare(sql)] as const);
  return Object.fromEntries(run) as SqliteFile['run'];
}

/** Whether an error of SQLite is one that a full disk brings. */
export function mayBeFull(error: unknown): boolean {
  const { errcode, cause } = (error ?? {}) as { errcode?: number; cause?: unknown };
  if (errcode !== undefined) {
    return [SQLITE_FULL, SQLITE_IOERR, SQLITE_CANTOPEN, SQLITE_READONLY].includes(errcode & 0xff);
  }
  return cause !== undefined && mayBeFull(cause);
}
