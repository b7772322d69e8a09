/**
 * Answers do not flicker: while the head is flushed, blocks are merged and rewritten, and late samples and deletes arrive for other
 * series, a series that nobody touches has the same samples in every answer, instant, over a range, and exported.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { remoteWrite, type WriteSeries } from '../support/remote-write.ts';
import { Sightline } from '../support/sightline.ts';

const SERIES = 40;
const SAMPLES = 600;
const ROUNDS = 6;

test('answers stay the same while blocks are flushed, merged and rewritten', async t => {
  const config = 'host: {enabled: false}\nself: {interval: 1h}\nlog: {level: warn}\n';
  const server = await Sightline.start(t, { config, args: ['--admin-api', '--shards', '2'] });
  const endMs = Math.floor(Date.now() / 1000) * 1000 - 3_600_000;
  const startMs = endMs - SAMPLES * 60_000;
  const part = (name: string, from: number, to: number): WriteSeries[] =>
    Array.from({ length: SERIES }, (_, i) => {
      const timestamps = Array.from({ length: to - from }, (_, k) => startMs + (from + k) * 60_000);
      const labels = ['__name__', name, 'i', String(i)];
      return { labels, timestamps, values: Float64Array.from(timestamps, (_, k) => from + k + i) };
    });
  const write = async (name: string, from: number, to: number): Promise<void> => {
    const { status, body } = await remoteWrite(server.url, part(name, from, to));
    assert.equal(status, 204, body);
  };
  for (let from = 0; from < SAMPLES; from += 100) await write('steady', from, from + 100);

  const end = endMs / 1000;
  const paths = [
    `/api/v1/query?query=sum(count_over_time(steady[11h]))&time=${end}`,
    `/api/v1/query?query=sum(sum_over_time(steady[11h]))&time=${end}`,
    `/api/v1/query_range?query=sum(rate(steady[10m]))&start=${startMs / 1000}&end=${end}&step=300`,
    `/api/v1/query_range?query=count(steady)&start=${startMs / 1000}&end=${end}&step=60`,
  ];
  const ask = async (path: string): Promise<string> =>
    JSON.stringify((JSON.parse(await server.get(path)) as { data: { result: unknown } }).data.result);
  const expected = new Map<string, string>();
  for (const path of paths) expected.set(path, await ask(path));
  assert.match(expected.get(paths[0] as string) as string, new RegExp(`"${SERIES * SAMPLES}"`));

  let stopped = false;
  let asked = 0;
  const asking = paths.map(async path => {
    while (!stopped) {
      assert.equal(await ask(path), expected.get(path), path);
      asked++;
    }
  });
  const exporting = (async () => {
    while (!stopped) {
      const text = await server.get('/api/v1/export?match[]=steady');
      const samples = text
        .split('\n')
        .filter(l => l !== '')
        .reduce((sum, l) => sum + JSON.parse(l).values.length, 0);
      assert.equal(samples, SERIES * SAMPLES, 'export');
      asked++;
    }
  })();
  const post = async (path: string): Promise<void> => {
    const { status, body } = await server.post(path, '');
    assert.ok(status === 204 || status === 200, `${path}: ${status} ${body}`);
  };
  const changing = (async () => {
    try {
      for (let round = 0; round < ROUNDS; round++) {
        // Late, over all windows: every one gets another block, then they are merged.
        await write(`other_${round % 2}`, round * 10, SAMPLES - round);
        await post('/api/v1/admin/tsdb/flush');
        await post(
          `/api/v1/admin/tsdb/delete_series?match[]=other_${round % 2}&start=${startMs / 1000 + 3000}&end=${end - 3000}`,
        );
        await post('/api/v1/admin/tsdb/clean_tombstones');
      }
    } finally {
      stopped = true;
    }
  })();
  await Promise.all([changing, exporting, ...asking]);
  t.diagnostic(`${asked} answers, all the same`);
  assert.ok(asked > ROUNDS * 5);
});
