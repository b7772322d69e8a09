/** The runner must notice what is wrong: each script here but the first has exactly one thing wrong with it. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { memoryStorage } from '../../../test/support/memory-storage.ts';
import { type PromqlTestReport, runPromqlTest } from './runner.ts';

const LOAD = 'load 1m\n  m{i="1"} 0+1x10\n  m{i="2"} 5 stale\n  nh {{count:2 sum:4 buckets:[2]}}x5\n\n';

async function run(script: string): Promise<PromqlTestReport> {
  const folder = await mkdtemp(join(tmpdir(), 'promqltest-'));
  try {
    const file = join(folder, 'x.test');
    await writeFile(file, LOAD + script);
    return await runPromqlTest([file], { storage: memoryStorage });
  } finally {
    await rm(folder, { recursive: true });
  }
}

test('what is right passes', async () => {
  const report = await run(
    [
      'EVAL instant at 1m m',
      '  m{i="1"} 1',
      '',
      'eval range from 0 to 2m step 1m m',
      '  m{i="1"} 0 1 2',
      '  m{i="2"} 5 _ _',
      '',
      'eval_fail instant at 0 m + on() m',
      '',
      'eval instant at 1m rate(m{i="1"}[1m1s])',
      '  expect info regex: might not be a counter',
      '  expect no_warn',
      '  {i="1"} 0.01639344262295082',
      '',
      'eval instant at 1m 1 + 1',
      '  2',
      '',
      'clear',
      'eval instant at 1m m',
    ].join('\n'),
  );
  assert.deepEqual(report.failures, []);
  assert.equal(report.passed, 6);
});

const WRONG: [string, string, RegExp][] = [
  ['a value', 'eval instant at 1m m\n  m{i="1"} 2', /expected 2, got 1/],
  ['a series too few', 'eval instant at 0 m\n  m{i="1"} 0', /unexpected m\{i="2"\}/],
  ['a series too many', 'eval instant at 1m m\n  m{i="1"} 1\n  m{i="3"} 1', /expected m\{i="3"\}, which is not there/],
  [
    'a point too many',
    'eval range from 0 to 2m step 1m m{i="2"}\n  m{i="2"} 5 5 _',
    /at step 1: expected 5, got nothing/,
  ],
  ['a histogram', 'eval instant at 1m nh\n  nh {{count:2 sum:5 buckets:[2]}}', /at step 0: expected/],
  ['no failure', 'eval instant at 1m m{i="1"}\n  expect fail', /expected to fail/],
  ['another failure', 'eval instant at 0 m + on() m\n  expect fail msg: nothing', /failed with: found duplicate/],
  [
    'a note that is missing',
    'eval instant at 1m m{i="1"}\n  expect warn\n  m{i="1"} 1',
    /expected warn any message, got: none/,
  ],
  [
    'a note too many',
    'eval instant at 1m rate(m{i="1"}[2m])\n  expect no_info\n  {i="1"} 0.01',
    /expected no info, got/,
  ],
  [
    'the order',
    'eval instant at 0 sort_desc(m)\n  expect ordered\n  m{i="1"} 0\n  m{i="2"} 5',
    /at place 0, it is at 1/,
  ],
  ['a command', 'evaluate this', /invalid eval command/],
  ['a series line', 'eval instant at 0 m\n  m{i= 1', /invalid series line/],
];

for (const [what, script, message] of WRONG) {
  test(`a script with ${what} wrong fails there`, async () => {
    const { failed, failures } = await run(script);
    assert.equal(failed, 1);
    assert.match(failures[0]?.message ?? '', message);
    assert.ok((failures[0]?.line ?? 0) >= 6);
  });
}
