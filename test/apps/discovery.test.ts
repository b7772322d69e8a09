/** The whole program finds targets by itself: files that change, an endpoint that hangs beside them, a reload, and what the API tells. */
import assert from 'node:assert/strict';
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { scriptedServer } from '../support/discovery-rig.ts';
import { until } from '../support/programs.ts';
import { Sightline } from '../support/sightline.ts';

interface Targets {
  activeTargets: {
    labels: Record<string, string>;
    discoveredLabels: Record<string, string>;
    scrapePool: string;
    health: string;
  }[];
  droppedTargets: { discoveredLabels: Record<string, string>; scrapePool: string; reason: string; rule?: number }[];
  droppedTargetCounts: Record<string, number>;
}

const CONFIG = (interval: string) => `
host: {enabled: false}
scrape_configs:
  - job_name: files
    scrape_interval: ${interval}
    file_sd_configs: [{files: ["sd-*.json"]}]
    relabel_configs:
      - {source_labels: [drop], regex: 'yes', action: drop}
  - job_name: hanging
    scrape_interval: 1s
    http_sd_configs: [{url: "URL"}]
  - job_name: unknown
    eureka_sd_configs: [{server: "http://localhost:1/eureka"}]
`;

test('targets of files come, change and go while the program runs', async t => {
  const [one, two] = [
    await scriptedServer(t, (_q, response) =>
      response.writeHead(200, { 'content-type': 'text/plain' }).end('from_one 1\n'),
    ),
    await scriptedServer(t, (_q, response) =>
      response.writeHead(200, { 'content-type': 'text/plain' }).end('from_two 1\n'),
    ),
  ];
  const hanging = await scriptedServer(t, () => {});
  const address = (server: { url: string }): string => server.url.replace('http://', '');
  const server = await Sightline.start(t, {
    config: CONFIG('1s').replace('URL', hanging.url),
    files: { 'sd-a.json': JSON.stringify([{ targets: [address(one)], labels: { zone: 'a' } }]) },
  });
  const put = (name: string, value: unknown): void => {
    writeFileSync(join(server.dir, `${name}.tmp`), typeof value === 'string' ? value : JSON.stringify(value));
    renameSync(join(server.dir, `${name}.tmp`), join(server.dir, name));
  };
  const targets = async (query = ''): Promise<Targets> =>
    (JSON.parse(await server.get(`/api/v1/targets${query}`)) as { data: Targets }).data;
  const value = async (expression: string): Promise<string | undefined> =>
    (await server.query(expression))[0]?.value[1];

  await until('the first target', async () => (await value('from_one')) === '1');
  const [active] = (await targets()).activeTargets;
  assert.deepEqual(active?.labels, { instance: address(one), job: 'files', zone: 'a' });
  assert.equal(active?.discoveredLabels.__meta_filepath, join(server.dir, 'sd-a.json'));

  put('sd-b.json', [{ targets: [address(two)] }, { targets: ['dropped:1'], labels: { drop: 'yes' } }]);
  await until('the second target', async () => (await value('from_two')) === '1');
  const all = await targets('?state=dropped');
  assert.deepEqual(all.activeTargets, []);
  assert.deepEqual(all.droppedTargetCounts, { files: 1, hanging: 0, unknown: 0 });
  assert.equal(all.droppedTargets[0]?.reason, 'relabel_configs[0]: drop of [drop] by regex "yes"');
  assert.equal(all.droppedTargets[0]?.rule, 0);
  assert.equal((await targets('?scrapePool=hanging')).activeTargets.length, 0);
  assert.equal((await targets('?scrapePool=files&state=active')).activeTargets.length, 2);
  assert.deepEqual(JSON.parse(await server.get('/api/v1/scrape_pools')).data.scrapePools, [
    'files',
    'hanging',
    'unknown',
  ]);

  // A broken file keeps its targets and is told of.
  put('sd-a.json', '[{"targets": [');
  await until('the complaint', async () => {
    const { sections } = JSON.parse(await server.get('/sightline/api/discovery?scrapePool=files'));
    return /sd-a\.json: .*JSON/.test(sections[0].lastError) && sections[0].targets === 3;
  });
  assert.match(await server.get('/metrics'), /sightline_sd_failing\{job="files",mechanism="file"\} 1/);
  assert.match(
    await server.get('/metrics'),
    /sightline_config_unsupported\{file="[^"]*",key="scrape_configs.eureka_sd_configs"\} 1/,
  );
  assert.equal((await targets()).activeTargets.length, 2);

  // A target that goes is marked stale, the other goes on.
  put('sd-a.json', []);
  await until('one target', async () => (await targets()).activeTargets.length === 1);
  await until(
    'its series ended',
    async () => (await value('from_one')) === undefined && (await value('from_two')) === '1',
  );
  assert.equal(await value(`up{instance="${address(one)}"}`), undefined);
  const { metrics } = { metrics: await server.get('/metrics') };
  assert.match(metrics, /sightline_sd_failing\{job="files",mechanism="file"\} 0/);

  // A reload that does not touch a target leaves it alone: no staleness marker between its samples.
  const before = two.requests.length;
  writeFileSync(join(server.dir, 'sightline.yaml'), `${CONFIG('1s').replace('URL', hanging.url)}\n# touched\n`);
  assert.equal((await server.post('/-/reload', '')).status, 200);
  await until('scrapes after the reload', async () => two.requests.length > before + 2);
  assert.equal(await value('from_two'), '1');
  const gaps = await value('count_over_time(absent(from_two)[5s:250ms]) or vector(0)');
  assert.equal(gaps, '0');
});
