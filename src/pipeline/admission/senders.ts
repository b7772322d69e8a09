/**
 * Senders: who brings new series. A request runs within `run`, and whatever it appends, however late, is its sender's; what is
 * counted is the series made for it, per tenant and sender, in the last hours.
 *
 * Only batches that make series are counted, so steady traffic costs nothing.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { TenantId } from '../../model/tenant.ts';

export interface SenderCount {
  tenant: TenantId;
  sender: string;
  /** Series made in the hour that runs, and in the 24 hours before it. */
  thisHour: number;
  lastDay: number;
}

const HOURS = 25;
const HOUR_MS = 3_600_000;
/** Senders remembered; the rest count as one called "other". */
const SENDERS_MAX = 2000;

interface Row {
  tenant: TenantId;
  sender: string;
  /** Series by hour, in a ring. */
  hours: Float64Array;
  /** The newest hour in the ring. */
  hour: number;
}

export class Senders {
  private readonly current = new AsyncLocalStorage<string>();
  private readonly rows = new Map<string, Row>();
  private readonly now: () => number;

  constructor(now: () => number) {
    this.now = now;
  }

  run<T>(sender: string, work: () => T): T {
    return this.current.run(sender, work);
  }

  /** The request that runs has made series. */
  made(tenant: TenantId, series: number): void {
    const row = this.row(tenant, this.current.getStore() ?? 'scrape or own collector');
    this.advance(row);
    row.hours[row.hour % HOURS] = (row.hours[row.hour % HOURS] as number) + series;
  }

  list(tenant: TenantId): SenderCount[] {
    const out: SenderCount[] = [];
    for (const row of this.rows.values()) {
      if (row.tenant !== tenant) continue;
      this.advance(row);
      const lastDay = row.hours.reduce((sum, n) => sum + n, 0);
      if (lastDay === 0) continue;
      out.push({ tenant, sender: row.sender, thisHour: row.hours[row.hour % HOURS] as number, lastDay });
    }
    return out.sort((a, b) => b.lastDay - a.lastDay);
  }

  private row(tenant: TenantId, sender: string): Row {
    let key = `${tenant}\0${sender}`;
    let row = this.rows.get(key);
    if (row !== undefined) return row;
    if (this.rows.size >= SENDERS_MAX) this.forgetQuiet();
    const name = this.rows.size < SENDERS_MAX ? sender : 'other';
    key = `${tenant}\0${name}`;
    row = this.rows.get(key) ?? { tenant, sender: name, hours: new Float64Array(HOURS), hour: this.hour() };
    this.rows.set(key, row);
    return row;
  }

  private forgetQuiet(): void {
    for (const [key, row] of this.rows) {
      this.advance(row);
      if (row.hours.every(n => n === 0)) this.rows.delete(key);
    }
  }

  private hour(): number {
    return Math.floor(this.now() / HOUR_MS);
  }

  private advance(row: Row): void {
    const hour = this.hour();
    for (let n = 0; row.hour < hour && n < HOURS; n++) row.hours[++row.hour % HOURS] = 0;
    row.hour = Math.max(row.hour, hour);
  }
}
