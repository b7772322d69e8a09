/**
 * Routes of the process itself, which answer whatever state the engine is in: health, readiness, own metrics, reload, and what
 * became of the configuration.
 */
import type { FastifyInstance } from 'fastify';
import { formatProblem } from '../config/yaml-source.ts';
import { formatExposition, type MetricsRegistry } from '../lib/metrics.ts';
import type { Reloader } from './reloader.ts';

export interface BaseRoutesOptions {
  /** '' = ready; else why not. */
  notReady: () => string;
  metrics: MetricsRegistry;
  reloader: Reloader;
}

export function baseRoutes(options: BaseRoutesOptions): (app: FastifyInstance) => void {
  const { metrics, reloader } = options;
  return app => {
    app.get('/-/healthy', (_request, reply) => reply.type('text/plain; charset=utf-8').send('Sightline is healthy.\n'));
    app.get('/-/ready', (_request, reply) => {
      const why = options.notReady();
      if (why === '') return reply.type('text/plain; charset=utf-8').send('Sightline is ready.\n');
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
    app.get('/sightline/api/v1/config', (_request, reply) =>
      reply.send({ status: 'success', data: reloader.status() }),
    );
  };
}
