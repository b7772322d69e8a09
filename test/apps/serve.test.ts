/** The whole program: start, write, query, stop, kill, start again. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { until } from '../support/programs.ts';
import { runCli, Sightline } from '../support/sightline.ts';

test('a fresh start collects this host and itself, and answers queries about both', {
  skip: process.platform !== 'linux' && 'needs Linux',
}, async t => {
  const server = await Sightline.start(t);
  const cpus = await until('host metrics', async () => {
    const result = await server.query('count(node_cpu_seconds_total{mode="idle"})');
    return result.length > 0 && result;
  });
  assert.ok(Number(cpus[0]?.value[1]) > 0);
  const self = await until('own metrics', async () => {
    const response = await fetch(`${server.url}/api/v1/query?query=process_resident_memory_bytes`, {
      headers: { 'x-scope-orgid': '_self' },
    });
    const body = (await response.json()) as { data: { result: { value: [number, string] }[] } };
    return body.data.result.length > 0 && body.data.result;
  });
  assert.ok(Number(self[0]?.value[1]) > 1e6);
  const outside = await server.post('/api/v1/import/prometheus', 'a 1\n', { 'x-scope-orgid': '_self' });
  assert.equal(outside.status, 403);
});

test('/metrics is sound, and docs/metrics.md names all that is ours', async t => {
  const server = await Sightline.start(t);
  const text = await server.get('/metrics');
  const docs = readFileSync(join(import.meta.dirname, '..', '..', 'docs', 'metrics.md'), 'utf8');
  const families = [...text.matchAll(/^# TYPE (\S+) /gm)].map(match => match[1] as string);
  assert.equal(new Set(families).size, families.length, 'a family twice');
  // `a_{b,c}_d` in the page stands for a_b_d and a_c_d.
  const named = docs.replaceAll(/([\w]*)\{([\w,]+)\}(\w+)/g, (_, head: string, parts: string, tail: string) =>
    parts
      .split(',')
      .map(part => head + part + tail)
      .join(' '),
  );
  for (const name of families) assert.ok(new RegExp(`\\b${name}\\b`).test(named), `${name} is not in docs/metrics.md`);
  const series = text
    .split('\n')
    .filter(line => line !== '' && !line.startsWith('#'))
    .map(line => line.replace(/ \S+$/, ''));
  assert.deepEqual(
    series.filter((line, i) => series.indexOf(line) !== i),
    [],
    'series twice',
  );
});

test('what was acknowledged is there after a stop and after kill -9', async t => {
  const server = await Sightline.start(t, { config: 'host: {enabled: false}\n' });
  const now = Math.floor(Date.now() / 1000);
  const write = async (value: number): Promise<void> => {
    const { status, body } = await server.post(
      '/api/v1/import/prometheus',
      `kept{n="${value}"} ${value} ${now * 1000}\n`,
    );
    assert.ok(status >= 200 && status < 300, `${status} ${body}`);
  };
  await write(1);
  assert.equal(await server.stop(), 0);
  await server.launch();
  await write(2);
  await server.kill();
  await server.launch();
  const { data: replay } = JSON.parse(await server.get('/api/v1/status/walreplay'));
  assert.ok(replay.state === 'done' && replay.min >= 1 && replay.current === replay.max, JSON.stringify(replay));
  const result = await server.query('kept', now);
  assert.deepEqual(result.map(series => series.value[1]).sort(), ['1', '2']);
});

test('a second process on the same folder or port is refused with a reason', async t => {
  const server = await Sightline.start(t, { config: 'host: {enabled: false}\n' });
  const data = join(server.dir, 'data');
  const locked = await runCli([
    'serve',
    '--data-dir',
    data,
    '--http',
    '127.0.0.1:0',
    '--otlp-grpc',
    'off',
    '--otlp-http',
    'off',
  ]);
  assert.equal(locked.code, 1);
  assert.match(locked.stderr, new RegExp(`in use by process ${server.pid} `));
  const taken = await runCli(['serve', '--data-dir', join(server.dir, 'other'), '--http', new URL(server.url).host]);
  assert.equal(taken.code, 1);
  assert.match(taken.stderr, /is in use by another program/);
});

test('SIGTERM lets a running request finish, SIGHUP reloads', async t => {
  const server = await Sightline.start(t, { config: 'host: {enabled: false}\n' });
  server.signal('SIGHUP');
  await until('the reload', async () => server.stdout.includes('"reason":"SIGHUP"'));
  // A body that is still being sent when the signal comes.
  let finish = (): void => {};
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      controller.enqueue(Buffer.from('slow 1\n'));
      finish = () => {
        controller.enqueue(Buffer.from('slow 2\n'));
        controller.close();
      };
    },
  });
  const init = { method: 'POST', body, duplex: 'half' } as RequestInit;
  const answer = fetch(`${server.url}/api/v1/import/prometheus`, init);
  await until('the request to be under way', async () => (await server.get('/-/healthy')) !== '');
  server.signal('SIGTERM');
  await until('the stop to begin', async () => server.stderr.includes('SIGTERM: finishing'));
  finish();
  const { status } = await answer;
  assert.ok(status >= 200 && status < 300, String(status));
  assert.deepEqual(await server.ended(), { code: 0, signal: null });
});
