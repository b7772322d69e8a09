import assert from 'node:assert/strict';
import { test } from 'node:test';
import zlib from 'node:zlib';
import { IdentityHasher } from '../../lib/identity-hash.ts';
import { createJsKernel, createKernel } from '../../lib/kernel/kernel.ts';
import { ProtobufWriter } from '../../lib/protobuf.ts';
import { snappyCompress, snappyDecompress } from '../../lib/snappy.ts';
import { CUSTOM_BUCKETS_SCHEMA, type FloatHistogram, HINT_GAUGE } from '../../model/histogram.ts';
import { decodeLabels, encodeLabels } from '../../model/labels.ts';
import type { SampleBatch } from '../../model/sample-batch.ts';
import { isStale, putStale } from '../../model/stale.ts';
import { type DecodedWrite, decodeWriteRequest, WriteDecodeError } from './decode.ts';
import { decodeWriteRequestV2 } from './decode-v2.ts';
import { encodeWriteRequest, encodeWriteRequestV2, type WriteSeries } from './encode.ts';
import { histogramProblem } from './histogram.ts';

const hasher = new IdentityHasher(new Uint8Array(32).fill(3));
const seed = hasher.tenantSeed('team-a');
const kernels = [createKernel(), createJsKernel()];
const T = 1_700_000_000_000;

function series(labels: string[], value = 1, time = T): WriteSeries {
  return { labels, timestamps: [time], values: Float64Array.of(value) };
}

/** Decodes 1.0 with both kernels, checks that they agree, and returns the result as plain data. */
function decode(message: Uint8Array): ReturnType<typeof plain> {
  const results = kernels.map(k => plain(decodeWriteRequest(snappyCompress(message), 'snappy', seed, k)));
  assert.deepEqual(results[0], results[1]);
  return results[0] as ReturnType<typeof plain>;
}

function decodeV2(message: Uint8Array): ReturnType<typeof plain> {
  return plain(decodeWriteRequestV2(snappyCompress(message), 'snappy', seed, kernels[0]!));
}

function plain({ batch, rejected, dropped }: DecodedWrite): {
  rows: { labels: string[]; samples: [number, number, number][] }[];
  histograms: unknown;
  exemplars: unknown;
  metadata: unknown;
  rejected: unknown[];
  dropped: unknown[];
} {
  checkHashes(batch);
  const rows = [];
  for (let i = 0; i < batch.seriesCount; i++) {
    const samples: [number, number, number][] = [];
    for (let k = batch.sampleStart[i] as number; k < (batch.sampleStart[i + 1] as number); k++) {
      samples.push([batch.timestamps[k] as number, batch.values[k] as number, batch.startTimestamps?.[k] ?? 0]);
    }
    rows.push({ labels: [...decodeLabels(batch.labelBytes, batch.labelStart[i], batch.labelEnd[i])], samples });
  }
  return structuredClone({
    rows,
    histograms: batch.histograms,
    exemplars: batch.exemplars,
    metadata: batch.metadata,
    rejected,
    dropped,
  });
}

/** Every row's hash is that of its canonical encoding under the seed. */
function checkHashes(batch: SampleBatch): void {
  const expected = new Uint32Array(4);
  for (let i = 0; i < batch.seriesCount; i++) {
    const encoded = encodeLabels(decodeLabels(batch.labelBytes, batch.labelStart[i], batch.labelEnd[i]));
    assert.deepEqual(batch.labelBytes.slice(batch.labelStart[i], batch.labelEnd[i]), encoded);
    hasher.hash(seed, encoded, 0, encoded.length, expected, 0);
    assert.deepEqual(batch.hashes.slice(i * 4, i * 4 + 4), expected);
  }
}

const HISTOGRAM: FloatHistogram = {
  schema: 2,
  zeroThreshold: 0.001,
  zeroCount: 2,
  count: 17,
  sum: 33.5,
  positiveSpans: [-3, 2, 5, 1],
  positiveBuckets: [4, 1, 6],
  negativeSpans: [0, 1],
  negativeBuckets: [4],
  customValues: [],
  counterResetHint: HINT_GAUGE,
  integer: true,
};
const FLOAT_HISTOGRAM: FloatHistogram = { ...HISTOGRAM, integer: false, count: 17.5, zeroCount: 2.5 };
const CUSTOM_HISTOGRAM: FloatHistogram = {
  ...HISTOGRAM,
  schema: CUSTOM_BUCKETS_SCHEMA,
  zeroThreshold: 0,
  zeroCount: 0,
  count: 11,
  negativeSpans: [],
  negativeBuckets: [],
  positiveSpans: [0, 2, 1, 1],
  customValues: [0.1, 1, 10],
};

test('canonical rows pass as they stand, the others are put in order', () => {
  const message = encodeWriteRequest([
    series(['__name__', 'up', 'job', 'a']),
    series(['job', 'a', '__name__', 'up', 'empty', '', 'é', '漢']),
    {
      labels: ['A', 'upper case sorts first', '__name__', 'up'],
      timestamps: [T, T + 1],
      values: Float64Array.of(1, 2),
    },
  ]);
  const { rows, rejected } = decode(message);
  assert.deepEqual(rejected, []);
  assert.deepEqual(rows, [
    { labels: ['__name__', 'up', 'job', 'a'], samples: [[T, 1, 0]] },
    { labels: ['__name__', 'up', 'job', 'a', 'é', '漢'], samples: [[T, 1, 0]] },
    {
      labels: ['A', 'upper case sorts first', '__name__', 'up'],
      samples: [
        [T, 1, 0],
        [T + 1, 2, 0],
      ],
    },
  ]);
});

test('rows that cannot be kept are left out, counted, and named', () => {
  const bad = (name: string, value: Uint8Array): Uint8Array => {
    const w = new ProtobufWriter();
    const row = w.begin(1);
    for (const [n, v] of [
      ['__name__', Buffer.from('m')],
      [name, value],
    ] as const) {
      const label = w.begin(1);
      w.string(1, n);
      w.blob(2, v);
      w.close(label);
    }
    w.close(row);
    return w.finish().slice();
  };
  const message = Buffer.concat([
    encodeWriteRequest([series(['__name__', 'first']), series(['job', 'no name']), series([])]),
    bad('a', Uint8Array.of(0xff)),
    bad('b', Uint8Array.of(0xed, 0xa0, 0x80)),
    bad('', Buffer.from('x')),
    encodeWriteRequest([
      series(['__name__', 'm', 'a', '1', 'a', '2']),
      series(['__name__', '']),
      { labels: ['__name__', 'last'], timestamps: [-5, T, 2 ** 60], values: Float64Array.of(1, 2, 3) },
    ]),
  ]);
  const { rows, rejected } = decode(message);
  assert.deepEqual(rows, [
    { labels: ['__name__', 'first'], samples: [[T, 1, 0]] },
    { labels: ['__name__', 'last'], samples: [[T, 2, 0]] },
  ]);
  const byReason = rejected as { reason: string; count: number; example: string }[];
  assert.deepEqual(
    byReason.map(r => [r.reason, r.count]),
    [
      ['invalid_labels', 7],
      ['invalid_timestamp', 2],
    ],
  );
  assert.match(byReason[0]!.example, /^series 1 \(byte \d+ of the message\): it has no metric name/);
  assert.match(byReason[1]!.example, /^series 8: sample at -5 ms/);
});

test('histograms, exemplars and metadata of 1.0', () => {
  const message = encodeWriteRequest(
    [
      { ...series(['__name__', 'gone', '__name__', 'twice']), histograms: [{ timestampMs: T, histogram: HISTOGRAM }] },
      {
        ...series(['__name__', 'h']),
        histograms: [HISTOGRAM, FLOAT_HISTOGRAM, CUSTOM_HISTOGRAM].map(histogram => ({ timestampMs: T, histogram })),
        exemplars: [
          { labels: ['trace_id', 'abc'], value: 0.5, timestampMs: T },
          { labels: ['too_long', 'x'.repeat(200)], value: 0.5, timestampMs: T },
        ],
      },
    ],
    [{ type: 1, metric: 'http_requests_total', help: 'Total.', unit: 'requests' }],
  );
  const result = decode(message);
  assert.deepEqual(
    result.histograms,
    [HISTOGRAM, FLOAT_HISTOGRAM, CUSTOM_HISTOGRAM].map(histogram => ({
      series: 0,
      timestampMs: T,
      startTimestampMs: 0,
      histogram,
    })),
  );
  assert.deepEqual(result.exemplars, [{ series: 0, timestampMs: T, value: 0.5, labels: ['trace_id', 'abc'] }]);
  assert.deepEqual(result.metadata, [
    { metric: 'http_requests_total', type: 'counter', help: 'Total.', unit: 'requests' },
  ]);
  assert.equal(result.rejected.length, 1);
  assert.deepEqual(
    (result.dropped as { reason: string }[]).map(d => d.reason),
    ['invalid_exemplar'],
  );
});

test('histograms that contradict themselves are refused with the reason', () => {
  const problems: [Partial<FloatHistogram>, RegExp][] = [
    [{ count: 18 }, /17 observations in the buckets do not fit the count 18/],
    [{ sum: Number.NaN, count: 16 }, /do not fit/],
    [{ schema: 53 }, /schema 53/],
    [{ schema: -5 }, /schema -5/],
    [{ schema: -53 }, /zero bucket/],
    [{ positiveSpans: [0, 2, -1, 1] }, /span 1 has the negative offset/],
    [{ positiveSpans: [0, 2] }, /positive spans cover 2 buckets, but 3 are given/],
    [{ negativeBuckets: [-4] }, /negative count -4/],
    [{ customValues: [1] }, /custom bounds with an exponential schema/],
    [{ zeroThreshold: -1 }, /zero threshold/],
    [{ integer: false, count: -1 }, /count -1 is negative/],
  ];
  for (const [change, expected] of problems) assert.match(histogramProblem({ ...HISTOGRAM, ...change }), expected);
  const custom: [Partial<FloatHistogram>, RegExp][] = [
    [{ customValues: [1, 1, 2] }, /custom bound 1 is 1 after 1/],
    [{ customValues: [1, 2, Number.POSITIVE_INFINITY] }, /custom bound 2/],
    [{ customValues: [1, Number.NaN, 2] }, /custom bound 1/],
    [{ customValues: [1, 2] }, /spans reach bucket 4, but the bounds make only 3/],
    [{ negativeSpans: [0, 1] }, /negative buckets/],
  ];
  for (const [change, expected] of custom) assert.match(histogramProblem({ ...CUSTOM_HISTOGRAM, ...change }), expected);
  assert.equal(histogramProblem(CUSTOM_HISTOGRAM), '');
  assert.equal(histogramProblem({ ...HISTOGRAM, sum: Number.NaN, count: 18 }), '');
});

test('a schema finer than 8 is brought down to 8', () => {
  const fine: FloatHistogram = {
    ...HISTOGRAM,
    schema: 9,
    positiveSpans: [1, 3],
    positiveBuckets: [4, 1, 6],
    negativeSpans: [],
    negativeBuckets: [],
    count: 13,
  };
  const finest = { ...fine, schema: 52, positiveSpans: [-5, 1, 2 ** 31 - 5, 1], positiveBuckets: [3, 8] };
  const message = encodeWriteRequest([
    { ...series(['__name__', 'h']), histograms: [fine, finest].map(histogram => ({ timestampMs: T, histogram })) },
  ]);
  const { histograms, rejected } = decode(message);
  assert.deepEqual(rejected, []);
  const [a, b] = histograms as { histogram: FloatHistogram }[];
  assert.deepEqual(a!.histogram, { ...fine, schema: 8, positiveSpans: [1, 2], positiveBuckets: [5, 6] });
  // Bucket -5 of schema 52 ends at 2^(-5 / 2^52), which lies in bucket 0 of schema 8.
  assert.deepEqual(b!.histogram, { ...finest, schema: 8, positiveSpans: [0, 2], positiveBuckets: [3, 8] });
});

test('special values keep their bits in 1.0 and 2.0', () => {
  const values = Float64Array.of(Number.NaN, -0, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 5e-324, 0);
  putStale(values, 0);
  const s: WriteSeries = { labels: ['__name__', 'm'], timestamps: [1, 2, 3, 4, 5, 6].map(i => T + i), values };
  const expected = [...new BigUint64Array(values.buffer)];
  const check = (batch: SampleBatch): void => {
    assert.deepEqual([...new BigUint64Array(batch.values.slice(0, 6).buffer)], expected);
    assert.ok(isStale(batch.values, 0));
  };
  for (const kernel of kernels) check(decodeWriteRequest(encodeWriteRequest([s]), '', seed, kernel).batch);
  check(decodeWriteRequestV2(encodeWriteRequestV2([s]), '', seed, kernels[0]!).batch);
  // A stale histogram has the marker for its sum.
  const stale = { ...HISTOGRAM, sum: values[0] as number, count: 20 };
  const message = encodeWriteRequest([{ ...s, histograms: [{ timestampMs: T, histogram: stale }] }]);
  const { batch } = decodeWriteRequest(message, '', seed, kernels[0]!);
  assert.ok(isStale(Float64Array.of(batch.histograms![0]!.histogram.sum), 0));
});

test('2.0: symbols, start timestamps, metadata of each metric once', () => {
  const result = decodeV2(
    encodeWriteRequestV2([
      {
        labels: ['job', 'a', '__name__', 'http_total'],
        timestamps: [T, T + 1],
        values: Float64Array.of(1, 2),
        startTimestamps: [T - 1000, 0],
        exemplars: [{ labels: ['trace_id', 'x'], value: 9, timestampMs: T }],
        metadata: { type: 1, help: 'Total.', unit: '' },
      },
      {
        ...series(['__name__', 'http_total', 'job', 'b']),
        metadata: { type: 1, help: 'Total.', unit: '' },
        histograms: [{ timestampMs: T, startTimestampMs: T - 5, histogram: CUSTOM_HISTOGRAM }],
      },
      series(['job', 'no name']),
    ]),
  );
  assert.deepEqual(result.rows, [
    {
      labels: ['__name__', 'http_total', 'job', 'a'],
      samples: [
        [T, 1, T - 1000],
        [T + 1, 2, 0],
      ],
    },
    { labels: ['__name__', 'http_total', 'job', 'b'], samples: [[T, 1, 0]] },
  ]);
  assert.deepEqual(result.metadata, [{ metric: 'http_total', type: 'counter', help: 'Total.', unit: '' }]);
  assert.deepEqual(result.exemplars, [{ series: 0, timestampMs: T, value: 9, labels: ['trace_id', 'x'] }]);
  assert.deepEqual(result.histograms, [
    { series: 1, timestampMs: T, startTimestampMs: T - 5, histogram: CUSTOM_HISTOGRAM },
  ]);
  assert.equal((result.rejected[0] as { count: number }).count, 1);
});

test('2.0: references outside the table refuse the row, not the request', () => {
  const w = new ProtobufWriter();
  w.string(4, '');
  w.string(4, '__name__');
  w.string(4, 'm');
  for (const refs of [[1, 2], [1, 3], [1], [0, 2, 1, 2], [1, 2, 1, 2], [1, 0]]) {
    const row = w.begin(5);
    w.packedVarints(1, refs);
    w.close(row);
  }
  const { rows, rejected } = decodeV2(w.finish().slice());
  assert.deepEqual(rows, [{ labels: ['__name__', 'm'], samples: [] }]);
  assert.equal((rejected[0] as { count: number }).count, 5);
  w.clear();
  w.string(4, 'not empty');
  assert.throws(() => decodeV2(w.finish().slice()), /first symbol is not the empty string/);
});

test('encodings, and what is wrong with a body', () => {
  const message = encodeWriteRequest([series(['__name__', 'up'])]);
  for (const kernel of kernels) {
    const run = (body: Uint8Array, encoding: string): number =>
      decodeWriteRequest(body, encoding, seed, kernel).batch.seriesCount;
    assert.equal(run(message, ''), 1);
    assert.equal(run(snappyCompress(message), ''), 1);
    assert.equal(run(zlib.zstdCompressSync(message), 'zstd'), 1);
    assert.equal(run(new Uint8Array(0), ''), 0);
    const fails = (body: Uint8Array, encoding: string, expected: RegExp): WriteDecodeError => {
      try {
        run(body, encoding);
      } catch (error) {
        assert.ok(error instanceof WriteDecodeError, String(error));
        assert.match(error.message, expected);
        return error;
      }
      throw new Error('it was accepted');
    };
    assert.ok(fails(message, 'br', /"br" is not supported/).unsupported);
    assert.ok(fails(zlib.gzipSync(message), 'gzip', /"gzip" is not supported/).unsupported);
    fails(message.subarray(0, 10), '', /runs past the end of its message \(series -?\d+, byte \d+ of 10\)/);
    fails(Buffer.from('not protobuf at all'), '', /wrong wire type|runs past|field number/);
    assert.ok(fails(message, 'zstd', /the body is not/).unsupported);
    fails(zlib.zstdCompressSync(message).subarray(0, 9), 'zstd', /cannot decompress zstd/);
    for (const e of ['gzip', 'deflate', 'identity']) assert.ok(fails(message, e, /is not supported/).unsupported);
    fails(message, 'snappy', /cannot decompress snappy/);
    assert.ok(fails(zlib.zstdCompressSync(Buffer.alloc(65 << 20)), 'zstd', /larger than 67108864/).tooLarge);
  }
});

test('damaged requests of both versions throw WriteDecodeErrors and nothing else (seed 7)', () => {
  let a = 7;
  const next = (): number => {
    a = (Math.imul(a, 1664525) + 1013904223) >>> 0;
    return a / 4294967296;
  };
  const rich: WriteSeries[] = [
    {
      ...series(['__name__', 'h', 'job', 'a']),
      histograms: [HISTOGRAM, FLOAT_HISTOGRAM, CUSTOM_HISTOGRAM].map(histogram => ({ timestampMs: T, histogram })),
      exemplars: [{ labels: ['trace_id', 'abc'], value: 0.5, timestampMs: T }],
      metadata: { type: 3, help: 'help', unit: 's' },
    },
    series(['z', 'unsorted', '__name__', 'm']),
  ];
  const messages = [
    encodeWriteRequest(rich, [{ type: 2, metric: 'm', help: 'h', unit: 'u' }]),
    encodeWriteRequestV2(rich),
  ];
  let accepted = 0;
  for (let i = 0; i < 8000; i++) {
    const bytes = messages[i % 2]!.slice();
    for (let n = 0; n < 1 + (i % 3); n++) bytes[Math.floor(next() * bytes.length)] = Math.floor(next() * 256);
    const body = bytes.subarray(0, next() < 0.8 ? bytes.length : Math.floor(next() * bytes.length));
    for (const kernel of i % 2 === 0 ? kernels : kernels.slice(0, 1)) {
      try {
        const decodeAny = i % 2 === 0 ? decodeWriteRequest : decodeWriteRequestV2;
        plain(decodeAny(body, '', seed, kernel));
        accepted++;
      } catch (error) {
        assert.ok(error instanceof WriteDecodeError, `${error} for ${Buffer.from(bytes).toString('hex')}`);
      }
    }
  }
  assert.ok(accepted > 500, `${accepted} accepted`);
});

test('snappy in JavaScript is its own inverse and refuses damage', () => {
  for (const size of [0, 1, 15, 16, 60, 61, 300, 65535, 65536, 65537, 200_000]) {
    const plainBytes = Uint8Array.from({ length: size }, (_, i) => ((i % 251) ^ (i >> 9)) & 0xff);
    const block = snappyCompress(plainBytes);
    assert.deepEqual(snappyDecompress(block, size), plainBytes);
    if (size > 0) assert.throws(() => snappyDecompress(block, size - 1), /at most/);
    if (size > 60) assert.throws(() => snappyDecompress(block.subarray(0, block.length - 1), size));
  }
});
