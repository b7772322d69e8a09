/**
 * Response compression by Accept-Encoding: zstd or gzip, both at their fastest level (gzip -6 costs five times as much for a sixth less).
 *
 * Runs where the answer is encoded, not on the thread that owns the sockets. Small answers go out as they are.
 */
import { pipeline, Readable, type Transform } from 'node:stream';
import { constants, createGzip, createZstdCompress, gzipSync, zstdCompressSync } from 'node:zlib';
import type { QueryResponse } from '../contracts/query-service.ts';
import { abandonable } from './streams.ts';

export type Encoding = 'zstd' | 'gzip' | 'identity';

/** Below this, headers and CPU cost more than the bytes saved. */
const COMPRESS_BYTES_MIN = 1024;
/** Up to this size in one call: about a millisecond. */
const SYNC_BYTES_MAX = 256 * 1024;
const OUTPUT_CHUNK_BYTES = 64 * 1024;
const GZIP_LEVEL = 1;
const ZSTD_PARAMS = { [constants.ZSTD_c_compressionLevel]: 1 };

/** What the client likes best of what we have; zstd before gzip where it does not care. */
export function chooseEncoding(acceptEncoding: string): Encoding {
  let zstd = -1;
  let gzip = -1;
  let any = -1;
  for (const part of acceptEncoding.toLowerCase().split(',')) {
    const [name, ...params] = part.split(';').map(s => s.trim());
    const q = params.find(p => p.startsWith('q='));
    const weight = q === undefined ? 1 : Number(q.slice(2)) || 0;
    if (name === 'zstd') zstd = weight;
    else if (name === 'gzip' || name === 'x-gzip') gzip = weight;
    else if (name === '*') any = weight;
  }
  // `*` speaks for gzip only: every client that sends it can do that.
  if (gzip === -1) gzip = any;
  if (zstd > 0 && zstd >= gzip) return 'zstd';
  return gzip > 0 ? 'gzip' : 'identity';
}

/** The same response, compressed where it pays. */
export function compressResponse(response: QueryResponse, acceptEncoding: string): QueryResponse {
  const { body } = response;
  const headers: Record<string, string> = { ...response.headers, vary: 'Accept-Encoding' };
  if (response.headers['content-encoding'] !== undefined) return response;
  const encoding = chooseEncoding(acceptEncoding);
  const size = body instanceof Uint8Array ? body.length : Number.POSITIVE_INFINITY;
  if (encoding === 'identity' || size < COMPRESS_BYTES_MIN) return { ...response, headers };
  headers['content-encoding'] = encoding;
  if (body instanceof Uint8Array && size <= SYNC_BYTES_MAX) {
    const bytes =
      encoding === 'gzip' ? gzipSync(body, { level: GZIP_LEVEL }) : zstdCompressSync(body, { params: ZSTD_PARAMS });
    return { ...response, headers, body: bytes };
  }
  if (body instanceof Uint8Array) return { ...response, headers, body: compressed([body], encoding) };
  const abandon = () => void body[Symbol.asyncIterator]().return?.();
  return { ...response, headers, body: abandonable(compressed(body, encoding), abandon) };
}

async function* compressed(
  source: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  encoding: 'gzip' | 'zstd',
): AsyncGenerator<Uint8Array> {
  const transform: Transform =
    encoding === 'gzip'
      ? createGzip({ level: GZIP_LEVEL, chunkSize: OUTPUT_CHUNK_BYTES })
      : createZstdCompress({ params: ZSTD_PARAMS, chunkSize: OUTPUT_CHUNK_BYTES });
  // Errors reach the reader through the transform, which the pipeline destroys with them.
  pipeline(Readable.from(source, { objectMode: false }), transform, () => {});
  for await (const chunk of transform as AsyncIterable<Buffer>) {
    // Pieces of a shared buffer become ones of their own, so that they can move between threads.
    yield chunk.byteLength === chunk.buffer.byteLength ? chunk : new Uint8Array(chunk);
  }
}
