/**
 * Asks a cheap health page every 20 ms while something else goes on: how long a small request waits behind the load,
 * measured the same way for every contestant. Includes the sender's own scheduling on a shared machine.
 */
import { Agent } from 'node:http';
import { call, sleep } from './http.ts';
import { quantile } from './report.ts';

const PERIOD_MS = 20;

export class PingProbe {
  private readonly tookMs: number[] = [];
  private stopped = false;

  constructor(url: string) {
    this.loop(url).catch(() => {});
  }

  stop(): { p50Ms: number; p99Ms: number } {
    this.stopped = true;
    return { p50Ms: quantile(this.tookMs, 0.5), p99Ms: quantile(this.tookMs, 0.99) };
  }

  private async loop(url: string): Promise<void> {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    try {
      while (!this.stopped) {
        const { tookMs } = await call(url, {}, agent);
        this.tookMs.push(tookMs);
        await sleep(PERIOD_MS);
      }
    } finally {
      agent.destroy();
    }
  }
}
