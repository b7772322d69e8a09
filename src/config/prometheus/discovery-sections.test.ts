import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { DiscoverySection } from './discovery-sections.ts';
import { type LoadedPrometheus, loadPrometheusFile } from './load.ts';

function load(t: TestContext, sections: string): LoadedPrometheus & { dir: string } {
  const dir = mkdtempSync(join(tmpdir(), 'sightline-sd-config-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const file = join(dir, 'prometheus.yml');
  writeFileSync(file, `scrape_configs:\n  - job_name: j\n${sections.replaceAll(/^/gm, '    ')}\n`);
  return { ...loadPrometheusFile(file), dir };
}

function sectionsOf(loaded: LoadedPrometheus): DiscoverySection[] {
  return loaded.config.scrapeConfigs[0]?.discovery ?? [];
}

test('defaults are filled in', t => {
  const loaded = load(
    t,
    [
      'file_sd_configs: [{files: [a.json]}]',
      'http_sd_configs: [{url: "http://x/"}, {url: "https://y/", refresh_interval: 5m}]',
      'dns_sd_configs: [{names: [a.b]}]',
      'consul_sd_configs: [{}]',
      'docker_sd_configs: [{host: "unix:///var/run/docker.sock"}]',
      'kubernetes_sd_configs: [{role: pod}]',
    ].join('\n'),
  );
  assert.deepEqual(loaded.unsupported, []);
  const { dir: baseDir } = loaded;
  assert.deepEqual(sectionsOf(loaded), [
    { mechanism: 'file', files: ['a.json'], refreshIntervalMs: 300_000, baseDir },
    { mechanism: 'http', url: 'http://x/', refreshIntervalMs: 20_000, httpClient: {}, baseDir },
    { mechanism: 'http', url: 'https://y/', refreshIntervalMs: 300_000, httpClient: {}, baseDir },
    { mechanism: 'dns', names: ['a.b'], type: 'SRV', port: 0, refreshIntervalMs: 20_000 },
    {
      mechanism: 'consul',
      server: 'localhost:8500',
      scheme: 'http',
      pathPrefix: '',
      token: '',
      datacenter: '',
      namespace: '',
      partition: '',
      tagSeparator: ',',
      allowStale: true,
      services: [],
      tags: [],
      nodeMeta: new Map(),
      filter: '',
      healthFilter: '',
      refreshIntervalMs: 0,
      httpClient: {},
      baseDir,
    },
    {
      mechanism: 'kubernetes',
      role: 'pod',
      apiServer: '',
      kubeconfigFile: '',
      ownNamespace: false,
      namespaces: [],
      selectors: [],
      attachNode: false,
      attachNamespace: false,
      httpClient: {},
      baseDir,
    },
    {
      mechanism: 'docker',
      host: 'unix:///var/run/docker.sock',
      port: 80,
      filters: [],
      hostNetworkingHost: 'localhost',
      matchFirstNetwork: true,
      refreshIntervalMs: 20_000,
      httpClient: {},
      baseDir,
    },
  ]);
});

test('client settings stay apart from the section; a user of Consul becomes basic auth', t => {
  const loaded = load(
    t,
    [
      'consul_sd_configs: [{server: "c:1", username: u, password: p, tls_config: {ca_file: ca}}]',
      'docker_sd_configs: [{host: "tcp://d:1", filters: [{name: label, values: [a]}], authorization: {credentials: x}}]',
    ].join('\n'),
  );
  const clients = sectionsOf(loaded).map(section => ('httpClient' in section ? section.httpClient : null));
  assert.deepEqual(clients, [
    { tls_config: { ca_file: 'ca' }, basic_auth: { username: 'u', password: 'p' } },
    { authorization: { credentials: 'x' } },
  ]);
});

test('what has no effect is named, what contradicts itself refused', t => {
  const loaded = load(t, 'kubernetes_sd_configs: [{role: pod, attach_metadata: {node: true, deployment: true}}]');
  assert.deepEqual(
    loaded.unsupported.map(({ key }) => key),
    ['scrape_configs.kubernetes_sd_configs.attach_metadata.deployment'],
  );
  for (const [text, message] of [
    ['consul_sd_configs: [{server: ""}]', /requires a server address/],
    [
      'consul_sd_configs: [{username: u, basic_auth: {username: v}}]',
      /at most one of consul SD configuration username/,
    ],
    ['consul_sd_configs: [{token: t, authorization: {credentials: x}}]', /at most one of consul SD token/],
    ['docker_sd_configs: [{}]', /host missing/],
    ['dns_sd_configs: [{names: [a], type: A}]', /a port is required/],
  ] as [string, RegExp][]) {
    assert.throws(() => load(t, text), message, text);
  }
});
