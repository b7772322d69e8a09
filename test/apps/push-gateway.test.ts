/** Beside a real Pushgateway: the same pushes get the same statuses and leave the same metrics, also in an arbitrary order of pushes. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { ENTRY_END, ENTRY_SERIES, ENTRY_TYPE, ExpositionParser } from '../../src/ingest/exposition/parser.ts';
import { readSeries } from '../../src/ingest/exposition/series-text.ts';
import { LabelSet } from '../../src/ingest/label-set.ts';
import { findProgram, freePort, needs, startProgram, until } from '../support/programs.ts';
import { Random } from '../support/random.ts';
import { Sightline } from '../support/sightline.ts';

type Push = readonly [method: string, path: string, body?: string];

const SKIP = { skip: needs('prometheus-pushgateway') };

const PUSHES: readonly Push[] = [
  ['PUT', 'job/j', '# HELP a Help.\n# TYPE a counter\na 1\n'],
  ['PUT', 'job/k', '# TYPE a gauge\na 1\n'],
  ['PUT', 'job/k', 'b 1\nb 2\n'],
  ['PUT', 'job/k', 'b{job="x"} 1\nb{job="y"} 2\n'],
  ['PUT', 'job/k', 'b 1 1000\n'],
  ['PUT', 'job/k', 'b 1'],
  ['PUT', 'job/k', 'b{ 1\n'],
  ['PUT', 'job/x/y', 'b 1\n'],
  ['PUT', 'job/x/__y/z', 'b 1\n'],
  ['PUT', 'job/x/a-b/z', 'b 1\n'],
  ['PUT', 'job@base64/YS9i/p@base64/cS9y', 'b 1\n'],
  ['PUT', 'job@base64/Y!9i', 'b 1\n'],
  ['PUT', 'job/empty', ''],
  ['POST', 'job/empty2', ''],
  ['POST', 'job/inst', 'c{instance="q",job="w"} 1\n'],
  ['POST', 'job/inst/instance/q', 'c 1\n'],
  ['POST', 'job/pt', 'push_time_seconds 7\nown 1\n'],
  ['PUT', 'job/m', '# HELP a Another.\n# TYPE a counter\na 1\n'],
  ['DELETE', 'job/none'],
  ['DELETE', 'job/x/y'],
  ['POST', 'job/h', '# TYPE h histogram\nh_bucket{le="1"} 1\nh_bucket{le="+Inf"} 2\nh_sum 3\nh_count 2\n'],
  ['POST', 'job/h', '# TYPE s summary\ns{quantile="0.5"} 1\ns_sum 3\ns_count 2\n'],
  ['POST', 'job/h', 'd{a="",b="\\"\\\\\\n"} NaN\ne -Inf\n'],
  ['POST', 'job/h/job/zz', 'e 1.5e10\n'],
  ['PUT', 'job/j/z/1', 'f 1\n'],
  ['DELETE', 'job/j'],
];

async function startGateway(t: TestContext): Promise<string> {
  const port = await freePort();
  const flags = [`--web.listen-address=127.0.0.1:${port}`, '--persistence.file='];
  startProgram(t, findProgram('prometheus-pushgateway'), flags);
  const url = `http://127.0.0.1:${port}`;
  await until('the Pushgateway', async () => (await fetch(`${url}/-/ready`)).ok);
  return url;
}

async function send(url: string, [method, path, body]: Push): Promise<number> {
  const options = body === undefined ? { method } : { method, body };
  const signal = AbortSignal.timeout(30_000);
  return (await fetch(`${url}/metrics/${path}`, { ...options, signal })).status;
}

/** Series and types that groups give out, times of pushes as 0 or 1; the gateway's own metrics are left out. */
async function given(url: string): Promise<string[]> {
  const bytes = Buffer.from(await (await fetch(url)).text());
  const parser = new ExpositionParser('text');
  const set = new LabelSet();
  const out: string[] = [];
  parser.reset(bytes);
  for (let kind = parser.next(); kind !== ENTRY_END; kind = parser.next()) {
    if (kind === ENTRY_TYPE) out.push(`${parser.metric} ${parser.text}`);
    if (kind !== ENTRY_SERIES) continue;
    set.clear();
    readSeries(parser.bytes, parser.seriesStart, parser.seriesEnd, 'text', set);
    set.sort();
    const name = set.valueOf('__name__');
    const value = parser.values[0] as number;
    const labels = set.toFlat().map(text => text.replace(/^(\d+)\.0$/, '$1'));
    out.push(`${labels.join('|')} ${name.startsWith('push_') ? Number(value > 0) : value}`);
  }
  return out.filter(line => !/(^|\|)(go|process|pushgateway)_/.test(line)).sort();
}

async function compare(t: TestContext, pushes: readonly Push[], why: string): Promise<void> {
  const [theirs, server] = await Promise.all([
    startGateway(t),
    Sightline.start(t, { config: 'host: {enabled: false}\n' }),
  ]);
  for (const push of pushes) {
    const [want, got] = [await send(theirs, push), await send(server.url, push)];
    assert.equal(got, want, `${why}: ${push.join(' ')}`);
  }
  assert.deepEqual(await given(`${server.url}/pushgateway/metrics`), await given(`${theirs}/metrics`), why);
}

test('statuses and metrics of a list of pushes are those of a Pushgateway', SKIP, t => compare(t, PUSHES, 'in order'));

test('and in any order', SKIP, t => {
  const seed = 42;
  const random = new Random(seed);
  // After a path that is no base64 the Pushgateway of Debian answers no further push to that path.
  // Asked a second time for a path that is no base64, Debian's Pushgateway (1.5.1) does not answer.
  const sound = PUSHES.filter(([, path]) => !path.includes('!'));
  const pushes = Array.from({ length: 150 }, () => sound[random.int(sound.length)] as Push);
  return compare(t, pushes, `seed ${seed}`);
});
