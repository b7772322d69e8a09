/**
 * What strangers send: garbage, lies about lengths, label sets out of bounds. Each is refused with the right status and a
 * message that says what is wrong; the good rows beside a bad one are kept; the process stays up and its memory bounded.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { encodeWriteRequest } from '../../src/ingest/remote-write/encode.ts';
import { ProtobufWriter } from '../../src/lib/protobuf.ts';
import { snappyCompress } from '../../src/lib/snappy.ts';
import { Random } from '../support/random.ts';
import { type Answer, postWrite, remoteWrite, type WriteSeries } from '../support/remote-write.ts';
import { Sightline } from '../support/sightline.ts';

const CONFIG = 'host: {enabled: false}\nself: {interval: 1h}\nlog: {level: error}\n';

function one(labels: readonly string[], t: number, value = 1): WriteSeries {
  return { labels, timestamps: [t], values: Float64Array.of(value) };
}

function residentBytes(pid: number): number {
  const kb = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kb) * 1024;
}

/** A WriteRequest with one series of one sample, its label value raw bytes. */
function rawLabelValue(bytes: Uint8Array): Uint8Array {
  const w = new ProtobufWriter();
  const series = w.begin(1);
  for (const [name, value] of [
    ['__name__', Buffer.from('raw')],
    ['x', bytes],
  ] as const) {
    const label = w.begin(1);
    w.string(1, name);
    w.blob(2, value);
    w.close(label);
  }
  const sample = w.begin(2);
  w.double(1, 1);
  w.varint(2, Date.now());
  w.close(sample);
  w.close(series);
  return w.finish().slice();
}

test('malformed remote writes are refused in words, and harm nothing', async t => {
  const server = await Sightline.start(t, { config: CONFIG, args: ['--shards', '2'] });
  const now = Date.now();
  const good = encodeWriteRequest([one(['__name__', 'good', 'a', 'b'], now)]);
  const expect = async (what: string, answer: Promise<Answer>, status: number, message: RegExp): Promise<void> => {
    const { status: got, body } = await answer;
    assert.equal(got, status, `${what}: ${got} ${body.slice(0, 300)}`);
    assert.match(body, message, what);
    assert.ok(body.length < 4000, `${what}: an answer of ${body.length} bytes`);
  };
  const url = server.url;

  await expect('no snappy', postWrite(url, Buffer.from('this is not snappy at all, not even a bit')), 400, /snappy/i);
  await expect('empty', postWrite(url, new Uint8Array(0)), 400, /snappy|empty/i);
  const whole = snappyCompress(good);
  for (const cut of [1, 2, whole.length >> 1, whole.length - 1]) {
    await expect(`cut at ${cut}`, postWrite(url, whole.subarray(0, cut)), 400, /\S/);
  }
  // A declared length of 4 GB - 1 and of 2^40.
  await expect('huge', postWrite(url, Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0x0f, 0)), 413, /\d/);
  await expect('huger', postWrite(url, Uint8Array.of(0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1, 0)), 400, /snappy/i);
  const bomb = snappyCompress(new Uint8Array(300 * 1024 * 1024));
  await expect('a snappy bomb', postWrite(url, bomb), 413, /\d/);
  // Protobuf whose lengths run past the end, or with a forbidden field number.
  for (const bytes of [[0x0a, 0x7f, 1], [0x0a, 0xff, 0xff, 0xff, 0xff, 0x7f], [0x07], [0x0a, 0x02, 0x0a, 0x7f]]) {
    await expect(`protobuf ${bytes}`, postWrite(url, snappyCompress(Uint8Array.from(bytes))), 400, /\S/);
  }
  await expect(
    'JSON',
    postWrite(url, Buffer.from('{}'), { headers: { 'content-type': 'application/json' } }),
    415,
    /content.?type/i,
  );
  await expect('br', postWrite(url, whole, { headers: { 'content-encoding': 'br' } }), 415, /br.*not supported/);
  // Version 2 reserves the fields of version 1: nothing is found, and the answer says so.
  const crossed = await postWrite(url, snappyCompress(rawLabelValue(Buffer.from('x'))), { v2: true });
  assert.equal(crossed.status, 204, crossed.body);
  assert.equal(crossed.headers.get('x-prometheus-remote-write-samples-written'), '0');

  await expect('invalid UTF-8', postWrite(url, snappyCompress(rawLabelValue(Uint8Array.of(0xff, 0xc0)))), 400, /UTF-8/);
  const row = (what: string, labels: readonly string[], message: RegExp): Promise<void> =>
    expect(what, remoteWrite(url, [one(labels, now), one(['__name__', 'kept', 'beside', what], now)]), 400, message);
  await row('twice', ['__name__', 'm', 'x', '1', 'x', '2'], /refused, invalid_labels.*stored: 1 samples/s);
  await row('no name for a label', ['__name__', 'm', '', '1'], /invalid_labels/);
  await row('long', ['__name__', 'm', 'x', 'v'.repeat(10 * 1024 * 1024)], /invalid_labels/);
  const many = Array.from({ length: 10_000 }, (_, i) => [`l${String(i).padStart(5, '0')}`, 'v']).flat();
  await row('many', ['__name__', 'm', ...many], /invalid_labels/);
  await expect(
    'a time before 1970',
    remoteWrite(url, [one(['__name__', 'early'], -5), one(['__name__', 'kept', 'beside', 'early'], now)]),
    400,
    /refused, invalid_timestamp.*-5 ms.*stored: 1 samples/s,
  );

  const kept = await server.query('count(kept)', now / 1000);
  assert.equal(kept[0]?.value[1], '5', 'the good rows beside bad ones');
  assert.equal((await postWrite(url, whole)).status, 204);
  assert.deepEqual(await server.query('{__name__=~"m|raw|early"}', now / 1000), []);
});

test('random damage to requests never ends the process, nor makes it grow', async t => {
  const server = await Sightline.start(t, { config: CONFIG, args: ['--shards', '2'] });
  const random = new Random(20261122);
  const now = Date.now();
  const series = Array.from({ length: 50 }, (_, i) => one(['__name__', 'm', 'i', String(i)], now, i));
  const message = encodeWriteRequest(series, [{ type: 1, metric: 'm', help: 'h', unit: '' }]);
  const statuses = new Map<number, number>();
  for (let i = 0; i < 500; i++) {
    const v2 = random.chance(0.3);
    const target = random.chance(0.5) ? message.slice() : snappyCompress(message).slice();
    for (let k = random.between(1, 5); k > 0; k--) target[random.int(target.length)] = random.int(256);
    const cut = random.chance(0.3) ? target.subarray(0, random.int(target.length)) : target;
    const body = target.length === message.length ? snappyCompress(cut) : cut;
    const { status, body: text } = await postWrite(server.url, body, { v2 });
    statuses.set(status, (statuses.get(status) ?? 0) + 1);
    assert.ok([204, 400, 413].includes(status), `seed ${random.seed}, request ${i}: ${status} ${text}`);
  }
  const before = residentBytes(server.pid);
  for (let i = 0; i < 12; i++) {
    const labels = ['__name__', 'm', 'x', `${i}${'v'.repeat(10 * 1024 * 1024)}`];
    assert.equal((await remoteWrite(server.url, [one(labels, now)])).status, 400);
  }
  const grown = residentBytes(server.pid) - before;
  t.diagnostic(
    `answers ${JSON.stringify([...statuses])}; 120 MB of refused labels: ${Math.round(grown / 2 ** 20)} MB more`,
  );
  assert.ok(grown < 256 * 1024 * 1024, `${grown} bytes more after 12 requests of 10 MB`);
  assert.equal((await remoteWrite(server.url, [one(['__name__', 'after'], now)])).status, 204);
  assert.equal((await server.query('after', now / 1000)).length, 1);
  assert.equal(await server.stop(), 0);
});
