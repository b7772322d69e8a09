/**
 * Five million series on a limit of one million: the process serves, the other tenant does not notice, memory stays that of the
 * limit; and the same on a small memory limit instead of a series limit.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EXPLODING, explode } from '../support/explosion.ts';
import { Sightline } from '../support/sightline.ts';

const QUIET_CONFIG = 'host: {enabled: false}\nself: {interval: 1h}\nlog: {level: warn}\n';

async function seriesOf(server: Sightline, tenant: string): Promise<number> {
  const text = await server.get('/sightline/api/v1/cardinality/tenants');
  const { tenants } = JSON.parse(text) as { tenants: { tenant: string; series: number }[] };
  return tenants.find(t => t.tenant === tenant)?.series ?? 0;
}

test('5 M series on a limit of 1 M', async t => {
  const limit = 1_000_000;
  const config = `${QUIET_CONFIG}limits: {tenants: {${EXPLODING}: {active_series: ${limit}}}}\n`;
  const server = await Sightline.start(t, { config });
  const plan = {
    series: 5_000_000,
    reason: 'too_many_series' as const,
    perRequest: 5000,
    connections: 4,
    seed: 20261122,
  };
  const report = await explode(server, plan);
  t.diagnostic(JSON.stringify(report));
  assert.equal(report.refused, plan.series - limit);
  assert.equal(await seriesOf(server, EXPLODING), limit);
  assert.ok(report.quietRounds > 20);
  assert.ok(report.residentBytes < 2.5e9, `${report.residentBytes} bytes resident`);
  const view = JSON.parse(
    await fetch(`${server.url}/sightline/api/v1/cardinality`, { headers: { 'x-scope-orgid': EXPLODING } }).then(r =>
      r.text(),
    ),
  ) as { series: number; advice: { label: string; rule: string }[] };
  assert.equal(view.series, limit);
  const path = view.advice.find(a => a.label === 'path');
  assert.ok(path !== undefined);
  const tried = await fetch(`${server.url}/sightline/api/v1/cardinality/relabel`, {
    method: 'POST',
    body: path.rule,
    headers: { 'x-scope-orgid': EXPLODING },
  }).then(r => r.json());
  t.diagnostic(JSON.stringify({ ...(tried as object), metrics: null }));
  // All that is left of a path-less metric: one series per instance.
  const { after, complete } = tried as { after: number; complete: boolean };
  if (complete) assert.equal(after, 20);
  assert.equal(await server.stop(), 0);
  assert.doesNotMatch(server.stderr, /"level":"(error|fatal)"/);
});

test('3 M series without a limit of their own, on 640 MiB of memory', async t => {
  const none = '{active_series: 0, series_per_metric: 0}';
  const config = `${QUIET_CONFIG}limits: {memory: 640MiB, tenants: {${EXPLODING}: ${none}}}\n`;
  const server = await Sightline.start(t, { config });
  const plan = {
    series: 3_000_000,
    reason: 'memory_pressure' as const,
    perRequest: 5000,
    connections: 4,
    seed: 20261123,
  };
  const report = await explode(server, plan);
  t.diagnostic(JSON.stringify(report));
  assert.ok(report.refused + report.putOff > 0);
  const kept = await seriesOf(server, EXPLODING);
  assert.equal(kept + report.refused + report.putOff, plan.series, 'every series is accounted for');
  assert.ok(report.residentMaxBytes < 640 * 2 ** 20, `${report.residentMaxBytes} bytes resident`);
  assert.equal(await server.stop(), 0);
});
