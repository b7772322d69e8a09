/**
 * Routes of the process itself, which answer whatever state the engine is in: health, readiness, own metrics, reload, and what
 * became of the configuration.
 */
import type { FastifyInstance } from 'fastify';
import type { OpenApiPart } from '../api/sightline/openapi.ts';
import { formatProblem } from '../config/yaml-source.ts';
import { formatExposition, type MetricsRegistry } from '../lib/metrics.ts';
import type { Reloader } from './reloader.ts';

/** Description of /sightline/api/config, for the OpenAPI document. */
export const CONFIG_OPENAPI: OpenApiPart = {
  paths: {
    '/sightline/api/config': {
      get: {
        operationId: 'getConfigStatus',
        summary: 'What became of the configuration files',
        responses: {
          '200': {
            description: 'The state.',
            content: { 'application/json': { schema: { $ref: '#/components/schemas/ConfigStatus' } } },
          },
        },
      },
    },
  },
  schemas: {
    ConfigStatus: {
      type: 'object',
      required: ['files', 'loadedAtMs', 'lastReload', 'unsupported', 'needsRestart'],
      properties: {
        files: { type: 'array', items: { type: 'string' }, description: 'Files that were read.' },
        loadedAtMs: { type: 'number', description: 'When the running configuration was loaded. ms since the epoch.' },
        lastReload: {
          type: 'object',
          required: ['success', 'timeMs', 'problems'],
          properties: {
            success: { type: 'boolean' },
            timeMs: { type: 'number', description: 'ms since the epoch.' },
            problems: {
              type: 'array',
              description: 'Why the last reload was refused; empty where it was taken.',
              items: {
                type: 'object',
                required: ['file', 'line', 'column', 'path', 'message'],
                properties: {
                  file: { type: 'string' },
                  line: { type: 'integer', description: 'From 1; 0 where unknown.' },
                  column: { type: 'integer' },
                  path: { type: 'string', description: 'Path of keys.' },
                  message: { type: 'string' },
                },
              },
            },
          },
        },
        unsupported: {
          type: 'array',
          description: 'Valid settings of a Prometheus file that have no effect in this version.',
          items: {
            type: 'object',
            required: ['file', 'line', 'key'],
            properties: { file: { type: 'string' }, line: { type: 'integer' }, key: { type: 'string' } },
          },
        },
        needsRestart: {
          type: 'array',
          description: 'Sections that have changed in the file and take effect after a restart.',
          items: { type: 'string' },
        },
      },
    },
  },
};

export interface BaseRoutesOptions {
  /** '' = ready; else why not. */
  notReady: () => string;
  /** '' = takes writes; else why only queries are answered. */
  readOnly: () => string;
  metrics: MetricsRegistry;
  reloader: Reloader;
}

export function baseRoutes(options: BaseRoutesOptions): (app: FastifyInstance) => void {
  const { metrics, reloader } = options;
  return app => {
    app.get('/-/healthy', (_request, reply) => reply.type('text/plain; charset=utf-8').send('Sightline is healthy.\n'));
    app.get('/-/ready', (_request, reply) => {
      const why = options.notReady();
      const readOnly = options.readOnly();
      // Ready all the same: whoever asks in order to send queries elsewhere would have nobody left to answer them.
      const text = readOnly === '' ? 'Sightline is ready.\n' : `Sightline is ${readOnly}.\n`;
      if (why === '') return reply.type('text/plain; charset=utf-8').send(text);
      return reply.status(503).header('retry-after', '2').type('text/plain; charset=utf-8').send(`${why}\n`);
    });
    app.get('/metrics', async (_request, reply) =>
      reply.type('text/plain; version=0.0.4; charset=utf-8').send(formatExposition(await metrics.gather())),
    );
    app.route({
      method: ['POST', 'PUT'],
      url: '/-/reload',
      handler: (_request, reply) => {
        const result = reloader.reload('requested over HTTP');
        if (result.ok) return reply.status(200).send('');
        const text = result.problems.map(formatProblem).join('\n');
        return reply
          .status(500)
          .type('text/plain; charset=utf-8')
          .send(`the new configuration cannot be used; the old one keeps running:\n${text}\n`);
      },
    });
    app.get('/sightline/api/config', (_request, reply) => reply.send(reloader.status()));
  };
}
