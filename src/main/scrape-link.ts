/**
 * The ScrapeStore over several shard workers: each target belongs to one of them, which keeps what is known of its series. Bodies are
 * moved to the worker, not copied.
 *
 * Waking a thread costs as much as reading a hundred samples. So what is scraped within GATHER_MS goes in one message, is stored in one turn
 * there, and is answered in one; what takes longer (a large body) is answered by itself and keeps no other waiting.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ScrapeOutcome, ScrapeResult, ScrapeSpec, ScrapeStore } from '../contracts/scrape-store.ts';
import type { RpcHandlers, RpcPort } from '../lib/rpc.ts';

/** Nobody waits for a scrape to be visible sooner; scrapes' own durations do not count it. */
const GATHER_MS = 100;
const GATHER_MAX = 64;
/** After so long, those that are done are answered without the others. */
const LATE_MS = 100;

interface Parcel {
  id: number;
  result: ScrapeResult;
}

/** `onLost` hears of what could not be told to a worker. */
export function scrapeStoreOver(ports: readonly RpcPort[], onLost: (error: Error) => void): ScrapeStore {
  const carriers = ports.map(port => new Carrier(port));
  const home = (id: number): Carrier => carriers[id % carriers.length] as Carrier;
  return {
    open(id, spec) {
      home(id).port.call('scrapeOpen', { id, spec }).catch(onLost);
    },
    scrape: (id, result) => home(id).scrape({ id, result }),
    close: (id, goneAtMs) => home(id).port.call<void>('scrapeClose', { id, goneAtMs }),
  };
}

/** What is on its way to one worker. */
class Carrier {
  readonly port: RpcPort;
  private waiting: { parcel: Parcel; done(outcome: ScrapeOutcome): void; failed(error: Error): void }[] = [];
  private timer: NodeJS.Timeout | null = null;

  constructor(port: RpcPort) {
    this.port = port;
  }

  scrape(parcel: Parcel): Promise<ScrapeOutcome> {
    return new Promise((done, failed) => {
      this.waiting.push({ parcel, done, failed });
      if (this.waiting.length >= GATHER_MAX) this.leave();
      else this.timer ??= setTimeout(() => this.leave(), GATHER_MS).unref();
    });
  }

  private leave(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    const all = this.waiting;
    this.waiting = [];
    const parcels = all.map(one => one.parcel);
    const transfer = parcels.flatMap(parcel => ownedBuffer(parcel.result.body?.bytes));
    this.port.call<(ScrapeOutcome | null)[]>('scrapeMany', parcels, { transfer }).then(
      outcomes => {
        for (const [i, { parcel, done, failed }] of all.entries()) {
          const outcome = outcomes[i] ?? null;
          if (outcome !== null) done(outcome);
          else this.port.call<ScrapeOutcome>('scrapeLate', parcel.id).then(done, failed);
        }
      },
      error => {
        for (const { failed } of all) failed(error as Error);
      },
    );
  }
}

/** The worker's side. */
export function scrapeHandlers(store: ScrapeStore): RpcHandlers {
  /** Scrapes that were not done when their parcel was answered; a target has at most one. */
  const late = new Map<number, Promise<ScrapeOutcome>>();
  const handlers: { [method: string]: (args: never, signal: AbortSignal) => unknown } = {
    scrapeOpen: async (a: { id: number; spec: ScrapeSpec }) => store.open(a.id, a.spec),
    scrapeMany: async (parcels: Parcel[]) => {
      const outcomes = new Array<ScrapeOutcome | null>(parcels.length).fill(null);
      const running = parcels.map(async ({ id, result }, i) => {
        const outcome = await store.scrape(id, result).catch((error: Error) => failedOutcome(result, error));
        outcomes[i] = outcome;
        return outcome;
      });
      await Promise.race([Promise.all(running), sleep(LATE_MS, undefined, { ref: false })]);
      for (const [i, { id }] of parcels.entries()) {
        if (outcomes[i] === null) late.set(id, running[i] as Promise<ScrapeOutcome>);
      }
      return outcomes;
    },
    scrapeLate: async (id: number) => {
      const outcome = await late.get(id);
      late.delete(id);
      if (outcome === undefined) throw new Error(`BUG: no scrape of target ${id} is under way`);
      return outcome;
    },
    scrapeClose: (a: { id: number; goneAtMs: number }) => store.close(a.id, a.goneAtMs),
  };
  return handlers as RpcHandlers;
}

function failedOutcome(result: ScrapeResult, error: Error): ScrapeOutcome {
  return { error: result.error, scraped: 0, added: 0, storeError: error.message, metadata: null };
}

/** The buffer to move where the bytes have one of their own (not a slice of a pool). */
export function ownedBuffer(bytes: Uint8Array | undefined): ArrayBuffer[] {
  if (bytes === undefined) return [];
  const whole = bytes.byteOffset === 0 && bytes.byteLength === bytes.buffer.byteLength;
  return whole && bytes.buffer instanceof ArrayBuffer ? [bytes.buffer] : [];
}
