/**
 * HttpScrapeFetcher: gets one exposition over HTTP, on kept-alive connections, within a time and a size, and within what all scrapes
 * together may hold.
 *
 * Bodies are handed on as they came, packed or not; whoever reads them unpacks them. Jobs with equal client settings share a client.
 */
import type { ScrapeBody } from '../../contracts/scrape-store.ts';
import { BodyTooLargeError } from '../../lib/http-client/body.ts';
import { HttpClient } from '../../lib/http-client/http-client.ts';
import type { HttpClientSettings } from '../../lib/http-client/settings.ts';
import type { MetricsRegistry } from '../../lib/metrics.ts';
import { BODY_BYTES_MAX } from './unpack.ts';

export interface ScrapeRequest {
  url: string;
  headers: Record<string, string>;
  /** Of the body, packed or not; 0 = the built-in bound. */
  bodyBytesMax: number;
  settings: HttpClientSettings;
  baseDir: string;
  signal: AbortSignal;
}

export interface ScrapeResponse {
  body: ScrapeBody;
  /** The body is not held any more. */
  release(): void;
}

export interface ScrapeFetcher {
  /** Rejects with a message for people: no connection, a status other than 200, too large, too late. */
  fetch(request: ScrapeRequest): Promise<ScrapeResponse>;
}

export function isTooLarge(error: unknown): boolean {
  return error instanceof BodyTooLargeError;
}

/** What bodies on their way may take together; beyond it, those larger than SMALL_BYTES are refused. */
const HELD_BYTES_MAX = 256 << 20;
const SMALL_BYTES = 1 << 20;
/** A client that has not been used for so long is closed. ms. */
const CLIENT_IDLE_MS = 600_000;

interface Used {
  client: HttpClient;
  at: number;
}

export class HttpScrapeFetcher implements ScrapeFetcher {
  private readonly userAgent: string;
  private readonly heldBytesMax: number;
  private readonly clients = new Map<string, Used>();
  /** Settings objects met before: they are looked up far more often than they change. */
  private readonly keys = new WeakMap<HttpClientSettings, string>();
  private held = 0;

  constructor(userAgent: string, heldBytesMax = HELD_BYTES_MAX) {
    this.userAgent = userAgent;
    this.heldBytesMax = heldBytesMax;
  }

  async fetch(request: ScrapeRequest): Promise<ScrapeResponse> {
    const { url, headers, signal } = request;
    let mine = 0;
    const release = (): void => {
      this.held -= mine;
      mine = 0;
    };
    const count = (total: number): void => {
      this.held += total - mine;
      mine = total;
      if (total > SMALL_BYTES && this.held > this.heldBytesMax) {
        throw new Error(`too many large bodies at once: scrapes hold ${this.heldBytesMax} bytes`);
      }
    };
    try {
      const bodyBytesMax = request.bodyBytesMax > 0 ? Math.min(request.bodyBytesMax, BODY_BYTES_MAX) : BODY_BYTES_MAX;
      const client = this.clientFor(request.settings, request.baseDir);
      const accept = (status: number, text: string): void => {
        if (status !== 200) throw new Error(`server returned HTTP status ${status} ${text}`.trim());
      };
      const response = await client.requestRaw({ url, headers, signal, bodyBytesMax, accept }, count);
      const { 'content-type': contentType = '', 'content-encoding': contentEncoding = '' } = response.headers;
      return { body: { contentType, contentEncoding, bytes: response.body }, release };
    } catch (error) {
      release();
      throw error;
    }
  }

  /** Bytes of bodies that are being fetched or read. */
  get heldBytes(): number {
    return this.held;
  }

  register(metrics: MetricsRegistry): void {
    const gauge = metrics.gauge('sightline_scrape_held_bytes', 'Bytes of scraped bodies being fetched or read.');
    metrics.onCollect(() => gauge.set(this.held));
  }

  close(): void {
    for (const { client } of this.clients.values()) client.close();
    this.clients.clear();
  }

  private clientFor(settings: HttpClientSettings, baseDir: string): HttpClient {
    let key = this.keys.get(settings);
    if (key === undefined) {
      key = JSON.stringify([baseDir, settings], (_name, value) => (value instanceof Map ? [...value] : value));
      this.keys.set(settings, key);
    }
    const now = performance.now();
    let used = this.clients.get(key);
    if (used === undefined) {
      for (const [old, { client, at }] of this.clients) {
        if (now - at < CLIENT_IDLE_MS) continue;
        client.close();
        this.clients.delete(old);
      }
      used = { client: new HttpClient(settings, { baseDir, userAgent: this.userAgent }), at: now };
      this.clients.set(key, used);
    }
    used.at = now;
    return used.client;
  }
}
