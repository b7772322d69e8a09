/**
 * The test scripts' own language: `load`, `clear` and `eval` commands as data. Grammar by example:
 *
 *   load 1m                                   eval instant at 5m rate(x_total[5m])
 *     x_total{i="a"} 0+10x10                    expect no_warn
 *     x_total{i="b"} 0 5 stale                  {i="a"} 0.166666
 *   clear                                     eval range from 0 to 10m step 5m x_total
 *                                               x_total{i="a"} 0 50 100
 *
 * Lines whose first character is # are comments; a blank line ends a command. Series lines are parsed by the PromQL
 * folder (series-description.ts).
 */
import { parseDuration, parseSignedDuration } from '../../lib/duration.ts';
import { unquote } from '../promql/parse-text.ts';

export interface Expectation {
  kind: 'fail' | 'warn' | 'info' | 'ordered' | 'no_warn' | 'no_info';
  match: { type: 'any' } | { type: 'msg'; text: string } | { type: 'regex'; pattern: string };
}

export interface Line {
  text: string;
  number: number;
}

export interface LoadCommand {
  kind: 'load';
  line: number;
  intervalMs: number;
  withNhcb: boolean;
  series: Line[];
}

export interface EvalCommand {
  kind: 'eval';
  line: number;
  query: string;
  /** Instant queries: start = end, step 0. */
  startMs: number;
  endMs: number;
  stepMs: number;
  expectations: Expectation[];
  expectString: string | null;
  expectRange: { startMs: number; endMs: number; stepMs: number } | null;
  /** Expected series, or one bare number. */
  results: Line[];
}

export type Command = LoadCommand | EvalCommand | { kind: 'clear'; line: number };

export class ScriptError extends Error {
  override name = 'ScriptError';
  readonly line: number;

  constructor(line: number, message: string) {
    super(message);
    this.line = line;
  }
}

const EVAL_INSTANT = /^eval(?:_(fail|warn|ordered|info))?\s+instant\s+(?:at\s+(\S+)\s+)?(.+)$/i;
const EVAL_RANGE = /^eval(?:_(fail|warn|info))?\s+range\s+from\s+(\S+)\s+to\s+(\S+)\s+step\s+(\S+)\s+(.+)$/i;
const LOAD = /^load(_with_nhcb)?\s+(\S+)$/i;
const EXPECT = /^expect\s+(fail|warn|info|ordered|no_warn|no_info)(?:\s+(msg|regex):(.*))?$/;
const EXPECT_STRING = /^expect\s+string\s+(.+)$/;
const EXPECT_RANGE = /^expect\s+range\s+vector\s+from\s+(\S+)\s+to\s+(\S+)\s+step\s+(\S+)$/;

export function parseScript(text: string): Command[] {
  const lines = text.split('\n').map(l => l.trim());
  const commands: Command[] = [];
  let i = 0;
  while (i < lines.length) {
    const text = lines[i] as string;
    const line = i + 1;
    i++;
    if (text === '' || text.startsWith('#')) continue;
    const body: Line[] = [];
    const word = (text.split(/\s+/)[0] as string).toLowerCase();
    if (word === 'clear') {
      commands.push({ kind: 'clear', line });
      continue;
    }
    // A comment line ends a command as an empty one does.
    for (; i < lines.length && lines[i] !== '' && !(lines[i] as string).startsWith('#'); i++) {
      body.push({ text: lines[i] as string, number: i + 1 });
    }
    if (word.startsWith('load')) commands.push(parseLoad(text, line, body));
    else if (word.startsWith('eval')) commands.push(parseEval(text, line, body));
    else throw new ScriptError(line, `unknown command ${word}; known are load, clear and eval`);
  }
  return commands;
}

function time(text: string, line: number): number {
  try {
    return text.startsWith('-') || text.startsWith('+') ? parseSignedDuration(text) : parseDuration(text);
  } catch (error) {
    throw new ScriptError(line, `invalid time ${text}: ${(error as Error).message}`);
  }
}

function parseLoad(text: string, line: number, body: Line[]): LoadCommand {
  const m = LOAD.exec(text);
  if (m === null) throw new ScriptError(line, 'invalid load command, expected: load <interval>');
  return { kind: 'load', line, intervalMs: time(m[2] as string, line), withNhcb: m[1] !== undefined, series: body };
}

function parseEval(text: string, line: number, body: Line[]): EvalCommand {
  const instant = EVAL_INSTANT.exec(text);
  const range = instant === null ? EVAL_RANGE.exec(text) : null;
  if (instant === null && range === null) {
    throw new ScriptError(
      line,
      'invalid eval command, expected: eval instant at <time> <query> or eval range from ...',
    );
  }
  const command: EvalCommand = {
    kind: 'eval',
    line,
    query: (instant?.[3] ?? range?.[5]) as string,
    startMs: time(instant === null ? (range?.[2] as string) : (instant[2] ?? '0'), line),
    endMs: 0,
    stepMs: range === null ? 0 : time(range[4] as string, line),
    expectations: [],
    expectString: null,
    expectRange: null,
    results: [],
  };
  command.endMs = range === null ? command.startMs : time(range[3] as string, line);
  const old = instant?.[1] ?? range?.[1];
  if (old !== undefined)
    command.expectations.push({ kind: old.toLowerCase() as Expectation['kind'], match: { type: 'any' } });
  for (const l of body) parseExpected(command, l);
  return command;
}

function parseExpected(command: EvalCommand, l: Line): void {
  const string = EXPECT_STRING.exec(l.text);
  if (string !== null) {
    command.expectString = unquote(string[1] as string);
    return;
  }
  const range = EXPECT_RANGE.exec(l.text);
  if (range !== null) {
    command.expectRange = {
      startMs: time(range[1] as string, l.number),
      endMs: time(range[2] as string, l.number),
      stepMs: time(range[3] as string, l.number),
    };
    return;
  }
  const expect = EXPECT.exec(l.text);
  if (expect === null) {
    command.results.push(l);
    return;
  }
  const text = (expect[3] ?? '').trim();
  let match: Expectation['match'] = { type: 'any' };
  if (expect[2] === 'msg') match = { type: 'msg', text };
  if (expect[2] === 'regex') match = { type: 'regex', pattern: text };
  command.expectations.push({ kind: expect[1] as Expectation['kind'], match });
}
