/**
 * Migrations of the state database: an append-only list. Migration i brings a file from schema version i to i + 1; the
 * version stands in SQLite's `user_version`. A published migration is never changed; a mistake is mended by the next one.
 */
import type { DatabaseSync } from 'node:sqlite';

export type Migration = (db: DatabaseSync) => void;

export const MIGRATIONS: readonly Migration[] = [
  // 1: objects with their history. `deleted` rows have a null document.
  db => {
    db.exec(`
      CREATE TABLE object (
        kind TEXT NOT NULL,
        tenant TEXT NOT NULL,
        id TEXT NOT NULL,
        version INTEGER NOT NULL,
        json TEXT,
        author TEXT NOT NULL,
        time_ms INTEGER NOT NULL,
        PRIMARY KEY (kind, tenant, id)
      ) STRICT, WITHOUT ROWID;
      CREATE TABLE history (
        kind TEXT NOT NULL,
        tenant TEXT NOT NULL,
        id TEXT NOT NULL,
        version INTEGER NOT NULL,
        json TEXT,
        author TEXT NOT NULL,
        time_ms INTEGER NOT NULL,
        PRIMARY KEY (kind, tenant, id, version)
      ) STRICT, WITHOUT ROWID;
    `);
  },
  // 2: a note per change, shown in the history.
  db => {
    db.exec(`
      ALTER TABLE object ADD COLUMN note TEXT NOT NULL DEFAULT '';
      ALTER TABLE history ADD COLUMN note TEXT NOT NULL DEFAULT '';
    `);
  },
];

export class StateVersionError extends Error {
  override name = 'StateVersionError';
}

/** Brings the file to the newest version, all in one transaction; refuses a file of a newer program. */
export function migrate(db: DatabaseSync, file: string, migrations: readonly Migration[] = MIGRATIONS): void {
  const from = schemaVersion(db);
  if (from > migrations.length) {
    throw new StateVersionError(
      `${file} has schema version ${from}, this program knows up to ${migrations.length}: ` +
        'it was written by a newer Sightline. Start that version, or restore a backup made before the upgrade.',
    );
  }
  if (from === migrations.length) return;
  db.exec('BEGIN IMMEDIATE');
  try {
    for (const step of migrations.slice(from)) step(db);
    db.exec(`PRAGMA user_version = ${migrations.length}`);
    db.exec('COMMIT');
  } catch (error) {
    db.exec('ROLLBACK');
    throw new Error(`cannot upgrade ${file} from schema version ${from} to ${migrations.length}`, { cause: error });
  }
}

export function schemaVersion(db: DatabaseSync): number {
  return (db.prepare('PRAGMA user_version').get() as { user_version: number }).user_version;
}
