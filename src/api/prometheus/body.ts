/** Request bodies as one piece of memory. */

export class BodyTooLargeError extends Error {
  override name = 'BodyTooLargeError';
  readonly statusCode = 413;
  constructor(bytesMax: number) {
    super(`the request body is larger than ${bytesMax} bytes: send smaller batches`);
  }
}

/** A whole body in an ArrayBuffer of its own, so that it can move to another thread. Rejects above the limit. */
export async function collect(body: unknown, bytesMax: number): Promise<Uint8Array> {
  if (body === undefined || body === null) return new Uint8Array(0);
  if (typeof body === 'string') return new TextEncoder().encode(body);
  const chunks: Uint8Array[] = [];
  let size = 0;
  // Not for-await: leaving that early would destroy the socket before the client has read why.
  const reader = (body as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]();
  for (;;) {
    const next = await reader.next();
    if (next.done) break;
    size += next.value.length;
    if (size > bytesMax) throw new BodyTooLargeError(bytesMax);
    chunks.push(next.value);
  }
  const out = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    out.set(chunk, at);
    at += chunk.length;
  }
  return out;
}
