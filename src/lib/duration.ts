/**
 * Durations as Prometheus writes them: `5m`, `1h30m`, `1d12h`, `250ms`. Values are milliseconds.
 *
 * Units go from largest to smallest, each at most once: y (365 d), w, d, h, m, s, ms. A bare number is refused, except
 * `0`. The upper bound is what 63 bits of nanoseconds hold (about 292 years), so that whatever is accepted here is
 * accepted by Prometheus too. Messages are Prometheus' own, because rule files and the API show them.
 */

/** Largest duration, in ms: 2^63 - 1 nanoseconds. */
export const MAX_DURATION_MS = 9_223_372_036_854.775;

const UNIT_MS: Readonly<Record<string, number>> = {
  y: 365 * 86_400_000,
  w: 7 * 86_400_000,
  d: 86_400_000,
  h: 3_600_000,
  m: 60_000,
  s: 1000,
  ms: 1,
};
const UNIT_ORDER = ['y', 'w', 'd', 'h', 'm', 's', 'ms'];
/** Counts above 64 bits are a syntax error, below that (and too large in the unit) a range error. */
const MAX_COUNT = 2 ** 64;

export class DurationError extends Error {
  override name = 'DurationError';
}

/** Milliseconds of a duration such as `1h30m`; throws DurationError. */
export function parseDuration(text: string): number {
  if (text === '0') return 0;
  if (text === '') throw new DurationError('empty duration string');
  let total = 0;
  let lastUnit = -1;
  let at = 0;
  while (at < text.length) {
    const numberStart = at;
    while (isDigit(text.charCodeAt(at))) at++;
    const count = Number(text.slice(numberStart, at));
    const unitStart = at;
    while (at < text.length && !isDigit(text.charCodeAt(at))) at++;
    if (unitStart === numberStart || unitStart === at || count > MAX_COUNT) throw invalid(text);
    const unit = text.slice(unitStart, at);
    const order = UNIT_ORDER.indexOf(unit);
    if (order < 0) {
      throw new DurationError(`unknown unit ${JSON.stringify(unit)} in duration ${JSON.stringify(text)}`);
    }
    if (order <= lastUnit) throw invalid(text);
    lastUnit = order;
    total += count * (UNIT_MS[unit] as number);
    if (total > MAX_DURATION_MS) throw new DurationError('duration out of range');
  }
  return total;
}

/** As parseDuration, with an optional sign in front. */
export function parseSignedDuration(text: string): number {
  const negative = text.startsWith('-');
  const ms = parseDuration(negative || text.startsWith('+') ? text.slice(1) : text);
  return negative && ms !== 0 ? -ms : ms;
}

/** The shortest usual notation of a duration in ms; fractions of a millisecond are cut off. */
export function formatDuration(ms: number): string {
  let rest = Math.trunc(Math.abs(ms));
  if (rest === 0) return '0s';
  let out = ms < 0 ? '-' : '';
  for (const unit of UNIT_ORDER) {
    const size = UNIT_MS[unit] as number;
    // Years and weeks only where nothing is left over: 90d reads better than 12w6d.
    if ((unit === 'y' || unit === 'w') && rest % size !== 0) continue;
    const count = Math.floor(rest / size);
    if (count === 0) continue;
    out += `${count}${unit}`;
    rest -= count * size;
  }
  return out;
}

function invalid(text: string): DurationError {
  return new DurationError(`not a valid duration string: ${JSON.stringify(text)}`);
}

function isDigit(code: number): boolean {
  return code >= 48 && code <= 57;
}
