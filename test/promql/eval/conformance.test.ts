/** The reference scripts, run against the engine over the in-memory store. They are found through SIGHTLINE_SUITES only. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { runPromqlTest } from '../../../src/query/promqltest/runner.ts';
import { memoryStorage } from '../../support/memory-storage.ts';

const suites = process.env.SIGHTLINE_SUITES;

test('every case of the reference scripts passes', {
  skip: suites === undefined ? 'skipped: needs SIGHTLINE_SUITES' : false,
}, async () => {
  const folder = join(suites as string, '01-promqltest', 'testdata');
  const files = readdirSync(folder)
    .filter(f => f.endsWith('.test'))
    .sort()
    .map(f => join(folder, f));
  assert.ok(files.length > 0, `no scripts in ${folder}`);
  const { passed, failed, failures } = await runPromqlTest(files, { storage: memoryStorage });
  console.log(`${passed} passed, ${failed} failed`);
  const text = failures.map(f => `${f.file}:${f.line} ${f.query}\n    ${f.message}`).join('\n');
  assert.equal(failed, 0, text);
});
