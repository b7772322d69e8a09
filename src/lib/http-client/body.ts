/**
 * Response bodies: read whole within a bound. Unpacked ones are bounded by what comes out, so that a small packed body that unpacks
 * to gigabytes ends at the limit.
 */
import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { createGunzip, createZstdDecompress } from 'node:zlib';

export class BodyTooLargeError extends Error {
  override name = 'BodyTooLargeError';

  constructor(limit: number) {
    super(`body size limit exceeded: more than ${limit} bytes`);
  }
}

/** Whoever reads may count along; throwing ends the transfer. */
export type OnBytes = (total: number) => void;

/** The body as it was sent. */
export function readRaw(response: IncomingMessage, limit: number, onBytes?: OnBytes): Promise<Uint8Array> {
  const announced = Number(response.headers['content-length'] ?? 0);
  if (announced > limit) {
    response.destroy();
    return Promise.reject(new BodyTooLargeError(limit));
  }
  return new Promise((done, failed) => {
    const chunks: Buffer[] = [];
    let size = 0;
    response.on('data', (chunk: Buffer) => {
      size += chunk.length;
      try {
        if (size > limit) throw new BodyTooLargeError(limit);
        onBytes?.(size);
      } catch (error) {
        chunks.length = 0;
        response.destroy();
        failed(error);
        return;
      }
      chunks.push(chunk);
    });
    response.once('end', () => done(joined(chunks, size)));
    response.once('error', failed);
    response.once('close', () => failed(new Error('the connection was closed before the whole body had come')));
  });
}

/** One array with a buffer of its own, so that it can be moved to another thread. */
function joined(chunks: readonly Buffer[], size: number): Uint8Array {
  const out = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    out.set(chunk, at);
    at += chunk.length;
  }
  return out;
}

/** The body unpacked as it comes. */
export function unpacked(response: IncomingMessage): Readable {
  const encoding = (response.headers['content-encoding'] ?? '').toLowerCase();
  if (encoding === '' || encoding === 'identity') return response;
  if (encoding !== 'gzip' && encoding !== 'zstd') {
    response.destroy();
    throw new Error(`the body is packed with ${JSON.stringify(encoding)}, which was not asked for`);
  }
  const unpack = encoding === 'gzip' ? createGunzip() : createZstdDecompress();
  // Errors of the connection must reach the reader of the unpacked stream.
  response.on('error', error => unpack.destroy(error));
  response.on('close', () => {
    if (!response.complete) unpack.destroy(new Error('the connection was closed before the whole body had come'));
  });
  unpack.on('close', () => response.destroy());
  return response.pipe(unpack);
}

export async function readUnpacked(response: IncomingMessage, limit: number): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of unpacked(response)) {
      size += (chunk as Buffer).length;
      if (size > limit) throw new BodyTooLargeError(limit);
      chunks.push(chunk as Buffer);
    }
  } catch (error) {
    response.destroy();
    throw error;
  }
  return joined(chunks, size);
}
