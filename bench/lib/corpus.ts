/**
 * Request bodies encoded ahead of time and kept in one file (the page cache serves it), so that generating and
 * compressing them costs nothing while a server is measured. A corpus has phases ("first" registers the series,
 * "steady" repeats them) which are sent, and measured, one after another.
 */
import { closeSync, mkdirSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Body } from './sender.ts';

interface Entry {
  offset: number;
  bytes: number;
  samples: number;
  lane: number;
}

export class Corpus {
  private readonly file: number;
  private readonly path: string;
  private readonly phases = new Map<string, Entry[]>();
  private length = 0;

  constructor(path: string) {
    mkdirSync(dirname(path), { recursive: true });
    this.path = path;
    this.file = openSync(path, 'w+');
  }

  /** Bodies of one lane are sent in order, over one connection: a lane holds every request of its series. */
  add(phase: string, lane: number, bytes: Uint8Array, samples: number): void {
    writeSync(this.file, bytes, 0, bytes.length, this.length);
    let entries = this.phases.get(phase);
    if (!entries) {
      entries = [];
      this.phases.set(phase, entries);
    }
    entries.push({ offset: this.length, bytes: bytes.length, samples, lane });
    this.length += bytes.length;
  }

  /** Sources for `send`, one a connection: the phase's bodies, each lane's in order. */
  readers(phase: string, connections: number): (() => Body | null)[] {
    const entries = this.phases.get(phase) ?? [];
    return Array.from({ length: connections }, (_, connection) => {
      const own = entries.filter(entry => entry.lane % connections === connection);
      let at = 0;
      return () => {
        const entry = own[at++];
        if (!entry) return null;
        const bytes = Buffer.allocUnsafeSlow(entry.bytes);
        readSync(this.file, bytes, 0, entry.bytes, entry.offset);
        return { bytes, samples: entry.samples };
      };
    });
  }

  phaseSamples(phase: string): number {
    return (this.phases.get(phase) ?? []).reduce((sum, entry) => sum + entry.samples, 0);
  }

  get bytes(): number {
    return this.length;
  }

  /** Removes the file: a corpus lives as long as one run. */
  [Symbol.dispose](): void {
    closeSync(this.file);
    rmSync(this.path, { force: true });
  }
}
