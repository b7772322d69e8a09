/** `match[]` parameters: series selectors to matchers. */
import { RE2JS } from 're2js';
import type { Matcher } from '../../model/matcher.ts';
import { matchesEmpty } from '../../query/promql/matcher-check.ts';
import { parseMetricSelector } from '../../query/promql/parser.ts';

/** One list of matchers per selector. Throws an Error whose message is Prometheus'. */
export function parseMatcherSets(selectors: readonly string[]): Matcher[][] {
  const sets = selectors.map(s => parseMetricSelector(s));
  for (const set of sets) {
    // A set that the empty series satisfies would match everything.
    if (set.every(matchesEmpty)) throw new Error('match[] must contain at least one non-empty matcher');
  }
  return sets;
}

/** A test of one label's value ('' where absent). For the few labels of targets and rules, not for series. */
export function compileMatcher(matcher: Matcher): (value: string) => boolean {
  const { op, value } = matcher;
  if (op === '=') return v => v === value;
  if (op === '!=') return v => v !== value;
  const regex = RE2JS.compile(value, RE2JS.DOTALL);
  const wanted = op === '=~';
  return v => regex.matches(v) === wanted;
}
