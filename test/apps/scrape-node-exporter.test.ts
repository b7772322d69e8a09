/**
 * A real node_exporter, scraped: the queries of its usual panels have answers, and those of published dashboards give the same series as
 * Prometheus gives, which scrapes the same exporter beside us. SIGHTLINE_SUITES names the dashboards.
 */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { findProgram, freePort, needs, startProgram, until } from '../support/programs.ts';
import { Sightline } from '../support/sightline.ts';

const EXPORTER = 'prometheus-node-exporter';

/** What people look at first, with I for the instance. */
const PANELS = [
  '100 * (1 - avg(rate(node_cpu_seconds_total{mode="idle",instance="I"}[10s])))',
  'sum by (mode) (rate(node_cpu_seconds_total{instance="I"}[10s]))',
  'node_load1{instance="I"} / on (instance) count by (instance) (node_cpu_seconds_total{mode="idle",instance="I"})',
  '1 - node_memory_MemAvailable_bytes{instance="I"} / node_memory_MemTotal_bytes{instance="I"}',
  'node_memory_Buffers_bytes{instance="I"} + node_memory_Cached_bytes{instance="I"} + node_memory_SReclaimable_bytes{instance="I"}',
  'node_memory_SwapTotal_bytes{instance="I"} - node_memory_SwapFree_bytes{instance="I"}',
  '1 - node_filesystem_avail_bytes{instance="I",fstype!="rootfs"} / node_filesystem_size_bytes{instance="I",fstype!="rootfs"}',
  'node_filesystem_files_free{instance="I"}',
  'rate(node_network_receive_bytes_total{instance="I"}[10s]) * 8',
  'rate(node_network_transmit_bytes_total{instance="I"}[10s])',
  'irate(node_context_switches_total{instance="I"}[10s])',
  'irate(node_intr_total{instance="I"}[10s])',
  'rate(node_forks_total{instance="I"}[10s])',
  'node_procs_running{instance="I"}',
  'node_time_seconds{instance="I"} - node_boot_time_seconds{instance="I"}',
  'node_filefd_allocated{instance="I"} / node_filefd_maximum{instance="I"}',
  'node_sockstat_TCP_inuse{instance="I"}',
  'rate(node_netstat_Tcp_RetransSegs{instance="I"}[10s])',
  'rate(node_vmstat_pgmajfault{instance="I"}[10s])',
  'node_uname_info{instance="I"}',
  'node_entropy_available_bits{instance="I"}',
  'topk(3, node_scrape_collector_duration_seconds{instance="I"})',
  'rate(process_cpu_seconds_total{instance="I"}[10s])',
  'go_goroutines{instance="I"}',
  'up{instance="I"} == 1',
  'scrape_samples_scraped{instance="I"} - scrape_samples_post_metric_relabeling{instance="I"} == 0',
];

async function exporter(t: TestContext): Promise<string> {
  const port = await freePort();
  startProgram(t, findProgram(EXPORTER), [`--web.listen-address=127.0.0.1:${port}`]);
  await until('node_exporter', async () => (await fetch(`http://127.0.0.1:${port}/metrics`)).ok);
  return `127.0.0.1:${port}`;
}

const config = (address: string): string =>
  `global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n  - job_name: node\n    static_configs: [{targets: ["${address}"], labels: {cluster: c}}]\n`;

async function scrapedBySightline(t: TestContext, address: string): Promise<Sightline> {
  const server = await Sightline.start(t, {
    config: 'host: {enabled: false}\nprometheus: {file: prometheus.yml}\n',
    files: { 'prometheus.yml': config(address) },
  });
  await until(
    'some scrapes',
    async () => Number((await server.query('count_over_time(node_load1[1m])'))[0]?.value[1]) >= 5,
  );
  return server;
}

test('the usual panels have answers', { skip: needs(EXPORTER) }, async t => {
  const address = await exporter(t);
  const server = await scrapedBySightline(t, address);
  for (const panel of PANELS) {
    const result = await server.query(panel.replaceAll('"I"', JSON.stringify(address)));
    assert.ok(result.length > 0, `no answer to ${panel}`);
    for (const { value } of result) assert.ok(Number.isFinite(Number(value[1])), `${panel}: ${value[1]}`);
  }
  const help = JSON.parse(await server.get('/api/v1/metadata?metric=node_cpu_seconds_total')) as {
    data: Record<string, { type: string; help: string }[]>;
  };
  assert.equal(help.data.node_cpu_seconds_total?.[0]?.type, 'counter');
});

interface DashboardQuery {
  dashboard: string;
  panel: string;
  expr: string;
}

const suite = join(process.env.SIGHTLINE_SUITES ?? '', '10-dashboards-rules', 'dashboard_queries.json');

/** Variables as a reader of the dashboard would have chosen them. */
function chosen(expression: string, address: string): string {
  return expression
    .replaceAll(/\$__rate_interval|\$\{__rate_interval\}|\$__interval|\$interval/g, '10s')
    .replaceAll(/\$\{?(?:instance|node)(?::\w+)?\}?/g, address)
    .replaceAll(/\$\{?job(?::\w+)?\}?/g, 'node')
    .replaceAll(/\$\{?cluster(?::\w+)?\}?/g, 'c')
    .replaceAll(/\$\{?(?:diskdevices|device|mountpoint)(?::\w+)?\}?/g, '.*');
}

test('the queries of published dashboards give the series that Prometheus gives', {
  skip: needs(EXPORTER, 'prometheus') || (existsSync(suite) ? false : 'skipped: needs SIGHTLINE_SUITES'),
}, async t => {
  const address = await exporter(t);
  const folder = mkdtempSync(join(tmpdir(), 'sightline-dashboards-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, 'prometheus.yml'), config(address));
  const port = await freePort();
  startProgram(t, findProgram('prometheus'), [
    `--config.file=${join(folder, 'prometheus.yml')}`,
    `--storage.tsdb.path=${join(folder, 'data')}`,
    `--web.listen-address=127.0.0.1:${port}`,
  ]);
  const server = await scrapedBySightline(t, address);
  const ask = async (base: string, query: string): Promise<string[] | null> => {
    const response = await fetch(`${base}/api/v1/query?query=${encodeURIComponent(query)}`);
    const body = (await response.json()) as { status: string; data?: { result: { metric: object }[] } };
    return body.status === 'success' ? (body.data?.result ?? []).map(one => labelText(one.metric)).sort() : null;
  };
  const peer = `http://127.0.0.1:${port}`;
  await until(
    'the peer has some scrapes',
    async () => ((await ask(peer, 'count_over_time(node_load1[1m]) >= 5')) ?? []).length > 0,
  );
  const all = JSON.parse(readFileSync(suite, 'utf8')) as DashboardQuery[];
  const queries = new Set(
    all
      .filter(q => /\bnode_[a-z]/.test(q.expr) && !/\bkube_|\bcontainer_/.test(q.expr))
      .map(q => chosen(q.expr, address)),
  );
  let passed = 0;
  let withAnswers = 0;
  const failures: string[] = [];
  for (const query of queries) {
    const theirs = await ask(peer, query);
    // What the peer's older language does not know is none of this test's business.
    if (theirs === null) continue;
    const ours = await ask(server.url, query);
    if (JSON.stringify(ours) === JSON.stringify(theirs)) passed++;
    else
      failures.push(
        `${query}\n  ours ${JSON.stringify(ours)?.slice(0, 300)}\n  theirs ${JSON.stringify(theirs).slice(0, 300)}`,
      );
    if (theirs.length > 0) withAnswers++;
  }
  t.diagnostic(`dashboards: ${passed} passed, ${failures.length} failed; ${withAnswers} with answers`);
  assert.deepEqual(failures, []);
  assert.ok(withAnswers >= 15, `${withAnswers} with answers`);
});

function labelText(metric: object): string {
  return JSON.stringify(Object.entries(metric).sort(([a], [b]) => (a < b ? -1 : 1)));
}
