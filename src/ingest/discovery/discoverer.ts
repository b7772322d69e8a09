/**
 * Discoverer: one mechanism at work for one section, from `run` until its signal is aborted.
 *
 * It tells of targets through its context and never touches anything else, so that one that hangs or lies harms nobody but its own
 * jobs: what it found last goes on to hold. `run` may throw: it is started again after a pause.
 */
import type { Clock } from '../../lib/clock.ts';
import type { HttpClientSettings } from '../../lib/http-client/settings.ts';
import type { Logger } from '../../lib/log.ts';
import type { TargetGroup } from './target-group.ts';

export interface DiscoveryContext {
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** Opens a client; whoever does closes it. */
  openHttp(settings: HttpClientSettings, baseDir: string): SdHttp;
  /** 0 ... 1 */
  random(): number;
  /** These are all groups there are. */
  replace(groups: readonly TargetGroup[]): void;
  /** Groups of the same source are replaced, those without targets removed; the others stay. */
  merge(groups: readonly TargetGroup[]): void;
  /** All that is there by now has been told with `merge`. */
  synced(): void;
  /** An attempt failed; what was told before holds. `scope` tells apart things that are asked for independently. */
  fail(error: unknown, scope?: string): void;
  /** An attempt went well, whatever it brought; `replace` says so for the scope ''. */
  ok(scope?: string): void;
  /** Resolves after `ms`, or at once when the signal is aborted. */
  sleep(ms: number): Promise<void>;
}

export interface Discoverer {
  run(context: DiscoveryContext): Promise<void>;
}

export interface SdRequest {
  url: string;
  headers?: Record<string, string>;
  signal: AbortSignal;
}

/** What discovery needs of a HTTP client; lib/http-client fits. */
export interface SdHttp {
  request(request: SdRequest & { bodyBytesMax: number }): Promise<SdResponse & { body: Uint8Array }>;
  stream(request: SdRequest): Promise<SdResponse & { body: AsyncIterable<Uint8Array>; close(): void }>;
  close(): void;
}

export interface SdResponse {
  status: number;
  statusText: string;
  headers: Readonly<Record<string, string | string[] | undefined>>;
}

/** Longest answer that is read. */
export const BODY_BYTES_MAX = 64 << 20;
/** Refreshes take at most this long, or their interval where that is shorter. */
const REFRESH_TIMEOUT_MS = 30_000;

/** Asks again and again; failures keep what was there and are tried again sooner. */
export async function refreshEvery(
  context: DiscoveryContext,
  intervalMs: number,
  refresh: (signal: AbortSignal) => Promise<readonly TargetGroup[]>,
): Promise<void> {
  const timeoutMs = Math.max(1000, Math.min(intervalMs, REFRESH_TIMEOUT_MS));
  while (!context.signal.aborted) {
    let waitMs = intervalMs;
    try {
      context.replace(await withDeadline(context, timeoutMs, refresh));
    } catch (error) {
      if (context.signal.aborted) return;
      context.fail(error);
      waitMs = Math.min(intervalMs, REFRESH_TIMEOUT_MS);
    }
    await context.sleep(waitMs);
  }
}

/** Runs `work` with a signal that ends with the context's, or after `timeoutMs`; nobody waits for work that ignores it. */
export async function withDeadline<T>(
  context: DiscoveryContext,
  timeoutMs: number,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const own = new AbortController();
  const timer = context.clock.after(timeoutMs, () => own.abort(new Error(`no answer within ${timeoutMs / 1000} s`)));
  const signal = AbortSignal.any([own.signal, context.signal]);
  let stop = (): void => {};
  const ended = new Promise<never>((_done, failed) => {
    stop = () => failed(signal.reason as Error);
    signal.addEventListener('abort', stop, { once: true });
  });
  try {
    signal.throwIfAborted();
    return await Promise.race([work(signal), ended]);
  } finally {
    timer.cancel();
    signal.removeEventListener('abort', stop);
  }
}

/** The JSON of an answer with status 200. */
export async function getJson(
  http: SdHttp,
  request: SdRequest & { bodyBytesMax?: number },
): Promise<{ value: unknown; headers: SdResponse['headers'] }> {
  const headers = { accept: 'application/json', 'accept-encoding': 'gzip', ...request.headers };
  const response = await http.request({ ...request, headers, bodyBytesMax: request.bodyBytesMax ?? BODY_BYTES_MAX });
  if (response.status !== 200) throw new HttpStatusError(response, response.body);
  return { value: parseJson(response.body), headers: response.headers };
}

export function parseJson(body: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('utf8'));
  } catch (error) {
    throw new Error(`the answer is no JSON: ${(error as Error).message}`);
  }
}

/** Characters of an answer that are shown. */
const SHOWN_MAX = 200;

export class HttpStatusError extends Error {
  override name = 'HttpStatusError';
  readonly status: number;

  constructor(response: SdResponse, body: Uint8Array) {
    const text = Buffer.from(body.subarray(0, 4 * SHOWN_MAX)).toString('utf8');
    const said = text.slice(0, SHOWN_MAX).replaceAll(/\s+/g, ' ').trim();
    super(
      `server returned HTTP status ${response.status} ${response.statusText}${said === '' ? '' : `: ${said}`}`.trim(),
    );
    this.status = response.status;
  }
}

/** Growing pauses between failures, with jitter so that many do not come back at once. */
export class Backoff {
  private readonly context: DiscoveryContext;
  private readonly maxMs: number;
  private nextMs = 1000;

  constructor(context: DiscoveryContext, maxMs: number) {
    this.context = context;
    this.maxMs = maxMs;
  }

  reset(): void {
    this.nextMs = 1000;
  }

  async pause(): Promise<void> {
    const ms = this.nextMs;
    this.nextMs = Math.min(2 * ms, this.maxMs);
    await this.context.sleep(ms * (0.75 + 0.5 * this.context.random()));
  }
}
