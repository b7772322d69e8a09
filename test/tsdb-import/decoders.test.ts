/** The decoders of Prometheus' files: what was written comes back bit for bit, and damage is told, never believed. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { BitWriter } from '../../src/api/prometheus/remote-read/bit-writer.ts';
import { encodeHistogramChunk } from '../../src/api/prometheus/remote-read/histogram-chunk.ts';
import { encodeXorChunk } from '../../src/api/prometheus/remote-read/xor-chunk.ts';
import { newSampleBuffer, type SampleBuffer } from '../../src/contracts/sample-source.ts';
import { decodeXor2Chunk, decodeXorChunk } from '../../src/ingest/prometheus-tsdb/float-chunk.ts';
import { decodeHistogramChunk } from '../../src/ingest/prometheus-tsdb/histogram-chunk.ts';
import { readSegment } from '../../src/ingest/prometheus-tsdb/wal-files.ts';
import { readRecord } from '../../src/ingest/prometheus-tsdb/wal-records.ts';
import { importPrometheus } from '../../src/main/tsdb-tools/import.ts';
import { listBlocks } from '../../src/main/tsdb-tools/shard-files.ts';
import { shardPaths } from '../../src/main/tsdb-tools/shard-paths.ts';
import type { FloatHistogram } from '../../src/model/histogram.ts';
import { labelsKey } from '../../src/model/labels.ts';
import { DataDir } from '../../src/storage/data-dir.ts';
import { BlockCaches } from '../../src/storage/tsdb/block/cache.ts';
import { BlockReader } from '../../src/storage/tsdb/block/reader.ts';
import { Random } from '../support/random.ts';
import { Bytes, type FakeSeries, fakeWalSegment, writeFakeBlock } from './fake-block.ts';

const STALE = 0x7ff0000000000002n;
const START = 1_690_000_000_000;

function words(values: Float64Array, n: number): string[] {
  return [...new BigUint64Array(values.buffer, values.byteOffset, n)].map(w => w.toString(16));
}

function floats(random: Random, n: number): { timestamps: Float64Array; values: Float64Array } {
  const timestamps = new Float64Array(n);
  const values = new Float64Array(n);
  const bits = new BigUint64Array(values.buffer);
  let t = START + random.int(1e6);
  for (let i = 0; i < n; i++) {
    t += random.chance(0.8) ? 15_000 : 1 + random.int(random.chance(0.1) ? 1e9 : 1e5);
    timestamps[i] = t;
    const kind = random.int(10);
    if (kind === 0) bits[i] = STALE;
    else if (kind === 1) bits[i] = 0x7ff8000000000abcn;
    else if (kind === 2) values[i] = -0;
    else if (kind === 3) values[i] = Number.NEGATIVE_INFINITY;
    else if (kind < 7) values[i] = random.int(1000);
    else values[i] = (random.unit() - 0.5) * 10 ** random.between(-300, 300);
  }
  return { timestamps, values };
}

test('XOR chunks come back bit for bit', () => {
  const random = new Random(1);
  for (let round = 0; round < 200; round++) {
    const n = random.between(1, 120);
    const { timestamps, values } = floats(random, n);
    const data = encodeXorChunk(timestamps, values, 0, n);
    const into = newSampleBuffer(4);
    decodeXorChunk(data, 0, data.length, 'x', 0, into);
    assert.equal(into.length, n);
    assert.deepEqual([...into.timestamps.subarray(0, n)], [...timestamps]);
    assert.deepEqual(words(into.values, n), words(values, n));
  }
});

test('XOR2 chunks: joint control bits, markers, start timestamps', () => {
  const w = new BitWriter();
  const varint = (v: number): void => {
    for (const b of new Bytes().varint(v).done()) w.bits(b, 8);
  };
  const float = (v: number): void => {
    for (const b of new Bytes().float(v).done()) w.bits(b, 8);
  };
  w.bits(8, 16);
  // The first start is known; starts change from sample 3 on.
  w.bits(0x80 | 3, 8);
  varint(1_000_000);
  float(1);
  varint(5000);
  // 1: 15 s later, the same value.
  for (const b of new Bytes().uvarint(15_000).done()) w.bits(b, 8);
  w.bits(0, 1);
  // 2: nothing changes.
  w.bits(0, 1);
  // 3: the value becomes 2 (a new window: the top two bits of 0x3ff ^ 0x400 differ). Start: 100 before the last time.
  w.bits(0b10, 2);
  w.bits(1, 1);
  w.bits(1, 5);
  w.bits(11, 6);
  w.bits(0x7ff, 11);
  w.bits(0b1110, 4);
  w.bits(100, 9);
  // 4: a marker without a change of the delta; the start moves along.
  w.bits(0b11111, 5);
  w.bits(0, 1);
  // 5: the delta is 7 shorter, the value the one before the marker.
  w.bits(0b110, 3);
  w.bits(-7 & 0x1fff, 13);
  w.bits(0, 1);
  w.bits(0, 1);
  // 6: the delta is 100,000 longer, a marker.
  w.bits(0b1110, 4);
  w.bits(100_000, 20);
  w.bits(0b111, 3);
  w.bits(0, 1);
  // 7: an escape of 64 bits back to 15 s; the value in the window of before is 1 again.
  w.bits(0b11110, 5);
  w.bits(0xffffffff, 32);
  w.bits((7 - 100_000) >>> 0, 32);
  w.bits(0b10, 2);
  w.bits(0x7ff, 11);
  w.bits(0, 1);
  const data = w.finish();
  const into = newSampleBuffer();
  decodeXor2Chunk(data, 0, data.length, 'x', 0, into);
  const t = [1_000_000, 1_015_000, 1_030_000, 1_045_000, 1_060_000, 1_074_993, 1_189_986, 1_204_986];
  assert.deepEqual([...into.timestamps.subarray(0, 8)], t);
  const stale = STALE.toString(16);
  const one = '3ff0000000000000';
  const two = '4000000000000000';
  assert.deepEqual(words(into.values, 8), [one, one, one, two, stale, two, stale, one]);
  const starts = [995_000, 995_000, 995_000, ...t.slice(2, 7).map(before => before - 100)];
  assert.deepEqual([...(into.startTimestamps as Float64Array).subarray(0, 8)], starts);
});

function histograms(random: Random, n: number, integer: boolean, custom: boolean): FloatHistogram[] {
  const positive = random.between(0, 8);
  const negative = custom ? 0 : random.between(0, 4);
  const counts = new Array<number>(positive + negative).fill(0);
  return Array.from({ length: n }, () => {
    for (let i = 0; i < counts.length; i++)
      counts[i] = (counts[i] as number) + (integer ? random.int(1e4) : random.unit());
    const zeroCount = 0;
    return {
      schema: custom ? -53 : 3,
      zeroThreshold: custom ? 0 : 2 ** -128,
      zeroCount,
      count: counts.reduce((a, b) => a + b, zeroCount),
      sum: random.unit() * 1e6,
      positiveSpans: positive === 0 ? [] : [random.seed % 3, positive],
      positiveBuckets: counts.slice(0, positive),
      negativeSpans: negative === 0 ? [] : [-4, negative],
      negativeBuckets: counts.slice(positive),
      customValues: custom ? Array.from({ length: 12 }, (_, i) => (i === 5 ? 5.12345 : i + 0.5)) : [],
      counterResetHint: 0,
      integer,
    } satisfies FloatHistogram;
  });
}

/** Integer histograms of one layout, in the plainest of the codings there are. */
function integerChunk(times: readonly number[], list: readonly FloatHistogram[]): Uint8Array {
  const w = new BitWriter();
  const h = list[0] as FloatHistogram;
  const long = (v: number): void => {
    w.bits(Math.floor(v / 2 ** 32) >>> 0, 32);
    w.bits(v >>> 0, 32);
  };
  const varbit = (v: number): void => {
    if (v === 0) w.bits(0, 1);
    else if (v >= -3 && v <= 4) {
      w.bits(0b10, 2);
      w.bits(v & 7, 3);
    } else if (v > -131072 && v <= 131072) {
      w.bits(0b111110, 6);
      w.bits(v & 0x3ffff, 18);
    } else {
      w.bits(0xff, 8);
      long(v);
    }
  };
  const float = (v: number): void => {
    for (const b of new Bytes().float(v).done()) w.bits(b, 8);
  };
  const unsigned = (v: number): void => {
    w.bits(0b111110, 6);
    w.bits(v, 18);
  };
  w.bits(list.length, 16);
  w.bits(0, 8);
  w.bits(255, 8);
  float(h.zeroThreshold);
  varbit(h.schema);
  for (const spans of [h.positiveSpans, h.negativeSpans]) {
    unsigned(spans.length / 2);
    for (let i = 0; i < spans.length; i += 2) {
      unsigned(spans[i + 1] as number);
      varbit(spans[i] as number);
    }
  }
  if (h.schema === -53) {
    unsigned(h.customValues.length);
    for (const bound of h.customValues) {
      w.bits(0, 1);
      float(bound);
    }
  }
  let before: number[] = [];
  let deltas: number[] = [];
  list.forEach((row, i) => {
    const gaps = (counts: readonly number[]): number[] => counts.map((c, k) => c - (counts[k - 1] ?? 0));
    const now = [
      times[i] as number,
      row.count,
      row.zeroCount,
      ...gaps(row.positiveBuckets),
      ...gaps(row.negativeBuckets),
    ];
    const next = i === 0 ? now : now.map((v, c) => v - (before[c] as number));
    next.forEach((v, c) => {
      // Sums are written between the counts and the buckets: always as a new window of all bits.
      if (c === 3) putSum(i, row.sum);
      const coded = i > 1 ? v - (deltas[c] as number) : v;
      if (i === 0 && (c === 1 || c === 2)) unsigned(coded);
      else varbit(coded);
    });
    if (next.length === 3) putSum(i, row.sum);
    deltas = next;
    before = now;
  });
  return w.finish();

  function putSum(i: number, sum: number): void {
    if (i === 0) {
      float(sum);
      return;
    }
    const bits = (v: number): bigint => new BigUint64Array(Float64Array.of(v).buffer)[0] as bigint;
    const xor = bits(sum) ^ bits((list[i - 1] as FloatHistogram).sum);
    if (xor === 0n) {
      w.bits(0, 1);
      return;
    }
    w.bits(0b11, 2);
    w.bits(0, 5);
    w.bits(0, 6);
    w.bits(Number(xor >> 32n), 32);
    w.bits(Number(xor & 0xffffffffn), 32);
  }
}

test('histogram chunks come back, integers and floats, exponential and custom', () => {
  const random = new Random(2);
  for (let round = 0; round < 200; round++) {
    const integer = random.chance(0.5);
    const n = random.between(1, 60);
    const list = histograms(random, n, integer, random.chance(0.3));
    const times = list.map((_, i) => START + i * 15_000 + random.int(100));
    const data = integer ? integerChunk(times, list) : encodeHistogramChunk(times, list, 0, n);
    const into = newSampleBuffer();
    decodeHistogramChunk(data, 0, data.length, 'x', 0, integer, into);
    assert.deepEqual(into.histogramTimestamps, times);
    const want = list.map((h, i) => ({ ...h, counterResetHint: i === 0 ? 0 : 2 }));
    assert.deepEqual(into.histograms, want, `round ${round}`);
  }
});

test('broken chunks throw a located error and add nothing', () => {
  const random = new Random(3);
  let thrown = 0;
  for (let round = 0; round < 6000; round++) {
    const kind = random.int(4);
    const n = random.between(1, 40);
    const { timestamps, values } = floats(random, n);
    const list = histograms(random, n, kind === 2, random.chance(0.3));
    const times = [...timestamps];
    const data =
      kind < 2
        ? encodeXorChunk(timestamps, values, 0, n)
        : kind === 2
          ? integerChunk(times, list)
          : encodeHistogramChunk(times, list, 0, n);
    const bytes = damage(random, data);
    const into = newSampleBuffer();
    try {
      if (kind === 0) decodeXorChunk(bytes, 0, bytes.length, 'file', 100, into);
      else if (kind === 1) decodeXor2Chunk(bytes, 0, bytes.length, 'file', 100, into);
      else decodeHistogramChunk(bytes, 0, bytes.length, 'file', 100, kind === 2, into);
    } catch (error) {
      assert.equal((error as Error).name, 'CorruptPrometheusError', `seed 3 round ${round}: ${(error as Error).stack}`);
      assert.match((error as Error).message, /^file: at byte \d+: /);
      assert.equal(into.length + into.histogramLength, 0);
      thrown++;
    }
  }
  assert.ok(thrown > 500, String(thrown));
});

function damage(random: Random, data: Uint8Array): Uint8Array {
  const bytes = data.slice(0, random.chance(0.2) ? random.int(data.length + 1) : data.length);
  for (let k = random.between(1, 4); k > 0 && bytes.length > 0; k--) bytes[random.int(bytes.length)] = random.int(256);
  return bytes;
}

/** Eight series over six hours, one of histograms; the expected samples by labels. */
function fixture(random: Random): { series: FakeSeries[]; want: Map<string, Map<number, string>> } {
  const series: FakeSeries[] = [];
  const want = new Map<string, Map<number, string>>();
  for (let i = 0; i < 8; i++) {
    const labels = ['AA', `x${i % 3}`, '__name__', `m${i % 2}`, 'i', String(i)];
    const samples = new Map<number, string>();
    want.set(labelsKey(labels), samples);
    const chunks: FakeSeries['chunks'] = [];
    const deleted = i === 3 ? [START + 3_600_000, START + 2 * 3_600_000] : [];
    for (let c = 0; c < 6; c++) {
      const from = START + c * 3_600_000;
      const times = Array.from({ length: 60 }, (_, k) => from + k * 60_000);
      const range = { minT: times[0] as number, maxT: times[59] as number };
      const alive = (t: number): boolean => !(t >= (deleted[0] ?? Infinity) && t <= (deleted[1] ?? -Infinity));
      if (i === 7) {
        const list = histograms(random, 60, true, false);
        list.forEach((h, k) => {
          samples.set(times[k] as number, String(h.count));
        });
        chunks.push({ encoding: 2, ...range, data: integerChunk(times, list) });
        continue;
      }
      const { values } = floats(random, 60);
      words(values, 60).forEach((word, k) => {
        if (alive(times[k] as number)) samples.set(times[k] as number, word);
      });
      chunks.push({ encoding: 1, ...range, data: encodeXorChunk(Float64Array.from(times), values, 0, 60) });
    }
    series.push({ labels, chunks, deleted });
  }
  series.sort((a, b) => (labelsKey(a.labels) < labelsKey(b.labels) ? -1 : 1));
  return { series, want };
}

/** Everything in a folder's blocks, as `want` above. */
function imported(dataDir: DataDir): Map<string, Map<number, string>> {
  const found = new Map<string, Map<number, string>>();
  const buffer: SampleBuffer = newSampleBuffer();
  for (const dir of shardPaths(dataDir)) {
    for (const { path } of listBlocks(dir)) {
      const block = new BlockReader(path, new BlockCaches({ indexBytesMax: 1e6, dataBytesMax: 1e6 }));
      for (let s = 0; s < block.seriesCount; s++) {
        const key = labelsKey(block.index.labels(s));
        const samples = found.get(key) ?? new Map<number, string>();
        found.set(key, samples);
        buffer.length = 0;
        buffer.histogramLength = 0;
        block.readSeries(s, 0, Number.MAX_SAFE_INTEGER, 'last', buffer);
        const bits = words(buffer.values, buffer.length);
        for (let k = 0; k < buffer.length; k++) samples.set(buffer.timestamps[k] as number, bits[k] as string);
        for (let k = 0; k < buffer.histogramLength; k++) {
          samples.set(buffer.histogramTimestamps[k] as number, String((buffer.histograms[k] as FloatHistogram).count));
        }
      }
      block.close();
    }
  }
  return found;
}

function temporary(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'sightline-import-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

function openData(path: string): DataDir {
  return DataDir.open({ path, shards: 2, version: 'test', now: () => 0 });
}

for (const version of [1, 2] as const) {
  test(`a block with index version ${version} comes over whole, without what was deleted`, async t => {
    const dir = temporary(t);
    const { series, want } = fixture(new Random(4));
    writeFakeBlock(join(dir, 'source'), series, version);
    const dataDir = openData(join(dir, 'data'));
    t.after(() => dataDir.close());
    const lines: string[] = [];
    const context = { dataDir, tenant: 'default', print: (line: string) => void lines.push(line) };
    assert.equal(await importPrometheus(context, join(dir, 'source')), 0, lines.join('\n'));
    assert.deepEqual(imported(dataDir), want);
    assert.match(lines.join('\n'), /imported 8 series/);
  });
}

test('damaged blocks: every fault is told, nothing wrong comes in, the other block is whole', async t => {
  const dir = temporary(t);
  const random = new Random(5);
  const { series, want } = fixture(random);
  const source = join(dir, 'source');
  const bad = writeFakeBlock(source, series, 2);
  const other = [{ ...(series[0] as FakeSeries), labels: ['__name__', 'other'], deleted: [] }];
  writeFakeBlock(source, other, 2, '01HF0000000000000000000001');
  const files = ['index', 'tombstones', 'meta.json', join('chunks', '000001')];
  let told = 0;
  for (let round = 0; round < 60; round++) {
    const file = join(bad, random.pick(files));
    const good = readFileSync(file);
    writeFileSync(file, damage(random, good));
    const dataDir = openData(join(dir, `data${round}`));
    const lines: string[] = [];
    const context = { dataDir, tenant: 'default', print: (line: string) => void lines.push(line) };
    const faults = await importPrometheus(context, source);
    const got = imported(dataDir);
    dataDir.close();
    const label = `seed 5 round ${round}: ${file}\n${lines.join('\n')}`;
    if (faults > 0) told++;
    assert.equal(got.get(labelsKey(['__name__', 'other']))?.size, 360, label);
    got.delete(labelsKey(['__name__', 'other']));
    for (const [key, samples] of got) {
      for (const [at, value] of samples) assert.equal(value, want.get(key)?.get(at), label);
    }
    // Only meta.json has no checksum.
    const whole = [...got.values()].reduce((n, s) => n + s.size, 0) === 8 * 360 - 61;
    assert.ok(whole || faults > 0, label);
    writeFileSync(file, good);
    rmSync(join(dir, `data${round}`), { recursive: true, force: true });
  }
  assert.ok(told > 30, String(told));
});

function walRecords(random: Random): Uint8Array[] {
  const records: Uint8Array[] = [];
  const names = new Bytes().u8(1);
  for (let ref = 1; ref <= 400; ref++)
    names.be64(ref).uvarint(2).text('__name__').text('m').text('ref').text(`${ref}`.padEnd(60, 'x'));
  records.push(names.done());
  for (let k = 0; k < 40; k++) {
    const t = START + k * 15_000;
    const samples = new Bytes().u8(2).be64(1).be64(t);
    for (let ref = 1; ref <= 400; ref++)
      samples
        .varint(ref - 1)
        .varint(random.int(100))
        .float(ref * 1000 + k);
    records.push(samples.done());
    const second = new Bytes()
      .u8(11)
      .varint(1)
      .varint(t + 500)
      .varint(7)
      .float(1000 + k);
    for (let ref = 2; ref <= 20; ref++) {
      second
        .varint(1)
        .varint(ref)
        .u8(ref % 3);
      if (ref % 3 === 2) second.varint(5);
      second.float(ref * 1000 + k);
    }
    records.push(second.done());
    const h = new Bytes().u8(7).be64(1).be64(t).varint(2).varint(0).u8(0).varint(3).float(0);
    h.uvarint(1)
      .uvarint(6)
      .float(2.5)
      .uvarint(1)
      .varint(0)
      .uvarint(2)
      .uvarint(0)
      .uvarint(2)
      .varint(2)
      .varint(1)
      .uvarint(0);
    records.push(h.done());
  }
  records.push(
    new Bytes()
      .u8(3)
      .be64(5)
      .varint(START)
      .varint(START + 1000)
      .done(),
  );
  return records;
}

test('log segments: records over page borders, compressed or not; damage costs what it hit', t => {
  const random = new Random(6);
  const path = join(temporary(t), '00000000');
  const good = fakeWalSegment(walRecords(random));
  assert.ok(good.length > 5 * 32 * 1024);
  const read = (): { samples: number; histograms: number; series: number; stones: number; damage: string[] } => {
    const seen = { samples: 0, histograms: 0, series: 0, stones: 0, damage: [] as string[] };
    for (const { at, record } of readSegment({ path, last: false }, e => seen.damage.push(e.message))) {
      readRecord(record, path, at, {
        series: () => seen.series++,
        sample: (ref, at2, low, high) => {
          const view = new DataView(new ArrayBuffer(8));
          view.setUint32(0, high);
          view.setUint32(4, low);
          const value = view.getFloat64(0);
          assert.equal(Math.floor(value / 1000), ref);
          assert.ok(at2 >= START);
          seen.samples++;
        },
        histogram: (ref, _t, h) => {
          assert.equal(ref, 3);
          assert.deepEqual([h.count, h.zeroCount, h.sum, h.positiveBuckets], [6, 1, 2.5, [2, 3]]);
          seen.histograms++;
        },
        tombstone: (ref, minT, maxT) => {
          assert.deepEqual([ref, minT, maxT], [5, START, START + 1000]);
          seen.stones++;
        },
      });
    }
    return seen;
  };
  writeFileSync(path, good);
  assert.deepEqual(read(), { samples: 40 * 420, histograms: 40, series: 400, stones: 1, damage: [] });
  for (let round = 0; round < 100; round++) {
    const bytes = good.slice();
    const place = random.int(bytes.length);
    bytes[place] = (bytes[place] as number) ^ (1 << random.int(8));
    writeFileSync(path, bytes);
    const seen = read();
    assert.ok(seen.damage.length > 0 || seen.samples === 40 * 420, `seed 6 round ${round}`);
    // One damaged fragment costs at most a page and the record it belonged to.
    assert.ok(seen.samples > 20 * 420, `seed 6 round ${round}: ${seen.samples}`);
  }
});

test('broken records throw a located error', () => {
  const random = new Random(7);
  const records = walRecords(random);
  for (let round = 0; round < 5000; round++) {
    const bytes = damage(random, random.pick(records.slice(-60)));
    try {
      readRecord(bytes, 'file', 5, {
        series: () => {},
        sample: () => {},
        histogram: () => {},
        exemplar: () => {},
        tombstone: () => {},
        metadata: () => {},
      });
    } catch (error) {
      assert.equal((error as Error).name, 'CorruptPrometheusError', `seed 7 round ${round}: ${(error as Error).stack}`);
      assert.match((error as Error).message, /^file \(record at byte 5\): at byte \d+: /);
    }
  }
});

test('an import that was broken off goes on; a repeated one adds nothing', async t => {
  const dir = temporary(t);
  const { series, want } = fixture(new Random(8));
  const source = join(dir, 'source');
  writeFakeBlock(source, series, 2);
  mkdirSync(join(source, 'wal'));
  writeFileSync(join(source, 'wal', '00000000'), fakeWalSegment(walRecords(new Random(9)).slice(0, 3)));
  const dataDir = openData(join(dir, 'data'));
  t.after(() => dataDir.close());
  const context = { dataDir, tenant: 'default', print: () => {} };
  assert.equal(await importPrometheus(context, source), 0);
  const files = (): string[] => readdirSync(dataDir.path, { recursive: true, encoding: 'utf8' }).sort();
  const before = files();
  // As if the run had ended before it noted what it did.
  rmSync(join(dataDir.path, 'tsdb', 'imported.json'));
  assert.equal(await importPrometheus(context, join(source, '01HF0000000000000000000000')), 0);
  assert.deepEqual(files(), before);
  const got = imported(dataDir);
  for (const [key, samples] of want) assert.deepEqual(got.get(key), samples);
});
