/**
 * SqliteStateStore: the embedded StateStore, one SQLite file in WAL mode.
 *
 * Calls are synchronous underneath (a few rows each; no thread pool to queue in) and keep the promise shape of the port for
 * stores across a network. `synchronous=FULL`: what people edit survives power loss, at one fsync a change.
 */
import { dirname } from 'node:path';
import { backup as sqliteBackup } from 'node:sqlite';
import { StorageFullError } from '../../contracts/sample-sink.ts';
import {
  StateConflictError,
  type StateDelete,
  type StateKey,
  type StateKind,
  type StateObject,
  type StateStore,
  type StateWrite,
} from '../../contracts/state-store.ts';
import { hasRoom, spaceText } from '../../lib/disk-space.ts';
import { isValidTenant, type TenantId } from '../../model/tenant.ts';
import { mayBeFull, openSqliteFile, type SqliteFile } from './sqlite-file.ts';

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

export class SqliteStateStore implements StateStore {
  private readonly file: string;
  private readonly now: () => number;
  private opened: SqliteFile;

  /** Opens or creates the file and upgrades its schema. */
  constructor(file: string, now: () => number) {
    this.file = file;
    this.now = now;
    this.opened = openSqliteFile(file);
  }

  /** After a start on a full disk, tries to open the file as usual. True where it is so; cheap where there is nothing to do. */
  settle(): boolean {
    const { makeshift, db } = this.opened;
    if (!makeshift) return true;
    if (!hasRoom(dirname(this.file))) return false;
    if (db.isOpen) db.close();
    try {
      this.opened = openSqliteFile(this.file);
    } catch {
      // The room has gone again: the next call tries again.
      return false;
    }
    return !this.opened.makeshift;
  }

  async get(key: StateKey): Promise<StateObject | null> {
    const row = this.current(key);
    return row === null || row.json === null ? null : toObject(row);
  }

  async list(kind: StateKind, tenant: TenantId | null): Promise<StateObject[]> {
    const rows = tenant === null ? this.opened.run.listAll.all(kind) : this.opened.run.listTenant.all(kind, tenant);
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
        if (write.keepHistory === false) this.opened.run.forget.run(write.kind, write.tenant, write.id, stored.version);
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
        this.opened.run.forget.run(key.kind, key.tenant, key.id, deleted.version + 1);
        this.opened.run.remove.run(key.kind, key.tenant, key.id);
      }
      return true;
    });
  }

  async history(key: StateKey, limit: number): Promise<StateObject[]> {
    return (this.opened.run.listHistory.all(key.kind, key.tenant, key.id, limit) as unknown as Row[]).map(toObject);
  }

  async getVersion(key: StateKey, version: number): Promise<StateObject | null> {
    const row = this.opened.run.getOld.get(key.kind, key.tenant, key.id, version) as unknown as Row | undefined;
    return row === undefined ? null : toObject(row);
  }

  async prune(options: { keep: number; deletedBeforeMs: number }): Promise<number> {
    return this.transaction(() => {
      const old = this.opened.db
        .prepare(
          `DELETE FROM history WHERE version <=
             (SELECT version FROM object o WHERE o.kind = history.kind AND o.tenant = history.tenant AND o.id = history.id) - ?`,
        )
        .run(Math.max(1, options.keep));
      const gone = this.opened.db
        .prepare(
          `DELETE FROM history WHERE EXISTS (SELECT 1 FROM object o WHERE o.kind = history.kind AND
             o.tenant = history.tenant AND o.id = history.id AND o.json IS NULL AND o.time_ms < ?)`,
        )
        .run(options.deletedBeforeMs);
      this.opened.db.prepare('DELETE FROM object WHERE json IS NULL AND time_ms < ?').run(options.deletedBeforeMs);
      return Number(old.changes) + Number(gone.changes);
    });
  }

  async backup(file: string): Promise<void> {
    await sqliteBackup(this.opened.db, file);
  }

  close(): void {
    const { db } = this.opened;
    if (db.isOpen) db.close();
  }

  private current(key: StateKey): Row | null {
    return (this.opened.run.getRow.get(key.kind, key.tenant, key.id) as unknown as Row | undefined) ?? null;
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
    this.opened.run.upsert.run(...cells);
    this.opened.run.remember.run(...cells);
    return toObject(row);
  }

  private transaction<T>(fn: () => T): T {
    const { db } = this.opened;
    try {
      db.exec('BEGIN IMMEDIATE');
      const result = fn();
      db.exec('COMMIT');
      return result;
    } catch (error) {
      // A full disk may have ended it already.
      if (db.isTransaction) db.exec('ROLLBACK');
      if (!mayBeFull(error)) throw error;
      const space = spaceText(dirname(this.file));
      throw new StorageFullError(`the change is not kept: ${(error as Error).message}; ${space}`, { cause: error });
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
