/**
 * `sightline check-config FILE...`: loads the files as the server would. A file with Prometheus' own sections at its top is taken
 * as one of Prometheus', any other as sightline.yaml.
 */
import { parseArgs } from 'node:util';
import { loadConfig } from '../../config/load.ts';
import type { UnsupportedKey } from '../../config/prometheus/decode.ts';
import { loadPrometheusFile } from '../../config/prometheus/load.ts';
import { ConfigError, YamlSource } from '../../config/yaml-source.ts';
import type { Command } from '../cli.ts';
import { UsageError, usageMessage } from '../options.ts';
import { selectorProblem } from '../storage-rules.ts';

const HELP = `Says whether configuration files can be used, and what in them has no effect.

usage: sightline check-config [--format auto|sightline|prometheus] FILE...

  --format FORMAT   how to read the files (default: auto, by their top-level keys)

Exit code 0 where all can be used, 1 where one cannot.
`;

/** Top-level keys that only Prometheus has. */
const PROMETHEUS_KEYS = [
  'global',
  'alerting',
  'rule_files',
  'scrape_config_files',
  'remote_write',
  'remote_read',
  'tracing',
  'otlp',
  'runtime',
];

export const checkConfig: Command = async args => {
  const { values, positionals } = parse(args);
  if (values.help === true) {
    process.stdout.write(HELP);
    return 0;
  }
  const format = values.format ?? 'auto';
  if (!['auto', 'sightline', 'prometheus'].includes(format))
    throw new UsageError(`--format must be auto, sightline or prometheus, not ${JSON.stringify(format)}`);
  if (positionals.length === 0) throw new UsageError('check-config needs at least one FILE');
  let failed = 0;
  for (const file of positionals) failed += check(file, format) ? 0 : 1;
  return failed === 0 ? 0 : 1;
};

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: { help: { type: 'boolean', short: 'h' }, format: { type: 'string' } },
      allowPositionals: true,
    });
  } catch (error) {
    throw new UsageError(usageMessage(error as Error, ['help', 'format']));
  }
}

function check(file: string, format: string): boolean {
  try {
    const prometheus = format === 'prometheus' || (format === 'auto' && looksLikePrometheus(file));
    const unsupported = prometheus
      ? loadPrometheusFile(file).unsupported
      : loadConfig(file, {}, selectorProblem).unsupported;
    process.stdout.write(`${file}: can be used${prometheus ? ' (a Prometheus file)' : ''}\n${notes(unsupported)}`);
    return true;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stdout.write(`${error.message}\n`);
    return false;
  }
}

function notes(unsupported: readonly UnsupportedKey[]): string {
  return unsupported.map(item => `  ${item.file}:${item.line}: ${item.key} has no effect in this version\n`).join('');
}

function looksLikePrometheus(file: string): boolean {
  const value = YamlSource.read(file).value();
  if (typeof value !== 'object' || value === null) return false;
  const keys = Object.keys(value);
  return (
    keys.some(key => PROMETHEUS_KEYS.includes(key)) || (keys.length > 0 && keys.every(key => key === 'scrape_configs'))
  );
}
