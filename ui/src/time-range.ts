/**
 * Time: the ranges a person picks, the step that fits a range and a width, and how moments and spans are written.
 * Milliseconds throughout. No DOM in here.
 */

/** A span that ends now and moves on, or one that stands still. */
export type TimeRange = { kind: 'last'; spanMs: number } | { kind: 'fixed'; startMs: number; endMs: number };

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const WEEK = 7 * DAY;

export const PRESETS: { label: string; spanMs: number }[] = [
  { label: '5m', spanMs: 5 * MINUTE },
  { label: '15m', spanMs: 15 * MINUTE },
  { label: '1h', spanMs: HOUR },
  { label: '6h', spanMs: 6 * HOUR },
  { label: '24h', spanMs: DAY },
  { label: '7d', spanMs: WEEK },
];

/** Steps that people can read, in milliseconds. */
const STEPS = [
  SECOND,
  2 * SECOND,
  5 * SECOND,
  10 * SECOND,
  15 * SECOND,
  30 * SECOND,
  MINUTE,
  2 * MINUTE,
  5 * MINUTE,
  10 * MINUTE,
  15 * MINUTE,
  30 * MINUTE,
  HOUR,
  2 * HOUR,
  6 * HOUR,
  12 * HOUR,
  DAY,
];

const POINTS_MIN = 60;
const POINTS_MAX = 500;
/** Nothing is scraped more often by default; finer steps would only repeat points. */
const AUTO_STEP_MIN_MS = 5 * SECOND;
/** The API refuses more points a series. */
const API_POINTS_MAX = 11_000;
export const SPAN_MIN_MS = 10 * SECOND;
/** The last moment that a Date can hold. */
const DATE_MAX_MS = 8.64e15;

export interface Span {
  startMs: number;
  endMs: number;
}

export function resolve(range: TimeRange, nowMs: number): Span {
  return range.kind === 'fixed'
    ? { startMs: range.startMs, endMs: range.endMs }
    : { startMs: nowMs - range.spanMs, endMs: nowMs };
}

export function spanOf(range: TimeRange): number {
  return range.kind === 'fixed' ? range.endMs - range.startMs : range.spanMs;
}

/** The smallest readable step that gives a point every 2 pixels or more. */
export function autoStep(spanMs: number, widthPx: number): number {
  const points = Math.min(POINTS_MAX, Math.max(POINTS_MIN, widthPx / 2));
  const wanted = spanMs / points;
  return (
    STEPS.find(step => step >= wanted && (step >= AUTO_STEP_MIN_MS || spanMs < 2 * MINUTE)) ??
    Math.ceil(wanted / DAY) * DAY
  );
}

/** A step that a person asked for, made larger where the API would refuse it. */
export function allowedStep(stepMs: number, spanMs: number): number {
  return Math.max(stepMs, Math.ceil(spanMs / (API_POINTS_MAX - 1)));
}

/** Start and end on multiples of the step: points then keep their place while the range moves on. */
export function alignToStep(span: Span, stepMs: number): Span {
  return {
    startMs: Math.floor(span.startMs / stepMs) * stepMs,
    endMs: Math.floor(span.endMs / stepMs) * stepMs,
  };
}

/** The range around the same middle, `factor` times as long, not beyond `nowMs` if it was not before. */
export function zoomOut(range: TimeRange, factor: number, nowMs: number): TimeRange {
  if (range.kind === 'last') return { kind: 'last', spanMs: range.spanMs * factor };
  const span = range.endMs - range.startMs;
  const grow = (span * (factor - 1)) / 2;
  const endMs = range.endMs <= nowMs ? Math.min(nowMs, range.endMs + grow) : range.endMs + grow;
  return { kind: 'fixed', startMs: Math.max(0, endMs - span * factor), endMs };
}

/** Half a range to the left (-1) or right (1). */
export function shift(range: TimeRange, direction: -1 | 1, nowMs: number): TimeRange {
  const { startMs, endMs } = resolve(range, nowMs);
  const by = ((endMs - startMs) / 2) * direction;
  if (direction === 1 && endMs + by >= nowMs) return { kind: 'last', spanMs: endMs - startMs };
  return { kind: 'fixed', startMs: Math.max(0, startMs + by), endMs: Math.max(endMs - startMs, endMs + by) };
}

const UNITS: [string, number][] = [
  ['w', WEEK],
  ['d', DAY],
  ['h', HOUR],
  ['m', MINUTE],
  ['s', SECOND],
  ['ms', 1],
];

/** 90_000 -> "1m30s". */
export function formatSpan(spanMs: number): string {
  let rest = Math.round(spanMs);
  let text = '';
  for (const [unit, size] of UNITS) {
    if (unit === 'w' && rest % WEEK !== 0) continue;
    const count = Math.floor(rest / size);
    if (count > 0) text += `${count}${unit}`;
    rest -= count * size;
  }
  return text === '' ? '0s' : text;
}

/** "1h30m", "15s", "2d" or plain seconds; null for anything else, zero included. */
export function parseSpan(text: string): number | null {
  const trimmed = text.trim();
  if (/^\d{1,12}(\.\d{1,3})?$/.test(trimmed)) return positive(Number(trimmed) * SECOND);
  if (!/^(\d{1,9}(ms|w|d|h|m|s))+$/.test(trimmed)) return null;
  let total = 0;
  for (const [, count, unit] of trimmed.matchAll(/(\d+)(ms|w|d|h|m|s)/g)) {
    total += Number(count) * (UNITS.find(([name]) => name === unit) as [string, number])[1];
  }
  return positive(total);
}

function positive(value: number): number | null {
  return value > 0 && value <= DATE_MAX_MS ? value : null;
}

/** A moment that a Date can show and the API can take. */
export function isMoment(timeMs: number): boolean {
  return Number.isFinite(timeMs) && timeMs >= 0 && timeMs <= DATE_MAX_MS;
}

/** Local time, with as much as tells moments of this span apart. */
export function formatMoment(timeMs: number, spanMs: number): string {
  const date = new Date(timeMs);
  const two = (value: number): string => String(value).padStart(2, '0');
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  const clock = `${two(date.getHours())}:${two(date.getMinutes())}`;
  return spanMs > 6 * HOUR ? `${day} ${clock}` : `${day} ${clock}:${two(date.getSeconds())}`;
}
