// biome-ignore-all lint/correctness/noPrecisionLoss: AssemblyScript has 64-bit literals.
/**
 * The ingest kernel, in AssemblyScript: snappy block decompression, the scan of a remote-write 1.0 WriteRequest into
 * columns, and the identity hash, all inside one memory that is reused from request to request.
 *
 * Its twin in plain JavaScript is ../js-backend.ts; a differential test holds the two together, so change both. The
 * layout of the parameter block, the row kinds and the error codes are in ../layout.ts; the numbers below repeat them.
 *
 * Bounds: every length is checked against the end of what holds it before it is used. Loads may run up to 16 bytes past
 * a checked end, copies may write up to 16 bytes past theirs: the wrapper leaves slack after each region, so that such
 * bytes are read and thrown away, never out of bounds. Nothing here allocates, calls out or loops without advancing.
 */

// The parameter block (byte offsets), as in layout.ts.
const SEED: usize = 0;
const MESSAGE_START: usize = 16;
const MESSAGE_END: usize = 20;
const SERIES_CAPACITY: usize = 24;
const SAMPLE_CAPACITY: usize = 28;
const EXTRA_CAPACITY: usize = 32;
const LABEL_START: usize = 36;
const LABEL_END: usize = 40;
const HASHES: usize = 44;
const SAMPLE_START: usize = 48;
const TIMESTAMPS: usize = 52;
const VALUES: usize = 56;
const EXTRAS: usize = 60;
const SERIES_COUNT: usize = 64;
const SAMPLE_COUNT: usize = 68;
const EXTRA_COUNT: usize = 72;
const ERROR_AT: usize = 76;
const ODD_TIMES: usize = 80;

// Kinds of extras, as in layout.ts.
const SLOW_LABELS: u32 = 0;
const EXEMPLAR: u32 = 1;
const HISTOGRAM: u32 = 2;
const METADATA: u32 = 3;

// Error codes, as in layout.ts.
const TRUNCATED: i32 = 1;
const BAD_VARINT: i32 = 2;
const BAD_WIRE_TYPE: i32 = 3;
const BAD_FIELD: i32 = 4;
const SERIES_ROOM: i32 = 5;
const SAMPLE_ROOM: i32 = 6;
const EXTRA_ROOM: i32 = 7;
const SNAPPY_LITERAL: i32 = 8;
const SNAPPY_COPY: i32 = 9;
const SNAPPY_OFFSET: i32 = 10;
const SNAPPY_LENGTH: i32 = 11;

const HIGH_BITS: u64 = 0x8080808080808080;
/** "__name__" as a little-endian word. */
const METRIC_NAME: u64 = 0x5f5f656d616e5f5f;

/** Set by the varint readers: where reading goes on, 0 after a varint of more than ten bytes; and whether it was minimal. */
let next: usize = 0;
let minimal: bool = true;

function fail(code: i32, at: usize): i32 {
  store<u32>(ERROR_AT, at as u32);
  return code;
}

/** Reads a varint of up to ten bytes at p. The caller checks `next` against its end afterwards. */
function varint(p: usize): u64 {
  let value: u64 = 0;
  let shift: u64 = 0;
  let q = p;
  for (; shift < 70; shift += 7) {
    const b = load<u8>(q++);
    value |= ((b & 0x7f) as u64) << shift;
    if (b < 0x80) {
      next = q;
      minimal = b !== 0 || shift === 0;
      return value;
    }
  }
  next = 0;
  return 0;
}

/** A length: as `varint`, capped so that comparing it as u32 with the room left refuses whatever is too long. */
function length(p: usize): u32 {
  const value = varint(p);
  return value > 0xffffffff ? 0xffffffff : (value as u32);
}

/** SipHash-1-3-128 of [start, end) to `out` (16 bytes). Returns the OR of all message words. */
function sipHash(start: usize, end: usize, out: usize): u64 {
  const k0 = load<u64>(SEED);
  const k1 = load<u64>(SEED, 8);
  let v0 = k0 ^ 0x736f6d6570736575;
  let v1 = k1 ^ 0x646f72616e646f6d ^ 0xee;
  let v2 = k0 ^ 0x6c7967656e657261;
  let v3 = k1 ^ 0x7465646279746573;
  const size = end - start;
  const whole = start + (size & ~7);
  let seen: u64 = 0;
  let m: u64 = 0;
  let p = start;
  for (; p < whole; p += 8) {
    m = load<u64>(p);
    seen |= m;
    v3 ^= m;
    v0 += v1;
    v1 = rotl<u64>(v1, 13) ^ v0;
    v0 = rotl<u64>(v0, 32);
    v2 += v3;
    v3 = rotl<u64>(v3, 16) ^ v2;
    v0 += v3;
    v3 = rotl<u64>(v3, 21) ^ v0;
    v2 += v1;
    v1 = rotl<u64>(v1, 17) ^ v2;
    v2 = rotl<u64>(v2, 32);
    v0 ^= m;
  }
  m = load<u64>(p) & ~((-1 as u64) << (((size & 7) as u64) << 3));
  seen |= m;
  m |= (size as u64) << 56;
  for (let i = 0; i < 7; i++) {
    v3 ^= m;
    v0 += v1;
    v1 = rotl<u64>(v1, 13) ^ v0;
    v0 = rotl<u64>(v0, 32);
    v2 += v3;
    v3 = rotl<u64>(v3, 16) ^ v2;
    v0 += v3;
    v3 = rotl<u64>(v3, 21) ^ v0;
    v2 += v1;
    v1 = rotl<u64>(v1, 17) ^ v2;
    v2 = rotl<u64>(v2, 32);
    v0 ^= m;
    if (i === 0) {
      m = 0;
      v2 ^= 0xee;
    } else if (i === 3) {
      store<u64>(out, v0 ^ v1 ^ v2 ^ v3);
      v1 ^= 0xdd;
    }
  }
  store<u64>(out, v0 ^ v1 ^ v2 ^ v3, 8);
  return seen;
}

export function hash(start: usize, end: usize, out: usize): void {
  sipHash(start, end, out);
}

/** Strict UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF. */
function isUtf8(start: usize, end: usize): bool {
  let p = start;
  while (p < end) {
    const b = load<u8>(p++) as u32;
    if (b < 0x80) continue;
    let more: u32 = 1;
    let low: u32 = 0x80;
    let high: u32 = 0xbf;
    if (b >= 0xf0) {
      if (b > 0xf4) return false;
      more = 3;
      if (b === 0xf0) low = 0x90;
      else if (b === 0xf4) high = 0x8f;
    } else if (b >= 0xe0) {
      more = 2;
      if (b === 0xe0) low = 0xa0;
      else if (b === 0xed) high = 0x9f;
    } else if (b < 0xc2) return false;
    if (((end - p) as u32) < more) return false;
    for (; more > 0; more--) {
      const c = load<u8>(p++) as u32;
      if (c < low || c > high) return false;
      low = 0x80;
      high = 0xbf;
    }
  }
  return true;
}

/** Whether every name and value of a canonical label region is UTF-8. */
function labelsAreUtf8(start: usize, end: usize): bool {
  let p = start;
  while (p < end) {
    length(p + 1);
    const nameLength = length(next + 1);
    const name = next;
    const valueLength = length(name + nameLength + 1);
    const value = next;
    if (!isUtf8(name, name + nameLength) || !isUtf8(value, value + valueLength)) return false;
    p = value + valueLength;
  }
  return true;
}

/** Whether name a[0, an) sorts strictly before name b[0, bn). */
function sortsBefore(a: usize, an: u32, b: usize, bn: u32): bool {
  const n = an < bn ? an : bn;
  for (let i: u32 = 0; i < n; i++) {
    const x = load<u8>(a + i);
    const y = load<u8>(b + i);
    if (x !== y) return x < y;
  }
  return an < bn;
}

/** Skips the value of a field whose tag ended at p. Returns the end, or 0 with the error noted. */
function skip(wire: u32, p: usize, end: usize): usize {
  if (wire === 0) {
    varint(p);
    if (next === 0 || next > end) return 0;
    return next;
  }
  if (wire === 2) {
    const n = length(p);
    if (next === 0 || next > end || n > ((end - next) as u32)) return 0;
    return next + n;
  }
  const n: usize = wire === 1 ? 8 : 4;
  return n > end - p ? 0 : p + n;
}

/**
 * Reads one field that is not one of the usual forms: unknown ones are skipped, known ones in odd form are refused.
 * `known` is a bit mask of field numbers. Returns 0 with `next` at the end of the field, or an error code.
 */
function oddField(p: usize, end: usize, known: u32): i32 {
  const tag = varint(p);
  const q = next;
  if (q === 0) return fail(BAD_VARINT, p);
  if (q > end) return fail(TRUNCATED, p);
  const wire = (tag as u32) & 7;
  const field = tag >> 3;
  if (field === 0 || field > 0x1fffffff) return fail(BAD_FIELD, p);
  if (field < 32 && ((1 << (field as u32)) & known) !== 0) return fail(BAD_WIRE_TYPE, p);
  if (wire === 3 || wire === 4 || wire > 5) return fail(BAD_WIRE_TYPE, p);
  const after = skip(wire, q, end);
  if (after === 0) return fail(TRUNCATED, p);
  next = after;
  return 0;
}

function pushExtra(series: u32, kind: u32, start: usize, end: usize): bool {
  const n = load<u32>(EXTRA_COUNT);
  if (n === load<u32>(EXTRA_CAPACITY)) return false;
  const at = (load<u32>(EXTRAS) as usize) + (n << 4);
  store<u32>(at, series);
  store<u32>(at, kind, 4);
  store<u32>(at, start as u32, 8);
  store<u32>(at, end as u32, 12);
  store<u32>(EXTRA_COUNT, n + 1);
  return true;
}

/** A sample in any field order: value at `valueAt`, timestamp at `timeAt`. Last field wins, as protobuf has it. */
function oddSample(p: usize, end: usize, timeAt: usize, valueAt: usize): i32 {
  let value: u64 = 0;
  let time: u64 = 0;
  let q = p;
  while (q < end) {
    const tag = load<u8>(q);
    if (tag === 0x09) {
      if (end - q < 9) return fail(TRUNCATED, q);
      value = load<u64>(q, 1);
      q += 9;
    } else if (tag === 0x10) {
      time = varint(q + 1);
      if (next === 0) return fail(BAD_VARINT, q);
      if (next > end) return fail(TRUNCATED, q);
      q = next;
    } else {
      const code = oddField(q, end, 6);
      if (code !== 0) return code;
      q = next;
    }
  }
  store<u64>(valueAt, value);
  store<f64>(timeAt, time as i64 as f64);
  // Negative, or 2^53 and above: not a whole number of milliseconds that we can keep.
  if (time >> 53 !== 0) store<u32>(ODD_TIMES, 1);
  return 0;
}

/** Scans the message [MESSAGE_START, MESSAGE_END) into the columns. Returns 0 or an error code. */
export function scan(): i32 {
  const end = load<u32>(MESSAGE_END) as usize;
  const seriesCapacity = load<u32>(SERIES_CAPACITY);
  const sampleCapacity = load<u32>(SAMPLE_CAPACITY);
  const labelStarts = load<u32>(LABEL_START) as usize;
  const labelEnds = load<u32>(LABEL_END) as usize;
  const hashes = load<u32>(HASHES) as usize;
  const sampleStarts = load<u32>(SAMPLE_START) as usize;
  const timestamps = load<u32>(TIMESTAMPS) as usize;
  const values = load<u32>(VALUES) as usize;
  store<u32>(EXTRA_COUNT, 0);
  store<u32>(ODD_TIMES, 0);
  let series: u32 = 0;
  let samples: u32 = 0;
  let p = load<u32>(MESSAGE_START) as usize;
  while (p < end) {
    const tag = load<u8>(p);
    if (tag !== 0x0a && tag !== 0x1a) {
      const code = oddField(p, end, 0b1010);
      if (code !== 0) return code;
      p = next;
      continue;
    }
    const size = length(p + 1);
    const row = next;
    if (row === 0) return fail(BAD_VARINT, p);
    if (row > end || size > ((end - row) as u32)) return fail(TRUNCATED, p);
    const rowEnd = row + size;
    if (tag === 0x1a) {
      if (!pushExtra(0, METADATA, row, rowEnd)) return fail(EXTRA_ROOM, p);
      p = rowEnd;
      continue;
    }
    if (series === seriesCapacity) return fail(SERIES_ROOM, p);
    store<u32>(sampleStarts + (series << 2), samples);
    // Kept up to date for the position of an error.
    store<u32>(SERIES_COUNT, series);

    let labelStart: usize = row;
    let labelEnd: usize = 0;
    let name: usize = 0;
    let nameLength: u32 = 0;
    let slow = false;
    let named = false;
    let q = row;
    while (q < rowEnd) {
      const t = load<u8>(q);
      if (t === 0x0a) {
        let n = load<u8>(q, 1) as u32;
        let s = q + 2;
        if (n >= 0x80) {
          n = length(q + 1);
          s = next;
          if (s === 0) return fail(BAD_VARINT, q);
          if (!minimal) slow = true;
        }
        if (s > rowEnd || n > ((rowEnd - s) as u32)) return fail(TRUNCATED, q);
        const e = s + n;
        if (labelEnd === 0) labelStart = q;
        else if (q !== labelEnd) slow = true;
        labelEnd = e;
        q = e;
        // Canonical: name and value once each, in this order, neither empty, minimal lengths, names ascending.
        if (!slow) {
          slow = true;
          let nl = load<u8>(s, 1) as u32;
          let ns = s + 2;
          if (nl >= 0x80) {
            nl = length(s + 1);
            ns = next;
            if (ns === 0 || !minimal) continue;
          }
          if (load<u8>(s) !== 0x0a || nl === 0 || ns >= e || nl >= ((e - ns) as u32)) continue;
          const ne = ns + nl;
          let vl = load<u8>(ne, 1) as u32;
          let vs = ne + 2;
          if (vl >= 0x80) {
            vl = length(ne + 1);
            vs = next;
            if (vs === 0 || !minimal) continue;
          }
          if (load<u8>(ne) !== 0x12 || vs >= e || vl !== ((e - vs) as u32)) continue;
          if (nameLength !== 0) {
            const x = load<u8>(name);
            const y = load<u8>(ns);
            if (x > y || (x === y && !sortsBefore(name, nameLength, ns, nl))) continue;
          }
          if (nl === 8 && load<u64>(ns) === METRIC_NAME) named = true;
          name = ns;
          nameLength = nl;
          slow = false;
        }
      } else if (t === 0x12) {
        let n = load<u8>(q, 1) as u32;
        let s = q + 2;
        if (n >= 0x80) {
          n = length(q + 1);
          s = next;
          if (s === 0) return fail(BAD_VARINT, q);
        }
        if (s > rowEnd || n > ((rowEnd - s) as u32)) return fail(TRUNCATED, q);
        if (samples === sampleCapacity) return fail(SAMPLE_ROOM, q);
        const timeAt = timestamps + (samples << 3);
        const valueAt = values + (samples << 3);
        samples++;
        const time = load<u64>(s, 10);
        // Fast path: value, then a timestamp of six varint bytes (November 2004 to 2109).
        if (n === 16 && load<u8>(s) === 0x09 && load<u8>(s, 9) === 0x10 && (time & 0x808080808080) === 0x8080808080) {
          store<u64>(valueAt, load<u64>(s, 1));
          store<f64>(
            timeAt,
            ((time & 0x7f) |
              ((time >> 1) & 0x3f80) |
              ((time >> 2) & 0x1fc000) |
              ((time >> 3) & 0xfe00000) |
              ((time >> 4) & 0x7f0000000) |
              ((time >> 5) & 0x3f800000000)) as f64,
          );
        } else {
          const code = oddSample(s, s + n, timeAt, valueAt);
          if (code !== 0) return code;
        }
        q = s + n;
      } else if (t === 0x1a || t === 0x22) {
        const n = length(q + 1);
        const s = next;
        if (s === 0) return fail(BAD_VARINT, q);
        if (s > rowEnd || n > ((rowEnd - s) as u32)) return fail(TRUNCATED, q);
        if (!pushExtra(series, t === 0x1a ? EXEMPLAR : HISTOGRAM, s, s + n)) return fail(EXTRA_ROOM, q);
        q = s + n;
      } else {
        const code = oddField(q, rowEnd, 0b11110);
        if (code !== 0) return code;
        q = next;
      }
    }
    if (!slow && named) {
      const seen = sipHash(labelStart, labelEnd, hashes + (series << 4));
      if ((seen & HIGH_BITS) !== 0) slow = !labelsAreUtf8(labelStart, labelEnd);
    }
    if (slow || !named) {
      if (!pushExtra(series, SLOW_LABELS, row, rowEnd)) return fail(EXTRA_ROOM, p);
      labelEnd = labelStart;
    }
    store<u32>(labelStarts + (series << 2), labelStart as u32);
    store<u32>(labelEnds + (series << 2), labelEnd as u32);
    series++;
    p = rowEnd;
  }
  store<u32>(sampleStarts + (series << 2), samples);
  store<u32>(SERIES_COUNT, series);
  store<u32>(SAMPLE_COUNT, samples);
  return 0;
}

/** Decompresses the elements of a snappy block (its length already read) [ip, ipEnd) into exactly [op, opEnd). */
export function snappy(from: usize, ipEnd: usize, to: usize, opEnd: usize): i32 {
  let ip = from;
  let op = to;
  while (ip < ipEnd) {
    const tag = load<u8>(ip) as u32;
    const at = ip++;
    if ((tag & 3) === 0) {
      let n = tag >> 2;
      if (n >= 60) {
        const k = n - 59;
        if (ipEnd - ip < k) return fail(SNAPPY_LITERAL, at);
        n = load<u32>(ip) & ((-1 as u32) >> (32 - (k << 3)));
        ip += k;
      }
      // n is the length - 1, so that 2^32 - 1 cannot wrap.
      if (n >= ((ipEnd - ip) as u32) || n >= ((opEnd - op) as u32)) return fail(SNAPPY_LITERAL, at);
      n++;
      if (n <= 64) {
        for (let i: u32 = 0; i < n; i += 16) v128.store(op + i, v128.load(ip + i));
      } else memory.copy(op, ip, n);
      ip += n;
      op += n;
      continue;
    }
    let n: u32;
    let offset: u32;
    if ((tag & 3) === 1) {
      n = ((tag >> 2) & 7) + 4;
      offset = ((tag & 0xe0) << 3) | (load<u8>(ip) as u32);
      ip += 1;
    } else {
      n = (tag >> 2) + 1;
      if ((tag & 3) === 2) {
        offset = load<u16>(ip) as u32;
        ip += 2;
      } else {
        offset = load<u32>(ip);
        ip += 4;
      }
    }
    if (ip > ipEnd) return fail(SNAPPY_COPY, at);
    if (offset === 0 || offset > ((op - to) as u32)) return fail(SNAPPY_OFFSET, at);
    if (n > ((opEnd - op) as u32)) return fail(SNAPPY_LENGTH, at);
    const src = op - offset;
    if (offset >= 16) {
      for (let i: u32 = 0; i < n; i += 16) v128.store(op + i, v128.load(src + i));
    } else if (offset >= 8) {
      for (let i: u32 = 0; i < n; i += 8) store<u64>(op + i, load<u64>(src + i));
    } else {
      for (let i: u32 = 0; i < n; i++) store<u8>(op + i, load<u8>(src + i));
    }
    op += n;
  }
  if (op !== opEnd) return fail(SNAPPY_LENGTH, ip);
  return 0;
}
