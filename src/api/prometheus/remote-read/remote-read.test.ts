import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newSampleBuffer } from '../../../contracts/sample-source.ts';
import { decodeHistogramChunk } from '../../../ingest/prometheus-tsdb/histogram-chunk.ts';
import { crc32c } from '../../../lib/crc32c.ts';
import { ProtobufWriter } from '../../../lib/protobuf.ts';
import type { FloatHistogram } from '../../../model/histogram.ts';
import { isStale, putStale } from '../../../model/stale.ts';
import { encodeHistogramChunk, goesAsIntegers, histogramChunkEnd } from './histogram-chunk.ts';
import { decodeReadRequest } from './read-request.ts';
import { chunksOf } from './write-series.ts';
import { CHUNK_SAMPLES_MAX, encodeXorChunk } from './xor-chunk.ts';

/** A decoder written from the format's description, with BigInt and strings of bits: slow and plain. */
class Bits {
  private readonly text: string;
  private at = 0;
  constructor(bytes: Uint8Array) {
    this.text = [...bytes].map(b => b.toString(2).padStart(8, '0')).join('');
  }
  take(n: number): bigint {
    assert.ok(this.at + n <= this.text.length, 'read past the end');
    const part = this.text.slice(this.at, this.at + n);
    this.at += n;
    return n === 0 ? 0n : BigInt(`0b${part}`);
  }
  bit(): boolean {
    return this.take(1) === 1n;
  }
  /** Leading ones, at most max, and the zero behind them. */
  ones(max: number): number {
    let n = 0;
    while (n < max && this.bit()) n++;
    return n;
  }
  uvarint(): bigint {
    let out = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const b = this.take(8);
      out |= (b & 0x7fn) << shift;
      if (b < 0x80n) return out;
    }
  }
  varint(): bigint {
    const u = this.uvarint();
    return u & 1n ? -(u >> 1n) - 1n : u >> 1n;
  }
  /** The format's ranges are one up: the largest negative pattern means a positive number. */
  signed(n: number): bigint {
    const u = this.take(n);
    if (n === 64) return BigInt.asIntN(64, u);
    return u > 1n << BigInt(n - 1) ? u - (1n << BigInt(n)) : u;
  }
  varbit(): bigint {
    const k = this.ones(8);
    return k === 0 ? 0n : this.signed([3, 6, 9, 12, 18, 25, 56, 64][k - 1] as number);
  }
  varbitUnsigned(): bigint {
    const k = this.ones(8);
    return k === 0 ? 0n : this.take([3, 6, 9, 12, 18, 25, 56, 64][k - 1] as number);
  }
}

class XorColumn {
  private leading = 0;
  private size = 64;
  value: bigint;
  constructor(value: bigint) {
    this.value = value;
  }
  next(bits: Bits): bigint {
    if (!bits.bit()) return this.value;
    if (bits.bit()) {
      this.leading = Number(bits.take(5));
      this.size = Number(bits.take(6)) || 64;
    }
    this.value ^= bits.take(this.size) << BigInt(64 - this.leading - this.size);
    return this.value;
  }
}

function bitsOf(v: number): bigint {
  return new BigUint64Array(Float64Array.of(v).buffer)[0] as bigint;
}

function decodeXor(bytes: Uint8Array): { t: bigint[]; v: bigint[] } {
  const bits = new Bits(bytes);
  const count = Number(bits.take(16));
  const t = [bits.varint()];
  const column = new XorColumn(bits.take(64));
  const v = [column.value];
  let delta = 0n;
  for (let i = 1; i < count; i++) {
    if (i === 1) delta = bits.uvarint();
    else {
      const k = bits.ones(4);
      delta += k === 0 ? 0n : bits.signed([14, 17, 20, 64][k - 1] as number);
    }
    t.push((t[i - 1] as bigint) + delta);
    v.push(column.next(bits));
  }
  return { t, v };
}

function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

test('xor chunks come back bit for bit', () => {
  const random = randomOf(42);
  for (let round = 0; round < 300; round++) {
    const n = 1 + Math.floor(random() * CHUNK_SAMPLES_MAX);
    const timestamps = new Float64Array(n);
    const values = new Float64Array(n);
    let t = round % 3 === 0 ? 0 : 1_700_000_000_000;
    for (let i = 0; i < n; i++) {
      t += [15_000, 15_000 + Math.floor(random() * 10), Math.floor(random() * 2 ** 34), 1][
        Math.floor(random() * 4)
      ] as number;
      timestamps[i] = t;
      const kind = random();
      if (kind < 0.3) values[i] = values[i - 1] ?? 1;
      else if (kind < 0.6) values[i] = (values[i - 1] ?? 0) + 1;
      else if (kind < 0.7) putStale(values, i);
      else if (kind < 0.75) values[i] = -0;
      else values[i] = (random() - 0.5) * 10 ** Math.floor(random() * 600 - 300);
    }
    const from = Math.floor(random() * n);
    const got = decodeXor(encodeXorChunk(timestamps, values, from, n));
    const words = new BigUint64Array(values.buffer);
    assert.deepEqual(got.t, [...timestamps.slice(from)].map(BigInt), `round ${round}`);
    assert.deepEqual(got.v, [...words.slice(from)], `round ${round}`);
  }
});

test('a chunk whose bytes are known', () => {
  // 2 samples: (t 1000, v 1), (t 2000, v 1): count 2 | varint 1000 = d0 0f | 1.0 | uvarint 1000 = e8 07 | bit 0.
  const bytes = encodeXorChunk(Float64Array.of(1000, 2000), Float64Array.of(1, 1), 0, 2);
  assert.equal(Buffer.from(bytes).toString('hex'), '0002d00f3ff0000000000000e80700');
});

function histogram(random: () => number, layout: number): FloatHistogram {
  const custom = layout === 2;
  const positive = [3 + random() * 5, 1 + random(), random() * 100];
  return {
    schema: custom ? -53 : layout,
    zeroThreshold: custom ? 0 : [0.001, 2 ** -128][layout % 2]!,
    zeroCount: custom ? 0 : Math.floor(random() * 9),
    count: random() * 1000,
    sum: (random() - 0.5) * 1e6,
    positiveSpans: [-2, 1, 5, 2],
    positiveBuckets: positive,
    negativeSpans: custom ? [] : [0, 1],
    negativeBuckets: custom ? [] : [random()],
    customValues: custom ? [0.005, 1, 1 / 3, 40_000] : [],
    counterResetHint: 3,
    integer: false,
  };
}

function decodeHistograms(bytes: Uint8Array): { t: bigint[]; rows: bigint[][]; layout: unknown } {
  const bits = new Bits(bytes);
  const count = Number(bits.take(16));
  const flags = Number(bits.take(8));
  const zero = Number(bits.take(8));
  const zeroThreshold = zero === 0 ? bitsOf(0) : zero === 255 ? bits.take(64) : bitsOf(2 ** (zero - 243 - 1));
  const schema = Number(bits.varbit());
  const spans = () =>
    Array.from({ length: Number(bits.varbitUnsigned()) }, () => {
      const length = Number(bits.varbitUnsigned());
      return [Number(bits.varbit()), length] as const;
    });
  const positive = spans();
  const negative = spans();
  const customValues: bigint[] = [];
  if (schema === -53) {
    for (let n = Number(bits.varbitUnsigned()); n > 0; n--) {
      const whole = bits.varbitUnsigned();
      customValues.push(whole === 0n ? bits.take(64) : bitsOf(Number(whole - 1n) / 1000));
    }
  }
  const buckets = [...positive, ...negative].reduce((n, s) => n + s[1], 0);
  const t: bigint[] = [];
  const rows: bigint[][] = [];
  let delta = 0n;
  const columns: XorColumn[] = [];
  for (let i = 0; i < count; i++) {
    if (i === 0) t.push(bits.varbit());
    else {
      delta += bits.varbit();
      t.push((t[i - 1] as bigint) + delta);
    }
    const row: bigint[] = [];
    for (let c = 0; c < 3 + buckets; c++) {
      if (i === 0) columns.push(new XorColumn(bits.take(64)));
      row.push(i === 0 ? (columns[c] as XorColumn).value : (columns[c] as XorColumn).next(bits));
    }
    rows.push(row);
  }
  const layout = { flags, zeroThreshold, schema, positive: positive.flat(), negative: negative.flat(), customValues };
  return { t, rows, layout };
}

test('histogram chunks come back bit for bit', () => {
  const random = randomOf(7);
  for (const layout of [0, 1, 2]) {
    const histograms = Array.from({ length: 40 }, () => histogram(random, layout));
    const timestamps = histograms.map((_, i) => 1_700_000_000_000 + i * 15_000 + Math.floor(random() * 50));
    assert.equal(histogramChunkEnd(histograms, 0), 40);
    const got = decodeHistograms(encodeHistogramChunk(timestamps, histograms, 0, 40));
    assert.deepEqual(got.t, timestamps.map(BigInt));
    histograms.forEach((h, i) => {
      const row = [h.count, h.zeroCount, h.sum, ...h.positiveBuckets, ...h.negativeBuckets];
      assert.deepEqual(got.rows[i], row.map(bitsOf));
    });
    const h = histograms[0] as FloatHistogram;
    assert.deepEqual(got.layout, {
      flags: 0b11000000,
      zeroThreshold: bitsOf(h.zeroThreshold),
      schema: h.schema,
      positive: h.positiveSpans,
      negative: h.negativeSpans,
      customValues: h.customValues.map(bitsOf),
    });
  }
});

test('chunks of integer histograms come back as they were', () => {
  const random = randomOf(17);
  const whole = (max: number): number => Math.floor(random() * max);
  for (let round = 0; round < 60; round++) {
    const custom = round % 3 === 2;
    const gauge = round % 2 === 1;
    const most = [10, 1e6, 2 ** 48][round % 3] as number;
    const base: FloatHistogram = { ...histogram(random, round % 3), integer: true, counterResetHint: gauge ? 3 : 0 };
    const histograms: FloatHistogram[] = [];
    let row = [whole(most), whole(most), whole(most), whole(most), custom ? 0 : whole(most)];
    for (let i = 0; i < 50; i++) {
      // A counter grows, a gauge goes anywhere.
      row = row.map((n, k) => (custom && k === 4 ? 0 : gauge ? whole(most) : n + whole(i % 7 === 0 ? 1 : most / 100)));
      const [a, b, c, zero, negative] = row as [number, number, number, number, number];
      histograms.push({
        ...base,
        zeroCount: custom ? 0 : zero,
        positiveBuckets: [a, b, c],
        negativeBuckets: custom ? [] : [negative],
        count: a + b + c + (custom ? 0 : zero + negative),
        sum: (random() - 0.5) * 1e6,
      });
    }
    const timestamps = histograms.map((_, i) => 1_700_000_000_000 + i * 15_000 + whole(50));
    const end = histogramChunkEnd(histograms, 0);
    assert.equal(end, 50, `round ${round}`);
    const [chunk] = chunksOf({
      labels: [],
      timestamps: new Float64Array(0),
      values: new Float64Array(0),
      startTimestamps: null,
      histogramTimestamps: timestamps,
      histograms,
      histogramStartTimestamps: null,
    });
    assert.equal(chunk?.encoding, 2);
    const data = chunk?.data as Uint8Array;
    const into = newSampleBuffer();
    // The reader of Prometheus' own block files.
    decodeHistogramChunk(data, 0, data.length, 'test', 0, true, into);
    assert.deepEqual(into.histogramTimestamps, timestamps);
    const hint = gauge ? 3 : 0;
    assert.deepEqual(
      into.histograms.map(h => ({ ...h, counterResetHint: hint })),
      histograms,
      `round ${round}`,
    );
  }
});

test('histograms that are no whole numbers, or too large ones, go as floats', () => {
  const random = randomOf(23);
  const small: FloatHistogram = {
    ...histogram(random, 0),
    integer: true,
    count: 9,
    positiveBuckets: [3, 3, 2],
    negativeBuckets: [1],
    zeroCount: 0,
  };
  const large: FloatHistogram = { ...small, count: 2 ** 52, positiveBuckets: [2 ** 51, 2 ** 51, 0] };
  assert.deepEqual([small, large, { ...small, integer: false }, { ...small, zeroCount: 0.5 }].map(goesAsIntegers), [
    true,
    false,
    false,
    false,
  ]);
  assert.equal(
    histogramChunkEnd(
      [
        { ...small, counterResetHint: 3 },
        { ...large, counterResetHint: 3 },
      ],
      0,
    ),
    1,
  );
});

test('a histogram chunk ends at a counter reset and at a new layout', () => {
  const random = randomOf(3);
  const base: FloatHistogram = { ...histogram(random, 0), counterResetHint: 0 };
  const grown = (k: number): FloatHistogram => ({
    ...base,
    count: base.count + k,
    positiveBuckets: base.positiveBuckets.map(b => b + k),
  });
  assert.equal(histogramChunkEnd([grown(0), grown(1), grown(2)], 0), 3);
  assert.equal(histogramChunkEnd([grown(3), grown(4), grown(0)], 0), 2);
  assert.equal(histogramChunkEnd([grown(0), { ...grown(1), schema: 1 }], 0), 1);
  assert.equal(histogramChunkEnd([grown(0), { ...grown(1), counterResetHint: 3 }], 0), 1);
});

test('chunks of a series do not overlap, whatever kinds alternate', () => {
  const random = randomOf(11);
  const h = histogram(random, 0);
  const series = {
    labels: ['a', 'b'],
    timestamps: Float64Array.from({ length: 300 }, (_, i) => (i < 150 ? i : i + 50) * 1000),
    values: new Float64Array(300),
    startTimestamps: null,
    histogramTimestamps: [...Array(50).keys()].map(i => (150 + i) * 1000),
    histograms: Array.from({ length: 50 }, () => h),
    histogramStartTimestamps: null,
  };
  const chunks = chunksOf(series);
  assert.deepEqual(
    chunks.map(c => [c.encoding, c.minMs, c.maxMs]),
    [
      [1, 0, 119_000],
      [1, 120_000, 149_000],
      [3, 150_000, 199_000],
      [1, 200_000, 319_000],
      [1, 320_000, 349_000],
    ],
  );
});

test('crc32c of known text', () => {
  assert.equal(crc32c(Buffer.from('123456789')), 0xe3069283);
  assert.equal(crc32c(new Uint8Array(32)), 0x8a9136aa);
});

function requestBytes(matcherType = 0, value = 'up'): Uint8Array {
  const w = new ProtobufWriter();
  const query = w.begin(1);
  w.varint(1, 1000);
  w.varint(2, 2000);
  const matcher = w.begin(3);
  w.varint(1, matcherType);
  w.string(2, '__name__');
  w.string(3, value);
  w.close(matcher);
  const hints = w.begin(4);
  w.varint(1, 15_000);
  w.close(hints);
  w.close(query);
  w.packedVarints(2, [1, 0]);
  return w.finish().slice();
}

test('read requests', () => {
  assert.deepEqual(decodeReadRequest(requestBytes()), {
    queries: [{ startMs: 1000, endMs: 2000, matchers: [{ name: '__name__', op: '=', value: 'up' }] }],
    accepted: ['chunks', 'samples'],
  });
  assert.throws(() => decodeReadRequest(requestBytes(4)), /matcher type/);
  assert.throws(() => decodeReadRequest(requestBytes(2, 'a(')), /__name__=~/);
});

test('mangled read requests are refused, never worse', () => {
  const random = randomOf(99);
  const good = requestBytes(2, 'u.*');
  let refused = 0;
  for (let i = 0; i < 20_000; i++) {
    const bytes = good.slice(0, random() < 0.3 ? Math.floor(random() * good.length) : good.length);
    for (let k = 0; k < 1 + random() * 3; k++) bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256);
    try {
      decodeReadRequest(bytes);
    } catch (error) {
      assert.ok(error instanceof Error && !/BUG|undefined/.test(error.message), String(error));
      refused++;
    }
  }
  assert.ok(refused > 1000);
});

test('the staleness marker survives', () => {
  const values = new Float64Array(2);
  putStale(values, 1);
  assert.ok(isStale(values, 1));
  const { v } = decodeXor(encodeXorChunk(Float64Array.of(1, 2), values, 0, 2));
  assert.equal(v[1], 0x7ff0000000000002n);
});
