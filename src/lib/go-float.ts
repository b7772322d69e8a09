/**
 * Floats as text the way Prometheus prints them: the shortest digits that read back as the same float, laid out by Go's
 * `f` (never an exponent) and `g` (an exponent below 1e-4 and from 1e6 up) rules. JavaScript finds the same digits and
 * differs in layout only.
 */

/** Digits without the point, and the decimal exponent: value = 0.d1d2d3... * 10^point. */
function digitsOf(v: number): { digits: string; point: number } {
  const [mantissa, exponent] = v.toExponential().split('e') as [string, string];
  return { digits: mantissa.replace('.', ''), point: Number(exponent) + 1 };
}

function special(v: number): string | null {
  if (v !== v) return 'NaN';
  if (v === Number.POSITIVE_INFINITY) return '+Inf';
  if (v === Number.NEGATIVE_INFINITY) return '-Inf';
  if (v === 0) return Object.is(v, -0) ? '-0' : '0';
  return null;
}

/** Plain decimal, however long. */
export function formatFloatF(v: number): string {
  const named = special(v);
  if (named !== null) return named;
  const { digits, point } = digitsOf(Math.abs(v));
  const sign = v < 0 ? '-' : '';
  if (point <= 0) return `${sign}0.${'0'.repeat(-point)}${digits}`;
  if (point >= digits.length) return `${sign}${digits}${'0'.repeat(point - digits.length)}`;
  return `${sign}${digits.slice(0, point)}.${digits.slice(point)}`;
}

/** Shortest form, with an exponent where that is below -4 or at least 6. */
export function formatFloatG(v: number): string {
  const named = special(v);
  if (named !== null) return named;
  const { digits, point } = digitsOf(Math.abs(v));
  const exponent = point - 1;
  if (exponent >= -4 && exponent < 6) return formatFloatF(v);
  return exponential(v < 0 ? '-' : '', digits, exponent);
}

/** At most `precision` significant digits, trailing zeros dropped: Go's %.<precision>g. */
export function formatFloatPrecision(v: number, precision: number): string {
  const named = special(v);
  if (named !== null) return named;
  const rounded = Number(v.toPrecision(precision));
  const { digits, point } = digitsOf(Math.abs(rounded));
  const exponent = point - 1;
  // Go decides by the precision, or by the number of digits where the value is whole and has fewer.
  const threshold = precision > digits.length && digits.length >= point ? digits.length : precision;
  if (exponent >= -4 && exponent < threshold) return formatFloatF(rounded);
  return exponential(v < 0 ? '-' : '', digits, exponent);
}

function exponential(sign: string, digits: string, exponent: number): string {
  const mantissa = digits.length > 1 ? `${digits[0]}.${digits.slice(1)}` : digits;
  const magnitude = String(Math.abs(exponent)).padStart(2, '0');
  return `${sign}${mantissa}e${exponent < 0 ? '-' : '+'}${magnitude}`;
}

/** `%f`: six decimals. */
export function formatFloatFixed(v: number): string {
  return special(v) === null || v === 0 ? v.toFixed(6) : (special(v) as string);
}

const DECIMAL = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/;
const NAMED = /^([+-]?)(?:inf|infinity)$/i;

/** Reads a float as Go's ParseFloat does decimal ones, infinities and NaN; null where the text is none. */
export function parseFloatGo(text: string): number | null {
  if (DECIMAL.test(text)) return Number(text);
  const infinite = NAMED.exec(text);
  if (infinite !== null) return infinite[1] === '-' ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  return /^nan$/i.test(text) ? Number.NaN : null;
}
