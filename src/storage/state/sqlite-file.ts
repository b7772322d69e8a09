/**
 * The state database as a file: opened, brought to the newest schema, its statements prepared; also on a disk without a byte left.
 *
 * In WAL mode connections share an index in a file of its own, `-shm`, made anew by the first of them. Where there is no room for it,
 * a connection can do without: it keeps the index to itself and locks all others out (`alone`). That is for reading what is there;
 * SQLite refuses changes by itself until there is room.
 */
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { migrate } from './migrations.ts';

/** SQLite's result codes: the disk is full, a file could not be extended or written, a file could not be made. */
const SQLITE_FULL = 13;
const SQLITE_IOERR = 10;
const SQLITE_CANTOPEN = 14;

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
  /** Others are locked out, because there was no room to share. */
  alone: boolean;
  run: { [name in keyof typeof STATEMENTS]: StatementSync };
}

/** Opens or creates the file and upgrades its schema. */
export function openSqliteFile(file: string): SqliteFile {
  try {
    return open(file, false);
  } catch (error) {
    if (!mayBeFull(error)) throw error;
    try {
      return open(file, true);
    } catch {
      // It was something else, or there is not even room for that.
      throw error;
    }
  }
}

function open(file: string, alone: boolean): SqliteFile {
  const db = new DatabaseSync(file);
  try {
    if (alone) db.exec('PRAGMA locking_mode = EXCLUSIVE');
    db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000');
    migrate(db, file);
    const run = Object.entries(STATEMENTS).map(([name, sql]) => [name, db.prepare(sql)] as const);
    return { db, alone, run: Object.fromEntries(run) as SqliteFile['run'] };
  } catch (error) {
    db.close();
    throw error;
  }
}

/** Whether an error of SQLite is one that a full disk brings. */
export function mayBeFull(error: unknown): boolean {
  const { errcode, cause } = (error ?? {}) as { errcode?: number; cause?: unknown };
  if (errcode !== undefined) return [SQLITE_FULL, SQLITE_IOERR, SQLITE_CANTOPEN].includes(errcode & 0xff);
  return cause !== undefined && mayBeFull(cause);
}
