import assert from 'node:assert/strict';
import { test } from 'node:test';
import { federateFormat } from './federate-format.ts';

const typeOf = (accept: string): string => federateFormat(accept).contentType.replace('; charset=utf-8', '');

test('the format is the best one that the client names', () => {
  const cases: [accept: string, type: string][] = [
    ['', 'text/plain; version=0.0.4; escaping=underscores'],
    ['*/*', 'text/plain; version=0.0.4; escaping=underscores'],
    ['application/openmetrics-text', 'application/openmetrics-text; version=1.0.0; escaping=underscores'],
    [
      'text/plain;q=0.5, application/openmetrics-text; version="0.0.1"',
      'application/openmetrics-text; version=0.0.1; escaping=underscores',
    ],
    [
      'application/openmetrics-text;q=0.3,text/plain;version=0.0.4;q=0.7',
      'text/plain; version=0.0.4; escaping=underscores',
    ],
    ['application/openmetrics-text;version=2.0.0,text/plain;q=0.1', 'text/plain; version=0.0.4; escaping=underscores'],
    ['application/openmetrics-text;q=0', 'text/plain; version=0.0.4; escaping=underscores'],
    ['application/openmetrics-text;q=x,text/plain;version=9', 'text/plain; version=0.0.4; escaping=underscores'],
    ['text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4', 'text/plain; version=1.0.0; escaping=allow-utf-8'],
    // As Prometheus 3 scrapes.
    [
      'application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,' +
        'text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2',
      'application/openmetrics-text; version=1.0.0; escaping=allow-utf-8',
    ],
  ];
  for (const [accept, type] of cases) assert.equal(typeOf(accept), type, accept);
});

test('timestamps are milliseconds in one format and seconds in the other', () => {
  assert.equal(federateFormat('').timestamp(1_700_000_000_123), '1700000000123');
  const { timestamp } = federateFormat('application/openmetrics-text');
  assert.deepEqual([1_700_000_000_123, 1_700_000_000_000, 5, 0].map(timestamp), [
    '1700000000.123',
    '1700000000',
    '0.005',
    '0',
  ]);
});
