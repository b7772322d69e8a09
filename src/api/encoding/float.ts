/**
 * Floats as Prometheus' JSON and text formats write them: Go's shortest 'f' notation, 'e' below 1e-6 and from 1e21 on.
 *
 * JavaScript's shortest notation has the same digits and the same two borders; what differs is the sign of zero, the
 * infinities, and at least two digits in an exponent (1e-07). Most values in practice are whole or have up to three decimals:
 * those are written digit by digit without making a string.
 */

export function formatFloat(v: number): string {
  if (v !== v) return 'NaN';
  if (v === 0) return Object.is(v, -0) ? '-0' : '0';
  if (v === Number.POSITIVE_INFINITY) return '+Inf';
  if (v === Number.NEGATIVE_INFINITY) return '-Inf';
  const text = String(v);
  const e = text.indexOf('e');
  if (e === -1) return text;
  // 1e-7 -> 1e-07; three-digit exponents stand.
  return text.length - e === 3 ? `${text.slice(0, e + 2)}0${text.slice(e + 2)}` : text;
}

/** Go's 'e' notation with the shortest digits: 1e+00, 2.5e-01. */
export function formatFloatE(v: number): string {
  if (v !== v) return 'NaN';
  if (v === Number.POSITIVE_INFINITY) return '+Inf';
  if (v === Number.NEGATIVE_INFINITY) return '-Inf';
  const text = Object.is(v, -0) ? '-0e+0' : v.toExponential();
  const e = text.indexOf('e');
  return text.length - e === 3 ? `${text.slice(0, e + 2)}0${text.slice(e + 2)}` : text;
}

/** The longest text of a float64: -1.7976931348623157e+308 is 24, 0.000001234567890123456 in 'f' is 25 with its sign. */
export const FLOAT_BYTES_MAX = 32;

/** Writes the text at `at` and returns the end; the caller has FLOAT_BYTES_MAX bytes of room. */
export function writeFloat(out: Uint8Array, at: number, v: number): number {
  // Fast path: whole numbers up to 2^53 - 1, but not -0.
  if (Number.isSafeInteger(v) && !(v === 0 && 1 / v < 0)) return writeInteger(out, at, v);
  // Fast path: up to three decimals. n/1000 with at most 15 digits is the shortest text of its double.
  if (v < 1e11 && v > -1e11) {
    const scaled = Math.round(v * 1000);
    if (scaled / 1000 === v && scaled !== 0) return writeThousandths(out, at, scaled);
  }
  const text = formatFloat(v);
  for (let i = 0; i < text.length; i++) out[at + i] = text.charCodeAt(i);
  return at + text.length;
}

function writeThousandths(out: Uint8Array, at: number, scaled: number): number {
  let p = at;
  let n = scaled;
  if (n < 0) {
    out[p++] = 0x2d;
    n = -n;
  }
  const whole = Math.floor(n / 1000);
  let rest = n - whole * 1000;
  p = writeInteger(out, p, whole);
  out[p++] = 0x2e;
  const tenths = (rest / 100) | 0;
  rest -= tenths * 100;
  out[p++] = 0x30 + tenths;
  if (rest === 0) return p;
  const hundredths = (rest / 10) | 0;
  rest -= hundredths * 10;
  out[p++] = 0x30 + hundredths;
  if (rest === 0) return p;
  out[p++] = 0x30 + rest;
  return p;
}

/** A whole number of magnitude below 2^53. */
export function writeInteger(out: Uint8Array, at: number, v: number): number {
  let p = at;
  let n = v;
  if (n < 0) {
    out[p++] = 0x2d;
    n = -n;
  }
  if (n < 10) {
    out[p] = 0x30 + n;
    return p + 1;
  }
  if (n >= 1e9) {
    // Two halves of up to nine digits each, so that the digit loops stay in 32-bit arithmetic.
    const high = Math.floor(n / 1e9);
    p = writeInteger(out, p, high);
    return writePadded(out, p, n - high * 1e9, 9);
  }
  return writePadded(out, p, n, digits(n));
}

function writePadded(out: Uint8Array, at: number, v: number, width: number): number {
  let n = v | 0;
  for (let i = at + width - 1; i >= at; i--) {
    const q = (n / 10) | 0;
    out[i] = 0x30 + (n - q * 10);
    n = q;
  }
  return at + width;
}

/** Decimal digits of 0 <= n < 1e9. */
function digits(n: number): number {
  if (n < 1e4) return n < 100 ? (n < 10 ? 1 : 2) : n < 1000 ? 3 : 4;
  if (n < 1e6) return n < 1e5 ? 5 : 6;
  return n < 1e7 ? 7 : n < 1e8 ? 8 : 9;
}

/** Milliseconds as seconds with up to three decimals, all three where there are any: 1.5 s is 1.500, as Prometheus writes it. */
export function writeTimestamp(out: Uint8Array, at: number, ms: number): number {
  let p = at;
  let n = ms;
  if (n < 0) {
    out[p++] = 0x2d;
    n = -n;
  }
  const seconds = Math.floor(n / 1000);
  const rest = n - seconds * 1000;
  p = writeInteger(out, p, seconds);
  if (rest === 0) return p;
  out[p++] = 0x2e;
  return writePadded(out, p, rest, 3);
}

export function formatTimestamp(ms: number): string {
  const scratch = new Uint8Array(FLOAT_BYTES_MAX);
  return Buffer.from(scratch.buffer, 0, writeTimestamp(scratch, 0, ms)).toString('latin1');
}
