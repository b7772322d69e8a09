/** GET /sightline/api/remote-write: how each endpoint of outgoing remote write is doing. */
import type { FastifyInstance } from 'fastify';
import type { OpenApiPart } from '../api/sightline/openapi.ts';
import type { RemoteEndpointStatus } from './remote-protocol.ts';

export const REMOTE_OPENAPI: OpenApiPart = {
  paths: {
    '/sightline/api/remote-write': {
      get: {
        operationId: 'getRemoteWriteStatus',
        summary: 'How each endpoint of outgoing remote write is doing',
        responses: {
          '200': {
            description: 'One entry per endpoint, in the order of the configuration.',
            content: {
              'application/json': {
                schema: {
                  type: 'object',
                  required: ['endpoints'],
                  properties: {
                    endpoints: { type: 'array', items: { $ref: '#/components/schemas/RemoteWriteEndpoint' } },
                  },
                },
              },
            },
          },
        },
      },
    },
  },
  schemas: {
    RemoteWriteEndpoint: {
      type: 'object',
      required: [
        'name',
        'url',
        'protocol',
        'shards',
        'pendingSamples',
        'queueBytes',
        'sentSamples',
        'failedSamples',
        'droppedSamples',
        'highestSentTimestampMs',
        'lastError',
      ],
      properties: {
        name: { type: 'string' },
        url: { type: 'string', description: 'Without a password.' },
        protocol: { type: 'string', enum: ['1.0', '2.0'] },
        shards: { type: 'integer', description: 'Parallel senders.' },
        pendingSamples: { type: 'integer', description: 'Read from the queue, not answered yet.' },
        queueBytes: { type: 'integer', description: 'On disk, still to be sent.' },
        sentSamples: { type: 'integer', description: 'Taken by the receiver since the start; histograms included.' },
        failedSamples: { type: 'integer', description: 'Refused by the receiver for good.' },
        droppedSamples: {
          type: 'object',
          description: 'Never sent, by reason.',
          additionalProperties: { type: 'integer' },
        },
        highestSentTimestampMs: { type: 'integer', description: 'ms since the epoch; 0 while nothing was sent.' },
        lastError: { type: 'string', description: 'Empty where the last request was taken.' },
      },
    },
  },
};

export function remoteRoutes(status: () => Promise<RemoteEndpointStatus[]>): (app: FastifyInstance) => void {
  return app => {
    app.get('/sightline/api/remote-write', async (_request, reply) => reply.send({ endpoints: await status() }));
  };
}
