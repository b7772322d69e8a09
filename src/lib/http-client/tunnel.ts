/** TunnelAgent: an https agent whose connections go through a proxy by CONNECT. Kept alive like any other. */
import { request as httpRequest } from 'node:http';
import { type AgentOptions, Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { isIP } from 'node:net';
import type { Duplex } from 'node:stream';
import { type ConnectionOptions, connect as tlsConnect } from 'node:tls';
import type { Headers } from './auth.ts';
import { proxyAuthorization } from './proxy.ts';

/** A proxy that has not connected by then never will; requests have a deadline of their own. */
const CONNECT_MS = 30_000;

type Created = (error: Error | null, stream?: Duplex) => void;

export class TunnelAgent extends HttpsAgent {
  private readonly proxy: URL;
  private readonly connectHeaders: Headers;

  constructor(options: AgentOptions, proxy: URL, connectHeaders: Headers) {
    super(options);
    this.proxy = proxy;
    this.connectHeaders = connectHeaders;
  }

  override createConnection(options: ConnectionOptions, created: Created): null {
    const { proxy } = this;
    const target = `${isIP(options.host ?? '') === 6 ? `[${options.host}]` : options.host}:${options.port ?? 443}`;
    const authorization = proxyAuthorization(proxy);
    const connect = (proxy.protocol === 'https:' ? httpsRequest : httpRequest)({
      host: proxy.hostname.replace(/^\[|\]$/g, ''),
      port: proxy.port === '' ? (proxy.protocol === 'https:' ? 443 : 80) : Number(proxy.port),
      method: 'CONNECT',
      path: target,
      agent: false,
      timeout: CONNECT_MS,
      headers: {
        host: target,
        ...(authorization === undefined ? {} : { 'proxy-authorization': authorization }),
        ...this.connectHeaders,
      },
    });
    connect.once('connect', (response, socket) => {
      if (response.statusCode !== 200) {
        socket.destroy();
        created(new Error(`the proxy refuses to connect to ${target}: HTTP status ${response.statusCode}`));
        return;
      }
      socket.setTimeout(0);
      const secure = tlsConnect({ ...options, socket });
      // What happens from here on reaches the request, which listens on the socket.
      created(null, secure);
    });
    connect.once('response', response => {
      response.destroy();
      created(new Error(`the proxy answers CONNECT with HTTP status ${response.statusCode}`));
    });
    connect.once('timeout', () => connect.destroy(new Error('the proxy does not answer')));
    connect.once('error', error => created(new Error(`proxy: ${error.message}`)));
    connect.end();
    return null;
  }
}
