/** Start timestamps and odd corners; the notation itself is in test/promql/parser/series.txt. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PromqlParseError } from './errors.ts';
import { parseSeriesDescription, parseStartTimestampDescription } from './series-description.ts';

test('start timestamps', () => {
  const { labels, offsetsMs } = parseStartTimestampDescription(
    'm{a="b"}@st  _ _x2 -30s-1mx2 0-1mx1 1ms+5sx1 -0ms -1mx1',
  );
  assert.deepEqual(labels, ['__name__', 'm', 'a', 'b']);
  assert.deepEqual(offsetsMs, [
    ...[null, null, null, -30_000, -90_000, -150_000, 0, -60_000, 1, 5001, 0, -60_000, -60_000],
  ]);
});

test('start timestamps that are none', () => {
  for (const line of [
    'm 1 2',
    'm@st 5',
    'm@st 1m+1m',
    'm@st 1.5m',
    'm@st _x',
    'm@st x3',
    'm@st 1mx9999999',
    'm@st 1m5h',
    'm{@st 1m',
  ]) {
    assert.throws(() => parseStartTimestampDescription(line), PromqlParseError, line);
  }
});

test('increments add up step by step, as floats do', () => {
  const { values } = parseSeriesDescription('m 0+0.1x10');
  assert.equal(values.at(-1)?.value, 0.9999999999999999);
});

test('histograms of a run are added to each other', () => {
  const { values } = parseSeriesDescription('m {{schema:0 count:1 buckets:[1]}}-{{schema:1 count:1 buckets:[0 1]}}x1');
  assert.equal(values.length, 2);
  assert.equal(values[1]?.histogram?.count, 0);
  assert.throws(
    () => parseSeriesDescription('m {{schema:-53 custom_values:[1] buckets:[1]}}+{{buckets:[1]}}x1'),
    PromqlParseError,
  );
});

test('later duplicates of a label win, empty ones are absent', () => {
  assert.deepEqual(parseSeriesDescription('m{a="1",a="2",b=""} 1').labels, ['__name__', 'm', 'a', '2']);
});
