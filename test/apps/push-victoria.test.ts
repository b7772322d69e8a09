/**
 * Beside a real VictoriaMetrics: the same bodies give the same series in both (Influx, Datadog, Graphite), and what one exports the other
 * imports.
 */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { findProgram, freePort, needs, startProgram, until } from '../support/programs.ts';
import { Sightline } from '../support/sightline.ts';

const QUIET = 'host: {enabled: false}\n';
const SKIP = { skip: needs('victoria-metrics') };

interface Row {
  metric: Record<string, string>;
  values: (number | string | null)[];
  timestamps: number[];
}

async function startVictoria(t: TestContext, folder: string): Promise<{ url: string; graphite: number }> {
  const [port, graphite] = [await freePort(), await freePort()];
  startProgram(t, findProgram('victoria-metrics'), [
    `-storageDataPath=${join(folder, 'victoria')}`,
    `-httpListenAddr=127.0.0.1:${port}`,
    `-graphiteListenAddr=127.0.0.1:${graphite}`,
    '-retentionPeriod=100y',
  ]);
  const url = `http://127.0.0.1:${port}`;
  await until('VictoriaMetrics', async () => (await fetch(`${url}/health`)).ok);
  return { url, graphite };
}

/** What a server has, as sorted rows. */
async function exported(url: string): Promise<string[]> {
  await fetch(`${url}/internal/force_flush`).catch(() => null);
  const body = new URLSearchParams({ 'match[]': '{__name__!=""}' });
  const text = await (await fetch(`${url}/api/v1/export`, { method: 'POST', body })).text();
  return text
    .split('\n')
    .filter(line => line !== '' && !line.includes('"__name__":"flag"'))
    .map(line => {
      const row = JSON.parse(line.replace(/([[,])([-+]?Inf)/g, '$1"$2"')) as Row;
      return JSON.stringify([Object.entries(row.metric).sort(), row.timestamps, row.values]);
    })
    .sort();
}

async function post(url: string, body: string, type = 'text/plain'): Promise<number> {
  return (await fetch(url, { method: 'POST', body, headers: { 'content-type': type } })).status;
}

test('the same Influx, Datadog and Graphite bodies give the same series', SKIP, async t => {
  const graphite = await freePort();
  const server = await Sightline.start(t, { config: `${QUIET}push: {graphite: {listen: "127.0.0.1:${graphite}"}}\n` });
  const victoria = await startVictoria(t, server.dir);
  const influx =
    'cpu,host=a\\ b,region=eu\\,w usage=0.5,idle=99i,n=7u,up=true,down=f 1600000000123456789\n' +
    'we\\ ather,l=x temp=-1.5e3 1600000001000000000\n' +
    'num s="12.5",v=2 1600000002000000000\n';
  // Debian's version knows neither devices nor Datadog's rule for names.
  const datadog = {
    series: [
      {
        metric: 'system.load.1',
        points: [[1_600_000_003, 0.5]],
        host: 'h1',
        tags: ['env:prod:x', 'solo', 'host:o'],
      },
      { metric: 'net_in.bytes', points: [[1_600_000_004, 2]], host: 'h2', tags: [] },
    ],
  };
  const lines = 'servers.web-1.load;dc=eu;rack=1 0.25 1600000005\nplain 3 1600000006\n';
  for (const [url, port] of [
    [server.url, graphite],
    [victoria.url, victoria.graphite],
  ] as const) {
    assert.equal(await post(`${url}/write?db=tele`, influx), 204);
    assert.equal(await post(`${url}/datadog/api/v1/series`, JSON.stringify(datadog), 'application/json'), 202);
    const socket = connect(port, '127.0.0.1');
    await new Promise<void>(done => socket.end(lines, done));
  }
  const found = await until('the same series in both', async () => {
    const [ours, theirs] = [await exported(server.url), await exported(victoria.url)];
    return ours.length >= 12 && theirs.length >= 12 && { ours, theirs };
  });
  assert.deepEqual(found.ours, found.theirs);
});

test('exports of VictoriaMetrics are imported: native and JSON lines, and back', SKIP, async t => {
  const server = await Sightline.start(t, { config: QUIET });
  const victoria = await startVictoria(t, server.dir);
  const lines: string[] = [];
  for (let i = 0; i < 500; i++) {
    const at = 1_600_000_000_000 + i * 15_000;
    lines.push(`const{a="x y"} 5 ${at}`, `line{b="é"} ${i * 3} ${at + (i % 7)}`, `gauge ${Math.sin(i) * 100} ${at}`);
    lines.push(`cents ${(i * 37) % 1000}.${i % 10}5 ${at}`, `edge ${i === 99 ? '+Inf' : i === 100 ? '-Inf' : i} ${at}`);
  }
  assert.equal(await post(`${victoria.url}/api/v1/import/prometheus`, `${lines.join('\n')}\n`), 204);
  const theirs = await until('the samples there', async () => {
    const rows = await exported(victoria.url);
    return rows.length === 5 && rows;
  });
  const match = new URLSearchParams({ 'match[]': '{__name__!=""}' });
  for (const [from, to] of [
    ['export/native', 'import/native'],
    ['export', 'import'],
  ] as const) {
    const body = await (await fetch(`${victoria.url}/api/v1/${from}`, { method: 'POST', body: match })).arrayBuffer();
    const response = await fetch(`${server.url}/api/v1/${to}?extra_label=via%3D${to.replace('/', '-')}`, {
      method: 'POST',
      body,
    });
    assert.equal(response.status, 204, await response.text());
  }
  const numbers = (row: string): unknown => (JSON.parse(row) as unknown[])[2];
  const ours = (await exported(server.url)).filter(row => row.includes('"import-native"'));
  const text = (await exported(server.url)).filter(row => row.includes('"import"'));
  assert.equal(ours.length, 5);
  // What VictoriaMetrics shows of a value is its decimal, multiplied once; ours is that decimal: to the last digit but one they agree.
  for (const rows of [ours, text]) {
    const bare = rows.map(row => row.replace(/,\["via","[^"]*"\]/, ''));
    for (const [i, row] of bare.entries()) {
      const want = theirs[i] as string;
      assert.deepEqual((JSON.parse(row) as unknown[]).slice(0, 2), (JSON.parse(want) as unknown[]).slice(0, 2));
      const [got, expected] = [numbers(row) as (number | string)[], numbers(want) as (number | string)[]];
      for (const [k, value] of got.entries()) {
        const there = expected[k] as number | string;
        const same =
          typeof value === 'number' && typeof there === 'number' && Math.abs(value - there) <= Math.abs(there) * 1e-15;
        assert.ok(
          same || String(value).replace('inity', '').replace('+', '') === String(there).replace('+', ''),
          `${value} for ${there}`,
        );
      }
    }
  }
  // Back: what this version of VictoriaMetrics reads, which is plain numbers.
  const back = new URLSearchParams({ 'match[]': '{__name__=~"const|line",via="import"}' });
  const again = await (await fetch(`${server.url}/api/v1/export`, { method: 'POST', body: back })).text();
  assert.equal(await post(`${victoria.url}/api/v1/import`, again), 204);
  await until('both series back there', async () => (await exported(victoria.url)).length === 7);
});
