/** Native exports, written here block by block in every packing that the format has, and mutated. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import zlib from 'node:zlib';
import { Random } from '../../../test/support/random.ts';
import { RecordingSink } from '../../../test/support/recording-sink.ts';
import { IdentityHasher } from '../../lib/identity-hash.ts';
import { NativeFormatError, NativeParser } from './decode.ts';

const hasher = new IdentityHasher(new Uint8Array(32));
const T0 = 1_700_000_000_000n;
const MAX64 = 2n ** 63n - 1n;

function varint(value: bigint): number[] {
  const out: number[] = [];
  let rest = BigInt.asUintN(64, value);
  while (rest >= 0x80n) {
    out.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  return [...out, Number(rest)];
}

const zigzag = (value: bigint): bigint => BigInt.asUintN(64, (value << 1n) ^ (value >> 63n));
const signed = (value: bigint): number[] => varint(zigzag(value));
const u32 = (n: number): Buffer => {
  const out = Buffer.alloc(4);
  out.writeUInt32BE(n);
  return out;
};

/** By kind: 1 zstd of delta2, 2 constant delta, 3 constant, 4 zstd of delta, 5 delta2, 6 delta. */
function packed(kind: number, values: readonly bigint[]): Buffer {
  const wrap = (n: bigint): bigint => BigInt.asIntN(64, n);
  const deltas = values.slice(1).map((v, i) => wrap(v - (values[i] as bigint)));
  if (kind === 3) return Buffer.alloc(0);
  if (kind === 2) return Buffer.from(signed(deltas[0] ?? 0n));
  const numbers =
    kind === 4 || kind === 6 ? deltas : deltas.map((d, i) => (i === 0 ? d : wrap(d - (deltas[i - 1] as bigint))));
  const bytes = Buffer.from(numbers.flatMap(signed));
  return kind === 1 || kind === 4 ? zlib.zstdCompressSync(bytes) : bytes;
}

interface Block {
  labels: string[];
  times: bigint[];
  timesKind: number;
  values: bigint[];
  valuesKind: number;
  scale: bigint;
}

function blockBytes(block: Block): Buffer {
  const name = Buffer.concat(block.labels.map(text => Buffer.concat([Buffer.from(text), Buffer.of(1)])));
  const times = packed(block.timesKind, block.times);
  const values = packed(block.valuesKind, block.values);
  const body = Buffer.concat([
    Buffer.from([...signed(block.times[0] as bigint), ...signed(block.values[0] as bigint)]),
    Buffer.from([...varint(BigInt(block.times.length)), ...signed(block.scale), block.timesKind, block.valuesKind]),
    Buffer.from(varint(BigInt(times.length))),
    times,
    Buffer.from(varint(BigInt(values.length))),
    values,
  ]);
  return Buffer.concat([u32(name.length), name, u32(body.length), body]);
}

function exportOf(blocks: readonly Block[], minMs = 0n, maxMs = T0 * 2n): Buffer {
  const head = Buffer.alloc(16);
  head.writeBigUInt64BE(zigzag(minMs), 0);
  head.writeBigUInt64BE(zigzag(maxMs), 8);
  return Buffer.concat([head, ...blocks.map(blockBytes)]);
}

async function decode(bytes: Uint8Array, chunk = Number.POSITIVE_INFINITY): Promise<RecordingSink> {
  const sink = new RecordingSink();
  const parser = new NativeParser(hasher, hasher.tenantSeed('default'));
  const store = async (batches: Iterable<Parameters<RecordingSink['append']>[1]>): Promise<void> => {
    for (const batch of batches) await sink.append('default', batch);
  };
  try {
    for (let p = 0; p < bytes.length; p += chunk)
      await store(parser.feed(bytes.subarray(p, Math.min(bytes.length, p + chunk))));
    await store(parser.end());
  } catch (error) {
    (error as { sink?: RecordingSink }).sink = sink;
    throw error;
  }
  return sink;
}

const times = (n: number): bigint[] => Array.from({ length: n }, (_, i) => T0 + BigInt(i) * 15_000n);

test('every packing of values and times', async () => {
  const random = new Random(1);
  for (const kind of [1, 2, 3, 4, 5, 6]) {
    const values = Array.from({ length: 100 }, (_, i) => {
      if (kind === 3) return 7n;
      return kind === 2 ? BigInt(i) * -3n : BigInt(random.int(1000) - 500);
    });
    const stamps = times(100).map((t, i) => (kind === 1 || kind === 5 ? t + BigInt(random.int(100) + i) : t));
    const timesKind = kind === 1 || kind === 5 ? kind : 2;
    const block = { labels: ['m', 'k', 'é'], times: stamps, timesKind, values, valuesKind: kind, scale: -1n };
    for (const chunk of [1, 17, Number.POSITIVE_INFINITY]) {
      const sink = await decode(exportOf([block]), chunk);
      assert.deepEqual(
        sink.samples.map(s => s.value),
        values.map(v => Number(v) / 10),
        `kind ${kind}`,
      );
      assert.deepEqual(
        sink.samples.map(s => s.timestampMs),
        stamps.map(Number),
      );
      assert.deepEqual(sink.samples[0]?.labels, ['__name__', 'm', 'k', 'é']);
    }
  }
});

test('special values, integers beyond 2^53, scales, escapes, the range asked for', async () => {
  const values = [1n, MAX64, MAX64 - 1n, -MAX64 - 1n, 123_456_789_012_345_678n, -5n];
  const block = { labels: ['a\0', 'x'], times: times(6), timesKind: 2, values, valuesKind: 6, scale: -3n };
  const odd = { ...block, labels: ['n', 'l', `v\u0000${1}w`] };
  const sink = await decode(exportOf([odd]));
  assert.deepEqual(
    sink.samples.map(s => (s.stale ? 'STALE' : s.value)),
    [0.001, Number.POSITIVE_INFINITY, 'STALE', Number.NEGATIVE_INFINITY, Number('123456789012345.678'), -0.005],
  );
  assert.deepEqual(sink.samples[0]?.labels, ['__name__', 'n', 'l', 'v\u0001w']);
  const big = { ...odd, values: [25n, 1n], times: times(2), scale: 30n };
  assert.deepEqual(
    (await decode(exportOf([big]))).samples.map(s => s.value),
    [2.5e31, 1e30],
  );
  const part = await decode(exportOf([odd], T0 + 1n, T0 + 15_000n));
  assert.deepEqual(
    part.samples.map(s => s.timestampMs),
    [Number(T0) + 15_000],
  );
});

test('blocks before a bad one are stored, and the bad one is named', async () => {
  const good = { labels: ['m'], times: times(3), timesKind: 2, values: [1n, 2n, 4n], valuesKind: 6, scale: 0n };
  const bad = Buffer.concat([exportOf([good]), blockBytes({ ...good, valuesKind: 9 })]);
  const error = await decode(bad).catch(e => e);
  assert.ok(error instanceof NativeFormatError);
  assert.match(error.message, /^block 2: it is packed in a way that is not known \(9\)/);
  assert.equal((error as unknown as { sink: RecordingSink }).sink.samples.length, 3);
  await assert.rejects(decode(exportOf([good]).subarray(0, -2)), /ends in the middle of block 1/);
  await assert.rejects(decode(Buffer.from('{"metric":')), /shorter than a time range/);
  await assert.rejects(decode(Buffer.from('{"metric":{"__name__":"up"},"values":[1]}')), /bytes, more than/);
});

test('fuzz: mutated exports are read or refused', async () => {
  const random = new Random(8);
  const blocks = [1, 2, 3, 4, 5, 6].map(kind => ({
    labels: ['m', 'k', String(kind)],
    times: times(20),
    timesKind: 2,
    values: Array.from({ length: 20 }, (_, i) => (kind === 3 ? 1n : BigInt(kind === 2 ? i : i * i * i))),
    valuesKind: kind,
    scale: -2n,
  }));
  const whole = exportOf(blocks);
  let refused = 0;
  for (let round = 0; round < 3000; round++) {
    const bytes = Buffer.from(whole);
    for (let i = 0; i <= random.int(3); i++) bytes[16 + random.int(bytes.length - 16)] = random.int(256);
    try {
      await decode(bytes, 1 + random.int(500));
    } catch (error) {
      assert.ok(error instanceof NativeFormatError, String(error));
      refused++;
    }
  }
  assert.ok(refused > 500);
});
