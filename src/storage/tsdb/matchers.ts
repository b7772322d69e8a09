/**
 * Matchers made ready: equality as a comparison, regular expressions as plain string work wherever their shape allows.
 *
 * Regular expressions are RE2 syntax, fully anchored, dot matches newline, linear time (re2js). Most that dashboards
 * send are lists of literals (`a|b|c`, `node-(1|2)`), or literals with `.*` or `.+` between them; those never reach the regex
 * machine. For the others a literal prefix is taken out, so that an index scans only the values that have it.
 */
import { RE2JS } from 're2js';
import type { Matcher } from '../../model/matcher.ts';
import type { CompiledMatcher } from './part.ts';

/** A list of alternatives longer than this is matched by the machine rather than looked up value by value. */
const SET_MAX = 4096;
const DEPTH_MAX = 50;
/** Most compiled expressions kept; dashboards send the same ones again and again. */
const CACHE_MAX = 200;

/** A regular expression that does not compile. The message is what RE2 says. A caller's mistake (HTTP 400). */
export class InvalidMatcherError extends Error {
  override name = 'InvalidMatcherError';
}

const cache = new Map<string, CompiledRegex>();

interface CompiledRegex {
  test(value: string): boolean;
  set: readonly string[] | null;
  prefix: string;
}

/** Throws InvalidMatcherError where a regular expression is none. */
export function compileMatcher(matcher: Matcher): CompiledMatcher {
  const { name, op, value } = matcher;
  switch (op) {
    case '=':
      return { name, op, value, set: [value], prefix: value, matches: v => v === value };
    case '!=':
      return { name, op, value, set: null, prefix: '', matches: v => v !== value };
    case '=~': {
      const regex = compileRegex(value);
      return { name, op, value, set: regex.set, prefix: regex.prefix, matches: v => regex.test(v) };
    }
    case '!~': {
      const regex = compileRegex(value);
      return { name, op, value, set: null, prefix: '', matches: v => !regex.test(v) };
    }
  }
}

export function compileMatchers(matchers: readonly Matcher[]): CompiledMatcher[] {
  return matchers.map(compileMatcher);
}

function compileRegex(pattern: string): CompiledRegex {
  const known = cache.get(pattern);
  if (known !== undefined) return known;
  const compiled = buildRegex(pattern);
  if (cache.size >= CACHE_MAX) cache.delete(cache.keys().next().value as string);
  cache.set(pattern, compiled);
  return compiled;
}

function buildRegex(pattern: string): CompiledRegex {
  let machine: RE2JS;
  try {
    machine = RE2JS.compile(pattern, RE2JS.DOTALL);
  } catch (error) {
    throw new InvalidMatcherError(`regular expression ${JSON.stringify(pattern)}: ${(error as Error).message}`);
  }
  const set = literalSet(pattern);
  if (set !== null) {
    const values = new Set(set);
    return { set: [...values], prefix: commonPrefix([...values]), test: v => values.has(v) };
  }
  const glob = parseGlob(pattern);
  if (glob !== null) {
    const first = glob.pieces[0] as string;
    return { set: null, prefix: first, test: v => matchGlob(glob, v) };
  }
  const prefix = literalPrefix(pattern);
  return { set: null, prefix, test: v => v.startsWith(prefix) && machine.testExact(v) };
}

function commonPrefix(values: readonly string[]): string {
  let prefix = values[0] ?? '';
  for (const value of values) {
    let i = 0;
    while (i < prefix.length && prefix[i] === value[i]) i++;
    prefix = prefix.slice(0, i);
  }
  return prefix;
}

const META = new Set('\\.+*?()|[]{}^$');

/**
 * The literal character at pattern[at] as [text, next position], or null where a metacharacter stands there. An escaped
 * punctuation character is itself; other escapes are not looked into.
 */
function literalAt(pattern: string, at: number): [string, number] | null {
  const c = pattern[at] as string;
  if (c === '\\') {
    const next = pattern[at + 1];
    return next !== undefined && /^[!-/:-@[-`{-~]$/.test(next) ? [next, at + 2] : null;
  }
  if (META.has(c)) return null;
  const code = pattern.codePointAt(at) as number;
  return code > 0xffff ? [pattern.slice(at, at + 2), at + 2] : [c, at + 1];
}

function isQuantifier(c: string | undefined): boolean {
  return c === '*' || c === '+' || c === '?' || c === '{';
}

/** Every string that the pattern matches, where it is built of literals, groups and `|` only; else null. */
function literalSet(pattern: string): string[] | null {
  const parsed = alternatives(pattern, 0, 0);
  return parsed !== null && parsed.next === pattern.length ? parsed.values : null;
}

interface Parsed {
  values: string[];
  next: number;
}

/** alternatives := sequence ('|' sequence)* ; sequence := (literal | '(' ['?:'] alternatives ')')* */
function alternatives(pattern: string, at: number, depth: number): Parsed | null {
  if (depth > DEPTH_MAX) return null;
  const all: string[] = [];
  let p = at;
  for (;;) {
    const one = sequence(pattern, p, depth);
    if (one === null || all.length + one.values.length > SET_MAX) return null;
    for (const value of one.values) all.push(value);
    p = one.next;
    if (pattern[p] !== '|') return { values: all, next: p };
    p++;
  }
}

function sequence(pattern: string, at: number, depth: number): Parsed | null {
  let values = [''];
  let p = at;
  while (p < pattern.length && pattern[p] !== '|' && pattern[p] !== ')') {
    let choices: string[];
    if (pattern[p] === '(') {
      const start = pattern.startsWith('(?:', p) ? p + 3 : p + 1;
      if (start === p + 1 && pattern[start] === '?') return null;
      const group = alternatives(pattern, start, depth + 1);
      if (group === null || pattern[group.next] !== ')') return null;
      choices = group.values;
      p = group.next + 1;
    } else {
      const literal = literalAt(pattern, p);
      if (literal === null) return null;
      choices = [literal[0]];
      p = literal[1];
    }
    if (isQuantifier(pattern[p])) return null;
    if (values.length * choices.length > SET_MAX) return null;
    values = values.length === 1 ? choices.map(c => values[0] + c) : values.flatMap(v => choices.map(c => v + c));
  }
  return { values, next: p };
}

/** Literal pieces with gaps of any text between them; gap i stands before piece i + 1 and has at least gapMin[i] characters. */
interface Glob {
  pieces: string[];
  gapMin: number[];
}

/** `.*` and `.+` between literals, nothing else. */
function parseGlob(pattern: string): Glob | null {
  const glob: Glob = { pieces: [''], gapMin: [] };
  for (let p = 0; p < pattern.length; ) {
    if (pattern[p] === '.' && (pattern[p + 1] === '*' || pattern[p + 1] === '+')) {
      if (isQuantifier(pattern[p + 2])) return null;
      const min = pattern[p + 1] === '+' ? 1 : 0;
      const last = glob.pieces.length - 1;
      if (last > 0 && glob.pieces[last] === '') {
        glob.gapMin[last - 1] = (glob.gapMin[last - 1] as number) + min;
        // Two or more characters at least: code points against code units, left to the machine.
        if ((glob.gapMin[last - 1] as number) > 1) return null;
      } else {
        glob.pieces.push('');
        glob.gapMin.push(min);
      }
      p += 2;
      continue;
    }
    const literal = literalAt(pattern, p);
    if (literal === null || isQuantifier(pattern[literal[1]])) return null;
    glob.pieces[glob.pieces.length - 1] += literal[0];
    p = literal[1];
  }
  return glob.gapMin.length === 0 ? null : glob;
}

/** Leftmost placement of each piece is always best; the last one must stand at the end. */
function matchGlob(glob: Glob, value: string): boolean {
  const { pieces, gapMin } = glob;
  const first = pieces[0] as string;
  if (!value.startsWith(first)) return false;
  let at = first.length;
  const last = pieces.length - 1;
  for (let i = 1; i < last; i++) {
    const piece = pieces[i] as string;
    const found = value.indexOf(piece, at + (gapMin[i - 1] as number));
    if (found < 0) return false;
    at = found + piece.length;
  }
  const tail = pieces[last] as string;
  return value.length - tail.length >= at + (gapMin[last - 1] as number) && value.endsWith(tail);
}

/** A prefix of every match: the literals in front, where nothing outside of a group offers an alternative. */
function literalPrefix(pattern: string): string {
  if (hasTopLevelAlternative(pattern)) return '';
  let prefix = '';
  for (let p = 0; p < pattern.length; ) {
    const literal = literalAt(pattern, p);
    if (literal === null) break;
    const after = pattern[literal[1]];
    if (after === '*' || after === '?' || after === '{') break;
    prefix += literal[0];
    p = literal[1];
  }
  return prefix;
}

/** Errs towards true: a `|` inside of a class or group counts too if it is hard to tell. */
function hasTopLevelAlternative(pattern: string): boolean {
  if (!pattern.includes('|')) return false;
  let depth = 0;
  for (let p = 0; p < pattern.length; p++) {
    const c = pattern[p];
    if (c === '\\') {
      // \Q...\E quotes and \pN classes are left to the machine.
      if (pattern[p + 1] === 'Q') return true;
      p++;
    } else if (c === '[') return true;
    else if (c === '(') depth++;
    else if (c === ')') depth--;
    else if (c === '|' && depth === 0) return true;
  }
  return false;
}
