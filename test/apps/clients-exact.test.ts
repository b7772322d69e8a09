/**
 * Real clients, sample by sample: what a Prometheus has scraped and remote-written is here bit by bit, staleness markers too, also when
 * we are killed in the middle of it; native histograms come through; promtool finds nothing wrong with our /metrics.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { compare, type Reply } from '../support/differential.ts';
import { findProgram, freePort, needs, startProgram, until } from '../support/programs.ts';
import { Random } from '../support/random.ts';
import { inSlices, randomMetrics } from '../support/random-metrics.ts';
import { type Contents, readFloatContents, STALE_TEXT } from '../support/read-all.ts';
import { startPrometheus } from '../support/real-prometheus.ts';
import { remoteWrite } from '../support/remote-write.ts';
import { Sightline } from '../support/sightline.ts';

const QUIET = 'host: {enabled: false}\nself: {interval: 1h}\n';

/** '' or what one has and the other has not. */
function difference(want: Contents, got: Contents): string {
  const wrong: string[] = [];
  for (const [key, samples] of want) {
    const ours = got.get(key);
    for (const [t, text] of samples)
      if (ours?.get(t) !== text) wrong.push(`${key} ${t}: ${text}, here ${ours?.get(t)}`);
  }
  for (const [key, samples] of got) {
    const theirs = want.get(key);
    for (const [t, text] of samples) if (!theirs?.has(t)) wrong.push(`${key} ${t}: ${text} is here alone`);
  }
  return wrong.length === 0 ? '' : `${wrong.length} samples differ: ${wrong.slice(0, 3).join('; ')}`;
}

test('what a Prometheus scrapes and remote-writes is here bit by bit, kill -9 included', {
  skip: needs('prometheus', 'prometheus-node-exporter'),
}, async t => {
  const [ownPort, nodePort] = [await freePort(), await freePort()];
  const server = await Sightline.start(t, { config: QUIET, args: ['--http', `127.0.0.1:${ownPort}`, '--shards', '2'] });
  startProgram(t, findProgram('prometheus-node-exporter'), [`--web.listen-address=127.0.0.1:${nodePort}`]);
  const job = (name: string, port: string | number): string =>
    `- {job_name: ${name}, static_configs: [{targets: ["127.0.0.1:${port}"]}]}`;
  const config = `global: {scrape_interval: 1s, scrape_timeout: 900ms}
remote_write: [{url: "${server.url}/api/v1/write"}]
scrape_configs:
${job('prometheus', 'PORT')}
${job('node', nodePort)}
${job('sightline', ownPort)}
`;
  const began = Date.now();
  const theirs = await startPrometheus(t, { config });
  await until('the first samples', async () => (await server.query('up{job="node"}'))[0]?.value[1] === '1');
  await delay(1500);
  await server.kill();
  await delay(1500);
  await server.launch();
  await until('scrapes of us again', async () => {
    const up = await fetch(`${theirs.url}/api/v1/query?query=changes(up{job="sightline"}[1m])`);
    const body = (await up.json()) as { data: { result: { value: [number, string] }[] } };
    return Number(body.data.result[0]?.value[1]) >= 2;
  });
  const end = Date.now();
  let last = '';
  let samples = 0;
  let stale = 0;
  await until('all samples', async () => {
    const [want, got] = await Promise.all([
      readFloatContents(theirs, 'default', '.+', began, end),
      readFloatContents(server, 'default', '.+', began, end),
    ]);
    samples = [...want.values()].reduce((sum, s) => sum + s.size, 0);
    stale = [...want.values()].reduce((sum, s) => sum + [...s.values()].filter(v => v === STALE_TEXT).length, 0);
    last = difference(want, got);
    return last === '';
  }).catch(() => assert.fail(last));
  assert.ok(samples > 5000, `${samples} samples only`);
  assert.ok(stale > 0, 'no staleness marker was sent');
  t.diagnostic(`${samples} samples are the same on both sides, ${stale} of them staleness markers`);
});

test('native histograms come through a Prometheus', { skip: needs('prometheus') }, async t => {
  const server = await Sightline.start(t, { config: `${QUIET}storage: {downsample: {1m: 0s, 1h: 0s}}\n` });
  const config = `remote_write: [{url: "${server.url}/api/v1/write", send_native_histograms: true}]\nscrape_configs: []\n`;
  const theirs = await startPrometheus(t, { config });
  // It forwards what is newer than its own start, and takes what is less than ten minutes ahead.
  const startMs = Math.ceil(Date.now() / 1000) * 1000 + 2000;
  const endMs = startMs + 480_000;
  const times = { startMs, endMs, stepMs: 15_000 };
  const all = randomMetrics(new Random(7), times).filter(s => s.labels.includes('sizes'));
  for (const slice of inSlices(all, times, 300_000)) assert.equal((await remoteWrite(theirs.url, slice)).status, 204);
  const ask = async (url: string): Promise<Reply> => {
    const response = await fetch(`${url}/api/v1/query?query=sizes[15m]&time=${endMs / 1000 + 60}`);
    return { ...((await response.json()) as Reply), status: response.status };
  };
  const want = await ask(theirs.url);
  assert.equal(((want.data?.result ?? []) as unknown[]).length, all.length);
  let last = '';
  await until('all histograms', async () => {
    last = compare(want, await ask(server.url));
    return last === '';
  }).catch(() => assert.fail(last));
  // Numbers as texts too, the bounds of the buckets to the last digit.
  const texts = (reply: Reply): string[] =>
    ((reply.data?.result ?? []) as unknown[]).map(r => JSON.stringify(r)).sort();
  assert.deepEqual(texts(await ask(server.url)), texts(want));
});

test('federation leaves out a series that has ended', async t => {
  const server = await Sightline.start(t, { config: QUIET });
  const now = Date.now();
  const ended = Float64Array.of(1, 0);
  new BigUint64Array(ended.buffer)[1] = BigInt(`0x${STALE_TEXT.slice(1)}`);
  const timestamps = [now - 10_000, now - 5000];
  const { status } = await remoteWrite(server.url, [
    { labels: ['__name__', 'ended'], timestamps, values: ended },
    { labels: ['__name__', 'goes_on'], timestamps, values: Float64Array.of(1, 2) },
  ]);
  assert.equal(status, 204);
  const text = await server.get('/federate?match[]=ended&match[]=goes_on');
  assert.match(text, /^goes_on/m);
  assert.doesNotMatch(text, /^ended/m);
});

test('promtool finds our /metrics sound', { skip: needs('promtool') }, async t => {
  const server = await Sightline.start(t);
  await server.query('up');
  await remoteWrite(server.url, [{ labels: ['__name__', 'x'], timestamps: [Date.now()], values: Float64Array.of(1) }]);
  const text = await server.get('/metrics');
  const child = spawn(findProgram('promtool'), ['check', 'metrics'], { stdio: ['pipe', 'pipe', 'pipe'] });
  let said = '';
  child.stdout.on('data', chunk => {
    said += chunk;
  });
  child.stderr.on('data', chunk => {
    said += chunk;
  });
  child.stdin.end(text);
  const code = await new Promise(resolve => child.once('close', resolve));
  // 3 stands for style: names that others than we have chosen.
  assert.ok(code === 0 || code === 3, `${code}: ${said}`);
  assert.deepEqual(
    said.split('\n').filter(line => /^sightline_/.test(line)),
    [],
    'our own names are in good style',
  );
});
