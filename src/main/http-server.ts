/**
 * HttpServer: the main port. Fastify routes for everything but the hottest writes; those may be taken raw, before Fastify.
 *
 * Behind a proxy the external URL's path is a prefix: `/sightline/api/v1/query` and `/api/v1/query` both arrive at the same
 * route, so that a proxy may strip the prefix or not. The prefix is cut where a request comes in; routes never see it.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import type { SecureContextOptions, TlsOptions } from 'node:tls';
import { type FastifyInstance, fastify } from 'fastify';
import { errorText, type Logger } from '../lib/log.ts';

/** Takes a request before Fastify; false leaves it to the routes. */
export type RawHandler = (request: IncomingMessage, response: ServerResponse) => boolean;

export interface HttpServerOptions {
  host: string;
  port: number;
  /** Path of the external URL without trailing slash; '' = none. */
  prefix: string;
  maxBodyBytes: number;
  log: Logger;
  raw: readonly RawHandler[];
  /** Whose X-Forwarded-For is believed. */
  trustedProxies?: readonly string[];
  /** null = plain HTTP. */
  tls: TlsSettings | null;
  /** Before any route: sign-in. */
  guard: (app: FastifyInstance) => void;
  routes: readonly ((app: FastifyInstance) => void | Promise<void>)[];
}

export type TlsSettings = Pick<
  SecureContextOptions & TlsOptions,
  'cert' | 'key' | 'ca' | 'requestCert' | 'rejectUnauthorized' | 'minVersion'
>;

export class ListenError extends Error {
  override name = 'ListenError';
}

/** Idle keep-alive connections are closed after this; longer than the usual scrape and remote-write pauses. */
const KEEP_ALIVE_MS = 75_000;

export class HttpServer {
  readonly host: string;
  readonly port: number;
  private readonly secure: boolean;
  private readonly app: FastifyInstance;
  private readonly server: Server;

  private constructor(app: FastifyInstance, server: Server, host: string, port: number, secure: boolean) {
    this.secure = secure;
    this.app = app;
    this.server = server;
    this.host = host;
    this.port = port;
  }

  static async listen(options: HttpServerOptions): Promise<HttpServer> {
    let server: Server | null = null;
    const app = fastify({
      bodyLimit: options.maxBodyBytes,
      trustProxy:
        options.trustedProxies === undefined || options.trustedProxies.length === 0
          ? false
          : [...options.trustedProxies],
      logger: false,
      forceCloseConnections: 'idle',
      serverFactory: handler => {
        const take = (request: IncomingMessage, response: ServerResponse): void => {
          if (cutPrefix(request, options.prefix) === 'redirect') {
            // The page's own addresses are relative: they need the slash.
            response.writeHead(302, { location: `${options.prefix}/` }).end();
            return;
          }
          for (const raw of options.raw) if (raw(request, response)) return;
          handler(request, response);
        };
        const settings = { keepAliveTimeout: KEEP_ALIVE_MS, requestTimeout: 300_000 };
        server =
          options.tls === null ? createServer(settings, take) : createTlsServer({ ...settings, ...options.tls }, take);
        return server;
      },
    });
    app.setErrorHandler((error, _request, reply) => {
      const status = (error as { statusCode?: number }).statusCode ?? 500;
      if (status >= 500) options.log.error({ error: errorText(error) }, 'a request failed');
      return reply
        .status(status)
        .type('application/json')
        .send({ status: 'error', errorType: status < 500 ? 'bad_data' : 'internal', error: (error as Error).message });
    });
    app.setNotFoundHandler((request, reply) =>
      reply
        .status(404)
        .type('text/plain; charset=utf-8')
        .send(`there is no ${request.method} ${request.url.split('?')[0]} here\n`),
    );
    options.guard(app);
    for (const register of options.routes) await register(app);
    try {
      await app.listen({ host: options.host, port: options.port });
    } catch (error) {
      await app.close();
      throw new ListenError(listenMessage(error as NodeJS.ErrnoException, options), { cause: error });
    }
    const address = (server as unknown as Server).address();
    const port = typeof address === 'object' && address !== null ? address.port : options.port;
    return new HttpServer(app, server as unknown as Server, options.host, port, options.tls !== null);
  }

  /** As a client on this machine reaches it. */
  get url(): string {
    const host = ['0.0.0.0', '::'].includes(this.host) ? '127.0.0.1' : this.host;
    return `${this.secure ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${this.port}`;
  }

  /** Stops accepting, lets running requests finish for `graceMs`, then breaks what is left. */
  async close(graceMs: number): Promise<void> {
    const timer = setTimeout(() => this.server.closeAllConnections(), graceMs);
    // Connections that become idle while others are still at work: their clients would keep them open.
    const sweep = setInterval(() => this.server.closeIdleConnections(), 50);
    try {
      await this.app.close();
    } finally {
      clearTimeout(timer);
      clearInterval(sweep);
    }
  }

  /** Certificates for connections from now on. */
  setTls(tls: TlsSettings): void {
    if (this.secure) (this.server as TlsServer).setSecureContext(tls);
  }

  /** At once. */
  abort(): void {
    this.server.closeAllConnections();
  }
}

/** Takes the prefix off the request's URL; 'redirect' for the bare prefix. */
function cutPrefix(request: IncomingMessage, prefix: string): 'redirect' | 'go on' {
  const url = request.url ?? '/';
  if (prefix === '' || !url.startsWith(prefix)) return 'go on';
  const rest = url.slice(prefix.length);
  if (rest === '') return 'redirect';
  if (rest.startsWith('/')) request.url = rest;
  return 'go on';
}

function listenMessage(error: NodeJS.ErrnoException, options: HttpServerOptions): string {
  const address = `${options.host}:${options.port}`;
  switch (error.code) {
    case 'EADDRINUSE':
      return `port ${options.port} on ${options.host} is in use by another program: stop it, or choose another with --http HOST:PORT (port 0 picks a free one)`;
    case 'EADDRNOTAVAIL':
      return `${options.host} is not an address of this host: choose another with --http HOST:PORT`;
    case 'EACCES':
      return `not allowed to listen on ${address}: ports below 1024 need privileges; choose another with --http HOST:PORT`;
    case 'ENOTFOUND':
      return `the host name ${options.host} is not known: give an address with --http HOST:PORT`;
    default:
      return `cannot listen on ${address}: ${error.message}`;
  }
}

/** Whether only this machine can reach the address. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host);
}
