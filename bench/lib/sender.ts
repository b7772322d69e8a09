/**
 * Remote-write sender: a few kept connections, one request at a time on each, bodies that were encoded before. Its own
 * CPU is small and is not counted, but it shares the machine with the server: figures per CPU-second are the ones that
 * compare.
 */
import { Agent } from 'node:http';
import type { Source } from './corpus.ts';
import { call, sleep } from './http.ts';
import { REMOTE_WRITE_HEADERS } from './write-request.ts';

export interface SendResult {
  requests: number;
  samples: number;
  seconds: number;
  /** Answers 429 or 503, each sent again after a pause. */
  retries: number;
}

export interface Body {
  bytes: Uint8Array;
  samples: number;
}

export const CONNECTIONS = 8;
const RETRIES_MAX = 200;

/**
 * Sends what each source gives until it gives null, one connection a source. Order is kept within a source only, so all
 * requests of a series belong to one (as a real sender's shards do).
 */
export async function send(
  url: string,
  sources: Source[],
  headers: Record<string, string> = REMOTE_WRITE_HEADERS,
): Promise<SendResult> {
  const agent = new Agent({ keepAlive: true, maxSockets: sources.length });
  const result: SendResult = { requests: 0, samples: 0, seconds: 0, retries: 0 };
  const began = performance.now();
  const connection = async (next: Source): Promise<void> => {
    for (let body = await next(); body !== null; body = await next()) {
      result.retries += await sendOne(url, body, agent, headers);
      result.requests++;
      result.samples += body.samples;
    }
  };
  try {
    await Promise.all(sources.map(connection));
  } finally {
    agent.destroy();
  }
  result.seconds = (performance.now() - began) / 1000;
  return result;
}

async function sendOne(url: string, body: Body, agent: Agent, headers: Record<string, string>): Promise<number> {
  for (let retries = 0; ; retries++) {
    const answer = await call(url, { method: 'POST', headers, body: body.bytes }, agent);
    if (answer.status >= 200 && answer.status < 300) return retries;
    const overloaded = answer.status === 429 || answer.status === 503;
    if (!overloaded || retries >= RETRIES_MAX) {
      throw new Error(`POST ${url}: HTTP ${answer.status}: ${answer.body.toString('utf8').slice(0, 300)}`);
    }
    await sleep(100);
  }
}
