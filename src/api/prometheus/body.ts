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
  for await (const chunk of body as AsyncIterable<Uint8Array>) {
    size += chunk.length;
    if (size > bytesMax) throw new BodyTooLargeError(bytesMax);
    chunks.push(chunk);
  }
  const out = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    out.set(chunk, at);
    at += chunk.length;
  }
  return out;
}
