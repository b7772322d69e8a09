/**
 * Flags of `sightline serve`: one table from which parsing, environment variables, help text and /api/v1/status/flags follow.
 * Each flag sets one key of the configuration (or steers the start itself) and wins over the file; `SIGHTLINE_*` stands between.
 */
import { parseArgs } from 'node:util';
import type { Overrides } from '../config/load.ts';
import { nearest } from '../config/suggest.ts';

export interface FlagSpec {
  name: string;
  /** Key of sightline.yaml that it sets, or '' where it steers the start. */
  key: string;
  /** Placeholder of its value; '' = a switch. */
  value: string;
  help: string;
  number?: true;
}

export const SERVE_FLAGS: readonly FlagSpec[] = [
  {
    name: 'config',
    key: '',
    value: 'FILE',
    help: 'configuration file (default: sightline.yaml here, if there is one)',
  },
  { name: 'data-dir', key: 'data_dir', value: 'DIR', help: 'folder for all data (default: data)' },
  {
    name: 'http',
    key: 'http.listen',
    value: 'HOST:PORT',
    help: 'address to listen on; port 0 picks a free one (default: 127.0.0.1:7070)',
  },
  {
    name: 'otlp-grpc',
    key: 'otlp.grpc',
    value: 'HOST:PORT',
    help: 'address of OpenTelemetry over gRPC, or off; port 0 picks a free one (default: 127.0.0.1:4317)',
  },
  {
    name: 'otlp-http',
    key: 'otlp.http',
    value: 'HOST:PORT',
    help: 'address of OpenTelemetry over HTTP, or off; port 0 picks a free one (default: 127.0.0.1:4318)',
  },
  {
    name: 'external-url',
    key: 'http.external_url',
    value: 'URL',
    help: 'URL that people use, behind a proxy; its path is served as a prefix',
  },
  {
    name: 'log-level',
    key: 'log.level',
    value: 'LEVEL',
    help: 'trace, debug, info, warn, error or fatal (default: info)',
  },
  {
    name: 'shards',
    key: 'storage.shards',
    value: 'N',
    help: 'worker threads of a new data folder (default: one per core)',
    number: true,
  },
  {
    name: 'admin-api',
    key: 'http.admin_api',
    value: '',
    help: 'allow deletes and snapshots over HTTP (/api/v1/admin/tsdb)',
  },
  { name: 'insecure', key: '', value: '', help: 'allow an address other than loopback although nobody has to sign in' },
];

/** A mistake in how the program was called. Exit code 2. */
export class UsageError extends Error {
  override name = 'UsageError';
}

export interface ServeOptions {
  /** '' = none given. */
  config: string;
  insecure: boolean;
  overrides: Overrides;
  /** Every flag's value as text, for the status API. */
  flags: Record<string, string>;
  /** SIGHTLINE_* variables that mean nothing to us, with a suggestion. */
  strangers: string[];
}

/** Variables that are not flags: of tests and tools. */
const OTHER_VARIABLES = new Set(['SIGHTLINE_SUITES', 'SIGHTLINE_OTEL_SDKS']);

export function parseServeOptions(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): ServeOptions {
  const given = parseFlags(args, SERVE_FLAGS);
  const overrides: Record<string, string | number | boolean> = {};
  const flags: Record<string, string> = {};
  const texts: Record<string, string> = {};
  for (const spec of SERVE_FLAGS) {
    const text = given[spec.name] ?? env[variableOf(spec.name)];
    flags[spec.name] = text ?? '';
    if (text === undefined) continue;
    texts[spec.name] = text;
    if (spec.key !== '') overrides[spec.key] = settingOf(spec, text);
  }
  return {
    config: texts.config ?? '',
    insecure: isOn(texts.insecure ?? ''),
    overrides,
    flags,
    strangers: strangers(env),
  };
}

export function parseFlags(args: readonly string[], specs: readonly FlagSpec[]): Record<string, string> {
  const options = Object.fromEntries(
    specs.map(spec => [spec.name, { type: spec.value === '' ? ('boolean' as const) : ('string' as const) }]),
  );
  try {
    const { values } = parseArgs({ args: [...args], options, allowPositionals: false });
    return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, String(value)]));
  } catch (error) {
    throw new UsageError(
      usageMessage(
        error as Error,
        specs.map(spec => spec.name),
      ),
    );
  }
}

/** parseArgs' messages, shortened, with a suggestion. */
export function usageMessage(error: Error, names: readonly string[]): string {
  const unknown = /Unknown option '-*([^']+)'/.exec(error.message)?.[1];
  if (unknown !== undefined) {
    const near = nearest(unknown, names);
    return `unknown option --${unknown}${near === '' ? '' : `; did you mean --${near}?`}`;
  }
  const extra = /Unexpected argument '([^']*)'/.exec(error.message)?.[1];
  if (extra !== undefined) return `unexpected argument ${JSON.stringify(extra)}`;
  return error.message.split('\n')[0]?.replace(/\.$/, '') ?? error.message;
}

function settingOf(spec: FlagSpec, text: string): string | number | boolean {
  if (spec.value === '') return isOn(text);
  return spec.number === true ? toNumber(spec.name, text) : text;
}

function isOn(text: string): boolean {
  return !['', '0', 'false', 'no', 'off'].includes(text.toLowerCase());
}

function toNumber(name: string, text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new UsageError(`--${name} must be a number, not ${JSON.stringify(text)}`);
  return Number(text);
}

export function variableOf(name: string): string {
  return `SIGHTLINE_${name.toUpperCase().replaceAll('-', '_')}`;
}

function strangers(env: Readonly<Record<string, string | undefined>>): string[] {
  const known = SERVE_FLAGS.map(spec => variableOf(spec.name));
  const out: string[] = [];
  for (const name of Object.keys(env)) {
    if (!name.startsWith('SIGHTLINE_') || known.includes(name) || OTHER_VARIABLES.has(name)) continue;
    const near = nearest(name, known);
    out.push(near === '' ? name : `${name} (did you mean ${near}?)`);
  }
  return out;
}

/** Lines `  --name VALUE   help` for a help text. */
export function formatFlags(specs: readonly FlagSpec[], withVariables: boolean): string {
  const left = specs.map(spec => `  --${spec.name}${spec.value === '' ? '' : ` ${spec.value}`}`);
  const width = Math.max(...left.map(text => text.length)) + 3;
  return specs
    .map(
      (spec, i) =>
        `${(left[i] as string).padEnd(width)}${spec.help}${withVariables ? `  [${variableOf(spec.name)}]` : ''}`,
    )
    .join('\n');
}
