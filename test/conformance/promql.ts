/**
 * Suite 02, PromQL: the list of queries. Upstream has no expected values: it asks a Prometheus and the other system the same over the
 * same data. So are the two parts here: whether each query is taken or refused as the list says, for which this program is
 * enough; and whether its answer is that of a real Prometheus, where there is one on the machine.
 */
import { compare, type Reply } from '../support/differential.ts';
import { startPrometheus } from '../support/real-prometheus.ts';
import { remoteWrite, type WriteSeries } from '../support/remote-write.ts';
import { Sightline } from '../support/sightline.ts';
import { demoSeries, END_MS, START_MS } from './promql-data.ts';
import { suiteJson } from './read-suite.ts';
import type { Score, SuiteContext } from './score.ts';

/** The data is old, which by default would thin it out. */
const CONFIG =
  'host: {enabled: false}\nself: {interval: 1h}\nstorage: {retention: {raw: 100y}, downsample: {1m: 0s, 1h: 0s}}\n';
const SEED = 2;
/** Requests go in the order of time, as a Prometheus wants it. */
const SLICE_MS = 900_000;
/** The list says they fail: since Prometheus 3 any text is a label name. */
const NAMES_OF_TODAY = /"~invalid"/;

/** Where Prometheus 2.42 answers otherwise than the Prometheus of today, which is followed here; each with its reason. */
const OLDER_ANSWERS: readonly { reason: string; applies(query: string, want: Reply, got: Reply): boolean }[] = [
  {
    reason: 'since Prometheus 3 any text is a label name',
    applies: (query, want, got) => NAMES_OF_TODAY.test(query) && want.status === 422 && got.status === 200,
  },
  {
    reason: 'since Prometheus 3 a range leaves out its very beginning, where a step of a subquery lies',
    applies: (query, want, got) => query.startsWith('avg_over_time(rate(') && want.status === 200 && got.status === 200,
  },
];

interface Query {
  query: string;
  should_fail: boolean;
}

function queriesOf({ suites }: SuiteContext): Query[] {
  return suiteJson<Query[]>(suites, '02-compliance', 'promql', 'expanded_queries.json');
}

export async function runPromql(context: SuiteContext, score: Score): Promise<void> {
  const ours = await startFilled(context);
  for (const [i, { query, should_fail }] of queriesOf(context).entries()) {
    const fails = should_fail && !NAMES_OF_TODAY.test(query);
    const { status, error = '' } = await ask(ours, query);
    const right = fails ? status === 400 || status === 422 : status === 200;
    score.judge(caseName(i, query), right ? '' : `${status} ${error}, must ${fails ? 'be refused' : 'be answered'}`);
  }
}

export async function runPromqlValues(context: SuiteContext, score: Score): Promise<void> {
  const ours = await startFilled(context);
  const { url: theirs } = await startPrometheus(context);
  await fill(theirs);
  for (const [i, { query }] of queriesOf(context).entries()) {
    const [want, got] = await Promise.all([ask(theirs, query), ask(ours, query)]);
    // What is refused is refused; the wording of either is not the list's business.
    const difference = want.status === got.status && want.status !== 200 ? '' : compare(want, got);
    const known = difference === '' ? undefined : OLDER_ANSWERS.find(k => k.applies(query, want, got));
    if (known === undefined) score.judge(caseName(i, query), difference);
    else score.leaveOut(known.reason);
  }
}

function caseName(index: number, query: string): string {
  return `promql/expanded_queries.json[${index}] ${query}`;
}

async function startFilled(context: SuiteContext): Promise<string> {
  const { url } = await Sightline.start(context, { config: CONFIG, args: ['--shards', '2'] });
  await fill(url);
  return url;
}

async function fill(url: string): Promise<void> {
  const series = demoSeries(SEED);
  for (let from = START_MS; from < END_MS; from += SLICE_MS) {
    const part = series.map(row => between(row, from, from + SLICE_MS)).filter(row => row.timestamps.length > 0);
    const { status, body } = await remoteWrite(url, part);
    if (status !== 200 && status !== 204) throw new Error(`${url} does not take the data: ${status} ${body}`);
  }
}

function between(row: WriteSeries, from: number, to: number): WriteSeries {
  const within = (time: number): boolean => time >= from && time < to;
  const values = row.values.filter((_, i) => within(row.timestamps[i] as number));
  return { ...row, timestamps: row.timestamps.filter(within), values };
}

/** A range of twenty minutes, as upstream asks. */
async function ask(url: string, query: string): Promise<Reply> {
  const end = END_MS / 1000;
  const parameters = new URLSearchParams({ query, start: String(end - 1200), end: String(end), step: '60' });
  const response = await fetch(`${url}/api/v1/query_range?${parameters}`);
  return { ...((await response.json()) as Reply), status: response.status };
}
