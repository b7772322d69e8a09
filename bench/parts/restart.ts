/**
 * kill -9 of the whole process tree the moment the last request was acknowledged, then a start on the same folder: time
 * until ready, peak memory on the way, and how many acknowledged samples are there.
 */
import type { Contestant, Server } from '../contestants/contestant.ts';
import { SERIES_PER_POD } from '../datasets/app-series.ts';
import type { Corpus } from '../lib/corpus.ts';
import { callText } from '../lib/http.ts';
import { memory } from '../lib/proc.ts';
import { CONNECTIONS, send } from '../lib/sender.ts';
import type { Session } from '../lib/session.ts';
import { appCorpus } from './ingest.ts';

const ROUNDS = 4;
/** Of a pod's series, those called http_requests_total, which the check counts. */
const COUNTED_PER_POD = 200;

export async function restart(session: Session): Promise<void> {
  const { options, report } = session;
  const series = Math.max(...options.series);
  const topic = `start after kill -9, ${series} series`;
  const folder = session.folder('corpus');
  using corpus = appCorpus(`${folder}/bodies`, series, ROUNDS, options.seed);
  const runs = options.runs || (options.quick ? 1 : 2);
  for (let run = 0; run < runs; run++) {
    for (const contestant of session.contestants) {
      await session.guarded(contestant, topic, () => oneRun(session, contestant, topic, corpus, series));
    }
  }
  session.remove(folder);
  report.print(topic);
}

async function oneRun(
  session: Session,
  contestant: Contestant,
  topic: string,
  corpus: Corpus,
  series: number,
): Promise<void> {
  const folder = session.folder(contestant.name);
  const before = await session.start(contestant, folder);
  await send(before.writeUrl, corpus.readers('first', CONNECTIONS));
  await send(before.writeUrl, corpus.readers('steady', CONNECTIONS));
  const full = memory(before.pid);
  await session.kill9(before);
  const after = await session.start(contestant, folder);
  try {
    const ready = memory(after.pid);
    const base = { topic, contestant: contestant.name, better: 'lower' as const };
    session.report.add({ ...base, name: 'time until ready', value: after.startMs / 1000, unit: 's' });
    session.report.add({ ...base, name: 'memory before the kill', value: full.rssBytes / 1e6, unit: 'MB' });
    session.report.add({ ...base, name: 'peak memory until ready', value: ready.peakBytes / 1e6, unit: 'MB' });
    const expected = Math.floor(series / SERIES_PER_POD) * COUNTED_PER_POD * (ROUNDS + 1);
    const present = await countSamples(after);
    const missing = (100 * (expected - present)) / expected;
    session.report.add({ ...base, name: 'acknowledged samples missing', value: missing, unit: '%' });
  } finally {
    await session.stop(after);
    session.remove(folder);
  }
}

async function countSamples(server: Server): Promise<number> {
  const params = new URLSearchParams({
    query: 'sum(count_over_time(http_requests_total[2h]))',
    time: String(Date.now() / 1000 + 60),
    nocache: '1',
    timeout: '300s',
  });
  const answer = JSON.parse(await callText(`${server.apiUrl}/query?${params}`)) as {
    data: { result: { value: [number, string] }[] };
  };
  return Number(answer.data.result[0]?.value[1] ?? 0);
}
