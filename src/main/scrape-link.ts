/**
 * The ScrapeStore over several shard workers: each target belongs to one of them, which keeps what is known of its series. Bodies are
 * moved to the worker, not copied.
 */
import type { ScrapeOutcome, ScrapeResult, ScrapeSpec, ScrapeStore } from '../contracts/scrape-store.ts';
import type { RpcHandlers, RpcPort } from '../lib/rpc.ts';

/** `onLost` hears of what could not be told to a worker. */
export function scrapeStoreOver(ports: readonly RpcPort[], onLost: (error: Error) => void): ScrapeStore {
  const home = (id: number): RpcPort => ports[id % ports.length] as RpcPort;
  return {
    open(id, spec) {
      home(id).call('scrapeOpen', { id, spec }).catch(onLost);
    },
    scrape(id, result) {
      return home(id).call<ScrapeOutcome>('scrape', { id, result }, { transfer: ownedBuffer(result.body?.bytes) });
    },
    close(id, goneAtMs) {
      return home(id).call<void>('scrapeClose', { id, goneAtMs });
    },
  };
}

/** The worker's side. */
export function scrapeHandlers(store: ScrapeStore): RpcHandlers {
  const handlers: { [method: string]: (args: never, signal: AbortSignal) => unknown } = {
    scrapeOpen: async (a: { id: number; spec: ScrapeSpec }) => store.open(a.id, a.spec),
    scrape: (a: { id: number; result: ScrapeResult }) => store.scrape(a.id, a.result),
    scrapeClose: (a: { id: number; goneAtMs: number }) => store.close(a.id, a.goneAtMs),
  };
  return handlers as RpcHandlers;
}

/** The buffer to move where the bytes have one of their own (not a slice of a pool). */
export function ownedBuffer(bytes: Uint8Array | undefined): ArrayBuffer[] {
  if (bytes === undefined) return [];
  const whole = bytes.byteOffset === 0 && bytes.byteLength === bytes.buffer.byteLength;
  return whole && bytes.buffer instanceof ArrayBuffer ? [bytes.buffer] : [];
}
