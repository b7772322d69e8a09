import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { IdentityHasher } from '../../lib/identity-hash.ts';
import { ProtobufWriter } from '../../lib/protobuf.ts';
import { CUSTOM_BUCKETS_SCHEMA, HINT_GAUGE } from '../../model/histogram.ts';
import { decodeLabels, formatLabels } from '../../model/labels.ts';
import type { SampleBatch } from '../../model/sample-batch.ts';
import { BatchBuilder } from '../batch-builder.ts';
import { CLASSIC_ONLY, type HistogramOptions, schemaOfFactor } from './histogram-options.ts';
import { ProtobufExpositionReader } from './protobuf-reader.ts';
import { SeriesCache } from './series-cache.ts';
import { ExpositionReader, newCounts, type ReadCounts, type ReadOptions } from './to-batch.ts';

const hasher = new IdentityHasher(new Uint8Array(16));
const seed = hasher.tenantSeed('t');
const NOW = 1_700_000_000_000;
const NATIVE: HistogramOptions = { ...CLASSIC_ONLY, native: true };

type Write = (w: ProtobufWriter) => void;

/** `write` inside a submessage. */
const sub =
  (field: number, write: Write): Write =>
  w => {
    const start = w.begin(field);
    write(w);
    w.close(start);
  };

const all =
  (...parts: Write[]): Write =>
  w => {
    for (const part of parts) part(w);
  };

const label = (name: string, value: string): Write =>
  sub(
    1,
    all(
      w => w.string(1, name),
      w => w.string(2, value),
    ),
  );

const time = (field: number, ms: number): Write =>
  sub(
    field,
    all(
      w => w.varint(1, Math.floor(ms / 1000)),
      w => w.varint(2, (ms % 1000) * 1e6),
    ),
  );

/** One delimited MetricFamily. */
function family(name: string, type: number, ...metrics: Write[]): Uint8Array {
  const w = new ProtobufWriter();
  w.string(1, name);
  w.string(2, `Help of ${name}`);
  w.varint(3, type);
  for (const metric of metrics) sub(4, metric)(w);
  const body = w.finish().slice();
  const whole = new ProtobufWriter();
  whole.blob(1, body);
  // Without its tag, a field is a delimited message.
  return whole.finish().slice(1);
}

interface Read {
  batch: SampleBatch;
  counts: ReadCounts;
  floats: string[];
  histograms: string[];
}

function read(
  bytes: Uint8Array,
  changes: Partial<ReadOptions> = {},
  reader = new ProtobufExpositionReader(null),
  part = 1e9,
): Read {
  const builder = new BatchBuilder(hasher, seed);
  builder.reset();
  const counts = newCounts();
  const options: ReadOptions = {
    timestampMs: NOW,
    honorTimestamps: true,
    finishLabels: null,
    createdAsStart: false,
    metadata: true,
    ...changes,
  };
  reader.begin(builder);
  let place = { at: 0, line: 1 };
  while (place.at < bytes.length) {
    const limit = builder.sampleCount + builder.histogramCount + part;
    place = reader.readPart(bytes, place.at, bytes.length, place.line, builder, options, counts, limit);
  }
  reader.finish(builder, options, counts);
  const batch = builder.finish();
  const name = (i: number): string =>
    formatLabels(decodeLabels(batch.labelBytes, batch.labelStart[i], batch.labelEnd[i]));
  const floats: string[] = [];
  for (let i = 0; i < batch.seriesCount; i++) {
    for (let k = batch.sampleStart[i] as number; k < (batch.sampleStart[i + 1] as number); k++) {
      const start = batch.startTimestamps?.[k] ?? 0;
      const own = batch.timestamps[k] === NOW ? '' : ` @${batch.timestamps[k]}`;
      floats.push(`${name(i)} ${batch.values[k]}${own}${start === 0 ? '' : ` since ${start}`}`);
    }
  }
  const histograms = (batch.histograms ?? []).map(h => name(h.series));
  return { batch, counts, floats, histograms };
}

const bucket = (upper: number, cumulative: number, ...more: Write[]): Write =>
  sub(
    3,
    all(
      w => w.varint(1, cumulative),
      w => w.double(2, upper),
      ...more,
    ),
  );

const CLASSIC = all(
  w => w.varint(1, 6),
  w => w.double(2, 12.5),
  bucket(1, 2),
  bucket(2.5, 5),
);

const NATIVE_PART = all(
  w => w.zigzag(5, 3),
  w => w.double(6, 0.001),
  w => w.varint(7, 1),
  sub(
    12,
    all(
      w => w.zigzag(1, -2),
      w => w.varint(2, 3),
    ),
  ),
  w => w.packedZigzags(13, [2, 1, -3]),
);

test('counters, gauges, summaries and untyped metrics', () => {
  const exemplar = sub(
    2,
    all(label('trace', 'x'), w => w.double(2, 0.5), time(3, NOW - 5)),
  );
  const bytes = Buffer.concat([
    family(
      'c_total',
      0,
      all(
        label('a', 'b'),
        sub(
          3,
          all(w => w.double(1, 3), exemplar, time(3, NOW - 1000)),
        ),
      ),
    ),
    family(
      'g',
      1,
      sub(2, w => w.double(1, -1.5)),
      all(
        w => w.varint(6, 1234),
        sub(2, w => w.double(1, 7)),
        label('x', 'y'),
      ),
    ),
    family(
      's',
      2,
      sub(
        4,
        all(
          w => w.varint(1, 10),
          w => w.double(2, 20),
          sub(
            3,
            all(
              w => w.double(1, 0.5),
              w => w.double(2, 1.25),
            ),
          ),
        ),
      ),
    ),
    family(
      'u',
      3,
      sub(5, () => {}),
    ),
  ]);
  const { floats, batch, counts } = read(bytes);
  assert.deepEqual(floats, [
    `c_total{a="b"} 3 since ${NOW - 1000}`,
    'g -1.5',
    'g{x="y"} 7 @1234',
    's_count 10',
    's_sum 20',
    's{quantile="0.5"} 1.25',
    'u 0',
  ]);
  assert.deepEqual(batch.exemplars, [{ series: 0, timestampMs: NOW - 5, value: 0.5, labels: ['trace', 'x'] }]);
  assert.deepEqual(batch.metadata?.[0], { metric: 'c_total', type: 'counter', help: 'Help of c_total', unit: '' });
  assert.equal(batch.metadata?.length, 4);
  assert.deepEqual([counts.scraped, counts.added], [7, 7]);
  assert.deepEqual(read(bytes, { honorTimestamps: false }).floats[2], 'g{x="y"} 7');
});

test('classic histograms get their last bucket where it is missing', () => {
  const { floats } = read(family('h', 4, all(label('a', '1'), sub(7, CLASSIC))));
  assert.deepEqual(floats, [
    'h_count{a="1"} 6',
    'h_sum{a="1"} 12.5',
    'h_bucket{a="1", le="1.0"} 2',
    'h_bucket{a="1", le="2.5"} 5',
    'h_bucket{a="1", le="+Inf"} 6',
  ]);
});

test('native histograms: taken where wanted, beside the classic series or in their place', () => {
  const bytes = family('h', 4, sub(7, all(CLASSIC, NATIVE_PART)));
  assert.equal(read(bytes).floats.length, 5);
  assert.deepEqual(read(bytes).histograms, []);
  const { batch, floats } = read(bytes, { histograms: NATIVE });
  assert.deepEqual(floats, []);
  assert.deepEqual(batch.histograms?.[0]?.histogram, {
    schema: 3,
    zeroThreshold: 0.001,
    zeroCount: 1,
    count: 6,
    sum: 12.5,
    positiveSpans: [-2, 3],
    positiveBuckets: [2, 3, 0],
    negativeSpans: [],
    negativeBuckets: [],
    customValues: [],
    counterResetHint: 0,
    integer: true,
  });
  const both = read(bytes, { histograms: { ...NATIVE, keepClassic: true } });
  assert.deepEqual([both.floats.length, both.histograms], [5, ['h']]);
  const gauge = all(
    w => w.double(4, 4.5),
    w => w.double(2, 1),
    w => w.zigzag(5, 0),
    sub(
      9,
      all(
        w => w.zigzag(1, 0),
        w => w.varint(2, 1),
      ),
    ),
    w => w.packedDoubles(11, [1.5]),
    sub(
      12,
      all(
        w => w.zigzag(1, 1),
        w => w.varint(2, 1),
      ),
    ),
    w => w.packedDoubles(14, [3]),
  );
  const float = read(family('gh', 5, sub(7, gauge)), { histograms: NATIVE }).batch.histograms?.[0]?.histogram;
  assert.deepEqual(
    [float?.integer, float?.counterResetHint, float?.count, float?.negativeBuckets, float?.positiveBuckets],
    [false, HINT_GAUGE, 4.5, [1.5], [3]],
  );
});

test('a limit of buckets and a least factor make histograms coarser; an impossible limit is an error', () => {
  const spread = all(
    w => w.varint(1, 64),
    w => w.double(2, 1),
    w => w.zigzag(5, 5),
    sub(
      12,
      all(
        w => w.zigzag(1, 0),
        w => w.varint(2, 64),
      ),
    ),
    w => w.packedZigzags(13, [1, ...new Array<number>(63).fill(0)]),
  );
  const bytes = family('h', 4, sub(7, spread));
  const of = (histograms: HistogramOptions) => read(bytes, { histograms }).batch.histograms?.[0]?.histogram;
  const limited = of({ ...NATIVE, bucketsMax: 10 });
  assert.equal(limited?.schema, 2);
  assert.ok((limited?.positiveBuckets.length ?? 99) <= 10);
  assert.equal(
    limited?.positiveBuckets.reduce((a, b) => a + b, 0),
    64,
  );
  assert.equal(of({ ...NATIVE, schemaMax: schemaOfFactor(1.1) })?.schema, 2);
  assert.deepEqual([1, 1.002, 1.1, 2, 65536, 1e9].map(schemaOfFactor), [8, 8, 2, 0, -4, -4]);
  const far = all(
    w => w.varint(1, 2),
    w => w.zigzag(5, 0),
    sub(
      12,
      all(
        w => w.zigzag(1, -500),
        w => w.varint(2, 1),
      ),
    ),
    sub(
      12,
      all(
        w => w.zigzag(1, 900),
        w => w.varint(2, 1),
      ),
    ),
    w => w.packedZigzags(13, [1, 0]),
  );
  assert.throws(
    () => read(family('h', 4, sub(7, far)), { histograms: { ...NATIVE, bucketsMax: 1 } }),
    /native_histogram_bucket_limit exceeded: h has more than 1/,
  );
});

test('classic histograms become native ones with custom buckets, from the binary format and from text alike', () => {
  const options: HistogramOptions = { ...CLASSIC_ONLY, convertClassic: true };
  const binary = read(family('h', 4, all(label('a', '1'), sub(7, CLASSIC))), { histograms: options });
  assert.deepEqual([binary.floats, binary.histograms], [[], ['h{a="1"}']]);
  const text =
    '# TYPE h histogram\nh_bucket{a="1",le="1"} 2\nh_bucket{a="1",le="2.5"} 5\nh_bucket{le="+Inf",a="1"} 6\nh_sum{a="1"} 12.5\nh_count{a="1"} 6\n' +
    'h_bucket{a="2",le="+Inf"} 0\nh_count{a="2"} 0\nh_sum{a="2"} 0\n# TYPE other gauge\nother 1\n';
  const textRead = (histograms: HistogramOptions) => {
    const builder = new BatchBuilder(hasher, seed);
    const cache = new SeriesCache(seed, 1000);
    const reader = new ExpositionReader('text', cache);
    const result: { batch: SampleBatch; counts: ReadCounts }[] = [];
    for (let round = 0; round < 2; round++) {
      builder.reset();
      cache.begin();
      const counts = reader.read(Buffer.from(text), builder, {
        timestampMs: NOW,
        honorTimestamps: true,
        finishLabels: null,
        createdAsStart: false,
        metadata: false,
        histograms,
      });
      const batch = builder.finish();
      result.push({ batch, counts });
      assert.equal(cache.size, batch.seriesCount);
    }
    return result[1] as { batch: SampleBatch; counts: ReadCounts };
  };
  const { batch, counts } = textRead(options);
  assert.deepEqual([batch.seriesCount, batch.histograms?.length, counts.scraped, counts.added], [3, 2, 3, 3]);
  assert.deepEqual(batch.histograms?.[0]?.histogram, binary.batch.histograms?.[0]?.histogram);
  assert.deepEqual(batch.histograms?.[0]?.histogram, {
    schema: CUSTOM_BUCKETS_SCHEMA,
    zeroThreshold: 0,
    zeroCount: 0,
    count: 6,
    sum: 12.5,
    positiveSpans: [0, 3],
    positiveBuckets: [2, 3, 1],
    negativeSpans: [],
    negativeBuckets: [],
    customValues: [1, 2.5],
    counterResetHint: 0,
    integer: true,
  });
  const both = textRead({ ...options, keepClassic: true }).batch;
  assert.equal(both.seriesCount, 11);
  const name = (i: number): string => formatLabels(decodeLabels(both.labelBytes, both.labelStart[i], both.labelEnd[i]));
  assert.deepEqual(
    both.histograms?.map(h => name(h.series)),
    ['h{a="1"}', 'h{a="2"}'],
  );
  const rows = Array.from({ length: both.seriesCount }, (_, i) => name(i));
  assert.equal(new Set(rows).size, 11);
  const at = rows.indexOf('h_bucket{a="2", le="+Inf"}');
  assert.equal((both.sampleStart[at + 1] as number) - (both.sampleStart[at] as number), 1);
});

test('a steady scrape knows its series by their bytes; reading in parts changes nothing', () => {
  const metrics = (value: number): Write[] =>
    Array.from({ length: 50 }, (_, i) =>
      all(
        label('i', String(i)),
        sub(2, w => w.double(1, value + i)),
      ),
    );
  const cache = new SeriesCache(seed, 1000);
  const reader = new ProtobufExpositionReader(cache);
  const both = (value: number): Uint8Array =>
    Buffer.concat([family('g', 1, ...metrics(value)), family('h', 4, sub(7, all(CLASSIC, NATIVE_PART)))]);
  cache.begin();
  const first = read(both(0), { histograms: { ...NATIVE, keepClassic: true } }, reader);
  assert.equal(first.counts.newSeries, 56);
  cache.begin();
  const second = read(both(1000), { histograms: { ...NATIVE, keepClassic: true } }, reader, 7);
  assert.equal(second.counts.newSeries, 0);
  assert.deepEqual(
    second.floats.map(line => line.split(' ')[0]),
    first.floats.map(line => line.split(' ')[0]),
  );
  assert.equal(second.floats[49], 'g{i="49"} 1049');
  assert.deepEqual(second.histograms, ['h']);
  assert.equal(second.batch.metadata?.length, 2);
});

test('garbage throws errors and nothing else, and never reads on for long (seed 5)', () => {
  let state = 5;
  const next = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 4294967296;
  };
  const sound = Buffer.concat([
    family(
      'c',
      0,
      all(
        label('a', 'b'),
        sub(3, w => w.double(1, 3)),
      ),
    ),
    family('h', 4, sub(7, all(CLASSIC, NATIVE_PART))),
    family(
      's',
      2,
      sub(
        4,
        all(
          w => w.varint(1, 10),
          w => w.double(2, 20),
        ),
      ),
    ),
  ]);
  let accepted = 0;
  for (let round = 0; round < 5000; round++) {
    const bytes = Buffer.from(round % 10 === 0 ? sound.subarray(0, Math.floor(next() * sound.length)) : sound);
    if (bytes.length === 0) continue;
    for (let n = 1 + Math.floor(next() * 3); n > 0; n--)
      bytes[Math.floor(next() * bytes.length)] = Math.floor(next() * 256);
    try {
      read(bytes, { histograms: { ...NATIVE, keepClassic: true } });
      accepted++;
    } catch (error) {
      assert.match((error as Error).message, /^message \d+/, String(error));
    }
  }
  assert.ok(accepted > 100, `${accepted} accepted`);
  assert.throws(() => read(Buffer.from('<html>no metrics here</html>')), /message 1/);
  assert.throws(() => read(Buffer.from([0xff, 0xff, 0xff, 0xff, 0x7f])), /longer than the exposition/);
});

const suite = `${process.env.SIGHTLINE_SUITES ?? ''}/03-exposition/prom-text/expfmt-testdata`;

test('conformance: the binary and the text form of one exposition are the same series', {
  skip: existsSync(suite) ? false : 'skipped: needs SIGHTLINE_SUITES',
}, () => {
  const names = (file: string): string[] => {
    const bytes = readFileSync(`${suite}/${file}`);
    const reader = file.startsWith('protobuf')
      ? new ProtobufExpositionReader(null)
      : new ExpositionReader('text', null);
    return read(bytes, {}, reader as ProtobufExpositionReader)
      .floats.map(line => line.replace(/ \S+$/, ''))
      .sort();
  };
  const binary = names('protobuf');
  assert.ok(binary.length > 100);
  assert.deepEqual(binary, names('text'));
});
