/**
 * Suite 03, negotiation: validity of names, names escaped in paths, durations. How a client library chooses what to answer a scrape
 * with, and its other ways of escaping names, have no counterpart here.
 */
import { unescapeName } from '../../src/api/prometheus/label-name.ts';
import { isLabelName } from '../../src/config/prometheus/relabel.ts';
import { formatDuration, parseDuration } from '../../src/lib/duration.ts';
import { suiteJson } from './read-suite.ts';
import type { Score, SuiteContext } from './score.ts';

const FOLDER = '03-exposition/negotiation';

export function runNegotiation({ suites }: SuiteContext, score: Score): void {
  unescaping(suites, score);
  validity(suites, score);
  durations(suites, score);
  const negotiation = suiteJson<unknown[]>(suites, FOLDER, 'content_negotiation_cases.json');
  score.leaveOut('how a client library answers a scrape', negotiation.length);
}

/** Absent texts are empty ones. */
function unescaping(suites: string, score: Score): void {
  interface Escaped {
    input?: string;
    expectedValue?: string;
  }
  suiteJson<Escaped[]>(suites, FOLDER, 'name_escaping_cases.json').forEach((c, i) => {
    const got = unescapeName(c.expectedValue ?? '');
    score.judge(`negotiation/name_escaping_cases.json[${i}]`, got === (c.input ?? '') ? '' : `got ${got}`);
  });
  interface Hostile {
    input?: string;
    expected?: string;
  }
  suiteJson<Hostile[]>(suites, FOLDER, 'name_unescape_error_cases.json').forEach((c, i) => {
    const got = unescapeName(c.input ?? '');
    score.judge(`negotiation/name_unescape_error_cases.json[${i}]`, got === (c.expected ?? '') ? '' : `got ${got}`);
  });
}

function validity(suites: string, score: Score): void {
  interface Name {
    mn: string | { bytes_hex: string };
    legacyValid: boolean;
    utf8Valid: boolean;
  }
  suiteJson<Name[]>(suites, FOLDER, 'name_validity_cases.json').forEach((c, i) => {
    // What is no UTF-8 reads as replacement characters.
    const text = typeof c.mn === 'string' ? c.mn : Buffer.from(c.mn.bytes_hex, 'hex').toString();
    const name = `negotiation/name_validity_cases.json[${i}]`;
    score.judge(`${name} utf8`, isLabelName(text, 'utf8') === c.utf8Valid ? '' : `${text} judged otherwise`);
    // Colons are for metric names alone; what is asked here is the rule for labels.
    if (text.includes(':')) score.leaveOut('a metric name with colons, as none is checked by that rule');
    else score.judge(`${name} legacy`, isLabelName(text, 'legacy') === c.legacyValid ? '' : `${text} judged otherwise`);
  });
}

function durations(suites: string, score: Score): void {
  interface DurationCase {
    input: string;
    ns: number;
    canonical: string | null;
  }
  suiteJson<DurationCase[]>(suites, FOLDER, 'duration_cases.json').forEach((c, i) => {
    const ms = parseDuration(c.input);
    const text = formatDuration(ms);
    const right = ms === c.ns / 1e6 && text === (c.canonical ?? c.input);
    score.judge(`negotiation/duration_cases.json[${i}]`, right ? '' : `${c.input} is ${ms} ms, written ${text}`);
  });
}
