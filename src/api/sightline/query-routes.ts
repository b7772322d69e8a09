/**
 * Our own API about queries: which run, and how to stop one. Described in openapi.ts.
 *
 *     GET    /sightline/api/queries[?tenant=*]
 *     DELETE /sightline/api/queries/{id}[?tenant=*]
 *
 * A caller sees its own tenant's queries; `tenant=*` asks for everyone's and is for those whom `mayAdminister` lets.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { QueryService } from '../../contracts/query-service.ts';
import type { TenantId } from '../../model/tenant.ts';
import { ApiError, badData } from '../errors.ts';
import { queryStringOf, sendError, sendJson, tenantOf } from '../http.ts';

export interface SightlineQueryRouteDeps {
  query: QueryService;
  tenantOf?: (request: FastifyRequest) => TenantId;
  /** Whether the caller may see and stop other tenants' queries. Everyone where there is no sign-in. */
  mayAdminister?: (request: FastifyRequest) => boolean;
}

export function registerSightlineQueryRoutes(app: FastifyInstance, deps: SightlineQueryRouteDeps): void {
  app.get('/sightline/api/queries', (request, reply) =>
    guarded(request, reply, async () => {
      const queries = await deps.query.activeQueries(scopeOf(deps, request));
      return sendJson(request, reply, 200, Buffer.from(JSON.stringify({ queries })));
    }),
  );
  app.delete<{ Params: { id: string } }>('/sightline/api/queries/:id', (request, reply) =>
    guarded(request, reply, async () => {
      const { id } = request.params;
      if (!(await deps.query.cancelQuery(scopeOf(deps, request), id))) {
        throw new ApiError('not_found', `no active query has the id ${JSON.stringify(id)}; it may have finished`);
      }
      return reply.code(204).send();
    }),
  );
}

/** A tenant, or null for all. */
function scopeOf(deps: SightlineQueryRouteDeps, request: FastifyRequest): TenantId | null {
  const asked = new URLSearchParams(queryStringOf(request)).get('tenant');
  if (asked === null) return (deps.tenantOf ?? tenantOf)(request);
  if (asked !== '*')
    throw badData('invalid parameter "tenant": only * is known; name a single tenant in X-Scope-OrgID');
  if (!(deps.mayAdminister?.(request) ?? true)) {
    throw new ApiError('forbidden', "only an administrator may see other tenants' queries");
  }
  return null;
}

async function guarded(
  request: FastifyRequest,
  reply: FastifyReply,
  work: () => Promise<FastifyReply>,
): Promise<FastifyReply> {
  try {
    return await work();
  } catch (error) {
    return sendError(request, reply, error);
  }
}
