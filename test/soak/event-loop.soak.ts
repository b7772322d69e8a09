/**
 * The main thread under load: the event loop's delay while several connections write and heavy queries run, as our own /metrics gives it.
 * Printed, not asserted: it depends on the machine.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { encodeWriteRequest } from '../../src/ingest/remote-write/encode.ts';
import { snappyCompress } from '../../src/lib/snappy.ts';
import { postWrite, type WriteSeries } from '../support/remote-write.ts';
import { Sightline } from '../support/sightline.ts';

const WRITERS = 4;
const SERIES = 2000;
const ROUNDS = 5;
const ROUND_MS = 5000;

function request(writer: number, t: number): Uint8Array {
  const series: WriteSeries[] = Array.from({ length: SERIES }, (_, i) => ({
    labels: ['__name__', 'load_total', 'instance', `host-${i % 100}`, 'path', `/p/${i}`, 'writer', String(writer)],
    timestamps: [t],
    values: Float64Array.of(t / 1000 + i),
  }));
  return snappyCompress(encodeWriteRequest(series));
}

test('the event loop of the main thread under ingest and heavy queries', async t => {
  const server = await Sightline.start(t, { config: 'host: {enabled: false}\n' });
  const base = Date.now() - 7_200_000;
  // Made beforehand: this process and the server share the machine.
  const bodies = Array.from({ length: WRITERS }, (_, w) =>
    Array.from({ length: 60 }, (_, k) => request(w, base + k * 15_000)),
  );
  let stopped = false;
  let requests = 0;
  let queries = 0;
  const writing = bodies.map(async own => {
    for (let k = 0; !stopped; k++) {
      const { status } = await postWrite(server.url, own[k % own.length] as Uint8Array);
      assert.equal(status, 204);
      requests++;
    }
  });
  const asking = (async () => {
    const query = encodeURIComponent('sum by (instance) (rate(load_total[5m]))');
    while (!stopped) {
      const from = base / 1000;
      await server.get(`/api/v1/query_range?query=${query}&start=${from + Math.random()}&end=${from + 900}&step=5`);
      queries++;
    }
  })();
  for (let round = 0; round < ROUNDS; round++) {
    await delay(ROUND_MS);
    const text = await server.get('/metrics');
    const lag = (part: string): string => {
      const seconds = new RegExp(`^nodejs_eventloop_lag_${part}_seconds (\\S+)`, 'm').exec(text)?.[1];
      return `${part} ${(Number(seconds) * 1000).toFixed(1)} ms`;
    };
    t.diagnostic(
      `${['p50', 'p90', 'p99', 'max'].map(lag).join(', ')}; ${requests} requests, ${queries} queries so far`,
    );
  }
  stopped = true;
  await Promise.all([...writing, asking]);
  t.diagnostic(`${Math.round((requests * SERIES) / ((ROUNDS * ROUND_MS) / 1000))} samples/s`);
});
