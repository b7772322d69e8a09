import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newSampleBuffer } from '../../../contracts/sample-source.ts';
import { isStale, putStale } from '../../../model/stale.ts';
import { CorruptChunkError } from './corrupt.ts';
import { decodeFloatChunk, encodeFloatChunk, floatChunkCount, maxFloatChunkSize } from './float-chunk.ts';
import { MAX_CHUNK_ROWS } from './int-column.ts';

/** A small seeded generator (mulberry32), so that failures repeat. */
function random(seed: number): () => number {
  let a = seed;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

function encode(t: Float64Array, v: Float64Array, starts: Float64Array | null = null): Uint8Array {
  const out = new Uint8Array(maxFloatChunkSize(t.length) + 5);
  const end = encodeFloatChunk(t, v, 0, t.length, starts, out, 5);
  assert.ok(end <= out.length, `${end} bytes written, the bound is ${out.length}`);
  return out.slice(5, end);
}

function bits(column: Float64Array, n: number): string {
  return Buffer.from(column.buffer, column.byteOffset, n * 8).toString('hex');
}

function roundTrip(t: Float64Array, v: Float64Array, starts: Float64Array | null, what: string): number {
  const bytes = encode(t, v, starts);
  const into = newSampleBuffer(4);
  // Something in front, to catch offsets that are taken for zero.
  into.length = 2;
  assert.equal(decodeFloatChunk(bytes, 0, into), bytes.length, what);
  assert.equal(into.length, t.length + 2, what);
  assert.deepEqual(into.timestamps.slice(2, into.length), t, what);
  const got = into.values.slice(2, into.length);
  if (bits(got, t.length) !== bits(v, t.length)) {
    for (let i = 0; i < t.length; i++) {
      assert.equal(
        bits(got.subarray(i), 1),
        bits(v.subarray(i), 1),
        `${what}: value ${i} was ${v[i]}, came back ${got[i]}`,
      );
    }
  }
  if (starts !== null) assert.deepEqual(into.startTimestamps?.slice(2, into.length), starts, what);
  assert.equal(floatChunkCount(bytes, 0), t.length);
  return bytes.length;
}

function grid(n: number, step = 15000, start = 1_763_800_000_000): Float64Array {
  return Float64Array.from({ length: n }, (_, i) => start + i * step);
}

/** Shapes of values, each a function of row number and randomness. */
const shapes: Record<string, (r: () => number) => (i: number) => number> = {
  zero: () => () => 0,
  one: () => () => 1,
  negative: () => () => -17,
  quarter: () => () => 0.25,
  negativeZero: () => () => -0,
  nan: () => () => Number.NaN,
  infinity: () => i => (i % 2 === 0 ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY),
  counter: r => {
    let c = Math.floor(r() * 1e6);
    return () => {
      c += Math.floor(r() * 300);
      return c;
    };
  },
  resetting: r => {
    let c = 5e9;
    return () => {
      c = r() < 0.01 ? 0 : c + Math.floor(r() * 3e6);
      return c;
    };
  },
  decimals: r => () => Math.round(r() * 1e5) / 100,
  manyDecimals: r => () => Math.round(r() * 1e15) / 1e12,
  doubles: r => () => r(),
  wildDoubles: r => () => (r() - 0.5) * 10 ** Math.floor(r() * 600 - 300),
  sums: r => {
    let c = 0;
    return () => {
      c += r() * 0.1;
      return c;
    };
  },
  pages: r => () => Math.floor(r() * 1e6) * 4096,
  huge: r => () => Math.floor(r() * 1000) * 2 ** 60,
  edge: r => () => (r() < 0.5 ? Number.MAX_SAFE_INTEGER : -Number.MAX_SAFE_INTEGER),
  nearEdge: r => () => Number.MAX_SAFE_INTEGER - Math.floor(r() * 1000),
  subnormal: r => () => r() * 5e-320,
  twos: r => () => Math.floor(r() * 2),
  spikes: r => i => (r() < 0.02 ? 1e12 : i * 7 + Math.floor(r() * 5)),
  decimalsWithStale: r => () => (r() < 0.03 ? Number.NaN : Math.round(r() * 1e4) / 10),
  wholeWithNegativeZero: r => () => (r() < 0.03 ? -0 : Math.round(r() * 1e4)),
  steps: r => {
    let c = 3.3;
    return () => {
      if (r() < 0.1) c = r();
      return c;
    };
  },
};

test('every shape comes back bit for bit, at every length', () => {
  for (const [name, make] of Object.entries(shapes)) {
    const r = random(name.length * 7919);
    for (const n of [1, 2, 3, 4, 5, 15, 16, 17, 31, 33, 120, 480, MAX_CHUNK_ROWS]) {
      const next = make(r);
      const v = Float64Array.from({ length: n }, (_, i) => next(i));
      for (let i = 0; i < n; i++) if (name === 'decimalsWithStale' && Number.isNaN(v[i])) putStale(v, i);
      const t = grid(n);
      const jittered = t.map(x => x + Math.floor(r() * 20));
      roundTrip(t, v, null, `${name} x ${n}`);
      roundTrip(
        jittered,
        v,
        n % 2 === 0 ? t.map(x => x - 500) : t.map((x, i) => (i < n / 2 ? 0 : x)),
        `${name} x ${n} jittered`,
      );
    }
  }
});

test('random mixtures of random bit patterns come back bit for bit', () => {
  const r = random(20261122);
  for (let round = 0; round < 3000; round++) {
    const n = 1 + Math.floor(r() * 40);
    const v = new Float64Array(n);
    const words = new Uint32Array(v.buffer);
    const kind = Math.floor(r() * 5);
    for (let i = 0; i < n; i++) {
      if (kind === 0 || r() < 0.1) {
        words[2 * i] = r() * 2 ** 32;
        words[2 * i + 1] = r() < 0.3 ? 0x7ff00000 + r() * 16 : r() * 2 ** 32;
      } else if (kind === 1) v[i] = Math.floor((r() - 0.5) * 2 ** Math.floor(r() * 54));
      else if (kind === 2) v[i] = Math.round(r() * 10 ** Math.floor(r() * 12)) / 10 ** Math.floor(r() * 9);
      else if (kind === 3) v[i] = Math.fround(r() * 100);
      else v[i] = (r() - 0.5) * 2 ** Math.floor(r() * 12);
    }
    const t = new Float64Array(n);
    let at = Math.floor(r() * 2 ** Math.floor(r() * 50));
    for (let i = 0; i < n; i++) {
      t[i] = at;
      at += 1 + Math.floor(r() * 2 ** Math.floor(r() * 40));
    }
    roundTrip(t, v, null, `round ${round}, kind ${kind}, seed 20261122`);
  }
});

test('a few markers do not push decimals into the slow code', () => {
  const r = random(3);
  const v = Float64Array.from({ length: 480 }, () => Math.round(r() * 1000) / 10);
  const clean = roundTrip(grid(480), v, null, 'clean');
  for (const i of [0, 100, 200, 479]) putStale(v, i);
  const marked = roundTrip(grid(480), v, null, 'marked');
  assert.ok(marked < clean + 20, `${clean} bytes without, ${marked} with four markers`);
});

test('staleness markers are told from NaN after decoding', () => {
  const v = new Float64Array(16).fill(Number.NaN);
  putStale(v, 3);
  const into = newSampleBuffer();
  decodeFloatChunk(encode(grid(16), v), 0, into);
  for (let i = 0; i < 16; i++) assert.equal(isStale(into.values, i), i === 3);
});

test('sizes of 16-sample chunks stay small', () => {
  const size = (v: number[]) => encode(grid(16), Float64Array.from(v)).length;
  assert.equal(size(Array(16).fill(0)), 14);
  assert.equal(size(Array.from({ length: 16 }, (_, i) => 100 * i)), 17);
  assert.equal(size(Array.from({ length: 16 }, (_, i) => i % 2)), 17);
});

test('golden chunks', () => {
  const hex = (v: number[], starts: number[] | null = null) =>
    Buffer.from(
      encode(grid(v.length, 15000, 1000), Float64Array.from(v), starts ? Float64Array.from(starts) : null),
    ).toString('hex');
  assert.equal(hex([5, 5, 5]), golden.constant);
  assert.equal(hex([1, 2, 4, 8]), golden.whole);
  assert.equal(hex([0.1, 0.25, 0.3, Number.NaN]), golden.decimal);
  assert.equal(hex([Math.PI, Math.E, Number.MIN_VALUE, 1e300]), golden.bits);
  assert.equal(hex([1, 2], [500, 500]), golden.starts);
});

test('any damaged byte is either refused or decodes to the promised number of rows', () => {
  const r = random(77);
  for (const make of Object.values(shapes)) {
    const next = make(r);
    const v = Float64Array.from({ length: 50 }, (_, i) => next(i));
    const bytes = encode(
      grid(50).map(x => x + Math.floor(r() * 9)),
      v,
      grid(50),
    );
    for (let round = 0; round < 300; round++) {
      const bad = bytes.slice(0, r() < 0.3 ? Math.floor(r() * bytes.length) : bytes.length);
      if (bad.length > 0) bad[Math.floor(r() * Math.min(bad.length, 20))] = r() * 256;
      const into = newSampleBuffer(4);
      into.length = 1;
      try {
        decodeFloatChunk(bad, 0, into);
        assert.ok(into.length <= MAX_CHUNK_ROWS + 1);
      } catch (error) {
        assert.ok(error instanceof CorruptChunkError, String(error));
        assert.equal(into.length, 1);
      }
    }
  }
});

const golden = {
  constant: '000301d00fb0ea01000a',
  whole: '000401d00fb0ea010130021073',
  decimal: '000401d00fb0ea010d02010301000000000000f87f3414053004',
  bits: '000401d00fb0ea0102ff182d4454fb2109407119847a2d58504444df54dcf1fbc79e21c50c093e00403e',
  starts: '010201d00fb0ea010110020200e807',
};
