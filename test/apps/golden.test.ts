/**
 * Folders written by earlier versions, kept in test/golden: today's program starts on each (upgrading it where it is older) and answers
 * what was true when it was made.
 *
 *     test/golden/data-format-N/          a data folder as that version left it
 *     test/golden/data-format-N.json      instant queries and their answers
 *
 * `node test/golden/make.ts` makes the folder of the present format. A kept folder is never made anew for a format that has been
 * released: that it still opens is the point.
 */
import assert from 'node:assert/strict';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { FORMAT_FILE, FORMAT_VERSION } from '../../src/storage/data-dir.ts';
import { Sightline } from '../support/sightline.ts';

const GOLDEN = join(import.meta.dirname, '..', 'golden');
const folders = readdirSync(GOLDEN).filter(name => /^data-format-\d+$/.test(name));

test('the present format has a kept folder', () => {
  assert.ok(folders.includes(`data-format-${FORMAT_VERSION}`));
});

for (const name of folders) {
  test(`${name} is opened and answers as it did`, async t => {
    const expected = JSON.parse(readFileSync(join(GOLDEN, `${name}.json`), 'utf8')) as {
      tenant: string;
      query: string;
      time: number;
      result: unknown;
    }[];
    const server = await Sightline.start(t, {
      config:
        'host: {enabled: false}\nstorage: {retention: {raw: 100y, 1m: 100y, 1h: 100y}, downsample: {1m: 0s, 1h: 0s}}\n',
      prepare: dir => {
        mkdirSync(join(dir, 'data'));
        cpSync(join(GOLDEN, name), join(dir, 'data'), { recursive: true });
      },
    });
    assert.ok(existsSync(join(server.dir, 'data', FORMAT_FILE)));
    for (const { tenant, query, time, result } of expected) {
      const url = `${server.url}/api/v1/query?query=${encodeURIComponent(query)}&time=${time}`;
      const response = await fetch(url, { headers: { 'x-scope-orgid': tenant } });
      const body = (await response.json()) as { data: { result: unknown } };
      assert.deepEqual(body.data.result, result, query);
    }
    assert.equal(await server.stop(), 0);
  });
}
