/** The reference scripts, run against the engine over in-memory stores. They are found through SIGHTLINE_SUITES only. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { runPromqlTest, type StorageFactory } from '../../../src/query/promqltest/runner.ts';
import { memoryStorage, shardedMemoryStorage } from '../../support/memory-storage.ts';

const suites = process.env.SIGHTLINE_SUITES;
const skip = suites === undefined ? 'skipped: needs SIGHTLINE_SUITES' : false;

async function runAll(storage: StorageFactory): Promise<void> {
  const folder = join(suites as string, '01-promqltest', 'testdata');
  const files = readdirSync(folder)
    .filter(f => f.endsWith('.test'))
    .sort()
    .map(f => join(folder, f));
  assert.ok(files.length > 0, `no scripts in ${folder}`);
  const { passed, failed, failures } = await runPromqlTest(files, { storage });
  console.log(`${passed} passed, ${failed} failed`);
  const text = failures.map(f => `${f.file}:${f.line} ${f.query}\n    ${f.message}`).join('\n');
  assert.equal(failed, 0, text);
}

test('every case of the reference scripts passes', { skip }, () => runAll(memoryStorage));

test('every case passes when leaves are evaluated by three shards and merged', { skip }, () =>
  runAll(shardedMemoryStorage(3)),
);
