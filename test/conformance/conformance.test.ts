/** Every part of `npm run conformance`, so that a score once reached stays. Needs SIGHTLINE_SUITES. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chosen, missing, PARTS, runPart } from './conformance.ts';

for (const part of PARTS) {
  const why = missing(part);
  test(`${part.suite} ${part.name}`, { skip: why === '' ? false : why }, async t => {
    const score = await runPart(part);
    t.diagnostic(score.summary());
    assert.deepEqual(score.failures, []);
    assert.ok(score.passed > 0, 'no case was judged');
  });
}

test('suites are chosen by number, folder or name', () => {
  assert.deepEqual(chosen([]).parts, PARTS);
  assert.deepEqual(
    chosen(['04']).parts.map(part => part.name),
    ['relabel', 'config'],
  );
  assert.deepEqual(
    chosen(['02-compliance', 'relabel']).parts.map(part => part.name),
    ['promql', 'promql-values', 'remote-write-receiver', 'remote-write-sender', 'relabel'],
  );
  assert.deepEqual(chosen(['17']).unknown, ['17']);
});
