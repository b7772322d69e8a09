/**
 * `npm run bench`: Sightline beside Prometheus and VictoriaMetrics on this machine, same data, alternating runs, ratios.
 * What each part measures and how to read it: docs/benchmarks.md.
 */
import { cpus, totalmem } from 'node:os';
import type { Contestant } from './contestants/contestant.ts';
import { prometheus } from './contestants/prometheus.ts';
import { OWN_ROOT, sightline } from './contestants/sightline.ts';
import { victoriaMetrics } from './contestants/victoria-metrics.ts';
import { QUERIES } from './datasets/queries.ts';
import { gateTable } from './lib/gates.ts';
import { HELP, type Options, PARTS, type Part, parseOptions } from './lib/options.ts';
import { OURS, Report } from './lib/report.ts';
import { Session } from './lib/session.ts';
import { disk } from './parts/disk.ts';
import { idle } from './parts/idle.ts';
import { ingest } from './parts/ingest.ts';
import { otlp } from './parts/otlp.ts';
import { query } from './parts/query.ts';
import { restart } from './parts/restart.ts';
import { scrape } from './parts/scrape.ts';

const RUNNERS: Record<Part, (session: Session) => Promise<void>> = { ingest, scrape, otlp, disk, restart, query, idle };

async function main(): Promise<number> {
  const options = parseOptions(process.argv.slice(2));
  if (options === 'help') {
    console.log(HELP);
    return 0;
  }
  if (options === 'list') {
    console.log([...PARTS, '', ...QUERIES.map(one => one.name)].join('\n'));
    return 0;
  }
  const contestants = present(options);
  if (contestants.length === 0) {
    console.error('bench: no contestant can run here');
    return 1;
  }
  const report = new Report(new Date());
  await using session = new Session(options, contestants, report);
  const onSignal = (): void => {
    void session[Symbol.asyncDispose]().finally(() => process.exit(130));
  };
  process.once('SIGINT', onSignal).once('SIGTERM', onSignal);
  report.note(
    `${cpus().length} x ${cpus()[0]?.model ?? 'CPU'}, ${(totalmem() / 1e9).toFixed(0)} GB, Node ${process.version}` +
      `${options.quick ? ', --quick (sizes too small to compare)' : ''}`,
  );
  for (const part of options.parts) {
    const began = performance.now();
    console.log(`\n# ${part}`);
    await RUNNERS[part](session);
    console.log(`\n(${part}: ${((performance.now() - began) / 1000).toFixed(0)} s)`);
  }
  // Quick sizes say nothing about who is faster.
  const gates = options.quick ? '' : gateTable(report);
  if (gates !== '') console.log(`\n# gates\n\n${gates}`);
  console.log(`\nFigures: ${report.file}`);
  return report.notes.some(note => note.includes('FAILED')) ? 1 : 0;
}

function present(options: Options): Contestant[] {
  const ours = { profile: options.profile, flags: options.serverFlags };
  const all = [sightline({ ...ours, name: OURS, root: options.checkout ?? OWN_ROOT }), victoriaMetrics, prometheus];
  if (options.base !== null) all.splice(1, 0, sightline({ ...ours, name: 'base', root: options.base }));
  for (const name of options.contestants ?? []) {
    if (!all.some(contestant => contestant.name === name)) {
      throw new Error(`no contestant is called "${name}"; there are: ${all.map(one => one.name).join(', ')}`);
    }
  }
  return all.filter(contestant => {
    if (options.contestants && !options.contestants.includes(contestant.name)) return false;
    const why = contestant.missing();
    if (why !== null) console.log(`skipped: ${contestant.name}: ${why}`);
    return why === null;
  });
}

process.exitCode = await main();
