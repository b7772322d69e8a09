import assert from 'node:assert/strict';
import { test } from 'node:test';
import { attributes, nanos, request, TestDecoder } from './testing.ts';

const DELTA = 1;

function times(from: number, to: number): object {
  return { startTimeUnixNano: nanos(from), timeUnixNano: nanos(to) };
}

function counter(from: number, to: number, value: number, key = 'a'): unknown {
  const dataPoints = [{ ...times(from, to), attributes: attributes({ key }), asDouble: value }];
  return request([{ name: 'c', sum: { isMonotonic: true, aggregationTemporality: DELTA, dataPoints } }]);
}

test('numbers add up; a gap adds nothing; a repeat gives the total again; an older point is refused', () => {
  const decoder = new TestDecoder();
  const series = 'c_total{job="shop", key="a"}';
  assert.deepEqual(decoder.lines(counter(0, 10, 5)), [`${series} 5 @10 start @0`]);
  assert.deepEqual(decoder.lines(counter(10, 20, 1.5)), [`${series} 6.5 @20 start @0`]);
  assert.deepEqual(decoder.lines(counter(40, 50, 2)), [`${series} 8.5 @50 start @0`]);
  assert.deepEqual(decoder.lines(counter(40, 50, 2)), [`${series} 8.5 @50 start @0`]);
  const { batch, rejected } = decoder.decode(counter(20, 30, 100));
  assert.equal(batch.seriesCount, 0);
  assert.equal(rejected[0]?.reason, 'out_of_order');
  assert.match(rejected[0]?.example as string, /metric "c": a delta point 20000 ms older/);
  assert.deepEqual(decoder.lines(counter(50, 60, 1)), [`${series} 9.5 @60 start @0`]);
});

test('explicit histograms add up by bucket, and begin anew when their bounds change', () => {
  const decoder = new TestDecoder();
  const histogram = (from: number, to: number, explicitBounds: number[], bucketCounts: number[]): unknown => {
    const count = bucketCounts.reduce((a, b) => a + b);
    const dataPoints = [{ ...times(from, to), count, sum: count * 2, explicitBounds, bucketCounts }];
    return request([{ name: 'h', histogram: { aggregationTemporality: DELTA, dataPoints } }]);
  };
  const values = (json: unknown): string[] =>
    decoder.lines(json).map(line => line.replace(/.*?(le="[^"]*")?\} /, '$1 ').trim());
  values(histogram(0, 10, [1, 2], [1, 0, 2]));
  assert.deepEqual(values(histogram(10, 20, [1, 2], [0, 4, 1])), [
    '8 @20 start @0',
    '16 @20 start @0',
    'le="1" 1 @20 start @0',
    'le="2" 5 @20 start @0',
    'le="+Inf" 8 @20 start @0',
  ]);
  assert.deepEqual(values(histogram(20, 30, [1, 3], [1, 1, 1])).slice(0, 1), ['3 @30 start @20']);
});

test('native histograms add up over scales, and their resolution falls rather than their buckets grow without bound', () => {
  const decoder = new TestDecoder();
  const native = (to: number, scale: number, offset: number, bucketCounts: number[], more: object = {}): unknown => {
    const count = bucketCounts.reduce((a, b) => a + b);
    const dataPoints = [{ ...times(to - 10, to), count, sum: 1, scale, positive: { offset, bucketCounts }, ...more }];
    return request([{ name: 'e', exponentialHistogram: { aggregationTemporality: DELTA, dataPoints } }]);
  };
  const of = (json: unknown) => {
    const { batch, rejected } = decoder.decode(json);
    assert.deepEqual(rejected, []);
    return batch.histograms?.[0];
  };
  of(native(10, 1, 0, [1, 1, 1, 1]));
  const second = of(native(20, 0, 0, [5, 5]));
  assert.equal(second?.histogram.schema, 0);
  assert.deepEqual(second?.histogram.positiveBuckets, [7, 7]);
  assert.equal(second?.histogram.count, 14);
  assert.equal(second?.histogram.sum, 2);
  assert.equal(second?.histogram.integer, true);
  for (let i = 3; i < 40; i++) of(native(i * 10, 0, i * 100 - 1900, new Array<number>(100).fill(1)));
  const last = of(native(500, 0, 0, [1]));
  assert.ok((last?.histogram.positiveBuckets.length as number) <= 640);
  assert.equal(last?.histogram.count, 14 + 37 * 100 + 1);
  assert.ok((last?.histogram.schema as number) < 0);
});

test('a series without points for long begins anew; the number of totals is bounded', () => {
  const decoder = new TestDecoder({ deltaMaxSeries: 2, deltaMaxStaleMs: 60_000 });
  decoder.lines(counter(0, 10, 5, 'a'));
  decoder.lines(counter(0, 10, 5, 'b'));
  const { rejected } = decoder.decode(counter(0, 10, 5, 'c'));
  assert.equal(rejected[0]?.reason, 'too_many_delta_series');
  decoder.nowMs += 61_000;
  assert.deepEqual(decoder.lines(counter(60, 70, 1, 'a')), ['c_total{job="shop", key="a"} 1 @70 start @60']);
  decoder.nowMs += 61_000;
  assert.deepEqual(decoder.lines(counter(130, 140, 3, 'c')), ['c_total{job="shop", key="c"} 3 @140 start @130']);
  assert.equal(decoder.deltas.size, 1);
});

test('refused item by item where the configuration says so', () => {
  const { rejected, batch } = new TestDecoder({ delta: 'refuse' }).decode(counter(0, 10, 5));
  assert.equal(batch.seriesCount, 0);
  assert.deepEqual(rejected, [
    {
      reason: 'invalid_temporality',
      count: 1,
      example:
        'metric "c": its temporality is delta, which otlp.delta refuses: have the sender report cumulative temporality',
    },
  ]);
});
