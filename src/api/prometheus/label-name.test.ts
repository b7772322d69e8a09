import assert from 'node:assert/strict';
import { test } from 'node:test';
import { unescapeName } from './label-name.ts';

test('escaped label names', () => {
  const cases: [string, string][] = [
    ['job', 'job'],
    ['__name__', '__name__'],
    ['U__job', 'job'],
    ['U__my__label', 'my_label'],
    ['U__service_2e_name', 'service.name'],
    ['U___1F600_x', '😀x'],
    ['U__bad_2e', 'U__bad_2e'],
    ['U__bad_zz_', 'U__bad_zz_'],
    ['U__bad_1234567_', 'U__bad_1234567_'],
    ['U__bad_D800_', 'U__bad_D800_'],
    ['U__end_', 'U__end_'],
    ['U__', ''],
  ];
  for (const [escaped, name] of cases) assert.equal(unescapeName(escaped), name, escaped);
});
