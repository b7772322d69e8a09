/**
 * Checks on single matchers: is its regular expression one, and does it accept a label that is absent.
 *
 * Regular expressions are RE2's, through a linear-time engine, anchored at both ends, with the dot matching newlines.
 */
import { RE2JS } from 're2js';
import type { Matcher } from '../../model/matcher.ts';

const META = /[\\.+*?()|[\]{}^$]/;

/** Empty, or why the matcher's regular expression is refused (in RE2's words). */
export function regexProblem(matcher: Matcher): string {
  if (!isRegex(matcher) || !META.test(matcher.value)) return '';
  try {
    // Without flags, which the engine would write into the expression that its message shows.
    RE2JS.compile(matcher.value);
    return '';
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** Whether a series without the label is accepted. The matcher must be valid. */
export function matchesEmpty(matcher: Matcher): boolean {
  const positive = matcher.op === '=' || matcher.op === '=~';
  if (!isRegex(matcher) || !META.test(matcher.value)) return (matcher.value === '') === positive;
  return RE2JS.compile(matcher.value, RE2JS.DOTALL).matches('') === positive;
}

function isRegex(matcher: Matcher): boolean {
  return matcher.op === '=~' || matcher.op === '!~';
}
