/**
 * FairQueue: who may run now, so that one tenant's burst delays that tenant and nobody else for long.
 *
 *     tenant a  [run run | wait wait wait]
 *     tenant b  [run     |               ]   -> a free slot goes to the waiting tenant with the fewest running
 *
 * Each tenant has a bound on running and on waiting queries; a bound over all tenants protects memory. Within a tenant
 * it is first come, first served; between tenants the one with the fewest running goes first, ties in turn.
 */
import type { TenantId } from '../../model/tenant.ts';
import { QueueFullError } from './query-limits.ts';

export interface TenantBounds {
  concurrency: number;
  waitingMax: number;
}

interface Waiter {
  grant(): void;
}

interface Lane {
  running: number;
  waiting: Waiter[];
  bounds: TenantBounds;
  /** Order of the last grant, for ties. */
  lastGrant: number;
}

export class FairQueue {
  private readonly lanes = new Map<TenantId, Lane>();
  private readonly concurrencyMax: number;
  private running = 0;
  private grants = 0;

  constructor(concurrencyMax: number) {
    this.concurrencyMax = concurrencyMax;
  }

  /**
   * Resolves once the query may run, with the function that gives the slot back (call it once). Rejects with a
   * QueueFullError at once, or with the signal's reason when aborted while waiting.
   */
  async acquire(tenant: TenantId, bounds: TenantBounds, signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    const lane = this.lane(tenant, bounds);
    if (lane.waiting.length === 0 && this.mayRun(lane)) return this.grant(tenant, lane);
    if (lane.waiting.length >= bounds.waitingMax) {
      this.forget(tenant, lane);
      throw new QueueFullError(
        `too many queries: ${lane.running} of tenant "${tenant}" run and ${lane.waiting.length} wait (limits ${bounds.concurrency} and ${bounds.waitingMax}); retry later, or run fewer at once`,
      );
    }
    return await new Promise((resolve, reject) => {
      const waiter: Waiter = {
        grant: () => {
          signal.removeEventListener('abort', onAbort);
          resolve(this.grant(tenant, lane));
        },
      };
      const onAbort = () => {
        lane.waiting.splice(lane.waiting.indexOf(waiter), 1);
        this.forget(tenant, lane);
        reject(signal.reason);
      };
      signal.addEventListener('abort', onAbort, { once: true });
      lane.waiting.push(waiter);
    });
  }

  counts(): { running: number; waiting: number } {
    let waiting = 0;
    for (const lane of this.lanes.values()) waiting += lane.waiting.length;
    return { running: this.running, waiting };
  }

  private lane(tenant: TenantId, bounds: TenantBounds): Lane {
    let lane = this.lanes.get(tenant);
    if (lane === undefined) {
      lane = { running: 0, waiting: [], bounds, lastGrant: 0 };
      this.lanes.set(tenant, lane);
    }
    lane.bounds = bounds;
    return lane;
  }

  private mayRun(lane: Lane): boolean {
    return this.running < this.concurrencyMax && lane.running < lane.bounds.concurrency;
  }

  private grant(tenant: TenantId, lane: Lane): () => void {
    this.running++;
    lane.running++;
    lane.lastGrant = ++this.grants;
    let released = false;
    return () => {
      if (released) return;
      released = true;
      this.running--;
      lane.running--;
      this.forget(tenant, lane);
      this.wakeNext();
    };
  }

  /** Gives free slots to waiters, one tenant at a time. */
  private wakeNext(): void {
    while (this.running < this.concurrencyMax) {
      let best: Lane | null = null;
      for (const lane of this.lanes.values()) {
        if (lane.waiting.length === 0 || !this.mayRun(lane)) continue;
        if (
          best === null ||
          lane.running < best.running ||
          (lane.running === best.running && lane.lastGrant < best.lastGrant)
        ) {
          best = lane;
        }
      }
      if (best === null) return;
      (best.waiting.shift() as Waiter).grant();
    }
  }

  /** An idle tenant costs nothing. */
  private forget(tenant: TenantId, lane: Lane): void {
    if (lane.running === 0 && lane.waiting.length === 0) this.lanes.delete(tenant);
  }
}
