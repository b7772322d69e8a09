/**
 * Command line of `npm run bench`. Parts are positional; everything else is a flag with a default that a laptop bears.
 * `--quick` cuts every size so that the whole run takes a few minutes: its figures prove that the benchmark works, not
 * who is faster.
 */
import { parseArgs } from 'node:util';

export const PARTS = ['ingest', 'scrape', 'otlp', 'disk', 'restart', 'query', 'idle'] as const;
export type Part = (typeof PARTS)[number];

export interface Options {
  parts: Part[];
  contestants: string[] | null;
  /** Active series of the ingest part, one run each. */
  series: number[];
  /** Alternating runs of each measurement. */
  runs: number;
  quick: boolean;
  seed: number;
  profile: boolean;
  /** Substrings of query names, null for all. */
  only: string[] | null;
  /** Given to our server as they are. */
  serverFlags: string[];
  folder: string | null;
  /** Another checkout to run instead of this one. */
  checkout: string | null;
  /** Another checkout to run beside this one, as contestant "base". */
  base: string | null;
}

export const HELP = `npm run bench -- [PART...] [FLAGS]

Parts (all by default):
  ingest    remote write: samples per CPU-second and wall second, memory per series
  scrape    CPU share of scraping 1,000 targets of 1,000 series every 15 s
  otlp      OTLP over HTTP: samples per CPU-second, beside remote write
  disk      bytes per sample at rest: counter, gauge, histogram and node data, at 15 s and 1 s
  restart   start after kill -9 under load: time, peak memory, acknowledged samples lost
  query     latency of 15 queries on the same data, and whether the answers agree
  idle      start-up time and memory of a fresh server

Flags:
  --series N[,N]        active series of ingest and restart (default 100000,1000000; restart takes the largest)
  --runs N              alternating runs (default 3 for ingest, 9 for queries)
  --contestants A[,B]   sightline, prometheus, victoria-metrics
  --only TEXT[,TEXT]    only queries, or data kinds of the disk part, whose name holds TEXT
  --quick               small sizes: proves that it runs, not who is faster
  --seed N              of the generated data (default 1)
  --profile             CPU profiles of our server into bench/out/profiles/
  --base DIR            another checkout of Sightline (with node_modules) as one more contestant, "base"
  --checkout DIR        another checkout of Sightline in place of this one
  --server-flag FLAG    handed to our server, may be repeated
  --folder DIR          where the temporary folders go (default: the system's)
  --list                names of parts and queries`;

export function parseOptions(argv: string[]): Options | 'help' | 'list' {
  const { values, positionals } = parseArgs({
    args: argv,
    allowPositionals: true,
    options: {
      series: { type: 'string' },
      runs: { type: 'string' },
      contestants: { type: 'string' },
      only: { type: 'string' },
      quick: { type: 'boolean', default: false },
      seed: { type: 'string', default: '1' },
      profile: { type: 'boolean', default: false },
      'server-flag': { type: 'string', multiple: true, default: [] },
      folder: { type: 'string' },
      base: { type: 'string' },
      checkout: { type: 'string' },
      list: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return 'help';
  if (values.list) return 'list';
  const unknown = positionals.find(name => !(PARTS as readonly string[]).includes(name));
  if (unknown !== undefined) throw new Error(`no part is called "${unknown}"; there are: ${PARTS.join(', ')}`);
  const quick = values.quick;
  return {
    parts: positionals.length > 0 ? (positionals as Part[]) : [...PARTS],
    contestants: list(values.contestants),
    series: list(values.series)?.map(positive) ?? (quick ? [10_000] : [100_000, 1_000_000]),
    runs: values.runs === undefined ? 0 : positive(values.runs),
    quick,
    seed: Number(values.seed),
    profile: values.profile,
    only: list(values.only),
    serverFlags: values['server-flag'],
    folder: values.folder ?? null,
    checkout: values.checkout ?? null,
    base: values.base ?? null,
  };
}

function list(text: string | undefined): string[] | null {
  return text === undefined ? null : text.split(',').filter(item => item !== '');
}

function positive(text: string): number {
  const value = Number(text.replaceAll('_', ''));
  if (!Number.isInteger(value) || value < 1) throw new Error(`"${text}" is not a number of 1 or more`);
  return value;
}
