/** Functions of one float: name -> function. Those with scalar arguments and the date functions stand beside them. */

export const FLOAT_FUNCTIONS: ReadonlyMap<string, (v: number) => number> = new Map<string, (v: number) => number>([
  ['abs', Math.abs],
  ['ceil', Math.ceil],
  ['floor', Math.floor],
  ['exp', Math.exp],
  ['sqrt', Math.sqrt],
  ['ln', Math.log],
  ['log2', Math.log2],
  ['log10', Math.log10],
  ['sin', Math.sin],
  ['cos', Math.cos],
  ['tan', Math.tan],
  ['asin', Math.asin],
  ['acos', Math.acos],
  ['atan', Math.atan],
  ['sinh', Math.sinh],
  ['cosh', Math.cosh],
  ['tanh', Math.tanh],
  ['asinh', Math.asinh],
  ['acosh', Math.acosh],
  ['atanh', Math.atanh],
  ['rad', v => (v * Math.PI) / 180],
  ['deg', v => (v * 180) / Math.PI],
  ['sgn', v => (v < 0 ? -1 : v > 0 ? 1 : v)],
]);

/** Nearest multiple, ties upwards. */
export function roundTo(v: number, nearest: number): number {
  // Multiplying with the inverse costs less accuracy than dividing.
  const inverse = 1 / nearest;
  return Math.floor(v * inverse + 0.5) / inverse;
}

/** Go's math.Min and math.Max: NaN wins. JavaScript's agree, signed zeros included. */
export function clamp(v: number, min: number, max: number): number {
  return Math.max(min, Math.min(max, v));
}

const DAY_MS = 86_400_000;

/** Functions of a time in seconds, in UTC. */
export const DATE_FUNCTIONS: ReadonlyMap<string, (seconds: number) => number> = new Map<string, (s: number) => number>([
  ['minute', s => part(s, d => d.getUTCMinutes())],
  ['hour', s => part(s, d => d.getUTCHours())],
  ['day_of_week', s => part(s, d => d.getUTCDay())],
  ['day_of_month', s => part(s, d => d.getUTCDate())],
  [
    'day_of_year',
    s => part(s, d => (Date.UTC(d.getUTCFullYear(), d.getUTCMonth(), d.getUTCDate()) - yearStart(d)) / DAY_MS + 1),
  ],
  ['days_in_month', s => part(s, d => new Date(Date.UTC(d.getUTCFullYear(), d.getUTCMonth() + 1, 0)).getUTCDate())],
  ['month', s => part(s, d => d.getUTCMonth() + 1)],
  ['year', s => part(s, d => d.getUTCFullYear())],
]);

function yearStart(d: Date): number {
  return Date.UTC(d.getUTCFullYear(), 0, 1);
}

/** Fractions of a second are cut. A time that no calendar date has gives NaN. */
function part(seconds: number, f: (d: Date) => number): number {
  const date = new Date(Math.trunc(seconds) * 1000);
  return Number.isNaN(date.getTime()) ? Number.NaN : f(date);
}
