/**
 * Crash soak: writers send through several connections while the process is killed with SIGKILL again and again. After
 * each restart every acknowledged sample must be there with its value, and the server must take new ones.
 *
 * Bounded by rounds: SIGHTLINE_SOAK_ROUNDS (default 5, half a minute).
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { Sightline } from '../support/sightline.ts';

const ROUNDS = Number(process.env.SIGHTLINE_SOAK_ROUNDS ?? 5);
const WRITERS = 3;
const SERIES = 20;
/** Load before each kill. ms. */
const LOAD_MS = 2500;

interface Writer {
  /** Highest timestamp (ms) whose request was acknowledged; samples are every 10 ms from the start. */
  acknowledged: number;
  next: number;
}

/** One request of one timestamp for each series of a writer; the value follows from both. */
function requestText(writer: number, timestampMs: number): string {
  let text = '';
  for (let s = 0; s < SERIES; s++)
    text += `soak{writer="${writer}",s="${s}"} ${valueAt(s, timestampMs)} ${timestampMs}\n`;
  return text;
}

function valueAt(series: number, timestampMs: number): number {
  return (timestampMs % 1_000_000) * 100 + series;
}

async function writeUntil(server: Sightline, index: number, writer: Writer, stopped: () => boolean): Promise<void> {
  while (!stopped()) {
    try {
      const { status } = await server.post('/api/v1/import/prometheus', requestText(index, writer.next));
      if (status >= 200 && status < 300) writer.acknowledged = writer.next;
      // Refused or not, the next one comes with the next timestamp: what was not acknowledged may be there or not.
      writer.next += 10;
    } catch {
      if (stopped()) return;
      writer.next += 10;
      await setTimeout(20);
    }
  }
}

async function check(
  server: Sightline,
  writer: number,
  from: number,
  acknowledged: readonly number[],
): Promise<number> {
  const body = `match[]=${encodeURIComponent(`soak{writer="${writer}"}`)}&start=${from / 1000}`;
  const text = await server.get(`/api/v1/export?${body}`);
  const seen = new Map<string, Map<number, number>>();
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const { metric, values, timestamps } = JSON.parse(line) as {
      metric: { s: string };
      values: number[];
      timestamps: number[];
    };
    const samples = seen.get(metric.s) ?? new Map<number, number>();
    for (let i = 0; i < values.length; i++) samples.set(timestamps[i] as number, values[i] as number);
    seen.set(metric.s, samples);
  }
  for (const timestampMs of acknowledged) {
    for (let s = 0; s < SERIES; s++) {
      const value = seen.get(String(s))?.get(timestampMs);
      assert.equal(value, valueAt(s, timestampMs), `writer ${writer}, series ${s}, ${timestampMs}`);
    }
  }
  return acknowledged.length * SERIES;
}

test(`${ROUNDS} rounds of load and kill -9 lose nothing acknowledged`, async t => {
  const server = await Sightline.start(t, { config: 'host: {enabled: false}\n' });
  const start = Math.floor(Date.now() / 10) * 10;
  const writers: Writer[] = Array.from({ length: WRITERS }, () => ({ acknowledged: 0, next: start }));
  const kept: number[][] = writers.map(() => []);
  let samples = 0;
  for (let round = 0; round < ROUNDS; round++) {
    let stopped = false;
    const running = writers.map((writer, i) =>
      writeUntil(recording(server, kept[i] as number[], writer), i, writer, () => stopped),
    );
    await setTimeout(LOAD_MS + round * 137);
    stopped = true;
    await server.kill();
    await Promise.all(running);
    const began = performance.now();
    await server.launch();
    const startMs = Math.round(performance.now() - began);
    samples = 0;
    for (let i = 0; i < WRITERS; i++) samples += await check(server, i, start, kept[i] as number[]);
    t.diagnostic(`round ${round + 1}: ${samples} acknowledged samples all there, ready again after ${startMs} ms`);
  }
  assert.ok(samples > ROUNDS * WRITERS * SERIES * 10, `the load was too small to tell anything: ${samples}`);
  assert.equal(await server.stop(), 0);
});

/** The server as a writer sees it: each acknowledged timestamp is noted the moment its answer is here. */
function recording(server: Sightline, kept: number[], writer: Writer): Sightline {
  return {
    post: async (path: string, body: string) => {
      const timestampMs = writer.next;
      const answer = await server.post(path, body);
      if (answer.status >= 200 && answer.status < 300) kept.push(timestampMs);
      return answer;
    },
  } as unknown as Sightline;
}
