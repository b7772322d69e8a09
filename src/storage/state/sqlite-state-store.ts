/**
 * SqliteStateStore: the embedded StateStore, one SQLite file in WAL mode.
 *
 * Calls are synchronous underneath (a few rows each; no thread pool to queue in) and keep the promise shape of the port for
 * stores across a network. `synchronous=FULL`: what people edit survives power loss, at one fsync a change.
 */
import { DatabaseSync, type StatementSync, backup as sqliteBackup } from 'node:sqlite';
import {
  StateConflictError,
  type StateDelete,
  type StateKey,
  type StateKind,
  type StateObject,
  type StateStore,
  type StateWrite,
} from '../../contracts/state-store.ts';
import { isValidTenant, type TenantId } from '../../model/tenant.ts';
import { migrate } from './migrations.ts';

/** A document's size as JSON text, bytes: far over any dashboard, far under what would stall the thread. */
const DOCUMENT_BYTES_MAX = 8 << 20;

interface Row {
  kind: string;
  tenant: string;
  id: string;
  version: number;
  json: string | null;
  author: string;
  note: string;
  time_ms: number;
}

const COLUMNS = 'kind, tenant, id, version, json, author, note, time_ms';

export class SqliteStateStore implements StateStore {
  private readonly db: DatabaseSync;
  private readonly now: () => number;
  private readonly getRow: StatementSync;
  private readonly getOld: StatementSync;
  private readonly upsert: StatementSync;
  private readonly remember: StatementSync;
  private readonly listAll: StatementSync;
  private readonly listTenant: StatementSync;
  private readonly listHistory: StatementSync;
  private readonly forget: StatementSync;
  private readonly remove: StatementSync;

  /** Opens or creates the file and upgrades its schema. */
  constructor(file: string, now: () => number) {
    this.now = now;
    const db = new DatabaseSync(file);
    this.db = db;
    try {
      db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000');
      migrate(db, file);
      this.getRow = db.prepare(`SELECT ${COLUMNS} FROM object WHERE kind = ? AND tenant = ? AND id = ?`);
      this.getOld = db.prepare(
        `SELECT ${COLUMNS} FROM history WHERE kind = ? AND tenant = ? AND id = ? AND version = ?`,
      );
      this.upsert = db.prepare(`INSERT OR REPLACE INTO object (${COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`);
      this.remember = db.prepare(`INSERT INTO history (${COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`);
      this.listAll = db.prepare(
        `SELECT ${COLUMNS} FROM object WHERE kind = ? AND json IS NOT NULL ORDER BY id, tenant`,
      );
      this.listTenant = db.prepare(
        `SELECT ${COLUMNS} FROM object WHERE kind = ? AND tenant = ? AND json IS NOT NULL ORDER BY id`,
      );
      this.listHistory = db.prepare(
        `SELECT ${COLUMNS} FROM history WHERE kind = ? AND tenant = ? AND id = ? ORDER BY version DESC LIMIT ?`,
      );
      this.forget = db.prepare('DELETE FROM history WHERE kind = ? AND tenant = ? AND id = ? AND version < ?');
      this.remove = db.prepare('DELETE FROM object WHERE kind = ? AND tenant = ? AND id = ?');
    } catch (error) {
      db.close();
      throw error;
    }
  }

  async get(key: StateKey): Promise<StateObject | null> {
    const row = this.current(key);
    return row === null || row.json === null ? null : toObject(row);
  }

  async list(kind: StateKind, tenant: TenantId | null): Promise<StateObject[]> {
    const rows = tenant === null ? this.listAll.all(kind) : this.listTenant.all(kind, tenant);
    return (rows as unknown as Row[]).map(toObject);
  }

  async put(write: StateWrite): Promise<StateObject> {
    const [stored] = await this.putAll([write]);
    return stored as StateObject;
  }

  async putAll(writes: readonly StateWrite[]): Promise<StateObject[]> {
    const documents = writes.map(checkedDocument);
    return this.transaction(() =>
      writes.map((write, i) => {
        const stored = this.change(write, documents[i] as string, write.author, write.note, write.expectedVersion);
        if (write.keepHistory === false) this.forget.run(write.kind, write.tenant, write.id, stored.version);
        return stored;
      }),
    );
  }

  async delete(key: StateKey, change: StateDelete): Promise<boolean> {
    return this.transaction(() => {
      const row = this.current(key);
      if (row === null || row.json === null) return false;
      const deleted = this.change(key, null, change.author, change.note, change.expectedVersion);
      if (change.keepHistory === false) {
        this.forget.run(key.kind, key.tenant, key.id, deleted.version + 1);
        this.remove.run(key.kind, key.tenant, key.id);
      }
      return true;
    });
  }

  async history(key: StateKey, limit: number): Promise<StateObject[]> {
    return (this.listHistory.all(key.kind, key.tenant, key.id, limit) as unknown as Row[]).map(toObject);
  }

  async getVersion(key: StateKey, version: number): Promise<StateObject | null> {
    const row = this.getOld.get(key.kind, key.tenant, key.id, version) as unknown as Row | undefined;
    return row === undefined ? null : toObject(row);
  }

  async prune(options: { keep: number; deletedBeforeMs: number }): Promise<number> {
    return this.transaction(() => {
      const old = this.db
        .prepare(
          `DELETE FROM history WHERE version <=
             (SELECT version FROM object o WHERE o.kind = history.kind AND o.tenant = history.tenant AND o.id = history.id) - ?`,
        )
        .run(Math.max(1, options.keep));
      const gone = this.db
        .prepare(
          `DELETE FROM history WHERE EXISTS (SELECT 1 FROM object o WHERE o.kind = history.kind AND
             o.tenant = history.tenant AND o.id = history.id AND o.json IS NULL AND o.time_ms < ?)`,
        )
        .run(options.deletedBeforeMs);
      this.db.prepare('DELETE FROM object WHERE json IS NULL AND time_ms < ?').run(options.deletedBeforeMs);
      return Number(old.changes) + Number(gone.changes);
    });
  }

  async backup(file: string): Promise<void> {
    await sqliteBackup(this.db, file);
  }

  close(): void {
    if (this.db.isOpen) this.db.close();
  }

  private current(key: StateKey): Row | null {
    return (this.getRow.get(key.kind, key.tenant, key.id) as unknown as Row | undefined) ?? null;
  }

  private change(
    key: StateKey,
    json: string | null,
    author: string,
    note: string | undefined,
    expectedVersion: number | undefined,
  ): StateObject {
    const before = this.current(key);
    const seen = before === null || before.json === null ? 0 : before.version;
    if (expectedVersion !== undefined && expectedVersion !== seen) {
      throw new StateConflictError(
        `${key.kind} ${JSON.stringify(key.id)} is at version ${seen}, the change was made from version ` +
          `${expectedVersion}: load it again and repeat the change`,
      );
    }
    const row: Row = {
      kind: key.kind,
      tenant: key.tenant,
      id: key.id,
      version: (before?.version ?? 0) + 1,
      json,
      author,
      note: note ?? '',
      time_ms: Math.round(this.now()),
    };
    const cells = [row.kind, row.tenant, row.id, row.version, row.json, row.author, row.note, row.time_ms] as const;
    this.upsert.run(...cells);
    this.remember.run(...cells);
    return toObject(row);
  }

  private transaction<T>(fn: () => T): T {
    this.db.exec('BEGIN IMMEDIATE');
    try {
      const result = fn();
      this.db.exec('COMMIT');
      return result;
    } catch (error) {
      this.db.exec('ROLLBACK');
      throw error;
    }
  }
}

function checkedDocument(write: StateWrite): string {
  if (!/^[a-z][a-z0-9_]{0,63}$/.test(write.kind)) throw new RangeError(`invalid kind ${JSON.stringify(write.kind)}`);
  if (!isValidTenant(write.tenant)) throw new RangeError(`invalid tenant ${JSON.stringify(write.tenant)}`);
  if (write.id.length === 0 || write.id.length > 200) throw new RangeError('an id has 1 to 200 characters');
  if (write.value === undefined || write.value === null)
    throw new RangeError('a document cannot be null: delete it instead');
  const json = JSON.stringify(write.value);
  if (Buffer.byteLength(json) > DOCUMENT_BYTES_MAX) {
    throw new RangeError(`${write.kind} ${JSON.stringify(write.id)} is larger than ${DOCUMENT_BYTES_MAX} bytes`);
  }
  return json;
}

function toObject(row: Row): StateObject {
  return {
    kind: row.kind,
    tenant: row.tenant,
    id: row.id,
    version: row.version,
    value: row.json === null ? null : JSON.parse(row.json),
    deleted: row.json === null,
    author: row.author,
    note: row.note,
    timeMs: row.time_ms,
  };
}
