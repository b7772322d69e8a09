/**
 * Snappy in plain JavaScript: the block format, for what is not the ingest path (remote read, senders, tests, tools).
 * Requests of remote write are decompressed in the kernel (lib/kernel), not here.
 *
 * Format: https://github.com/google/snappy/blob/main/format_description.txt. Everything is bounded by the caller's
 * `maxBytes`, checked against the declared length before anything is allocated.
 */

export class SnappyError extends Error {
  override name = 'SnappyError';
}

const HASH_BITS = 14;
/** Matches are looked for within one fragment, so that offsets fit two bytes. */
const FRAGMENT = 65536;
const table = new Uint16Array(1 << HASH_BITS);

/** An upper bound of the compressed size. */
export function snappyMaxLength(size: number): number {
  return 32 + size + Math.floor(size / 6);
}

/** Compresses to a block. */
export function snappyCompress(input: Uint8Array): Uint8Array {
  const out = new Uint8Array(snappyMaxLength(input.length));
  let p = 0;
  let rest = input.length;
  while (rest >= 0x80) {
    out[p++] = (rest % 0x80) | 0x80;
    rest = Math.floor(rest / 0x80);
  }
  out[p++] = rest;
  for (let start = 0; start < input.length; start += FRAGMENT) {
    p = compressFragment(input, start, Math.min(start + FRAGMENT, input.length), out, p);
  }
  return out.subarray(0, p);
}

function compressFragment(input: Uint8Array, start: number, end: number, out: Uint8Array, at: number): number {
  let op = at;
  let literal = start;
  // The last 15 bytes are always literal: four-byte loads then never leave the fragment.
  const limit = end - 15;
  if (start < limit) {
    table.fill(0);
    let ip = start + 1;
    // The step grows while nothing matches: incompressible data is passed over quickly.
    let misses = 32;
    while (ip < limit) {
      const word = load32(input, ip);
      const slot = Math.imul(word, 0x1e35a7bd) >>> (32 - HASH_BITS);
      const candidate = start + (table[slot] as number);
      table[slot] = ip - start;
      if (candidate >= ip || load32(input, candidate) !== word) {
        ip += misses++ >>> 5;
        continue;
      }
      if (literal < ip) op = emitLiteral(input, literal, ip, out, op);
      let length = 4;
      while (ip + length < end && input[candidate + length] === input[ip + length]) length++;
      op = emitCopy(out, op, ip - candidate, length);
      ip += length;
      literal = ip;
      misses = 32;
    }
  }
  return literal < end ? emitLiteral(input, literal, end, out, op) : op;
}

function load32(b: Uint8Array, p: number): number {
  return (b[p] as number) | ((b[p + 1] as number) << 8) | ((b[p + 2] as number) << 16) | ((b[p + 3] as number) << 24);
}

function emitLiteral(input: Uint8Array, start: number, end: number, out: Uint8Array, at: number): number {
  let op = at;
  const n = end - start - 1;
  if (n < 60) out[op++] = n << 2;
  else if (n < 256) {
    out[op++] = 60 << 2;
    out[op++] = n;
  } else {
    // A fragment has at most 2^16 bytes.
    out[op++] = 61 << 2;
    out[op++] = n & 0xff;
    out[op++] = n >>> 8;
  }
  out.set(input.subarray(start, end), op);
  return op + end - start;
}

function emitCopy(out: Uint8Array, at: number, offset: number, length: number): number {
  let op = at;
  let rest = length;
  while (rest > 0) {
    // Leave at least 4 for the last element: the short form cannot say less.
    const n = rest > 64 ? (rest < 68 ? 60 : 64) : rest;
    if (n >= 4 && n < 12 && offset < 2048) {
      out[op++] = 1 | ((n - 4) << 2) | ((offset >>> 8) << 5);
      out[op++] = offset & 0xff;
    } else {
      out[op++] = 2 | ((n - 1) << 2);
      out[op++] = offset & 0xff;
      out[op++] = offset >>> 8;
    }
    rest -= n;
  }
  return op;
}

/** Decompresses a block into a new array. */
export function snappyDecompress(block: Uint8Array, maxBytes: number): Uint8Array {
  let size = 0;
  let ip = 0;
  for (; ; ip++) {
    const b = block[ip];
    if (b === undefined || ip === 5) throw new SnappyError('the snappy block does not begin with a valid length');
    size += (b & 0x7f) * 2 ** (7 * ip);
    if (b < 0x80) break;
  }
  if (size > maxBytes)
    throw new SnappyError(`the snappy block declares ${size} bytes; at most ${maxBytes} are accepted`);
  const out = new Uint8Array(size);
  decompressElements(block, ip + 1, out);
  return out;
}

function decompressElements(block: Uint8Array, from: number, out: Uint8Array): void {
  let ip = from;
  let op = 0;
  while (ip < block.length) {
    const at = ip;
    const tag = block[ip++] as number;
    let n = tag >>> 2;
    if ((tag & 3) === 0) {
      if (n >= 60) {
        const k = n - 59;
        if (block.length - ip < k) throw corrupt(at);
        n = 0;
        for (let i = 0; i < k; i++) n += (block[ip++] as number) * 2 ** (8 * i);
      }
      n++;
      if (n > block.length - ip || n > out.length - op) throw corrupt(at);
      out.set(block.subarray(ip, ip + n), op);
      ip += n;
      op += n;
      continue;
    }
    const k = (tag & 3) === 3 ? 4 : tag & 3;
    if (block.length - ip < k) throw corrupt(at);
    let offset = 0;
    for (let i = 0; i < k; i++) offset += (block[ip++] as number) * 2 ** (8 * i);
    if (k === 1) {
      n = ((tag >>> 2) & 7) + 4;
      offset += (tag & 0xe0) << 3;
    } else n++;
    if (offset === 0 || offset > op || n > out.length - op) throw corrupt(at);
    for (let i = 0; i < n; i++) out[op + i] = out[op + i - offset] as number;
    op += n;
  }
  if (op !== out.length) throw new SnappyError(`the snappy block holds ${op} bytes but declares ${out.length}`);
}

function corrupt(at: number): SnappyError {
  return new SnappyError(`the snappy block is corrupt at byte ${at}`);
}
