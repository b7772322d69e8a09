/** The metrics part of the OTLP material, with its score. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { otlpMetricsConformance } from '../../src/main/otlp-conformance.ts';

const { SIGHTLINE_SUITES } = process.env;

test('OTLP: messages, fields and the example of opentelemetry-proto', t => {
  if (SIGHTLINE_SUITES === undefined) {
    t.skip('skipped: needs SIGHTLINE_SUITES');
    return;
  }
  const { passed, failed, failures } = otlpMetricsConformance(join(SIGHTLINE_SUITES, '08-otlp'));
  t.diagnostic(`OTLP metrics: ${passed} passed, ${failed} failed`);
  assert.deepEqual(failures, []);
  assert.ok(passed > 250, `only ${passed} checks`);
});
