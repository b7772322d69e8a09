/**
 * Uploads: request bodies of any size on their way from the socket thread to a worker, chunk by chunk.
 *
 * The sender awaits each chunk's acknowledgement, and a chunk is acknowledged when the decoder takes it: so a slow disk slows
 * the socket down, and at most one chunk waits.
 */
import type { IngestRequest, IngestResponse, IngestService } from '../contracts/ingest-service.ts';
import type { RpcHandlers, RpcPort } from '../lib/rpc.ts';

let nextUpload = 1;

/** Main thread: streams a body into the worker behind the port. */
export async function upload(
  rpc: RpcPort,
  request: IngestRequest,
  body: AsyncIterable<Uint8Array>,
): Promise<IngestResponse> {
  const id = nextUpload++;
  const answer = rpc.call<IngestResponse>('uploadOpen', { id, request });
  let answered = false;
  // The decoder may answer early (a bad line): then nobody takes chunks any more.
  const early = answer.then(
    () => {
      answered = true;
    },
    () => {
      answered = true;
    },
  );
  try {
    for await (const chunk of body) {
      if (answered) break;
      await Promise.race([rpc.call('uploadChunk', { id, chunk }), early]);
    }
    if (!answered) await Promise.race([rpc.call('uploadEnd', { id, error: '' }), early]);
  } catch (error) {
    if (!answered) await rpc.call('uploadEnd', { id, error: (error as Error).message });
  }
  return answer;
}

/** Worker: the uploads under way here. */
export class IngestUploads {
  private readonly service: IngestService;
  private readonly open = new Map<number, ChunkQueue>();

  constructor(service: IngestService) {
    this.service = service;
  }

  handlers(): RpcHandlers {
    const handlers: { [method: string]: (args: never, signal: AbortSignal) => unknown } = {
      uploadOpen: async (a: { id: number; request: IngestRequest }) => {
        const queue = new ChunkQueue();
        this.open.set(a.id, queue);
        try {
          return await this.service.ingestStream(a.request, queue.chunks());
        } finally {
          this.open.delete(a.id);
          queue.finish('');
        }
      },
      uploadChunk: async (a: { id: number; chunk: Uint8Array }) => this.open.get(a.id)?.push(a.chunk),
      uploadEnd: async (a: { id: number; error: string }) => this.open.get(a.id)?.finish(a.error),
    };
    return handlers as RpcHandlers;
  }
}

/** One chunk at a time from push to iterator. */
class ChunkQueue {
  private readonly waiting: { chunk: Uint8Array; taken(): void }[] = [];
  private done = false;
  private error = '';
  private wake: (() => void) | null = null;

  push(chunk: Uint8Array): Promise<void> {
    if (this.done) return Promise.resolve();
    return new Promise(taken => {
      this.waiting.push({ chunk, taken });
      this.wake?.();
    });
  }

  /** `error`: the client went away before the end; '' is a proper end. */
  finish(error: string): void {
    this.done = true;
    this.error = error;
    this.wake?.();
    if (error === '') return;
    for (const { taken } of this.waiting.splice(0)) taken();
  }

  async *chunks(): AsyncGenerator<Uint8Array> {
    try {
      for (;;) {
        const next = this.waiting.shift();
        if (next !== undefined) {
          next.taken();
          yield next.chunk;
        } else if (this.done) {
          if (this.error !== '') throw new Error(`the client went away: ${this.error}`);
          return;
        } else {
          await new Promise<void>(resolve => {
            this.wake = resolve;
          });
          this.wake = null;
        }
      }
    } finally {
      this.done = true;
      for (const { taken } of this.waiting.splice(0)) taken();
    }
  }
}
