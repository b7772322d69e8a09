/**
 * A full disk, for real: the data folder on a small tmpfs, filled to the brim by a ballast file and by writes. Writes are refused with
 * 503, reads go on, and once there is room writes go on by themselves; nothing acknowledged is lost, also across kill -9.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { until } from '../support/programs.ts';
import { type Answer, remoteWrite, type WriteSeries } from '../support/remote-write.ts';
import { runCli, Sightline } from '../support/sightline.ts';

/** A mounted tmpfs, or '' where this user cannot mount. */
function mountTmpfs(t: TestContext, size: string, files = 0): string {
  const dir = mkdtempSync(join(tmpdir(), 'sightline-small-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size},nr_inodes=${files}`, 'tmpfs', dir], { stdio: 'ignore' });
  } catch {
    rmSync(dir, { recursive: true });
    return '';
  }
  t.after(() => {
    execFileSync('umount', ['-l', dir]);
    rmSync(dir, { recursive: true });
  });
  return dir;
}

/** Everything that is free, in one file, but for `spareBytes`. */
function fill(file: string, dir: string, spareBytes: number): void {
  const { bavail, bsize } = statfsSync(dir);
  writeFileSync(file, Buffer.alloc(Math.max(0, bavail * bsize - spareBytes), 1));
}

class Numbered {
  readonly kept = new Map<string, number>();
  private next = 0;
  private readonly baseMs: number;

  constructor(baseMs: number) {
    this.baseMs = baseMs;
  }

  /** One request of 200 samples, half of them of new series. */
  async write(server: Sightline): Promise<Answer> {
    const n = this.next++;
    const t = this.baseMs + n * 1000;
    const series: WriteSeries[] = Array.from({ length: 200 }, (_, i) => ({
      labels: ['__name__', 'full', 'i', String(i), 'n', i % 2 === 0 ? 'all' : String(n)],
      timestamps: [t],
      values: Float64Array.of(n * 1000 + i),
    }));
    const answer = await remoteWrite(server.url, series);
    if (answer.status !== 204) return answer;
    for (const s of series) this.kept.set(`${s.labels[3]}/${s.labels[5]}/${t}`, s.values[0] as number);
    return answer;
  }

  async verify(server: Sightline, what: string): Promise<void> {
    const text = await server.get('/api/v1/export?match[]=full');
    const found = new Map<string, number>();
    for (const line of text.split('\n').filter(l => l !== '')) {
      const row = JSON.parse(line) as { metric: { i: string; n: string }; values: number[]; timestamps: number[] };
      for (const [k, t] of row.timestamps.entries()) {
        found.set(`${row.metric.i}/${row.metric.n}/${t}`, row.values[k] as number);
      }
    }
    const lost = [...this.kept].filter(([key, value]) => found.get(key) !== value);
    assert.deepEqual(lost.slice(0, 5), [], `${what}: ${lost.length} of ${this.kept.size} acknowledged samples lost`);
  }
}

test('a full disk refuses writes, answers queries, and recovers without a restart', async t => {
  const small = mountTmpfs(t, '48m');
  if (small === '') return t.skip('skipped: needs root and tmpfs');
  const data = join(small, 'data');
  const ballast = join(small, 'ballast');
  mkdirSync(data);
  const args = ['--data-dir', data, '--shards', '2', '--admin-api', '--log-level', 'error'];
  const server = await Sightline.start(t, { config: 'host: {enabled: false}\nself: {interval: 1h}\n', args });
  assert.ok(existsSync(join(data, 'sightline-format.json')), 'the data is on the small disk');
  const load = new Numbered(Date.now() - 3_600_000);
  const refused = async (): Promise<Answer> =>
    until('a refusal', async () => {
      const answer = await load.write(server);
      return answer.status !== 204 && answer;
    });
  const accepted = (): Promise<unknown> =>
    until('writes to go on', async () => (await load.write(server)).status === 204);

  for (let i = 0; i < 20; i++) assert.equal((await load.write(server)).status, 204);
  for (const round of [1, 2]) {
    fill(ballast, small, round * 40_000);
    const { status, body, headers } = await refused();
    assert.equal(status, 503, body);
    assert.match(body, /no space left|full/i);
    assert.ok(Number(headers.get('retry-after')) > 0, 'Retry-After');
    const count = await server.query('count(count_over_time(full[2h]))');
    assert.ok(Number(count[0]?.value[1]) >= 200, 'queries go on');
    const flush = await server.post('/api/v1/admin/tsdb/snapshot', '');
    assert.ok(flush.status === 200 || flush.status >= 500, `a snapshot on a full disk: ${flush.status} ${flush.body}`);
    await load.verify(server, `round ${round}, full`);
    if (round === 2) {
      await server.kill();
      rmSync(ballast);
      await server.launch();
      await load.verify(server, 'after kill -9 while full');
    }
    if (round !== 2) rmSync(ballast);
    await accepted();
    await load.verify(server, `round ${round}, room again`);
  }
  await server.kill();
  await server.launch();
  await load.verify(server, 'after kill -9');
  t.diagnostic(`${load.kept.size} acknowledged samples`);
});

/** Not a byte is left. */
function fillWhole(file: string, dir: string): void {
  fill(file, dir, 0);
  assert.equal(statfsSync(dir).bavail, 0, 'the disk is completely full');
}

interface Ready {
  status: number;
  text: string;
}

async function ready(server: Sightline): Promise<Ready> {
  const response = await fetch(`${server.url}/-/ready`);
  return { status: response.status, text: await response.text() };
}

async function metric(server: Sightline, name: string): Promise<number> {
  const line = (await server.get('/metrics')).split('\n').find(l => l.startsWith(`${name} `));
  return Number(line?.split(' ')[1] ?? Number.NaN);
}

test('a start on a completely full disk serves queries, refuses writes with the reason, and recovers', async t => {
  const small = mountTmpfs(t, '48m');
  if (small === '') return t.skip('skipped: needs root and tmpfs');
  const data = join(small, 'data');
  const ballast = join(small, 'ballast');
  const args = ['--data-dir', data, '--shards', '2', '--admin-api', '--log-level', 'info'];
  const server = await Sightline.start(t, { config: 'host: {enabled: false}\nself: {interval: 1h}\n', args });
  const load = new Numbered(Date.now() - 3_600_000);
  for (let i = 0; i < 40; i++) assert.equal((await load.write(server)).status, 204);
  const tokens = (): Promise<Answer> =>
    server.post('/sightline/api/tokens', '{"name": "spare"}', {
      'content-type': 'application/json',
    }) as Promise<Answer>;
  assert.equal((await tokens()).status, 201);

  const checkFull = async (what: string, from: number): Promise<void> => {
    const refused = await load.write(server);
    assert.equal(refused.status, 503, `${what}: ${refused.body}`);
    assert.ok(Number(refused.headers.get('retry-after')) > 0, 'Retry-After');
    assert.ok(refused.body.includes(data), `the reason names the folder: ${refused.body}`);
    assert.match(refused.body, /\b0 bytes free/);
    const { status, text } = await ready(server);
    assert.equal(status, 200, 'queries are served, so it is ready for them');
    assert.match(text, /ready for queries only.* 0 bytes free/);
    assert.ok(text.includes(data));
    assert.equal(await metric(server, 'sightline_storage_full'), 1);
    assert.equal(await metric(server, 'sightline_storage_free_bytes'), 0);
    await until('the log to say so', async () => /the disk is full/.test(server.stdout.slice(from)));
    const count = await server.query('count(count_over_time(full[2h]))');
    assert.ok(Number(count[0]?.value[1]) >= 200, 'queries are answered');
    await load.verify(server, what);
    assert.equal((await tokens()).status, 503, 'what people edit is refused too');
  };

  const launch = async (what: string): Promise<void> => {
    const from = server.stdout.length;
    await server.launch();
    await checkFull(what, from);
  };

  await server.kill();
  fillWhole(ballast, small);
  await launch('started full after kill -9');
  await server.kill();
  await launch('killed and started full again');
  assert.equal(await server.stop(), 0, 'an orderly stop while full');
  await launch('started full after an orderly stop');

  rmSync(ballast);
  await until('writes to go on', async () => (await load.write(server)).status === 204);
  await until('readiness for all', async () => (await ready(server)).text === 'Sightline is ready.\n');
  assert.equal(await metric(server, 'sightline_storage_full'), 0);
  await until('the state to be writable', async () => (await tokens()).status === 201);
  await until('the log to say so', async () => /there is room again/.test(server.stdout));
  for (let i = 0; i < 20; i++) assert.equal((await load.write(server)).status, 204);
  await load.verify(server, 'room again');
  const snapshot = await server.post('/api/v1/admin/tsdb/snapshot', '');
  assert.equal(snapshot.status, 200, snapshot.body);
  await server.kill();
  await server.launch();
  await load.verify(server, 'after kill -9');
  const { text } = await ready(server);
  assert.equal(text, 'Sightline is ready.\n');
});

test('a disk with room for no more files is a full disk, also for a start', async t => {
  const small = mountTmpfs(t, '48m', 400);
  if (small === '') return t.skip('skipped: needs root and tmpfs');
  const data = join(small, 'data');
  const args = ['--data-dir', data, '--shards', '2', '--log-level', 'error'];
  const server = await Sightline.start(t, { config: 'host: {enabled: false}\nself: {interval: 1h}\n', args });
  const load = new Numbered(Date.now() - 3_600_000);
  assert.equal((await load.write(server)).status, 204);
  for (const end of ['kill', 'stop'] as const) {
    await server[end]();
    const names: string[] = [];
    assert.throws(() => {
      for (;;) {
        const name = join(small, `name-${names.length}`);
        writeFileSync(name, '');
        names.push(name);
      }
    }, /ENOSPC/);
    await server.launch();
    const refused = await load.write(server);
    assert.equal(refused.status, 503, refused.body);
    assert.match(refused.body, /room for no more files/);
    await load.verify(server, `no more files, after ${end}`);
    for (const name of names) rmSync(name);
    await until('writes to go on', async () => (await load.write(server)).status === 204);
    await load.verify(server, `room for files again, after ${end}`);
  }
});

test('a new data folder on a full disk is refused with the reason, and nothing of it stands in the way later', async t => {
  const small = mountTmpfs(t, '8m');
  if (small === '') return t.skip('skipped: needs root and tmpfs');
  const ballast = join(small, 'ballast');
  const data = join(small, 'data');
  fillWhole(ballast, small);
  const args = ['serve', '--http', '127.0.0.1:0', '--otlp-grpc', 'off', '--otlp-http', 'off', '--data-dir', data];
  const { code, stderr } = await runCli(args);
  assert.equal(code, 1);
  assert.match(stderr, /no space left/i);
  assert.ok(stderr.includes(data), stderr);
  rmSync(ballast);
  const server = await Sightline.start(t, { args: ['--data-dir', data, '--shards', '1'] });
  assert.equal(await server.stop(), 0);
});
