/**
 * HttpClient: requests by one set of Prometheus-style client settings: authorization, TLS, proxy, redirects, kept-alive connections.
 *
 * Used by whatever asks others: scrapes, service discovery, token endpoints. node:http rather than fetch, for bodies must be
 * bounded while they come, certificates be exchanged without a restart, and proxies be chosen per host. Secrets are read from
 * their files when they are needed and stand in no message.
 */
import { Agent as HttpAgent, request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import { type AgentOptions, Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { type Clock, systemClock } from '../clock.ts';
import { authHeaders, type Headers } from './auth.ts';
import { type OnBytes, readRaw, readUnpacked, unpacked } from './body.ts';
import { lookup } from './lookup.ts';
import { OAuth2Tokens } from './oauth2.ts';
import { proxyAuthorization, proxyFor } from './proxy.ts';
import type { HttpClientSettings } from './settings.ts';
import { tlsMark, tlsOptions } from './tls.ts';
import { TunnelAgent } from './tunnel.ts';

export interface HttpRequest {
  /** GET where absent. */
  method?: string;
  url: string;
  /** In lower case. The settings' own headers and authorization come on top. */
  headers?: Headers;
  body?: string | Uint8Array;
  signal: AbortSignal;
}

export interface WholeRequest extends HttpRequest {
  /** Of the body; more is an error. */
  bodyBytesMax: number;
  /** Called before the body is read; where it throws, the body is not waited for. */
  accept?(status: number, statusText: string): void;
}

export interface HttpResponse {
  status: number;
  statusText: string;
  headers: IncomingHttpHeaders;
  body: Uint8Array;
}

export interface HttpStream {
  status: number;
  statusText: string;
  headers: IncomingHttpHeaders;
  /** Unpacked, chunk by chunk as it comes. Ends with the body, throws where the connection breaks or the signal is aborted. */
  body: AsyncIterable<Uint8Array>;
  /** Ends the transfer; for those who do not read to the end. */
  close(): void;
}

export interface HttpClientOptions {
  /** Folder that file names in the settings are relative to. */
  baseDir: string;
  userAgent: string;
  clock?: Clock;
  /** For proxy_from_environment. */
  environment?: Readonly<Record<string, string | undefined>>;
}

const REDIRECTS_MAX = 10;
const SHORT_BYTES = 16 * 1024;
/** Kept-alive connections without work; a scrape interval fits in. ms. */
const IDLE_MS = 330_000;
const AGENT_OPTIONS = { keepAlive: true, maxFreeSockets: 2000, timeout: IDLE_MS, lookup } as const;
/** Agents for proxies and other hosts than the configured ones; more of them would be a redirect loop's work. */
const AGENTS_MAX = 16;
/** What goes along to a host that the settings were not meant for. */
const HARMLESS = new Set(['accept', 'accept-encoding', 'user-agent', 'host', 'content-type', 'content-length']);

type AnyAgent = HttpAgent | HttpsAgent;

export class HttpClient {
  readonly settings: HttpClientSettings;
  private readonly options: HttpClientOptions;
  private readonly tokens: OAuth2Tokens | null;
  private readonly tokenClient: HttpClient | null = null;
  private agents = new Map<string, AnyAgent>();
  private mark = '';

  constructor(settings: HttpClientSettings, options: HttpClientOptions) {
    this.settings = settings;
    this.options = options;
    const { oauth2 } = settings;
    if (oauth2 === undefined) this.tokens = null;
    else {
      this.tokenClient = new HttpClient(OAuth2Tokens.clientSettings(oauth2), options);
      this.tokens = new OAuth2Tokens(oauth2, options.baseDir, this.tokenClient, options.clock ?? systemClock);
    }
  }

  /** The whole answer, whatever its status; the body unpacked (gzip, zstd) where the server packed it. */
  async request(request: WholeRequest): Promise<HttpResponse> {
    const response = accepted(request, await this.send(request));
    return answerOf(response, await named(request.signal, readUnpacked(response, request.bodyBytesMax)));
  }

  /** As above, with the body as it was sent: content-encoding tells how it is packed. */
  async requestRaw(request: WholeRequest, onBytes?: OnBytes): Promise<HttpResponse> {
    const response = accepted(request, await this.send(request));
    return answerOf(response, await named(request.signal, readRaw(response, request.bodyBytesMax, onBytes)));
  }

  /** For answers that go on for long (watches). */
  async stream(request: HttpRequest): Promise<HttpStream> {
    const response = await this.send(request);
    const { statusCode: status = 0, statusMessage: statusText = '', headers } = response;
    const body = wholeOrAborted(unpacked(response), request.signal);
    return { status, statusText, headers, body, close: () => response.destroy() };
  }

  close(): void {
    for (const agent of this.agents.values()) agent.destroy();
    this.agents.clear();
    this.tokenClient?.close();
  }

  private async send(request: HttpRequest): Promise<IncomingMessage> {
    const { baseDir, userAgent } = this.options;
    const first = new URL(request.url);
    let url = first;
    let method = request.method ?? 'GET';
    let body = request.body;
    const secrets = authHeaders(this.settings, baseDir);
    if (this.tokens !== null) secrets.authorization = await this.tokens.authorization(request.signal);
    const all: Headers = { 'user-agent': userAgent, ...request.headers, ...secrets };
    for (let redirects = 0; ; redirects++) {
      const own = isSameServer(first, url);
      const headers = own ? all : harmless(all);
      const response = await named(request.signal, this.attempt(url, method, headers, body, own, request.signal));
      const status = response.statusCode ?? 0;
      if (status === 401 && own && this.tokens !== null) this.tokens.reject(String(all.authorization));
      const { location } = response.headers;
      const follow = this.settings.follow_redirects ?? true;
      if (!follow || location === undefined || !isRedirect(status)) return response;
      leave(response);
      if (redirects === REDIRECTS_MAX) throw new Error(`stopped after ${REDIRECTS_MAX} redirects`);
      if (!URL.canParse(location, url)) throw new Error('redirected to something that is no URL');
      const next = new URL(location, url);
      if (!/^https?:$/.test(next.protocol)) throw new Error(`redirected to ${next.protocol}, which is not followed`);
      if (status <= 303 && method !== 'GET' && method !== 'HEAD') {
        method = 'GET';
        body = undefined;
      }
      url = next;
    }
  }

  /** A kept-alive connection may have been closed by the server just now: then once more, on a new one. */
  private async attempt(
    url: URL,
    method: string,
    headers: Headers,
    body: string | Uint8Array | undefined,
    own: boolean,
    signal: AbortSignal,
  ): Promise<IncomingMessage> {
    try {
      return await this.once(url, method, headers, body, own, signal);
    } catch (error) {
      if (!(error instanceof StaleConnectionError) || signal.aborted) throw error;
      return await this.once(url, method, headers, body, own, signal);
    }
  }

  private once(
    url: URL,
    method: string,
    headers: Headers,
    body: string | Uint8Array | undefined,
    own: boolean,
    signal: AbortSignal,
  ): Promise<IncomingMessage> {
    const proxy = proxyFor(url, this.settings, this.options.environment ?? process.env);
    const agent = this.agentFor(url, proxy, own);
    const relayed = proxy !== null && url.protocol === 'http:';
    const options = {
      method,
      signal,
      agent,
      headers: { host: url.host, ...headers, ...(relayed ? relayHeaders(proxy) : {}) },
      ...(relayed ? { path: `${url.origin}${url.pathname}${url.search}` } : {}),
    };
    const to = relayed ? proxy : url;
    return new Promise((done, failed) => {
      // A user in the URL itself becomes its authorization where the settings have none; one in the proxy's must not.
      const at = relayed ? bareUrl(to) : to;
      const request = (to.protocol === 'https:' ? httpsRequest : httpRequest)(at, options, done);
      request.on('error', (error: NodeJS.ErrnoException) => {
        const stale = request.reusedSocket && (error.code === 'ECONNRESET' || error.code === 'EPIPE');
        failed(stale ? new StaleConnectionError(error.message) : describedError(error));
      });
      request.end(body);
    });
  }

  private agentFor(url: URL, proxy: URL | null, own: boolean): AnyAgent {
    const { tls_config: tls, proxy_connect_header: connectHeader } = this.settings;
    const { baseDir } = this.options;
    const mark = tlsMark(tls, baseDir);
    if (mark !== this.mark) {
      // Connections under way end by themselves; idle ones with the old certificates end now.
      for (const agent of this.agents.values()) retire(agent);
      this.agents = new Map();
      this.mark = mark;
    }
    const secure = url.protocol === 'https:';
    const key = `${secure ? 's' : ''}${own ? 'o' : ''} ${proxy?.href ?? ''}`;
    let agent = this.agents.get(key);
    if (agent !== undefined) return agent;
    if (this.agents.size >= AGENTS_MAX) throw new Error('too many different proxies');
    const tlsAgentOptions = (): AgentOptions => ({ ...AGENT_OPTIONS, ...tlsOptions(tls, baseDir, own) });
    if (!secure) agent = proxy?.protocol === 'https:' ? new HttpsAgent(AGENT_OPTIONS) : new HttpAgent(AGENT_OPTIONS);
    else if (proxy === null) agent = new HttpsAgent(tlsAgentOptions());
    else agent = new TunnelAgent(tlsAgentOptions(), proxy, connectHeaders(connectHeader));
    this.agents.set(key, agent);
    return agent;
  }
}

class StaleConnectionError extends Error {}

function connectHeaders(header: ReadonlyMap<string, readonly string[]> | undefined): Headers {
  return Object.fromEntries([...(header ?? [])].map(([name, values]) => [name.toLowerCase(), [...values]]));
}

function relayHeaders(proxy: URL): Headers {
  const authorization = proxyAuthorization(proxy);
  return authorization === undefined ? {} : { 'proxy-authorization': authorization };
}

function bareUrl(url: URL): URL {
  const bare = new URL(url);
  bare.username = '';
  bare.password = '';
  return bare;
}

function retire(agent: AnyAgent): void {
  for (const sockets of Object.values(agent.freeSockets)) for (const socket of sockets ?? []) socket.destroy();
}

function isRedirect(status: number): boolean {
  return [301, 302, 303, 307, 308].includes(status);
}

/** The same server, or the same host after the usual step from http to https. */
function isSameServer(first: URL, next: URL): boolean {
  if (first.origin === next.origin) return true;
  const upgraded = first.protocol === 'http:' && next.protocol === 'https:';
  return upgraded && first.hostname === next.hostname && first.port === '' && next.port === '';
}

function harmless(headers: Headers): Headers {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => HARMLESS.has(name)));
}

function accepted(request: WholeRequest, response: IncomingMessage): IncomingMessage {
  try {
    request.accept?.(response.statusCode ?? 0, response.statusMessage ?? '');
    return response;
  } catch (error) {
    leave(response);
    throw error;
  }
}

/** A short rest is read so that the connection can be used again; a long one, or one without end, is not worth it. */
function leave(response: IncomingMessage): void {
  response.on('error', () => {});
  if (Number(response.headers['content-length'] ?? Number.NaN) < SHORT_BYTES) response.resume();
  else response.destroy();
}

function answerOf(response: IncomingMessage, body: Uint8Array): HttpResponse {
  return {
    status: response.statusCode ?? 0,
    statusText: response.statusMessage ?? '',
    headers: response.headers,
    body,
  };
}

async function* wholeOrAborted(chunks: AsyncIterable<Uint8Array>, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of chunks) yield chunk;
  } catch (error) {
    throw signal.aborted ? (signal.reason as Error) : error;
  }
  signal.throwIfAborted();
}

/** The reason of an abort says more than "aborted". */
async function named<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  try {
    const result = await work;
    // A body without a length ends with its connection, even where it was us who ended it.
    if (signal.aborted) throw signal.reason as Error;
    return result;
  } catch (error) {
    throw signal.aborted ? (signal.reason as Error) : error;
  }
}

/** Connecting to several addresses fails with an error without words of its own. */
function describedError(error: Error): Error {
  if (error instanceof AggregateError && error.errors.length > 0) {
    return new Error(error.errors.map(e => (e as Error).message).join('; '));
  }
  return error;
}
