/**
 * Our own API about sign-in. Described in openapi.ts.
 *
 *     GET    /sightline/api/whoami
 *     GET    /sightline/api/tokens
 *     POST   /sightline/api/tokens        {name, tenant?, tenants?, rights?, expires_in_s?}; the answer holds the token, once
 *     DELETE /sightline/api/tokens/{id}
 *     GET    /sightline/api/audit[?limit=N]
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { AuditLog } from '../../contracts/auth.ts';
import { ApiError, badData } from '../errors.ts';
import { queryStringOf, sendError, sendJson } from '../http.ts';
import type { OpenApiPart } from '../sightline/openapi.ts';
import { principalOf } from './principals.ts';
import { type TokenStore, tokenSpecOf } from './token-store.ts';

export interface AuthRouteDeps {
  tokens: TokenStore;
  audit: AuditLog;
  /** After a token was revoked. */
  onRevoked: () => void;
  /** ms since the epoch. */
  now: () => number;
}

const AUDIT_LIMIT = 100;
const AUDIT_LIMIT_MAX = 10_000;

export function registerAuthRoutes(app: FastifyInstance, deps: AuthRouteDeps): void {
  const route = (method: 'GET' | 'POST' | 'DELETE', url: string, work: (r: FastifyRequest) => Promise<Answer>) =>
    app.route({ method, url, handler: (request, reply) => answered(request, reply, work) });

  route('GET', '/sightline/api/whoami', async request => {
    const { name, via, tenant, tenants, rights } = principalOf(request);
    return { status: 200, body: { name, via, tenant, tenants, rights: [...rights] } };
  });
  route('GET', '/sightline/api/tokens', async () => ({ status: 200, body: { tokens: await deps.tokens.list() } }));
  route('POST', '/sightline/api/tokens', async request => {
    const spec = tokenSpecOf(request.body, deps.now());
    const { info, token } = await deps.tokens.create(spec, principalOf(request));
    return { status: 201, body: { ...info, token } };
  });
  route('DELETE', '/sightline/api/tokens/:id', async request => {
    const { id } = request.params as { id: string };
    if (!/^[0-9a-f]{16}$/.test(id) || !(await deps.tokens.revoke(id, principalOf(request)))) {
      throw new ApiError('not_found', `there is no token ${JSON.stringify(id.slice(0, 100))}`);
    }
    deps.onRevoked();
    return { status: 200, body: { revoked: id } };
  });
  route('GET', '/sightline/api/audit', async request => {
    const text = new URLSearchParams(queryStringOf(request)).get('limit') ?? String(AUDIT_LIMIT);
    const limit = Number(text);
    if (!Number.isInteger(limit) || limit < 1 || limit > AUDIT_LIMIT_MAX) {
      throw badData(`invalid parameter "limit": must be 1 to ${AUDIT_LIMIT_MAX}`);
    }
    return { status: 200, body: { entries: await deps.audit.list(limit) } };
  });
}

interface Answer {
  status: number;
  body: unknown;
}

async function answered(
  request: FastifyRequest,
  reply: FastifyReply,
  work: (request: FastifyRequest) => Promise<Answer>,
): Promise<FastifyReply> {
  try {
    const { status, body } = await work(request);
    // A token stands in it.
    reply.header('cache-control', 'no-store');
    return await sendJson(request, reply, status, Buffer.from(JSON.stringify(body)));
  } catch (error) {
    return sendError(request, reply, error);
  }
}

const json = (schema: object) => ({ content: { 'application/json': { schema } } });
const TOKEN = {
  type: 'object',
  required: ['id', 'name', 'tenant', 'tenants', 'rights', 'expiresAtMs', 'createdAtMs', 'createdBy'],
  properties: {
    id: { type: 'string' },
    name: { type: 'string' },
    tenant: { type: 'string' },
    tenants: { oneOf: [{ type: 'array', items: { type: 'string' } }, { const: '*' }] },
    rights: { type: 'array', items: { enum: ['read', 'write', 'admin', 'long-range'] } },
    expiresAtMs: { type: ['number', 'null'] },
    createdAtMs: { type: 'number' },
    createdBy: { type: 'string' },
    token: { type: 'string', description: 'The secret; only in the answer to its making.' },
  },
};

export const AUTH_OPENAPI: OpenApiPart = {
  paths: {
    '/sightline/api/whoami': {
      get: {
        operationId: 'whoami',
        summary: 'Who the caller is and what it may do',
        responses: { '200': { description: 'The principal.', ...json({ type: 'object' }) } },
      },
    },
    '/sightline/api/tokens': {
      get: {
        operationId: 'listTokens',
        summary: 'Tokens made through the API or the command line, without their secrets',
        responses: {
          '200': {
            description: 'The tokens.',
            ...json({
              type: 'object',
              required: ['tokens'],
              properties: { tokens: { type: 'array', items: { $ref: '#/components/schemas/Token' } } },
            }),
          },
        },
      },
      post: {
        operationId: 'createToken',
        summary: 'Makes a token; the answer is the only place that shows its secret',
        requestBody: {
          required: true,
          ...json({
            type: 'object',
            required: ['name'],
            properties: {
              name: { type: 'string' },
              tenant: { type: 'string', default: 'default' },
              tenants: TOKEN.properties.tenants,
              rights: TOKEN.properties.rights,
              expires_in_s: { type: 'number' },
            },
          }),
        },
        responses: { '201': { description: 'The token.', ...json({ $ref: '#/components/schemas/Token' }) } },
      },
    },
    '/sightline/api/tokens/{id}': {
      delete: {
        operationId: 'revokeToken',
        summary: 'Revokes a token; requests under way finish',
        parameters: [{ name: 'id', in: 'path', required: true, schema: { type: 'string' } }],
        responses: { '200': { description: 'Revoked.' }, '404': { description: 'There is none of that id.' } },
      },
    },
    '/sightline/api/audit': {
      get: {
        operationId: 'listAudit',
        summary: 'What administrators did, and who tried to, newest first',
        parameters: [{ name: 'limit', in: 'query', schema: { type: 'integer', default: AUDIT_LIMIT } }],
        responses: { '200': { description: 'The entries.', ...json({ type: 'object' }) } },
      },
    },
  },
  schemas: { Token: TOKEN },
};
