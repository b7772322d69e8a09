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
  epoch: number;
}

/** What a connection of `send` reads from. */
export type Source = () => Promise<Body | null>;

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

  /**
   * Bodies of one lane are sent in order, over one connection: a lane holds every request of its series. Epochs never
   * fall, and no body is sent before every body of the epochs before it was answered.
   */
  add(phase: string, lane: number, bytes: Uint8Array, samples: number, epoch = 0): void {
    writeSync(this.file, bytes, 0, bytes.length, this.length);
    let entries = this.phases.get(phase);
    if (!entries) {
      entries = [];
      this.phases.set(phase, entries);
    }
    entries.push({ offset: this.length, bytes: bytes.length, samples, lane, epoch });
    this.length += bytes.length;
  }

  /** Sources for `send`, one a connection: the phase's bodies, each lane's in order. */
  readers(phase: string, connections: number): Source[] {
    const entries = this.phases.get(phase) ?? [];
    const barrier = new Barrier(entries.map(entry => entry.epoch));
    return Array.from({ length: connections }, (_, connection) => {
      const own = entries.filter(entry => entry.lane % connections === connection);
      let at = 0;
      return async () => {
        if (at > 0) barrier.done((own[at - 1] as Entry).epoch);
        const entry = own[at++];
        if (!entry) return null;
        await barrier.reached(entry.epoch);
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

/** Holds each epoch back until those before it are answered in full. */
class Barrier {
  private readonly open = new Map<number, number>();
  private readonly order: number[];
  private current = 0;
  private waiting: (() => void)[] = [];

  constructor(epochs: number[]) {
    for (const epoch of epochs) this.open.set(epoch, (this.open.get(epoch) ?? 0) + 1);
    this.order = [...this.open.keys()];
  }

  async reached(epoch: number): Promise<void> {
    while ((this.order[this.current] as number) < epoch) await new Promise<void>(go => this.waiting.push(go));
  }

  done(epoch: number): void {
    this.open.set(epoch, (this.open.get(epoch) as number) - 1);
    while (this.current < this.order.length - 1 && this.open.get(this.order[this.current] as number) === 0) {
      this.current++;
      for (const go of this.waiting.splice(0)) go();
    }
  }
}
