import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ApiError } from '../errors.ts';
import { Params, parseDuration, parseTime, TIME_MAX_MS, TIME_MIN_MS } from './params.ts';

function refused(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof ApiError);
    assert.equal(error.status, 400);
    return error.message;
  }
  assert.fail('should have been refused');
}

test('times', () => {
  const cases: [string, number | null][] = [
    ['', null],
    ['now', null],
    ['1d', null],
    ['1435781430', 1435781430000],
    ['1435781430.781', 1435781430781],
    ['-1.5', -1500],
    ['1e9', 1e12],
    ['.5', 500],
    ['0x10', null],
    ['Infinity', null],
    ['2015-07-01T20:10:30.781Z', 1435781430781],
    ['2015-07-01T20:10:30.7819Z', 1435781430781],
    ['2015-07-01T22:10:30+02:00', 1435781430000],
    ['2015-02-30T00:00:00Z', null],
    ['2015-13-01T00:00:00Z', null],
    ['2015-07-01T24:00:00Z', null],
    ['2015-07-01', null],
    ['0001-01-01T00:00:00Z', -62135596800000],
    ['-292273086-05-16T16:47:06Z', TIME_MIN_MS],
    ['292277025-08-18T07:12:54.999999999Z', TIME_MAX_MS],
  ];
  for (const [text, ms] of cases) assert.equal(parseTime(text), ms, text);
});

test('durations', () => {
  const cases: [string, number | null][] = [
    ['', null],
    ['0', 0],
    ['15', 15_000],
    ['0.5', 500],
    ['-3', -3000],
    ['1h30m', 5_400_000],
    ['1y2w3d4h5m6s7ms', 365 * 86_400_000 + 17 * 86_400_000 + 4 * 3_600_000 + 5 * 60_000 + 6007],
    ['30m1h', null],
    ['5 m', null],
    ['1e30', null],
    ['9999999999y', null],
  ];
  for (const [text, ms] of cases) assert.equal(parseDuration(text), ms, text);
});

test('refusals say what Prometheus says', () => {
  const p = new Params('start=foo&limit=x&limit_per_metric=y&step=5q&b=maybe&time=bar&n=-1&lookback_delta=zz');
  assert.equal(
    refused(() => p.time('start')),
    'invalid parameter "start": cannot parse "foo" to a valid timestamp',
  );
  assert.equal(
    refused(() => p.time('missing')),
    'invalid parameter "missing": cannot parse "" to a valid timestamp',
  );
  assert.equal(
    refused(() => p.timeOr('time', 0)),
    `invalid parameter "time": Invalid time value for 'time': cannot parse "bar" to a valid timestamp`,
  );
  assert.equal(
    refused(() => p.limit()),
    'invalid parameter "limit": strconv.Atoi: parsing "x": invalid syntax',
  );
  assert.equal(
    refused(() => new Params('limit=-2').limit()),
    'invalid parameter "limit": limit must be non-negative',
  );
  assert.equal(
    refused(() => p.metadataLimit('limit_per_metric')),
    'limit_per_metric must be a number',
  );
  assert.equal(
    refused(() => p.duration('step')),
    'invalid parameter "step": cannot parse "5q" to a valid duration',
  );
  assert.equal(
    refused(() => p.lookbackMs()),
    'error parsing lookback delta duration: cannot parse "zz" to a valid duration',
  );
  assert.match(
    refused(() => p.bool('b', false)),
    /^invalid parameter "b": unable to parse boolean/,
  );
});

test('the first value wins and lists keep their order', () => {
  const p = new Params('query=a&match[]=x&query=b&match%5B%5D=y');
  assert.equal(p.get('query'), 'a');
  assert.deepEqual(p.all('match[]'), ['x', 'y']);
  assert.equal(p.limit(), 0);
  assert.equal(p.lookbackMs(), undefined);
});

const suites = process.env.SIGHTLINE_SUITES;
test('the reference cases of parameter parsing', {
  skip: suites === undefined ? 'skipped: needs SIGHTLINE_SUITES' : false,
}, () => {
  const file = join(suites as string, '04-prom-rules-config', 'api', 'param_parsing_cases.json');
  const cases = JSON.parse(readFileSync(file, 'utf8')) as {
    parse_time: { input: string; valid: boolean; unix_ms?: number }[];
    parse_duration: { input: string; valid: boolean; ms?: number }[];
  };
  assert.ok(cases.parse_time.length > 0 && cases.parse_duration.length > 0);
  for (const c of cases.parse_time) assert.equal(parseTime(c.input), c.valid ? c.unix_ms : null, c.input);
  for (const c of cases.parse_duration) assert.equal(parseDuration(c.input), c.valid ? c.ms : null, c.input);
});
