import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { IdentityHasher } from '../../lib/identity-hash.ts';
import { decodeLabels, encodeLabels, labelsFromPairs } from '../../model/labels.ts';
import type { SampleBatch } from '../../model/sample-batch.ts';
import { BatchBuilder } from '../batch-builder.ts';
import { LabelSet } from '../label-set.ts';
import { parseFloatBytes } from './float.ts';
import { ImportParser } from './import.ts';
import {
  ENTRY_COMMENT,
  ENTRY_END,
  ENTRY_HELP,
  ENTRY_SERIES,
  ENTRY_TYPE,
  ExpositionError,
  ExpositionParser,
} from './parser.ts';
import { SeriesCache } from './series-cache.ts';
import { type ExpositionFormat, readSeries, TextError } from './series-text.ts';
import { ExpositionReader, type ReadOptions } from './to-batch.ts';

const hasher = new IdentityHasher(new Uint8Array(16).fill(1));
const seed = hasher.tenantSeed('default');
const NOW = 1_700_000_000_000;
const OPTIONS: ReadOptions = {
  timestampMs: NOW,
  honorTimestamps: true,
  finishLabels: null,
  createdAsStart: true,
  metadata: true,
};

interface Row {
  labels: Record<string, string>;
  timestamp: number;
  value: number;
  start: number;
}

function rowsOf(batch: SampleBatch): Row[] {
  const rows: Row[] = [];
  for (let i = 0; i < batch.seriesCount; i++) {
    const flat = decodeLabels(batch.labelBytes, batch.labelStart[i], batch.labelEnd[i]);
    const labels: Record<string, string> = {};
    for (let k = 0; k < flat.length; k += 2) labels[flat[k] as string] = flat[k + 1] as string;
    for (let k = batch.sampleStart[i] as number; k < (batch.sampleStart[i + 1] as number); k++) {
      const start = batch.startTimestamps?.[k] ?? 0;
      rows.push({ labels, timestamp: batch.timestamps[k] as number, value: batch.values[k] as number, start });
    }
  }
  return rows;
}

function read(
  text: string | Uint8Array,
  format: ExpositionFormat = 'text',
  options: Partial<ReadOptions> = {},
): SampleBatch {
  const builder = new BatchBuilder(hasher, seed);
  builder.reset();
  new ExpositionReader(format, null).read(Buffer.from(text), builder, { ...OPTIONS, ...options });
  return builder.finish();
}

/** All entries, read to the end, labels included; throws what the parser throws. */
function readAll(bytes: Uint8Array, format: ExpositionFormat): void {
  const builder = new BatchBuilder(hasher, seed);
  builder.reset();
  new ExpositionReader(format, null).read(bytes, builder, OPTIONS);
}

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

// Conformance. The suites are data of other projects and are not part of this repository.

const suites = process.env.SIGHTLINE_SUITES ?? '';
const folder = `${suites}/03-exposition`;
const needsSuites = existsSync(folder) ? false : 'skipped: needs SIGHTLINE_SUITES';

function json<T>(name: string): T {
  return JSON.parse(readFileSync(`${folder}/${name}`, 'utf8')) as T;
}

interface ErrorCase {
  input?: string;
  input_hex?: string;
  error?: string | null;
  error_utf8_scheme?: string | null;
}

function bytesOf(c: ErrorCase): Uint8Array {
  return c.input_hex !== undefined ? Buffer.from(c.input_hex, 'hex') : Buffer.from(c.input ?? '');
}

function problem(bytes: Uint8Array, format: ExpositionFormat): string | null {
  try {
    readAll(bytes, format);
    return null;
  } catch (error) {
    assert.ok(error instanceof ExpositionError, String(error));
    return error.message;
  }
}

/**
 * Inputs the text library refuses and the scraper of the same project accepts, which is what is followed here.
 */
const SCRAPER_ACCEPTS = new Map<string, string>([
  ['\nbla 3.14\nblubber 42', 'no newline at the end'],
  ['metric{label="\\t"} 3.14', 'an unknown escape stands for itself'],
  ['\n# TYPE metric summary\nmetric{quantile="bla"} 3.14\n', 'quantile need not be a float'],
  ['\n# HELP metric one\n# HELP metric two\n', 'HELP may come again'],
  ['\n# TYPE metric counter\n# TYPE metric untyped\n', 'TYPE may come again'],
  ['\nmetric 4.12\n# TYPE metric counter\n', 'TYPE may come late'],
  ['\n# TYPE metric histogram\nmetric_bucket{le="bla"} 3.14\n', 'le need not be a float'],
  ['\n# TYPE metric histogram\nmetric_bucket{le="0x1p-3"} 3.14\n', 'le need not be a float'],
  ['\n# TYPE metric summary\nmetric{quantile="0x1p-3"} 3.14\n', 'quantile need not be a float'],
  ['{"a\\xc5z",label="bla"} 3.14', 'an unknown escape stands for itself'],
  ['\n# TYPE "metric.name\\t" counter\n{"metric.name\\t",label="bla"} 3.14\n', 'an unknown escape stands for itself'],
]);

test('conformance: text errors', { skip: needsSuites }, () => {
  let passed = 0;
  const failures: string[] = [];
  const judge = (ok: boolean, what: string): void => {
    if (ok) passed++;
    else failures.push(what);
  };
  for (const name of ['textparse/prom_errors.json', 'textparse/prom_null_bytes.json']) {
    for (const c of json<ErrorCase[]>(name)) {
      const found = problem(bytesOf(c), 'text');
      judge((found === null) === (c.error === null), `${name} ${JSON.stringify(c.input)}: ${found} / ${c.error}`);
    }
  }
  for (const name of ['textparse/om_errors.json', 'textparse/om_null_bytes.json']) {
    for (const c of json<ErrorCase[]>(name)) {
      const found = problem(bytesOf(c), 'openmetrics');
      // "EOF" is how the reference parser says that all went well.
      const accepted = c.error === null || c.error === 'EOF';
      judge((found === null) === accepted, `${name} ${JSON.stringify(c.input)}: ${found} / ${c.error}`);
    }
  }
  for (const c of json<ErrorCase[]>('prom-text/parse_error_cases.json')) {
    const found = problem(bytesOf(c), 'text');
    // Counts of histograms are not looked into: a scrape stores what the target says.
    const laxer = SCRAPER_ACCEPTS.has(c.input ?? '') || /negative (count|bucket)/.test(c.error_utf8_scheme ?? '');
    const accepted = c.error_utf8_scheme === null || laxer;
    judge((found === null) === accepted, `${JSON.stringify(c.input)}: ${found} / ${c.error_utf8_scheme}`);
  }
  console.log(`${passed} passed, ${failures.length} failed`);
  assert.deepEqual(failures, []);
});

interface ExpectedEntry {
  kind: 'help' | 'type' | 'unit' | 'comment' | 'series';
  metric?: string;
  help?: string;
  type?: string;
  unit?: string;
  labels?: Record<string, string>;
  value?: number | string;
  timestamp_ms?: number;
  start_timestamp_ms?: number;
  exemplars?: { labels: Record<string, string>; value: number; timestamp_ms?: number }[];
}

test('conformance: entries of a scrape', { skip: needsSuites }, () => {
  let passed = 0;
  const failures: string[] = [];
  for (const [name, format] of [
    ['promparse', 'text'],
    ['promparse_utf8', 'text'],
    ['omparse', 'openmetrics'],
    ['omparse_utf8', 'openmetrics'],
  ] as const) {
    const { input, entries } = json<{ input: string; entries: ExpectedEntry[] }>(`textparse/${name}.json`);
    const batch = read(input, format);
    const rows = rowsOf(batch);
    const series = entries.filter(e => e.kind === 'series');
    if (rows.length !== series.length) failures.push(`${name}: ${rows.length} samples, not ${series.length}`);
    let exemplar = 0;
    series.forEach((e, i) => {
      const row = rows[i];
      const labels = labelsFromPairs(Object.entries(e.labels ?? {}));
      const problems: string[] = [];
      if (row === undefined) problems.push('missing');
      else {
        if (JSON.stringify(labelsFromPairs(Object.entries(row.labels))) !== JSON.stringify(labels))
          problems.push('labels');
        if (!Object.is(row.value, Number(String(e.value).replace('Inf', 'Infinity')))) problems.push('value');
        if (row.timestamp !== (e.timestamp_ms ?? NOW)) problems.push('timestamp');
        // The reference finds a created line only while no other family's samples come between; we always do.
        const scattered = name === 'omparse_utf8' && e.labels?.__name__ === 'go.gc_duration_seconds_sum';
        if (!scattered && row.start !== (e.start_timestamp_ms ?? 0)) problems.push(`start ${row.start}`);
      }
      for (const x of e.exemplars ?? []) {
        const got = batch.exemplars?.[exemplar++];
        const expected = labelsFromPairs(Object.entries(x.labels));
        if (JSON.stringify(got?.labels) !== JSON.stringify(expected) || got?.value !== x.value)
          problems.push('exemplar');
        if (x.timestamp_ms !== undefined && got?.timestampMs !== x.timestamp_ms) problems.push('exemplar time');
      }
      if (problems.length === 0) passed++;
      else failures.push(`${name} series ${i}: ${problems} ${JSON.stringify(row)} / ${JSON.stringify(e)}`);
    });
    // Metadata entries, in order.
    const parser = new ExpositionParser(format);
    parser.reset(Buffer.from(input));
    const found: string[] = [];
    for (let kind = parser.next(); kind !== ENTRY_END; kind = parser.next()) {
      if (kind === ENTRY_SERIES || kind === ENTRY_COMMENT) continue;
      found.push(
        `${kind === ENTRY_HELP ? 'help' : kind === ENTRY_TYPE ? 'type' : 'unit'} ${parser.metric} ${parser.text}`,
      );
    }
    const expected = entries.filter(e => e.kind !== 'series' && e.kind !== 'comment');
    expected.forEach((e, i) => {
      const text = `${e.kind} ${e.metric} ${e.help ?? e.type ?? e.unit ?? ''}`;
      if (found[i] === text) passed++;
      else failures.push(`${name} ${JSON.stringify(found[i])} / ${JSON.stringify(text)}`);
    });
  }
  console.log(`${passed} passed, ${failures.length} failed`);
  assert.deepEqual(failures, []);
});

interface Family {
  Name: string;
  Type: string;
  Help?: string;
  Metric: {
    Label?: { Name: string; Value: string }[];
    TimestampMs?: number;
    [kind: string]: unknown;
  }[];
}

test('conformance: valid texts give the families of the text library', { skip: needsSuites }, () => {
  let passed = 0;
  const failures: string[] = [];
  for (const { input, families } of json<{ input: string; families: Family[] }[]>('prom-text/parse_valid_cases.json')) {
    const rows = rowsOf(read(input));
    // Plain families only: those of summaries and histograms are put together by a later stage, never for us.
    for (const family of families) {
      for (const metric of family.Metric) {
        const plain = (metric.Counter ?? metric.Gauge ?? metric.Untyped) as { Value: number | string } | undefined;
        // Samples before 1970 are left out.
        if (plain === undefined || (metric.TimestampMs ?? 0) < 0) continue;
        const pairs = (metric.Label ?? []).map(l => [l.Name, l.Value] as [string, string]);
        const want = JSON.stringify(labelsFromPairs([...pairs, ['__name__', family.Name]]));
        const value = Number(String(plain.Value ?? 0).replace('Inf', 'Infinity'));
        const found = rows.some(
          r =>
            JSON.stringify(labelsFromPairs(Object.entries(r.labels))) === want &&
            Object.is(r.value, value) &&
            r.timestamp === (metric.TimestampMs ?? NOW),
        );
        if (found) passed++;
        else failures.push(`${family.Name} ${want} ${value} in ${JSON.stringify(input)}`);
      }
    }
  }
  console.log(`${passed} passed, ${failures.length} failed`);
  assert.deepEqual(failures, []);
});

test('conformance: the OpenMetrics parser cases and large files', { skip: needsSuites }, () => {
  let mustParse = 0;
  const failures: string[] = [];
  let refused = 0;
  let laxer = 0;
  for (const c of readdirSync(`${folder}/openmetrics/parsers`)) {
    const { shouldParse } = json<{ shouldParse: boolean }>(`openmetrics/parsers/${c}/test.json`);
    const found = problem(readFileSync(`${folder}/openmetrics/parsers/${c}/metrics`), 'openmetrics');
    if (shouldParse) {
      mustParse++;
      if (found !== null) failures.push(`${c}: ${found}`);
    } else if (found !== null) refused++;
    else laxer++;
  }
  console.log(
    `${mustParse - failures.length} passed, ${failures.length} failed; refused ${refused} of ${refused + laxer}`,
  );
  assert.deepEqual(failures, []);
  for (const file of readdirSync(`${folder}/textparse/files`)) {
    const format = file.includes('.om.') ? 'openmetrics' : 'text';
    const bytes = readFileSync(`${folder}/textparse/files/${file}`);
    assert.equal(problem(bytes, format), null, file);
  }
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
