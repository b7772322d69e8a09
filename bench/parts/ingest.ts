/**
 * Remote-write ingest: 2,000 samples a request over 8 connections, first a scrape that registers every series, then
 * scrapes 15 s apart as fast as they are taken. CPU is that of the server's whole process tree, and counts until
 * SETTLE_MS after the last answer, so that work put off is not free. Memory is read at that moment too.
 */
import type { Contestant, Server } from '../contestants/contestant.ts';
import { LoopDelayProbe } from '../contestants/sightline.ts';
import { AppSeries } from '../datasets/app-series.ts';
import { Corpus } from '../lib/corpus.ts';
import { sleep } from '../lib/http.ts';
import { PingProbe } from '../lib/ping.ts';
import { cpuSeconds, memory } from '../lib/proc.ts';
import { OURS } from '../lib/report.ts';
import { CONNECTIONS, send } from '../lib/sender.ts';
import type { Session } from '../lib/session.ts';
import { WriteRequestEncoder } from '../lib/write-request.ts';

export const SAMPLES_PER_REQUEST = 2000;
export const SCRAPE_MS = 15_000;
const SETTLE_MS = 5000;

export async function ingest(session: Session): Promise<void> {
  for (const series of session.options.series) await ingestSeries(session, series);
}

async function ingestSeries(session: Session, series: number): Promise<void> {
  const topic = `ingest ${series} series`;
  const rounds = steadyRounds(series, session.options.quick);
  const runs = session.options.runs || (session.options.quick ? 1 : series >= 1_000_000 ? 2 : 3);
  const folder = session.folder('corpus');
  using corpus = appCorpus(`${folder}/bodies`, series, rounds, session.options.seed);
  console.log(`  ${topic}: 1 + ${rounds} scrapes, ${(corpus.bytes / 1e6).toFixed(0)} MB of bodies, ${runs} runs`);
  const failed = new Set<Contestant>();
  for (let run = 0; run < runs; run++) {
    for (const contestant of session.contestants) {
      if (failed.has(contestant)) continue;
      const fine = await session.guarded(contestant, topic, () => oneRun(session, contestant, topic, corpus, series));
      if (!fine) failed.add(contestant);
    }
  }
  session.remove(folder);
  session.report.print(topic);
}

/** About 6 M samples at 100 K series and below, 5 M at 1 M. */
function steadyRounds(series: number, quick: boolean): number {
  if (quick) return 10;
  return Math.max(5, Math.min(60, Math.round(6_000_000 / series)));
}

/** One scrape ("first") and `rounds` more ("steady"), ending now. */
export function appCorpus(path: string, count: number, rounds: number, seed: number): Corpus {
  const corpus = new Corpus(path);
  const series = new AppSeries(count, seed);
  const encoder = new WriteRequestEncoder();
  const value = new Float64Array(1);
  const time = new Float64Array(1);
  const startMs = Date.now() - rounds * SCRAPE_MS;
  for (let round = 0; round <= rounds; round++) {
    for (let i = 0; i < count; i++) {
      value[0] = series.next(i, round);
      // Targets are scraped at different moments of the interval; a target's series share their timestamp.
      time[0] = startMs + round * SCRAPE_MS + ((Math.floor(i / 1000) * 7919) % SCRAPE_MS);
      encoder.add(series.labels.get(i), value, time, 0, 1);
      if (encoder.samples === SAMPLES_PER_REQUEST || i === count - 1) {
        const { samples } = encoder;
        corpus.add(round === 0 ? 'first' : 'steady', Math.floor(i / SAMPLES_PER_REQUEST), encoder.finish(), samples);
      }
    }
  }
  return corpus;
}

async function oneRun(
  session: Session,
  contestant: Contestant,
  topic: string,
  corpus: Corpus,
  series: number,
): Promise<void> {
  const folder = session.folder(contestant.name);
  const server = await session.start(contestant, folder);
  const { report } = session;
  const name = contestant.name;
  try {
    await sleep(1000);
    const idle = memory(server.pid);
    for (const phase of ['first', 'steady']) {
      const ping = new PingProbe(`${server.url}${pingPath(server)}`);
      const delay = name === OURS ? new LoopDelayProbe(server.url) : null;
      const cpuBefore = cpuSeconds(server.pid);
      const sent = await send(server.writeUrl, corpus.readers(phase, CONNECTIONS));
      const pings = ping.stop();
      const loop = await delay?.stop();
      await sleep(SETTLE_MS);
      const cpu = cpuSeconds(server.pid) - cpuBefore;
      const base = { topic, contestant: name, better: 'higher' as const };
      report.add({ ...base, name: `${phase}: samples per CPU-second`, value: sent.samples / cpu, unit: '1/s' });
      report.add({ ...base, name: `${phase}: samples per second`, value: sent.samples / sent.seconds, unit: '1/s' });
      report.add({ ...base, name: `${phase}: ping p99`, value: pings.p99Ms, unit: 'ms', better: 'lower' });
      if (loop)
        for (const { name: what, value } of loop) {
          report.add({ ...base, name: `${phase}: ${what}`, value, unit: 'ms', better: 'lower' });
        }
      if (sent.retries > 0) report.note(`${name}: ${sent.retries} requests were refused and sent again (${phase})`);
    }
    const full = memory(server.pid);
    const perSeries = (bytes: number): number => bytes / series;
    const base = { topic, contestant: name, unit: 'B', better: 'lower' as const };
    report.add({ ...base, name: 'memory per series (all resident)', value: perSeries(full.rssBytes) });
    report.add({
      ...base,
      name: 'memory per series (above idle, no file pages)',
      value: perSeries(full.anonBytes - idle.anonBytes),
    });
    report.add({ ...base, name: 'peak memory', value: full.peakBytes / 1e6, unit: 'MB' });
  } finally {
    await session.stop(server);
    session.remove(folder);
  }
}

function pingPath(server: Server): string {
  return server.name === 'victoria-metrics' ? '/health' : '/-/healthy';
}
