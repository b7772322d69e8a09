/**
 * How far each endpoint of outgoing remote write has got, on disk: one small file, replaced as a whole. It may be a second old after a
 * crash: what was sent since is sent again.
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { ForwardPosition } from '../contracts/forward-source.ts';
import type { Cursors } from './remote-protocol.ts';

export class RemoteCursors {
  private readonly path: string;
  private written = '';
  private known: Cursors;

  constructor(path: string) {
    this.path = path;
    this.known = read(path);
  }

  of(key: string): ForwardPosition[] | null {
    return this.known[key] ?? null;
  }

  /** Throws what the file system throws. */
  save(cursors: Cursors): void {
    const text = JSON.stringify(cursors);
    if (text === this.written) return;
    mkdirSync(dirname(this.path), { recursive: true, mode: 0o750 });
    writeFileSync(`${this.path}.new`, text, { mode: 0o640 });
    renameSync(`${this.path}.new`, this.path);
    this.written = text;
    this.known = cursors;
  }
}

function read(path: string): Cursors {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return {};
  }
  if (typeof value !== 'object' || value === null) return {};
  const good = Object.entries(value).filter(([, list]) => Array.isArray(list) && list.every(isPosition));
  return Object.fromEntries(good) as Cursors;
}

function isPosition(value: unknown): value is ForwardPosition {
  const { segment, offset } = (value ?? {}) as Partial<ForwardPosition>;
  return [segment, offset].every(n => Number.isSafeInteger(n) && (n as number) >= 0);
}
