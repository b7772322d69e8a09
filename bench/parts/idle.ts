/** A fresh server with nothing to do: how soon it answers, what it holds in memory, what it burns. */
import type { Contestant } from '../contestants/contestant.ts';
import { sleep } from '../lib/http.ts';
import { cpuSeconds, memory } from '../lib/proc.ts';
import type { Session } from '../lib/session.ts';

const TOPIC = 'fresh server';
const WATCH_MS = 10_000;

export async function idle(session: Session): Promise<void> {
  const runs = session.options.runs || (session.options.quick ? 1 : 3);
  for (let run = 0; run < runs; run++) {
    for (const contestant of session.contestants) {
      await session.guarded(contestant, TOPIC, () => oneRun(session, contestant));
    }
  }
  session.report.print(TOPIC);
}

async function oneRun(session: Session, contestant: Contestant): Promise<void> {
  const folder = session.folder(contestant.name);
  const server = await session.start(contestant, folder);
  const base = { topic: TOPIC, contestant: contestant.name, better: 'lower' as const };
  session.report.add({ ...base, name: 'time until ready', value: server.startMs, unit: 'ms' });
  await sleep(2000);
  const before = cpuSeconds(server.pid);
  await sleep(WATCH_MS);
  const percent = ((cpuSeconds(server.pid) - before) * 100_000) / WATCH_MS;
  const used = memory(server.pid);
  session.report.add({ ...base, name: 'resident memory', value: used.rssBytes / 1e6, unit: 'MB' });
  session.report.add({ ...base, name: 'memory that is no file', value: used.anonBytes / 1e6, unit: 'MB' });
  session.report.add({ ...base, name: 'CPU', value: percent, unit: '% of a core' });
  const began = performance.now();
  await session.stop(server);
  session.report.add({ ...base, name: 'time to stop', value: performance.now() - began, unit: 'ms' });
  session.remove(folder);
}
