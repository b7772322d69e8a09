/**
 * Our own API about service discovery: what each section of each job found, and what keeps it from finding more.
 *
 *     GET /sightline/api/discovery[?scrapePool=JOB]
 */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { TargetDirectory } from '../../contracts/targets.ts';
import type { TenantId } from '../../model/tenant.ts';
import { queryStringOf, sendError, sendJson, tenantOf } from '../http.ts';
import type { OpenApiPart } from './openapi.ts';

export interface DiscoveryRouteDeps {
  targets: Pick<TargetDirectory, 'discovery'>;
  tenantOf?: (request: FastifyRequest) => TenantId;
}

export function registerDiscoveryRoutes(app: FastifyInstance, deps: DiscoveryRouteDeps): void {
  app.get('/sightline/api/discovery', async (request, reply) => {
    try {
      const pool = new URLSearchParams(queryStringOf(request)).get('scrapePool') ?? '';
      const all = deps.targets.discovery((deps.tenantOf ?? tenantOf)(request));
      const sections = all.filter(({ scrapePool }) => pool === '' || scrapePool === pool);
      return await sendJson(request, reply, 200, Buffer.from(JSON.stringify({ sections })));
    } catch (error) {
      return sendError(request, reply, error);
    }
  });
}

const timestamp = (description: string) => ({
  type: 'number',
  description: `${description} Milliseconds since the epoch; 0 = never.`,
});

export const DISCOVERY_OPENAPI: OpenApiPart = {
  paths: {
    '/sightline/api/discovery': {
      get: {
        operationId: 'listDiscovery',
        summary: 'Discovery sections of the scrape jobs, in the order of the configuration',
        parameters: [
          {
            name: 'scrapePool',
            in: 'query',
            required: false,
            description: 'Of this job alone.',
            schema: { type: 'string' },
          },
        ],
        responses: {
          '200': {
            description: 'The sections.',
            content: {
              'application/json': {
                schema: {
                  type: 'object',
                  required: ['sections'],
                  properties: { sections: { type: 'array', items: { $ref: '#/components/schemas/DiscoveryStatus' } } },
                },
              },
            },
          },
        },
      },
    },
  },
  schemas: {
    DiscoveryStatus: {
      type: 'object',
      required: ['scrapePool', 'mechanism', 'where', 'targets', 'synced', 'lastError', 'lastOkMs', 'lastErrorMs'],
      properties: {
        scrapePool: { type: 'string', description: 'The job.' },
        mechanism: { type: 'string', enum: ['file', 'http', 'dns', 'consul', 'kubernetes', 'docker'] },
        where: { type: 'string', description: 'What is asked.' },
        targets: { type: 'integer', description: 'Found, before relabelling.' },
        synced: { type: 'boolean', description: 'Whether it has told of its targets at all.' },
        lastError: { type: 'string', description: 'Empty where the last attempt went well.' },
        lastOkMs: timestamp('When the last attempt went well.'),
        lastErrorMs: timestamp('When one failed last.'),
      },
    },
  },
};
