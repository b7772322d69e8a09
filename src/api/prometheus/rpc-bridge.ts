/**
 * QueryService between threads, over lib/rpc.ts: the worker serves its handler, the thread with the sockets calls it through a client.
 *
 * The answer is a byte stream whose first chunk is the head as JSON (`{"status":200,"headers":{...},"whole":true}`), so that a
 * response costs one call. `whole` says that exactly one more chunk follows: it is sent with its length.
 */
import type { QueryRequest, QueryResponse, QueryService } from '../../contracts/query-service.ts';
import type { RpcHandlers, RpcPort } from '../../lib/rpc.ts';
import type { TenantId } from '../../model/tenant.ts';

interface Head {
  status: number;
  headers: Record<string, string>;
  whole: boolean;
}

/** Handlers for the worker's RpcPort. */
export function queryServiceRpcHandlers(service: QueryService): RpcHandlers {
  return {
    'query.handle': async function* (args: unknown, signal: AbortSignal) {
      const { status, headers, body } = await service.handle(args as QueryRequest, signal);
      const whole = body instanceof Uint8Array;
      yield Buffer.from(JSON.stringify({ status, headers, whole } satisfies Head));
      if (body instanceof Uint8Array) yield body;
      else yield* body;
    },
    'query.active': args => service.activeQueries(args as TenantId | null),
    'query.cancel': args => {
      const { tenant, id } = args as { tenant: TenantId | null; id: string };
      return service.cancelQuery(tenant, id);
    },
  };
}

/** The service at the other end of the port. */
export function queryServiceOverRpc(port: RpcPort): QueryService {
  return {
    async handle(request: QueryRequest, signal?: AbortSignal): Promise<QueryResponse> {
      const stream = port.callStream('query.handle', request, signal === undefined ? {} : { signal });
      const first = await stream.next();
      if (first.done === true) throw new Error('BUG: a query answered without a head');
      const { status, headers, whole } = JSON.parse(Buffer.from(first.value).toString()) as Head;
      if (!whole) return { status, headers, body: stream };
      const only = await stream.next();
      await stream.return(null);
      return { status, headers, body: only.done === true ? new Uint8Array(0) : only.value };
    },
    activeQueries: tenant => port.call('query.active', tenant),
    cancelQuery: (tenant, id) => port.call('query.cancel', { tenant, id }),
  };
}

/** Several services as one: requests go to the one with the fewest under way; lists and cancels go to all. */
export function spreadQueries(services: readonly QueryService[]): QueryService {
  const busy = services.map(() => 0);
  return {
    async handle(request, signal) {
      let best = 0;
      for (let i = 1; i < busy.length; i++) if ((busy[i] as number) < (busy[best] as number)) best = i;
      busy[best] = (busy[best] as number) + 1;
      const done = () => {
        busy[best] = (busy[best] as number) - 1;
      };
      try {
        const response = await (services[best] as QueryService).handle(request, signal);
        if (response.body instanceof Uint8Array) {
          done();
          return response;
        }
        return { ...response, body: whenDone(response.body, done) };
      } catch (error) {
        done();
        throw error;
      }
    },
    async activeQueries(tenant) {
      const lists = await Promise.all(services.map(s => s.activeQueries(tenant)));
      return lists.flat().sort((a, b) => a.receivedAtMs - b.receivedAtMs);
    },
    async cancelQuery(tenant, id) {
      return (await Promise.all(services.map(s => s.cancelQuery(tenant, id)))).includes(true);
    },
  };
}

async function* whenDone(body: AsyncIterable<Uint8Array>, done: () => void): AsyncGenerator<Uint8Array> {
  try {
    yield* body;
  } finally {
    done();
  }
}
