/**
 * Reloads under load: while writers send and a target is scraped, the configuration changes again and again, now and then to one
 * that cannot be used. Every write is acknowledged, all of it is there afterwards, and a target that stays is scraped without a gap.
 */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { until } from '../support/programs.ts';
import { remoteWrite } from '../support/remote-write.ts';
import { Sightline } from '../support/sightline.ts';

const RELOADS = 24;
const WRITERS = 4;
const SERIES = 25;

test('reloads under load lose no write and leave no gap in what is scraped on', async t => {
  let scrapes = 0;
  const target = createServer((_request, response) => {
    scrapes++;
    response.setHeader('content-type', 'text/plain; version=0.0.4');
    response.end(`scrapes_total ${scrapes}\n`);
  });
  await new Promise<void>(done => target.listen(0, '127.0.0.1', done));
  t.after(() => target.close());
  const address = `127.0.0.1:${(target.address() as AddressInfo).port}`;
  // Each version differs where parts must not notice, and where some must.
  const config = (version: number): string => `
host: {enabled: ${version % 3 === 0}}
log: {level: ${version % 2 === 0 ? 'info' : 'debug'}}
limits: {samples_per_second: ${10_000_000 + version}}
scrape_configs:
  - job_name: stays
    scrape_interval: 200ms
    scrape_timeout: 200ms
    static_configs: [{targets: ['${address}']}]
  - job_name: comes_and_goes_${version % 4}
    scrape_interval: 1s
    scrape_timeout: 1s
    static_configs: [{targets: ['${address}'], labels: {version: '${version}'}}]
`;
  const server = await Sightline.start(t, { config: config(0) });
  const began = Date.now();

  const acknowledged = new Array<number>(WRITERS).fill(0);
  let stopping = false;
  const writers = acknowledged.map(async (_none, writer) => {
    for (let round = 0; !stopping; round++) {
      const series = Array.from({ length: SERIES }, (_, i) => ({
        labels: ['__name__', 'written_total', 'i', String(i), 'writer', String(writer)],
        timestamps: [began - 3_600_000 + round],
        values: Float64Array.of(round),
      }));
      const { status, body } = await remoteWrite(server.url, series);
      assert.ok(status === 204 || status === 200, `${status} ${body}`);
      acknowledged[writer] = round + 1;
    }
  });

  for (let version = 1; version <= RELOADS; version++) {
    const bad = version % 6 === 5;
    writeFileSync(join(server.dir, 'sightline.yaml'), bad ? 'host: {enabld: true}\n' : config(version));
    const answer = await server.post('/-/reload', '');
    assert.equal(answer.status, bad ? 500 : 200, answer.body);
    if (bad) assert.match(answer.body, /unknown key; did you mean "enabled"/);
  }
  const before = scrapes;
  await until('more scrapes', async () => scrapes > before + 5);
  stopping = true;
  await Promise.all(writers);
  assert.ok(
    acknowledged.every(n => n > RELOADS),
    `the writers had their turns: ${acknowledged}`,
  );

  const counted = await server.query('sum by (writer) (count_over_time(written_total[2h]))');
  const found = new Map(counted.map(s => [s.metric.writer, Number(s.value[1])]));
  for (const [writer, rounds] of acknowledged.entries()) assert.equal(found.get(String(writer)), rounds * SERIES);
  const stays = await server.query('changes(up{job="stays"}[1h]) + count_over_time(up{job="stays"}[1h]) * 0');
  assert.deepEqual(
    stays.map(s => s.value[1]),
    ['0'],
    'up never fell',
  );
  // A staleness marker between two scrapes would be a target that was taken for a new one.
  const exported = await server.get('/api/v1/export?match[]=up{job="stays"}');
  const { values } = JSON.parse(exported.split('\n')[0] as string) as { values: (number | null)[] };
  assert.ok(values.length > 5 && values.every(v => v === 1), `${values.length} scrapes, all up`);
});
