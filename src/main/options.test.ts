import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { DEFAULTS } from '../config/defaults.ts';
import { parseServeOptions, SERVE_FLAGS, variableOf } from './options.ts';

test('flags win over variables; both become keys of the configuration', () => {
  const env = { SIGHTLINE_HTTP: '127.0.0.1:1', SIGHTLINE_SHARDS: '3', SIGHTLINE_ADMIN_API: '1', SIGHTLINE_SUITES: 'x' };
  const options = parseServeOptions(['--http', '127.0.0.1:2', '--insecure'], env);
  assert.deepEqual(options.overrides, { 'http.listen': '127.0.0.1:2', 'storage.shards': 3, 'http.admin_api': true });
  assert.deepEqual([options.insecure, options.config, options.strangers], [true, '', []]);
});

test('mistakes are named with what was meant', () => {
  assert.throws(() => parseServeOptions(['--htpp', 'x'], {}), /unknown option --htpp; did you mean --http\?/);
  assert.throws(() => parseServeOptions(['--shards', 'many'], {}), /--shards must be a number/);
  assert.throws(() => parseServeOptions(['file.yaml'], {}), /unexpected argument "file.yaml"/);
  assert.deepEqual(parseServeOptions([], { SIGHTLINE_DATADIR: 'x' }).strangers, [
    'SIGHTLINE_DATADIR (did you mean SIGHTLINE_DATA_DIR?)',
  ]);
});

const docs = readFileSync(new URL('../../docs/configuration.md', import.meta.url), 'utf8');

test('docs/configuration.md names every flag, variable and key with its default', () => {
  for (const spec of SERVE_FLAGS) {
    assert.ok(docs.includes(`--${spec.name}`), `--${spec.name}`);
    assert.ok(docs.includes(variableOf(spec.name)), variableOf(spec.name));
  }
  const visit = (value: unknown, path: string[]): void => {
    if (typeof value === 'object' && value !== null && !(Array.isArray(value) && value.length > 0)) {
      for (const [key, inner] of Object.entries(value)) visit(inner, [...path, key]);
      return;
    }
    // A bar in a table cell is written \\|.
    const shown = value === '' ? 'empty' : `\`${String(value).replaceAll(',', ', ').replaceAll('|', '\\|')}\``;
    const row = docs.split('\n').find(line => line.startsWith(`| \`${path.join('.')}\` |`));
    assert.ok(row !== undefined, `${path.join('.')} is missing`);
    assert.ok(row.includes(`| ${shown} |`), `${path.join('.')}: the default is ${shown}, the line says ${row}`);
  };
  visit(DEFAULTS, []);
});
