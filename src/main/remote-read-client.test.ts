/** Answers of remote read are a stranger's bytes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newSampleBuffer } from '../contracts/sample-source.ts';
import { crc32c } from '../lib/crc32c.ts';
import { ProtobufWriter } from '../lib/protobuf.ts';
import { readChunked, readSamples } from './remote-read-client.ts';
import { union } from './remote-read-source.ts';

function answer(): Uint8Array {
  const w = new ProtobufWriter();
  const result = w.begin(1);
  for (const job of ['a', 'b']) {
    const series = w.begin(1);
    for (const [name, value] of [
      ['__name__', 'm'],
      ['job', job],
    ]) {
      const label = w.begin(1);
      w.string(1, name as string);
      w.string(2, value as string);
      w.close(label);
    }
    for (let i = 1; i <= 3; i++) {
      const sample = w.begin(2);
      w.double(1, i * 1.5);
      w.varint(2, i * 1000);
      w.close(sample);
    }
    w.close(series);
  }
  w.close(result);
  return w.finish().slice();
}

test('samples', () => {
  const series = readSamples(answer());
  assert.deepEqual(
    series.map(s => s.labels),
    [
      ['__name__', 'm', 'job', 'a'],
      ['__name__', 'm', 'job', 'b'],
    ],
  );
  const { buffer } = series[0] as (typeof series)[number];
  assert.deepEqual([...buffer.timestamps.subarray(0, buffer.length)], [1000, 2000, 3000]);
  assert.deepEqual([...buffer.values.subarray(0, buffer.length)], [1.5, 3, 4.5]);
});

test('frames: length, checksum and limit are checked', () => {
  const message = new Uint8Array([0x10, 1]);
  const frame = new Uint8Array([2, 0, 0, 0, 0, ...message]);
  new DataView(frame.buffer).setUint32(1, crc32c(message));
  assert.deepEqual(readChunked(frame, 100), []);
  assert.throws(() => readChunked(frame, 1), /chunked_read_limit is 1/);
  assert.throws(() => readChunked(frame.subarray(0, 5), 100), /ends in the middle/);
  frame[6] = 2;
  assert.throws(() => readChunked(frame, 100), /wrong checksum/);
});

test('mutated answers throw Errors and end (seed 5)', () => {
  const good = answer();
  let seed = 5;
  const random = (n: number): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return seed % n;
  };
  for (let round = 0; round < 2000; round++) {
    const bytes = good.slice(0, random(4) === 0 ? random(good.length) : good.length);
    for (let k = 0; k < 1 + random(4) && bytes.length > 0; k++) bytes[random(bytes.length)] = random(256);
    for (const read of [readSamples, (b: Uint8Array) => readChunked(b, 1 << 20)]) {
      try {
        read(bytes);
      } catch (error) {
        assert.ok(error instanceof Error && !(error instanceof TypeError), String(error));
      }
    }
  }
});

test('of two samples at one time the own one stays', () => {
  const own = newSampleBuffer(2);
  own.timestamps.set([2, 4]);
  own.values.set([20, 40]);
  own.length = 2;
  const other = newSampleBuffer(3);
  other.timestamps.set([1, 2, 3]);
  other.values.set([-1, -2, -3]);
  other.length = 3;
  const both = union(own, other);
  assert.deepEqual([...both.timestamps.subarray(0, both.length)], [1, 2, 3, 4]);
  assert.deepEqual([...both.values.subarray(0, both.length)], [-1, 20, -3, 40]);
});
