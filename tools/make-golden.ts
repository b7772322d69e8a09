/**
 * Makes test/golden/data-format-N-full: a small data folder written by the program as it is, with everything in it that a later version must
 * still read, and beside it what it answers (answers.json). Run by hand once per format version, when the format is about to
 * change; never over a folder that a release has written.
 *
 *     node tools/make-golden.ts [--force]
 */
import { cpSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { FORMAT_VERSION } from '../src/storage/data-dir.ts';
import { SqliteStateStore } from '../src/storage/state/sqlite-state-store.ts';
import { GOLDEN_BASE_MS, GOLDEN_CONFIG, goldenAnswers, goldenWrites } from '../test/support/golden.ts';
import { remoteWrite } from '../test/support/remote-write.ts';
import { Sightline } from '../test/support/sightline.ts';

const target = join(import.meta.dirname, '..', 'test', 'golden', `data-format-${FORMAT_VERSION}-full`);
if (existsSync(target) && !process.argv.includes('--force')) {
  process.stderr.write(`${target} is there already; --force writes it anew\n`);
  process.exit(1);
}

// A server outside of a test: what would run after it runs at the end here.
const after: (() => unknown)[] = [];
const context = { after: (fn: () => unknown) => after.push(fn) } as unknown as Parameters<typeof Sightline.start>[0];
const server = await Sightline.start(context, { config: GOLDEN_CONFIG, args: ['--shards', '2', '--admin-api'] });
try {
  const ok = (what: string, { status, body }: { status: number; body: string }): void => {
    if (status !== 204 && status !== 200) throw new Error(`${what}: ${status} ${body}`);
  };
  const writes = goldenWrites();
  for (const [i, { tenant, series, metadata }] of writes.entries()) {
    ok('write', await remoteWrite(server.url, series, { tenant, metadata }));
    // Blocks, then a delete in them, then samples that stay in the head and its log, one of them deleted again.
    if (i === writes.length >> 1) {
      ok('flush', await server.post('/api/v1/admin/tsdb/flush', ''));
      const from = GOLDEN_BASE_MS / 1000;
      const path = `/api/v1/admin/tsdb/delete_series?match[]=counter_total%7Bi%3D%221%22%7D&start=${from}&end=${from + 1800}`;
      ok('delete', await server.post(path, ''));
    }
  }
  ok('delete', await server.post('/api/v1/admin/tsdb/delete_series?match[]=deleted', ''));
  const answers = await goldenAnswers(server);
  // As kill -9 leaves it: with a log to be replayed.
  await server.kill();
  const data = join(server.dir, 'data');
  const state = new SqliteStateStore(join(data, 'state', 'state.sqlite'), () => GOLDEN_BASE_MS);
  state.close();
  rmSync(target, { recursive: true, force: true });
  mkdirSync(target, { recursive: true });
  for (const name of ['lock', 'lock.json', 'snapshots']) rmSync(join(data, name), { recursive: true, force: true });
  cpSync(data, join(target, 'folder'), { recursive: true });
  writeFileSync(join(target, 'answers.json'), `${JSON.stringify(answers, null, 1)}\n`);
} finally {
  for (const fn of after) await fn();
}
