/**
 * Suite 04, config: what Prometheus accepts must load, what it refuses must be refused for its reason. Examples must load, and
 * files of targets be judged as file discovery would.
 */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { loadPrometheusFile } from '../../src/config/prometheus/load.ts';
import { ConfigError } from '../../src/config/yaml-source.ts';
import { parseGroupsJson, parseGroupsYaml } from '../../src/ingest/discovery/group-file.ts';
import { suiteBytes, suiteJson } from './read-suite.ts';
import type { Score, SuiteContext } from './score.ts';

const FOLDER = '04-prom-rules-config';

/** What was said about the file, in ours and in Prometheus' framing; null where it loads. */
function refusal(file: string, name: string): string[] | null {
  try {
    loadPrometheusFile(file);
    return null;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.problems.flatMap(p => [p.message, `parsing YAML file testdata/${name}: ${p.message}`]);
  }
}

export function runConfigFiles({ suites }: SuiteContext, score: Score): void {
  const folder = join(suites, FOLDER, 'config');
  const testdata = join(folder, 'testdata');
  for (const name of suiteJson<string[]>(suites, FOLDER, 'config', 'good_config_files.json')) {
    // Some of the names are of files that others include; they stand one folder below.
    const file = existsSync(join(testdata, name)) ? join(testdata, name) : join(testdata, 'scrape_configs', name);
    const said = refusal(file, name);
    score.judge(`config/testdata/${name}`, said === null ? '' : `must load, but: ${said[0]}`);
  }
  interface Bad {
    file: string;
    error_contains: string;
  }
  for (const { file, error_contains } of suiteJson<Bad[]>(suites, FOLDER, 'config', 'bad_config_expectations.json')) {
    const said = refusal(join(testdata, file), file);
    const right = said?.some(text => text.includes(error_contains)) === true;
    const got = said === null ? 'no error' : said[0];
    score.judge(`config/testdata/${file}`, right ? '' : `must be refused with "${error_contains}", got: ${got}`);
  }
  targetFiles(suites, score);
  for (const name of readdirSync(join(folder, 'examples')).sort()) {
    if (!/^prometheus.*\.yml$/.test(name)) {
      score.leaveOut('an example of another kind of file');
      continue;
    }
    const said = refusal(join(folder, 'examples', name), name);
    score.judge(`config/examples/${name}`, said === null ? '' : `must load, but: ${said[0]}`);
  }
}

function targetFiles(suites: string, score: Score): void {
  for (const name of readdirSync(join(suites, FOLDER, 'file-sd')).sort()) {
    const bytes = suiteBytes(suites, FOLDER, 'file-sd', name);
    let problem = '';
    try {
      const groups = name.endsWith('.json')
        ? parseGroupsJson(bytes, String)
        : parseGroupsYaml(Buffer.from(bytes).toString(), String);
      if (groups.flatMap(group => group.targets).length !== 3) problem = 'must have three targets';
    } catch (error) {
      problem = (error as Error).message;
    }
    if (name.startsWith('invalid')) problem = problem === '' ? 'must be refused' : '';
    score.judge(`file-sd/${name}`, problem);
  }
}
