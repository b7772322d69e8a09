import assert from 'node:assert/strict';
import { test } from 'node:test';
import { labelName, metricName, type NameKind } from './names.ts';
import { DEFAULT_OTLP_SETTINGS, type OtlpSettings, type TranslationStrategy } from './settings.ts';

const STRATEGIES: readonly TranslationStrategy[] = [
  'UnderscoreEscapingWithSuffixes',
  'UnderscoreEscapingWithoutSuffixes',
  'NoUTF8EscapingWithSuffixes',
  'NoTranslation',
];

function all(name: string, unit: string, kind: NameKind): string[] {
  return STRATEGIES.map(s => metricName(name, unit, kind, { ...DEFAULT_OTLP_SETTINGS, translationStrategy: s }));
}

test('metric names under each strategy', () => {
  // name, unit, kind -> escaped with suffixes, escaped, suffixes only, as it is
  const cases: [string, string, NameKind, string, string, string, string][] = [
    ['system.io', 'By', 'counter', 'system_io_bytes_total', 'system_io', 'system.io_bytes_total', 'system.io'],
    [
      'system.io',
      'By/s',
      'gauge',
      'system_io_bytes_per_second',
      'system_io',
      'system.io_bytes_per_second',
      'system.io',
    ],
    ['a.ratio.of', '1', 'gauge', 'a_of_ratio', 'a_ratio_of', 'a.ratio.of_ratio', 'a.ratio.of'],
    ['hit.ratio', '1', 'gauge', 'hit_ratio', 'hit_ratio', 'hit_ratio', 'hit.ratio'],
    ['jobs.total', '1', 'counter', 'jobs_total', 'jobs_total', 'jobs_total', 'jobs.total'],
    ['wait.seconds', 's', 'other', 'wait_seconds', 'wait_seconds', 'wait.seconds', 'wait.seconds'],
    ['req', '{request}', 'counter', 'req_total', 'req', 'req_total', 'req'],
    ['req', '{request}/s', 'gauge', 'req_per_second', 'req', 'req_per_second', 'req'],
    ['mem  use--d', 'KiBy', 'gauge', 'mem_use_d_kibibytes', 'mem_use_d', 'mem  use--d_kibibytes', 'mem  use--d'],
    ['3d.render', 'ms', 'other', '_3d_render_milliseconds', '_3d_render', '3d.render_milliseconds', '3d.render'],
    ['speed', 'm/s', 'gauge', 'speed_meters_per_second', 'speed', 'speed_meters_per_second', 'speed'],
    ['odd', 'foo bar/x-y', 'gauge', 'odd_foo_bar_per_x_y', 'odd', 'odd_foo bar_per_x-y', 'odd'],
    ['cpu', '%', 'gauge', 'cpu_percent', 'cpu', 'cpu_percent', 'cpu'],
    ['a:b', '', 'other', 'a:b', 'a:b', 'a:b', 'a:b'],
    ['größe', '', 'other', 'gr_e', 'gr_e', 'größe', 'größe'],
    ['???', '', 'other', '', '', '???', '???'],
    ['', 's', 'counter', 'seconds_total', '', '', ''],
  ];
  for (const [name, unit, kind, ...expected] of cases) assert.deepEqual(all(name, unit, kind), expected, name);
});

test('label names', () => {
  const label = (name: string, more: Partial<OtlpSettings> = {}): string =>
    labelName(name, { ...DEFAULT_OTLP_SETTINGS, ...more });
  assert.equal(label('http.method'), 'http_method');
  assert.equal(label('123abc'), 'key_123abc');
  assert.equal(label('_private'), 'key_private');
  assert.equal(label('_private', { labelNameUnderscoreSanitization: false }), '_private');
  assert.equal(label('__reserved__'), '__reserved__');
  assert.equal(label('a..b'), 'a__b');
  assert.equal(label('a..b', { labelNamePreserveMultipleUnderscores: false }), 'a_b');
  assert.equal(label('größe'), 'gr__e');
  assert.equal(label('...'), '');
  assert.equal(label('http.method', { translationStrategy: 'NoTranslation' }), 'http.method');
  assert.equal(label('1 größe', { translationStrategy: 'NoUTF8EscapingWithSuffixes' }), '1 größe');
});
