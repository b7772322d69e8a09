/**
 * QueryLink: the QueryService of a worker, seen from the thread that owns the sockets.
 *
 * A response's head and, where it is short, its body come as the result of one call; a streamed body is fetched by a
 * second, with credit, so that a slow client slows its own query down and nobody else's.
 */
import type { ActiveQuery, QueryRequest, QueryResponse, QueryService } from '../contracts/query-service.ts';
import { type RpcHandlers, type RpcPort, Transfer } from '../lib/rpc.ts';
import type { TenantId } from '../model/tenant.ts';

interface WireResponse {
  status: number;
  headers: Record<string, string>;
  /** null: a stream is to be fetched. */
  body: Uint8Array | null;
  stream: number;
}

export function queryServiceOver(rpc: RpcPort): QueryService {
  return {
    async handle(request, signal): Promise<QueryResponse> {
      const options = signal === undefined ? {} : { signal };
      const wire = await rpc.call<WireResponse>('query', request, options);
      const { status, headers } = wire;
      return { status, headers, body: wire.body ?? rpc.callStream('queryBody', wire.stream, options) };
    },
    activeQueries: tenant => rpc.call<ActiveQuery[]>('activeQueries', tenant),
    cancelQuery: (tenant, id) => rpc.call<boolean>('cancelQuery', { tenant, id }),
  };
}

/** A body whose head was sent but which nobody fetched within this time is let go of, ms. */
const UNFETCHED_MS = 60_000;

export function queryHandlers(service: QueryService): RpcHandlers {
  const bodies = new Map<number, { body: AsyncIterable<Uint8Array>; timer: NodeJS.Timeout }>();
  let nextStream = 1;
  const handlers: { [method: string]: (args: never, signal: AbortSignal) => unknown } = {
    query: async (request: QueryRequest, signal): Promise<WireResponse | Transfer<WireResponse>> => {
      const { status, headers, body } = await service.handle(request, signal);
      if (body instanceof Uint8Array) return whole({ status, headers, body, stream: 0 }, body);
      const stream = nextStream++;
      const timer = setTimeout(() => {
        bodies.delete(stream);
        void body[Symbol.asyncIterator]().return?.();
      }, UNFETCHED_MS);
      timer.unref();
      bodies.set(stream, { body, timer });
      return { status, headers, body: null, stream };
    },
    queryBody: (stream: number) => {
      const entry = bodies.get(stream);
      if (entry === undefined) throw new Error('BUG: this response body is gone');
      bodies.delete(stream);
      clearTimeout(entry.timer);
      return entry.body;
    },
    activeQueries: (tenant: TenantId | null) => service.activeQueries(tenant),
    cancelQuery: (a: { tenant: TenantId | null; id: string }) => service.cancelQuery(a.tenant, a.id),
  };
  return handlers as RpcHandlers;
}

/** Where the body has a buffer of its own it moves instead of being copied. */
function whole(response: WireResponse, body: Uint8Array): WireResponse | Transfer<WireResponse> {
  const { buffer, byteLength } = body;
  return byteLength === buffer.byteLength && buffer instanceof ArrayBuffer
    ? new Transfer(response, [buffer])
    : response;
}
