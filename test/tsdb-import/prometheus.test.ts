/** `sightline tsdb import` against folders that a real Prometheus wrote: both servers then answer alike. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { needs } from '../support/programs.ts';
import { Random } from '../support/random.ts';
import { inSlices, randomMetrics } from '../support/random-metrics.ts';
import { remoteWrite } from '../support/remote-write.ts';
import { CLI, runCli, Sightline } from '../support/sightline.ts';
import {
  assertSameRows,
  contentsOf,
  metricNames,
  Prometheus,
  type Row,
  rawSamples,
  sampleCount,
  sortedRows,
} from './support.ts';

const END_MS = 1_700_000_000_000;
const SPAN_MS = 3 * 3_600_000;
const CONFIG =
  'host: {enabled: false}\nself: {interval: 1h}\nstorage: {retention: {raw: 100y}, downsample: {1m: 0s, 1h: 0s}}\n';

/** Seeded metrics of three hours, some of them deleted. */
async function filled(t: TestContext, seed: number): Promise<Prometheus> {
  const theirs = await Prometheus.start(t);
  const metrics = { startMs: END_MS - SPAN_MS, endMs: END_MS, stepMs: 15_000 };
  const series = randomMetrics(new Random(seed), metrics);
  for (const slice of inSlices(series, metrics, 300_000)) {
    const { status, body } = await remoteWrite(theirs.url, slice);
    assert.ok(status === 204 || status === 200, `${status} ${body}`);
  }
  const from = (END_MS - 2 * 3_600_000) / 1000;
  const deletion = `match[]=queue&start=${from}&end=${from + 3600}`;
  const response = await fetch(`${theirs.url}/api/v1/admin/tsdb/delete_series?${deletion}`, { method: 'POST' });
  assert.equal(response.status, 204);
  return theirs;
}

function importInto(source: string, tenant = 'default'): (dir: string) => void {
  return dir => {
    const args = [CLI, 'tsdb', 'import', '--data-dir', join(dir, 'data'), '--shards', '2', '--tenant', tenant, source];
    execFileSync(process.execPath, args, { stdio: 'pipe' });
  };
}

async function assertSame(theirs: string, ours: string): Promise<number> {
  const names = await metricNames(theirs);
  assert.deepEqual(await metricNames(ours), names);
  assert.ok(names.length > 5);
  let samples = 0;
  for (const name of names) {
    const want = await rawSamples(theirs, name, '4h', END_MS / 1000 + 1);
    assertSameRows(await rawSamples(ours, name, '4h', END_MS / 1000 + 1), want, name);
    samples += sampleCount(want);
  }
  const queries = [
    'sum by (job) (rate(requests_total[5m]))',
    'histogram_quantile(0.9, sum by (le) (rate(latency_bucket[5m])))',
    'count(up)',
    'queue',
  ];
  for (const query of queries) {
    const range = `query=${encodeURIComponent(query)}&start=${(END_MS - SPAN_MS) / 1000}&end=${END_MS / 1000}&step=60`;
    const ask = async (url: string): Promise<Row[]> => {
      const response = await fetch(`${url}/api/v1/query_range?${range}`);
      const { data } = (await response.json()) as { data: { result: Required<Row>[] } };
      return sortedRows(
        data.result.map(r => ({
          metric: r.metric,
          values: r.values.map(([at, v]) => [at, Number(v).toPrecision(12)]),
        })),
      );
    };
    assertSameRows(await ask(ours), await ask(theirs), query);
  }
  return samples;
}

test('blocks of a snapshot answer as in Prometheus; a second import changes nothing', {
  skip: needs('prometheus'),
}, async t => {
  const theirs = await filled(t, 11);
  const source = await theirs.snapshot();
  const ours = await Sightline.start(t, { config: CONFIG, prepare: importInto(source) });
  const samples = await assertSame(theirs.url, ours.url);
  assert.ok(samples > 20_000, String(samples));
  await ours.stop();
  const before = contentsOf(join(ours.dir, 'data', 'tsdb'));
  const again = await runCli(['tsdb', 'import', '--data-dir', join(ours.dir, 'data'), source]);
  assert.equal(again.code, 0, again.stderr);
  assert.match(again.stdout, /imported before/);
  assert.deepEqual(contentsOf(join(ours.dir, 'data', 'tsdb')), before);
});

test('blocks and log of a stopped Prometheus come along', { skip: needs('prometheus') }, async t => {
  const theirs = await filled(t, 12);
  await theirs.stop();
  const ours = await Sightline.start(t, { config: CONFIG, prepare: importInto(theirs.dataDir) });
  await theirs.launch();
  const samples = await assertSame(theirs.url, ours.url);
  assert.ok(samples > 20_000, String(samples));
});

test('out-of-order samples and exemplars of the log come along', { skip: needs('prometheus') }, async t => {
  const theirs = await Prometheus.start(t);
  const write = async (fromMs: number, n: number): Promise<void> => {
    const timestamps = Array.from({ length: n }, (_, k) => fromMs + k * 15_000);
    const series = Array.from({ length: 5 }, (_, i) => ({
      labels: ['__name__', 'late', 'i', String(i)],
      timestamps,
      values: Float64Array.from(timestamps, at => (at - END_MS) / 1000 + i),
      exemplars: [{ labels: ['trace_id', `t${i}at${fromMs}`], value: i, timestampMs: fromMs }],
    }));
    const { status, body } = await remoteWrite(theirs.url, series);
    assert.ok(status < 300, body);
  };
  await write(END_MS - 600_000, 40);
  await write(END_MS - 1_800_000, 60);
  await write(END_MS - 1_200_000 + 5000, 40);
  await theirs.stop();
  assert.ok(existsSync(join(theirs.dataDir, 'wbl')));
  const ours = await Sightline.start(t, { config: CONFIG, prepare: importInto(theirs.dataDir) });
  await theirs.launch();
  const want = await rawSamples(theirs.url, 'late', '2h', END_MS / 1000 + 1);
  assert.equal(sampleCount(want), 5 * 140);
  assertSameRows(await rawSamples(ours.url, 'late', '2h', END_MS / 1000 + 1), want, 'late');
  const exemplars = async (url: string): Promise<string[]> => {
    const path = `/api/v1/query_exemplars?query=late&start=0&end=${END_MS / 1000}`;
    return ((await (await fetch(url + path)).text()).match(/t\dat\d+/g) ?? []).sort();
  };
  // Prometheus keeps no exemplars that come late.
  const known = await exemplars(theirs.url);
  assert.equal(known.length, 5);
  assert.deepEqual(await exemplars(ours.url), known);
});

test('a server with data of its own takes the import beside it, in another tenant too', {
  skip: needs('prometheus'),
}, async t => {
  const theirs = await filled(t, 13);
  const source = await theirs.snapshot();
  const ours = await Sightline.start(t, { config: CONFIG });
  await ours.post('/api/v1/import/prometheus', `own 1 ${END_MS}\n`);
  assert.equal(await ours.stop(), 0);
  const data = join(ours.dir, 'data');
  const { code, stdout, stderr } = await runCli(['tsdb', 'import', '--data-dir', data, '--tenant', 'theirs', source]);
  assert.equal(code, 0, stdout + stderr);
  await ours.launch();
  assert.deepEqual(await metricNames(ours.url), ['own']);
  const response = await fetch(`${ours.url}/api/v1/label/__name__/values?start=0`, {
    headers: { 'x-scope-orgid': 'theirs' },
  });
  assert.deepEqual(((await response.json()) as { data: string[] }).data, await metricNames(theirs.url));
});

test('a source that is none is refused with a reason', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'sightline-import-'));
  try {
    const { code, stderr } = await runCli(['tsdb', 'import', '--data-dir', join(dir, 'data'), dir]);
    assert.equal(code, 2);
    assert.match(stderr, /has no Prometheus block and no wal folder/);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});
