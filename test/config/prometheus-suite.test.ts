/**
 * The peers' configuration files: what Prometheus accepts must load, what it refuses must be refused for its reason. Prints the
 * score as one line. Needs SIGHTLINE_SUITES.
 */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadPrometheusFile } from '../../src/config/prometheus/load.ts';
import {
  isLegacyTargetTemplate,
  RELABEL_DEFAULTS,
  type RelabelAction,
  relabelProblem,
} from '../../src/config/prometheus/relabel.ts';
import { ConfigError } from '../../src/config/yaml-source.ts';

const suites = process.env.SIGHTLINE_SUITES ?? '';
const folder = join(suites, '04-prom-rules-config');
const skip = suites !== '' && existsSync(folder) ? false : 'needs SIGHTLINE_SUITES';

function json<T>(...parts: string[]): T {
  return JSON.parse(readFileSync(join(folder, ...parts), 'utf8')) as T;
}

/** What was said about the file, in ours and in Prometheus' framing; null where it loads. */
function refusal(name: string): string[] | null {
  try {
    loadPrometheusFile(join(folder, 'config', 'testdata', name));
    return null;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.problems.flatMap(p => [p.message, `parsing YAML file testdata/${name}: ${p.message}`]);
  }
}

test('configuration files of the suite', { skip }, t => {
  const good = json<string[]>('config', 'good_config_files.json');
  const bad = json<{ file: string; error_contains: string }[]>('config', 'bad_config_expectations.json');
  const failures: string[] = [];
  let passed = 0;
  for (const name of good) {
    if (
      !existsSync(join(folder, 'config', 'testdata', name)) &&
      existsSync(join(folder, 'config', 'testdata', 'scrape_configs', name))
    ) {
      passed += refusal(join('scrape_configs', name)) === null ? 1 : 0;
      continue;
    }
    const said = refusal(name);
    if (said === null) passed++;
    else failures.push(`${name} must load: ${said[0]}`);
  }
  for (const { file, error_contains } of bad) {
    const said = refusal(file);
    if (said?.some(text => text.includes(error_contains))) passed++;
    else failures.push(`${file} must be refused with ${error_contains}, got ${said === null ? 'no error' : said[0]}`);
  }
  for (const failure of failures) t.diagnostic(failure);
  t.diagnostic(`prometheus config: ${passed} passed, ${failures.length} failed`);
  assert.equal(failures.length, 0);
  assert.equal(passed, good.length + bad.length);
});

test('example configurations load', { skip }, () => {
  for (const name of readdirSync(join(folder, 'config', 'examples'))) {
    if (!/^prometheus.*\.yml$/.test(name)) continue;
    loadPrometheusFile(join(folder, 'config', 'examples', name));
  }
});

test('relabel rules are judged as in the suite', { skip }, () => {
  interface Case {
    config: Record<string, unknown>;
    error_contains: string | null;
  }
  for (const { config, error_contains } of json<Case[]>('relabel', 'relabel_validate_cases.json')) {
    const problem = relabelProblem(
      {
        sourceLabels: (config.source_labels as string[] | undefined) ?? [],
        separator: (config.separator as string | undefined) ?? RELABEL_DEFAULTS.separator,
        regex: (config.regex as string | undefined) ?? RELABEL_DEFAULTS.regex,
        modulus: (config.modulus as number | undefined) ?? 0,
        targetLabel: (config.target_label as string | undefined) ?? '',
        replacement: (config.replacement as string | undefined) ?? RELABEL_DEFAULTS.replacement,
        action: ((config.action as string | undefined) ?? '') as RelabelAction,
      },
      config.name_validation as 'utf8' | 'legacy',
      { sourceLabels: config.source_labels !== undefined },
    );
    if (error_contains === null) assert.equal(problem, '', JSON.stringify(config));
    else assert.ok(problem.includes(error_contains), `${JSON.stringify(config)}: ${problem}`);
  }
  interface Target {
    target_label: string;
    valid: boolean;
  }
  for (const { target_label, valid } of json<Target[]>('relabel', 'target_label_legacy_validity.json')) {
    assert.equal(isLegacyTargetTemplate(target_label), valid, target_label);
  }
});
