/**
 * Bytes per sample at rest, for each kind of data at 15 s and at 1 s, after everything was flushed and merged. Prometheus'
 * figure is that of a snapshot (its head written as a block). Samples and index are counted apart: the index weighs the
 * less the longer series live.
 */
import type { Contestant } from '../contestants/contestant.ts';
import { captureNode, nodeExporterMissing, nodeFamily } from '../datasets/node-series.ts';
import { counters, type Family, gauges, histograms, serviceLabels } from '../datasets/query-series.ts';
import type { Corpus } from '../lib/corpus.ts';
import { CONNECTIONS, send } from '../lib/sender.ts';
import type { Session } from '../lib/session.ts';
import { familyCorpus } from './load.ts';

const TOPIC = 'bytes per sample on disk';
const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

interface Kind {
  name: string;
  family: (endMs: number) => Family;
}

export async function disk(session: Session): Promise<void> {
  const { options, report } = session;
  const all = await kinds(session);
  for (const kind of all) {
    if (options.only && !options.only.some(text => kind.name.includes(text))) continue;
    const endMs = Math.floor(Date.now() / MINUTE_MS) * MINUTE_MS;
    const folder = session.folder('corpus');
    using corpus = familyCorpus(`${folder}/bodies`, [kind.family(endMs)], endMs);
    console.log(`  ${kind.name}: ${(corpus.phaseSamples('load') / 1e6).toFixed(2)} M samples`);
    for (const contestant of session.contestants) {
      await session.guarded(contestant, `disk, ${kind.name}`, () => oneRun(session, contestant, kind.name, corpus));
    }
    session.remove(folder);
  }
  report.print(TOPIC);
}

async function kinds(session: Session): Promise<Kind[]> {
  const { quick, seed } = session.options;
  const count = quick ? 60 : 480;
  const list: Kind[] = [];
  const missing = nodeExporterMissing();
  if (missing !== null) session.report.note(`skipped: node data: ${missing}`);
  const capture = missing === null ? await captureNode() : [];
  const spans: [string, number, number][] = [
    ['15s', 15_000, quick ? 6 * HOUR_MS : DAY_MS],
    ['1s', 1000, quick ? HOUR_MS / 2 : 2 * HOUR_MS],
  ];
  for (const [label, stepMs, spanMs] of spans) {
    list.push(
      { name: `counter ${label}`, family: end => counters('c', count, stepMs, end - spanMs, seed, serviceLabels) },
      { name: `gauge ${label}`, family: end => gauges('g', count, stepMs, end - spanMs, seed, serviceLabels) },
      { name: `histogram ${label}`, family: end => histograms(count / 12, stepMs, end - spanMs, seed) },
    );
    if (capture.length > 0) {
      list.push({ name: `node ${label}`, family: end => nodeFamily(capture, 1, stepMs, end - spanMs, seed) });
    }
  }
  // Long ones: where downsampled levels replace raw samples, bytes per sample that was sent.
  for (const days of quick ? [30] : [30, 90]) {
    const few = quick ? 12 : 24;
    list.push({
      name: `counter ${days} days`,
      family: end => counters('c', few, 15_000, end - days * DAY_MS, seed, serviceLabels),
    });
  }
  return list;
}

async function oneRun(session: Session, contestant: Contestant, kind: string, corpus: Corpus): Promise<void> {
  const folder = session.folder(contestant.name);
  const server = await session.start(contestant, folder);
  try {
    const sent = await send(server.writeUrl, corpus.readers('load', CONNECTIONS));
    await server.flush();
    const bytes = await server.diskBytes();
    const base = { topic: TOPIC, contestant: contestant.name, unit: 'B', better: 'lower' as const };
    session.report.add({ ...base, name: `${kind}, total`, value: (bytes.samples + bytes.index) / sent.samples });
    session.report.add({ ...base, name: `${kind}, samples`, value: bytes.samples / sent.samples });
    session.report.add({ ...base, name: `${kind}, index`, value: bytes.index / sent.samples });
  } finally {
    await session.stop(server);
    session.remove(folder);
  }
}
