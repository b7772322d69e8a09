/**
 * Credentials as push clients send them, in the form that everything else does: an Authorization header.
 *
 * Influx v1 puts user and password into the URL, Datadog's agent has a header and a parameter of its own. They count
 * only on the paths of those protocols, so that a token in a URL is not taken anywhere else.
 */
import type { FastifyRequest } from 'fastify';
import { headerOf, queryStringOf } from '../http.ts';

const INFLUX = /^(?:\/influx)?\/(?:(?:api\/v2\/)?write|ping|query|health)$/;
const DATADOG = /^\/datadog\//;

/** The request's Authorization, or what stands for it on the path of a push protocol; '' = none. */
export function authorizationOf(request: FastifyRequest): string {
  const path = request.routeOptions.url ?? '';
  const given = headerOf(request, 'authorization');
  if (given !== '') return given;
  if (INFLUX.test(path)) return influxUser(request);
  if (!DATADOG.test(path)) return '';
  const key = headerOf(request, 'dd-api-key') || (new URLSearchParams(queryStringOf(request)).get('api_key') ?? '');
  return key === '' ? '' : `Bearer ${key}`;
}

function influxUser(request: FastifyRequest): string {
  const params = new URLSearchParams(queryStringOf(request));
  const user = params.get('u') ?? '';
  const password = params.get('p') ?? '';
  if (user === '' && password === '') return '';
  // A token without a user: some clients know no other place.
  if (user === '') return `Bearer ${password}`;
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
}
