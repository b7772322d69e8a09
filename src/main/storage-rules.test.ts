import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadConfig } from '../config/load.ts';
import { policyRules, selectorProblem } from './storage-rules.ts';

test('a selector that is none is refused with its place', t => {
  const dir = mkdtempSync(join(tmpdir(), 'sightline-rules-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const file = join(dir, 'sightline.yaml');
  const rules = ['up{', '{a=~"("}', '{a=~".*"}', 'rate(up[5m])', '{a="b"}'].map(selector => ({ selector }));
  writeFileSync(file, JSON.stringify({ storage: { rules } }, null, 1));
  assert.throws(
    () => loadConfig(file, {}, selectorProblem),
    (error: Error) => {
      const lines = error.message.split('\n').map(line => line.slice(dir.length + 1));
      assert.equal(lines.length, 4);
      assert.match(
        lines[0] as string,
        /^sightline\.yaml:5:\d+: storage\.rules\[0\]\.selector: must be a series selector/,
      );
      assert.match(lines[1] as string, /rules\[1\]\.selector: .*missing/);
      assert.match(
        lines[2] as string,
        /rules\[2\]\.selector: must be a series selector .* it must contain at least one non-empty matcher/,
      );
      assert.match(lines[3] as string, /rules\[3\]\.selector: must be a series selector/);
      return true;
    },
  );
});

test('periods of a rule: 0 is never, what is not given stays open', () => {
  const rules = policyRules([
    { selector: 'up', retention: { raw: 5 }, downsample: { '1m': 0 } },
    { selector: '{a="b"}', tenant: 'acme' },
  ]);
  assert.deepEqual(
    rules.map(r => [r.tenant, r.matchers.length, r.retention, r.downsample]),
    [
      [null, 1, { rawMs: 5 }, { minuteAfterMs: null }],
      ['acme', 1, {}, {}],
    ],
  );
});
