/**
 * Full data folders written by earlier versions, one per format, with blocks, deletes, late samples, histograms, exemplars: a copy is opened, answers as it did, takes writes, and passes
 * verification. A folder of a newer format is refused and left alone. tools/make-golden.ts makes them.
 */
import assert from 'node:assert/strict';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { FORMAT_VERSION } from '../../src/storage/data-dir.ts';
import { GOLDEN_CONFIG, goldenAnswers } from '../support/golden.ts';
import { runCli, Sightline } from '../support/sightline.ts';

const FOLDERS = readdirSync(import.meta.dirname).filter(name => /^data-format-\d+-full$/.test(name));

function copyOf(t: TestContext, folder: string): string {
  const dir = mkdtempSync(join(tmpdir(), 'sightline-golden-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const data = join(dir, 'data');
  cpSync(join(import.meta.dirname, folder, 'folder'), data, { recursive: true });
  // Empty folders do not travel through version control.
  mkdirSync(join(data, 'state'), { recursive: true });
  return data;
}

test('there is a golden folder of each format', () => {
  assert.deepEqual(
    FOLDERS.sort(),
    Array.from({ length: FORMAT_VERSION }, (_, i) => `data-format-${i + 1}-full`),
  );
});

for (const folder of FOLDERS) {
  test(`${folder} opens and answers as it did`, async t => {
    const data = copyOf(t, folder);
    const verified = await runCli(['tsdb', 'verify', '--data-dir', data]);
    assert.equal(verified.code, 0, verified.stdout + verified.stderr);
    const server = await Sightline.start(t, { config: GOLDEN_CONFIG, args: ['--data-dir', data, '--admin-api'] });
    const file = join(import.meta.dirname, folder, 'answers.json');
    const expected = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
    const same = async (what: string): Promise<void> => {
      const answers = JSON.parse(JSON.stringify(await goldenAnswers(server))) as Record<string, unknown>;
      for (const key of Object.keys(expected)) assert.deepEqual(answers[key], expected[key], `${what}: ${key}`);
      assert.deepEqual(Object.keys(answers).sort(), Object.keys(expected).sort(), what);
    };
    await same('as it was');
    assert.equal((await server.post('/api/v1/admin/tsdb/flush', '')).status, 204);
    assert.equal((await server.post('/api/v1/admin/tsdb/clean_tombstones', '')).status, 204);
    await same('in blocks of today');
    assert.equal(await server.stop(), 0);
    await server.launch();
    await same('after a stop');
  });
}

test('a folder of a newer format is refused and left alone', async t => {
  const data = copyOf(t, FOLDERS[0] as string);
  const file = join(data, 'sightline-format.json');
  const record = JSON.parse(readFileSync(file, 'utf8')) as { format: number };
  writeFileSync(file, JSON.stringify({ ...record, format: FORMAT_VERSION + 1 }));
  const before = readFileSync(file, 'utf8');
  const { code, stderr } = await runCli([
    'serve',
    '--data-dir',
    data,
    '--http',
    '127.0.0.1:0',
    '--otlp-grpc',
    'off',
    '--otlp-http',
    'off',
  ]);
  assert.equal(code, 1);
  assert.match(stderr, new RegExp(`has format ${FORMAT_VERSION + 1}, this program knows up to ${FORMAT_VERSION}`));
  assert.match(stderr, /written by a newer Sightline/);
  assert.equal(readFileSync(file, 'utf8'), before);
});
