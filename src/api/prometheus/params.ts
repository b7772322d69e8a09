/**
 * Request parameters as Prometheus reads them: times, durations, limits, flags, with the same acceptance and the same texts.
 *
 * A time is Unix seconds (any float) or RFC 3339; it becomes whole milliseconds, cut towards the past. A duration is seconds (any
 * float) or `1h30m`. Bounds of open ranges are the largest whole numbers that arithmetic keeps exact.
 */
import { parseDuration as parseUnits } from '../../lib/duration.ts';
import { badData, invalidParam } from '../errors.ts';

/** What `start` and `end` mean where they are not given, ms. */
export const TIME_MIN_MS = Number.MIN_SAFE_INTEGER;
export const TIME_MAX_MS = Number.MAX_SAFE_INTEGER;

/** Go prints its own extreme times so; clients send them back. */
const MIN_TIME_TEXT = '-292273086-05-16T16:47:06Z';
const MAX_TIME_TEXT = '292277025-08-18T07:12:54.999999999Z';

const GO_FLOAT = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/;
const RFC3339 = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(?:Z|([+-])(\d\d):(\d\d))$/;
/** Prometheus counts nanoseconds in int64. */
const DURATION_MAX_MS = 2 ** 63 / 1e6;

/** The form of one request: first value wins where one is wanted. */
export class Params {
  private readonly form: URLSearchParams;
  constructor(text: string) {
    this.form = new URLSearchParams(text);
  }

  /** '' where absent, as Go's FormValue. */
  get(name: string): string {
    return this.form.get(name) ?? '';
  }

  all(name: string): string[] {
    return this.form.getAll(name);
  }

  /** Required time. */
  time(name: string): number {
    const ms = parseTime(this.get(name));
    if (ms === null) throw invalidParam(name, `cannot parse ${quote(this.get(name))} to a valid timestamp`);
    return ms;
  }

  timeOr(name: string, fallbackMs: number): number {
    const text = this.get(name);
    if (text === '') return fallbackMs;
    const ms = parseTime(text);
    if (ms === null) {
      throw invalidParam(name, `Invalid time value for '${name}': cannot parse ${quote(text)} to a valid timestamp`);
    }
    return ms;
  }

  /** Milliseconds, fractions kept. */
  duration(name: string): number {
    return parseDurationOrThrow(this.get(name), message => invalidParam(name, message));
  }

  durationOr(name: string, fallbackMs: number): number {
    return this.get(name) === '' ? fallbackMs : this.duration(name);
  }

  lookbackMs(): number | undefined {
    const text = this.get('lookback_delta');
    if (text === '') return undefined;
    const ms = Math.trunc(parseDurationOrThrow(text, m => badData(`error parsing lookback delta duration: ${m}`)));
    // As there: nothing above zero means the default.
    return ms > 0 ? ms : undefined;
  }

  /** 0 = no limit. */
  limit(): number {
    const text = this.get('limit');
    if (text === '') return 0;
    const n = atoi(text);
    if (n === null) throw invalidParam('limit', atoiError(text));
    if (n < 0) throw invalidParam('limit', 'limit must be non-negative');
    return n;
  }

  /** Of metadata endpoints: -1 = no limit, and an own text. */
  metadataLimit(name: string): number {
    const text = this.get(name);
    if (text === '') return -1;
    const n = atoi(text);
    if (n === null) throw badData(`${name} must be a number`);
    return n;
  }

  /** Go's ParseBool; the fallback where absent. */
  bool(name: string, fallback: boolean): boolean {
    const text = this.get(name);
    if (text === '') return fallback;
    const value = parseBool(text);
    if (value === null) {
      throw invalidParam(name, `unable to parse boolean: strconv.ParseBool: parsing ${quote(text)}: invalid syntax`);
    }
    return value;
  }
}

/** Milliseconds since the epoch, or null. */
export function parseTime(text: string): number | null {
  if (GO_FLOAT.test(text)) {
    const seconds = Number(text);
    if (!Number.isFinite(seconds)) return null;
    const whole = Math.trunc(seconds);
    const ms = whole * 1000 + Math.round((seconds - whole) * 1000);
    return Math.min(Math.max(ms, TIME_MIN_MS), TIME_MAX_MS);
  }
  const m = RFC3339.exec(text);
  if (m !== null) return rfc3339(m);
  if (text === MIN_TIME_TEXT) return TIME_MIN_MS;
  if (text === MAX_TIME_TEXT) return TIME_MAX_MS;
  return null;
}

function rfc3339(m: RegExpExecArray): number | null {
  const [year, month, day, hour, minute, second] = m.slice(1, 7).map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const zoneMinutes = m[8] === undefined ? 0 : Number(m[9]) * 60 + Number(m[10]);
  if (hour > 23 || minute > 59 || second > 59 || zoneMinutes > 24 * 60 || Number(m[10] ?? 0) > 59) return null;
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  // 30 February and month 13 roll over: refuse what does not come back.
  if (date.getUTCFullYear() !== year || date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day) return null;
  const fractionMs = Math.floor(Number(`0.${m[7] ?? '0'}`) * 1000 + 1e-9);
  const local = date.getTime() + ((hour * 60 + minute) * 60 + second) * 1000 + fractionMs;
  return local - (m[8] === '-' ? -zoneMinutes : zoneMinutes) * 60_000;
}

/** Milliseconds, or null; seconds as a float, or `1h30m`. */
export function parseDuration(text: string): number | null {
  try {
    return parseDurationOrThrow(text, message => new Error(message));
  } catch {
    return null;
  }
}

function parseDurationOrThrow(text: string, fail: (message: string) => Error): number {
  if (GO_FLOAT.test(text)) {
    const ms = Number(text) * 1000;
    if (!(Math.abs(ms) < DURATION_MAX_MS)) {
      throw fail(`cannot parse ${quote(text)} to a valid duration. It overflows int64`);
    }
    return ms;
  }
  try {
    return parseUnits(text);
  } catch {
    throw fail(`cannot parse ${quote(text)} to a valid duration`);
  }
}

function atoi(text: string): number | null {
  if (!/^[+-]?\d+$/.test(text)) return null;
  const n = Number(text);
  return Number.isSafeInteger(n) ? n : null;
}

function atoiError(text: string): string {
  const reason = /^[+-]?\d+$/.test(text) ? 'value out of range' : 'invalid syntax';
  return `strconv.Atoi: parsing ${quote(text)}: ${reason}`;
}

function parseBool(text: string): boolean | null {
  if (/^(?:1|t|T|true|TRUE|True)$/.test(text)) return true;
  if (/^(?:0|f|F|false|FALSE|False)$/.test(text)) return false;
  return null;
}

/** A Go-quoted string, near enough: JSON's escapes are the same for what people type. */
export function quote(text: string): string {
  return JSON.stringify(text);
}
