/**
 * Targets that mean ill, or are ill, beside one that is well: none of them holds up the others, each fails for its reason, and the
 * process does not grow. Real sockets, the whole program.
 */
import assert from 'node:assert/strict';
import { createServer, type Server, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { until } from '../support/programs.ts';
import { Sightline } from '../support/sightline.ts';

type Behaviour = (socket: Socket) => void;

const HEAD = 'HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\n';

/** Answers each request on a connection as the behaviour wants. */
async function target(t: TestContext, behaviour: Behaviour): Promise<number> {
  const sockets = new Set<Socket>();
  const server: Server = createServer(socket => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    socket.on('data', () => behaviour(socket));
  });
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

function whole(body: string | Uint8Array, headers = ''): Behaviour {
  const bytes = Buffer.from(body);
  return socket => {
    socket.write(`${HEAD}${headers}content-length: ${bytes.length}\r\n\r\n`);
    socket.write(bytes);
  };
}

function endless(socket: Socket): void {
  socket.write(`${HEAD}\r\n`);
  const piece = Buffer.from('endless_series{a="b"} 1\n'.repeat(4000));
  const more = (): void => {
    while (!socket.destroyed && socket.write(piece));
    if (!socket.destroyed) socket.once('drain', more);
  };
  more();
}

function dripping(socket: Socket): void {
  socket.write(`${HEAD}\r\n`);
  const timer = setInterval(() => socket.write('x'), 1000);
  socket.on('close', () => clearInterval(timer));
}

const BEHAVIOURS: Record<string, { behave: Behaviour; says: RegExp; type?: string }> = {
  hung: { behave: () => {}, says: /timed out after 1 s/ },
  dripping: { behave: dripping, says: /timed out after 1 s/ },
  endless: { behave: endless, says: /body size limit exceeded|too many large bodies|timed out/ },
  bomb: {
    behave: whole(gzipSync(Buffer.alloc(64 << 20, 'a{b="c"} 1\n')), 'content-encoding: gzip\r\n'),
    says: /body size limit exceeded/,
  },
  short: {
    behave: socket => socket.end(`${HEAD}content-length: 1000\r\n\r\na 1\n`),
    says: /aborted|closed before|hang up/,
  },
  notpacked: { behave: whole('a 1\n', 'content-encoding: gzip\r\n'), says: /not gzip/ },
  html: {
    behave: socket => socket.end('HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 4\r\n\r\n<p/>'),
    says: /no format we read/,
  },
  garbage: {
    behave: socket => {
      const type = 'application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited';
      socket.write(`HTTP/1.1 200 OK\r\ncontent-type: ${type}\r\ncontent-length: 300\r\n\r\n`);
      socket.write(Buffer.alloc(300, 0xee));
    },
    says: /message 1/,
  },
  nonsense: { behave: socket => socket.write('SSH-2.0-OpenSSH_9.2\r\n'), says: /Parse Error|HTTP/ },
  resets: { behave: socket => socket.resetAndDestroy(), says: /ECONNRESET|hang up/ },
  longline: { behave: whole('a'.repeat(3 << 20)), says: /line 1/ },
};

interface Target {
  labels: Record<string, string>;
  health: string;
  lastError: string;
}

test('ill targets fail for their reasons and hold up nobody', async t => {
  const good = await target(t, whole('good_series{a="b"} 1\n'));
  const jobs: string[] = [];
  const job = (name: string, port: number): string =>
    `  - job_name: ${name}\n    scrape_interval: 1s\n    scrape_timeout: 1s\n    body_size_limit: 4MB\n` +
    `    static_configs: [{targets: ["127.0.0.1:${port}"]}]\n`;
  for (const [name, { behave }] of Object.entries(BEHAVIOURS)) jobs.push(job(name, await target(t, behave)));
  const server = await Sightline.start(t, {
    config: `host: {enabled: false}\nprometheus: {file: prometheus.yml}\n`,
    files: { 'prometheus.yml': `scrape_configs:\n${job('good', good)}${jobs.join('')}` },
  });
  const targets = async (): Promise<Target[]> => {
    const body = JSON.parse(await server.get('/api/v1/targets')) as { data: { activeTargets: Target[] } };
    return body.data.activeTargets;
  };
  await until('every ill target has failed for its reason', async () => {
    const found = await targets();
    return Object.entries(BEHAVIOURS).every(([name, { says }]) =>
      found.some(one => one.labels.job === name && one.health === 'down' && says.test(one.lastError)),
    );
  }).catch(async error => {
    throw new Error(`${(error as Error).message}\n${JSON.stringify(await targets(), null, 1)}`);
  });
  const value = async (query: string): Promise<number> =>
    Number((await server.query(query))[0]?.value[1] ?? Number.NaN);
  await until('the good one goes on', async () => (await value('count_over_time(good_series[10m])')) >= 8);
  assert.equal(await value('min_over_time(up{job="good"}[10m])'), 1);
  // One a second, whatever the others do: as many samples as seconds between the first and the last, give or take the ends.
  const seconds = await value(
    'max_over_time(timestamp(good_series)[10m:1s]) - min_over_time(timestamp(good_series)[10m:1s])',
  );
  assert.ok((await value('count_over_time(good_series[10m])')) >= seconds, 'a scrape of the good target is missing');
  assert.equal(await value('count({__name__=~"endless_series|a"}) or vector(0)'), 0);
  assert.equal(await value('sum(up)'), 1);
  const resident = /^process_resident_memory_bytes ([-+.\w]+)$/m.exec(await server.get('/metrics'))?.[1];
  assert.ok(Number(resident) < 700e6, `${resident} bytes`);
});
