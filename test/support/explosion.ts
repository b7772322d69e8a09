/**
 * A label explodes: one tenant sends ever new series, far beyond its limit, while another goes on as before and asks for its data.
 * Told afterwards: what the server made of it. Seeded; the soak test runs it large, npm test small.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { Random } from './random.ts';
import { remoteWrite, type WriteSeries } from './remote-write.ts';
import type { Sightline } from './sightline.ts';

export interface ExplosionPlan {
  /** Series that the one tenant sends. */
  series: number;
  /** What they are refused for. */
  reason: 'too_many_series' | 'memory_pressure';
  perRequest: number;
  connections: number;
  seed: number;
}

/** Series of the tenant that goes on as before. */
const QUIET_SERIES = 200;
export const EXPLODING = 'exploding';
export const QUIET = 'quiet';

export interface ExplosionReport {
  sent: number;
  /** Samples refused (400), and those of requests that were put off (429). */
  refused: number;
  putOff: number;
  /** At the end, and the most that was seen. */
  residentMaxBytes: number;
  residentBytes: number;
  quietRounds: number;
}

export async function explode(server: Sightline, plan: ExplosionPlan): Promise<ExplosionReport> {
  const random = new Random(plan.seed);
  const salt = random.int(1e9);
  const startMs = Math.floor(Date.now() / 1000) * 1000 - 600_000;
  let next = 0;
  let refused = 0;
  let putOff = 0;
  let residentMaxBytes = 0;
  let ended = false;
  const client = async (): Promise<void> => {
    for (;;) {
      const from = next;
      next += plan.perRequest;
      if (from >= plan.series) return;
      const to = Math.min(plan.series, from + plan.perRequest);
      const batch: WriteSeries[] = [];
      for (let i = from; i < to; i++) batch.push(explodingSeries(i, salt, startMs));
      const { status, body } = await remoteWrite(server.url, batch, { tenant: EXPLODING });
      if (status === 204) continue;
      if (status === 429 && plan.reason === 'memory_pressure') {
        putOff += batch.length;
        continue;
      }
      assert.equal(status, 400, body);
      const told = /^(\d+) refused, (\w+): (metric requests_total: a new series|series that were refused)/.exec(body);
      assert.equal(told?.[2], plan.reason, body);
      refused += Number(told?.[1]);
    }
  };
  let quietRounds = 0;
  const quiet = async (): Promise<void> => {
    while (!ended) {
      const timeMs = startMs + quietRounds * 100;
      const batch = Array.from({ length: QUIET_SERIES }, (_, i) => quietSeries(i, timeMs, quietRounds));
      const { status, body } = await remoteWrite(server.url, batch, { tenant: QUIET });
      assert.equal(status, 204, body);
      quietRounds++;
      residentMaxBytes = Math.max(residentMaxBytes, residentBytes(server.pid));
      const text = await fetch(`${server.url}/api/v1/query?query=sum(fine)&time=${timeMs / 1000}`, {
        headers: { 'x-scope-orgid': QUIET },
      }).then(r => r.text());
      assert.match(text, new RegExp(`"${QUIET_SERIES * (quietRounds - 1)}"`), 'the quiet tenant reads what it wrote');
    }
  };
  const beside = quiet();
  try {
    await Promise.all(Array.from({ length: plan.connections }, client));
  } finally {
    ended = true;
  }
  await beside;
  return {
    sent: plan.series,
    refused,
    putOff,
    residentMaxBytes,
    residentBytes: residentBytes(server.pid),
    quietRounds,
  };
}

function explodingSeries(i: number, salt: number, timeMs: number): WriteSeries {
  const labels = ['__name__', 'requests_total', 'instance', `h${i % 20}`, 'job', 'shop', 'path', `/user/${salt}/${i}`];
  return { labels, timestamps: [timeMs], values: Float64Array.of(i) };
}

function quietSeries(i: number, timeMs: number, value: number): WriteSeries {
  return { labels: ['__name__', 'fine', 'i', String(i)], timestamps: [timeMs], values: Float64Array.of(value) };
}

/** 0 where the system does not tell. */
export function residentBytes(pid: number): number {
  try {
    return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}
