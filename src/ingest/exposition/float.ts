/**
 * Decimal floats from bytes, with the grammar the exposition formats take over from Go: optional sign, digits with an
 * optional point, optional exponent; Inf, Infinity and NaN in any case. No hex, no underscores, nothing out of range.
 *
 * Fast path: up to 15 digits and a power of ten up to 22 are exact in a double, so one multiplication or division rounds
 * correctly (Clinger 1990). Everything else goes through the engine's own conversion.
 */

const POWERS = Float64Array.from({ length: 23 }, (_, i) => 10 ** i);

/** Parses all of bytes[start, end). Writes the value to out[0] and returns true, or returns false. */
export function parseFloatBytes(bytes: Uint8Array, start: number, end: number, out: Float64Array): boolean {
  let p = start;
  let negative = false;
  if (p < end && (bytes[p] === 0x2d || bytes[p] === 0x2b)) negative = bytes[p++] === 0x2d;
  let mantissa = 0;
  let digits = 0;
  let significant = 0;
  let scale = 0;
  let seenPoint = false;
  for (; p < end; p++) {
    const c = bytes[p] as number;
    if (c >= 0x30 && c <= 0x39) {
      digits++;
      if (significant > 0 || c !== 0x30) significant++;
      if (significant <= 15) mantissa = mantissa * 10 + (c - 0x30);
      if (seenPoint) scale--;
    } else if (c === 0x2e && !seenPoint) seenPoint = true;
    else break;
  }
  if (digits === 0) return parseSpecial(bytes, p, end, negative, seenPoint, out);
  if (p < end) {
    const exponent = parseExponent(bytes, p, end);
    if (exponent === null) return false;
    scale += exponent;
  }
  if (significant <= 15 && scale >= -22 && scale <= 22) {
    const value = scale < 0 ? mantissa / (POWERS[-scale] as number) : mantissa * (POWERS[scale] as number);
    out[0] = negative ? -value : value;
    return true;
  }
  // The grammar has been checked: what is left is ASCII that Number understands in the same way.
  const value = Number(latin1(bytes, start, end));
  out[0] = value;
  return Math.abs(value) !== Number.POSITIVE_INFINITY;
}

/** The exponent at p, which must reach to the end; null if there is none there. Capped: beyond 10^5 all is 0 or infinite. */
function parseExponent(bytes: Uint8Array, at: number, end: number): number | null {
  let p = at;
  if (((bytes[p++] as number) | 0x20) !== 0x65) return null;
  let negative = false;
  if (p < end && (bytes[p] === 0x2d || bytes[p] === 0x2b)) negative = bytes[p++] === 0x2d;
  if (p === end) return null;
  let exponent = 0;
  for (; p < end; p++) {
    const c = bytes[p] as number;
    if (c < 0x30 || c > 0x39) return null;
    exponent = Math.min(exponent * 10 + (c - 0x30), 100_000);
  }
  return negative ? -exponent : exponent;
}

function parseSpecial(
  bytes: Uint8Array,
  p: number,
  end: number,
  negative: boolean,
  seenPoint: boolean,
  out: Float64Array,
): boolean {
  const n = end - p;
  if (seenPoint || (n !== 3 && n !== 8)) return false;
  const word = latin1(bytes, p, end).toLowerCase();
  if (word === 'inf' || word === 'infinity') {
    out[0] = negative ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
    return true;
  }
  // Go takes no sign before NaN; the byte before p tells whether there was one.
  if (word !== 'nan' || (p > 0 && (bytes[p - 1] === 0x2d || bytes[p - 1] === 0x2b))) return false;
  out[0] = Number.NaN;
  return true;
}

export function latin1(bytes: Uint8Array, start: number, end: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString('latin1');
}

export function utf8(bytes: Uint8Array, start: number, end: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString('utf8');
}
