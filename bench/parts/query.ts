/**
 * Query latency on the same data: runs alternate between the contestants, those that wait are paused, every run asks for
 * a range moved by 7 s (so that no result cache holds it) and with nocache=1. The first answers are compared.
 */
import type { Server } from '../contestants/contestant.ts';
import { LoopDelayProbe } from '../contestants/sightline.ts';
import { type BenchQuery, QUERIES } from '../datasets/queries.ts';
import { FULL, families, QUICK } from '../datasets/query-series.ts';
import { compare, describe, type MatrixSeries, parseResult } from '../lib/agreement.ts';
import type { Corpus } from '../lib/corpus.ts';
import { call, sleep } from '../lib/http.ts';
import { PingProbe } from '../lib/ping.ts';
import { cpuSeconds } from '../lib/proc.ts';
import { median, OURS, type Report } from '../lib/report.ts';
import { CONNECTIONS, send } from '../lib/sender.ts';
import type { Session } from '../lib/session.ts';
import { familyCorpus } from './load.ts';

const TOPIC = 'query latency, p50';
const CPU_TOPIC = 'query CPU, p50';
const FIRST_TOPIC = 'first answer to a query';
const SHIFT_MS = 7000;
/** Not a multiple of any step either. */
const REPEAT_SHIFT_MS = 217;
const WARM_UP_SHIFT_MS = 113;
/**
 * Untimed before the first run, for every contestant: a dashboard asks the same panels all day, so what is compared is
 * servers that have been asked before. The very first answers are a figure of their own.
 */
const WARM_UP_MS = 3000;
const WARM_UPS_MAX = 1000;
/** Answers quicker than this are asked for many times a run. */
const QUICK_ANSWER_MS = 10;
const QUICK_REPEATS = 20;
/** A slow contestant gets fewer runs of a query, but at least RUNS_MIN. */
const BUDGET_MS = 40_000;
const RUNS_MIN = 3;
/** How long heavy queries run one after the other while small requests are timed. */
const LOADED_MS = 9000;
const MINUTE_MS = 60_000;

export async function query(session: Session): Promise<void> {
  const { options, report } = session;
  const endMs = Math.floor(Date.now() / MINUTE_MS) * MINUTE_MS;
  const sizes = options.quick ? QUICK : FULL;
  const folder = session.folder('corpus');
  using corpus = familyCorpus(`${folder}/bodies`, families(sizes, endMs, options.seed), endMs);
  console.log(
    `  ${(corpus.phaseSamples('load') / 1e6).toFixed(1)} M samples, ${(corpus.bytes / 1e6).toFixed(0)} MB of bodies`,
  );
  const servers: Server[] = [];
  for (const contestant of session.contestants) {
    await session.guarded(contestant, 'loading for queries', async () => {
      const server = await session.start(contestant, session.folder(contestant.name));
      await load(server, corpus, report);
      server.pause();
      servers.push(server);
    });
  }
  const chosen = QUERIES.filter(one => options.only === null || options.only.some(text => one.name.includes(text)));
  for (const one of chosen) await measure(session, servers, one, endMs);
  report.print(TOPIC);
  report.print(CPU_TOPIC);
  report.print(FIRST_TOPIC);
  await pingUnderLoad(session, servers, chosen, endMs);
  for (const server of servers) await session.stop(server);
}

async function load(server: Server, corpus: Corpus, report: Report): Promise<void> {
  const sent = await send(server.writeUrl, corpus.readers('load', CONNECTIONS));
  console.log(`  ${server.name}: loaded in ${sent.seconds.toFixed(0)} s`);
  await server.flush().catch((error: unknown) => {
    report.note(`${server.name}: not flushed, answers come from where the data lies: ${error}`);
  });
  // Merges and compactions of the backlog end before anything is measured.
  for (let quiet = 0; quiet < 3; ) {
    const before = cpuSeconds(server.pid);
    await sleep(1000);
    quiet = cpuSeconds(server.pid) - before < 0.1 ? quiet + 1 : 0;
  }
}

async function measure(session: Session, servers: Server[], one: BenchQuery, endMs: number): Promise<void> {
  const { options, report } = session;
  const runs = options.runs || (options.quick ? 3 : 9);
  const spentMs = new Map<Server, number>();
  const repeats = new Map<Server, number>();
  const answers = new Map<string, MatrixSeries[]>();
  const failed = new Set<Server>();
  const base = (server: Server) => ({
    name: one.name,
    contestant: server.name,
    unit: 'ms',
    better: 'lower' as const,
  });
  for (let run = -1; run < runs; run++) {
    for (const server of servers) {
      const spent = spentMs.get(server) ?? 0;
      if (failed.has(server) || (run >= RUNS_MIN && spent > BUDGET_MS)) continue;
      server.resume();
      try {
        if (run === -1) {
          await wake(server);
          const answer = await ask(server, one, endMs);
          answers.set(server.name, parseResult(answer.text));
          report.add({ ...base(server), topic: FIRST_TOPIC, value: answer.tookMs });
          repeats.set(server, (await warmUp(server, one, endMs)) < QUICK_ANSWER_MS ? QUICK_REPEATS : 1);
          continue;
        }
        const timed = await askOften(server, one, endMs - SHIFT_MS * (run + 1), repeats.get(server) ?? 1);
        spentMs.set(server, spent + timed.spentMs);
        const note = run === 0 ? agreementNote(server.name, answers) : undefined;
        report.add({ ...base(server), topic: TOPIC, value: timed.tookMs, ...(note === undefined ? {} : { note }) });
        report.add({ ...base(server), topic: CPU_TOPIC, value: timed.cpuMs });
      } catch (error) {
        failed.add(server);
        report.note(`${server.name}: query "${one.name}" FAILED: ${error instanceof Error ? error.message : error}`);
      } finally {
        server.pause();
      }
    }
  }
}

interface Timed {
  /** Median of the repeats. */
  tookMs: number;
  /** Mean: CPU time is counted in ticks of 10 ms, too coarse for one small query. */
  cpuMs: number;
  spentMs: number;
}

/** Returns the last answer's time, ms. */
async function warmUp(server: Server, one: BenchQuery, endMs: number): Promise<number> {
  const until = performance.now() + WARM_UP_MS;
  let tookMs = 0;
  for (let i = 0; i < WARM_UPS_MAX && performance.now() < until; i++) {
    tookMs = (await ask(server, one, endMs - (i + 1) * WARM_UP_SHIFT_MS)).tookMs;
  }
  return tookMs;
}

/** The same query a few times, each over a range of its own. */
async function askOften(server: Server, one: BenchQuery, endMs: number, repeats: number): Promise<Timed> {
  await wake(server);
  const cpuBefore = cpuSeconds(server.pid);
  const times: number[] = [];
  for (let i = 0; i < repeats; i++) times.push((await ask(server, one, endMs - i * REPEAT_SHIFT_MS)).tookMs);
  const cpuMs = ((cpuSeconds(server.pid) - cpuBefore) * 1000) / repeats;
  return { tookMs: median(times), cpuMs, spentMs: times.reduce((sum, time) => sum + time, 0) };
}

/** Against Prometheus where it is present. */
function agreementNote(name: string, answers: Map<string, MatrixSeries[]>): string | undefined {
  const reference = answers.get('prometheus') ?? answers.get('victoria-metrics');
  const own = answers.get(name);
  if (!reference || !own) return undefined;
  if (own === reference) return own.length === 0 ? 'EMPTY' : undefined;
  return describe(compare(reference, own));
}

async function ask(server: Server, one: BenchQuery, endMs: number): Promise<{ text: string; tookMs: number }> {
  const params = new URLSearchParams({ query: one.expression, nocache: '1', timeout: '300s' });
  let path = 'query';
  if (one.rangeMs > 0) {
    path = 'query_range';
    params.set('start', String((endMs - one.rangeMs) / 1000));
    params.set('end', String(endMs / 1000));
    params.set('step', String(one.stepMs / 1000));
  } else {
    params.set('time', String(endMs / 1000));
  }
  const answer = await call(`${server.apiUrl}/${path}?${params}`);
  const text = answer.body.toString('utf8');
  if (answer.status !== 200) throw new Error(`HTTP ${answer.status}: ${text.slice(0, 300)}`);
  return { text, tookMs: answer.tookMs };
}

/** How long a small request waits while heavy queries run, and our own word on the main thread's delay. */
async function pingUnderLoad(session: Session, servers: Server[], queries: BenchQuery[], endMs: number): Promise<void> {
  const topic = 'small requests while heavy queries run';
  for (const server of servers) {
    server.resume();
    await wake(server);
    const path = server.name === 'victoria-metrics' ? '/health' : '/-/healthy';
    const ping = new PingProbe(server.url + path);
    const delay = server.name === OURS ? new LoopDelayProbe(server.url) : null;
    const until = performance.now() + LOADED_MS;
    for (let i = 1; performance.now() < until; i++) {
      for (const one of queries) if (one.heavy) await ask(server, one, endMs - i * 1000).catch(() => {});
    }
    const { p50Ms, p99Ms } = ping.stop();
    const loop = await delay?.stop();
    const base = { topic, contestant: server.name, unit: 'ms', better: 'lower' as const };
    session.report.add({ ...base, name: 'ping p50', value: p50Ms });
    session.report.add({ ...base, name: 'ping p99', value: p99Ms });
    if (loop) for (const figure of loop) session.report.add({ ...base, ...figure });
    server.pause();
  }
  session.report.print(topic);
}

/** A paused server's kept connection may have been closed by its idle timeout: find out with a request that is not timed. */
async function wake(server: Server): Promise<void> {
  for (let attempt = 0; attempt < 3; attempt++) {
    const answer = await call(`${server.apiUrl}/query?query=1`).catch(() => null);
    if (answer) return;
  }
}
