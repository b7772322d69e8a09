import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { hasher, NOW, OPTIONS, type Row, read, readAll, rowsOf, seed } from '../../../test/support/exposition.ts';
import { decodeLabels, encodeLabels, labelsFromPairs } from '../../model/labels.ts';
import type { SampleBatch } from '../../model/sample-batch.ts';
import { BatchBuilder } from '../batch-builder.ts';
import { LabelSet } from '../label-set.ts';
import { parseFloatBytes } from './float.ts';
import { ImportParser } from './import.ts';
import { ExpositionError } from './parser.ts';
import { SeriesCache } from './series-cache.ts';
import { type ExpositionFormat, readSeries, TextError } from './series-text.ts';
import { ExpositionReader } from './to-batch.ts';

test('samples, families and timestamps of the text format', () => {
  const batch = read(`# HELP http_requests_total Total\\nof "all".
# TYPE http_requests_total counter
http_requests_total{code="200",path="a\\"b\\\\c\\nd"} 1027 1395066363000
http_requests_total {code = "400" , } 3\r
# a comment
# TYPE rpc histogram
rpc_bucket{le="1"} 5
rpc_bucket{le="+Inf"} 7
\trpc_sum 1.5e3
no_labels{}  -Inf
`);
  assert.deepEqual(rowsOf(batch), [
    {
      labels: { __name__: 'http_requests_total', code: '200', path: 'a"b\\c\nd' },
      timestamp: 1395066363000,
      value: 1027,
      start: 0,
    },
    { labels: { __name__: 'http_requests_total', code: '400' }, timestamp: NOW, value: 3, start: 0 },
    { labels: { __name__: 'rpc_bucket', le: '1.0' }, timestamp: NOW, value: 5, start: 0 },
    { labels: { __name__: 'rpc_bucket', le: '+Inf' }, timestamp: NOW, value: 7, start: 0 },
    { labels: { __name__: 'rpc_sum' }, timestamp: NOW, value: 1500, start: 0 },
    { labels: { __name__: 'no_labels' }, timestamp: NOW, value: Number.NEGATIVE_INFINITY, start: 0 },
  ]);
  assert.deepEqual(batch.metadata, [
    { metric: 'http_requests_total', type: 'counter', help: 'Total\nof "all".', unit: '' },
    { metric: 'rpc', type: 'histogram', help: '', unit: '' },
  ]);
});

test('errors name line and column', () => {
  const at = (text: string, line: number, column: number, message: RegExp, format: ExpositionFormat = 'text'): void => {
    try {
      readAll(Buffer.from(text), format);
    } catch (error) {
      assert.ok(error instanceof ExpositionError, String(error));
      assert.match(error.message, message);
      assert.deepEqual([error.line, error.column], [line, column], error.message);
      return;
    }
    assert.fail(`accepted: ${text}`);
  };
  at('ok 1\nbad{a="b} 2\n', 2, 7, /quoted text runs past the end of the line/);
  at('ok 1\n\n  bad x\n', 3, 7, /"x" is not a number/);
  at('a{b="c",b="d"} 1\n', 1, 1, /label "b" is given twice/);
  at('a{b=c} 1\n', 1, 5, /expected a quoted label value/);
  at('a 1 1.5\n', 1, 5, /whole milliseconds/);
  at('# TYPE a nonsense\n', 1, 10, /invalid metric type "nonsense"/);
  at('a 1\n', 2, 1, /does not end with # EOF/, 'openmetrics');
});

test('a bad line is left out if the caller says so', () => {
  const errors: string[] = [];
  const batch = read('a 1\nb x\nc{ 2\nd 3\n# TYPE e nope\nf 4\ng 1 -5', 'text', {
    onError: e => errors.push(`${e.line}:${e.column}`) > 0,
  });
  assert.deepEqual(
    rowsOf(batch).map(r => r.labels.__name__),
    ['a', 'd', 'f'],
  );
  assert.deepEqual(errors, ['2:3', '3:5', '5:10', '7:2']);
});

test('target labels and dropping, with a cache that remembers both', () => {
  const cache = new SeriesCache(seed, 100);
  const reader = new ExpositionReader('text', cache);
  const builder = new BatchBuilder(hasher, seed);
  let calls = 0;
  const finishLabels = (set: LabelSet): boolean => {
    calls++;
    set.addStrings('instance', 'host:9100');
    return set.valueOf('__name__') !== 'unwanted';
  };
  const scrape = (text: string): Row[] => {
    cache.begin();
    builder.reset();
    reader.read(Buffer.from(text), builder, { ...OPTIONS, finishLabels });
    return rowsOf(builder.finish());
  };
  const gone = (): string[] => {
    const names: string[] = [];
    cache.forEachGone(e =>
      names.push(decodeLabels(cache.labelBytes, cache.labelStart(e), cache.labelEnd(e))[1] as string),
    );
    return names;
  };
  const first = scrape('a{z="1"} 1\nunwanted 2\nb 3\n');
  assert.equal(calls, 3);
  const second = scrape('a{z="1"} 10\nunwanted 2\nb 30\n');
  assert.equal(calls, 3);
  assert.deepEqual(
    second.map(r => [r.labels, r.value]),
    [
      [{ __name__: 'a', instance: 'host:9100', z: '1' }, 10],
      [{ __name__: 'b', instance: 'host:9100' }, 30],
    ],
  );
  assert.equal(first.length, 2);
  assert.deepEqual(gone(), []);
  scrape('a{z="1"} 10\n');
  assert.deepEqual(gone(), ['b']);
  // A scrape that failed half way: what the one before it had goes stale, and only once.
  scrape('c 1\n');
  const failed: string[] = [];
  cache.fail(e => failed.push(decodeLabels(cache.labelBytes, cache.labelStart(e), cache.labelEnd(e))[1] as string));
  assert.deepEqual(failed, ['a']);
  scrape('a{z="1"} 10\n');
  assert.deepEqual(gone(), []);
  const encoded = encodeLabels(['__name__', 'a', 'instance', 'host:9100', 'z', '1']);
  const expected = new Uint32Array(4);
  hasher.hash(seed, encoded, 0, encoded.length, expected, 0);
  assert.deepEqual(builder.finish().hashes.slice(0, 4), expected);
});

test('the cache grows, evicts what is not scraped any more, and stays right', () => {
  const cache = new SeriesCache(seed, 1000);
  const reader = new ExpositionReader('text', cache);
  const builder = new BatchBuilder(hasher, seed);
  for (let round = 0; round < 12; round++) {
    cache.begin();
    builder.reset();
    let text = '';
    for (let i = 0; i < 400; i++) text += `m{i="${round * 200 + i}"} ${i}\n`;
    reader.read(Buffer.from(text), builder, OPTIONS);
    const rows = rowsOf(builder.finish());
    assert.deepEqual(
      rows.map(r => r.labels.i),
      Array.from({ length: 400 }, (_, i) => String(round * 200 + i)),
    );
  }
  assert.ok(cache.size <= 1400, `${cache.size} entries`);
});

test('OpenMetrics: exemplars, units, created lines', () => {
  const batch = read(
    `# TYPE req_seconds counter
# UNIT req_seconds seconds
# HELP req_seconds Time \\"spent\\".
req_seconds_total{a="b"} 17.5 1520879607.789 # {trace_id="abc"} 0.5 1520879600.5
req_seconds_created{a="b"} 1520872607.123
# EOF
`,
    'openmetrics',
  );
  assert.deepEqual(rowsOf(batch), [
    {
      labels: { __name__: 'req_seconds_total', a: 'b' },
      timestamp: 1520879607789,
      value: 17.5,
      start: 1520872607123,
    },
  ]);
  assert.deepEqual(batch.exemplars, [
    { series: 0, timestampMs: 1520879600500, value: 0.5, labels: ['trace_id', 'abc'] },
  ]);
  assert.deepEqual(batch.metadata, [
    { metric: 'req_seconds', type: 'counter', help: 'Time "spent".', unit: 'seconds' },
  ]);
});

test('floats are those of the engine, wherever the grammar allows them', () => {
  const out = new Float64Array(1);
  const parse = (s: string): number | null =>
    parseFloatBytes(Buffer.from(s), 0, s.length, out) ? (out[0] as number) : null;
  for (const s of ['1', '-1', '+1.5', '.5', '5.', '08', '1e5', '1E-7', '123456789012345678', '4.9351e-05', '1e-400']) {
    assert.equal(parse(s), Number(s), s);
  }
  assert.ok(Object.is(parse('-0'), -0));
  assert.equal(parse('+Inf'), Number.POSITIVE_INFINITY);
  assert.equal(parse('-infinity'), Number.NEGATIVE_INFINITY);
  assert.ok(Number.isNaN(parse('nan')));
  for (const s of [
    '',
    '.',
    '-',
    'e5',
    '1e',
    '1e+',
    '0x1p-3',
    '1_2',
    '1e400',
    '+NaN',
    '1 ',
    'Infinit',
    '--1',
    '1.2.3',
  ]) {
    assert.equal(parse(s), null, JSON.stringify(s));
  }
  fc.assert(
    fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.nat(20), (v, digits) => {
      for (const s of [String(v), v.toExponential(digits), Math.abs(v) < 1e21 ? v.toFixed(digits) : '0']) {
        assert.ok(Object.is(parse(s), Number.isFinite(Number(s)) ? Number(s) : null), s);
      }
    }),
    { seed: 5, numRuns: 3000 },
  );
});

test('import in chunks of any size gives what import in one piece gives', () => {
  let text = '# TYPE a counter\r\n';
  for (let i = 0; i < 300; i++)
    text += `a{i="${i % 7}",u="é漢"} ${i} ${1000 + i}\n${i % 50 === 0 ? 'broken{ line\n' : ''}`;
  text += 'last 1 5';
  const run = (size: number): unknown => {
    const lines: number[] = [];
    const parser = new ImportParser(hasher, seed, {
      timestampMs: NOW,
      maxBatchSamples: 40,
      onError: e => lines.push(e.line) > 0,
    });
    const rows: Row[] = [];
    const metadata: unknown[] = [];
    const take = (batch: SampleBatch): void => {
      rows.push(...rowsOf(batch));
      metadata.push(...(batch.metadata ?? []));
    };
    const bytes = Buffer.from(text);
    for (let at = 0; at < bytes.length; at += size) for (const b of parser.feed(bytes.subarray(at, at + size))) take(b);
    for (const b of parser.end()) take(b);
    return { rows, lines, metadata, counts: parser.counts };
  };
  const whole = run(1 << 20) as { rows: Row[]; lines: number[]; metadata: unknown[] };
  assert.equal(whole.rows.length, 301);
  assert.deepEqual(whole.lines, [3, 54, 105, 156, 207, 258]);
  assert.equal(whole.metadata.length, 1);
  for (const size of [1, 2, 3, 17, 64, 1000]) assert.deepEqual(run(size), whole, `chunks of ${size}`);
});

test('an import line is bounded', () => {
  const parser = new ImportParser(hasher, seed, { timestampMs: NOW, maxLineBytes: 100, onError: () => true });
  const rows: Row[] = [];
  const feed = (s: string): void => {
    for (const b of parser.feed(Buffer.from(s))) rows.push(...rowsOf(b));
  };
  feed('a 1\nb');
  for (let i = 0; i < 20; i++) feed('x'.repeat(50));
  feed(' 5\nc 2\n');
  for (const b of parser.end()) rows.push(...rowsOf(b));
  assert.deepEqual(
    rows.map(r => r.labels.__name__),
    ['a', 'c'],
  );
  assert.equal(parser.counts.badLines, 1);
  const strict = new ImportParser(hasher, seed, { timestampMs: NOW, maxLineBytes: 100 });
  assert.throws(() => [...strict.feed(Buffer.from('y'.repeat(101)))], /line 1.*longer than 100 bytes/);
});

test('what came before a bad line is given out before the error is thrown', () => {
  const rows: Row[] = [];
  const parser = new ImportParser(hasher, seed, { timestampMs: NOW, maxLineBytes: 50 });
  assert.throws(() => {
    for (const b of parser.feed(Buffer.from('a 1\nb 2\nc x\nd 4\n'))) rows.push(...rowsOf(b));
  }, /line 3/);
  const long = new ImportParser(hasher, seed, { timestampMs: NOW, maxLineBytes: 50 });
  assert.throws(() => {
    for (const b of long.feed(Buffer.from(`e 1\n${'f'.repeat(60)}`))) rows.push(...rowsOf(b));
  }, /line 2/);
  assert.deepEqual(
    rows.map(r => r.labels.__name__),
    ['a', 'b', 'e'],
  );
});

test('damaged expositions throw ExpositionErrors and nothing else (seed 11)', () => {
  let a = 11;
  const next = (): number => {
    a = (Math.imul(a, 1664525) + 1013904223) >>> 0;
    return a / 4294967296;
  };
  const pieces = [
    '# TYPE a_s counter\n',
    '# HELP a x\\n\n',
    '# UNIT a_s s\n',
    'a{b="c",d="\\"\\\\"} 1.5',
    ' 123',
    ' # {t="x"} 2 3',
  ];
  pieces.push(
    '\n',
    '{"q.r",l="é"} NaN\n',
    ' ',
    '\t',
    '"',
    '\\',
    '{',
    '}',
    ',',
    '=',
    '# EOF\n',
    '\r\n',
    '\0',
    'a_s_created 1\n',
  );
  let accepted = 0;
  for (let i = 0; i < 20_000; i++) {
    let text = '';
    for (let n = 1 + Math.floor(next() * 8); n > 0; n--) text += pieces[Math.floor(next() * pieces.length)];
    const bytes = Buffer.from(text);
    if (i % 3 === 0 && bytes.length > 0) bytes[Math.floor(next() * bytes.length)] = Math.floor(next() * 256);
    try {
      readAll(bytes, i % 2 === 0 ? 'text' : 'openmetrics');
      accepted++;
    } catch (error) {
      assert.ok(error instanceof ExpositionError, `${error} for ${JSON.stringify(text)}`);
    }
  }
  assert.ok(accepted > 1000, `${accepted} accepted`);
});

test('a series text reads back what it says', () => {
  const set = new LabelSet();
  const name = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 });
  const quote = (s: string): string => `"${s.replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n')}"`;
  fc.assert(
    fc.property(name, fc.uniqueArray(fc.tuple(name, name), { maxLength: 6, selector: p => p[0] }), (metric, pairs) => {
      const labels = pairs.filter(p => p[0] !== '__name__');
      const text = Buffer.from(`{${[quote(metric), ...labels.map(([n, v]) => `${quote(n)}=${quote(v)}`)].join(',')}}`);
      for (const format of ['text', 'openmetrics'] as const) {
        readSeries(text, 0, text.length, format, set);
        assert.equal(set.sort(), -1);
        assert.deepEqual(set.toFlat(), [...labelsFromPairs([...labels, ['__name__', metric]])]);
      }
    }),
    { seed: 3, numRuns: 500 },
  );
  assert.throws(() => readSeries(Buffer.from('{a="b"}'), 0, 7, 'text', set), TextError);
});
