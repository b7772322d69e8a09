/**
 * installGuard: what every request to the HTTP port passes before its route: who is it, may it, and is it a page of another site.
 *
 * The right is looked up by the route's own pattern, not by the URL as sent, so that no spelling of a path slips past the table.
 * What only administrators may do is written to the audit, refused tries included.
 */
import type { TLSSocket } from 'node:tls';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import {
  type AuditLog,
  AuthError,
  type Authenticator,
  type CertificateFacts,
  type Principal,
  type Right,
} from '../../contracts/auth.ts';
import { ApiError, errorBody } from '../errors.ts';
import { headerOf, queryStringOf, sendError, sendJson } from '../http.ts';
import { authorizationOf } from '../push/credentials.ts';
import { rightFor } from './access-rules.ts';
import { crossSiteProblem, type TrustedHosts } from './browser-check.ts';
import { notePrincipal, principalOf } from './principals.ts';

export interface GuardOptions {
  authenticator: Authenticator;
  audit: AuditLog;
  /** As of now: the configuration may change. */
  trustedHosts: () => TrustedHosts;
  /** ms since the epoch. */
  now: () => number;
}

/** Of the query string in the audit. */
const DETAIL_MAX = 1000;

export function installGuard(app: FastifyInstance, options: GuardOptions): void {
  const audited = new WeakSet<FastifyRequest>();
  app.addHook('onRequest', async (request, reply) => {
    const right = rightFor(request.method, request.routeOptions.url ?? '');
    if (right === null) return;
    if (right === 'admin') audited.add(request);
    try {
      const principal = await options.authenticator.authenticate(credentialsOf(request));
      notePrincipal(request, principal);
      check(request, principal, right, options);
    } catch (error) {
      return refuse(request, reply, error);
    }
  });
  app.addHook('onResponse', async (request, reply) => {
    if (!audited.has(request) || request.method === 'GET' || request.method === 'HEAD') return;
    const principal = principalOf(request);
    options.audit.append({
      timeMs: options.now(),
      who: principal.name,
      via: principal.via,
      address: request.ip,
      tenant: headerOf(request, 'x-scope-orgid').slice(0, 150) || principal.tenant,
      action: `${request.method} ${(request.url.split('?')[0] as string).slice(0, 300)}`,
      detail: queryStringOf(request).slice(0, DETAIL_MAX),
      status: reply.statusCode,
    });
  });
}

function check(request: FastifyRequest, principal: Principal, right: Right, options: GuardOptions): void {
  if (!principal.rights.has(right)) {
    const has = [...principal.rights].join(', ') || 'none';
    throw new ApiError('forbidden', `${principal.name} may not do this: it takes the right "${right}" (has: ${has})`);
  }
  if (right !== 'write' && right !== 'admin') return;
  const problem = crossSiteProblem(
    {
      host: headerOf(request, 'host'),
      origin: headerOf(request, 'origin'),
      site: headerOf(request, 'sec-fetch-site'),
    },
    options.trustedHosts(),
  );
  if (problem !== '') throw new ApiError('forbidden', problem);
}

function credentialsOf(request: FastifyRequest) {
  return {
    authorization: authorizationOf(request),
    certificate: certificateOf(request.raw.socket as TLSSocket),
    address: request.ip,
  };
}

/** Of a client whose certificate the listener found good. */
export function certificateOf(socket: TLSSocket): CertificateFacts | null {
  if (socket.encrypted !== true || !socket.authorized) return null;
  const peer = socket.getPeerCertificate();
  if (peer.fingerprint256 === undefined) return null;
  const name = peer.subject?.CN;
  return {
    commonName: (Array.isArray(name) ? name[0] : name) ?? '',
    fingerprint: peer.fingerprint256.replaceAll(':', '').toLowerCase(),
  };
}

function refuse(request: FastifyRequest, reply: FastifyReply, error: unknown): Promise<FastifyReply> {
  if (!(error instanceof AuthError)) return sendError(request, reply, error);
  // What is left of a body is not read.
  reply.header('connection', 'close');
  // Basic alone, so that browsers ask for user and password; senders of tokens need no challenge.
  if (error.status === 401) reply.header('www-authenticate', 'Basic realm="Sightline", charset="UTF-8"');
  if (error.retryAfterS > 0) reply.header('retry-after', String(error.retryAfterS));
  return sendJson(request, reply, error.status, errorBody(new ApiError('forbidden', error.message)));
}
