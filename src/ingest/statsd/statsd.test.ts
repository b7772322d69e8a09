import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Random } from '../../../test/support/random.ts';
import { parseDuration } from '../../lib/duration.ts';
import { IdentityHasher } from '../../lib/identity-hash.ts';
import { decodeLabels, formatLabels } from '../../model/labels.ts';
import { isStale } from '../../model/stale.ts';
import { BatchBuilder } from '../batch-builder.ts';
import { readStatsdLine, type StatsdLineError } from './line.ts';
import { Mapping, MappingError } from './mapping.ts';
import { Sketch, WindowSketch } from './sketch.ts';
import { StatsdState } from './state.ts';

const OBSERVER = { type: 'summary', buckets: [0.1, 1], quantiles: [0.5, 0.9], windowMs: 600_000 } as const;
const hasher = new IdentityHasher(new Uint8Array(32));

function mapping(document: unknown = null): Mapping {
  return new Mapping(document, { observer: OBSERVER, ttlMs: 60_000 }, parseDuration);
}

function stateOf(document: unknown = null, seriesMax = 1000) {
  const dropped: Record<string, number> = {};
  const onDropped = (reason: string, count: number): void => {
    dropped[reason] = (dropped[reason] ?? 0) + count;
  };
  const state = new StatsdState({ mapping: mapping(document), seriesMax, onDropped });
  const builder = new BatchBuilder(hasher, hasher.tenantSeed('default'));
  const flush = (timeMs: number): string[] => {
    builder.reset();
    state.flush(builder, timeMs);
    const batch = builder.finish();
    return Array.from({ length: batch.seriesCount }, (_, i) => {
      const labels = decodeLabels(batch.labelBytes, batch.labelStart[i], batch.labelEnd[i]);
      const row = batch.sampleStart[i] as number;
      assert.equal(batch.timestamps[row], timeMs);
      return `${formatLabels(labels)} ${isStale(batch.values, row) ? 'STALE' : batch.values[row]}`;
    }).sort();
  };
  const take = (...lines: string[]): void => {
    for (const line of lines) state.take(line, 1000);
  };
  return { state, take, flush, dropped };
}

test('lines of every dialect', () => {
  const tagged = { name: 'n', tags: ['a', 'b', 'c', 'd'] };
  const sample = { type: 'c', text: '1', value: 1, relative: false, rate: 1 };
  for (const line of ['n:1|c|#a:b,c:d', 'n,a=b,c=d:1|c', 'n#a=b,c=d:1|c', 'n[a=b,c=d]:1|c']) {
    assert.deepEqual(readStatsdLine(line), { ...tagged, samples: [sample] }, line);
  }
  assert.deepEqual(
    readStatsdLine('n:1:2:3|ms|@0.5|#a:b|c:abc:def|T1656581400').samples.map(s => [s.value, s.rate, s.type]),
    [
      [1, 0.5, 'ms'],
      [2, 0.5, 'ms'],
      [3, 0.5, 'ms'],
    ],
  );
  assert.deepEqual(readStatsdLine('n:1:2|ms|#a:b').tags, ['a', 'b']);
  assert.deepEqual(readStatsdLine('n,a=b,c=d:1:2|ms').tags, ['a', 'b', 'c', 'd']);
  assert.deepEqual(
    readStatsdLine('n:200|ms:300|ms:5|c|@0.1:6|g:+7|g').samples.map(s => [s.value, s.type, s.rate, s.relative]),
    [
      [200, 'ms', 1, false],
      [300, 'ms', 1, false],
      [5, 'c', 0.1, false],
      [6, 'g', 1, false],
      [7, 'g', 1, true],
    ],
  );
  assert.deepEqual(readStatsdLine('n:1|c|#bare,url:http://x:80').tags, ['bare', 'true', 'url', 'http://x:80']);
});

test('what is no metric is dropped by reason', () => {
  const reasons = Object.fromEntries(
    [
      '_e{5,4}:title|text',
      '_sc|name|0',
      'foo',
      ':1|c',
      'foo:1',
      'foo:|c',
      'foo:1|q',
      'foo:x|c',
      'foo:1|c|@2',
      'foo,a=b:1|c|#c:d',
      'foo,=b:1|c',
      'foo:1e999|g',
    ].map(line => {
      try {
        return [line, readStatsdLine(line)];
      } catch (error) {
        return [line, (error as StatsdLineError).reason];
      }
    }),
  );
  assert.deepEqual(reasons, {
    '_e{5,4}:title|text': 'event',
    '_sc|name|0': 'service_check',
    foo: 'malformed_line',
    ':1|c': 'malformed_line',
    'foo:1': 'malformed_line',
    'foo:|c': 'malformed_line',
    'foo:1|q': 'unknown_type',
    'foo:x|c': 'bad_value',
    'foo:1|c|@2': 'bad_sampling_rate',
    'foo,a=b:1|c|#c:d': 'mixed_tag_styles',
    'foo,=b:1|c': 'malformed_tags',
    'foo:1e999|g': 'bad_value',
  });
});

test('counters, gauges, sets and timers add up over flushes', () => {
  const { take, flush } = stateOf();
  take('req.ok:3|c|#env:a', 'req.ok:1|c|@0.1|#env:a', 'temp:20|g', 'temp:-5|g', 'u:x|s', 'u:y|s', 'u:x|s');
  take('t:100|ms', 't:300|ms|@0.5', 'h:5|h');
  const first = flush(10_000);
  assert.deepEqual(
    first.filter(line => !line.includes('quantile')),
    ['h_count 1', 'h_sum 5', 'req_ok{env="a"} 13', 't_count 3', 't_sum 0.7', 'temp 15', 'u 2'],
  );
  // To within 1 %: of three observations of which the longer counts twice, it is the median.
  for (const [start, value] of [
    ['h{quantile="0.5"} ', 5],
    ['t{quantile="0.5"} ', 0.3],
    ['t{quantile="0.9"} ', 0.3],
  ] as const) {
    const line = first.find(one => one.startsWith(start)) ?? '';
    assert.ok(Math.abs(Number(line.slice(start.length)) - value) <= 0.01 * value, line);
  }
  take('req.ok:1|c|#env:a', 'temp:+1|g');
  const second = flush(20_000);
  assert.ok(second.includes('req_ok{env="a"} 14'), second.join('\n'));
  assert.ok(second.includes('temp 16'));
  assert.ok(second.includes('u 0'));
});

test('idle series go with a marker, and may come again', () => {
  const { state, take, flush } = stateOf();
  take('a:1|c', 'b:1|g');
  flush(10_000);
  state.take('b:2|g', 65_000);
  assert.deepEqual(flush(70_000), ['a STALE', 'b 2']);
  assert.deepEqual(flush(80_000), ['b 2']);
  assert.equal(state.seriesCount, 1);
  state.take('a:5|c', 81_000);
  assert.deepEqual(flush(90_000), ['a 5', 'b 2']);
});

test('bounds: series, conflicting types, counters that sink', () => {
  const { take, flush, dropped } = stateOf(null, 3);
  take('a:1|c', 'a:1|g', 'b:1|c|#x:1', 'b:1|c|#x:2', 'b:1|c|#x:3', 'b:1|c|#x:3', 'a:-1|c', 'a:1|c|#le:1');
  assert.deepEqual(dropped, { type_conflict: 1, too_many_series: 3, negative_counter: 1 });
  assert.deepEqual(flush(10_000), ['a 1', 'b{x="1"} 1', 'b{x="2"} 1']);
});

const braced = (name: string): string => ['$', '{', name, '}'].join('');

test('rules: globs, expressions, types, drop, scale, ttl', () => {
  const { take, flush, dropped } = stateOf({
    defaults: { observer_type: 'histogram', histogram_options: { buckets: [0.1, 0.2] } },
    mappings: [
      { match: 'app.*.request.*', name: 'app_requests_total', labels: { app: '$1', code: braced('2') } },
      { match: 'app.*.secret', name: 'x', action: 'drop' },
      {
        match: 'lat.*',
        name: 'latency',
        labels: { op: '$1' },
        observer_type: 'summary',
        quantiles: [{ quantile: 0.5, error: 0.1 }],
      },
      { match: 'size.*', match_metric_type: 'gauge', name: 'size_bytes', scale: 1024, labels: { of: '$1' } },
      {
        match: '^disk\\.(?P<dev>[a-z]+)(\\d+)\\.',
        match_type: 'regex',
        name: `disk_${braced('dev')}`,
        labels: { n: '$2' },
      },
    ],
  });
  take(
    'app.web.request.200:1|c|#app:tag',
    'app.web.secret:1|c',
    'lat.get:5|h',
    'size.db:2|g',
    'disk.sd1.x:4|g',
    'plain.t:150|ms',
  );
  take('size.db:1|c');
  const lines = flush(10_000);
  assert.ok(lines.includes('app_requests_total{app="web", code="200"} 1'), lines.join('\n'));
  assert.ok(lines.includes('size_bytes{of="db"} 2048'));
  assert.ok(lines.includes('size_db 1'));
  assert.ok(lines.includes('disk_sd{n="1"} 4'));
  assert.ok(lines.includes('plain_t_bucket{le="0.1"} 0'));
  assert.ok(lines.includes('plain_t_bucket{le="0.2"} 1'));
  assert.ok(lines.includes('plain_t_bucket{le="+Inf"} 1'));
  assert.ok(lines.includes('latency_count{op="get"} 1'));
  assert.deepEqual(dropped, { mapping: 1 });
});

test('a mapping that is wrong is named by its place', () => {
  for (const [document, message] of [
    [{ mappings: [{ match: 'a' }] }, /mappings\[0\]\.name: must be a text/],
    [{ mappings: [{ match: 'a*', name: 'x' }] }, /mappings\[0\]\.match: a star/],
    [{ mappings: [{ match: '(', match_type: 'regex', name: 'x' }] }, /mappings\[0\]\.match: /],
    [{ mappings: [{ match: 'a', name: 'x', ttl: 'soon' }] }, /mappings\[0\]\.ttl: must be a duration/],
    [{ mappings: {} }, /mappings: must be a list/],
    [{ defaults: { buckets: [2, 1] } }, /defaults\.buckets: must be ascending/],
    [[], /the mapping: must be a map/],
  ] as const) {
    assert.throws(
      () => mapping(document),
      error => error instanceof MappingError && message.test(error.message),
      String(message),
    );
  }
});

test('quantiles lie within 1 % of the true ones, weights counted', () => {
  const random = new Random(3);
  const sketch = new Sketch();
  const all: number[] = [];
  for (let i = 0; i < 5000; i++) {
    const value = Math.exp(random.unit() * 20 - 10) * (random.chance(0.3) ? -1 : 1);
    const weight = 1 + random.int(3);
    sketch.add(value, weight);
    for (let k = 0; k < weight; k++) all.push(value);
  }
  all.sort((a, b) => a - b);
  const quantiles = [0, 0.1, 0.5, 0.9, 0.99, 1];
  const out = new Float64Array(quantiles.length);
  sketch.quantiles(quantiles, out);
  for (const [i, q] of quantiles.entries()) {
    const true_ = all[Math.max(0, Math.ceil(q * all.length) - 1)] as number;
    assert.ok(Math.abs((out[i] as number) - true_) <= 0.0101 * Math.abs(true_), `${q}: ${out[i]} for ${true_}`);
  }
  const empty = new Float64Array(1);
  new Sketch().quantiles([0.5], empty);
  assert.ok(Number.isNaN(empty[0]));
});

test('fuzz: any bytes are taken or dropped, and state stays within its bound', () => {
  const random = new Random(11);
  const { state, flush } = stateOf(null, 50);
  const alphabet = 'ab.:|@#,=[]cgmshd0123456789+-eT_{}é\0 ';
  for (let round = 0; round < 20_000; round++) {
    let line = random.chance(0.5) ? 'foo:1|c|@0.5|#a:b' : '';
    for (let i = 0; i < random.int(20); i++) {
      const at = random.int(line.length + 1);
      line = line.slice(0, at) + alphabet[random.int(alphabet.length)] + line.slice(at + random.int(2));
    }
    state.take(line, round);
    assert.ok(state.seriesCount <= 50);
  }
  assert.ok(flush(20_000).length > 0);
});

test('quantiles are those of the window, also below zero', () => {
  const window = new WindowSketch(1000);
  const out = new Float64Array(2);
  const median = (nowMs: number): number => {
    window.quantiles([0.5, 1], nowMs, out);
    return out[0] as number;
  };
  window.add(-5, 1, 0);
  window.add(0, 1, 100);
  window.add(7, 1, 300);
  assert.deepEqual([median(400), out[1]], [0, 7]);
  // The first fifth of the window is over.
  assert.equal(median(1100), 7);
  assert.ok(Number.isNaN(median(5000)));
  window.add(3, 1, 5100);
  assert.equal(median(5100), 3);
});
