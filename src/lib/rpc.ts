/**
 * RPC over a MessagePort: typed calls and byte streams between the threads of this process.
 *
 * Each end registers handlers by name and calls the other's. A call settles with the handler's result or error (name,
 * message and `code` survive; the class does not, so errors that matter are told apart by `name`). An AbortSignal given
 * to a call is carried over: the handler's own signal fires. A handler may answer with an async iterable of byte chunks
 * (`callStream`); the reader grants credit, so a slow client holds at most STREAM_WINDOW chunks in flight.
 *
 * Results are structured-cloned. To move a buffer instead of copying it, the handler wraps its result in `Transfer`.
 */
import type { MessagePort, Transferable } from 'node:worker_threads';

/** Chunks a stream may have in flight before the reader must take some. */
const STREAM_WINDOW = 8;

export type RpcHandler = (args: unknown, signal: AbortSignal) => unknown;
export type RpcHandlers = Record<string, RpcHandler>;

/** A result together with the buffers to move rather than copy. */
export class Transfer<T = unknown> {
  readonly value: T;
  readonly list: Transferable[];
  constructor(value: T, list: Transferable[]) {
    this.value = value;
    this.list = list;
  }
}

export interface CallOptions {
  transfer?: Transferable[];
  signal?: AbortSignal;
}

interface PortLike {
  postMessage(message: unknown, transfer?: readonly Transferable[]): void;
  on(event: 'message', listener: (message: unknown) => void): unknown;
}

type Message =
  | { type: 'call'; id: number; method: string; args: unknown; stream: boolean }
  | { type: 'abort'; id: number; reason: string }
  | { type: 'result'; id: number; value: unknown }
  | { type: 'error'; id: number; error: WireError }
  | { type: 'chunk'; id: number; chunk: Uint8Array }
  | { type: 'end'; id: number; value: unknown }
  | { type: 'credit'; id: number; chunks: number };

interface WireError {
  name: string;
  message: string;
  code: string | undefined;
  stack: string | undefined;
  data: unknown;
}

/** The other end's error: `name` and `code` are the original's. */
export class RpcError extends Error {
  readonly code: string | undefined;
  readonly data: unknown;
  constructor(wire: WireError) {
    super(wire.message);
    this.name = wire.name;
    this.code = wire.code;
    this.data = wire.data;
    if (wire.stack !== undefined) this.stack = wire.stack;
  }
}

interface PendingCall {
  resolve(value: unknown): void;
  reject(error: Error): void;
  stream: StreamReader | null;
  cleanup(): void;
}

export class RpcPort {
  private readonly port: PortLike;
  private readonly handlers: RpcHandlers;
  private readonly pending = new Map<number, PendingCall>();
  private readonly running = new Map<number, { abort: AbortController; credit: Credit | null }>();
  private nextId = 1;
  private closedReason: Error | null = null;

  constructor(port: MessagePort | PortLike, handlers: RpcHandlers) {
    this.port = port as PortLike;
    this.handlers = handlers;
    this.port.on('message', message => this.receive(message as Message));
  }

  call<T>(method: string, args: unknown, options: CallOptions = {}): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const id = this.begin(options, { resolve: resolve as (value: unknown) => void, reject, stream: null });
      if (id !== 0) this.port.postMessage({ type: 'call', id, method, args, stream: false }, options.transfer);
    });
  }

  /** Byte chunks from a streaming handler; `onEnd` gets what the handler's iterator returned. */
  async *callStream(method: string, args: unknown, options: CallOptions = {}): AsyncGenerator<Uint8Array, unknown> {
    const reader = new StreamReader();
    let finished = false;
    const done = new Promise<unknown>((resolve, reject) => {
      const id = this.begin(options, { resolve, reject, stream: reader });
      if (id === 0) return;
      reader.credit = chunks => this.port.postMessage({ type: 'credit', id, chunks });
      reader.cancel = () => this.port.postMessage({ type: 'abort', id, reason: 'reader went away' });
      this.port.postMessage({ type: 'call', id, method, args, stream: true }, options.transfer);
    }).finally(() => {
      finished = true;
      reader.close();
    });
    done.catch(() => {}); // Awaited below; an early exit of the reader must not leave it unhandled.
    try {
      for (;;) {
        const chunk = await reader.next();
        if (chunk === null) return await done;
        yield chunk;
      }
    } finally {
      if (!finished) reader.cancel();
    }
  }

  /** Fails everything under way, and every later call, with this error: the other end is gone. */
  close(reason: Error): void {
    this.closedReason = reason;
    for (const call of this.pending.values()) {
      call.cleanup();
      call.reject(reason);
    }
    this.pending.clear();
    for (const { abort } of this.running.values()) abort.abort(reason);
  }

  private begin(options: CallOptions, call: Omit<PendingCall, 'cleanup'>): number {
    if (this.closedReason !== null) {
      call.reject(this.closedReason);
      return 0;
    }
    const { signal } = options;
    if (signal?.aborted) {
      call.reject(toError(signal.reason));
      return 0;
    }
    const id = this.nextId++;
    const onAbort = () => {
      if (!this.pending.delete(id)) return;
      this.port.postMessage({ type: 'abort', id, reason: String(signal?.reason?.message ?? signal?.reason) });
      call.reject(toError(signal?.reason));
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    this.pending.set(id, { ...call, cleanup: () => signal?.removeEventListener('abort', onAbort) });
    return id;
  }

  private receive(message: Message): void {
    switch (message.type) {
      case 'call':
        void this.serve(message);
        return;
      case 'abort':
        this.running.get(message.id)?.abort.abort(new Error(message.reason));
        return;
      case 'credit':
        this.running.get(message.id)?.credit?.grant(message.chunks);
        return;
      case 'chunk':
        this.pending.get(message.id)?.stream?.push(message.chunk);
        return;
      default: {
        const call = this.pending.get(message.id);
        if (call === undefined) return; // Aborted here meanwhile.
        this.pending.delete(message.id);
        call.cleanup();
        if (message.type === 'error') call.reject(new RpcError(message.error));
        else call.resolve(message.value);
      }
    }
  }

  private async serve(message: Message & { type: 'call' }): Promise<void> {
    const abort = new AbortController();
    const credit = message.stream ? new Credit(STREAM_WINDOW, abort.signal) : null;
    this.running.set(message.id, { abort, credit });
    try {
      const handler = this.handlers[message.method];
      if (handler === undefined) throw new Error(`BUG: no rpc handler called ${message.method}`);
      const result = await handler(message.args, abort.signal);
      if (credit !== null) await this.sendStream(message.id, result as AsyncIterable<Uint8Array>, credit);
      else if (result instanceof Transfer)
        this.port.postMessage({ type: 'result', id: message.id, value: result.value }, result.list);
      else this.port.postMessage({ type: 'result', id: message.id, value: result });
    } catch (error) {
      this.port.postMessage({ type: 'error', id: message.id, error: toWire(error) });
    } finally {
      this.running.delete(message.id);
    }
  }

  private async sendStream(id: number, chunks: AsyncIterable<Uint8Array>, credit: Credit): Promise<void> {
    for await (const chunk of chunks) {
      await credit.take();
      // Small views of pooled buffers are copied; a chunk that owns its buffer moves.
      const owns = chunk.byteOffset === 0 && chunk.byteLength === chunk.buffer.byteLength;
      this.port.postMessage({ type: 'chunk', id, chunk }, owns ? [chunk.buffer as ArrayBuffer] : []);
    }
    this.port.postMessage({ type: 'end', id, value: null });
  }
}

/** How many chunks the other side is ready to take. */
class Credit {
  private left: number;
  private readonly signal: AbortSignal;
  private wake: (() => void) | null = null;
  constructor(initial: number, signal: AbortSignal) {
    this.left = initial;
    this.signal = signal;
    signal.addEventListener('abort', () => this.wake?.(), { once: true });
  }

  grant(chunks: number): void {
    this.left += chunks;
    this.wake?.();
  }

  async take(): Promise<void> {
    while (this.left === 0 && !this.signal.aborted) {
      await new Promise<void>(resolve => {
        this.wake = resolve;
      });
      this.wake = null;
    }
    this.signal.throwIfAborted();
    this.left--;
  }
}

/** The receiving end of one stream: a queue that `callStream` drains. */
class StreamReader {
  private readonly queue: Uint8Array[] = [];
  private closed = false;
  private wake: (() => void) | null = null;
  credit: (chunks: number) => void = () => {};
  cancel: () => void = () => {};

  push(chunk: Uint8Array): void {
    this.queue.push(chunk);
    this.wake?.();
  }

  close(): void {
    this.closed = true;
    this.wake?.();
  }

  async next(): Promise<Uint8Array | null> {
    while (this.queue.length === 0 && !this.closed) {
      await new Promise<void>(resolve => {
        this.wake = resolve;
      });
      this.wake = null;
    }
    const chunk = this.queue.shift();
    if (chunk === undefined) return null;
    this.credit(1);
    return chunk;
  }
}

function toError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}

function toWire(error: unknown): WireError {
  const e = toError(error) as Error & { code?: string; data?: unknown };
  return { name: e.name, message: e.message, code: e.code, stack: e.stack, data: e.data };
}
