/** The doors' bounds: what is too long, too much or too fast is dropped and counted, or made to wait; never kept. */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { ManualClock } from '../../test/support/manual-clock.ts';
import { until } from '../../test/support/programs.ts';
import type { IngestResponse, IngestService } from '../contracts/ingest-service.ts';
import { systemClock } from '../lib/clock.ts';
import { createLogger } from '../lib/log.ts';
import { type DoorOptions, LineDoor } from './push-doors.ts';
import { GraphiteFeeder } from './push-graphite.ts';

const log = createLogger({ level: 'fatal' });

async function openDoor(t: TestContext, overrides: Partial<DoorOptions> = {}) {
  const taken: string[] = [];
  const dropped: Record<string, number> = {};
  const door = new LineDoor({
    host: '127.0.0.1',
    port: 0,
    udp: true,
    tcp: true,
    unix: '',
    connectionsMax: 2,
    linesPerSecond: 1000,
    taker: { take: lines => void taken.push(Buffer.from(lines).toString()), room: () => null },
    onDropped: (reason, count) => {
      dropped[reason] = (dropped[reason] ?? 0) + count;
    },
    clock: systemClock,
    log,
    ...overrides,
  });
  await door.open();
  t.after(() => door.close());
  return { door, taken, dropped };
}

async function tcp(t: TestContext, port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1').on('error', () => {});
  t.after(() => socket.destroy());
  await once(socket, 'connect');
  return socket;
}

async function udp(port: number, ...packets: string[]): Promise<void> {
  const socket = createSocket('udp4');
  for (const packet of packets) await new Promise(done => socket.send(packet, port, '127.0.0.1', done));
  socket.close();
}

test('lines arrive whole over TCP, however they are cut; the last one without its end, too', async t => {
  const { door, taken } = await openDoor(t);
  const socket = await tcp(t, door.port);
  socket.write('a 1\nb');
  await until('the first line', async () => taken.length === 1);
  socket.write(' 2\n');
  socket.end('c 3');
  await until('all lines', async () => taken.join('') === 'a 1\nb 2\nc 3');
});

test('a line that is too long is left out, connections have a bound', async t => {
  const { door, taken, dropped } = await openDoor(t);
  const socket = await tcp(t, door.port);
  socket.write(`${'x'.repeat(200_000)}\nok 1\n`);
  await until('the line behind it', async () => taken.join('') === 'ok 1\n');
  assert.equal(dropped.line_too_long, 1);
  await tcp(t, door.port);
  const third = await tcp(t, door.port);
  if (!third.destroyed) await once(third, 'close');
  assert.equal(dropped.too_many_connections, 1);
});

test('beyond the rate UDP is dropped; with the next second there is room again', async t => {
  const clock = new ManualClock(0);
  const { door, taken, dropped } = await openDoor(t, { clock, linesPerSecond: 3 });
  await udp(door.port, 'a\nb\n', 'c\n', 'd\n', 'e\nf\n');
  await until('all packets', async () => taken.length + (dropped.rate_limited ?? 0) >= 5);
  assert.deepEqual(taken, ['a\nb\n', 'c\n']);
  assert.equal(dropped.rate_limited, 3);
  await clock.advance(1000);
  await udp(door.port, 'g\n');
  await until('one more', async () => taken.length === 3);
});

test('beyond the rate TCP waits and loses nothing', async t => {
  const clock = new ManualClock(0);
  const { door, taken, dropped } = await openDoor(t, { clock, linesPerSecond: 2 });
  const socket = await tcp(t, door.port);
  socket.write('a\nb\nc\nd\n');
  await until('a timer', async () => clock.timerCount > 0);
  assert.deepEqual(taken, []);
  await clock.advance(1000);
  await until('all lines', async () => taken.join('') === 'a\nb\nc\nd\n');
  assert.deepEqual(dropped, {});
});

test('a Unix socket is made anew where a killed process left one, and gone after', async t => {
  const dir = mkdtempSync(join(tmpdir(), 'sightline-door-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const unix = join(dir, 's.sock');
  const { door, taken } = await openDoor(t, { unix, udp: false, tcp: false });
  const socket = connect(unix);
  socket.end('over:1|c\n');
  await until('the line', async () => taken.length === 1);
  await door.close();
  assert.equal(existsSync(unix), false);
});

test('a taken port is told, and nothing is left open', async t => {
  const { door } = await openDoor(t);
  await assert.rejects(openDoor(t, { port: door.port, udp: false }), { code: 'EADDRINUSE' });
});

test('Graphite bodies are gathered; while too many are under way there is no room', async () => {
  const clock = new ManualClock(0);
  const bodies: string[] = [];
  let answer: (response: IngestResponse) => void = () => {};
  const waiting: ((response: IngestResponse) => void)[] = [];
  const ingest = {
    ingest: (_request, body) => {
      bodies.push(Buffer.from(body).toString());
      return new Promise<IngestResponse>(resolve => waiting.push(resolve));
    },
  } as Partial<IngestService> as IngestService;
  const counts: Record<string, number> = {};
  const feeder = new GraphiteFeeder({
    ingest,
    tenant: 'default',
    naming: () => ({ influx: { separator: '_', dbLabel: 'db' }, dots: 'keep' }),
    clock,
    log,
    onStored: samples => {
      counts.stored = (counts.stored ?? 0) + samples;
    },
    onDropped: (reason, count) => {
      counts[reason] = (counts[reason] ?? 0) + count;
    },
  });
  feeder.take(Buffer.from('a 1\n'));
  feeder.take(Buffer.from('b 2'));
  await clock.advance(200);
  assert.deepEqual(bodies, ['a 1\nb 2\n']);
  for (let i = 0; i < 7; i++) feeder.take(Buffer.alloc(256 * 1024, 'x'));
  const room = feeder.room();
  assert.notEqual(room, null);
  answer = waiting.shift() as typeof answer;
  answer({ status: 400, headers: {}, body: '', stored: 1, rejected: [{ reason: 'bad_line', count: 1, example: '' }] });
  await room;
  assert.equal(feeder.room(), null);
  for (const done of waiting) done({ status: 503, headers: {}, body: 'the disk is full' });
  await feeder.drain();
  assert.equal(counts.stored, 1);
  assert.equal(counts.bad_line, 1);
  assert.ok((counts.not_stored ?? 0) >= 7);
});
