/**
 * `npm run conformance [-- SUITE...]`: runs other projects' suites and prints a score for each part, failures by file and case.
 * It is a tool of development and not a command of the program: it needs the test support, and suites that are not part of the
 * repository. They are found through SIGHTLINE_SUITES only. Exit code 1 where a case failed, 2 where an argument means nothing.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { findProgram } from '../support/programs.ts';
import { runExposition } from './exposition.ts';
import { runNegotiation } from './negotiation.ts';
import { runOtlp } from './otlp.ts';
import { runConfigFiles } from './prometheus-config.ts';
import { runPromql, runPromqlValues } from './promql.ts';
import { runRelabel } from './relabel.ts';
import { runReceiver } from './remote-write.ts';
import { runSender } from './remote-write-sender.ts';
import { type Runner, Score } from './score.ts';

export interface Part {
  /** Folder of the suite. */
  suite: string;
  name: string;
  run: Runner;
  /** A program that it compares with. */
  program?: string;
}

export const PARTS: readonly Part[] = [
  { suite: '02-compliance', name: 'promql', run: runPromql },
  { suite: '02-compliance', name: 'promql-values', run: runPromqlValues, program: 'prometheus' },
  { suite: '02-compliance', name: 'remote-write-receiver', run: runReceiver },
  { suite: '02-compliance', name: 'remote-write-sender', run: runSender },
  { suite: '03-exposition', name: 'exposition', run: runExposition },
  { suite: '03-exposition', name: 'names-and-durations', run: runNegotiation },
  { suite: '04-prom-rules-config', name: 'relabel', run: runRelabel },
  { suite: '04-prom-rules-config', name: 'config', run: runConfigFiles },
  { suite: '08-otlp', name: 'otlp-metrics', run: runOtlp },
];

export const SUITES: string = process.env.SIGHTLINE_SUITES ?? '';

/** '' where the part can run, else why not. */
export function missing(part: Part): string {
  if (SUITES === '' || !existsSync(join(SUITES, part.suite))) return 'skipped: needs SIGHTLINE_SUITES';
  return part.program === undefined || findProgram(part.program) !== '' ? '' : `skipped: needs ${part.program}`;
}

export async function runPart(part: Part): Promise<Score> {
  const score = new Score();
  const cleanUps: (() => void | Promise<void>)[] = [];
  try {
    await part.run({ suites: SUITES, after: cleanUp => void cleanUps.push(cleanUp) }, score);
  } finally {
    for (const cleanUp of cleanUps) await cleanUp();
  }
  return score;
}

/** Parts whose suite or name begins like one of the words: `02`, `02-compliance`, `relabel`. */
export function chosen(words: readonly string[]): { parts: readonly Part[]; unknown: string[] } {
  if (words.length === 0) return { parts: PARTS, unknown: [] };
  const fits = (part: Part, word: string): boolean => part.suite.startsWith(word) || part.name.startsWith(word);
  return {
    parts: PARTS.filter(part => words.some(word => fits(part, word))),
    unknown: words.filter(word => !PARTS.some(part => fits(part, word))),
  };
}

async function main(words: readonly string[]): Promise<number> {
  const { parts, unknown } = chosen(words);
  if (unknown.length > 0) {
    const known = PARTS.map(part => `${part.suite} ${part.name}`).join('\n  ');
    process.stderr.write(`there is no suite ${unknown.join(', ')}; there are:\n  ${known}\n`);
    return 2;
  }
  let passed = 0;
  let failed = 0;
  for (const part of parts) {
    const title = `${part.suite} ${part.name}`;
    const why = missing(part);
    if (why !== '') {
      process.stdout.write(`${title}: ${why}\n`);
      continue;
    }
    const score = await runPart(part);
    for (const { name, message } of score.failures) process.stdout.write(`${part.suite}/${name}: ${message}\n`);
    process.stdout.write(`${title}: ${score.summary()}\n`);
    passed += score.passed;
    failed += score.failures.length;
  }
  process.stdout.write(`${passed} passed, ${failed} failed\n`);
  return failed === 0 ? 0 : 1;
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2));
