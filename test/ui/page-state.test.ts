/** Time ranges, the address, number and series formats, chart columns: the page's logic that needs no browser. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorPosition } from '../../ui/src/api.ts';
import { chartData, withTail } from '../../ui/src/chart-data.ts';
import { commonLabels, formatMetric, formatShort, formatTicks } from '../../ui/src/format.ts';
import { formatState, type PageState, parseState } from '../../ui/src/page-state.ts';
import { alignToStep, allowedStep, autoStep, formatSpan, parseSpan, shift, zoomOut } from '../../ui/src/time-range.ts';

test('the address and the state are each other', () => {
  const states: PageState[] = [
    { query: 'up', range: { kind: 'last', spanMs: 900_000 }, stepMs: null, tab: 'graph' },
    {
      query: 'sum(rate(a{b="c&d=e"}[5m])) + 1',
      range: { kind: 'last', spanMs: 5_400_000 },
      stepMs: 15_000,
      tab: 'table',
    },
    { query: 'a\n+ b # é', range: { kind: 'fixed', startMs: 0, endMs: 1_767_225_600_123 }, stepMs: 1500, tab: 'graph' },
    {
      query: '',
      range: { kind: 'fixed', startMs: 1_700_000_000_000, endMs: 1_700_000_060_000 },
      stepMs: null,
      tab: 'graph',
    },
  ];
  for (const state of states) assert.deepEqual(parseState(formatState(state), 'default'), state);
});

test('a senseless address falls back to the default, part by part', () => {
  const fallback = parseState('', 'up');
  assert.equal(fallback.query, 'up');
  for (const search of [
    '?range=x',
    '?range=-1h',
    '?range=1s',
    '?from=5&to=1',
    '?from=a&to=b',
    '?from=1e300&to=1e301',
    '?step=0',
    '?tab=x',
  ]) {
    assert.deepEqual(parseState(search, 'up'), fallback, search);
  }
});

test('spans are written as PromQL writes them and read back', () => {
  const cases: [number, string][] = [
    [15_000, '15s'],
    [90_000, '1m30s'],
    [3_600_000, '1h'],
    [86_400_000, '1d'],
    [604_800_000, '1w'],
    [9 * 86_400_000, '9d'],
    [250, '250ms'],
  ];
  for (const [ms, text] of cases) {
    assert.equal(formatSpan(ms), text);
    assert.equal(parseSpan(text), ms);
  }
  assert.equal(parseSpan('30'), 30_000);
  for (const bad of ['', '0', '0s', '1h x', 'h1', '1.5h', '-1h', '99999999999w'])
    assert.equal(parseSpan(bad), null, bad);
});

test('the step is readable, bounded, and gives a fitting number of points', () => {
  assert.equal(autoStep(900_000, 1200), 5000);
  assert.equal(autoStep(3_600_000, 1200), 10_000);
  assert.equal(autoStep(7 * 86_400_000, 1200), 30 * 60_000);
  for (const span of [10_000, 300_000, 86_400_000, 30 * 86_400_000, 3650 * 86_400_000]) {
    for (const width of [0, 300, 1200, 6000]) assert.ok(span / autoStep(span, width) <= 500, `${span} ${width}`);
  }
  // A year in steps of a second would be refused by the API.
  assert.ok((365 * 86_400_000) / allowedStep(1000, 365 * 86_400_000) < 11_000);
  assert.deepEqual(alignToStep({ startMs: 1_000_007, endMs: 2_000_009 }, 5000), {
    startMs: 1_000_000,
    endMs: 2_000_000,
  });
});

test('moving and zooming keep the span and stop at now', () => {
  const now = 1_000_000_000;
  const fixed = { kind: 'fixed', startMs: now - 200_000, endMs: now - 100_000 } as const;
  assert.deepEqual(shift(fixed, -1, now), { kind: 'fixed', startMs: now - 250_000, endMs: now - 150_000 });
  assert.deepEqual(shift({ ...fixed, startMs: now - 120_000, endMs: now - 20_000 }, 1, now), {
    kind: 'last',
    spanMs: 100_000,
  });
  assert.deepEqual(zoomOut({ kind: 'last', spanMs: 60_000 }, 2, now), { kind: 'last', spanMs: 120_000 });
  assert.deepEqual(zoomOut(fixed, 2, now), { kind: 'fixed', startMs: now - 250_000, endMs: now - 50_000 });
  assert.deepEqual(zoomOut({ kind: 'fixed', startMs: now - 100_000, endMs: now }, 2, now), {
    kind: 'fixed',
    startMs: now - 200_000,
    endMs: now,
  });
});

test('numbers are short and ticks say what they are', () => {
  const cases: [number, string][] = [
    [0, '0'],
    [1234.5, '1.234k'],
    [12_000_000, '12M'],
    [0.00042, '0.00042'],
    [1.5e-9, '1.5e-9'],
    [-3.25, '-3.25'],
    [100, '100'],
    [Number.POSITIVE_INFINITY, '+Inf'],
    [Number.NaN, 'NaN'],
  ];
  for (const [value, text] of cases) assert.equal(formatShort(value), text);
  assert.deepEqual(formatTicks([0, 2.5, 5, 7.5]), ['0', '2.5', '5.0', '7.5']);
  assert.deepEqual(formatTicks([0, 500, 1000, 1500]), ['0', '0.5k', '1.0k', '1.5k']);
  assert.deepEqual(formatTicks([10, 20]), ['10', '20']);
  assert.deepEqual(formatTicks([1e6, 1.00025e6]), ['1.00000M', '1.00025M']);
});

test('series names are PromQL, common labels are found', () => {
  assert.equal(formatMetric({ __name__: 'up', job: 'a"b', instance: 'x' }), 'up{job="a\\"b", instance="x"}');
  assert.equal(formatMetric({ __name__: 'my.metric', 'label.x': '1' }), '{"my.metric", "label.x"="1"}');
  assert.equal(formatMetric({}), '{}');
  const metrics: Record<string, string>[] = [
    { __name__: 'm', a: '1', b: '2' },
    { __name__: 'm', a: '1', b: '3', c: '4' },
  ];
  assert.deepEqual(commonLabels(metrics), { __name__: 'm', a: '1' });
  assert.deepEqual(commonLabels([metrics[0] as Record<string, string>]), {});
});

test('missing steps stay null in the chart columns', () => {
  const grid = { startMs: 1_000_000, endMs: 1_040_000, stepMs: 10_000, tailMs: null };
  const values: [number, string][] = [
    [1000, '1'],
    [1010, 'NaN'],
    [1030, '4'],
    [1040, '+Inf'],
  ];
  const data = chartData(
    [
      { metric: { a: 'b' }, values },
      { metric: { a: 'c' }, histograms: [] },
    ],
    grid,
  );
  assert.deepEqual(data.times, [1000, 1010, 1020, 1030, 1040]);
  assert.deepEqual(data.series[0]?.values, [1, null, null, 4, null]);
  assert.equal(data.series[0]?.last, Number.POSITIVE_INFINITY);
  assert.equal(data.series.length, 1);
});

test('the tail point follows the grid, for series old and new', () => {
  const merged = withTail(
    [{ metric: { a: '1' }, values: [[1000, '1']] }],
    [
      { metric: { a: '1' }, value: [1017, '2'] },
      { metric: { a: '2' }, value: [1017, '3'] },
    ],
  );
  const data = chartData(merged, { startMs: 1_000_000, endMs: 1_010_000, stepMs: 10_000, tailMs: 1_017_000 });
  assert.deepEqual(data.times, [1000, 1010, 1017]);
  assert.deepEqual(
    data.series.map(series => series.values),
    [
      [1, null, 2],
      [null, null, 3],
    ],
  );
});

test('too many series are cut and counted', () => {
  const many = Array.from({ length: 310 }, (_, i) => ({
    metric: { i: String(i) },
    values: [[1, '1']] as [number, string][],
  }));
  const data = chartData(many, { startMs: 1000, endMs: 1000, stepMs: 1000, tailMs: null });
  assert.equal(data.series.length, 300);
  assert.equal(data.hidden, 10);
});

test('the place of a parse error is read from its message', () => {
  assert.deepEqual(errorPosition('1:16: parse error: unexpected ")"'), { line: 1, column: 16 });
  assert.deepEqual(errorPosition('invalid parameter "query": 2:3: parse error: x'), { line: 2, column: 3 });
  assert.equal(errorPosition('query timed out'), null);
});
