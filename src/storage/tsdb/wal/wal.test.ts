/** Frames, records and their decoders under damage. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { ChunkPages } from '../head/chunk-pages.ts';
import { KIND_FLOAT, newChunkRecord, readPageHeader, readRecord } from '../head/chunk-record.ts';
import { batchOf, labels, temporaryDir } from '../head/fixture.ts';
import { Head } from '../head/head.ts';
import { readSeriesFrame } from '../head/series-log.ts';
import { nodeFiles } from './files.ts';
import { FILE_HEADER_BYTES, FRAME_HEADER_BYTES, FrameReader, frameBytes, putFileHeader, sealFrame } from './frame.ts';
import { decodeHistogramRows, encodeHistogramRows, SampleStage } from './records.ts';
import { ByteCursor, CorruptRecordError, putVarint, unzigzag, zigzag } from './varint.ts';
import { segmentPath, WAL_MAGIC } from './wal.ts';

/** A file with these bytes behind its header, open for reading. */
function fileOf(body: Uint8Array): { reader: FrameReader; done: () => void } {
  const dir = temporaryDir();
  const file = path.join(dir, 'x');
  const bytes = new Uint8Array(FILE_HEADER_BYTES + body.length);
  putFileHeader(bytes, WAL_MAGIC, 1);
  bytes.set(body, FILE_HEADER_BYTES);
  fs.writeFileSync(file, bytes);
  const fd = fs.openSync(file, 'r');
  return {
    reader: new FrameReader(nodeFiles, fd),
    done: () => {
      fs.closeSync(fd);
      fs.rmSync(dir, { recursive: true });
    },
  };
}

test('varints and zigzag go through for all safe integers', () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), fc.integer({ min: -(2 ** 31), max: 2 ** 31 }), (n, d) => {
      const out = new Uint8Array(8);
      const end = putVarint(out, 0, n);
      const cursor = new ByteCursor(out, 0, end);
      assert.equal(cursor.varint(), n);
      assert.equal(cursor.left, 0);
      assert.equal(unzigzag(zigzag(d)), d);
    }),
    { seed: 1, numRuns: 2000 },
  );
});

const row = fc.record({
  ref: fc.oneof(fc.integer({ min: 0, max: 50 }), fc.integer({ min: 0, max: 0xfffffffe })),
  t: fc.oneof(fc.integer({ min: 0, max: 100 }), fc.maxSafeNat()),
  bits: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  start: fc.constantFrom(0, 0, 5, 2 ** 52),
});

test('sample records go through bit for bit', () => {
  fc.assert(
    fc.property(fc.array(row, { minLength: 1, maxLength: 50 }), fc.boolean(), fc.boolean(), (rows, constant, late) => {
      const stage = new SampleStage(64);
      const words = new BigUint64Array(stage.values.buffer);
      rows.forEach((r, i) => {
        stage.refs[i] = r.ref;
        stage.timestamps[i] = constant ? rows[0]!.t : r.t;
        words[i] = r.bits;
        stage.starts[i] = r.start;
        if (r.start !== 0) stage.hasStarts = true;
      });
      stage.n = rows.length;
      stage.firstRow = late ? 12345678901 : -1;
      const out = new Uint8Array(SampleStage.bytesMax(rows.length));
      const end = stage.encode(out, 0);
      const { reader, done } = fileOf(out.subarray(0, end));
      assert.ok(reader.next());
      const back = new SampleStage(64);
      back.decode(reader);
      assert.equal(reader.next(), false);
      assert.equal(reader.position, reader.size);
      done();
      assert.equal(back.n, rows.length);
      assert.equal(back.firstRow, stage.firstRow);
      const n = rows.length;
      assert.deepEqual(back.refs.subarray(0, n), stage.refs.subarray(0, n));
      assert.deepEqual(back.timestamps.subarray(0, n), stage.timestamps.subarray(0, n));
      assert.deepEqual(back.starts.subarray(0, n), stage.starts.subarray(0, n));
      assert.deepEqual(new BigUint64Array(back.values.buffer).subarray(0, n), words.subarray(0, n));
    }),
    { seed: 2, numRuns: 300 },
  );
});

test('a scrape in its usual order costs 8 bytes a sample', () => {
  const stage = new SampleStage(2000);
  for (let i = 0; i < 2000; i++) {
    stage.refs[i] = 5000 + i;
    stage.timestamps[i] = 1_700_000_000_000;
    stage.values[i] = i / 3;
  }
  stage.n = 2000;
  const out = new Uint8Array(SampleStage.bytesMax(2000));
  assert.ok(stage.encode(out, 0) < 2000 * 8 + 64);
});

/** Payloads with a right checksum but random or mutated content: a decoder may refuse, never crash or run away. */
function decodeAnything(payload: Uint8Array, type: number, flags: number, rows: number): void {
  const frame = new Uint8Array(frameBytes(payload.length));
  frame.set(payload, FRAME_HEADER_BYTES);
  sealFrame(frame, 0, type, flags, rows, payload.length);
  const { reader, done } = fileOf(frame);
  try {
    assert.ok(reader.next());
    assert.equal(reader.type, type);
    attempt(() => new SampleStage(64).decode(reader));
    attempt(() => decodeHistogramRows(reader));
    attempt(() => readSeriesFrame(reader, nothing));
    attempt(() => {
      const cursor = new ByteCursor(reader.payload);
      const header = readPageHeader(cursor);
      const record = newChunkRecord();
      for (let i = 0; i < Math.min(header.records, 1000); i++) readRecord(cursor, header.number, record);
    });
  } finally {
    done();
  }
}

const nothing = {
  tenant: () => {},
  pair: () => {},
  series: () => {},
  dead: () => {},
  swept: () => {},
  tombstone: () => {},
  flushed: () => {},
};

function attempt(decode: () => void): void {
  try {
    decode();
  } catch (error) {
    assert.ok(error instanceof CorruptRecordError, String(error));
  }
}

test('decoders refuse nonsense with CorruptRecordError and nothing else', () => {
  const small = fc.uint8Array({ maxLength: 80 });
  const type = fc.constantFrom(1, 2, 3, 4, 16, 32, 33, 34, 35, 36, 37, 38, 99);
  fc.assert(
    fc.property(small, type, fc.integer({ min: 0, max: 7 }), fc.constantFrom(0, 1, 2, 30, 0xffffffff), decodeAnything),
    { seed: 5, numRuns: 1500 },
  );
  const rows = [{ ref: 7, timestampMs: 5, startMs: 0, bytes: new Uint8Array([1, 2, 3]) }];
  const good = encodeHistogramRows(rows, -1).slice(FRAME_HEADER_BYTES);
  for (let i = 0; i < good.length; i++) {
    for (const bit of [1, 0x80]) {
      const bad = good.slice();
      bad[i] = (bad[i] as number) ^ bit;
      decodeAnything(bad, 3, 0, 1);
    }
  }
});

test('a head opens whatever well-framed nonsense its logs hold', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          payload: fc.uint8Array({ maxLength: 40 }),
          type: fc.constantFrom(1, 2, 3, 4, 16),
          rows: fc.constantFrom(0, 1, 3),
        }),
        { maxLength: 6 },
      ),
      fc.array(
        fc.record({
          payload: fc.uint8Array({ maxLength: 40 }),
          type: fc.constantFrom(32, 33, 34, 35, 36, 38),
          rows: fc.constantFrom(0, 1, 3),
        }),
        { maxLength: 6 },
      ),
      (walFrames, seriesFrames) => {
        const dir = temporaryDir();
        let head = new Head({ dir });
        head.append('default', batchOf('default', [{ labels: labels({ __name__: 'x' }), t: 1, value: 1 }]));
        head.abandon();
        for (const [file, frames] of [
          [segmentPath(path.join(dir, 'wal'), 1), walFrames],
          [path.join(dir, 'series.log'), seriesFrames],
        ] as const) {
          for (const { payload, type, rows } of frames) {
            const frame = new Uint8Array(frameBytes(payload.length));
            frame.set(payload, FRAME_HEADER_BYTES);
            sealFrame(frame, 0, type, 0, rows, payload.length);
            fs.appendFileSync(file, frame);
          }
        }
        head = new Head({ dir });
        head.append('default', batchOf('default', [{ labels: labels({ __name__: 'y' }), t: 2 ** 50, value: 1 }]));
        head.abandon();
        fs.rmSync(dir, { recursive: true });
      },
    ),
    { seed: 6, numRuns: 200 },
  );
});

test('chunk pages: chunks larger than a page, eviction, and reading back', () => {
  const dir = temporaryDir();
  const pages = new ChunkPages(dir, { pageBytes: 1000, cacheBytesMax: 3000, fileBytesMax: 10_000 });
  const addresses: number[] = [];
  let previous = 0;
  for (let i = 1; i < 200; i++) {
    const length = i % 20 === 0 ? 5000 : i;
    previous = pages.append(9, previous, KIND_FLOAT, i * 10, i * 10 + 5, 1, new Uint8Array(length).fill(i), length);
    addresses.push(previous);
  }
  assert.ok(pages.memoryBytes < 60_000);
  for (let i = 199; i >= 1; i--) {
    assert.ok(pages.open(addresses[i - 1] as number));
    const { record } = pages;
    assert.equal(record.minT, i * 10);
    assert.equal(record.maxT, i * 10 + 5);
    assert.equal(record.end - record.start, i % 20 === 0 ? 5000 : i);
    assert.equal(record.bytes[record.end - 1], i);
    assert.equal(record.previous, i === 1 ? 0 : addresses[i - 2]);
  }
  for (const step of pages.drop(1000)) assert.equal(step, undefined);
  assert.equal(pages.open(addresses[0] as number), false);
  assert.ok(pages.open(addresses[150] as number));
  pages.close();
  fs.rmSync(dir, { recursive: true });
});
