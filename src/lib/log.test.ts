import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLogger } from './log.ts';

test('a changed level holds for all children, those made before too', () => {
  const lines: { level: string; msg: string; part?: string; token?: string }[] = [];
  const destination = { write: (line: string) => void lines.push(JSON.parse(line)) };
  const log = createLogger({ level: 'info', destination });
  const child = log.child({ part: 'a' }).child({ n: 1 });
  const say = (what: string): void => {
    child.debug({ token: 'x' }, `${what} debug`);
    child.info(`${what} info`);
    log.warn(`${what} warn`);
    child.fatal({}, `${what} fatal`);
  };
  say('1');
  log.setLevel('debug');
  say('2');
  log.setLevel('error');
  say('3');
  assert.deepEqual(
    lines.map(line => line.msg),
    ['1 info', '1 warn', '1 fatal', '2 debug', '2 info', '2 warn', '2 fatal', '3 fatal'],
  );
  assert.deepEqual([lines[3]?.part, lines[3]?.level, lines[3]?.token], ['a', 'debug', '<secret>']);
});
