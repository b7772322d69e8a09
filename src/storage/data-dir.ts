/**
 * DataDir: the one folder a process keeps everything in: who may use it, and in which format it is.
 *
 *   sightline-format.json   format version, shard count, identity secret; mode 0600
 *   lock                    an empty SQLite file, held exclusively while a process runs
 *   lock.json               who holds it, for the message to whoever comes second
 *   state/state.sqlite      what people edit (storage/state)
 *   tsdb/                   metrics (storage/tsdb/docs)
 *   snapshots/              consistent copies, made on request
 *
 * The lock is an operating-system lock: Node has no flock, but SQLite takes one, and the kernel lets go of it however the
 * holder dies, so no stale lock is ever left to clean up. A pid file alone would have to guess.
 *
 * The shard count is fixed when the folder is made, because a series' shard follows from its hash; the secret keys those
 * hashes (lib/identity-hash.ts) and never leaves the folder.
 */
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { isNoSpace, spaceText } from '../lib/disk-space.ts';

/** Raised by one whenever an older program could no longer read what this one writes. */
export const FORMAT_VERSION = 1;

export const FORMAT_FILE = 'sightline-format.json';
const LOCK_FILE = 'lock';
const LOCK_INFO_FILE = 'lock.json';
const SECRET_BYTES = 32;
export const SHARDS_MAX = 64;

/** Brings a folder from format `index + 1` to `index + 2`. Must be repeatable: a crash half-way runs it again. */
export type DataUpgrade = (path: string) => void;

export const DATA_UPGRADES: readonly DataUpgrade[] = [];

export interface DataDirOptions {
  path: string;
  /** For a folder that is made now. A folder that stands keeps its own. */
  shards: number;
  /** Of this program, written for people. */
  version: string;
  now: () => number;
  upgrades?: readonly DataUpgrade[];
}

export class DataDirError extends Error {
  override name = 'DataDirError';
  readonly code: 'locked' | 'newer' | 'foreign' | 'damaged' | 'unusable';
  constructor(code: DataDirError['code'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

interface FormatRecord {
  format: number;
  shards: number;
  identitySecret: string;
  createdBy: string;
  createdAt: string;
}

export class DataDir {
  readonly path: string;
  readonly shards: number;
  /** 32 bytes. */
  readonly identitySecret: Uint8Array;
  /** Whether this call made the folder. */
  readonly created: boolean;
  /** Format it had before; FORMAT_VERSION where nothing was upgraded. */
  readonly upgradedFrom: number;
  private lock: DatabaseSync | null;

  private constructor(
    path: string,
    record: FormatRecord,
    facts: { created: boolean; upgradedFrom: number; lock: DatabaseSync | null },
  ) {
    this.path = path;
    this.shards = record.shards;
    this.identitySecret = Uint8Array.from(Buffer.from(record.identitySecret, 'hex'));
    this.created = facts.created;
    this.upgradedFrom = facts.upgradedFrom;
    this.lock = facts.lock;
  }

  /** Takes the folder for this process: makes it where it is missing or empty, upgrades it where it is older. */
  static open(options: DataDirOptions): DataDir {
    const path = resolve(options.path);
    const target = FORMAT_VERSION + (options.upgrades?.length ?? DATA_UPGRADES.length) - DATA_UPGRADES.length;
    try {
      mkdirSync(path, { recursive: true, mode: 0o750 });
    } catch (error) {
      throw new DataDirError('unusable', `cannot make the data folder ${path}`, { cause: error });
    }
    refuseForeign(path);
    const lock = takeLock(path, options.now);
    try {
      const found = readFormat(path, target);
      const record = found ?? createFormat(path, options, target);
      const upgradedFrom = record.format;
      upgrade(path, record, options.upgrades ?? DATA_UPGRADES, target);
      return new DataDir(path, record, { created: found === null, upgradedFrom, lock });
    } catch (error) {
      lock.close();
      throw error;
    }
  }

  /** For tools that only look: no lock, no upgrade. */
  static inspect(path: string): DataDir {
    const record = readFormat(resolve(path), FORMAT_VERSION);
    if (record === null)
      throw new DataDirError('foreign', `${path} is not a Sightline data folder: it has no ${FORMAT_FILE}`);
    return new DataDir(resolve(path), record, { created: false, upgradedFrom: record.format, lock: null });
  }

  /** A folder inside, made where it is missing. */
  folder(name: string): string {
    const path = join(this.path, name);
    mkdirSync(path, { recursive: true, mode: 0o750 });
    return path;
  }

  /** Lets another process have the folder. Last thing in a shutdown. */
  close(): void {
    this.lock?.close();
    this.lock = null;
  }
}

function refuseForeign(path: string): void {
  let names: string[];
  try {
    names = readdirSync(path);
  } catch (error) {
    throw new DataDirError('unusable', `cannot read the data folder ${path}`, { cause: error });
  }
  const ours = [
    FORMAT_FILE,
    `${FORMAT_FILE}.tmp`,
    LOCK_FILE,
    `${LOCK_FILE}-journal`,
    LOCK_INFO_FILE,
    `${LOCK_INFO_FILE}.tmp`,
  ];
  if (names.includes(FORMAT_FILE)) return;
  const foreign = names.filter(name => !ours.includes(name) && name !== 'lost+found');
  if (foreign.length > 0) {
    throw new DataDirError(
      'foreign',
      `${path} is not empty (${foreign.slice(0, 3).join(', ')}${foreign.length > 3 ? ', ...' : ''}) and has no ` +
        `${FORMAT_FILE}, so it is not a Sightline data folder: choose an empty or a new one with --data-dir`,
    );
  }
}

function takeLock(path: string, now: () => number): DatabaseSync {
  const file = join(path, LOCK_FILE);
  let db: DatabaseSync;
  try {
    db = new DatabaseSync(file, { timeout: 0 });
  } catch (error) {
    throw new DataDirError('unusable', `cannot open ${file}: is the folder writable by this user?`, { cause: error });
  }
  try {
    db.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
  } catch (error) {
    db.close();
    if ((error as { errcode?: number }).errcode === 5) {
      throw new DataDirError(
        'locked',
        `the data folder ${path} is in use by ${holder(path)}: stop it first, or give this one a folder of its own with --data-dir`,
      );
    }
    throw new DataDirError('unusable', `cannot lock ${file}; the file system must support locks`, { cause: error });
  }
  try {
    writeDurably(
      join(path, LOCK_INFO_FILE),
      JSON.stringify({ pid: process.pid, since: new Date(now()).toISOString() }),
    );
  } catch (error) {
    if (!isNoSpace(error)) {
      db.close();
      throw new DataDirError('unusable', `cannot write to the data folder ${path}`, { cause: error });
    }
    // A full disk must not keep what is there from being read. What an earlier holder wrote would be wrong now.
    for (const name of [LOCK_INFO_FILE, `${LOCK_INFO_FILE}.tmp`]) rmSync(join(path, name), { force: true });
  }
  return db;
}

function holder(path: string): string {
  try {
    const info = JSON.parse(readFileSync(join(path, LOCK_INFO_FILE), 'utf8')) as { pid?: unknown; since?: unknown };
    return `process ${String(info.pid)} (since ${String(info.since)})`;
  } catch {
    return 'another process';
  }
}

function readFormat(path: string, newest: number): FormatRecord | null {
  const file = join(path, FORMAT_FILE);
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw new DataDirError('unusable', `cannot read ${file}`, { cause: error });
  }
  const damaged = (what: string): DataDirError =>
    new DataDirError('damaged', `${file} ${what}: restore it from a backup; without it the data cannot be read`);
  let record: Partial<FormatRecord>;
  try {
    record = JSON.parse(text) as Partial<FormatRecord>;
  } catch {
    throw damaged('is not JSON');
  }
  const format = record?.format;
  if (!Number.isInteger(format) || (format as number) < 1) throw damaged('names no format version');
  if ((format as number) > newest) {
    throw new DataDirError(
      'newer',
      `the data folder ${path} has format ${format}, this program knows up to ${newest}: it was written by a newer ` +
        'Sightline. Start that version, or restore a backup made before the upgrade.',
    );
  }
  const shards = record.shards;
  if (!Number.isInteger(shards) || (shards as number) < 1 || (shards as number) > SHARDS_MAX) {
    throw damaged('names no valid shard count');
  }
  if (!/^[0-9a-f]{64}$/.test(record.identitySecret ?? '')) throw damaged('holds no valid identity secret');
  return record as FormatRecord;
}

function createFormat(path: string, options: DataDirOptions, format: number): FormatRecord {
  if (!Number.isInteger(options.shards) || options.shards < 1 || options.shards > SHARDS_MAX) {
    throw new RangeError(`a data folder has 1 to ${SHARDS_MAX} shards, not ${options.shards}`);
  }
  const record: FormatRecord = {
    format,
    shards: options.shards,
    identitySecret: randomBytes(SECRET_BYTES).toString('hex'),
    createdBy: `sightline ${options.version}`,
    createdAt: new Date(options.now()).toISOString(),
  };
  writeFormat(path, record);
  return record;
}

function upgrade(path: string, record: FormatRecord, steps: readonly DataUpgrade[], target: number): void {
  while (record.format < target) {
    const step = steps[record.format - 1];
    if (step === undefined) throw new Error(`BUG: no upgrade from format ${record.format}`);
    step(path);
    record.format++;
    writeFormat(path, record);
  }
}

function writeFormat(path: string, record: FormatRecord): void {
  try {
    writeDurably(join(path, FORMAT_FILE), `${JSON.stringify(record, null, 2)}\n`);
  } catch (error) {
    throw new DataDirError('unusable', `cannot write ${FORMAT_FILE}: ${spaceText(path)}`, { cause: error });
  }
}

/** Whole or not at all, also after power loss. Mode 0600. */
function writeDurably(file: string, text: string): void {
  const fd = openSync(`${file}.tmp`, 'w', 0o600);
  try {
    writeSync(fd, text);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(`${file}.tmp`, file);
  const dir = openSync(join(file, '..'), 'r');
  try {
    fsyncSync(dir);
  } finally {
    closeSync(dir);
  }
}
