import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { ManualClock, settle } from '../../../test/support/manual-clock.ts';
import { RecordingSink } from '../../../test/support/recording-sink.ts';
import { IdentityHasher } from '../../lib/identity-hash.ts';
import { silentLogger } from '../../lib/log.ts';
import { MetricsRegistry } from '../../lib/metrics.ts';
import type { ScrapeFetcher, ScrapeRequest, ScrapeResponse } from './http-fetcher.ts';
import { acceptHeader } from './negotiate.ts';
import type { ScrapeJob } from './scrape-job.ts';
import { ScrapeManager } from './scrape-manager.ts';
import { ScrapeSessions } from './scrape-sessions.ts';

const TEXT = 'text/plain; version=0.0.4';

const answerWith = (bytes: Uint8Array, contentType: string, contentEncoding = ''): ScrapeResponse => ({
  body: { contentType, contentEncoding, bytes },
  release() {},
});

class FakeTarget implements ScrapeFetcher {
  requests: ScrapeRequest[] = [];
  answer: (request: ScrapeRequest) => Promise<ScrapeResponse> | ScrapeResponse;

  constructor(text: string) {
    this.answer = () => answerWith(Buffer.from(text), TEXT);
  }

  says(text: string, contentType = TEXT): void {
    this.answer = () => answerWith(Buffer.from(text), contentType);
  }

  async fetch(request: ScrapeRequest): Promise<ScrapeResponse> {
    this.requests.push(request);
    return this.answer(request);
  }
}

function job(changes: Partial<ScrapeJob> = {}): ScrapeJob {
  return {
    jobName: 'j',
    scrapeIntervalMs: 10_000,
    scrapeTimeoutMs: 5000,
    metricsPath: '/metrics',
    scheme: 'http',
    params: new Map(),
    honorLabels: false,
    honorTimestamps: true,
    trackTimestampsStaleness: false,
    enableCompression: true,
    extraScrapeMetrics: false,
    scrapeProtocols: ['PrometheusText0.0.4'],
    fallbackScrapeProtocol: '',
    nameValidation: 'utf8',
    nameEscaping: 'allow-utf-8',
    scrapeNativeHistograms: false,
    alwaysScrapeClassicHistograms: false,
    convertClassicHistograms: false,
    nativeHistogramBucketLimit: 0,
    nativeHistogramMinBucketFactor: 0,
    bodySizeLimit: 0,
    sampleLimit: 0,
    targetLimit: 0,
    labelLimit: 0,
    labelNameLengthLimit: 0,
    labelValueLengthLimit: 0,
    keepDroppedTargets: 0,
    httpClient: {},
    staticConfigs: [{ targets: ['t:1'], labels: new Map() }],
    discovery: [],
    relabelConfigs: [],
    metricRelabelConfigs: [],
    baseDir: '/',
    ...changes,
  };
}

interface Rig {
  clock: ManualClock;
  sink: RecordingSink;
  target: FakeTarget;
  manager: ScrapeManager;
  sessions: ScrapeSessions;
  metrics: MetricsRegistry;
  /** Lets one interval pass and gives what it brought, without durations. */
  round(): Promise<string[]>;
}

function rig(t: TestContext, text: string, ...jobs: ScrapeJob[]): Rig {
  const clock = new ManualClock();
  const sink = new RecordingSink();
  const target = new FakeTarget(text);
  const metrics = new MetricsRegistry();
  const sessions = new ScrapeSessions({
    sink,
    hasher: new IdentityHasher(new Uint8Array(16)),
    monotonic: () => clock.monotonic(),
  });
  const manager = new ScrapeManager({
    store: sessions,
    clock,
    log: silentLogger,
    metrics,
    tenant: 'default',
    fetcher: target,
  });
  t.after(() => manager.stop());
  manager.apply(jobs);
  const round = async (): Promise<string[]> => {
    sink.clear();
    await clock.advance(10_000);
    await settle(20);
    return sink.lines().filter(line => !line.startsWith('scrape_duration'));
  };
  return { clock, sink, target, manager, sessions, metrics, round };
}

const SELF = 'instance="t:1", job="j"';

function report(up: number, scraped: number, post: number, added: number): string[] {
  return [
    `scrape_samples_post_metric_relabeling{${SELF}} ${post}`,
    `scrape_samples_scraped{${SELF}} ${scraped}`,
    `scrape_series_added{${SELF}} ${added}`,
    `up{${SELF}} ${up}`,
  ];
}

test('samples get the target labels, with a report beside', async t => {
  const { round, target } = rig(t, '# TYPE a counter\na{x="1"} 2\nb 3\n', job());
  assert.deepEqual(await round(), [`a{${SELF}, x="1"} 2`, `b{${SELF}} 3`, ...report(1, 2, 2, 2)]);
  assert.deepEqual(await round(), [`a{${SELF}, x="1"} 2`, `b{${SELF}} 3`, ...report(1, 2, 2, 0)]);
  const request = target.requests[0];
  assert.equal(request?.url, 'http://t:1/metrics');
  assert.equal(request?.headers['x-prometheus-scrape-timeout-seconds'], '5');
  assert.equal(target.requests.length, 2);
});

test('a series that disappears is marked stale once', async t => {
  const { round, target } = rig(t, 'a 1\nb 2\n', job());
  await round();
  target.says('a 1\n');
  assert.deepEqual(await round(), [`a{${SELF}} 1`, `b{${SELF}} STALE`, ...report(1, 1, 1, 0)]);
  assert.deepEqual(await round(), [`a{${SELF}} 1`, ...report(1, 1, 1, 0)]);
});

test('a failed scrape marks everything stale once, and up is 0', async t => {
  const { round, target, manager } = rig(t, 'a 1\nb 2\n', job());
  await round();
  target.answer = () => {
    throw new Error('connection refused');
  };
  assert.deepEqual(await round(), [`a{${SELF}} STALE`, `b{${SELF}} STALE`, ...report(0, 0, 0, 0)]);
  const [status] = manager.active('default');
  assert.deepEqual([status?.health, status?.lastError], ['down', 'connection refused']);
  assert.deepEqual(await round(), report(0, 0, 0, 0));
  target.says('a 5\n');
  assert.deepEqual((await round())[0], `a{${SELF}} 5`);
  assert.equal(manager.active('default')[0]?.health, 'up');
});

test('a body that is broken half-way stores none of it', async t => {
  const { round, target, manager } = rig(t, 'a 1\n', job());
  await round();
  target.says('a 2\nb 3\n{{{\n');
  // The report tells how far reading came.
  assert.deepEqual(await round(), [`a{${SELF}} STALE`, ...report(0, 2, 2, 1)]);
  assert.match(manager.active('default')[0]?.lastError ?? '', /line 3/);
});

test('a target that does not answer in time is given up', async t => {
  const { round, target, manager } = rig(t, 'a 1\n', job());
  await round();
  target.answer = request =>
    new Promise((_done, failed) => request.signal.addEventListener('abort', () => failed(new Error('aborted'))));
  await round();
  await round();
  assert.match(manager.active('default')[0]?.lastError ?? '', /timed out after 5 s/);
});

test('exposed labels give way to the target unless they are honoured', async t => {
  const text = 'a{job="theirs",exported_job="odd",instance=""} 1\n';
  const plain = rig(t, text, job());
  assert.deepEqual(
    (await plain.round())[0],
    'a{exported_exported_job="theirs", exported_job="odd", instance="t:1", job="j"} 1',
  );
  const honoured = rig(t, text, job({ honorLabels: true }));
  assert.deepEqual((await honoured.round())[0], 'a{exported_job="odd", job="theirs"} 1');
});

test('timestamps of the target are kept or not, and such series do not go stale', async t => {
  const { round, sink, target } = rig(t, 'a 1 1600000000000\nb 2\n', job());
  await round();
  assert.equal(sink.samples.find(s => s.labels.includes('a'))?.timestampMs, 1_600_000_000_000);
  target.says('c 1\n');
  const lines = await round();
  assert.ok(lines.includes(`b{${SELF}} STALE`) && !lines.some(line => line.startsWith('a')), lines.join('\n'));
  const ignored = rig(t, 'a 1 1600000000000\n', job({ honorTimestamps: false }));
  await ignored.round();
  assert.equal(
    ignored.sink.samples.find(s => s.labels.includes('a'))?.timestampMs,
    ignored.sink.samples[1]?.timestampMs,
  );
});

test('metric relabelling drops and renames; limits fail the scrape as a whole', async t => {
  const drop = {
    sourceLabels: ['__name__'],
    separator: ';',
    regex: 'b',
    modulus: 0,
    targetLabel: '',
    replacement: '$1',
    action: 'drop',
  };
  const relabelled = rig(t, 'a 1\nb 2\n', job({ metricRelabelConfigs: [drop] }));
  assert.deepEqual(await relabelled.round(), [`a{${SELF}} 1`, ...report(1, 2, 1, 1)]);
  assert.deepEqual(await relabelled.round(), [`a{${SELF}} 1`, ...report(1, 2, 1, 0)]);
  for (const [changes, said, message] of [
    [{ sampleLimit: 1 }, report(0, 2, 2, 2), /sample_limit exceeded: 2 samples/],
    [{ labelLimit: 2 }, report(0, 1, 0, 0), /label_limit exceeded/],
    [{ labelNameLengthLimit: 7 }, report(0, 1, 0, 0), /label_name_length_limit exceeded/],
    [{ labelValueLengthLimit: 2 }, report(0, 1, 0, 0), /label_value_length_limit exceeded/],
  ] as const) {
    const limited = rig(t, 'a 1\nb 2\n', job(changes));
    assert.deepEqual(await limited.round(), said);
    assert.match(limited.manager.active('default')[0]?.lastError ?? '', message);
  }
});

test('OpenMetrics is read, an unknown content type needs a fallback', async t => {
  const open = rig(t, '', job());
  open.target.says('# TYPE a counter\na_total 1\n# EOF\n', 'application/openmetrics-text; version=1.0.0');
  assert.deepEqual((await open.round())[0], `a_total{${SELF}} 1`);
  open.target.says('a 1\n', 'text/html');
  assert.deepEqual((await open.round())[0], `a_total{${SELF}} STALE`);
  assert.match(open.manager.active('default')[0]?.lastError ?? '', /fallback_scrape_protocol/);
  const fallback = rig(t, '', job({ fallbackScrapeProtocol: 'PrometheusText0.0.4' }));
  fallback.target.says('a 1\n', '');
  assert.deepEqual((await fallback.round())[0], `a{${SELF}} 1`);
});

test('a target that is taken away ends with markers, one that stays goes on', async t => {
  const two = job({ staticConfigs: [{ targets: ['t:1', 't:2'], labels: new Map([['zone', 'x']]) }] });
  const { round, manager, sink } = rig(t, 'a 1\n', two);
  await round();
  sink.clear();
  manager.apply([job({ staticConfigs: [{ targets: ['t:2'], labels: new Map([['zone', 'x']]) }] })]);
  await settle(20);
  assert.deepEqual(
    sink.lines().map(line => line.replace('instance="t:1", job="j", zone="x"', '')),
    [
      'a{} STALE',
      'scrape_duration_seconds{} STALE',
      'scrape_samples_post_metric_relabeling{} STALE',
      'scrape_samples_scraped{} STALE',
      'scrape_series_added{} STALE',
      'up{} STALE',
    ],
  );
  const lines = await round();
  assert.deepEqual(
    lines.filter(line => line.startsWith('a')),
    ['a{instance="t:2", job="j", zone="x"} 1'],
  );
});

test('new settings for the same target make no markers', async t => {
  const { round, manager, sink, target } = rig(t, 'a 1\n', job());
  await round();
  sink.clear();
  manager.apply([job({ metricsPath: '/other' })]);
  await settle(20);
  assert.deepEqual(sink.lines(), []);
  await round();
  assert.equal(target.requests.at(-1)?.url, 'http://t:1/other');
});

test('target relabelling steers address, path, parameters, interval; drops are counted', async t => {
  const rule = (changes: object) => ({
    sourceLabels: [] as string[],
    separator: ';',
    regex: '(.*)',
    modulus: 0,
    targetLabel: '',
    replacement: '$1',
    action: 'replace',
    ...changes,
  });
  const jobs = job({
    params: new Map([['module', ['http', 'extra']]]),
    staticConfigs: [{ targets: ['t:1', 'drop:1'], labels: new Map() }],
    relabelConfigs: [
      rule({ sourceLabels: ['__address__'], regex: 'drop.*', action: 'drop' }),
      rule({ targetLabel: '__metrics_path__', replacement: '/probe' }),
      rule({ sourceLabels: ['__address__'], targetLabel: '__param_target' }),
      rule({ targetLabel: '__scrape_interval__', replacement: '20s' }),
    ],
  });
  const { manager, round } = rig(t, 'a 1\n', jobs);
  await round();
  const [active] = manager.active('default');
  assert.equal(active?.scrapeUrl, 'http://t:1/probe?module=http&module=extra&target=t%3A1');
  assert.equal(active?.scrapeIntervalMs, 20_000);
  assert.deepEqual(active?.labels, ['instance', 't:1', 'job', 'j']);
  assert.deepEqual(manager.droppedCounts('default'), { j: 1 });
  assert.equal(manager.dropped('default')[0]?.discoveredLabels.includes('drop:1'), true);
  assert.deepEqual(manager.scrapePools('default'), ['j']);
  assert.deepEqual(manager.active('other'), []);
});

test('too many targets block the job, as Prometheus does', async t => {
  const { round, manager } = rig(
    t,
    'a 1\n',
    job({ targetLimit: 1, staticConfigs: [{ targets: ['t:1', 't:2'], labels: new Map() }] }),
  );
  const lines = await round();
  assert.equal(lines.filter(line => /^up\{.*\} 0$/.test(line)).length, 2);
  assert.match(manager.active('default')[0]?.lastError ?? '', /target_limit exceeded/);
});

test('targets are spread over the interval, each in its own rhythm', async t => {
  const targets = Array.from({ length: 40 }, (_, i) => `t:${i}`);
  const { clock, sink } = rig(t, 'a 1\n', job({ staticConfigs: [{ targets, labels: new Map() }] }));
  await clock.advance(30_000);
  const times = new Map<string, number[]>();
  for (const sample of sink.samples) {
    if (!sample.labels.includes('a')) continue;
    const key = sample.labels.join();
    times.set(key, [...(times.get(key) ?? []), sample.timestampMs]);
  }
  assert.equal(times.size, 40);
  for (const list of times.values())
    assert.deepEqual(
      [(list[1] as number) - (list[0] as number), (list[2] as number) - (list[1] as number)],
      [10_000, 10_000],
    );
  const phases = [...times.values()].map(list => (list[0] as number) % 10_000).sort((a, b) => a - b);
  const widest = Math.max(...phases.map((phase, i) => phase - (phases[i - 1] ?? 0)));
  assert.ok(widest < 2500, `a gap of ${widest} ms`);
});

test('a store that refuses is counted and the next scrape goes on', async t => {
  const { round, sink, metrics } = rig(t, 'a 1\n', job());
  sink.failWith = new Error('disk full');
  await round();
  sink.failWith = null;
  assert.deepEqual((await round())[0], `a{${SELF}} 1`);
  const family = metrics.snapshot().find(f => f.name === 'sightline_scrape_append_failures_total');
  assert.equal(family?.samples[0]?.value, 1);
});

test('types and help texts are kept per target', async t => {
  const { round, manager } = rig(t, '# HELP a What.\n# TYPE a gauge\na 1\n', job());
  await round();
  assert.deepEqual(manager.metadata('default'), [
    { labels: ['instance', 't:1', 'job', 'j'], entries: [{ metric: 'a', type: 'gauge', help: 'What.', unit: '' }] },
  ]);
});

test('a large body is read in slices and whole', async t => {
  const text = Array.from({ length: 20_000 }, (_, i) => `a{i="${i}"} ${i}\n`).join('');
  const { round, sink } = rig(t, text, job());
  await round();
  for (let i = 0; i < 50 && sink.samples.length === 0; i++) await settle();
  assert.equal(sink.samples.filter(s => s.labels.includes('a')).length, 20_000);
});

test('packed bodies are unpacked, within the limit; small ones leave the pool of buffers alone', async t => {
  const { round, target, manager } = rig(t, '', job({ bodySizeLimit: 1000, extraScrapeMetrics: true }));
  const bystander = Buffer.from('someone else');
  for (const pack of [gzipSync, zstdCompressSync]) {
    const encoding = pack === gzipSync ? 'gzip' : 'zstd';
    target.answer = () => answerWith(pack('a 1\n'), TEXT, encoding);
    const lines = await round();
    assert.equal(lines[0], `a{${SELF}} 1`);
    assert.ok(lines.includes(`scrape_body_size_bytes{${SELF}} 4`));
    target.answer = () => answerWith(pack('a 1\n'.repeat(1000)), TEXT, encoding);
    assert.ok((await round()).includes(`scrape_body_size_bytes{${SELF}} -1`));
    assert.match(manager.active('default')[0]?.lastError ?? '', /body size limit exceeded: more than 1000 bytes/);
  }
  assert.equal(bystander.toString(), 'someone else');
});

test('a target whose series change all the time is not remembered for ever, and each of them ends once', async t => {
  const { round, sink, target, sessions } = rig(t, '', job());
  for (let n = 0; n < 12; n++) {
    target.says(Array.from({ length: 400 }, (_, i) => `churn{n="${n}",i="${i}"} ${i}\n`).join(''));
    const lines = await round();
    assert.equal(lines.filter(line => line.startsWith('churn') && line.endsWith('STALE')).length, n === 0 ? 0 : 400);
    assert.equal(lines.filter(line => line.startsWith('churn') && !line.endsWith('STALE')).length, 400);
    sink.clear();
  }
  // 12 x 400 series of about 250 bytes each, were all of them kept.
  assert.ok(sessions.memoryBytes < 900_000, `${sessions.memoryBytes} bytes`);
});

test('what is asked for follows the job', () => {
  assert.equal(
    acceptHeader(['PrometheusProto', 'OpenMetricsText1.0.0', 'PrometheusText0.0.4'], 'allow-utf-8'),
    'application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,' +
      'application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.3',
  );
});
