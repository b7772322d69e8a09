import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { compileKernel, KERNEL_PATH } from '../../../tools/build-kernel.ts';
import { ProtobufWriter } from '../protobuf.ts';
import { snappyCompress } from '../snappy.ts';
import { createJsKernel, createKernel, type IngestKernel, KernelError, type ScanResult } from './kernel.ts';
import { CODE } from './layout.ts';

const SEED = Uint32Array.of(0x11111111, 0x22222222, 0x33333333, 0x84444444);

/** mulberry32: small, seeded, good enough to shake a decoder. */
function random(seed: number): () => number {
  let a = seed;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Everything a scan says, with addresses made relative to the message, so that two kernels can be compared. */
function describe(kernel: IngestKernel, load: (k: IngestKernel) => void): unknown {
  try {
    load(kernel);
    const r = kernel.scan(SEED);
    return {
      series: r.seriesCount,
      labels: Array.from(r.labelStart, (s, i) => [s - r.messageStart, (r.labelEnd[i] as number) - r.messageStart]),
      // Rows for the slow path have no hash.
      hashes: Array.from(r.labelStart, (s, i) => (s === r.labelEnd[i] ? 0 : r.hashes.slice(i * 4, i * 4 + 4).join())),
      sampleStart: [...r.sampleStart],
      timestamps: [...r.timestamps],
      values: Array.from(new Uint32Array(r.values.buffer, r.values.byteOffset, r.values.length * 2)),
      extras: Array.from(r.extras, (x, i) => (i % 4 < 2 ? x : x - r.messageStart)),
      odd: r.oddTimes,
    };
  } catch (error) {
    assert.ok(error instanceof KernelError, String(error));
    return { code: error.code, offset: error.offset, series: error.series };
  }
}

function same(wasm: IngestKernel, js: IngestKernel, load: (k: IngestKernel) => void, what: string): unknown {
  const a = describe(wasm, load);
  assert.deepEqual(a, describe(js, load), what);
  return a;
}

/** A request with everything in it, mostly well-behaved. */
function makeMessage(next: () => number): Uint8Array {
  const w = new ProtobufWriter();
  const int = (n: number): number => Math.floor(next() * n);
  const text = (n: number): string => {
    const alphabet = next() < 0.9 ? 'abcdefgh_XYZ' : 'aé漢🌍';
    let s = '';
    for (let i = int(n); i >= 0; i--) s += [...alphabet][int([...alphabet].length)];
    return s;
  };
  for (let i = int(6); i >= 0; i--) {
    if (next() < 0.1) w.string(next() < 0.5 ? 3 : 7, text(5));
    const row = w.begin(1);
    const names = new Set<string>(next() < 0.9 ? ['__name__'] : []);
    for (let n = int(8); n > 0; n--) names.add(text(next() < 0.05 ? 300 : 12));
    const list = [...names];
    if (next() < 0.9) list.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    for (const name of list) {
      const label = w.begin(1);
      if (next() < 0.98) w.string(1, name);
      if (next() < 0.98) w.string(2, next() < 0.02 ? '' : text(next() < 0.05 ? 300 : 20));
      if (next() < 0.02) w.varint(5, 1);
      w.close(label);
      if (next() < 0.02) w.varint(9, 7);
    }
    for (let n = int(4); n > 0; n--) {
      const sample = w.begin(2);
      if (next() < 0.9) w.double(1, next() * 1000);
      if (next() < 0.95)
        w.varint(2, next() < 0.8 ? 1_700_000_000_000 + int(1e9) : int(2 ** 32) * (next() < 0.5 ? -1 : 1));
      if (next() < 0.05) w.double(1, Number.NaN);
      if (next() < 0.05) w.varint(3, 5);
      w.close(sample);
    }
    if (next() < 0.1) w.string(3, text(4));
    if (next() < 0.1) w.string(4, text(4));
    w.close(row);
  }
  return w.finish().slice();
}

function mutate(bytes: Uint8Array, next: () => number): Uint8Array {
  const int = (n: number): number => Math.floor(next() * n);
  let out = bytes.slice();
  for (let n = int(4); n >= 0 && out.length > 0; n--) {
    const at = int(out.length);
    const kind = next();
    if (kind < 0.4) out[at] = int(256);
    else if (kind < 0.6) out[at] = (out[at] as number) ^ (1 << int(8));
    else if (kind < 0.7) out[at] = 0xff;
    else if (kind < 0.85) out = out.slice(0, at);
    else out = Uint8Array.from([...out.subarray(0, at), ...out.subarray(int(out.length))]);
  }
  return out;
}

test('the Wasm kernel is there and does the work', () => {
  assert.equal(createKernel().backendName, 'wasm');
});

test('kernel.wasm is what the pinned compiler makes of its source', t => {
  if (!existsSync(new URL('../../../node_modules/assemblyscript/bin/asc.js', import.meta.url))) {
    t.skip('skipped: needs the assemblyscript package');
    return;
  }
  const checkedIn = readFileSync(KERNEL_PATH);
  assert.ok(checkedIn.length < 4096, `${checkedIn.length} bytes`);
  assert.deepEqual(compileKernel(), checkedIn, 'run `node tools/build-kernel.ts` and commit the result');
});

test('both backends scan alike, well-formed and damaged (seed 1)', () => {
  const next = random(1);
  const wasm = createKernel();
  const js = createJsKernel();
  let good = 0;
  const codes = new Set<number>();
  for (let i = 0; i < 6000; i++) {
    const message = makeMessage(next);
    const bytes = i % 4 === 0 ? message : mutate(message, next);
    const result = same(wasm, js, k => k.loadPlain(bytes), `case ${i}: ${Buffer.from(bytes).toString('hex')}`);
    const code = (result as { code?: number }).code;
    if (code === undefined) good++;
    else codes.add(code);
  }
  assert.ok(good > 1500, `${good} good`);
  for (const code of [CODE.truncated, CODE.badVarint, CODE.badWireType, CODE.badField]) {
    assert.ok(codes.has(code), `no case gave code ${code}`);
  }
});

test('both backends decompress alike, sound and damaged (seed 2)', () => {
  const next = random(2);
  const wasm = createKernel();
  const js = createJsKernel();
  const describeSnappy = (k: IngestKernel, body: Uint8Array): unknown => {
    try {
      k.loadSnappy(body);
      return Buffer.from(k.message()).toString('hex');
    } catch (error) {
      assert.ok(error instanceof KernelError, String(error));
      return { code: error.code, offset: error.offset };
    }
  };
  const codes = new Set<number>();
  for (let i = 0; i < 4000; i++) {
    const size = Math.floor(next() * 700);
    const plain = new Uint8Array(size);
    const period = 1 + Math.floor(next() * 40);
    for (let k = 0; k < size; k++)
      plain[k] = next() < 0.95 && k >= period ? (plain[k - period] as number) : next() * 256;
    const block = snappyCompress(plain);
    assert.equal(describeSnappy(wasm, block), Buffer.from(plain).toString('hex'));
    const bytes = i % 4 === 0 ? block : mutate(block, next);
    const result = describeSnappy(wasm, bytes);
    assert.deepEqual(result, describeSnappy(js, bytes), `case ${i}: ${Buffer.from(bytes).toString('hex')}`);
    if (typeof result === 'object') codes.add((result as { code: number }).code);
  }
  for (const code of [CODE.snappyLiteral, CODE.snappyCopy, CODE.snappyOffset, CODE.snappyLength, CODE.tooLarge]) {
    assert.ok(codes.has(code), `no case gave code ${code}`);
  }
});

/** Hand-made snappy elements, for forms that our compressor never writes. */
test('every snappy element form is understood', () => {
  const long = Buffer.alloc(300, 'x');
  const forms: [string, number[], string][] = [
    ['literal with one length byte', [...len(300), 60 << 2, 299 & 0xff, ...long.subarray(0, 44)], ''],
    ['literal with two length bytes', [...len(300), 61 << 2, 299 & 0xff, 299 >> 8, ...long], 'x'.repeat(300)],
    ['literal with three', [...len(300), 62 << 2, 299 & 0xff, 299 >> 8, 0, ...long], 'x'.repeat(300)],
    ['literal with four', [...len(300), 63 << 2, 299 & 0xff, 299 >> 8, 0, 0, ...long], 'x'.repeat(300)],
    ['copy with four offset bytes', [7, 2 << 2, 97, 98, 99, 3 | (3 << 2), 3, 0, 0, 0], 'abcabca'],
    ['run of one byte', [9, 0, 97, 2 | (7 << 2), 1, 0], 'aaaaaaaaa'],
    ['empty', [0], ''],
  ];
  for (const kernel of [createKernel(), createJsKernel()]) {
    for (const [name, bytes, expected] of forms) {
      if (name.startsWith('literal with one')) {
        assert.throws(() => kernel.loadSnappy(Uint8Array.from(bytes)), KernelError);
        continue;
      }
      kernel.loadSnappy(Uint8Array.from(bytes));
      assert.equal(Buffer.from(kernel.message()).toString(), expected, `${kernel.backendName}: ${name}`);
    }
    assert.throws(() => kernel.loadSnappy(new Uint8Array(0)), /does not begin with a valid length/);
    assert.throws(() => kernel.loadSnappy(Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0x7f)), /valid length/);
    assert.throws(() => kernel.loadSnappy(Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0x0f)), /at most 67108864/);
  }
});

function len(n: number): number[] {
  return [(n & 0x7f) | 0x80, n >> 7];
}

test('columns grow as needed, up to the limits', () => {
  for (const kernel of [
    createKernel({ samples: 40_000, series: 30_000 }),
    createJsKernel({ samples: 40_000, series: 30_000 }),
  ]) {
    const message = (series: number, perSeries: number): Uint8Array => {
      const w = new ProtobufWriter();
      for (let i = 0; i < series; i++) {
        const row = w.begin(1);
        const label = w.begin(1);
        w.string(1, '__name__');
        w.string(2, `m${i}`);
        w.close(label);
        for (let k = 0; k < perSeries; k++) {
          const sample = w.begin(2);
          w.double(1, i);
          w.varint(2, k);
          w.close(sample);
        }
        w.close(row);
      }
      return w.finish().slice();
    };
    const scan = (series: number, perSeries: number): ScanResult => {
      kernel.loadPlain(message(series, perSeries));
      return kernel.scan(SEED);
    };
    const big = scan(20_000, 2);
    assert.equal(big.seriesCount, 20_000);
    assert.equal(big.sampleCount, 40_000);
    assert.equal(big.values[39_999], 19_999);
    assert.throws(() => scan(20_001, 2), /too many samples/);
    assert.throws(() => scan(30_001, 1), /too many series/);
    assert.equal(scan(1, 1).sampleCount, 1);
    assert.throws(() => kernel.loadPlain(new Uint8Array((64 << 20) + 1)), /at most 67108864/);
  }
});

test('a kernel that grew for one giant request is renewed after many small ones', () => {
  const kernel = createKernel();
  kernel.loadPlain(new Uint8Array(48 << 20));
  const grown = kernel.memoryBytes;
  for (let i = 0; i < 80; i++) kernel.loadPlain(new Uint8Array(10));
  assert.ok(kernel.memoryBytes < grown / 4, `${kernel.memoryBytes} of ${grown}`);
});
