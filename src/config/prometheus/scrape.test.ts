/** What a scrape config inherits and what it means: protocols, histogram options, escaping, client settings. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { loadPrometheusFile } from './load.ts';
import type { ScrapeConfig } from './model.ts';

function load(t: TestContext, text: string): { jobs: ScrapeConfig[]; unsupported: string[] } {
  const folder = mkdtempSync(join(tmpdir(), 'sightline-config-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'prometheus.yml');
  writeFileSync(file, text);
  const { config, unsupported } = loadPrometheusFile(file);
  return { jobs: config.scrapeConfigs, unsupported: unsupported.map(one => one.key) };
}

test('histogram options come from the job, else from global; native ones ask for the binary format first', t => {
  const { jobs } = load(
    t,
    `global: {scrape_native_histograms: true, convert_classic_histograms_to_nhcb: true}
scrape_configs:
  - {job_name: a, native_histogram_bucket_limit: 100, native_histogram_min_bucket_factor: 1.1}
  - {job_name: b, scrape_native_histograms: false, convert_classic_histograms_to_nhcb: false, always_scrape_classic_histograms: true}
  - {job_name: c, scrape_protocols: [PrometheusText0.0.4]}
`,
  );
  const [a, b, c] = jobs as [ScrapeConfig, ScrapeConfig, ScrapeConfig];
  assert.deepEqual(
    [a.scrapeNativeHistograms, a.convertClassicHistograms, a.alwaysScrapeClassicHistograms],
    [true, true, false],
  );
  assert.deepEqual([a.nativeHistogramBucketLimit, a.nativeHistogramMinBucketFactor], [100, 1.1]);
  assert.equal(a.scrapeProtocols[0], 'PrometheusProto');
  assert.deepEqual(
    [b.scrapeNativeHistograms, b.convertClassicHistograms, b.alwaysScrapeClassicHistograms],
    [false, false, true],
  );
  assert.equal(b.scrapeProtocols[0], 'OpenMetricsText1.0.0');
  assert.deepEqual(c.scrapeProtocols, ['PrometheusText0.0.4']);
});

test('escaping follows the validation scheme unless it is given', t => {
  const { jobs } = load(
    t,
    `scrape_configs:
  - {job_name: a}
  - {job_name: b, metric_name_validation_scheme: legacy}
  - {job_name: c, metric_name_escaping_scheme: values}
`,
  );
  assert.deepEqual(
    jobs.map(job => [job.nameValidation, job.nameEscaping]),
    [
      ['utf8', 'allow-utf-8'],
      ['legacy', 'underscores'],
      ['utf8', 'values'],
    ],
  );
});

test('all client settings take effect, and only they are handed to the client', t => {
  const { jobs, unsupported } = load(
    t,
    `scrape_configs:
  - job_name: a
    sample_limit: 3
    oauth2: {client_id: x, client_secret: y, token_url: "http://t/", tls_config: {ca_file: ca}}
    tls_config: {ca_file: ca, min_version: TLS12}
    proxy_url: http://p:1
    no_proxy: 10.0.0.0/8
    enable_http2: false
`,
  );
  assert.deepEqual(unsupported, []);
  assert.deepEqual(Object.keys(jobs[0]?.httpClient ?? {}).sort(), [
    'enable_http2',
    'no_proxy',
    'oauth2',
    'proxy_url',
    'tls_config',
  ]);
});
