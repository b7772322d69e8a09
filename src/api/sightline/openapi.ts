/**
 * OpenAPI description of /sightline/api/*, served at /sightline/api/openapi.json. Each area adds its own paths; what Prometheus defines
 * is not described here.
 */
import type { FastifyInstance } from 'fastify';

export interface OpenApiPart {
  paths: Record<string, unknown>;
  schemas?: Record<string, unknown>;
}

const TENANT_HEADER = {
  name: 'X-Scope-OrgID',
  in: 'header',
  required: false,
  description: 'The tenant; `default` where not given.',
  schema: { type: 'string', maxLength: 150 },
};

const ALL_TENANTS = {
  name: 'tenant',
  in: 'query',
  required: false,
  description: "`*` for every tenant's queries. For administrators once there is sign-in.",
  schema: { type: 'string', enum: ['*'] },
};

const errorAnswer = (description: string) => ({
  description,
  content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } },
});

const timestamp = (description: string) => ({
  type: 'number',
  description: `${description} Milliseconds since the epoch.`,
});
const duration = (description: string) => ({ type: 'number', description: `${description} Milliseconds.` });

export const QUERIES_OPENAPI: OpenApiPart = {
  paths: {
    '/sightline/api/queries': {
      get: {
        operationId: 'listActiveQueries',
        summary: 'Queries that wait or run, oldest first',
        parameters: [TENANT_HEADER, ALL_TENANTS],
        responses: {
          '200': {
            description: 'The queries.',
            content: {
              'application/json': {
                schema: {
                  type: 'object',
                  required: ['queries'],
                  properties: { queries: { type: 'array', items: { $ref: '#/components/schemas/ActiveQuery' } } },
                },
              },
            },
          },
          '400': errorAnswer('The tenant or a parameter is invalid.'),
          '403': errorAnswer("Not allowed to see other tenants' queries."),
        },
      },
    },
    '/sightline/api/queries/{id}': {
      delete: {
        operationId: 'cancelQuery',
        summary: 'Cancel a query; its client is answered 499',
        parameters: [
          { name: 'id', in: 'path', required: true, schema: { type: 'string' } },
          TENANT_HEADER,
          ALL_TENANTS,
        ],
        responses: {
          '204': { description: 'It is being cancelled.' },
          '404': errorAnswer('No such query runs.'),
        },
      },
    },
  },
  schemas: {
    ActiveQuery: {
      type: 'object',
      required: [
        'id',
        'tenant',
        'endpoint',
        'query',
        'startMs',
        'endMs',
        'stepMs',
        'state',
        'receivedAtMs',
        'elapsedMs',
        'waitedMs',
        'deadlineAtMs',
        'origin',
      ],
      properties: {
        id: { type: 'string' },
        tenant: { type: 'string' },
        endpoint: { type: 'string', description: 'query, query_range, series, labels, export, ...' },
        query: { type: 'string', description: 'The expression or selectors, cut after 4 KB.' },
        startMs: timestamp('Start of the range; 0 where it has none.'),
        endMs: timestamp('End of the range.'),
        stepMs: duration('Step of a range query, else 0.'),
        state: { type: 'string', enum: ['waiting', 'running', 'cancelling'] },
        receivedAtMs: timestamp('When it came.'),
        elapsedMs: duration('Since then.'),
        waitedMs: duration('Of those, in the queue.'),
        deadlineAtMs: timestamp('When it will be stopped.'),
        origin: { type: 'string', description: 'Address or user that asked.' },
      },
    },
    Error: {
      type: 'object',
      required: ['status', 'errorType', 'error'],
      properties: {
        status: { type: 'string', enum: ['error'] },
        errorType: { type: 'string' },
        error: { type: 'string', description: 'What went wrong, and what to do.' },
      },
    },
  },
};

export function sightlineOpenApi(version: string, parts: readonly OpenApiPart[]): unknown {
  return {
    openapi: '3.1.0',
    info: { title: 'Sightline', version, license: { name: 'Apache-2.0', identifier: 'Apache-2.0' } },
    paths: Object.assign({}, ...parts.map(p => p.paths)) as unknown,
    components: { schemas: Object.assign({}, ...parts.map(p => p.schemas ?? {})) as unknown },
  };
}

export function registerOpenApiRoute(app: FastifyInstance, version: string, parts: readonly OpenApiPart[]): void {
  const text = JSON.stringify(sightlineOpenApi(version, parts));
  app.get('/sightline/api/openapi.json', async (_request, reply) => reply.type('application/json').send(text));
}
