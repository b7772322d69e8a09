import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { IdentityHasher } from '../../lib/identity-hash.ts';
import { decodeLabels, type Labels, labelsFromPairs, labelsKey } from '../../model/labels.ts';
import type { SampleBatch } from '../../model/sample-batch.ts';
import { isStale, putStale } from '../../model/stale.ts';
import { JsonLinesError, type JsonLinesOptions, JsonLinesParser } from './decode.ts';
import { encodeJsonLines, type JsonLinesEncodeOptions } from './encode.ts';

const hasher = new IdentityHasher(new Uint8Array(16).fill(2));
const seed = hasher.tenantSeed('default');

interface Series {
  labels: Labels;
  timestamps: number[];
  /** As bits, so that NaNs compare. */
  bits: bigint[];
}

function decode(text: string | Uint8Array, chunk = 1 << 20, options: JsonLinesOptions = {}): Series[] {
  const out: Series[] = [];
  const take = (batch: SampleBatch): void => {
    const bits = new BigUint64Array(batch.values.buffer, batch.values.byteOffset, batch.values.length);
    for (let i = 0; i < batch.seriesCount; i++) {
      const from = batch.sampleStart[i];
      const to = batch.sampleStart[i + 1];
      out.push({
        labels: decodeLabels(batch.labelBytes, batch.labelStart[i], batch.labelEnd[i]),
        timestamps: [...batch.timestamps.subarray(from, to)],
        bits: [...bits.subarray(from, to)],
      });
    }
  };
  const parser = new JsonLinesParser(hasher, seed, options);
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += chunk) for (const b of parser.feed(bytes.subarray(at, at + chunk))) take(b);
  for (const b of parser.end()) take(b);
  return out;
}

test('a line of the documented form', () => {
  const [series] = decode(
    '{"metric":{"job":"vm","__name__":"up","empty":""},"values":[1,null,"Infinity","-Inf",-0,0.1],"timestamps":[0,1,2,3,4,1549891503438]}\n',
  );
  assert.deepEqual(series?.labels, ['__name__', 'up', 'job', 'vm']);
  assert.deepEqual(series?.timestamps, [0, 1, 2, 3, 4, 1549891503438]);
  const expected = Float64Array.of(1, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0, 0.1);
  assert.deepEqual(series?.bits, [...new BigUint64Array(expected.buffer)]);
});

test('what is encoded decodes to the same, in chunks and lines of any size', () => {
  const text = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 8 });
  const special = fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0, 0, 5e-324);
  const sample = fc.tuple(fc.nat(1e9), fc.oneof(fc.double({ noNaN: true }), special), fc.boolean());
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.array(fc.tuple(text, text), { maxLength: 4 }), fc.array(sample, { maxLength: 20 })), {
        maxLength: 4,
      }),
      fc.integer({ min: 1, max: 60 }),
      fc.integer({ min: 1, max: 7 }),
      fc.boolean(),
      (list, chunk, maxSamplesPerLine, keepStale) => {
        const options: JsonLinesEncodeOptions = { maxSamplesPerLine, keepStale };
        let encoded = '';
        const expected = new Map<string, Series>();
        list.forEach(([pairs, samples], n) => {
          const labels = labelsFromPairs([...pairs, ['__name__', `m${n}`]]);
          const values = Float64Array.from(samples, s => s[1]);
          samples.forEach((s, i) => {
            if (s[2] && i % 3 === 0) putStale(values, i);
          });
          const timestamps = Float64Array.from(samples, s => s[0]);
          for (const line of encodeJsonLines(labels, timestamps, values, samples.length, options)) encoded += line;
          const kept = samples.map((_, i) => i).filter(i => keepStale || !isStale(values, i));
          const bits = new BigUint64Array(values.buffer);
          if (kept.length === 0) return;
          expected.set(labelsKey(labels), {
            labels,
            timestamps: kept.map(i => timestamps[i] as number),
            bits: kept.map(i => bits[i] as bigint),
          });
        });
        const got = new Map<string, Series>();
        for (const s of decode(encoded, chunk, { maxBatchSamples: 5 })) {
          const known = got.get(labelsKey(s.labels));
          if (known === undefined) got.set(labelsKey(s.labels), s);
          else {
            known.timestamps.push(...s.timestamps);
            known.bits.push(...s.bits);
          }
        }
        assert.deepEqual([...got.values()], [...expected.values()]);
      },
    ),
    { seed: 21, numRuns: 300 },
  );
});

test('a bad line is named, and left out if the caller says so', () => {
  const good = '{"metric":{"__name__":"a"},"values":[1],"timestamps":[5]}';
  const bad: [string | Uint8Array, RegExp][] = [
    ['{"metric":', /not JSON/],
    ['[]', /"metric" is not an object/],
    ['7', /not an object/],
    ['{"metric":{"__name__":1},"values":[1],"timestamps":[5]}', /label "__name__" is not a text/],
    ['{"metric":{"job":"x"},"values":[1],"timestamps":[5]}', /no __name__/],
    ['{"metric":{"__name__":"a"},"values":[1,2],"timestamps":[5]}', /2 values do not fit 1 timestamps/],
    ['{"metric":{"__name__":"a"},"values":[1],"timestamps":[5.5]}', /timestamp 0 is 5.5/],
    ['{"metric":{"__name__":"a"},"values":[1],"timestamps":[-1]}', /timestamp 0 is -1/],
    ['{"metric":{"__name__":"a"},"values":["x"],"timestamps":[1]}', /value 0 is "x"/],
    ['{"metric":{"__name__":"a","":"x"},"values":[1],"timestamps":[1]}', /name is empty/],
    ['{"metric":{"__name__":"\\ud800"},"values":[1],"timestamps":[1]}', /surrogate/],
    [Buffer.from('7b226d6574726963223a7b22ff223a22227d7d', 'hex'), /not valid UTF-8/],
    [`{"metric":{"__name__":"${'x'.repeat(3000)}"},"values":[1],"timestamps":[1]}`, /longer than 2000 bytes/],
  ];
  for (const [line, message] of bad) {
    const body = Buffer.concat([Buffer.from(`${good}\n\n`), Buffer.from(line), Buffer.from(`\n${good}`)]);
    for (const chunk of [7, 50, 10_000]) {
      const errors: JsonLinesError[] = [];
      const options = { maxLineBytes: 2000, onError: (e: JsonLinesError) => errors.push(e) > 0 };
      assert.equal(decode(body, chunk, options).length, 2, String(message));
      assert.equal(errors.length, 1);
      assert.match(errors[0]!.message, message);
      assert.equal(errors[0]!.line, 3);
    }
    const parser = new JsonLinesParser(hasher, seed, { maxLineBytes: 2000 });
    let before = 0;
    assert.throws(() => {
      for (const b of parser.feed(body)) before += b.seriesCount;
      for (const b of parser.end()) before += b.seriesCount;
    }, JsonLinesError);
    assert.equal(before, 1);
  }
});

const HISTOGRAM = {
  schema: 3,
  zeroThreshold: 0.001,
  zeroCount: 1,
  count: 8,
  sum: 0.7,
  positiveSpans: [-6, 2, 3, 1],
  positiveBuckets: [1, 2, 3],
  negativeSpans: [0, 1],
  negativeBuckets: [1],
  customValues: [],
  counterResetHint: 0,
  integer: true,
};

function histogramLine(more: Record<string, unknown>, timestamps: number[] = [5]): string {
  return JSON.stringify({ metric: { __name__: 'h' }, histograms: [{ ...HISTOGRAM, ...more }], timestamps });
}

function histogramsOf(line: string): unknown[] {
  const parser = new JsonLinesParser(hasher, seed);
  return [...parser.feed(Buffer.from(`${line}\n`)), ...parser.end()].flatMap(b => b.histograms ?? []);
}

test('native histograms: what was given is taken, what is left out is empty', () => {
  const nan = { ...HISTOGRAM, integer: false, count: 9.5, sum: Number.NaN, counterResetHint: 3 };
  const custom = {
    ...HISTOGRAM,
    schema: -53,
    zeroThreshold: 0,
    zeroCount: 0,
    count: 6,
    customValues: [1, 2, 3, 4, 5, 6],
  };
  const nhcb = { ...custom, positiveSpans: [0, 3], negativeSpans: [], negativeBuckets: [] };
  for (const histogram of [HISTOGRAM, nan, nhcb]) {
    const line = histogramLine({ ...histogram, sum: Number.isNaN(histogram.sum) ? 'NaN' : histogram.sum });
    assert.deepEqual(histogramsOf(line), [{ series: 0, timestampMs: 5, startTimestampMs: 0, histogram }]);
  }
  const [short] = histogramsOf('{"metric":{"__name__":"h"},"histograms":[{}],"timestamps":[7]}') as {
    histogram: { count: number; positiveSpans: number[]; integer: boolean };
  }[];
  assert.deepEqual([short?.histogram.count, short?.histogram.positiveSpans, short?.histogram.integer], [0, [], false]);
});

test('a histogram that is none is refused with what is wrong', () => {
  const bad: [string, RegExp][] = [
    [histogramLine({ schema: 9 }), /line 1: histogram 0: schema 9/],
    [histogramLine({ schema: 0.5 }), /schema 0.5/],
    [histogramLine({ count: 9 }), /7 observations|8 observations/],
    [histogramLine({ positiveSpans: [0, 2] }), /positive spans cover 2 buckets, but 3/],
    [histogramLine({ positiveSpans: [0, 3, 1] }), /a span has no length/],
    [histogramLine({ positiveSpans: [0, 4, 1, -1] }), /whole numbers/],
    [histogramLine({ zeroCount: 0.5, integer: true }), /not whole/],
    [histogramLine({ counterResetHint: 4 }), /hint 4/],
    [histogramLine({ negativeBuckets: ['x'] }), /"negativeBuckets" holds/],
    [histogramLine({ customValues: 7 }), /"customValues" is not a list/],
    [histogramLine({ integer: 1 }), /"integer"/],
    [histogramLine({ buckets: [] }), /unknown key "buckets"/],
    [histogramLine({}, [1, 2]), /1 histograms do not fit 2 timestamps/],
    ['{"metric":{"__name__":"h"},"histograms":[3],"timestamps":[1]}', /histogram 0: it is not an object/],
    ['{"metric":{"__name__":"h"},"histograms":{},"timestamps":[1]}', /"histograms" is not an array/],
    ['{"metric":{"__name__":"h"},"histograms":[],"values":[],"timestamps":[]}', /do not stand in one line/],
  ];
  for (const [line, message] of bad) assert.throws(() => histogramsOf(line), message);
});

test('damaged lines throw JsonLinesErrors and nothing else (seed 4)', () => {
  let a = 4;
  const next = (): number => {
    a = (Math.imul(a, 1664525) + 1013904223) >>> 0;
    return a / 4294967296;
  };
  const line =
    '{"metric":{"__name__":"up","job":"a\\u00e9"},"values":[1,null,"Infinity",2e3],"timestamps":[1,2,3,4]}\n';
  let accepted = 0;
  for (let i = 0; i < 5000; i++) {
    const bytes = Buffer.from(i % 2 === 0 ? line : `${histogramLine({})}\n`);
    for (let n = i % 3; n >= 0; n--) bytes[Math.floor(next() * bytes.length)] = Math.floor(next() * 256);
    try {
      decode(bytes);
      accepted++;
    } catch (error) {
      assert.ok(error instanceof JsonLinesError, String(error));
    }
  }
  assert.ok(accepted > 20, `${accepted} accepted`);
});

test('bare infinities and NaN, as VictoriaMetrics 1.79 writes them, are taken among values only', () => {
  const parser = new JsonLinesParser(hasher, hasher.tenantSeed('t'));
  const line =
    '{"metric":{"__name__":"m","l":"\\"values\\":[-Inf,1]"},"values":[1,-Inf,+Inf,Inf,NaN],"timestamps":[1,2,3,4,5]}\n';
  const [batch] = [...parser.feed(Buffer.from(line)), ...parser.end()];
  assert.deepEqual([...(batch as SampleBatch).values.subarray(0, 5)], [1, -Infinity, Infinity, Infinity, Number.NaN]);
  const bad = new JsonLinesParser(hasher, hasher.tenantSeed('t'));
  const wrong = '{"metric":{"__name__":"m"},"values":[1],"timestamps":[Inf]}\n';
  assert.throws(() => [...bad.feed(Buffer.from(wrong))], /line 1: it is not JSON/);
});
