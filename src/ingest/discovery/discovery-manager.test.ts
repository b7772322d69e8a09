/** The manager with discoverers that the tests speak for, and with the scraper behind it. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { ManualClock, settle } from '../../../test/support/manual-clock.ts';
import type { RelabelRule, ScrapeStore } from '../../contracts/scrape-store.ts';
import { silentLogger } from '../../lib/log.ts';
import { MetricsRegistry } from '../../lib/metrics.ts';
import type { ScrapeFetcher } from '../scrape/http-fetcher.ts';
import type { ScrapeJob } from '../scrape/scrape-job.ts';
import { ScrapeManager } from '../scrape/scrape-manager.ts';
import type { DiscoveryContext } from './discoverer.ts';
import { DiscoveryManager } from './discovery-manager.ts';
import type { DiscoverySection } from './sections.ts';
import type { TargetGroup } from './target-group.ts';

function section(name: string): DiscoverySection {
  return { mechanism: 'file', files: [name], refreshIntervalMs: 1000, baseDir: '/' };
}

function group(source: string, ...addresses: string[]): TargetGroup {
  return { source, labels: new Map(), targets: addresses.map(address => new Map([['__address__', address]])) };
}

function job(jobName: string, discovery: DiscoverySection[], changes: Partial<ScrapeJob> = {}): ScrapeJob {
  return {
    jobName,
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
    bodySizeLimit: 0,
    sampleLimit: 0,
    targetLimit: 0,
    labelLimit: 0,
    labelNameLengthLimit: 0,
    labelValueLengthLimit: 0,
    keepDroppedTargets: 0,
    httpClient: {},
    staticConfigs: [],
    discovery,
    relabelConfigs: [],
    metricRelabelConfigs: [],
    baseDir: '/',
    ...changes,
  } as ScrapeJob;
}

function rule(changes: Partial<RelabelRule>): RelabelRule {
  return {
    sourceLabels: [],
    separator: ';',
    regex: '(.*)',
    modulus: 0,
    targetLabel: '',
    replacement: '$1',
    action: 'replace',
    ...changes,
  };
}

interface Rig {
  clock: ManualClock;
  manager: DiscoveryManager;
  scraper: ScrapeManager;
  metrics: MetricsRegistry;
  /** Of the section named so. */
  speaker(name: string): DiscoveryContext;
  started: string[];
  ended: string[];
  /** Targets told to the store as begun and as gone, by address. */
  opened: string[];
  closed: { id: number; goneAtMs: number }[];
  addresses(): string[];
}

function rig(t: TestContext): Rig {
  const clock = new ManualClock();
  const metrics = new MetricsRegistry();
  const contexts = new Map<string, DiscoveryContext>();
  const started: string[] = [];
  const ended: string[] = [];
  const manager = new DiscoveryManager({
    clock,
    log: silentLogger,
    metrics,
    openHttp: () => assert.fail('no client is wanted'),
    random: () => 0.5,
    create: of => ({
      async run(context) {
        const name = of.mechanism === 'file' ? (of.files[0] as string) : '';
        started.push(name);
        contexts.set(name, context);
        await new Promise(done => context.signal.addEventListener('abort', done));
        ended.push(name);
      },
    }),
  });
  const opened: string[] = [];
  const closed: Rig['closed'] = [];
  const store = {
    open: (_id: number, target: { labels: readonly string[] }) => opened.push(target.labels[1] as string),
    close: async (id: number, goneAtMs: number) => void closed.push({ id, goneAtMs }),
    store: async () => ({ error: '', storeError: '', samples: 0, metadata: null }),
  } as unknown as ScrapeStore;
  const fetcher: ScrapeFetcher = { fetch: () => Promise.reject(new Error('down')) } as unknown as ScrapeFetcher;
  const scraper = new ScrapeManager({
    store,
    clock,
    log: silentLogger,
    metrics,
    tenant: 'default',
    fetcher,
    discovery: manager,
  });
  t.after(() => scraper.stop());
  const speaker = (name: string): DiscoveryContext => contexts.get(name) ?? assert.fail(`${name} does not run`);
  const addresses = (): string[] =>
    scraper.active('default').map(target => target.scrapeUrl.slice('http://'.length, -'/metrics'.length));
  return { clock, manager, scraper, metrics, speaker, started, ended, opened, closed, addresses };
}

test('targets come and go, the others keep their rhythm, and what is gone is marked', async t => {
  const { clock, scraper, speaker, addresses, opened, closed } = rig(t);
  scraper.apply([job('j', [section('one')])]);
  await settle();
  speaker('one').replace([group('a', 'a:1'), group('b', 'b:1')]);
  assert.deepEqual(addresses(), []);
  await clock.advance(100);
  assert.deepEqual(addresses(), ['a:1', 'b:1']);
  await clock.advance(20_000);
  assert.deepEqual([...opened].sort(), ['a:1', 'b:1']);
  const before = scraper.active('default')[1];
  speaker('one').replace([group('b', 'b:1'), group('c', 'c:1')]);
  await clock.advance(5000);
  assert.deepEqual(addresses(), ['b:1', 'c:1']);
  await settle();
  assert.equal(closed.length, 1);
  assert.ok((closed[0]?.goneAtMs ?? 0) > 0, 'with staleness markers');
  assert.equal(scraper.active('default')[0]?.lastScrapeMs, before?.lastScrapeMs);
  await clock.advance(10_000);
  assert.deepEqual([...opened].sort(), ['a:1', 'b:1', 'c:1']);
});

test('many changes are told 5 s apart', async t => {
  const { clock, scraper, speaker, metrics, addresses } = rig(t);
  scraper.apply([job('j', [section('one')])]);
  await settle();
  const updates = (): number =>
    metrics.snapshot().find(family => family.name === 'sightline_sd_updates_total')?.samples[0]?.value ?? -1;
  for (let i = 0; i < 300; i++) {
    speaker('one').merge([group('a', `a:${i + 1}`)]);
    await clock.advance(100);
  }
  assert.ok(updates() >= 6 && updates() <= 7, `${updates()} updates in 30 s`);
  await clock.advance(5000);
  assert.deepEqual(addresses(), ['a:300']);
  speaker('one').synced();
  await clock.advance(5000);
  const told = updates();
  // The same again is no change.
  speaker('one').replace([group('a', 'a:300')]);
  await clock.advance(10_000);
  assert.equal(updates(), told);
});

test('labels that change without effect on the target keep its loop', async t => {
  const { clock, scraper, speaker, closed } = rig(t);
  scraper.apply([job('j', [section('one')])]);
  await settle();
  const pod = (ready: string): TargetGroup => ({ ...group('a', 'a:1'), labels: new Map([['__meta_ready', ready]]) });
  speaker('one').replace([pod('false')]);
  await clock.advance(20_000);
  const last = scraper.active('default')[0]?.lastScrapeMs;
  speaker('one').replace([pod('true')]);
  await clock.advance(100);
  const [target] = scraper.active('default');
  assert.ok(target?.discoveredLabels.includes('true'));
  assert.equal(target?.lastScrapeMs, last);
  assert.deepEqual(closed, []);
});

test('jobs that say the same share one discoverer; a reload keeps what did not change', async t => {
  const { scraper, clock, speaker, started, ended, addresses, closed } = rig(t);
  scraper.apply([job('j', [section('one')]), job('k', [section('one'), section('two')])]);
  await settle();
  assert.deepEqual(started, ['one', 'two']);
  speaker('one').replace([group('a', 'a:1')]);
  speaker('two').replace([group('a', 'b:1')]);
  await clock.advance(100);
  assert.deepEqual(addresses(), ['a:1', 'a:1', 'b:1']);
  await clock.advance(20_000);
  scraper.apply([
    job('j', [section('one')], { metricRelabelConfigs: [rule({ targetLabel: 'x' })] }),
    job('k', [section('one')]),
  ]);
  await settle();
  assert.deepEqual([started, ended], [['one', 'two'], ['two']]);
  assert.deepEqual(addresses(), ['a:1', 'a:1']);
  // Gone: b:1. The target of j goes on under new settings, without markers.
  assert.deepEqual(closed.map(({ goneAtMs }) => goneAtMs > 0).sort(), [false, true]);
});

test('new sections take over without a gap, and not for ever', async t => {
  const { scraper, clock, speaker, addresses, closed, ended } = rig(t);
  scraper.apply([job('j', [section('one')])]);
  await settle();
  speaker('one').replace([group('a', 'a:1', 'b:1')]);
  await clock.advance(20_000);
  scraper.apply([job('j', [section('two')])]);
  await settle();
  assert.deepEqual(ended, ['one']);
  assert.deepEqual(addresses(), ['a:1', 'b:1'], 'the old ones, until the new are known');
  speaker('two').replace([group('x', 'b:1', 'c:1')]);
  await clock.advance(5000);
  assert.deepEqual(addresses(), ['b:1', 'c:1']);
  assert.equal(closed.length, 1);
  scraper.apply([job('j', [section('silent')])]);
  await clock.advance(29_000);
  assert.deepEqual(addresses(), ['b:1', 'c:1']);
  await clock.advance(6000);
  assert.deepEqual(addresses(), []);
});

test('a discoverer that throws, fails or hangs harms nobody else', async t => {
  const { scraper, clock, speaker, addresses, metrics, manager } = rig(t);
  scraper.apply([job('good', [section('one')]), job('bad', [section('two')])]);
  await settle();
  speaker('one').replace([group('a', 'a:1')]);
  speaker('two').replace([group('a', 'b:1')]);
  await clock.advance(100);
  speaker('two').fail(new Error('refused'));
  speaker('two').fail(new Error('refused'));
  speaker('one').replace([group('a', 'a:2')]);
  await clock.advance(5000);
  assert.deepEqual(addresses(), ['b:1', 'a:2']);
  const [good, bad] = manager.status();
  assert.deepEqual([good?.lastError, good?.targets, bad?.lastError, bad?.targets], ['', 1, 'refused', 1]);
  assert.deepEqual(scraper.discovery('default').length, 2);
  assert.deepEqual(scraper.discovery('other'), []);
  const value = (name: string): number[] | undefined =>
    metrics
      .snapshot()
      .find(family => family.name === name)
      ?.samples.map(sample => sample.value);
  assert.deepEqual(value('sightline_sd_failures_total'), [2]);
  assert.deepEqual(value('sightline_sd_failing'), [0, 1]);
  speaker('two').replace([group('a', 'b:1')]);
  assert.deepEqual(value('sightline_sd_failing'), [0, 0]);
});

test('dropped targets tell the rule, and are kept in number as the job says', async t => {
  const { scraper, clock, speaker } = rig(t);
  const relabelConfigs = [
    rule({ targetLabel: 'a', replacement: 'b' }),
    rule({ action: 'drop', sourceLabels: ['__address__'], regex: 'drop.*' }),
    rule({ sourceLabels: ['__address__'], regex: 'bad.*', targetLabel: '__address__', replacement: '' }),
  ];
  scraper.apply([job('j', [section('one')], { relabelConfigs, keepDroppedTargets: 3 })]);
  await settle();
  speaker('one').replace([group('a', 'drop:1', 'a:1', 'bad:1', 'drop:2', 'drop:3', 'a/b')]);
  await clock.advance(100);
  assert.deepEqual(scraper.droppedCounts('default'), { j: 5 });
  assert.deepEqual(
    scraper.dropped('default').map(({ reason, rule: index }) => [reason, index]),
    [
      ['relabel_configs[1]: drop of [__address__] by regex "drop.*"', 1],
      ['no address', null],
      ['relabel_configs[1]: drop of [__address__] by regex "drop.*"', 1],
    ],
  );
});

test('a large update is worked off in slices and whole', async t => {
  const { scraper, clock, speaker } = rig(t);
  const relabelConfigs = Array.from({ length: 10 }, (_, i) =>
    rule({ sourceLabels: ['__meta_x'], regex: '(.+)-(.+)', targetLabel: `l${i}` }),
  );
  scraper.apply([job('j', [section('one')], { relabelConfigs })]);
  await settle();
  speaker('one').replace(
    Array.from({ length: 5000 }, (_, i) => ({
      ...group(`s${i}`, `h${i}:1`),
      labels: new Map([['__meta_x', `a-${i}`]]),
    })),
  );
  await clock.advance(100);
  for (let i = 0; i < 500 && scraper.active('default').length === 0; i++) await settle();
  assert.equal(scraper.active('default').length, 5000);
});
