import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Random } from '../../../test/support/random.ts';
import { metricsFromJson, OtlpJsonError } from './json.ts';
import { nanos, request, TestDecoder } from './testing.ts';

function bytes(json: unknown): Uint8Array {
  return metricsFromJson(Buffer.from(JSON.stringify(json)));
}

test('snake_case, strings for numbers, names of enums, unknown fields and nulls', () => {
  const json = {
    resource_metrics: [
      {
        resource: null,
        some_day: { a: [1] },
        scope_metrics: [
          {
            metrics: [
              {
                name: 'c',
                sum: {
                  is_monotonic: true,
                  aggregation_temporality: 'AGGREGATION_TEMPORALITY_CUMULATIVE',
                  data_points: [
                    { time_unix_nano: nanos(1), as_int: '9223372036854775807' },
                    { timeUnixNano: nanos(2), as_double: 'Infinity' },
                  ],
                },
              },
            ],
          },
        ],
      },
    ],
  };
  assert.deepEqual(new TestDecoder().lines(json), ['c_total 9223372036854776000 @1', 'c_total Infinity @2']);
});

test('what is wrong is named with its path', () => {
  const cases: [unknown, RegExp][] = [
    [[], /^the body: must be an object/],
    [{ resourceMetrics: {} }, /^resourceMetrics: must be a list/],
    [{ resourceMetrics: [{ scopeMetrics: [{ metrics: [{ name: 1 }] }] }] }, /metrics\[0\]\.name: must be a string/],
    [
      request([{ name: 'g', gauge: { dataPoints: [{ timeUnixNano: '-1' }] } }]),
      /timeUnixNano: -1 does not fit 64 bits without a sign/,
    ],
    [request([{ name: 'g', gauge: { dataPoints: [{ asDouble: 'x' }] } }]), /asDouble: must be a number/],
    [
      request([{ name: 'g', gauge: { dataPoints: [{ exemplars: [{ traceId: 'xyz' }] }] } }]),
      /traceId: must be text in hex/,
    ],
  ];
  for (const [json, message] of cases) assert.throws(() => bytes(json), { name: 'OtlpJsonError', message });
  assert.throws(() => metricsFromJson(Buffer.from('{')), OtlpJsonError);
  assert.throws(() => metricsFromJson(Buffer.from([0xff])), OtlpJsonError);
  let value: unknown = { stringValue: 'x' };
  for (let i = 0; i < 200; i++) value = { arrayValue: { values: [value] } };
  const deep = { resourceMetrics: [{ resource: { attributes: [{ key: 'a', value }] } }] };
  assert.throws(() => bytes(deep), /nested deeper/);
});

test('mutated JSON throws OtlpJsonErrors and nothing else (seed 5)', () => {
  const random = new Random(5);
  const pieces = ['{}', '[]', 'null', '-1', '1e400', '"x"', 'true', '{"doubleValue":{}}', '12345678901234567890123'];
  const point = { timeUnixNano: nanos(1), asInt: 1, attributes: [{ key: 'a', value: { stringValue: 'b' } }] };
  const text = JSON.stringify(request([{ name: 'g', gauge: { dataPoints: [point] } }]));
  const decoder = new TestDecoder();
  for (let round = 0; round < 5000; round++) {
    const at = random.int(text.length);
    const mutated = text.slice(0, at) + random.pick(pieces) + text.slice(at + random.int(20));
    try {
      decoder.bytes(metricsFromJson(Buffer.from(mutated)));
    } catch (error) {
      if (!(error instanceof OtlpJsonError)) throw error;
    }
  }
});
