/**
 * The benchmark's HTTP client: node:http with kept connections, bodies as bytes, uncompressed answers (so that nobody's
 * gzip is measured), and the time from writing the request to the last byte of the answer.
 */
import { Agent, request } from 'node:http';

export interface Answer {
  status: number;
  body: Buffer;
  /** Milliseconds. */
  tookMs: number;
}

export interface CallOptions {
  method?: 'GET' | 'POST';
  headers?: Record<string, string>;
  body?: Uint8Array;
  timeoutMs?: number;
}

export const sharedAgent = new Agent({ keepAlive: true, maxSockets: 64 });

export function call(url: string, options: CallOptions = {}, agent: Agent = sharedAgent): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const began = performance.now();
    const headers: Record<string, string> = { 'accept-encoding': 'identity', ...options.headers };
    if (options.body) headers['content-length'] = String(options.body.byteLength);
    const outgoing = request(url, { method: options.method ?? 'GET', headers, agent }, incoming => {
      const pieces: Buffer[] = [];
      incoming.on('data', (piece: Buffer) => pieces.push(piece));
      incoming.on('end', () => {
        const body = pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces);
        resolve({ status: incoming.statusCode ?? 0, body, tookMs: performance.now() - began });
      });
      incoming.on('error', reject);
    });
    outgoing.on('error', reject);
    outgoing.setTimeout(options.timeoutMs ?? 600_000, () => outgoing.destroy(new Error(`no answer in time: ${url}`)));
    outgoing.end(options.body);
  });
}

/** The answer's body as text; anything but 2xx is an error that quotes the start of the body. */
export async function callText(url: string, options: CallOptions = {}): Promise<string> {
  const answer = await call(url, options);
  const text = answer.body.toString('utf8');
  if (answer.status < 200 || answer.status > 299) {
    throw new Error(`${options.method ?? 'GET'} ${url}: HTTP ${answer.status}: ${text.slice(0, 400)}`);
  }
  return text;
}

export function sleep(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms));
}
