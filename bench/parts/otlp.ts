/**
 * OTLP over HTTP (protobuf, gzip as collectors send it): two pods of 1,000 samples a request over 8 connections, first a round that
 * registers every series, then rounds 15 s apart as fast as they are taken; and beside it remote write of as many series, so that
 * the two ways in can be compared. CPU counts as in the ingest part.
 */
import { gzipSync } from 'node:zlib';
import type { Contestant } from '../contestants/contestant.ts';
import { OtlpPods, SAMPLES_PER_POD } from '../datasets/otlp-pods.ts';
import { Corpus } from '../lib/corpus.ts';
import { sleep } from '../lib/http.ts';
import { cpuSeconds } from '../lib/proc.ts';
import { CONNECTIONS, send } from '../lib/sender.ts';
import type { Session } from '../lib/session.ts';
import { REMOTE_WRITE_HEADERS } from '../lib/write-request.ts';
import { appCorpus, SCRAPE_MS } from './ingest.ts';

const PODS_PER_REQUEST = 2;
const SETTLE_MS = 5000;
const HEADERS: Record<string, string> = {
  'content-type': 'application/x-protobuf',
  'content-encoding': 'gzip',
  'user-agent': 'sightline-bench',
};

export async function otlp(session: Session): Promise<void> {
  const series = Math.min(...session.options.series);
  const rounds = session.options.quick ? 10 : Math.max(5, Math.round(6_000_000 / series));
  const runs = session.options.runs || (session.options.quick ? 1 : 3);
  const topic = `OTLP ${series} series`;
  const folder = session.folder('corpus');
  using pods = otlpCorpus(`${folder}/otlp`, series, rounds, session.options.seed);
  using plain = appCorpus(`${folder}/remote-write`, series, rounds, session.options.seed);
  console.log(`  ${topic}: 1 + ${rounds} rounds, ${(pods.bytes / 1e6).toFixed(0)} MB of bodies, ${runs} runs`);
  const failed = new Set<Contestant>();
  for (let run = 0; run < runs; run++) {
    for (const contestant of session.contestants) {
      if (failed.has(contestant)) continue;
      const fine = await session.guarded(contestant, topic, async () => {
        const viaRemoteWrite = await oneRun(session, contestant, topic, 'remote write', plain);
        const viaOtlp = await oneRun(session, contestant, topic, 'OTLP', pods);
        if (viaRemoteWrite === null || viaOtlp === null) return;
        session.report.add({
          topic,
          contestant: contestant.name,
          name: 'OTLP to remote write, per CPU-second',
          value: viaOtlp / viaRemoteWrite,
          unit: 'x',
          better: 'higher',
        });
      });
      if (!fine) failed.add(contestant);
    }
  }
  session.remove(folder);
  session.report.print(topic);
}

function otlpCorpus(path: string, series: number, rounds: number, seed: number): Corpus {
  const corpus = new Corpus(path);
  const count = Math.max(1, Math.floor(series / SAMPLES_PER_POD));
  const startMs = Date.now() - rounds * SCRAPE_MS;
  const pods = new OtlpPods(count, seed, startMs);
  for (let round = 0; round <= rounds; round++) {
    for (let from = 0; from < count; from += PODS_PER_REQUEST) {
      const to = Math.min(count, from + PODS_PER_REQUEST);
      const timeMs = startMs + round * SCRAPE_MS + ((from * 7919) % SCRAPE_MS);
      const body = gzipSync(pods.message(from, to, round, timeMs));
      corpus.add(round === 0 ? 'first' : 'steady', from / PODS_PER_REQUEST, body, (to - from) * SAMPLES_PER_POD);
    }
  }
  return corpus;
}

/** Samples per CPU-second of the steady rounds; null where the server has no such door (Debian's peers have no OTLP). */
async function oneRun(
  session: Session,
  contestant: Contestant,
  topic: string,
  way: 'OTLP' | 'remote write',
  corpus: Corpus,
): Promise<number | null> {
  const folder = session.folder(contestant.name);
  const server = await session.start(contestant, folder);
  try {
    if (way === 'OTLP' && server.otlpUrl === '') return null;
    const [url, headers] = way === 'OTLP' ? [server.otlpUrl, HEADERS] : [server.writeUrl, REMOTE_WRITE_HEADERS];
    await sleep(1000);
    await send(url, corpus.readers('first', CONNECTIONS), headers);
    await sleep(SETTLE_MS);
    const before = cpuSeconds(server.pid);
    const sent = await send(url, corpus.readers('steady', CONNECTIONS), headers);
    await sleep(SETTLE_MS);
    const rate = sent.samples / (cpuSeconds(server.pid) - before);
    const name = `${way}: samples per CPU-second`;
    session.report.add({ topic, contestant: contestant.name, name, value: rate, unit: '1/s', better: 'higher' });
    return rate;
  } finally {
    await session.stop(server);
    session.remove(folder);
  }
}
