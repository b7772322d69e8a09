/**
 * Rounds of load and SIGKILL against the real program, in the ways a kill can come: under load, during a flush to blocks, during
 * replay, twice in a row, with a torn end of the log as power loss leaves it. Used by the short test and by the soak.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { appendFileSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { CrashLoad } from './crash-load.ts';
import { Random } from './random.ts';
import { CLI, Sightline } from './sightline.ts';

export const KINDS = ['load', 'flush', 'replay', 'twice', 'torn', 'quiet'] as const;
export type Kind = (typeof KINDS)[number];

/**
 * Reading everything back takes long where other tests run beside this one. Exemplars are neither thinned nor limited: by policy
 * an acknowledged exemplar may be left out, here every one of them must survive.
 */
const CONFIG = `host: {enabled: false}
self: {interval: 1h}
query: {timeout: 5m}
limits: {exemplars_one_in: 1, exemplars_per_second: 0, exemplars_kept: 10000000}
`;

export interface RoundOptions {
  seed: number;
  writers: number;
  /** Load before a kill, at least and at most. ms. */
  loadMs: readonly [number, number];
  shards: number;
}

export class CrashRounds {
  readonly load: CrashLoad;
  private readonly t: TestContext;
  private readonly server: Sightline;
  private readonly random: Random;
  private readonly options: RoundOptions;
  private readonly args: readonly string[];

  private constructor(t: TestContext, server: Sightline, options: RoundOptions, args: readonly string[]) {
    this.t = t;
    this.server = server;
    this.options = options;
    this.args = args;
    this.random = new Random(options.seed);
    // Ten hours ago: the background flush has windows that are complete.
    this.load = new CrashLoad(options.seed, options.writers, Math.floor(Date.now() / 1000) * 1000 - 36_000_000);
  }

  static async start(t: TestContext, options: RoundOptions): Promise<CrashRounds> {
    const args = ['--admin-api', '--shards', String(options.shards), '--log-level', 'warn'];
    const server = await Sightline.start(t, { config: CONFIG, args });
    return new CrashRounds(t, server, options, args);
  }

  async round(number: number, kind: Kind): Promise<void> {
    const { load, server, random } = this;
    const before = load.acknowledgedRequests;
    const [low, high] = this.options.loadMs;
    let stopped = false;
    const running = load.run(server, () => stopped);
    await delay(random.between(low, high));
    // Flushes of the head while writes go on, the last one cut off by the kill.
    let flushing: Promise<unknown> = Promise.resolve();
    if (kind === 'flush') {
      await this.flush();
      await delay(random.between(0, 200));
      flushing = this.flush().catch(() => {});
      await delay(random.between(0, 60));
    }
    // Half of the kills come in the very moment of an acknowledgement.
    if (kind !== 'quiet' && random.chance(0.5)) {
      await new Promise<void>(done => {
        load.onAcknowledged = () => {
          stopped = true;
          server.signal('SIGKILL');
          done();
        };
      });
      load.onAcknowledged = () => {};
    }
    stopped = true;
    if (kind === 'quiet') await running;
    await server.kill();
    await Promise.all([running, flushing]);
    if (kind === 'torn') this.tearLogs();
    if (kind === 'replay') for (let i = 0; i < 2; i++) await this.killDuringStart();
    await server.launch();
    const checked = await load.verify(server, `round ${number} (${kind})`);
    const answers = await load.answers(server);
    if (kind === 'twice' || kind === 'flush') {
      await server.kill();
      await server.launch();
      await load.verify(server, `round ${number} (${kind}), killed again`);
    }
    if (kind === 'flush') await this.flush();
    assert.deepEqual(await load.answers(server), answers, `round ${number} (${kind}): answers changed`);
    assert.ok(load.acknowledgedRequests > before, `round ${number}: nothing was acknowledged`);
    this.t.diagnostic(
      `round ${number} (${kind}): ${checked} acknowledged samples right, ${load.unansweredRequests} requests cut off, ${load.deletes} deletes`,
    );
  }

  /** A snapshot is a folder to start from; then an orderly stop, and a start after it. */
  async stop(): Promise<void> {
    const { status, body } = await this.server.post('/api/v1/admin/tsdb/snapshot', '');
    assert.equal(status, 200, body);
    const { name } = (JSON.parse(body) as { data: { name: string } }).data;
    const folder = join(this.server.dir, 'data', 'snapshots', name);
    const copy = await Sightline.start(this.t, { config: CONFIG, args: [...this.args, '--data-dir', folder] });
    await this.load.verify(copy, 'in a snapshot', true);
    await copy.kill();
    assert.equal(await this.server.stop(), 0);
    await this.server.launch();
    await this.load.verify(this.server, 'after an orderly stop');
    await this.server.kill();
  }

  private async flush(): Promise<void> {
    const flush = await this.server.post('/api/v1/admin/tsdb/flush', '');
    if (flush.status === 204) return;
    assert.equal(flush.status, 404, `flush: ${flush.body}`);
    // A snapshot brings the head into blocks too.
    const { status, body } = await this.server.post('/api/v1/admin/tsdb/snapshot', '');
    assert.equal(status, 200, body);
  }

  /** A start that is killed before it is ready. */
  private async killDuringStart(): Promise<void> {
    const data = join(this.server.dir, 'data');
    const args = [
      CLI,
      'serve',
      '--http',
      '127.0.0.1:0',
      '--otlp-grpc',
      'off',
      '--otlp-http',
      'off',
      '--data-dir',
      data,
      ...this.args,
    ];
    const child: ChildProcess = spawn(process.execPath, args, { cwd: this.server.dir, stdio: 'ignore' });
    const gone = new Promise(resolve => child.once('close', resolve));
    // A start takes some 300 ms before the shards open their folders.
    await delay(this.random.between(100, 900));
    child.kill('SIGKILL');
    await gone;
  }

  /** What power loss leaves behind the last whole record: garbage, or the beginning of a record. */
  private tearLogs(): void {
    const tsdb = join(this.server.dir, 'data', 'tsdb');
    for (const shard of readdirSync(tsdb)) {
      const wal = join(tsdb, shard, 'head', 'wal');
      const newest = readdirSync(wal).sort().pop();
      if (newest === undefined) continue;
      const file = join(wal, newest);
      const bytes = readFileSync(file);
      const tail = this.random.chance(0.5)
        ? Buffer.from(Array.from({ length: this.random.between(1, 500) }, () => this.random.int(256)))
        : bytes.subarray(Math.max(0, bytes.length - 300), Math.max(0, bytes.length - this.random.between(1, 200)));
      appendFileSync(file, tail);
    }
  }
}
