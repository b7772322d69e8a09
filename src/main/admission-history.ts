/**
 * CardinalityRecorder: once a day, how many series each tenant has and of which metrics and labels, so that growth can be shown.
 *
 * Kept in the state store, one document per tenant and day, ten days in a ring: some 10 KB each.
 */
import type { CardinalityExplorer, CardinalityHistory, CardinalitySnapshot } from '../contracts/cardinality.ts';
import type { StateStore } from '../contracts/state-store.ts';
import type { Clock, Timer } from '../lib/clock.ts';
import { errorText, type Logger } from '../lib/log.ts';
import type { TenantId } from '../model/tenant.ts';

const KIND = 'cardinality_day';
const DAY_MS = 86_400_000;
const RING_DAYS = 10;
const LOOK_EVERY_MS = 3_600_000;
/** After a start: what replay has found is not yet what is active. */
const FIRST_LOOK_MS = 300_000;
/** Tenants that are recorded: those with the most series. */
const TENANTS_MAX = 200;
const ROWS = 200;

export interface RecorderOptions {
  state: StateStore;
  explorer: CardinalityExplorer;
  clock: Clock;
  log: Logger;
}

export class CardinalityRecorder implements CardinalityHistory {
  private readonly o: RecorderOptions;
  private timer: Timer | null = null;
  private running: Promise<void> = Promise.resolve();
  private stopped = false;

  constructor(options: RecorderOptions) {
    this.o = options;
  }

  start(): void {
    const again = (afterMs: number): void => {
      this.timer = this.o.clock.after(afterMs, () => {
        this.running = this.record()
          .catch(error => this.o.log.warn({ error: errorText(error) }, 'the day’s series could not be recorded'))
          .finally(() => {
            if (!this.stopped) again(LOOK_EVERY_MS);
          });
      });
    };
    again(FIRST_LOOK_MS);
  }

  async stop(): Promise<void> {
    this.stopped = true;
    this.timer?.cancel();
    await this.running;
  }

  /** Records the day for every tenant that has no record of it. */
  async record(): Promise<void> {
    const { explorer, state, clock } = this.o;
    const day = Math.floor(clock.now() / DAY_MS);
    for (const { tenant } of (await explorer.tenants()).slice(0, TENANTS_MAX)) {
      if (this.stopped) return;
      if ((await this.of(tenant, day)) !== null) continue;
      const view = await explorer.view(tenant, { metric: '', label: '', limit: ROWS });
      const value: CardinalitySnapshot = {
        day,
        timeMs: Math.round(clock.now()),
        series: view.series,
        metrics: view.metrics.map(m => [m.name, m.series]),
        labels: view.labels.map(l => [l.name, l.values]),
      };
      await state.put({ kind: KIND, tenant, id: idOf(day), value, author: 'sightline' });
    }
  }

  async before(
    tenant: TenantId,
  ): Promise<{ yesterday: CardinalitySnapshot | null; lastWeek: CardinalitySnapshot | null }> {
    const today = Math.floor(this.o.clock.now() / DAY_MS);
    const first = async (days: readonly number[]): Promise<CardinalitySnapshot | null> => {
      for (const back of days) {
        const snapshot = await this.of(tenant, today - back);
        if (snapshot !== null) return snapshot;
      }
      return null;
    };
    // A day may be missing because nothing ran then.
    return { yesterday: await first([1, 2]), lastWeek: await first([7, 8, 6, 9, 5]) };
  }

  private async of(tenant: TenantId, day: number): Promise<CardinalitySnapshot | null> {
    const found = await this.o.state.get({ kind: KIND, tenant, id: idOf(day) });
    const value = (found?.value ?? null) as CardinalitySnapshot | null;
    return value?.day === day ? value : null;
  }
}

function idOf(day: number): string {
  return `day-${day % RING_DAYS}`;
}
