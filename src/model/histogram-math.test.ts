/** Histogram arithmetic against the obvious model: buckets as a map from upper bound to count. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FloatHistogram } from './histogram.ts';
import { allBuckets, bucketBound, indicesOfSpans, spansOfIndices } from './histogram-buckets.ts';
import {
  addHistograms,
  avgHistograms,
  detectReset,
  divideHistogram,
  equalHistograms,
  IncompatibleHistogramsError,
  scaleHistogram,
  subHistograms,
  sumHistograms,
} from './histogram-math.ts';
import { trimHistogram } from './histogram-trim.ts';

function generator(seed: number): () => number {
  let s = seed;
  return () => {
    s ^= s << 13;
    s ^= s >>> 17;
    s ^= s << 5;
    return (s >>> 0) / 2 ** 32;
  };
}

function base(): FloatHistogram {
  return {
    schema: 0,
    zeroThreshold: 0,
    zeroCount: 0,
    count: 0,
    sum: 0,
    positiveSpans: [],
    positiveBuckets: [],
    negativeSpans: [],
    negativeBuckets: [],
    customValues: [],
    counterResetHint: 0,
    integer: false,
  };
}

/** Populated buckets outside of the zero bucket. */
function randomSide(random: () => number, width: number, schema: number, zeroThreshold: number) {
  const indices: number[] = [];
  const counts: number[] = [];
  for (let i = -width; i <= width; i++) {
    if (random() < 0.6 || bucketBound(i - 1, schema, []) < zeroThreshold) continue;
    indices.push(i);
    counts.push(1 + Math.floor(random() * 20));
  }
  return spansOfIndices(indices, counts);
}

function randomExponential(random: () => number): FloatHistogram {
  const schema = Math.floor(random() * 4) - 1;
  const zeroThreshold = random() < 0.5 ? 1e-9 : 2 ** Math.floor(random() * 4 - 3);
  const positive = randomSide(random, 12, schema, zeroThreshold);
  const negative = randomSide(random, 6, schema, zeroThreshold);
  const zeroCount = Math.floor(random() * 10);
  const total = (list: number[]): number => list.reduce((a, b) => a + b, 0);
  return {
    ...base(),
    schema,
    zeroThreshold,
    zeroCount,
    count: total(positive.counts) + total(negative.counts) + zeroCount,
    sum: Math.floor((random() - 0.3) * 1000),
    positiveSpans: positive.spans,
    positiveBuckets: positive.counts,
    negativeSpans: negative.spans,
    negativeBuckets: negative.counts,
  };
}

function randomCustom(random: () => number): FloatHistogram {
  const bounds = [1, 2, 5, 10, 20, 50].filter(() => random() < 0.7);
  const counts = Array.from({ length: bounds.length + 1 }, () => Math.floor(random() * 5));
  const { spans, counts: kept } = spansOfIndices(
    counts.map((_, i) => i),
    counts,
  );
  return {
    ...base(),
    schema: -53,
    count: counts.reduce((a, b) => a + b, 0),
    sum: Math.floor(random() * 100),
    positiveSpans: spans,
    positiveBuckets: kept,
    customValues: bounds,
  };
}

/** Observations at or below `v`, where v is a bound of the histogram's layout. */
function below(h: FloatHistogram, v: number): number {
  return allBuckets(h)
    .filter(b => b.upper <= v)
    .reduce((n, b) => n + b.count, 0);
}

test('spans and indices are each other', () => {
  const { spans, counts } = spansOfIndices([-3, -2, 0, 5, 6], [1, 2, 0, 3, 4]);
  assert.deepEqual(spans, [-3, 2, 6, 2]);
  assert.deepEqual(counts, [1, 2, 3, 4]);
  assert.deepEqual(indicesOfSpans(spans), [-3, -2, 5, 6]);
});

test('bounds of buckets', () => {
  assert.equal(bucketBound(3, 0, []), 8);
  assert.equal(bucketBound(-2, 1, []), 0.5);
  assert.equal(bucketBound(1, -2, []), 16);
  assert.equal(bucketBound(1024, 0, []), Number.MAX_VALUE);
  assert.equal(bucketBound(1025, 0, []), Number.POSITIVE_INFINITY);
  assert.equal(bucketBound(-1, -53, [1, 2]), Number.NEGATIVE_INFINITY);
  assert.equal(bucketBound(2, -53, [1, 2]), Number.POSITIVE_INFINITY);
});

test('sums keep every count at every shared bound', () => {
  const random = generator(4711);
  for (let round = 0; round < 500; round++) {
    const make = round % 2 === 0 ? randomExponential : randomCustom;
    const a = make(random);
    const b = make(random);
    const frozen = structuredClone([a, b]);
    const { result } = addHistograms(a, b);
    assert.deepEqual([a, b], frozen, 'operands must not change');
    assert.equal(result.count, a.count + b.count);
    assert.equal(result.sum, a.sum + b.sum);
    for (const bucket of allBuckets(result)) {
      assert.equal(
        below(result, bucket.upper),
        below(a, bucket.upper) + below(b, bucket.upper),
        `round ${round} at ${bucket.upper}`,
      );
    }
    assert.ok(equalHistograms(addHistograms(b, a).result, result), 'addition must commute');
    const back = subHistograms(result, b).result;
    assert.equal(back.count, a.count);
    for (const bucket of allBuckets(result)) assert.equal(below(back, bucket.upper), below(a, bucket.upper));
  }
});

test('exponential and custom buckets do not mix', () => {
  const random = generator(1);
  const [a, b] = [randomExponential(random), randomCustom(random)];
  assert.throws(() => addHistograms(a, b), IncompatibleHistogramsError);
  assert.equal(sumHistograms([a, b]).result, null);
});

test('differing custom bounds are reduced to the shared ones', () => {
  const a: FloatHistogram = {
    ...base(),
    schema: -53,
    customValues: [1, 2, 4],
    positiveSpans: [0, 4],
    positiveBuckets: [1, 2, 3, 4],
    count: 10,
  };
  const b: FloatHistogram = {
    ...base(),
    schema: -53,
    customValues: [2, 3],
    positiveSpans: [0, 3],
    positiveBuckets: [10, 20, 30],
    count: 60,
  };
  const { result, reconciled } = addHistograms(a, b);
  assert.ok(reconciled);
  assert.deepEqual(result.customValues, [2]);
  assert.deepEqual(result.positiveBuckets, [13, 57]);
});

test('a sum of many does not depend on their order', () => {
  const list = [1e16, 1, -1e16, 3, 1e16, -1e16].map(n => ({
    ...base(),
    count: n,
    sum: n,
    positiveSpans: [0, 1],
    positiveBuckets: [n],
  }));
  for (const order of [list, [...list].reverse()]) {
    const { result } = sumHistograms(order);
    assert.equal(result?.count, 4);
    assert.deepEqual(result?.positiveBuckets, [4]);
  }
});

test('an average of huge histograms stays finite', () => {
  const huge = { ...base(), count: 1.7e308, sum: 1.7e308, positiveSpans: [0, 1], positiveBuckets: [1.7e308] };
  const { result } = avgHistograms([huge, huge, huge]);
  assert.ok(Math.abs((result?.sum ?? 0) / 1.7e308 - 1) < 1e-12);
});

test('scaling and dividing', () => {
  const h = { ...base(), count: 4, sum: 6, positiveSpans: [0, 1], positiveBuckets: [4] };
  assert.equal(scaleHistogram(h, -1).counterResetHint, 3);
  assert.deepEqual(divideHistogram(h, 2).positiveBuckets, [2]);
  const none = divideHistogram(h, 0);
  assert.equal(none.count, Number.POSITIVE_INFINITY);
  assert.deepEqual(none.positiveBuckets, []);
});

test('a reset is any count that fell, or what the hint says', () => {
  const random = generator(99);
  for (let round = 0; round < 300; round++) {
    const a = round % 2 === 0 ? randomExponential(random) : randomCustom(random);
    const grown = addHistograms(a, a).result;
    assert.equal(detectReset(grown, a), false, `round ${round}`);
    if (a.count > 0) assert.equal(detectReset(a, grown), true);
    assert.equal(detectReset({ ...a, counterResetHint: 2 }, grown), false);
    assert.equal(detectReset({ ...grown, counterResetHint: 1 }, a), true);
  }
});

test('a trim below and a trim above share out the observations', () => {
  const random = generator(2024);
  for (let round = 0; round < 300; round++) {
    const h = randomExponential(random);
    const bound = (random() - 0.4) * 50;
    const [under, over] = [trimHistogram(h, bound, true), trimHistogram(h, bound, false)];
    assert.ok(Math.abs(under.count + over.count - h.count) < 1e-9 * (1 + h.count), `round ${round}`);
    for (const b of allBuckets(under)) if (b.lower >= bound) assert.equal(b.count, 0);
    for (const b of allBuckets(over)) if (b.upper <= bound) assert.equal(b.count, 0);
  }
});
