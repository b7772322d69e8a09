/** Our own scripts, over one store and over shards. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { runPromqlTest } from '../../../src/query/promqltest/runner.ts';
import { memoryStorage, shardedMemoryStorage } from '../../support/memory-storage.ts';

const folder = join(import.meta.dirname, 'scripts');

for (const name of readdirSync(folder).sort()) {
  for (const [where, storage] of [
    ['one store', memoryStorage],
    ['four shards', shardedMemoryStorage(4)],
  ] as const) {
    test(`${name} on ${where}`, async () => {
      const { passed, failures } = await runPromqlTest([join(folder, name)], { storage });
      assert.equal(failures.map(f => `line ${f.line}: ${f.query}\n    ${f.message}`).join('\n'), '');
      assert.ok(passed > 0);
    });
  }
}
