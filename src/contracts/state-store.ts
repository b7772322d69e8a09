/**
 * StateStore: everything people edit at run time (dashboards, rules, silences, users, tenants, SLOs), with versions.
 *
 * An object is (kind, tenant, id) with a JSON document; each change makes the next version and keeps the ones before as
 * history. Deleting is a change too: it leaves a version with `deleted`, so that undo works and a re-created object goes on
 * counting. Small data, rare writes: calls resolve when the change survives kill -9 and power loss.
 */
import type { TenantId } from '../model/tenant.ts';

/** What a part keeps documents under: `dashboard`, `rule_group`, ... Lower case, digits, underscore. */
export type StateKind = string;

export interface StateKey {
  kind: StateKind;
  tenant: TenantId;
  /** 1-200 characters, chosen by the owner of the kind. */
  id: string;
}

export interface StateObject extends StateKey {
  /** 1, 2, ... per key. */
  version: number;
  /** The document; plain JSON. Null where deleted. */
  value: unknown;
  deleted: boolean;
  /** Who made this version: a user's name, or the part of the program. */
  author: string;
  /** What the author says about the change, or ''. */
  note: string;
  /** ms since the epoch. */
  timeMs: number;
}

export interface StateWrite extends StateKey {
  value: unknown;
  author: string;
  note?: string;
  /**
   * The version this change was made from: 0 = must not exist (or be deleted). A mismatch rejects with StateConflictError. Absent =
   * whatever is there.
   */
  expectedVersion?: number;
  /** false: versions before this one are dropped at once. For what programs write often. */
  keepHistory?: boolean;
}

export interface StateDelete {
  author: string;
  note?: string;
  expectedVersion?: number;
  /** false: nothing is left of the object, its versions included. */
  keepHistory?: boolean;
}

export interface StateStore {
  /** Null where there is none or it was deleted. */
  get(key: StateKey): Promise<StateObject | null>;
  /** Present objects of a kind, ordered by id; of one tenant, or of all where null. */
  list(kind: StateKind, tenant: TenantId | null): Promise<StateObject[]>;
  put(write: StateWrite): Promise<StateObject>;
  /** All or nothing. */
  putAll(writes: readonly StateWrite[]): Promise<StateObject[]>;
  /** False where there was nothing to delete. */
  delete(key: StateKey, change: StateDelete): Promise<boolean>;
  /** Versions of one key, newest first, deletions included. */
  history(key: StateKey, limit: number): Promise<StateObject[]>;
  getVersion(key: StateKey, version: number): Promise<StateObject | null>;
  /** Drops versions older than the newest `keep` of each key, and all of keys deleted before `deletedBeforeMs`. */
  prune(options: { keep: number; deletedBeforeMs: number }): Promise<number>;
  /** Writes a consistent copy to a file that must not exist. */
  backup(file: string): Promise<void>;
  close(): void;
}

/** Someone else changed the object meanwhile. HTTP 409. */
export class StateConflictError extends Error {
  override name = 'StateConflictError';
}
