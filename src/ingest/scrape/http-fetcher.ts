/**
 * HttpScrapeFetcher: gets one exposition over HTTP, on kept-alive connections, within a time and a size.
 *
 * node:http rather than fetch: the body is bounded while it is unpacked (a gzip bomb ends at the limit), connections are
 * kept per target, and no proxy or cookie is involved.
 */
import { readFileSync } from 'node:fs';
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { resolve } from 'node:path';
import type { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import type { ScrapeHttpSettings } from './scrape-job.ts';

export interface ScrapeRequest {
  url: string;
  headers: Record<string, string>;
  /** Of the unpacked body; 0 = the built-in bound. */
  bodyBytesMax: number;
  followRedirects: boolean;
  signal: AbortSignal;
}

export interface ScrapeResponse {
  contentType: string;
  body: Uint8Array;
}

export interface ScrapeFetcher {
  /** Rejects with a message for people: no connection, a status other than 200, too large, too late. */
  fetch(request: ScrapeRequest): Promise<ScrapeResponse>;
}

/** A body larger than this is refused whatever the configuration says. */
const BODY_BYTES_MAX = 512 << 20;
const REDIRECTS_MAX = 10;

export class HttpScrapeFetcher implements ScrapeFetcher {
  private readonly userAgent: string;
  private readonly http = new HttpAgent({ keepAlive: true, maxFreeSockets: 2000, timeout: 330_000 });
  private readonly https = new HttpsAgent({ keepAlive: true, maxFreeSockets: 2000, timeout: 330_000 });

  constructor(userAgent: string) {
    this.userAgent = userAgent;
  }

  async fetch(request: ScrapeRequest): Promise<ScrapeResponse> {
    let url = new URL(request.url);
    let headers: Record<string, string> = { ...request.headers, 'user-agent': this.userAgent };
    for (let redirects = 0; ; redirects++) {
      const response = await this.once(url, headers, request.signal);
      const status = response.statusCode ?? 0;
      const location = response.headers.location;
      if (request.followRedirects && status >= 301 && status <= 308 && location !== undefined) {
        response.resume();
        if (redirects === REDIRECTS_MAX) throw new Error(`stopped after ${REDIRECTS_MAX} redirects`);
        const next = new URL(location, url);
        if (!/^https?:$/.test(next.protocol)) throw new Error(`redirected to ${next.protocol}, which is not scraped`);
        // Credentials are for the host they were configured for.
        if (next.origin !== url.origin) headers = withoutCredentials(headers);
        url = next;
        continue;
      }
      if (status !== 200) {
        response.resume();
        throw new Error(`server returned HTTP status ${status} ${response.statusMessage ?? ''}`.trim());
      }
      const limit = request.bodyBytesMax > 0 ? Math.min(request.bodyBytesMax, BODY_BYTES_MAX) : BODY_BYTES_MAX;
      return { contentType: response.headers['content-type'] ?? '', body: await readBody(response, limit) };
    }
  }

  close(): void {
    this.http.destroy();
    this.https.destroy();
  }

  private once(url: URL, headers: Record<string, string>, signal: AbortSignal): Promise<IncomingMessage> {
    const secure = url.protocol === 'https:';
    return new Promise((done, failed) => {
      const options = { headers, signal, agent: secure ? this.https : this.http };
      const request = (secure ? httpsRequest : httpRequest)(url, options, done);
      request.on('error', failed);
      request.end();
    });
  }
}

function withoutCredentials(headers: Record<string, string>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).filter(
      ([name]) => name === 'accept' || name === 'accept-encoding' || name === 'user-agent',
    ),
  );
}

async function readBody(response: IncomingMessage, limit: number): Promise<Uint8Array> {
  const encoding = response.headers['content-encoding'] ?? '';
  if (!['', 'identity', 'gzip'].includes(encoding)) {
    response.destroy();
    throw new Error(`the body is packed with ${JSON.stringify(encoding)}, which was not asked for`);
  }
  let stream: Readable = response;
  if (encoding === 'gzip') {
    const gunzip = createGunzip();
    // Errors of the connection must reach the reader of the unpacked stream.
    response.on('error', error => gunzip.destroy(error));
    stream = response.pipe(gunzip);
  }
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of stream) {
      size += (chunk as Buffer).length;
      if (size > limit) throw new Error(`body size limit exceeded: more than ${limit} bytes`);
      chunks.push(chunk as Buffer);
    }
  } catch (error) {
    response.destroy();
    throw error;
  }
  return chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks, size);
}

/** Headers of a job's scrapes; files of secrets are read each time, so that they may be rotated. Throws where one is missing. */
export function authHeaders(settings: ScrapeHttpSettings, baseDir: string): Record<string, string> {
  const file = (name: string): string => readFileSync(resolve(baseDir, name), 'utf8').trim();
  const from = (value: string | undefined, path: string | undefined): string =>
    value ?? (path === undefined ? '' : file(path));
  const headers: Record<string, string> = {};
  for (const [name, { values, secrets, files }] of settings.http_headers ?? []) {
    headers[name.toLowerCase()] = [...(values ?? []), ...(secrets ?? []), ...(files ?? []).map(file)].join(', ');
  }
  const { basic_auth: basic, authorization } = settings;
  if (basic !== undefined) {
    const text = `${from(basic.username, basic.username_file)}:${from(basic.password, basic.password_file)}`;
    headers.authorization = `Basic ${Buffer.from(text).toString('base64')}`;
  } else if (authorization !== undefined) {
    const type = authorization.type === undefined || authorization.type === '' ? 'Bearer' : authorization.type;
    headers.authorization = `${type} ${from(authorization.credentials, authorization.credentials_file)}`;
  } else if (settings.bearer_token || settings.bearer_token_file) {
    headers.authorization = `Bearer ${from(settings.bearer_token, settings.bearer_token_file)}`;
  }
  return headers;
}
