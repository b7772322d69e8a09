/**
 * OTLP over HTTP: POST /v1/metrics, on the door of its own and on the main port, where Prometheus' path for it stands as well.
 *
 * Protobuf and JSON, answers in the form of the question: ExportMetricsServiceResponse (with the partial success where points were
 * refused), or google.rpc.Status. Logs and traces are answered 404 with words, which senders take for final.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { toApiError } from '../errors.ts';
import { headerOf, tenantOf } from '../http.ts';
import { BodyTooLargeError, collect } from '../prometheus/body.ts';
import type { OtlpGate } from './gate.ts';
import { grpcCode, type OtlpForm, statusBody, successBody } from './respond.ts';

export interface OtlpRouteDeps {
  gate: OtlpGate;
  /** Paths that take metrics. */
  paths: readonly string[];
  /** Longest body, as sent. */
  bodyBytesMax: number;
}

/** What the main port serves, and what the door of its own serves. */
export const MAIN_OTLP_PATHS: readonly string[] = [
  '/v1/metrics',
  '/api/v1/otlp/v1/metrics',
  '/prometheus/api/v1/otlp/v1/metrics',
];
export const OTLP_PATHS: readonly string[] = ['/v1/metrics'];

const CONTENT_TYPES: Readonly<Record<OtlpForm, string>> = {
  protobuf: 'application/x-protobuf',
  json: 'application/json',
};

export async function registerOtlpRoutes(app: FastifyInstance, deps: OtlpRouteDeps): Promise<void> {
  await app.register(async scope => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', (_request, payload, done) => done(null, payload));
    scope.setErrorHandler((error, request, reply) => {
      const status = (error as { statusCode?: number }).statusCode ?? 500;
      return fail(reply, formOf(request) ?? 'protobuf', status, (error as Error).message, 0);
    });
    for (const path of deps.paths) {
      scope.post(path, { bodyLimit: Number.MAX_SAFE_INTEGER }, (request, reply) => takeMetrics(deps, request, reply));
      for (const [signal, what] of [
        ['logs', 'logs are'],
        ['traces', 'traces are'],
      ] as const) {
        scope.post(path.replace(/metrics$/, signal), (request, reply) =>
          fail(
            reply,
            formOf(request) ?? 'protobuf',
            404,
            `${what} not taken by this version: metrics go to ${path}`,
            0,
          ),
        );
      }
    }
  });
}

function formOf(request: FastifyRequest): OtlpForm | null {
  const mediaType = headerOf(request, 'content-type').toLowerCase().split(';')[0]?.trim();
  if (mediaType === CONTENT_TYPES.protobuf || mediaType === 'application/protobuf') return 'protobuf';
  return mediaType === CONTENT_TYPES.json ? 'json' : null;
}

async function takeMetrics(deps: OtlpRouteDeps, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const form = formOf(request);
  if (form === null) {
    const given = JSON.stringify(headerOf(request, 'content-type').slice(0, 200));
    const message = `the content type ${given} is not supported: send application/x-protobuf or application/json`;
    return fail(reply, 'protobuf', 415, message, 0);
  }
  const declared = Number(headerOf(request, 'content-length') || Number.NaN);
  const hold = deps.gate.hold(Number.isNaN(declared) ? 0 : declared);
  if (hold === null) return fail(reply, form, 429, BUSY, BUSY_RETRY_S);
  try {
    const tenant = tenantOf(request);
    if (declared > deps.bodyBytesMax) throw new BodyTooLargeError(deps.bodyBytesMax);
    const body = await collect(request.body, deps.bodyBytesMax);
    const response = await deps.gate.take('http', {
      tenant,
      contentType: CONTENT_TYPES[form],
      contentEncoding: headerOf(request, 'content-encoding').toLowerCase(),
      userAgent: headerOf(request, 'user-agent'),
      body,
    });
    if (response.status !== 200) return fail(reply, form, response.status, response.message, response.retryAfterS);
    return reply.code(200).type(CONTENT_TYPES[form]).send(successBody(form, response.partial));
  } catch (error) {
    if (error instanceof BodyTooLargeError) {
      // What is left of the body is not read.
      reply.header('connection', 'close');
      return fail(reply, form, 413, error.message, 0);
    }
    const known = toApiError(error);
    return fail(reply, form, known.status, known.message, known.retryAfterS);
  } finally {
    hold.release();
  }
}

export const BUSY = 'too many OTLP requests are being worked on: send again';
export const BUSY_RETRY_S = 1;

function fail(reply: FastifyReply, form: OtlpForm, status: number, message: string, retryAfterS: number): FastifyReply {
  reply.code(status).type(CONTENT_TYPES[form]);
  if (retryAfterS > 0) reply.header('retry-after', String(retryAfterS));
  return reply.send(statusBody(form, grpcCode(status), message.trimEnd(), retryAfterS));
}
