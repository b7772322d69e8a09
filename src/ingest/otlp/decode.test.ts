import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Random } from '../../../test/support/random.ts';
import { ProtobufError, ProtobufWriter } from '../../lib/protobuf.ts';
import { WriteDecodeError } from '../remote-write/decode.ts';
import { metricsFromJson } from './json.ts';
import { attributes, linesOf, nanos, request, T0_MS, TestDecoder } from './testing.ts';

const CUMULATIVE = 2;

function gauge(name: string, points: unknown[], more: object = {}): unknown {
  return { name, gauge: { dataPoints: points }, ...more };
}

function point(attrs: Record<string, unknown>, value: object, second = 1): object {
  return { attributes: attributes(attrs), timeUnixNano: nanos(second), ...value };
}

/** Series of target_info left out. */
function lines(decoder: TestDecoder, json: unknown): string[] {
  return decoder.lines(json).filter(line => !line.startsWith('target_info'));
}

test('gauges and sums: integers exactly, start times of counters, markers for what has no value', () => {
  const decoder = new TestDecoder();
  const start = { startTimeUnixNano: nanos(-60) };
  const json = request([
    gauge('temp', [
      point({ at: 'a' }, { asDouble: -1.5, ...start }),
      point({ at: 'b' }, { asInt: '-9007199254740991' }),
      point({ at: 'c' }, { flags: 1 }),
      point({ at: 'd' }, { asDouble: 'NaN' }),
    ]),
    {
      name: 'hits',
      sum: { isMonotonic: true, aggregationTemporality: CUMULATIVE, dataPoints: [point({}, { asInt: 7, ...start })] },
    },
    { name: 'open', sum: { aggregationTemporality: CUMULATIVE, dataPoints: [point({}, { asInt: '3', ...start })] } },
  ]);
  const expected = [
    'temp{at="a", job="shop"} -1.5 @1',
    'temp{at="b", job="shop"} -9007199254740991 @1',
    'temp{at="c", job="shop"} stale @1',
    'temp{at="d", job="shop"} NaN @1',
    'hits_total{job="shop"} 7 @1 start @-60',
    'open{job="shop"} 3 @1',
  ];
  assert.deepEqual(lines(decoder, json), expected);
  // And from the cache.
  assert.deepEqual(lines(decoder, json), expected);
});

test('times are whole milliseconds, exactly; a point without one is refused', () => {
  const decoder = new TestDecoder();
  const at = (timeUnixNano: string): unknown => request([gauge('g', [{ timeUnixNano, asInt: 1 }])]);
  for (const ns of ['1700000000123000000', '1700000000123999999', '1000000', '9223372036854775807']) {
    const { batch } = decoder.decode(at(ns));
    assert.equal(batch.timestamps[0], Number(BigInt(ns) / 1_000_000n), ns);
  }
  const { rejected, points } = decoder.decode(at('0'));
  assert.equal(points, 0);
  assert.deepEqual(rejected, [{ reason: 'invalid_timestamp', count: 1, example: 'metric "g": a point has no time' }]);
});

test('explicit histograms: buckets add up, exemplars stand at theirs, no sum where none is given', () => {
  const decoder = new TestDecoder();
  const json = request([
    {
      name: 'wait',
      unit: 's',
      histogram: {
        aggregationTemporality: CUMULATIVE,
        dataPoints: [
          {
            ...point({ q: 'x' }, {}),
            count: '6',
            sum: 12.5,
            explicitBounds: [0.1, 2.5],
            bucketCounts: ['1', 2, '3'],
            exemplars: [
              {
                asDouble: 2,
                timeUnixNano: nanos(0.5),
                traceId: '0AF7651916CD43DD8448EB211C80319C',
                spanId: 'b7ad6b7169203331',
              },
              { asInt: '9', filteredAttributes: attributes({ user: 'u1' }) },
            ],
          },
          { ...point({ q: 'none' }, {}), count: 4 },
        ],
      },
    },
  ]);
  const expected = [
    'wait_seconds_count{job="shop", q="x"} 6 @1',
    'wait_seconds_sum{job="shop", q="x"} 12.5 @1',
    'wait_seconds_bucket{job="shop", le="0.1", q="x"} 1 @1',
    'wait_seconds_bucket{job="shop", le="2.5", q="x"} 3 @1',
    'wait_seconds_bucket{job="shop", le="2.5", q="x"} # {span_id="b7ad6b7169203331", trace_id="0af7651916cd43dd8448eb211c80319c"} 2 @0.5',
    'wait_seconds_bucket{job="shop", le="+Inf", q="x"} 6 @1',
    'wait_seconds_bucket{job="shop", le="+Inf", q="x"} # {user="u1"} 9 @1',
    'wait_seconds_count{job="shop", q="none"} 4 @1',
    'wait_seconds_bucket{job="shop", le="+Inf", q="none"} 4 @1',
  ];
  assert.deepEqual(lines(decoder, json), expected);
  assert.deepEqual(lines(decoder, json), expected);
});

test('explicit histograms as native ones with custom buckets', () => {
  const decoder = new TestDecoder({ convertHistogramsToNhcb: true });
  const p = { ...point({}, {}), count: 6, sum: 12.5, explicitBounds: [0.1, 1, 2.5], bucketCounts: [1, 0, 2, 3] };
  const [line] = lines(decoder, request([{ name: 'wait', histogram: { aggregationTemporality: 2, dataPoints: [p] } }]));
  assert.equal(
    line,
    'wait{job="shop"} {"schema":-53,"zeroThreshold":0,"zeroCount":0,"count":6,"sum":12.5,"positiveSpans":[0,1,1,2],' +
      '"positiveBuckets":[1,2,3],"negativeSpans":[],"negativeBuckets":[],"customValues":[0.1,1,2.5]} @1',
  );
});

function exponential(point1: object): unknown {
  return request([
    {
      name: 'size',
      exponentialHistogram: { aggregationTemporality: 2, dataPoints: [{ ...point({}, {}), ...point1 }] },
    },
  ]);
}

test('exponential histograms: buckets shift by one, fine scales come down, coarse ones are refused', () => {
  const decoder = new TestDecoder();
  const of = (
    p: object,
  ): { schema: number; positiveSpans: number[]; positiveBuckets: number[]; negativeBuckets: number[] } => {
    const { batch, rejected } = decoder.decode(exponential(p));
    assert.deepEqual(rejected, []);
    return batch.histograms?.[0]?.histogram as never;
  };
  const plain = of({
    scale: 0,
    count: 6,
    zeroCount: 1,
    positive: { offset: -1, bucketCounts: [1, 0, 3] },
    negative: { offset: 2, bucketCounts: ['1'] },
  });
  assert.deepEqual(plain.positiveSpans, [0, 1, 1, 1]);
  assert.deepEqual(plain.positiveBuckets, [1, 3]);
  assert.deepEqual(plain.negativeBuckets, [1]);
  // Scale 10 to schema 8: four buckets become one; index 7 and 8 -> 1 + 1, 9..11 -> 2 + 1.
  const fine = of({ scale: 10, count: 15, positive: { offset: 7, bucketCounts: [1, 2, 3, 4, 5] } });
  assert.equal(fine.schema, 8);
  assert.deepEqual(fine.positiveSpans, [2, 2]);
  assert.deepEqual(fine.positiveBuckets, [1, 14]);
  const below = of({ scale: 9, count: 3, positive: { offset: -3, bucketCounts: [1, 1, 1] } });
  assert.deepEqual(below.positiveSpans, [-1, 2]);
  assert.deepEqual(below.positiveBuckets, [1, 2]);
  for (const [p, why] of [
    [{ scale: -5, count: 0 }, /scale -5 is not between/],
    [{ scale: 0, count: 5, positive: { bucketCounts: [1] } }, /do not fit the count 5/],
  ] as const) {
    const { rejected } = decoder.decode(exponential(p));
    assert.equal(rejected[0]?.reason, 'invalid_histogram');
    assert.match(rejected[0]?.example as string, why);
    assert.match(rejected[0]?.example as string, /metric "size"/);
  }
  const { batch } = decoder.decode(exponential({ flags: 1 }));
  assert.equal(linesOf(batch)[0], 'size{job="shop"} stale @1');
});

test('summaries', () => {
  const p = {
    ...point({}, {}),
    count: '10',
    sum: 5,
    quantileValues: [
      { quantile: 0.5, value: 0.25 },
      { quantile: 1, value: 2 },
    ],
  };
  assert.deepEqual(lines(new TestDecoder(), request([{ name: 'rpc', summary: { dataPoints: [p] } }])), [
    'rpc_count{job="shop"} 10 @1',
    'rpc_sum{job="shop"} 5 @1',
    'rpc{job="shop", quantile="0.5"} 0.25 @1',
    'rpc{job="shop", quantile="1"} 2 @1',
  ]);
});

test('resources: job, instance, target_info, promotion', () => {
  const json = request(
    [gauge('g', [point({ 'k8s.pod': 'own', 'a.b': 1 }, { asInt: 1 }), point({ a_b: 2, 'a.b': 1 }, { asInt: 2 }, 2)])],
    {
      'service.name': 'web',
      'service.namespace': 'shop',
      'service.instance.id': 'i-1',
      'k8s.pod': 'p',
      'host.name': 'h',
    },
  );
  const info = 'target_info{host_name="h", instance="i-1", job="shop/web", k8s_pod="p"} 1';
  assert.deepEqual(new TestDecoder().lines(json), [
    'g{a_b="1", instance="i-1", job="shop/web", k8s_pod="own"} 1 @1',
    'g{a_b="1;2", instance="i-1", job="shop/web"} 2 @2',
    `${info} @1`,
    `${info} @2`,
  ]);
  const promoted = new TestDecoder({ promoteResourceAttributes: ['k8s.pod', 'service.name'] }).lines(json);
  assert.equal(promoted[1], 'g{a_b="1;2", instance="i-1", job="shop/web", k8s_pod="p", service_name="web"} 2 @2');
  assert.equal(promoted[0], 'g{a_b="1", instance="i-1", job="shop/web", k8s_pod="own", service_name="web"} 1 @1');
  const all = new TestDecoder({ promoteAllResourceAttributes: true, ignoreResourceAttributes: ['host.name'] });
  assert.match(all.lines(json)[0] as string, /service_namespace="shop"/);
  assert.doesNotMatch(all.lines(json)[0] as string, /host_name/);
  const kept = new TestDecoder({ keepIdentifyingResourceAttributes: true }).lines(json);
  assert.match(kept.at(-1) as string, /service_instance_id="i-1", service_name="web", service_namespace="shop"/);
  const off = new TestDecoder({ targetInfo: false }).lines(json);
  assert.equal(off.length, 2);
});

test('target_info only for what is identified and says more; samples no farther apart than queries look back', () => {
  const one = [gauge('g', [point({}, { asInt: 1 }, 0), point({}, { asInt: 1 }, 400)])];
  const infos = (resource: Record<string, unknown>): string[] =>
    new TestDecoder({ lookbackMs: 300_000 }).lines(request(one, resource)).filter(l => l.startsWith('target_info'));
  assert.deepEqual(infos({ 'service.name': 'a' }), []);
  assert.deepEqual(infos({ 'host.name': 'h' }), []);
  const info = 'target_info{host_name="h", job="a"} 1';
  assert.deepEqual(
    infos({ 'service.name': 'a', 'host.name': 'h' }),
    [0, 150, 300, 400].map(s => `${info} @${s}`),
  );
});

test('scope labels and names as they are', () => {
  const json = request([gauge('http.used', [point({ 'a.b': 'x' }, { asInt: 1 })], { unit: 'By' })]);
  const decoder = new TestDecoder({ promoteScopeMetadata: true, translationStrategy: 'NoTranslation' });
  assert.deepEqual(decoder.lines(json), [
    '{"http.used", "a.b"="x", job="shop", otel_scope_name="lib", otel_scope_version="1.2"} 1 @1',
  ]);
});

test('values of attributes that are no strings', () => {
  const decoder = new TestDecoder();
  const value = (v: unknown): string => {
    const { batch } = decoder.decode(request([gauge('g', [point({ v }, { asInt: 1 })])]));
    return /v="(.*)"\} 1 @1$/.exec(linesOf(batch)[0] as string)?.[1]?.replaceAll('\\"', '"') as string;
  };
  assert.equal(value(true), 'true');
  assert.equal(value(-5), '-5');
  assert.equal(value(9223372036854775807n), '9223372036854775807');
  assert.equal(value(1.5), '1.5');
  assert.equal(value(['a', 1, false]), '["a",1,false]');
  assert.equal(value({ b: 2, a: ['<'] }), '{"a":["\\\\u003c"],"b":2}');
});

test('points that cannot be kept are named; the others are kept', () => {
  const decoder = new TestDecoder();
  const json = request([
    gauge('no.value', [point({}, {})]),
    gauge('???', [point({}, { asInt: 1 })]),
    { name: 'odd', sum: { dataPoints: [point({}, { asInt: 1 }), point({ a: 1 }, { asInt: 1 })] } },
    gauge('attr', [point({ '...': 'x' }, { asInt: 1 })]),
    {
      name: 'h',
      histogram: {
        aggregationTemporality: 2,
        dataPoints: [{ ...point({}, {}), explicitBounds: [2, 1], bucketCounts: [1, 1, 1] }],
      },
    },
    { name: 'nothing' },
    gauge('good', [point({}, { asInt: 1 })]),
  ]);
  const { rejected, points, batch } = decoder.decode(json);
  assert.equal(points, 1);
  assert.deepEqual(linesOf(batch), ['good{job="shop"} 1 @1']);
  assert.deepEqual(
    rejected.map(r => [r.reason, r.count]),
    [
      ['invalid_value', 1],
      ['invalid_labels', 2],
      ['invalid_temporality', 2],
      ['invalid_histogram', 1],
    ],
  );
  for (const r of rejected) assert.match(r.example, /^metric "(no\.value|\?\?\?|odd|h)": /);
});

test('fields in any order, attributes that do not stand together, a header behind the data', () => {
  const w = new ProtobufWriter();
  const keyValue = (field: number, key: string, value: string): void => {
    const kv = w.begin(field);
    w.string(1, key);
    const any = w.begin(2);
    w.string(1, value);
    w.close(any);
    w.close(kv);
  };
  const words = new Uint32Array(new BigUint64Array([BigInt(nanos(1))]).buffer);
  const resourceMetrics = w.begin(1);
  const scopeMetrics = w.begin(2);
  const metric = w.begin(2);
  const sum = w.begin(7);
  const p = w.begin(1);
  keyValue(7, 'a', '1');
  w.doubleFrom(3, words, 0);
  keyValue(7, 'b', '2');
  w.double(4, 2.5);
  keyValue(7, 'c', '3');
  w.close(p);
  w.varint(3, 1);
  w.varint(2, 2);
  w.close(sum);
  w.string(1, 'late');
  w.close(metric);
  w.close(scopeMetrics);
  const resource = w.begin(1);
  keyValue(1, 'service.name', 'behind');
  w.close(resource);
  w.close(resourceMetrics);
  const decoder = new TestDecoder();
  for (let i = 0; i < 2; i++) {
    const { batch } = decoder.bytes(w.finish());
    assert.deepEqual(linesOf(batch), ['late_total{a="1", b="2", c="3", job="behind"} 2.5 @1']);
  }
});

test('metadata goes along once per stretch of time', () => {
  const decoder = new TestDecoder();
  const json = request([gauge('g', [point({}, { asInt: 1 })], { description: 'Help.', unit: 'By' })]);
  assert.deepEqual(decoder.decode(json).batch.metadata, [
    { metric: 'g_bytes', type: 'gauge', help: 'Help.', unit: 'By' },
  ]);
  assert.equal(decoder.decode(json).batch.metadata, null);
  decoder.nowMs += 200_000;
  assert.equal(decoder.decode(json).batch.metadata?.length, 1);
});

test('damaged messages throw ProtobufErrors and nothing else; whatever is kept is a sound batch (seed 21)', () => {
  const random = new Random(21);
  const start = { startTimeUnixNano: nanos(-60) };
  const message = metricsFromJson(
    Buffer.from(
      JSON.stringify(
        request(
          [
            gauge('g', [
              point(
                { a: ['x', { b: 1 }] },
                { asInt: 1, exemplars: [{ asInt: 1, traceId: 'ab', filteredAttributes: attributes({ c: 'd' }) }] },
              ),
            ]),
            {
              name: 's',
              sum: { isMonotonic: true, aggregationTemporality: 1, dataPoints: [point({}, { asDouble: 1, ...start })] },
            },
            {
              name: 'h',
              histogram: {
                aggregationTemporality: 1,
                dataPoints: [
                  { ...point({ l: 'm' }, start), count: 3, sum: 1, explicitBounds: [1, 2], bucketCounts: [1, 1, 1] },
                ],
              },
            },
            {
              name: 'e',
              exponentialHistogram: {
                aggregationTemporality: 1,
                dataPoints: [
                  {
                    ...point({}, start),
                    count: 4,
                    zeroCount: 1,
                    scale: 9,
                    positive: { offset: 3, bucketCounts: [1, 2] },
                  },
                ],
              },
            },
            {
              name: 'q',
              summary: {
                dataPoints: [{ ...point({}, start), count: 1, sum: 1, quantileValues: [{ quantile: 0.5, value: 1 }] }],
              },
            },
          ],
          { 'service.name': 's', 'host.name': 'h' },
        ),
      ),
    ),
  );
  const decoder = new TestDecoder({ promoteScopeMetadata: true });
  let refused = 0;
  for (let round = 0; round < 20_000; round++) {
    const bytes = message.slice(0, random.chance(0.3) ? random.int(message.length) : message.length);
    for (let k = random.int(4); k >= 0 && bytes.length > 0; k--) bytes[random.int(bytes.length)] = random.int(256);
    try {
      const { batch } = decoder.bytes(bytes);
      for (let i = 0; i < batch.seriesCount; i++)
        assert.ok((batch.labelStart[i] as number) < (batch.labelEnd[i] as number));
      const rows = batch.sampleStart[batch.seriesCount] as number;
      for (let i = 0; i < rows; i++)
        assert.ok(Number.isSafeInteger(batch.timestamps[i]) && (batch.timestamps[i] as number) > 0);
    } catch (error) {
      if (!(error instanceof ProtobufError || error instanceof WriteDecodeError)) throw error;
      refused++;
    }
  }
  assert.ok(refused > 5000 && refused < 19_000, `${refused} refused`);
  // And it still works.
  decoder.nowMs = T0_MS + 1e9;
  assert.ok(decoder.bytes(message).points >= 4);
});
