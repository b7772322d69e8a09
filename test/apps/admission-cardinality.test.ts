/** The cardinality explorer through a whole process, and growth over days with a clock that the test moves. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { CardinalityView } from '../../src/contracts/cardinality.ts';
import { silentLogger } from '../../src/lib/log.ts';
import { CardinalityRecorder } from '../../src/main/admission-history.ts';
import { SqliteStateStore } from '../../src/storage/state/sqlite-state-store.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { remoteWrite, type WriteSeries } from '../support/remote-write.ts';
import { Sightline } from '../support/sightline.ts';

const QUIET = 'host: {enabled: false}\nself: {interval: 1h}\nlog: {level: warn}\n';
const BASE = '/sightline/api/v1/cardinality';

interface Overview extends CardinalityView {
  limit: number;
  senders: { sender: string; thisHour: number; lastDay: number }[];
  advice: { label: string; values: number; advice: string; rule: string }[];
  growth: { yesterday: unknown; lastWeek: unknown };
}

function one(labels: Record<string, string>): WriteSeries {
  return { labels: Object.entries(labels).flat(), timestamps: [Date.now()], values: Float64Array.of(1) };
}

test('the explorer shows what brings series, advises, and tells what a rule would save', async t => {
  const server = await Sightline.start(t, { config: QUIET, args: ['--shards', '3'] });
  const many: WriteSeries[] = [];
  for (let i = 0; i < 600; i++) {
    many.push(
      one({ __name__: 'hits_total', code: String(200 + (i % 5)), instance: `h${i % 2}`, job: 'shop', path: `/p/${i}` }),
    );
  }
  for (let i = 0; i < 40; i++)
    many.push(one({ __name__: 'temperature', instance: 'h0', job: 'room', sensor: String(i) }));
  assert.equal((await remoteWrite(server.url, many)).status, 204);
  assert.equal((await remoteWrite(server.url, [one({ __name__: 'else' })], { tenant: 'other' })).status, 204);

  const get = async (params = ''): Promise<Overview> => JSON.parse(await server.get(BASE + params)) as Overview;
  const all = await get();
  assert.equal(all.series, 640);
  assert.equal(all.limit, 3_000_000);
  assert.deepEqual(
    all.metrics.map(m => [m.name, m.series]),
    [
      ['hits_total', 600],
      ['temperature', 40],
    ],
  );
  assert.deepEqual(
    all.labels.map(l => [l.name, l.values, l.series]),
    [
      ['path', 600, 600],
      ['sensor', 40, 40],
      ['code', 5, 600],
      ['__name__', 2, 640],
      ['instance', 2, 640],
      ['job', 2, 640],
    ],
  );
  assert.deepEqual(all.targets, [
    { job: 'shop', instance: 'h0', series: 300 },
    { job: 'shop', instance: 'h1', series: 300 },
    { job: 'room', instance: 'h0', series: 40 },
  ]);
  assert.equal(all.senders.length, 1);
  assert.match(all.senders[0]?.sender ?? '', /^remote-write: /);
  assert.equal(all.senders[0]?.lastDay, 640);
  assert.deepEqual(all.growth, { yesterday: null, lastWeek: null });
  assert.deepEqual(
    all.advice.map(a => [a.label, a.values]),
    [['path', 600]],
  );
  const path = await get('?label=path&limit=3');
  assert.equal(path.values.length, 3);
  assert.equal((await get('?metric=temperature')).series, 40);

  const post = (body: string) => server.post(`${BASE}/relabel`, body, { 'content-type': 'application/yaml' });
  const tried = JSON.parse((await post(all.advice[0]?.rule ?? '')).body) as Record<string, unknown>;
  // Five codes and two hosts are left of the 600, in ten combinations.
  assert.deepEqual(
    { ...tried, metrics: null },
    {
      tenant: 'default',
      before: 640,
      after: 50,
      saved: 590,
      dropped: 0,
      changed: 600,
      merged: 590,
      complete: true,
      looked: 640,
      metrics: null,
    },
  );
  const drop = 'metric_relabel_configs:\n- source_labels: [__name__]\n  regex: hits_.*\n  action: drop\n';
  const dropped = JSON.parse((await post(drop)).body) as Record<string, unknown>;
  assert.deepEqual([dropped.saved, dropped.dropped, dropped.merged], [600, 600, 0]);
  const ofMetric = (await get('?metric=hits_total')).advice[0]?.rule ?? '';
  assert.equal((JSON.parse((await post(ofMetric)).body) as { changed: number }).changed, 600);
  for (const [bad, said] of [
    ['- action: dorp\n', /rules:1:\d+: .*unknown relabel action/],
    ['just text', /cannot unmarshal|must be a list/],
    ['- regex: "("\n', /missing|regex/],
    ['a: 1\n', /must be a list of rules, or have one under metric_relabel_configs/],
    ['[', /rules:1/],
  ] as const) {
    const { status, body } = await post(bad);
    assert.equal(status, 400, bad);
    assert.match(body, said);
  }
  assert.equal((await fetch(`${server.url}${BASE}?limit=0`)).status, 400);
  const tenants = JSON.parse(await server.get(`${BASE}/tenants`)) as { tenants: { tenant: string; series: number }[] };
  const named = tenants.tenants.filter(x => x.tenant !== '_self').map(x => [x.tenant, x.series]);
  assert.deepEqual(named, [
    ['default', 640],
    ['other', 1],
  ]);
  const described = JSON.parse(await server.get('/sightline/api/openapi.json')) as { paths: Record<string, unknown> };
  for (const route of [BASE, `${BASE}/tenants`, `${BASE}/relabel`]) assert.ok(route in described.paths, route);
});

test('growth: a record a day, of yesterday and a week ago, or the nearest there is', async t => {
  const dir = mkdtempSync(join(tmpdir(), 'sightline-growth-'));
  const clock = new ManualClock(Date.UTC(2026, 0, 1, 12));
  const state = new SqliteStateStore(join(dir, 'state.sqlite'), () => clock.now());
  t.after(() => {
    state.close();
    rmSync(dir, { recursive: true, force: true });
  });
  let series = 0;
  const explorer = {
    view: async () => ({
      series,
      metrics: [{ name: 'm', series }],
      labels: [{ name: 'l', values: series, series }],
      pairs: [],
      values: [],
      targets: [],
    }),
    tenants: async () => [{ tenant: 'a', series, limit: 0 }],
    senders: async () => [],
    savings: async () => {
      throw new Error('not asked');
    },
  };
  const recorder = new CardinalityRecorder({ state, explorer, clock, log: silentLogger });
  for (let day = 0; day < 25; day++) {
    series = 100 + day;
    await recorder.record();
    series = 1;
    await recorder.record();
    const { yesterday, lastWeek } = await recorder.before('a');
    assert.equal(yesterday?.series, day === 0 ? undefined : 99 + day, 'the first of a day counts');
    const back = day >= 7 ? 7 : day >= 5 ? day : -1;
    assert.equal(lastWeek?.series, back < 0 ? undefined : 100 + day - back, `day ${day}`);
    await clock.advance(86_400_000);
  }
  assert.equal((await state.list('cardinality_day', 'a')).length, 10);
});
