/** The principal of a request, noted by the guard (guard.ts), read by whoever needs to know who asks. */
import type { FastifyRequest } from 'fastify';
import { ANONYMOUS, type Principal } from '../../contracts/auth.ts';

const principals = new WeakMap<FastifyRequest, Principal>();

export function notePrincipal(request: FastifyRequest, principal: Principal): void {
  principals.set(request, principal);
}

/** ANONYMOUS where no guard stands before the routes. */
export function principalOf(request: FastifyRequest): Principal {
  return principals.get(request) ?? ANONYMOUS;
}
