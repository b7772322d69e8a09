/** Export and import of JSON lines through whole processes: what one gives out the other has, bit for bit, native histograms too. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Sightline } from '../support/sightline.ts';

test('an export of one server, imported by another, is the same export there', async t => {
  const options = {
    config: 'host: {enabled: false}\nself: {interval: 1h}\nstorage: {shards: 2}\n',
    args: ['--config', 'sightline.yaml'],
  };
  const [from, to] = await Promise.all([Sightline.start(t, options), Sightline.start(t, options)]);
  const at = Date.now() - 3_600_000;
  const times = Array.from({ length: 500 }, (_, i) => at + i * 1000);
  const histogram = (i: number) => ({
    schema: 2,
    zeroThreshold: 0.001,
    zeroCount: i,
    count: 4 * i + 3,
    sum: i % 100 === 99 ? 'Infinity' : i / 7,
    positiveSpans: [-3, 1, 4, 1],
    positiveBuckets: [i + 1, i + 1],
    negativeSpans: [0, 1],
    negativeBuckets: [i + 1],
    customValues: [],
    counterResetHint: 0,
    integer: true,
  });
  const lines = [
    { metric: { __name__: 'h', n: '1' }, histograms: times.map((_, i) => histogram(i)), timestamps: times },
    {
      metric: { __name__: 'g', n: 'ü"' },
      histograms: times.map((_, i) => ({ ...histogram(i), integer: false, zeroCount: i + 0.5, counterResetHint: 3 })),
      timestamps: times,
    },
    { metric: { __name__: 'f' }, values: times.map((_, i) => (i % 9 === 0 ? null : i / 3)), timestamps: times },
  ];
  const sent = await from.post('/api/v1/import', lines.map(line => `${JSON.stringify(line)}\n`).join(''));
  assert.equal(sent.status, 204, sent.body);
  const counted = await from.query('histogram_count(h)', at / 1000 + 10);
  assert.equal(counted[0]?.value[1], '43');
  const exportOf = async (server: Sightline): Promise<string[]> =>
    (await server.get(`/api/v1/export?match[]=${encodeURIComponent('{__name__=~"[fgh]"}')}`)).trim().split('\n').sort();
  const exported = await exportOf(from);
  assert.equal((await to.post('/api/v1/import', exported.join('\n'))).status, 204);
  assert.deepEqual(await exportOf(to), exported);
  const all = exported.map(line => JSON.parse(line) as (typeof lines)[number]);
  for (const line of lines) {
    const own = all.filter(l => l.metric.__name__ === line.metric.__name__);
    assert.deepEqual(
      own.flatMap(l => l.timestamps),
      times,
    );
    const hintless = (list: readonly { counterResetHint: number }[]) => list.map(h => ({ ...h, counterResetHint: 0 }));
    if (line.histograms !== undefined) {
      assert.deepEqual(hintless(own.flatMap(l => l.histograms ?? [])), hintless(line.histograms));
    } else
      assert.deepEqual(
        own.flatMap(l => l.values),
        line.values,
      );
  }
});
