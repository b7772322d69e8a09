import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { DEFAULTS } from './defaults.ts';
import { type LoadedConfig, loadConfig, type Overrides } from './load.ts';
import { expandVariables } from './prometheus/scrape.ts';

function load(
  t: TestContext,
  text: string,
  overrides: Overrides = {},
  others: Record<string, string> = {},
): LoadedConfig {
  const dir = mkdtempSync(join(tmpdir(), 'sightline-config-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  for (const [name, content] of Object.entries(others)) writeFileSync(join(dir, name), content);
  writeFileSync(join(dir, 'sightline.yaml'), text);
  return loadConfig(join(dir, 'sightline.yaml'), overrides);
}

function problems(t: TestContext, text: string, others: Record<string, string> = {}): string[] {
  try {
    load(t, text, {}, others);
  } catch (error) {
    return (error as Error).message.split('\n').map(line => line.replace(/^\S*\//, ''));
  }
  return [];
}

test('without a file the defaults hold, as numbers', () => {
  const { config, prometheus, files } = loadConfig('');
  assert.equal(config.http.listen, DEFAULTS.http.listen);
  assert.equal(config.host.interval, 15_000);
  assert.equal(config.storage.retention.raw, 15 * 86_400_000);
  assert.equal(config.storage.retention.size, null);
  assert.equal(config.http.max_body, 32 << 20);
  assert.deepEqual([prometheus.scrapeConfigs, files], [[], []]);
});

test('flags and environment win over the file, the file over the defaults', t => {
  const text = 'http: {listen: "127.0.0.1:1"}\nhost: {interval: 1m}\nself:\n';
  const { config } = load(t, text, { 'http.listen': '127.0.0.1:2', 'log.level': 'debug' });
  assert.deepEqual(
    [config.http.listen, config.host.interval, config.log.level, config.self.interval],
    ['127.0.0.1:2', 60_000, 'debug', 15_000],
  );
});

test('unknown keys are refused with place and suggestion, all at once', t => {
  assert.deepEqual(problems(t, 'htpp: {}\nhost:\n  intervall: 15s\n  zzz: 1\n'), [
    'sightline.yaml:1:1: htpp: unknown key; did you mean "http"?',
    'sightline.yaml:3:3: host.intervall: unknown key; did you mean "interval"?',
    'sightline.yaml:4:3: host.zzz: unknown key; known here: enabled, interval, instance, mount_points_exclude, fs_types_exclude, disk_devices_exclude, network_devices_exclude',
  ]);
});

test('a Prometheus file given as ours is told where it belongs', t => {
  assert.match(problems(t, 'global: {scrape_interval: 5s}\n')[0] ?? '', /name that file here as "prometheus: \{file:/);
});

test('wrong values are refused with place and what would be right', t => {
  const text = [
    'http: {listen: "7070", external_url: "example.org", max_body: 10}',
    'host: {interval: 15, fs_types_exclude: "a(b"}',
    'log: {level: loud}',
    'storage: {retention: {raw: 0s, size: 10XB}}',
    'query: {max_concurrent: 0}',
  ].join('\n');
  const all = problems(t, text);
  const has = (pattern: RegExp): void =>
    assert.ok(
      all.some(line => pattern.test(line)),
      `${pattern} in\n${all.join('\n')}`,
    );
  has(/^sightline\.yaml:1:8: http\.listen: must be HOST:PORT/);
  has(/http\.external_url: must be a URL/);
  has(/http\.max_body: must be a size like 64MiB/);
  has(/^sightline\.yaml:2:8: host\.interval: must be a duration/);
  has(/host\.fs_types_exclude: error parsing regexp/);
  has(/log\.level: /);
  has(/storage\.retention\.raw: must be a duration like 15s or 1h30m greater than 0/);
  has(/storage\.retention\.size: /);
  has(/query\.max_concurrent: /);
});

test('storage rules: short and long forms; what is wrong is told with its place', t => {
  const day = 86_400_000;
  const text = [
    'storage:',
    '  rules:',
    '    - selector: a',
    '      retention: 2d',
    '      downsample: off',
    '    - {selector: b, tenant: acme, retention: {raw: 1d}, downsample: {1m: 3d}}',
  ].join('\n');
  assert.deepEqual(load(t, text).config.storage.rules, [
    { selector: 'a', retention: { raw: 2 * day, '1m': 2 * day, '1h': 2 * day }, downsample: { '1m': 0, '1h': 0 } },
    { selector: 'b', tenant: 'acme', retention: { raw: day }, downsample: { '1m': 3 * day } },
  ]);
  const bad = [
    'storage:',
    '  rules:',
    '    - {selector: a, retention: 0s, retain: 1d}',
    '    - {retention: {raw: x, 5m: 1d}}',
    '    - {selector: "", tenant: "a b", downsample: never}',
  ].join('\n');
  assert.deepEqual(
    problems(t, bad).map(line => line.slice(0, 92)),
    [
      'sightline.yaml:3:21: storage.rules[0].retention: must be a duration like 15s or 1h30m greate',
      'sightline.yaml:3:36: storage.rules[0].retain: unknown key; known here: selector, tenant, ret',
      'sightline.yaml:4:7: storage.rules[1].selector: Invalid input: expected string, received unde',
      'sightline.yaml:4:20: storage.rules[1].retention.raw: must be a duration like 15s or 1h30m: n',
      'sightline.yaml:4:28: storage.rules[1].retention.5m: unknown key; here stand raw, 1m and 1h',
      'sightline.yaml:5:8: storage.rules[2].selector: Too small: expected string to have >=1 charac',
      'sightline.yaml:5:22: storage.rules[2].tenant: is no tenant name',
      'sightline.yaml:5:37: storage.rules[2].downsample: must be off, or a map of 1m and 1h to ages',
    ],
  );
});

test('broken YAML and a missing file are told with their place', t => {
  assert.match(problems(t, 'http: {listen: "x"\n  a: [')[0] ?? '', /^sightline\.yaml:\d+:\d+: not valid YAML/);
  assert.throws(() => loadConfig('/nowhere/sightline.yaml'), /\/nowhere\/sightline\.yaml: there is no such file/);
  assert.match(problems(t, '- a\n')[0] ?? '', /must be a map/);
});

test('a Prometheus file and inline scrape configs join; what has no effect is named', t => {
  const prometheus = [
    'global: {scrape_interval: 30s, external_labels: {a: b}}',
    'rule_files: [x.yml]',
    'scrape_configs:',
    '  - job_name: one',
    '    scrape_timeout: 5s',
    '    static_configs: [{targets: ["localhost:1"], labels: {x: y}}]',
    '    eureka_sd_configs: [{server: "http://localhost:8761/eureka"}]',
    '',
  ].join('\n');
  const text = 'prometheus: {file: prometheus.yml}\nscrape_configs:\n  - job_name: two\n    params: {a: [b]}\n';
  const loaded = load(t, text, {}, { 'prometheus.yml': prometheus });
  assert.deepEqual(
    loaded.prometheus.scrapeConfigs.map(c => [
      c.jobName,
      c.scrapeIntervalMs,
      c.scrapeTimeoutMs,
      c.staticConfigs.length,
    ]),
    [
      ['one', 30_000, 5000, 1],
      ['two', 30_000, 10_000, 0],
    ],
  );
  assert.deepEqual(
    loaded.unsupported.map(u => [u.key, u.line]),
    [
      ['rule_files', 2],
      ['scrape_configs.eureka_sd_configs', 7],
    ],
  );
  assert.equal(loaded.files.length, 2);
});

test('a job in both files, and a bad inline job, are refused with their place', t => {
  const others = { 'prometheus.yml': 'scrape_configs: [{job_name: one}]\n' };
  const text =
    'prometheus: {file: prometheus.yml}\nscrape_configs:\n  - job_name: one\n  - job_name: x\n    scrape_intervall: 5s\n';
  assert.deepEqual(problems(t, text, others), [
    'sightline.yaml:5:5: scrape_configs[1].scrape_intervall: field scrape_intervall not found in type struct of a scrape config; did you mean "scrape_interval"?',
    'sightline.yaml:3:5: scrape_configs[0].job_name: found multiple scrape configs with job name "one"',
  ]);
});

test('external labels know the environment', () => {
  const environment = { HOST: 'a', _1: 'b' };
  const expand = (text: string): string => expandVariables(text, environment);
  const braced = (name: string): string => `$\{${name}}`;
  assert.deepEqual([`x${braced('HOST')}y`, '$HOST/$_1', '$$HOST', '$NONE.', braced(''), 'cost: 5$'].map(expand), [
    ...['xay', 'a/b', '$HOST', '.', ''],
    'cost: 5$',
  ]);
});

test('an alias bomb is refused, merge keys work', t => {
  const bomb = [
    'a: &a [x,x,x,x,x,x,x,x,x]',
    ...'bcdefgh'.split('').map((c, i) => `${c}: &${c} [${`*${'abcdefgh'[i]},`.repeat(9)}]`),
  ];
  assert.match(problems(t, bomb.join('\n'))[0] ?? '', /alias/i);
  const others = {
    'prometheus.yml':
      'scrape_configs:\n  - &base {job_name: a, scrape_interval: 5s, scrape_timeout: 1s}\n  - {<<: *base, job_name: b}\n',
  };
  const { prometheus } = load(t, 'prometheus: {file: prometheus.yml}\n', {}, others);
  assert.deepEqual(
    prometheus.scrapeConfigs.map(c => [c.jobName, c.scrapeIntervalMs]),
    [
      ['a', 5000],
      ['b', 5000],
    ],
  );
});
