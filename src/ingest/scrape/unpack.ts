/**
 * Unpacking of scraped bodies, bounded by what comes out. Usual ones are unpacked at once, which is much faster than by a stream; what
 * turns out large goes through the thread pool, one body at a time, so that a body that unpacks to gigabytes holds up nobody
 * and takes no more memory than the limit.
 */
import { promisify } from 'node:util';
import { gunzip, gunzipSync, zstdDecompress, zstdDecompressSync } from 'node:zlib';

/** A body larger than this, unpacked, is refused whatever the configuration says: about a million series. */
export const BODY_BYTES_MAX = 128 << 20;
/** Some 10 ms of work. */
const AT_ONCE_BYTES = 4 << 20;
const PIECE_BYTES = 64 << 10;

const unzipLater = promisify(gunzip) as (bytes: Uint8Array, options: object) => Promise<Buffer>;
const unzstdLater = promisify(zstdDecompress) as (bytes: Uint8Array, options: object) => Promise<Buffer>;

let queue: Promise<unknown> = Promise.resolve();

export class BodyLimitError extends Error {
  override name = 'BodyLimitError';

  constructor(limit: number) {
    super(`body size limit exceeded: more than ${limit} bytes`);
  }
}

export async function unpackBody(bytes: Uint8Array, encoding: string, limit: number): Promise<Uint8Array> {
  const name = encoding.trim().toLowerCase();
  if (name === '' || name === 'identity') {
    if (bytes.length > limit) throw new BodyLimitError(limit);
    return bytes;
  }
  if (name !== 'gzip' && name !== 'x-gzip' && name !== 'zstd') {
    throw new Error(`the body is packed with ${JSON.stringify(encoding)}, which was not asked for`);
  }
  const isZstd = name === 'zstd';
  try {
    const options = { maxOutputLength: Math.min(limit, AT_ONCE_BYTES), chunkSize: likelySize(bytes, isZstd) };
    return isZstd ? zstdDecompressSync(bytes, options) : gunzipSync(bytes, options);
  } catch (error) {
    if (!isTooLarge(error)) throw new Error(`the body is not ${name}: ${(error as Error).message}`);
    if (limit <= AT_ONCE_BYTES) throw new BodyLimitError(limit);
  }
  const turn = queue.then(() => (isZstd ? unzstdLater : unzipLater)(bytes, { maxOutputLength: limit }));
  queue = turn.catch(() => {});
  try {
    return await turn;
  } catch (error) {
    if (isTooLarge(error)) throw new BodyLimitError(limit);
    throw new Error(`the body is not ${name}: ${(error as Error).message}`);
  }
}

/**
 * Gives a body's memory back now: left to the collector, a steady stream of bodies keeps it at work without end (a fifth of a core at
 * 70 bodies a second), for it counts their bytes and not how few objects there are. The bytes must not be used afterwards.
 */
export function releaseBody(bytes: Uint8Array, unpacked: boolean): void {
  const { buffer } = bytes;
  // What was unpacked is never in Node's shared pool, for pieces are larger than half of it; others may be.
  if ((unpacked || bytes.byteLength === buffer.byteLength) && buffer instanceof ArrayBuffer) buffer.transfer(0);
}

/** One piece for the whole, where gzip's last word about its size is true: pieces would be joined, at the cost of a copy. */
function likelySize(bytes: Uint8Array, isZstd: boolean): number {
  if (isZstd || bytes.length < 18) return PIECE_BYTES;
  const at = bytes.byteOffset + bytes.length - 4;
  const told = new DataView(bytes.buffer, at, 4).getUint32(0, true) + 1;
  return told > PIECE_BYTES && told <= AT_ONCE_BYTES ? told : PIECE_BYTES;
}

function isTooLarge(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE';
}
